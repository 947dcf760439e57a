"""What explorer.js draws, in a real browser, out of the state of an Explorer alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gencls.analyses import robustness
from gencls.widgets import Explorer

STATIC = Path(__file__).parents[2] / "book" / "_static"


@pytest.fixture
def drawn(read: Any, tmp_path: Path) -> Callable[[Explorer], AbstractContextManager[Any]]:
    """Draw an explorer in a page of its own: `with drawn(explorer) as box`, its element in the browser."""

    @contextmanager
    def opened(explorer: Explorer) -> Any:
        wanted = ("spec", "frames", "chosen", "_esm", "_css")
        state = {name: value for name, value in explorer.get_state().items() if name in wanted}
        held = {"widget-state": {"state": {"it": {"state": state}}}, "widget-view": {"model_id": "it"}}
        scripts = "".join(
            f'<script type="application/vnd.jupyter.{kind}+json">{json.dumps(value, default=str)}</script>'
            for kind, value in held.items()
        )
        code = (STATIC / "explorers.js").read_text()
        page = tmp_path / "page.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><body>{scripts}<script>{code}</script>")
        with read(page.as_uri()) as reader:
            (box,) = reader.explorers()
            yield box
            assert reader.errors == []

    return opened


def accuracies(observers: int, sets: dict[str, list[str]]) -> pd.DataFrame:
    rows = [
        {"set": name, "observer": f"net {i}", "condition": condition, "value": 0.5 + i / 100, "person": ""}
        for name, conditions in sets.items()
        for i in range(observers)
        for condition in conditions
    ]
    return pd.DataFrame(rows).assign(low=0.4, high=0.9, n=55)


def of_sets(table: pd.DataFrame, **more: Any) -> Explorer:
    rows = robustness.explorer_curves(table)
    return Explorer(
        {"set": "manipulation"}, curves=rows, x="level", y="accuracy", series="observer", low="low", high="high",
        labels={"level": "condition"}, alt="accuracy", **more,
    )  # fmt: skip


def words(box: Any, selector: str) -> list[str]:
    return [found.text_content() for found in box.query_selector_all(selector)]


def test_each_place_is_called_by_the_level_s_name_on_the_axis_and_in_the_table(drawn: Any) -> None:
    table = accuracies(2, {"contrast": ["c50", "c05"], "false-colour": ["true", "false", "grey"]})
    with drawn(of_sets(table)) as box:
        assert words(box, ".gx-plot text[text-anchor=middle]:not(.gx-label)") == ["50", "5"]
        assert words(box, ".gx-label") == ["contrast (%)", "accuracy"]
        assert words(box, "tbody td:nth-child(2)") == ["50", "5"] * 2
        assert words(box, ".gx-numbers thead th") == ["", "contrast (%)", "accuracy"]
        box.query_selector("select").select_option(label="false-colour")
        assert words(box, ".gx-plot text[text-anchor=middle]:not(.gx-label)") == ["true", "false", "grey"]
        assert "true → 0.5" in words(box, ".gx-plot g title")[0]


def test_whole_numbers_without_names_are_ticked_whole(drawn: Any) -> None:
    rows = pd.DataFrame({"which": "a", "n": [1, 2, 3], "y": [0.1, 0.2, 0.3]})
    with drawn(Explorer({"which": "which"}, curves=rows, x="n", y="y", alt="a line")) as box:
        assert words(box, ".gx-plot text[text-anchor=middle]:not(.gx-label)") == ["1", "2", "3"]


def test_no_two_series_look_alike_and_each_is_in_the_legend(drawn: Any) -> None:
    blues = {f"net {i}": "#2a7abf" for i in range(14)}  # a style's colours return, and some of them are near each other
    with drawn(of_sets(accuracies(14, {"contrast": ["c50", "c05"]}), colors=blues)) as box:
        keys = [key.inner_html() for key in box.query_selector_all(".gx-legend svg")]
        assert len(keys) == len(set(keys)) == 14
        curves = box.query_selector_all(".gx-plot path[fill=none]")
        dashes = [curve.get_attribute("stroke-dasharray") for curve in curves]
        assert [key.split('stroke-dasharray="')[1].split('"')[0] for key in keys] == dashes


def test_a_single_curve_has_a_legend_and_a_single_place_a_mark(drawn: Any) -> None:
    with drawn(of_sets(accuracies(1, {"colour": ["cr"]}))) as box:
        assert words(box, ".gx-legend span") == [" net 0"]
        fills = [path.get_attribute("fill") for path in box.query_selector_all(".gx-plot path")]
        assert len(fills) == 3 and fills.count("none") == 1  # the interval, the curve, and the mark on it


def test_counts_are_whole_and_bars_stand_on_a_logarithmic_axis(drawn: Any) -> None:
    rows = pd.DataFrame({"which": "a", "n": ["both right", "both wrong"], "y": [1234.0, 46.0]})
    with drawn(Explorer({"which": "which"}, curves=rows, x="n", y="y", kind="bar", log="y", alt="counts")) as box:
        assert words(box, "tbody td:nth-child(3)") == ["1234", "46"]
        high, low = (float(bar.get_attribute("height")) for bar in box.query_selector_all(".gx-plot rect"))
        assert high > low > 0
