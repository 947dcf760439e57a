"""Known answers of the chapter on causes: octaves, intervals over seeds, compact records, probes, the naive method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gencls.analyses import driver_scores, drivers, octaves, probes, reliability
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.weightings import answers
from gencls.metrics import seeded
from gencls.models.zoo import open_model
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import SHAPES, ShapesWorld


def scores(errors: np.ndarray) -> xr.Dataset:
    """Errors stimulus × class × t of cue-conflict stimuli; the shape is class a, the texture class b."""
    n, _, k = errors.shape
    same = {"condition": "cue-conflict", "category": "a", "texture": "b"}
    return xr.Dataset(
        {"error": (("stimulus", "class", "t", "draw"), errors[..., None])},
        coords={"stimulus": [f"s{i}" for i in range(n)], "class": list("abcd"), "t": (np.arange(k) + 0.5) / k}
        | {"log_snr": ("t", np.linspace(6, -6, k)), "quadrature": ("t", np.full(k, 1 / k))}
        | {name: ("stimulus", [value] * n) for name, value in same.items()},
    )


def by_decisions(shape: int, texture: int, other: int) -> xr.Dataset:
    rows = [0] * shape + [1] * texture + [2] * other
    return scores(1.0 - np.eye(4)[rows][:, :, None])


def test_the_octaves_of_an_error_sum_to_the_whole_error() -> None:
    residual = torch.randn(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    split = driver_scores.by_band(residual)
    assert torch.allclose(split.sum(-1), residual.double().square().sum((-1, -2, -3)), rtol=1e-6)
    assert (driver_scores.band_masks(32).sum(0) == 1).all()


@pytest.mark.parametrize(("cycles", "band"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (8, 3), (15, 3), (16, 4)])
def test_a_grating_is_in_its_octave(cycles: int, band: int) -> None:
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(32) / 32).expand(3, 32, 32)
    split = driver_scores.by_band(wave)
    assert split[band] > 0.999 * split.sum() > 0


def test_the_octaves_of_the_shipped_model_sum_to_its_errors() -> None:
    from gencls.likelihood.plans import Exhaustive
    from gencls.likelihood.scoring import score

    some = ShapesWorld().stimuli("cue-conflict", 2)
    whole = score(open_model("shapes/pixel"), some, plan=Exhaustive(2), progress=False)
    split = driver_scores.octaves("shapes/pixel", some, Exhaustive(2))
    assert np.allclose(split["error"].sum("band").values, whole["error"].values, rtol=1e-4)
    assert np.allclose(split["log_snr"], whole["log_snr"]) and np.allclose(split["t"], whole["t"])


def test_a_compact_record_answers_as_the_scores_do() -> None:
    rng = np.random.default_rng(0)
    whole = scores(200 + rng.standard_normal((50, 4, 3)))
    again = drivers.expanded(drivers.compact(whole))
    assert answers(again, "uniform") == answers(whole, "uniform")
    assert np.allclose(again["error"], whole["error"], atol=3e-3)


def test_the_bias_of_seeds_is_their_mean_and_a_seed_that_differs_widens_the_interval() -> None:
    alike = [by_decisions(60, 20, 20)] * 3
    mean = drivers.bias(alike, "uniform")
    assert (mean.value, mean.n) == pytest.approx((0.75, 240)) and mean.points == pytest.approx([0.75] * 3)
    other = drivers.bias([by_decisions(60, 20, 20), by_decisions(60, 20, 20), by_decisions(20, 60, 20)], "uniform")
    assert other.value == pytest.approx((0.75 + 0.75 + 0.25) / 3)
    assert other.high - other.low > 2 * (mean.high - mean.low)
    assert drivers.cue_accuracy(alike, "uniform").value == pytest.approx(0.8)


def test_the_interval_of_one_seed_is_that_of_its_stimuli() -> None:
    one = drivers.bias([by_decisions(75, 25, 0)], "uniform")
    expected = 1.96 * (0.75 * 0.25 / 100) ** 0.5
    assert one.high - one.value == pytest.approx(expected, rel=0.1)


def test_all_right_is_not_certain() -> None:
    found = seeded.ratio([np.ones(32)] * 3, [np.ones(32)] * 3)
    assert found.value == found.high == 1 and found.low == pytest.approx(32 / (32 + 1.96**2))


def test_a_seed_that_decided_nothing_is_left_out() -> None:
    one, none = np.ones(40), np.zeros(40)
    assert seeded.ratio([one, none], [one, none]).low == seeded.ratio([one], [one]).low > 0.9


def test_all_against_none_is_a_difference_without_an_interval() -> None:
    one, none = np.ones(4), np.zeros(4)
    for found in (seeded.contrast([[(one, one)], [(none, one)]], (1, -1)), seeded.paired([one], [one], [none], [one])):
        assert found == 1 and np.isnan([found.low, found.high]).all()
    same = seeded.contrast([[(one, one)], [(one, one)]], (1, -1))
    assert same == same.low == same.high == 0


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_intervals_hold_their_value_within_the_unit(hits: list[list[bool]]) -> None:
    found = seeded.ratio([np.array(h) for h in hits], [np.ones(6)] * len(hits))
    assert 0 <= found.low <= found.value + 1e-12 and found.value - 1e-12 <= found.high <= 1


def test_a_difference_of_a_model_with_itself_is_none_and_of_opposites_is_sure() -> None:
    a, b = [by_decisions(80, 20, 0)] * 3, [by_decisions(20, 80, 0)] * 3
    same, apart = drivers.difference(a, a, "uniform"), drivers.difference(a, b, "uniform")
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0))
    assert apart.value == pytest.approx(0.6) and apart.low > 0
    assert [drivers.sentence(e, "up", "down", "same") for e in (apart, same)] == ["up", "same"]


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    labels = np.tile(np.array(list("abcd")), 60)
    signal = (labels[:, None] == np.array(list("abcd"))).astype(float)
    x = np.concatenate([signal + 0.3 * rng.standard_normal(signal.shape), rng.standard_normal((240, 30))], 1)
    assert (probes.probe(x[:160], [labels[:160]], x[160:])[0] == labels[160:]).mean() > 0.8
    noise = rng.standard_normal((240, 300))
    assert (probes.probe(noise[:160], [labels[:160]], noise[160:])[0] == labels[160:]).mean() < 0.5


def test_the_naive_method_takes_the_nearest_image() -> None:
    pixels = np.array([[[[200, 10, 10]]], [[[10, 200, 10]]]], np.uint8)
    table = pd.DataFrame({"name": ["r", "g"], "category": ["x", "y"], "condition": "c", "texture": ""})
    shown = StimulusSet("two", table, lambda i: pixels[i], ["x", "y"])
    made = np.array([[[[[1, 0, 0]]], [[[0, 0, 1]]]], [[[[0, 1, 0]]], [[[1, 1, 1]]]]], float)
    assert drivers.nearest(made, shown) == ["x", "y"]


def test_generated_images_have_their_place() -> None:
    made = driver_scores.generate("shapes/pixel", 1, 2)
    assert made.shape == (len(SHAPES), 1, 32, 32, 3) and 0 <= made.min() <= made.max() <= 1
    assert np.array_equal(made, driver_scores.generate("shapes/pixel", 1, 2))


def test_features_of_every_layer_and_level() -> None:
    some = ShapesWorld().stimuli("cue-conflict", 2)
    for model, layers in (
        ("shapes/pixel", ["pixels", "block 1", "block 2", "block 3", "block 4"]),
        ("shapes/resnet", None),
    ):
        found = list(driver_scores.features(model, some, [0.0, 0.5]))
        names = [name for name, t, _ in found if t == 0.5]
        assert len(names) > 3 and (layers is None or names == layers)
        assert all(x.shape[0] == 2 and np.isfinite(x).all() for _, _, x in found)


def test_the_tokens_of_an_image_are_what_the_decoder_is_fed(tmp_path: Path) -> None:
    from gencls.training.autoregressive import janus

    made = janus(0, width=64, depth=1, side=32)
    made.save_pretrained(tmp_path / "ar")
    some = ShapesWorld().stimuli("cue-conflict", 2)
    (_, _, pixels), (name, t, tokens) = driver_scores.features(str(tmp_path / "ar"), some, [0.0, 0.5])
    assert (name, t, tokens.shape, pixels.shape) == ("tokens", 0.0, (2, 64, 64), (2, 1024, 3))
    codes = open_model(str(tmp_path / "ar")).encode(list(some.images()))
    assert np.array_equal(codes[0] == codes[1], (tokens[0] == tokens[1]).all(-1))


def test_a_model_without_a_record_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drivers, "FOLDER", tmp_path)
    with pytest.raises(GenclsError, match="drivers/nobody has no record"):
        drivers.seeds("drivers/nobody")


def test_the_conclusions_claim_no_more_than_the_intervals() -> None:
    up, down, across = drivers.Estimate(0.8, 0.7, 0.9), drivers.Estimate(0.2, 0.1, 0.3), drivers.Estimate(0.5, 0.3, 0.7)
    less = drivers.Estimate(-0.2, -0.3, -0.1)
    said = drivers.conclusions(
        {"one": less, "two": less, "three": up, "four": drivers.Estimate(0.0, -0.1, 0.1)},
        {("a", "w"): up, ("b", "w"): down, ("c", "w"): across},
        "w",
        {"w": up, "uniform": less, "snr": less, "other": drivers.Estimate(0.0, -0.1, 0.1)},
        ["a", "b", "c"],
    )
    assert "a cycles by shape; b cycles by texture; c cycles by neither" in said
    assert (
        "Of 4 generative models, read under `w` and not uniformly, 1 go more by shape, 2 go *less* by shape, and of 1 it cannot"
        in said
    )
    assert (
        "more by shape than the classifier under `w`; *less* by shape than the classifier under `uniform`, `snr`;"
        in said
    )
    assert "for sure, than the classifier under `other`." in said


def test_two_ways_of_reading_the_same_seeds_are_paired() -> None:
    hits, other = [np.array([1, 1, 1, 0])] * 2, [np.array([0, 0, 1, 0])] * 2
    whole = [np.ones(4)] * 2
    found = seeded.paired(hits, whole, other, whole)
    assert found.value == pytest.approx(0.5) and seeded.paired(hits, whole, hits, whole).high == 0


def test_models_that_learned_little_are_named() -> None:
    table = pd.DataFrame({"observer": ["a", "b", "c"], "accuracy": [0.2, 0.9, np.nan]})
    assert "**a** did not" in drivers.weak(table) and "most photos" in drivers.weak(table[1:])


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An empty shelf of records, and what puts toy ones on it."""
    monkeypatch.setattr(drivers, "FOLDER", tmp_path)
    drivers.on_record.cache_clear()

    def keep(model: str, *each: xr.Dataset, what: str = "") -> None:
        for seed, made in enumerate(each):
            name = model if seed == 0 else f"{model}@{seed}"
            records.write(drivers.compact(made), tmp_path / drivers.record_name(name, what))

    yield keep
    drivers.on_record.cache_clear()


