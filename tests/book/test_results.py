"""A page's numbers: how they are reported, said and read again."""

from __future__ import annotations

import math
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from gencls.errors import GenclsError
from gencls.results import Number, Page, read_results


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setenv("GENCLS_OUT", str(tmp_path))
    return Page("toy", world="shapes", seed=0, k=7)


def test_numbers_come_back_as_they_were_reported(page: Page, tmp_path: Path) -> None:
    page.report("shape bias", 0.25, low=0.2, high=0.3, n=100, observer="a")
    page.report("shape bias", 0.96, observer="people", origin="reported")
    page.report("ratio", math.nan, observer="a", origin="record")
    page.close()
    again = read_results(tmp_path)
    assert again[:2] == page.numbers[:2]
    assert math.isnan(again[2].value) and "NaN" not in (tmp_path / "results.json").read_text()


def test_an_estimate_brings_its_interval(page: Page) -> None:
    class Estimate(float):
        low, high, n = 0.2, 0.3, 40

    assert page.report("x", Estimate(0.25)) == Number("x", 0.25, 0.2, 0.3, 40)
    assert page.report("y", Estimate(0.25), n=41, low=0.1) == Number("y", 0.25, 0.1, 0.3, 41)
    assert str(page.report("without one", 0.25, low=math.nan, high=math.nan)) == "0.25"


def test_prose_takes_its_numbers_from_the_page(page: Page) -> None:
    page.report("shape bias", 0.24, low=0.21, high=0.27, n=819, observer="hf:a/b-1.5")
    page.report("shape bias", 0.96, observer="people", origin="reported")
    page.report("trials", 1280)
    said = page.say("{shape bias[hf:a/b-1.5]:.0%}; {shape bias[hf:a/b-1.5].value:.2f}; {shape bias[people]}; {trials}")
    assert repr(said) == "24% [21%, 27%]; 0.24; 0.96†; 1280"
    assert 'title="hf:a/b-1.5: computed in this run, n = 819"' in said.text


def test_a_whole_number_keeps_the_digits_of_its_interval(page: Page) -> None:
    assert str(page.report("all right", 1.0, low=0.92, high=1.0)) == "1.00 [0.92, 1.00]"
    assert str(page.report("none", 0.0, low=-0.31, high=0.28)) == "0.00 [-0.31, 0.28]"
    assert str(page.report("trials", 3, low=2, high=5)) == "3 [2, 5]"


def test_prose_says_undefined_where_there_is_no_number(page: Page) -> None:
    page.report("bias", math.nan, n=math.nan)
    page.report("shape", 0.5)
    said = repr(page.say("{bias}, {bias.value:.0%}, {bias.n}, {shape.low:.2f}, {shape.value:.1f}"))
    assert said == "undefined, undefined, undefined, undefined, 0.5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{accuracy}", "no number named 'accuracy' was reported on this page; there are: shape bias"),
        ("{shape bias[c]}", "no 'shape bias' was reported for 'c'; there is one for: a, b"),
        ("{shape bias}", "has several observers"),
    ],
)
def test_prose_cannot_say_what_was_not_reported(page: Page, text: str, said: str) -> None:
    page.report("shape bias", 0.1, observer="a")
    page.report("shape bias", 0.2, observer="b")
    with pytest.raises(GenclsError, match=said.replace("[", r"\[")):
        page.say(text)


def test_a_number_is_reported_once_under_a_usable_name_and_a_known_origin(page: Page) -> None:
    page.report("x", 1, observer="a")
    with pytest.raises(GenclsError, match="reported twice"):
        page.report("x", 2, observer="a")
    with pytest.raises(GenclsError, match="cannot refer to"):
        page.report("x.y", 2)
    with pytest.raises(GenclsError, match="the origin 'guessed' is unknown"):
        page.report("z", 2, origin="guessed")


def test_a_table_marks_what_the_paper_reported(page: Page) -> None:
    page.report("shape bias", 0.24, observer="<net>")
    page.report("shape bias", 0.96, observer="people", origin="reported")
    page.report("accuracy", 0.5, observer="people")
    shown = page.table("shape bias", "accuracy", spec={"accuracy": ".0%"}).markup
    assert "0.96†" in shown and "0.24†" not in shown and "&lt;net&gt;" in shown and "50%" in shown
    assert "† reported by the paper" in shown and "†" not in page.table("accuracy").markup


def test_a_table_s_box_is_reached_by_the_keyboard_and_named_by_the_caption(page: Page) -> None:
    page.report("x", 1, observer="a")
    named, nameless = page.table("x", caption='Of "a" <b>').markup, page.table("x").markup
    box = '<div class="gencls-scroll" tabindex="0" role="region" aria-label="{}">'
    assert named.startswith(box.format("Of &quot;a&quot; &lt;b&gt;")) and nameless.startswith(box.format("table"))


def test_a_table_s_rows_are_observers_unless_it_says_what_they_are(page: Page) -> None:
    page.report("accuracy", 0.5, observer="8 to 16 cycles")
    heads = [
        re.findall('<th scope="col">(.*?)</th>', page.table("accuracy", **of).markup)
        for of in ({}, {"rows": "octave <f>"})
    ]
    assert heads == [["observer", "accuracy"], ["octave &lt;f&gt;", "accuracy"]]


def test_a_figure_carries_its_alt_text_and_its_data(page: Page, tmp_path: Path) -> None:
    data, others = pd.DataFrame({"x": [1, 2], "y": [0.1, 1 / 3]}), plt.get_fignums()
    shown = page.figure(plt.subplots()[1], alt='Two "points"', data=data, name="points")
    assert 'alt="Two &quot;points&quot;"' in shown.markup and 'href="points.csv"' in shown.markup
    assert shown.markup.count("data:image/svg+xml;base64,") == 1 and plt.get_fignums() == others
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "points.csv"), data)
    with pytest.raises(GenclsError, match="no alt text"):
        page.figure(plt.subplots()[0], alt=" ")
    with pytest.raises(GenclsError, match="named 'points'"):
        page.figure(plt.subplots()[0], alt="a", data=data, name="points")
    with pytest.raises(GenclsError, match="letters, digits"):
        page.figure(plt.subplots()[0], alt="a", data=data, name="../points")
    plt.close("all")


def test_a_figure_of_many_marks_is_a_picture_of_them(page: Page) -> None:
    figure, axes = plt.subplots()
    axes.scatter(range(20_000), range(20_000))
    shown = page.figure(figure, alt="Many points").markup
    assert "data:image/png" in shown and len(shown) < 400_000


def test_results_that_are_not_there_or_not_results_say_so(tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="run the chapter first"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('[{"nome": 1}]')
    with pytest.raises(GenclsError, match="is not a list of results"):
        read_results(tmp_path)
