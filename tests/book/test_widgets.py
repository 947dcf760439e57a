"""What an explorer embeds, and what it refuses."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gencls.errors import GenclsError
from gencls.widgets import LIMIT, Explorer


@pytest.fixture
def table() -> pd.DataFrame:
    """k × observer → bias, in an order that a slider must not take over."""
    return pd.DataFrame(
        [(k, o, b + k / 100) for k in (7, 0, 3) for o, b in (("people", 0.9), ("net", 0.2))],
        columns=["k", "observer", "bias"],
    )


def explorer(table: pd.DataFrame, **more: Any) -> Explorer:
    given = {"x": "observer", "y": "bias", "series": "observer", "kind": "dot", "alt": "bias"} | more
    return Explorer({"k": "weighting k"}, curves=table, **given)


def test_each_position_of_the_slider_has_its_frame(table: pd.DataFrame) -> None:
    shown = explorer(table, start={"k": 3})
    assert shown.spec["controls"][0]["shown"] == ["0", "3", "7"] and shown.values == {"k": 3}
    heights = [[mark[3] for mark in frame["marks"]] for frame in shown.frames]
    assert heights == [[[0.9], [0.2]], [[0.93], [0.23]], [[0.97], [0.27]]]
    shown.choose(k=7)
    assert shown.chosen == [2]
    with pytest.raises(GenclsError, match=r"'k' does not offer 5; it offers: 0, 3, 7"):
        shown.choose(k=5)
    with pytest.raises(GenclsError, match="no control 'seed'; it has: k"):
        shown.choose(seed=5)


def test_two_controls_make_a_grid_in_their_own_order() -> None:
    rows = pd.DataFrame([(a, b, 10 * i + j) for i, a in enumerate("pq") for j, b in enumerate((1, 2, 3))])
    rows.columns = ["set", "level", "x"]
    text = rows.assign(text=rows["set"] + rows["level"].astype(str))
    shown = Explorer({"set": "set", "level": "level"}, curves=rows.assign(y=1.0), text=text, alt="a grid")
    assert [f["text"] for f in shown.frames] == ["p1", "p2", "p3", "q1", "q2", "q3"]
    assert [f["marks"][0][2] for f in shown.frames] == [[0], [1], [2], [10], [11], [12]]
    assert [c["kind"] for c in shown.spec["controls"]] == ["select", "slider"]


def test_pictures_arrive_pixel_by_pixel_and_once() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    rows = pd.DataFrame({"n": [0, 1], "image": ["a", "a"], "caption": ["first", "second"]})
    shown = Explorer({"n": "picture"}, pictures=rows, images={"a": image}, alt="pictures")
    source = shown.spec["images"]["a"]["src"].split(",")[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))), image)
    assert [f["pictures"] for f in shown.frames] == [[["a", "first"]], [["a", "second"]]]


def test_what_is_not_a_number_leaves_a_gap(table: pd.DataFrame) -> None:
    table.loc[0, "bias"] = np.nan
    assert explorer(table).frames[2]["marks"][0][3] == [None]


def test_a_value_between_the_slider_s_is_computed_live(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(Explorer, "send", lambda self, content, buffers=None: said.append(content))
    shown = explorer(table, live=lambda k: table[:2].assign(bias=[k, 1 / k]))
    shown._handle_custom_msg({"control": 0, "value": 4}, [])
    assert [mark[3] for mark in said[0]["frame"]["marks"]] == [[4.0], [0.25]] and said[0]["frame"]["at"] == [4]
    shown._handle_custom_msg({"control": 0, "value": 0}, [])
    assert "division by zero" in said[1]["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"alt": ""}, "no alt text"),
        ({"y": "shape"}, "lacks the column 'shape'"),
        ({"kind": "bar", "x": "k"}, "bars needs names on its x axis"),
        ({"x": "k", "log": "x"}, "logarithmic, but 'k' goes down to 0"),
        ({"images": {"a": np.zeros((2, 2))}}, "must be H×W×3 or H×W uint8"),
        ({"pictures": pd.DataFrame({"k": [1], "image": ["b"]})}, "name the image 'b'"),
        ({"start": {"k": 1}}, "does not offer 1"),
    ],
)
def test_a_mistake_is_one_sentence(table: pd.DataFrame, change: dict[str, Any], said: str) -> None:
    with pytest.raises(GenclsError, match=said):
        explorer(table, **change)


def test_a_control_that_no_table_has_is_named(table: pd.DataFrame) -> None:
    with pytest.raises(GenclsError, match="control 'level' is a column of none"):
        Explorer({"level": "level"}, curves=table, x="observer", y="bias", alt="a")


def test_more_than_a_page_may_hold_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    images = {str(i): np.roll(noise, i) for i in range(LIMIT // noise.size)}
    rows = pd.DataFrame({"n": range(len(images)), "image": list(images)})
    with pytest.raises(GenclsError, match="a page has room for 3 MB"):
        Explorer({"n": "picture"}, pictures=rows, images=images, alt="pictures")