def both(conflicts: xr.Dataset) -> xr.Dataset:
    """Cue-conflict stimuli, and as many photos that are all named rightly."""
    n = conflicts.sizes["stimulus"]
    photos = by_decisions(n, 0, 0).assign_coords(stimulus=[f"p{i}" for i in range(n)])
    photos = photos.assign_coords(condition=("stimulus", ["photos"] * n), texture=("stimulus", [""] * n))
    return xr.concat([photos, conflicts], "stimulus", data_vars="minimal", coords="minimal")


def test_a_model_that_weighs_cues_swings_and_one_that_takes_the_easy_cue_does_not(shelf: Callable[..., None]) -> None:
    generative, resnet = reliability.WEIGHING
    for end, shape in zip(reliability.UNRELIABLE.values(), (10, 30, 50, 70, 90), strict=True):
        shelf(generative + end, *[both(by_decisions(shape, 100 - shape, 0))] * 3)
        shelf(resnet + end, *[both(by_decisions(15, 85, 0))] * 3)
    curves = reliability.by_reliability(reliability.WEIGHING, "uniform")
    seen = curves[(curves["set"] == "shape bias") & (curves["observer"] == generative)]
    assert seen["value"].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert set(curves[curves["set"] == "accuracy"]["value"]) == {1.0}
    found = reliability.swings(reliability.WEIGHING, "uniform")
    assert found[generative].value == pytest.approx(0.8) and found[generative].low > 0
    assert found[resnet].value == 0
    gap = reliability.swing_gap(resnet, generative, "uniform")
    assert gap.value == pytest.approx(0.8) and gap.low > 0
    weighs, easy = reliability.swing_verdict(found, curves).splitlines()
    assert "more by the cue that was reliable" in weighs and "none: neither for sure; texture ¾: shape" in weighs
    assert "does not follow" in easy and "texture ½: texture" in easy


