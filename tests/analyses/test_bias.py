"""What the chapter on shape bias computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import gencls
from gencls import GenclsError, metrics
from gencls.analyses import bias
from gencls.results import Page, read_results
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import Scored, World

N = 48


@pytest.fixture(scope="module")
def world() -> World:
    return gencls.world("shapes")


def scores(stimuli: StimulusSet, answer: Callable[[dict, float], str]) -> Scored:
    """Denoising errors under which `answer(row, t)` has the least error at each t."""
    t = np.array([0.1, 0.3, 0.6, 0.9])
    classes = list(stimuli.categories)
    error = np.full((len(stimuli), len(classes), len(t), 1), 2.0, np.float32)
    for s, row in enumerate(stimuli.table.to_dict("records")):
        for i, level in enumerate(t):
            error[s, classes.index(answer(row, level)), i] = 1.0
    coords = {"class": classes, "t": t, "log_snr": ("t", 3 - 6 * t), "quadrature": ("t", np.full(4, 0.25))}
    return Scored(xr.Dataset({"error": (("stimulus", "class", "t", "draw"), error)}, coords), "record", 0)


@pytest.fixture
def seen(world: World) -> bias.Seen:
    """An observer that goes by texture up to t = 0.5 and by shape from there; and two that never change."""
    stimuli = world.stimuli("cue-conflict", N)
    return bias.Seen(
        world,
        stimuli,
        {
            "turning": scores(stimuli, lambda row, t: row["category" if t > 0.5 else "texture"]),
            "shape": scores(stimuli, lambda row, t: row["category"]),
            "shape@1": scores(stimuli, lambda row, t: row["texture"]),
        },
    )


def test_each_noise_level_answers_for_itself(seen: bias.Seen) -> None:
    table = bias.by_level(seen, ["turning"])
    assert table["value"].tolist() == [0, 0, 1, 1] and table["t"].tolist() == [0.1, 0.3, 0.6, 0.9]
    assert (table["n"] == N).all() and table["log_snr"].is_monotonic_decreasing


def test_what_a_bias_is_read_with(world: World) -> None:
    """Of every four stimuli one is answered by shape, one by texture and two otherwise: bias ½, of which guesses explain some."""
    stimuli = world.stimuli("cue-conflict", N)
    place = {name: i for i, name in enumerate(stimuli.table["name"])}

    def mixed(row: dict, t: float) -> str:
        others = [c for c in stimuli.categories if c not in (row["category"], row["texture"])]
        return [row["category"], row["texture"], others[0], others[1]][place[row["name"]] % 4]

    def blind(row: dict, t: float) -> str:
        return next(c for c in stimuli.categories if c not in (row["category"], row["texture"]))

    def mostly(row: dict, t: float) -> str:
        return row["category"] if place[row["name"]] % 4 else mixed({**row, "name": stimuli.table["name"][2]}, t)

    observers = {"mixed": scores(stimuli, mixed), "blind": scores(stimuli, blind), "mostly": scores(stimuli, mostly)}
    found = bias.beside(bias.Seen(world, stimuli, observers))
    assert {o: float(e) for o, e in found["cue accuracy"].items()} == {"mixed": 0.5, "blind": 0, "mostly": 0.75}
    guessed = N / 4 / (len(stimuli.categories) - 2)  # what a cue gains where the other categories got a quarter
    assert found["corrected for guessing"]["mixed"] == pytest.approx(0.5)
    corrected = (N * 3 / 4 - guessed) / (N * 3 / 4 - 2 * guessed)
    assert found["corrected for guessing"]["mostly"] == pytest.approx(corrected) and corrected > 1
    assert "blind" not in found["corrected for guessing"]  # guessing explains all of it


def test_a_falling_weighting_favours_low_noise(seen: bias.Seen) -> None:
    table = bias.by_weighting(seen, ["turning"], ["exp(-7t)", "exp(-1t)", "uniform on 0.5-1"]).set_index("weighting")
    assert table.loc["exp(-7t)", "value"] == 0 and table.loc["uniform on 0.5-1", "value"] == 1
    assert table.loc["exp(-7t)", "k"] == 7 and math.isnan(table.loc["uniform on 0.5-1", "k"])


def test_the_explorer_leaves_out_what_it_says(seen: bias.Seen) -> None:
    table = bias.explorer_table(seen, seen.models, (0, 7), (0.0, 0.5))
    turning = table[table["observer"] == "turning"].set_index(["k", "start"])["value"]
    assert turning[7, 0.0] == 0 and turning[7, 0.5] == 1
    text = bias.explorer_text(table).set_index(["k", "start"])["text"]
    assert f"turning: 0 shape, {N} texture, 0 other" in text[7, 0.0]
    assert f"turning: {N} shape, 0 texture, 0 other" in text[7, 0.5]


def test_seeds_of_a_family_stand_together(seen: bias.Seen) -> None:
    found = bias.over_seeds(seen)
    assert (found["shape"].value, found["shape"].low, found["shape"].high, found["shape"].n) == (0.5, 0, 1, 2)
    assert found["turning"].n == 1 and seen.models == ["turning", "shape"]


def test_two_families_with_several_seeds_are_compared_over_them(world: World) -> None:
    stimuli = world.stimuli("cue-conflict", N)
    by_shape, by_texture = (scores(stimuli, lambda row, t, cue=cue: row[cue]) for cue in ("category", "texture"))
    half = scores(
        stimuli, lambda row, t: row["category"] if int(row["name"].rpartition("-")[2]) % 2 else row["texture"]
    )
    answered = {"a": by_shape, "a@1": half, "b": half, "b@1": by_texture, "once": by_shape}
    found = bias.between_families(bias.Seen(world, stimuli, answered))
    assert list(found) == ["a − b"]  # of the third there is one training
    value, low, high = found["a − b"].value, found["a − b"].low, found["a − b"].high
    assert value == pytest.approx(0.5, abs=0.03) and low < 0.5 < high and high - low > 1  # two seeds each, far apart


def test_each_number_says_what_its_scores_come_from(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise seeds 0 to 2 are on record; 3 is computed once and then kept, and compared with 0 and 1."""
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENCLS_OUT", str(tmp_path))
    page = Page("shape_bias", world="shapes")
    for run, seed in (("first", 2), ("second", 3), ("third", 3)):
        seen = bias.look(world, "cue-conflict", ["shapes/pixel"], n=2, seed=seed)
        page.report(f"one draw, {run}", bias.counts(seen)["value"][0], origin=seen.origin("shapes/pixel"))
        page.report(f"several draws, {run}", bias.over_noise(seen, seed)["shapes/pixel"])
    legend = repr(page.close())
    assert [(number.name, number.origin) for number in read_results(tmp_path)] == [
        ("one draw, first", "record"),
        ("several draws, first", "record"),
        ("one draw, second", "computed"),
        ("several draws, second", "mixed"),
        ("one draw, third", "cached"),
        ("several draws, third", "mixed"),
    ]
    assert "earlier on this machine and kept in its cache: 1 (one draw, third)" in legend
    assert "from a record that ships with the book: 2 (one draw, first, several draws, first)" in legend


