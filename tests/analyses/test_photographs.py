"""What the page on the natural world's models computes, on answers that are known."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import gencls
from gencls import metrics
from gencls.analyses import beside, bias, ledger, photographs
from gencls.analyses.bias import Seen
from gencls.errors import GenclsError
from gencls.results import Number
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import Natural, Scored

CATEGORIES = Natural.categories
PAIRS = [(a, b) for a in CATEGORIES for b in CATEGORIES if a != b]


def stimuli(name: str) -> StimulusSet:
    rows = [
        {"name": f"{name}-{i}", "category": a, "condition": "0", "texture": b if name == "cue-conflict" else ""}
        for i, (a, b) in enumerate(PAIRS)
    ]
    return StimulusSet(name, pd.DataFrame(rows), lambda i: np.zeros((8, 8, 3), np.uint8), CATEGORIES)


def scored(of: StimulusSet, share: float, column: str = "category", instead: str = "texture") -> Scored:
    """Log-probabilities of an observer that goes by one column for this share of the stimuli, in order, else by the other."""
    values = np.full((len(of), len(CATEGORIES)), -5.0, np.float32)
    for i, row in enumerate(of.table.to_dict("records")):
        wrong = row[instead] or next(c for c in CATEGORIES if c != row["category"])
        values[i, CATEGORIES.index(row[column] if i < share * len(of) else wrong)] = -0.1
    return Scored(
        xr.Dataset({"log_probability": (("stimulus", "class"), values)}, {"class": list(CATEGORIES)}), "record", 0
    )


class World(Natural):
    """The natural world with three trainings, one of them looked at along the way."""

    moments = ("natural/resnet-10", "natural/resnet-20")

    def scores(self, of: StimulusSet, model: str, **_: object) -> Scored:
        known = {"natural/resnet-10": (0.5, 0.2), "natural/resnet-20": (0.3, 0.6)}
        bias, accuracy = known[model]
        return scored(of, bias if of.name == "cue-conflict" else accuracy)


@pytest.fixture
def both() -> tuple[Seen, Seen]:
    conflict, photos = stimuli("cue-conflict"), stimuli("photos")
    shares = {"natural/pixel": (0.8, 0.4), "natural/resnet": (0.2, 0.9), "natural/clip": (0.75, 0.6)}
    seen = {m: scored(conflict, b) for m, (b, _) in shares.items()}
    right = {m: scored(photos, a) for m, (_, a) in shares.items()}
    return Seen(World(), conflict, seen), Seen(World(), photos, right)


def test_a_plain_difference_stands_and_a_small_one_does_not(both: tuple[Seen, Seen]) -> None:
    found = photographs.differences(both[0]).set_index("observer")
    assert list(found.index) == ["natural/pixel − natural/resnet", "natural/pixel − natural/clip"]
    assert found["value"].tolist() == pytest.approx([0.6, 0.05], abs=0.02)
    assert found["p_holm"].iloc[0] < 0.05 and (found["p_holm"] >= found["p"]).all()
    said = photographs.verdict(found.reset_index())
    assert "natural/pixel is more shape-biased than natural/resnet" in said


def test_where_no_pair_is_here_nothing_is_compared(both: tuple[Seen, Seen]) -> None:
    seen, _ = both
    alone = Seen(seen.world, seen.stimuli, {"natural/resnet": seen.scored["natural/resnet"]})
    found = photographs.differences(alone)
    assert found.empty and {"observer", "value", "p", "p_holm"} <= set(found) and photographs.making(alone).empty
    assert photographs.differences(seen, pairs=[]).empty
    assert photographs.verdict(found).startswith("No generative model")


def test_it_is_said_who_reached_what_was_asked_of_it(both: tuple[Seen, Seen]) -> None:
    said = photographs.reached(both[1])
    there, _, short = said.partition("Fell short:")
    accuracy = {m: float(metrics.accuracy(both[1].trials(m, "exp(-7t)"), None)) for m in both[1].scored}
    for model, asked in photographs.ASKED.items():
        assert (model in there) == (accuracy.get(model, 0) >= asked)
        assert (f"{model} ({accuracy.get(model, 2):.3f}" in short) == (accuracy.get(model, 1) < asked)


def test_pairs_are_compared_as_far_as_both_answered(both: tuple[Seen, Seen]) -> None:
    asked = (("natural/clip", "natural/vit"), ("natural/clip", "natural/pixel"), ("natural/resnet", "natural/pixel"))
    found = photographs.differences(both[0], pairs=asked)
    assert list(found["observer"]) == ["natural/clip − natural/pixel", "natural/resnet − natural/pixel"]
    assert found["value"].iloc[1] == pytest.approx(-0.6)


def test_biases_are_compared_at_the_same_accuracy(both: tuple[Seen, Seen]) -> None:
    seen, photos = both
    curve = photographs.matched(seen.world, seen, photos)
    own = curve[curve["observer"] == "natural/resnet"]
    assert own["model"].tolist() == ["natural/resnet-10", "natural/resnet-20", "natural/resnet"]
    assert own["accuracy"].tolist() == pytest.approx([0.2, 0.6, 0.9], abs=0.01)
    at = photographs.at_accuracy(curve, "natural/pixel", seen)
    assert at["observer"].tolist() == ["natural/resnet"]  # clip was looked at once: there is nothing to go along
    assert at["bias"].iloc[0] == pytest.approx(0.4, abs=0.01)  # half way from 0.5 at 0.2 to 0.3 at 0.6
    own = curve.loc[curve["model"] == "natural/pixel", "value"].iloc[0]
    assert (
        at["value"].iloc[0] == pytest.approx(own - at["bias"].iloc[0])
        and at["low"].iloc[0] < at["value"].iloc[0] < at["high"].iloc[0]
    )
    said = photographs.equally_accurate({"natural/pixel": at})
    assert said == "- **natural/pixel**: more shape-biased than natural/resnet."
    assert photographs.at_accuracy(curve.iloc[:0], "natural/pixel", seen).empty


def test_an_explorer_moves_bias_and_accuracy_together(both: tuple[Seen, Seen]) -> None:
    rows = photographs.explorer_table(*both, ks=(0, 7), starts=(0.0,))
    assert set(rows["measure"]) == {"shape bias", "accuracy on photographs"}
    assert len(rows) == 2 * 2 * 3  # measures × k × observers


def test_a_reduced_stimulus_keeps_its_size_and_loses_its_detail() -> None:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one = StimulusSet("photos", stimuli("photos").table[:1], lambda i: fine, CATEGORIES)
    small = photographs.reduced(one, 8)
    assert small[0].image.shape == fine.shape
    assert small[0].image.std() < 0.4 * fine.std() and abs(small[0].image.mean() - fine.mean()) < 2
    assert small.name != one.name  # another set on record


def test_a_family_at_another_resolution_stands_beside_itself(both: tuple[Seen, Seen]) -> None:
    seen, _ = both
    seen.scored["natural/resnet32"] = scored(seen.stimuli, 0.7)
    found = photographs.trained_at(seen).set_index("side")["value"]
    assert found.to_dict() == pytest.approx({64: 0.2, 32: 0.7}, abs=0.01)


def test_what_is_on_record_under_one_weighting_is_not_shown_under_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENCLS_OFFLINE", "1")
    asked = ["natural/pixel", "natural/resnet"]
    papers, origin = photographs.people(World(), asked, "exp(-7t)")
    uniform, _ = photographs.people(World(), asked, "uniform")
    few, _ = photographs.people(World(), asked, n=50)
    other, _ = photographs.people(World(), asked, seed=1)
    ours = papers["observer"].str.startswith("natural/")
    assert origin == "record" and set(papers[ours]["observer"]) == set(asked)  # and no model that was not asked for
    for table in (uniform, few, other):
        assert not table["observer"].str.startswith("natural/").any()
    assert photographs.mean_of_people(uniform, "shape bias") == photographs.mean_of_people(papers, "shape bias")


def test_a_sweep_begins_without_noise_and_goes_along_one_of_its_two_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = {"clean": (0, 0), "gamma-0.5": (0.5, 1), "gamma-0": (1, 1), "share-0.5": (1, 0.5)}
    rows = [
        {"observer": o, "strength": s, "noised": p, "measure": m, "share": at, "value": 0.1 * i, "low": 0, "high": 1, "n": 9}
        for i, (o, (s, p)) in enumerate(trainings.items())
        for m in ("shape bias", "accuracy")
        for at in (0.25, 0.0)
    ]  # fmt: skip
    monkeypatch.setattr(photographs, "SWEEP", tmp_path / "sweep.csv")
    assert photographs.sweep("strength").empty and photographs.swept().empty
    pd.DataFrame(rows).to_csv(tmp_path / "sweep.csv", index=False)
    strength, noised = photographs.sweep("strength"), photographs.sweep("noised")
    assert list(strength["training"]) == ["clean", "gamma-0.5", "gamma-0"] * 2
    assert list(noised["training"]) == ["clean", "share-0.5", "gamma-0"] * 2
    assert list(noised["observer"]) == ["0% of noise at test"] * 3 + ["25% of noise at test"] * 3
    assert set(strength["measure"]) == {"shape bias"} and len(photographs.swept()) == len(rows)
    with pytest.raises(GenclsError, match="'strength' or 'noised'"):
        photographs.sweep("width")


def test_the_ledger_takes_each_world_from_its_own_page() -> None:
    numbers = [Number("shape bias", 0.6, 0.5, 0.7, 500, o, "record") for o in ("natural/pixel", "people")]
    numbers += [Number("bias of the noise ablation", 0.5, 0.4, 0.6, 500, "natural/resnet-noise", "record")]
    natural = ledger.ledger({"photographs": numbers}, "natural")
    shapes = ledger.ledger({"shape_bias": [Number("shape bias", 0.4, 0.3, 0.5, 240, "shapes/pixel", "record")]})
    both = ledger.together({"shapes": shapes, "natural": natural})
    ours = both[both["origin"] != "reported"]
    assert ours["observer"].tolist() == ["shapes/pixel", "natural/pixel", "people (natural)", "natural/resnet-noise"]
    assert (both["observer"] == "Imagen").sum() == 1  # the paper's numbers stand in it once
    assert "photographs" in ledger.chapters("natural") and "drivers" in ledger.chapters("shapes")


def test_the_figure_of_readme_is_drawn_from_the_records_that_ship() -> None:
    """Otherwise: `python scripts/readme_figure.py`."""
    root = Path(__file__).parents[2]
    drawing = runpy.run_path(str(root / "scripts" / "readme_figure.py"))
    with Image.open(drawing["FIGURE"]) as figure:
        assert figure.text["records"] == drawing["digest"]()
    assert drawing["FIGURE"].relative_to(root).as_posix() in (root / "README.md").read_text()


def test_each_model_stands_beside_who_was_told_the_labels_of_its_input() -> None:
    world = gencls.world("natural")
    seen = bias.look(world, "cue-conflict", ["natural/tokens", "natural/vit", "natural/pixel", "natural/ar"])
    table = pd.DataFrame(
        [["shape bias", "cue-conflict", o, "", v, v, v, 9] for o, v in (("A (x, SIN)", 0.7), ("B (x)", 0.2), ("subject-01", 0.9))],
        columns=photographs.COLUMNS,
    )  # fmt: skip
    rows = beside.rows(seen, bias.biases(seen), table, "record")
    assert rows["name"].tolist()[:3] == list(beside.CROWDS)
    assert rows["observer"].tolist()[2:] == ["B (x)", "natural/pixel", "natural/ar", "natural/tokens", "natural/vit"]
    looks = beside.looks(rows["observer"])
    assert looks["natural/pixel"] == looks["natural/ar"] != looks["natural/tokens"] != looks["natural/vit"]
    assert "subject-01" not in looks  # people are red diamonds everywhere