def test_octaves_below_a_cutoff_are_those_below_it_and_stand_beside_the_resnet_of_such_photos(
    shelf: Callable[..., None],
) -> None:
    # the two lowest octaves say shape, faintly, the third texture, strongly; the others nothing
    parts = [both(by_decisions(100, 0, 0)), both(by_decisions(100, 0, 0)), 9 * both(by_decisions(0, 100, 0))["error"]]
    errors = [p["error"] if isinstance(p, xr.Dataset) else p for p in parts]
    errors += [0 * errors[0]] * 2
    split = xr.concat(errors, pd.Index(list(driver_scores.BANDS), name="band")).transpose(..., "band")
    shelf("toy", parts[0].drop_vars("error").assign(error=split), what="octaves")
    shelf("drivers/resnet-below-4", both(by_decisions(20, 80, 0)))
    rows = octaves.low_passed("toy", "uniform")
    alone = rows[(rows["set"] == "shape bias") & (rows["observer"] == "toy, octaves")]
    assert dict(zip(alone["condition"], alone["value"], strict=True)) == {
        "below 2": 1, "below 4": 1, "below 8": 0, "below 16": 0, "all": 0,
    }  # fmt: skip
    net = rows[rows["observer"] == "drivers/resnet, trained on these"]
    assert net[net["set"] == "shape bias"][["condition", "value"]].to_numpy().tolist() == [["below 4", 0.2]]
    gap = octaves.low_pass_gap("toy", "uniform")
    assert list(gap) == ["below 4"] and gap["below 4"].value == pytest.approx(0.8)
    assert "more by shape than the ResNet: below 4" in octaves.gap_verdict(gap)
    assert np.allclose(octaves.whole("toy")[0]["error"], split.sum("band"), atol=1e-2)


