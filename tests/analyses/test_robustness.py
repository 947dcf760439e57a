"""Accuracy over sets, error consistency, nearness to a group, the noise schedule: known answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gencls import metrics, trials
from gencls.analyses import agreement, noise, robustness
from gencls.analyses.resampling import Weights
from gencls.errors import GenclsError
from gencls.worlds import open_world

WORDS = ("circle", "square")


def made(subj: str, set_name: str, condition: str, right: list[bool], stem: str = "photo") -> pd.DataFrame:
    """Trials of one observer: the k-th stimulus is answered rightly or not."""
    suffix = f"-{set_name}-{condition}" if set_name in robustness.PARAMETRIC else ""
    return pd.DataFrame(
        {
            "subj": subj,
            "object_response": [WORDS[0] if r else WORDS[1] for r in right],
            "category": WORDS[0],
            "condition": condition,
            "texture": "",
            "stimulus": [f"{stem}-{k}{suffix}" for k in range(len(right))],
            "set": set_name,
        }
    )


def test_accuracy_pools_kept_conditions_then_averages_over_sets() -> None:
    table = pd.concat(
        [
            made("a", "rotation", "0", [True] * 4),  # left out by the benchmark
            made("a", "rotation", "90", [True, False, False, False]),
            made("a", "rotation", "180", [True] * 4),
            made("a", "edge", "edge", [True, True, False, False], "edge"),
        ]
    )
    estimate = robustness.ood_accuracy(table)["a"]
    assert estimate.value == pytest.approx((5 / 8 + 1 / 2) / 2)
    assert estimate.n == 12
    assert estimate.low <= estimate.value <= estimate.high


def test_an_observer_that_is_always_right_is_not_certain_to_be() -> None:
    table = pd.concat([made("a", "rotation", angle, [True] * 6) for angle in ("90", "180")])
    table = pd.concat([table, table.assign(subj="b", object_response=WORDS[1])])
    found = robustness.ood_accuracy(table)
    low, high = stats.binomtest(6, 6).proportion_ci()  # of six photos, each under two conditions
    assert (found["a"].low, found["a"].high) == pytest.approx((low, high)) and found["a"] == 1
    assert (found["b"].low, found["b"].high) == pytest.approx((1 - high, 1 - low)) and found["b"] == 0


def test_who_lacks_a_set_has_no_overall_accuracy() -> None:
    table = pd.concat(
        [
            made("a", "edge", "edge", [True] * 4),
            made("a", "sketch", "0", [True] * 4),
            made("b", "edge", "edge", [True] * 4),
        ]
    )
    assert list(robustness.ood_accuracy(table)) == ["a"]


def test_one_photo_under_many_conditions_is_one_image() -> None:
    """Ten copies of the same answers say no more than one, so the interval must not shrink."""
    right = [k % 3 > 0 for k in range(30)]
    levels = ["c50", "c30", "c15", "c10", "c05"]
    once = robustness.ood_accuracy(made("a", "contrast", "c50", right))["a"]
    copies = robustness.ood_accuracy(pd.concat([made("a", "contrast", level, right) for level in levels]))["a"]
    assert copies.value == once.value
    assert copies.high - copies.low == pytest.approx(once.high - once.low, abs=1e-9)


def test_other_images_are_drawn_anew_and_the_same_ones_alike() -> None:
    weigh = Weights(20, seed=0)
    some, others = weigh.images(("a", "b", "c")), weigh.images(("d", "e", "f"))
    assert (some != others).any() and weigh.images(("a", "b", "c")) is some
    assert (Weights(20, seed=0).images(("a", "b", "c")) == some).all()


def test_equal_observers_do_not_differ() -> None:
    right = [True, False] * 10
    table = pd.concat([made(s, "edge", "edge", right) for s in "ab"])
    row = robustness.ood_differences(table).iloc[0]
    assert (row.value, row.low, row.high, row.p_holm) == (0, 0, 0, 1)


def test_a_clear_difference_among_many_stands_after_correction() -> None:
    """Eleven observers make 55 pairs; with 2,000 draws no corrected p could be below .05."""
    rng = np.random.default_rng(0)
    right = [list(rng.random(120) < share) for share in (0.95, *[0.5] * 10)]
    tests = robustness.ood_differences(pd.concat([made(f"o{k}", "edge", "edge", r) for k, r in enumerate(right)]))
    best = tests[tests["observer_a"] == "o0"]
    assert len(tests) == 55 and (best["p_holm"] < 0.05).all()
    assert robustness.standing(tests).startswith("Of 55 differences, 10 stand after correction: o0 above o1, ")
    assert robustness.standing(tests.iloc[:0]).startswith("Fewer than two")


def test_conditions_stand_in_the_order_of_their_levels() -> None:
    assert robustness.ordered("high-pass", ["4.0", "inf", "14.0", "7.0"]) == ["inf", "14.0", "7.0", "4.0"]
    assert robustness.ordered("high-pass", ["3.0", "10.0", "5.0"]) == ["10.0", "5.0", "3.0"]
    assert robustness.ordered("rotation", ["270", "0", "90"]) == ["0", "90", "270"]


def test_an_explorer_counts_levels_and_names_them_as_the_figure_does() -> None:
    table = pd.DataFrame({"set": "contrast", "observer": "net", "condition": ["c50", "c05"], "value": [0.6, 0.5]})
    rows = robustness.explorer_curves(table.assign(person="", low=0.4, high=0.9, n=55))
    assert rows[["level", "tick"]].values.tolist() == [[1, "50"], [2, "5"]] and set(rows["xlabel"]) == {"contrast (%)"}


def test_failures_are_counted_from_the_worst() -> None:
    right = {"rotation": ("90", 2), "high-pass": ("1.0", 5), "contrast": ("c50", 8), "uniform-noise": ("0.1", 9)}
    table = pd.concat([made("net", s, c, [k < n for k in range(10)]) for s, (c, n) in right.items()])
    said = robustness.about_failures(table, ["net", "nobody"])
    assert said.endswith("\n\n- **net**: rotation is number 1 and high-pass is number 2 of 4.")


def test_the_mean_of_people_has_the_lowest_and_the_highest_of_them() -> None:
    people = [made(f"subject-0{i}", "edge", "0", [k < n for k in range(10)]) for i, n in ((1, 4), (2, 9))]
    rows = robustness.by_condition(pd.concat([*people, made("net", "edge", "0", [True] * 5 + [False] * 5)]))
    found = robustness.mean_of_people(rows).set_index("observer")
    assert found.loc["people", ["value", "low", "high", "n"]].tolist() == pytest.approx([0.65, 0.4, 0.9, 2])
    assert found.loc["net", "value"] == 0.5


def test_kappa_is_that_of_the_measure() -> None:
    rng = np.random.default_rng(0)
    a, b = (made(s, "rotation", "90", list(rng.random(60) < 0.6)) for s in "ab")
    found, rows = agreement.consistency(pd.concat([a, b]), {"pair": [("a", "b")]})
    assert found["pair"].value == pytest.approx(metrics.error_consistency(a, b, None).value)
    assert rows["n"].tolist() == [60]


def test_a_condition_without_kappa_is_left_out() -> None:
    half = [True, False] * 8
    table = pd.concat([made(s, "rotation", c, r) for s in "ab" for c, r in [("90", half), ("180", [True] * 16)]])
    found, rows = agreement.consistency(table, {"pair": [("a", "b")]})
    assert found["pair"].value == pytest.approx(1)
    assert found["pair"].n == 1
    assert math.isnan(rows.set_index("condition").at["180", "value"])


def test_a_copy_of_the_group_is_nearer_than_a_guesser() -> None:
    rng = np.random.default_rng(1)
    own = rng.random(200) < 0.5
    people = [made(f"subject-{i:02d}", "edge", "0", list(own ^ (rng.random(200) < 0.1))) for i in range(3)]
    table = pd.concat(
        [*people, made("copy", "edge", "0", list(own)), made("guess", "edge", "0", list(rng.random(200) < 0.5))]
    )
    near, tests = agreement.closeness(table, [p["subj"].iloc[0] for p in people], ["copy", "guess"])
    assert near["guess"].low < 0.1 < near["each other"].value < near["copy"].value
    pair = tests.set_index(["observer_a", "observer_b"]).loc[("copy", "guess")]
    assert pair["p_holm"] < 0.05 and pair["low"] > 0


def test_people_on_record_agree_with_their_own_table() -> None:
    kappas = agreement.people_on_record()
    ends = agreement.ceiling(kappas)
    of_pairs = metrics.kept(kappas).groupby(["set", "person"])["value"].mean().groupby("set")
    assert {name: e.value for name, e in ends.items()} == pytest.approx(of_pairs.mean().to_dict())
    assert {name: (e.low, e.high) for name, e in ends.items()} == {
        str(name): (own.min(), own.max()) for name, own in of_pairs
    }
    sets = list(robustness.PARAMETRIC)
    people = robustness.people_on_record(sets)
    assert set(people["set"]) == set(sets)
    overall = robustness.ood_people_on_record(sets)
    by_set = metrics.kept(trials.human_reference("accuracy").query("set in @sets")).groupby("set")[["correct", "n"]]
    pooled = by_set.sum()
    assert overall.value == pytest.approx((pooled["correct"] / pooled["n"]).mean(), abs=1e-12)
    assert overall.n == pooled["n"].sum()


def test_peoples_overall_interval_on_record_is_the_bootstraps(mirror: Path) -> None:
    sets = ["edge", "rotation", "cue-conflict"]
    table = pd.concat([trials.load(name) for name in sets], ignore_index=True)
    drawn = robustness.ood_accuracy(robustness.together(table))["people"]
    shipped = robustness.ood_people_on_record(sets)
    assert (shipped.value, shipped.n) == (pytest.approx(drawn.value, abs=1e-12), drawn.n)
    assert shipped.low == pytest.approx(drawn.low, abs=2e-3) and shipped.high == pytest.approx(drawn.high, abs=2e-3)


@pytest.mark.parametrize("values", [(-0.1, 1, 1), (0.5, 0.2, 1), (0, 1, 1.5)])
def test_a_schedule_outside_its_range_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(GenclsError, match="noise schedule"):
        noise.Schedule(*values)


def test_two_networks_that_never_see_noise_are_the_same() -> None:
    world = open_world("shapes")
    made_two = noise.train_two(world, noise.Schedule(share=0.0), steps=2, width=16, batch=4, photos=16, seed=3)
    clean, other = (dict(made_two[name].network.state_dict()) for name in ("clean", "noised"))
    assert all((clean[k] == other[k]).all() for k in clean)
    assert noise.difference(world, [made_two["clean"]], [made_two["noised"]], 24) == 0


def test_noise_alone_leaves_nothing_to_see() -> None:
    """At a share of 1 the image is gone: another image with the same name gets the same answer."""
    import torch

    from gencls.models.discriminative import DiscriminativeModel
    from gencls.training.classifiers import resnet

    model = noise.noised(DiscriminativeModel(resnet(0, 16), "net", open_world("shapes").categories, 32), 1.0)
    draws = torch.randn(1, 3, 32, 32)
    black, white = (np.full((32, 32, 3), v, np.uint8) for v in (0, 255))
    one, two = (model.log_probabilities([image], model.classes, draws) for image in (black, white))
    assert np.allclose(one, two, atol=1e-5)
    with pytest.raises(GenclsError, match="noise at test"):
        noise.noised(model, 1.2)


@pytest.mark.parametrize("check", [0, 2, 7])
def test_as_many_stimuli_as_asked_are_scored_afresh_whatever_the_number_of_sets(check: int) -> None:
    sets = ["edge", "silhouette", "texture"]
    seen = robustness.answered(open_world("shapes"), sets, ["shapes/resnet"], n=4, check=check)
    assert seen.checked == check and seen.origin("shapes/resnet") == "record"


def test_fewer_than_one_stimulus_is_not_taken_for_a_set_that_is_not_here() -> None:
    with pytest.raises(GenclsError, match="n is -3; ask for at least one"):
        robustness.answered(open_world("shapes"), ["edge"], [], n=-3)