def test_counts_add_up_and_agree_with_the_bias(seen: bias.Seen) -> None:
    table = bias.counts(seen).pivot(index="observer", columns="decision", values="value")
    assert (table.sum(axis=1) == N).all()
    assert table.loc["turning"].to_dict() == {"shape": 0, "texture": N, "other": 0, "none": 0}


def test_by_category_agrees_with_a_plain_count(seen: bias.Seen) -> None:
    table = bias.frame({"a": [seen.trials("shape")], "b": [seen.trials("turning")]})
    assert set(table[table["observer"] == "a"]["value"]) == {1.0}
    assert set(table[table["observer"] == "b"]["value"]) == {0.0}
    assert set(table["category"]) == {"", *seen.stimuli.table["category"]}


def test_people_are_the_mean_of_each_person() -> None:
    table = bias.people_on_record().set_index("category")
    assert table.loc["", "value"] == pytest.approx(0.9576, abs=5e-5) and table.loc["", "n"] == 10
    assert len(table) == 17 and table["value"].between(0, 1).all()


def test_the_controls_show_that_the_measure_measures(world: World) -> None:
    seen = bias.controls(world, n=96)
    assert set(seen.scored) == {"shapes/control-shape", "shapes/control-texture"}
    assert metrics.shape_bias(seen.trials("shapes/control-shape")) > bias.CONTROL_LIMITS[0]
    assert metrics.shape_bias(seen.trials("shapes/control-texture")) < bias.CONTROL_LIMITS[1]
    assert bias.validity(seen).startswith("Both controls")


def test_a_failing_control_is_said(world: World, seen: bias.Seen) -> None:
    swapped = dict(zip(world.controls, (seen.scored["turning"], seen.scored["shape"]), strict=True))
    assert "A control fails" in bias.validity(bias.Seen(world, seen.stimuli, swapped))
    assert "not on this page" in bias.validity(bias.Seen(world, seen.stimuli))


def test_a_model_that_was_named_must_be_there(world: World) -> None:
    with pytest.raises(GenclsError, match="no model 'no/such'; known are shapes/pixel"):
        bias.look(world, "cue-conflict", ["no/such"], n=2)
    with pytest.raises(GenclsError, match="no stimulus set"):
        bias.look(world, "cue-conflicts", [], n=2)
    with pytest.raises(GenclsError, match="n is 0; ask for at least one"):
        bias.look(world, "cue-conflict", [], n=0)


def test_a_classifier_has_no_noise_level(world: World) -> None:
    seen = bias.look(world, "cue-conflict", ["shapes/control-shape"], n=16)
    table = bias.by_level(seen, seen.models)
    assert seen.generative == [] and len(table) == 1 and math.isnan(table["t"].iloc[0])
    assert isinstance(bias.by_weighting(seen, [], ["uniform"]), pd.DataFrame)


def test_categories_stand_in_the_worlds_order(world: World, seen: bias.Seen) -> None:
    table = bias.biases(seen)
    for _, part in table.groupby("observer", sort=False):
        there = [c for c in world.categories if c in set(part["category"])]
        assert part["category"].tolist() == ["", *there]
    assert list(dict.fromkeys(table["observer"])) == list(seen.scored)


def test_a_cue_is_named_only_where_the_interval_says_so() -> None:
    table = pd.DataFrame(
        [("a", "", 0.9, 0.8, 1.0), ("b", "", 0.1, 0.0, 0.2), ("c", "", 0.6, 0.4, 0.8), ("a@1", "", 0.1, 0.0, 0.2)],
        columns=["observer", "category", "value", "low", "high"],
    )
    lines = bias.plainly(table).splitlines()
    assert lines[0].endswith("by shape: a.") and lines[1].endswith("by texture: b.") and lines[2].endswith(": c.")


def test_models_that_were_named_are_named_where_the_stimuli_are_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    seen = bias.look(gencls.world("full"), "cue-conflict", ["pypi:efficientnet-lite0"])
    assert seen.note().endswith("So nothing was asked of pypi:efficientnet-lite0.") and not seen.models
    assert "nothing was asked" not in bias.look(gencls.world("full"), "cue-conflict").note()