def test_margins_of_the_octaves_are_percent_of_the_mean_margin_and_sum_to_it(shelf: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    texture = np.eye(4)[:, 1:2]
    parts = [scores(rng.standard_normal((20, 4, 2)) + k * texture) for k in (3, -1, 0)]  # x says shape, y texture
    split = xr.concat([p["error"] for p in parts], pd.Index(list("xyz"), name="band")).transpose(..., "band")
    shelf("toy", parts[0].drop_vars("error").assign(error=split), what="octaves")
    found = octaves.margins("toy", "uniform")
    each = (split.sel({"class": "b"}) - split.sel({"class": "a"})).mean(["t", "draw"])
    mean = float(abs(each.sum("band")).mean())
    for band in "xyz":
        assert found[band].value == pytest.approx(100 * float(each.sel(band=band).mean()) / mean, abs=0.5)
    assert found["x"].value > 0 > found["y"].value
    assert sum(found[b].value for b in "xyz") == pytest.approx(found["all"].value)
    assert found["all"].low < found["all"].value < found["all"].high


def test_read_under_two_weightings_the_first_less_the_second(shelf: Callable[..., None]) -> None:
    """Low noise says shape, faintly, high noise texture: by the paper's weighting shape, by the uniform one texture."""
    errors = np.array([[0.0, 3.0], [1.0, 0.0], [9.0, 9.0], [9.0, 9.0]])  # class × t
    shelf("toy", scores(np.tile(errors, (20, 1, 1))))
    found = drivers.read_two_ways(["toy"], "exp(-7t)", "uniform")
    assert found["toy"].value == 1


def test_where_a_weighting_decides_is_measured_on_what_the_classes_differ_by() -> None:
    errors = np.arange(4.0)[None, :, None] * [4, 2, 2, 2] * np.ones((5, 1, 1))  # at t = 1/8, 3/8, 5/8, 7/8
    assert drivers.where("uniform", scores(errors)) == pytest.approx(0.4)


def test_a_classifier_is_run_once_for_all_classes(shelf: Callable[..., None]) -> None:
    facts = {"facts": '{"seconds": 60, "presentations": 1000}'}
    for model in ("toy", drivers.RESNET):
        shelf(model, by_decisions(10, 10, 10).assign_attrs(facts))
    found = drivers.costs(["toy", drivers.RESNET]).set_index("observer")
    assert found["evaluations"].to_dict() == {"toy": 30 * 4, drivers.RESNET: 30}
    assert found.loc["toy", ["seeds", "seconds", "presentations"]].tolist() == [1, 60, 1000]


def test_what_the_chapter_names_has_a_recipe_and_the_cutoffs_are_where_octaves_meet() -> None:
    from gencls.training.recipes import LOW_PASSES, RECIPES

    named = [*drivers.GENERATIVE, drivers.CLASSIFIER, *drivers.TELLINGS, *drivers.FAMILIES]
    assert {*named, *octaves.resnets(), *reliability.unreliable()} <= set(RECIPES)
    assert octaves.CUTOFFS == LOW_PASSES == driver_scores.EDGES[1:-1]


def test_a_likelihood_is_kept_as_the_sum_over_its_tokens() -> None:
    rng = np.random.default_rng(3)
    tokens = -rng.random((5, 4, 7)).astype("float32")
    plain = scores(np.zeros((5, 4, 1))).drop_vars("error").drop_dims(["t", "draw"], errors="ignore")
    made = plain.assign(log_likelihood=(("stimulus", "class", "token"), tokens))
    kept = drivers.expanded(drivers.compact(made))
    assert kept["log_likelihood"].sizes["token"] == 1
    assert answers(kept, "uniform") == answers(made, "uniform")


def test_a_wording_that_changes_an_answer_is_named_with_its_difference(shelf: Callable[..., None]) -> None:
    for i, shape in enumerate((90, 90, 40)):
        shelf("some/model", both(by_decisions(shape, 100 - shape, 0)), what=f"prompt{i}")
    found = drivers.between_prompts("some/model", "uniform")
    assert list(found) == list(drivers.TEMPLATES[1:3])
    same, less = (found[template]["shape bias"] for template in found)
    assert same.value == 0 and less.value == pytest.approx(-0.5) and less.high < 0
    assert drivers.otherwise({drivers.TEMPLATES[1]: found[drivers.TEMPLATES[1]]}).startswith("Nothing")
    assert drivers.otherwise(found).count(";") == 0 and "lowers shape bias by 0.50 [" in drivers.otherwise(found)
    bare = drivers.otherwise({"{}": found[drivers.TEMPLATES[2]]})
    assert "the bare name lowers shape bias" in bare and "Against “A bad photo of a …”" in bare
    assert drivers.between_prompts("nobody/else") == {}
