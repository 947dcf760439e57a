"""The ledger of claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gencls import figures
from gencls.analyses import ledger
from gencls.results import Number, Page


def number(
    name: str, value: float, observer: str, low: float = 0.0, high: float = 1.0, origin: str = "record"
) -> Number:
    return Number(name, value, low, high, 240, observer, origin)


def test_without_chapters_only_the_papers_numbers_are_there() -> None:
    table = ledger.ledger({})
    assert set(table["origin"]) == {"reported"}
    assert table.set_index("observer").loc["Imagen", "value"] == 0.99
    assert ledger.plainly({}) == [] and ledger.plainly({"shapes": {"shape_bias": []}}) == []


def test_it_takes_what_speaks_to_a_claim_and_nothing_else() -> None:
    numbers = [
        number("shape bias", 0.4, "shapes/pixel"),
        number("shape bias", 0.5, "shapes/pixel@1"),
        number("shape bias at t = 0·5", 0.6, "shapes/pixel"),
        number("shape bias", 0.7, "Imagen", origin="reported"),
    ]
    table = ledger.ledger({"shape_bias": numbers})
    ours = table[table["origin"] != "reported"]
    assert ours[["name", "observer", "value"]].values.tolist() == [["shape bias", "shapes/pixel", 0.4]]


def test_one_observer_with_two_numbers_is_told_apart() -> None:
    numbers = [
        number("shape bias without noise", 0.2, "shapes/resnet"),
        number("shape bias with noise at test", 0.3, "shapes/resnet"),
    ]
    table = ledger.ledger({"noise_resnet": numbers})
    ours = table[table["origin"] != "reported"]["observer"].tolist()
    assert ours == ["shapes/resnet (without noise)", "shapes/resnet (with noise at test)"]


@pytest.mark.parametrize(
    ("ends", "word"),
    [((0.1, 0.3), "above shapes/resnet"), ((-0.3, -0.1), "does not hold"), ((-0.1, 0.2), "cannot be told apart")],
)
def test_a_negative_result_is_said_plainly(ends: tuple[float, float], word: str) -> None:
    there = number("difference in shape bias", sum(ends) / 2, "shapes/pixel − shapes/resnet", *ends)
    low, high = (-end for end in reversed(ends))
    turned = number("difference in shape bias", sum((low, high)) / 2, "shapes/resnet − shapes/pixel", low, high)
    (said,) = ledger.plainly({"shapes": {"shape_bias": [there]}})
    assert word in said and f"[{ends[0]:.2f}, {ends[1]:.2f}]" in said
    assert ledger.plainly({"shapes": {"shape_bias": [turned]}}) == [said]
    assert ledger.plainly({"natural": {"shape_bias": [there]}}) == []


def test_what_stands_after_correction_is_told_from_what_does_not() -> None:
    values = {
        "natural/latent − natural/vit": (0.2, 0.01),
        "natural/pixel − natural/resnet": (-0.2, 0.04),
        "a − b": (0.1, 0.2),
    }
    numbers = [number("difference in shape bias", v, pair) for pair, (v, _) in values.items()]
    numbers += [number("p (Holm)", p, pair) for pair, (_, p) in values.items()]
    said = ledger.settled({"natural": {"photographs": numbers}})
    assert "Of the 3 differences" in said and "corrected as one family, 2 stand: " in said
    assert "natural/latent above natural/vit; natural/pixel *below* natural/resnet; of the other 1 it" in said
    assert ledger.settled({"shapes": {}}) == ""


def test_a_long_row_names_people_and_those_who_are_compared() -> None:
    models = [
        "natural/vit",
        "natural/pixel",
        "natural/denoising-classifier",
        "natural/clip",
        "natural/tokens",
        "natural/ar",
    ]
    numbers = [number("shape bias", 0.1 * i, who, 0.0, 1.0) for i, who in enumerate([*models, "people"], 1)]
    table = ledger.ledger({"photographs": numbers}, "natural")
    ours = table[table["origin"] != "reported"]
    assert ledger._listed(ours[ours["observer"] != "people"]).count(";") == 5  # few enough for all
    said = ledger._listed(ours).split("; ")
    assert [part.split(" ")[0] for part in said[:-1]] == [
        *("natural/pixel", "natural/denoising-classifier", "natural/tokens", "natural/ar", "people")
    ]
    assert said[-1] == "and 2 others"


@pytest.mark.parametrize("order", ledger.ORDERS, ids=lambda order: f"{order.high}-{order.chapter}")
def test_every_order_is_measured_by_its_chapter(order: ledger.Order) -> None:
    chapter = (Path(__file__).parents[2] / "book" / f"{order.chapter}.md").read_text()
    assert f'"{order.name}"' in chapter
    assert order.claim in {claim.key for claim in ledger.CLAIMS}


def test_a_missing_chapter_is_said_and_nothing_is_escaped_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLS_OUT", str(tmp_path))
    table = ledger.ledger({"shape_bias": [number("shape bias", 0.4, "<b>me</b>")]})
    shown = ledger.verdicts(table, "shapes", ["shape_bias"])._repr_html_()
    assert "<code>ood</code> has not been run" in shown and "<code>shape_bias</code> has" not in shown
    assert "&lt;b&gt;me" in shown and "<b>me" not in shown
    page = Page("introduction", world="shapes")
    ledger.enter(page, table)
    assert {n.origin for n in page.numbers} == {"reported", "record"} and len(page.numbers) == len(table)


def test_every_observer_stands_beside_the_papers_numbers() -> None:
    numbers = [number("shape bias", 0.4, "a"), number("shape bias", 0.6, "b")]
    rows = ledger.by_observer(ledger.ledger({"shape_bias": numbers}))
    reported = len(ledger.ledger({}))
    assert rows.groupby("chosen").size().to_dict() == {"a": reported + 1, "b": reported + 1}
    assert ledger.texts(rows).set_index("chosen").loc["a", "text"] == "shape bias: a 0.40 [0.00, 1.00]"
    alone = ledger.by_observer(ledger.ledger({}))
    assert set(alone["source"]) == {"the paper"} and "yet" in ledger.texts(alone)["text"].iloc[0]


@pytest.mark.parametrize("world", ["shapes", "natural"])
def test_every_claim_points_at_a_figure_of_its_chapter(world: str) -> None:
    book = Path(__file__).parents[2] / "book"
    for claim in ledger.CLAIMS:
        chapter, _, figure = claim.place(world)
        assert not figure or f'name="{figure}"' in (book / f"{chapter}.md").read_text(), (claim.key, figure)
    numbers = [number("shape bias", 0.4, f"{world}/pixel")]
    chapter, _, figure = ledger.CLAIMS[0].place(world)
    shown = ledger.verdicts(ledger.ledger({chapter: numbers}, world), world, [chapter])._repr_html_()
    assert re.findall('href="([^"]+)"', shown) == [f"../../{world}/{chapter}/{chapter}.html#{figure}"]


def test_a_figure_of_few_shows_the_paper_people_and_whom_a_claim_compares() -> None:
    who = ["natural/pixel", "natural/tokens", "natural/resnet", "people"]
    natural = ledger.ledger({"photographs": [number("shape bias", 0.5, o) for o in who]}, "natural")
    octaves = [number("bias of the octave under exp(-7t)", 0.5, o) for o in ("all cycles", "below 2 cycles")]
    table = ledger.together({"natural": natural, "shapes": ledger.ledger({"drivers": octaves})})
    hidden = table[~table["shown"]]
    assert hidden["observer"].tolist() == ["natural/resnet"]  # of the octaves nobody is compared, so that all are shown
    assert "people (natural)" in set(table["observer"]) and (table["origin"] == "reported").sum() == len(
        ledger.ledger({})
    )


def test_the_figure_of_the_whole_ledger_is_said_in_few_words() -> None:
    numbers = [number("shape bias", 0.01 * i, f"natural/{i}") for i in range(40)]
    numbers += [number("shape bias", 0.5, order.high) for order in ledger.ORDERS if order.high.startswith("natural/")][
        :3
    ]
    said = figures.describe(
        figures.forest(None, ledger.together({"natural": ledger.ledger({"photographs": numbers}, "natural")}))
    )
    assert len(said) < 800 and "reported from Parti 0.92 to Imagen 0.99" in said and "natural/39" not in said
