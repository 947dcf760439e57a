"""Known answers, edge cases and bad input of the measures of one and of two observers."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gencls import metrics
from gencls.errors import GenclsError
from gencls.metrics import Bootstrap, Estimate

FEW = Bootstrap(draws=500)


def observer(correct: Sequence[int | bool], subj: str = "a") -> pd.DataFrame:
    answers = ["cat" if c else "dog" for c in correct]
    names = [f"image {i}" for i in range(len(answers))]
    frame = pd.DataFrame({"object_response": answers, "stimulus": names}, dtype=object)
    return frame.assign(subj=subj, category="cat", condition="0")


def conflict(shape: int, texture: int, other: int = 0, na: int = 0, agree: int = 0) -> pd.DataFrame:
    """Cat shapes with dog textures; `agree` trials have two dog cues and are answered with dog."""
    answers = ["cat"] * shape + ["dog"] * texture + ["bear"] * other + ["na"] * na + ["dog"] * agree
    frame = pd.DataFrame({"object_response": answers}, dtype=object)
    frame["category"] = ["cat"] * (len(answers) - agree) + ["dog"] * agree
    return frame.assign(subj="a", texture="dog", condition="0", stimulus=[f"x{i}" for i in range(len(answers))])


# ---- the estimate


def test_estimate_is_a_float_that_knows_its_interval() -> None:
    e = Estimate(0.24, 0.21, 0.27, 819, "shape bias", "bca", counts=(1, 2))
    assert repr(e) == str(e) == "0.24 [0.21, 0.27], n = 819"
    assert e + 0.01 == pytest.approx(0.25)
    assert f"{e:.3f}" == "0.240"
    assert e.counts == (1, 2)
    with pytest.raises(AttributeError, match="carries"):
        _ = e.nothing


def test_estimate_survives_pickling_and_json() -> None:
    e = metrics.shape_bias(conflict(8, 4, 3, 2), bootstrap=FEW)
    again = pickle.loads(pickle.dumps(e))
    assert (again, again.low, again.shape, again.corrected.high) == (e, e.low, e.shape, e.corrected.high)
    plain = json.loads(json.dumps(e.to_dict()))
    assert plain["value"] == e and plain["n"] == 12 and plain["corrected"]["value"] == e.corrected


def test_undefined_prints_as_such() -> None:
    assert repr(Estimate(math.nan, n=0)) == "undefined, n = 0"
    assert Estimate(math.nan).undefined
    assert "by convention" in repr(metrics.error_consistency(observer([1, 1]), observer([1, 1], "b")))


def test_frame_of_estimates() -> None:
    frame = metrics.to_frame({"x": Estimate(0.5, 0.4, 0.6, 10)})
    assert frame.loc["x", ["value", "low", "high", "n"]].tolist() == [0.5, 0.4, 0.6, 10]


# ---- one observer


def test_no_answer_is_wrong() -> None:
    trials = observer([1, 1, 1, 0])
    trials.loc[0, "object_response"] = "na"
    assert metrics.accuracy(trials, FEW) == 0.5


@pytest.mark.parametrize("right", [0, 20])
def test_all_or_none_right_has_an_exact_interval(right: int) -> None:
    """Clopper and Pearson for 20 of 20: the lower limit is 0.025^(1/20)."""
    e = metrics.accuracy(observer([1] * right + [0] * (20 - right)), FEW)
    limit = 0.025 ** (1 / 20)
    assert (e.low, e.high) == pytest.approx((limit, 1) if right else (0, 1 - limit))


def test_accuracy_interval_is_about_the_binomial_one() -> None:
    """p = 0.3, n = 1,000: standard error 0.01449."""
    e = metrics.accuracy(observer([1] * 300 + [0] * 700))
    assert (e.low, e.high) == pytest.approx((0.3 - 0.0284, 0.3 + 0.0284), abs=0.002)


def test_shape_bias_counts_only_conflicting_cues() -> None:
    e = metrics.shape_bias(conflict(30, 10, 5, 5, agree=7), bootstrap=FEW)
    assert (e, e.shape, e.texture, e.other, e.na, e.trials, e.n) == (0.75, 30, 10, 5, 5, 50, 40)
    assert e.cue_accuracy == pytest.approx(0.8) and e.cue_accuracy.n == 50


def test_shape_bias_corrected_for_guessing() -> None:
    """Knowing the shape on 100 trials and guessing evenly among four answers on 400 is no bias to texture."""
    e = metrics.shape_bias(conflict(200, 100, 200), bootstrap=FEW, categories=("cat", "dog", "bear", "bird"))
    assert e == pytest.approx(2 / 3)
    assert e.corrected == pytest.approx(1.0)  # g = 200 / 2
    assert e.corrected.low < 1 < e.corrected.high  # not clipped


def test_pure_guessing_has_no_corrected_bias() -> None:
    e = metrics.shape_bias(conflict(100, 100, 200), bootstrap=FEW, categories=("cat", "dog", "bear", "bird"))
    assert e == 0.5 and e.corrected.undefined and math.isnan(e.corrected)


def test_no_answer_does_not_enter_the_guesses() -> None:
    with_na, without = conflict(20, 10, 4, na=9), conflict(20, 10, 4)
    assert (
        metrics.shape_bias(with_na, bootstrap=None).corrected == metrics.shape_bias(without, bootstrap=None).corrected
    )


def test_shape_bias_without_decisions_is_undefined() -> None:
    for trials in (conflict(0, 0, 5, 5), conflict(0, 0, agree=5)):
        e = metrics.shape_bias(trials, bootstrap=FEW)
        assert e.undefined and math.isnan(e) and e.n == 0


def test_shape_bias_by_category_and_person() -> None:
    first, second = conflict(3, 1), conflict(1, 3)
    both = pd.concat([first, second.assign(subj="b")], ignore_index=True)
    people = metrics.shape_bias(both, by="subj", bootstrap=FEW)
    assert {k: float(v) for k, v in people.items()} == {"a": 0.75, "b": 0.25}
    assert metrics.shape_bias(first, by="category", bootstrap=None)["cat"] == 0.75


def test_confusion_columns_are_what_was_presented() -> None:
    trials = conflict(6, 2, 1, 1)
    table = metrics.confusion(trials, FEW)
    assert table.loc[["cat", "dog", "bear", "na"], "cat"].tolist() == [0.6, 0.2, 0.1, 0.1]
    assert table["dog"].isna().all() and {e.n for e in table["dog"]} == {0}
    assert table.index[-1] == "na" and len(table.columns) == 16
    assert table.astype(float)["cat"].sum() == pytest.approx(1)


def test_entropy_known_answers() -> None:
    assert metrics.response_entropy(conflict(2, 2, 2), FEW) == pytest.approx(math.log2(3))
    assert metrics.response_entropy(conflict(5, 0), FEW) == 0
    assert metrics.response_entropy(conflict(1, 0, na=1), FEW) == pytest.approx(0.5)  # na is no category


# ---- two observers


def test_kappa_known_answer() -> None:
    """The textbook table 20, 5, 10, 15: observed 0.7, expected 0.5, κ = 0.4."""
    a = observer([1] * 25 + [0] * 25)
    b = observer([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15, "b")
    e = metrics.error_consistency(a, b, FEW)
    assert (float(e), e.observed, e.expected) == pytest.approx((0.4, 0.7, 0.5))
    assert e.counts == (20, 5, 10, 15) and e.n == 50
    assert e.low < 0.4 < e.high


@pytest.mark.parametrize("value", [0, 1])
def test_both_always_right_or_wrong_is_one_by_convention(value: int) -> None:
    e = metrics.error_consistency(observer([value] * 9), observer([value] * 9, "b"), FEW)
    assert e == 1 and e.undefined and math.isnan(e.low)


def test_a_constant_observer_is_at_chance() -> None:
    e = metrics.error_consistency(observer([1] * 10), observer([1, 0] * 5, "b"), FEW)
    assert e == 0 and not e.undefined and (e.low, e.high) == (0, 0)


def test_right_where_the_other_is_wrong() -> None:
    e = metrics.error_consistency(observer([1, 0] * 5), observer([0, 1] * 5, "b"), FEW)
    assert e == -1 == e.bounds[0]


def test_full_agreement_is_not_certain() -> None:
    e = metrics.error_consistency(observer([1, 0] * 10), observer([1, 0] * 10, "b"), FEW)
    assert e == 1 == e.high and 0.5 < e.low < 0.9


def test_same_image_in_two_conditions_meets_by_condition() -> None:
    twice = [observer(c).assign(condition=str(k)) for k, c in enumerate(([1, 1, 0], [0, 0, 1]))]
    a, b = pd.concat(twice, ignore_index=True), pd.concat(twice[::-1], ignore_index=True).assign(subj="b")
    assert metrics.error_consistency(a, b, FEW) == 1


def test_squared_difference_takes_its_interval_from_the_signed_one() -> None:
    a, b = observer([1] * 60 + [0] * 40), observer([1] * 30 + [0] * 70, "b")
    e = metrics.accuracy_difference(a, b, FEW)
    assert e == pytest.approx(0.09) and e.signed == pytest.approx(0.3)
    assert (e.low, e.high) == pytest.approx((e.signed.low**2, e.signed.high**2))
    same = metrics.accuracy_difference(observer([1, 0] * 30), observer([0, 1] * 30, "b"), FEW)
    assert same == same.low == 0 < same.high


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_kappa_bounds_are_those_of_the_extreme_tables(p: float, q: float) -> None:
    low, high = metrics.kappa_bounds(p, q)
    for bound, both in ((low, max(0.0, p + q - 1)), (high, min(p, q))):
        observed, expected = 1 - p - q + 2 * both, p * q + (1 - p) * (1 - q)
        assert bound == pytest.approx((observed - expected) / (1 - expected))
    assert -1 - 1e-12 <= low <= 1e-12 and -1e-12 <= high <= 1 + 1e-12


def test_mean_over_people() -> None:
    ten = metrics.mean_over_people({f"subject-{i:02d}": v for i, v in enumerate(np.linspace(0.9, 1, 10))})
    assert ten == pytest.approx(0.95) and ten.n == 10 and 0.9 < ten.low < 0.95 < ten.high < 1
    assert (ten.low, ten.high) == pytest.approx(
        stats.ttest_1samp(list(ten.points.values()), 0).confidence_interval(0.95)
    )
    four = metrics.mean_over_people([0.1, 0.2, 0.3, 0.4])
    assert four == pytest.approx(0.25) and math.isnan(four.low) and list(four.points.values()) == [0.1, 0.2, 0.3, 0.4]


def test_values_are_named_by_a_mapping_a_series_or_their_order() -> None:
    expected = {"b": 0.02, "a": 0.5}
    for values in (pd.Series({"b": 0.01, "a": 0.5}), {"b": 0.01, "a": 0.5}):
        assert metrics.holm(values) == expected and set(metrics.mean_over_people(values).points) == {"a", "b"}
    assert metrics.holm([0.01, 0.5]) == {"0": 0.02, "1": 0.5}


def test_labels_that_read_alike_are_one_group_whatever_their_type() -> None:
    table = pd.concat([observer([1, 1, 0, 0]).assign(condition=0), observer([1, 0, 0, 0]).assign(condition="0")])
    assert [len(group) for group in metrics.each(table, "condition", lambda t: t).values()] == [8]


def test_what_never_varies_is_not_certain() -> None:
    right, wrong = observer([1] * 5), observer([0] * 5, "b")
    apart = metrics.compare_accuracy(right, wrong)
    assert apart == 1 and apart.low == pytest.approx(1 - 2 * 0.5218, abs=1e-3) and apart.high == 1
    same = metrics.compare_accuracy(right, observer([1] * 5, "b"))
    assert same == 0 and (same.low, same.high) == pytest.approx((-0.5218, 0.5218), abs=1e-3)
    back = metrics.compare_accuracy(wrong, right)
    assert (back.low, back.high) == pytest.approx((-1, -apart.low))


def test_shared_images_are_known_from_whichever_table_names_them() -> None:
    rng = np.random.default_rng(0)
    names = [f"cat{i}-dog{j}" for i in range(12) for j in range(6)]
    base = pd.DataFrame({"stimulus": names, "category": "cat", "texture": "dog"}, dtype=object)
    a, b = (base.assign(subj=s, object_response=np.where(rng.random(72) < 0.6, "cat", "dog")) for s in "ab")
    bare = a.drop(columns="texture").sample(frac=1, random_state=1)
    one, other = metrics.error_consistency(bare, b, FEW), metrics.error_consistency(b, bare, FEW)
    assert one.naive is not None and (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Bootstrap(draws=1e4), "whole number of draws"),
        (lambda: metrics.mean_shape_bias_difference([]), "no pair"),
        (lambda: metrics.shape_bias_contrast([conflict(3, 2)], [1, -1]), "1 observers and 2 weights"),
        (
            lambda: metrics.benchmark_table(observer([1, 0]).assign(set="contrast", condition="c100").iloc[:0]),
            "no trial",
        ),
    ],
)
def test_a_call_that_means_nothing_is_one_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(GenclsError, match=said):
        call()


# ---- bad input

BAD = [
    (lambda t: t.drop(columns="category"), "lack the column category"),
    (lambda t: t.iloc[:0], "empty"),
    (lambda t: t.assign(object_response=[None, *t.object_response[1:]]), "empty or no text in row 0"),
    (lambda t: t.assign(object_response=["", *t.object_response[1:]]), "empty or no text in row 0"),
    (lambda t: t.assign(object_response=[math.nan, *t.object_response[1:]]), "empty or no text in row 0"),
    (
        lambda t: t.assign(object_response=["gnu", *t.object_response[1:]]),
        "'gnu' in 'object_response' is no category",
    ),
    (lambda t: t.assign(subj=["b", *t.subj[1:]]), "mix 2 values of 'subj'"),
    (lambda t: t.assign(set=["edge", *["sketch"] * (len(t) - 1)]), "mix 2 values of 'set'"),
    (lambda t: pd.concat([t, t.iloc[:1]], ignore_index=True), "stands twice .rows? 4"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_trials_are_refused_by_every_measure(spoil, message: str) -> None:
    good, bad = observer([1, 1, 0, 1]), spoil(observer([1, 0, 0, 1]))
    for measure in (metrics.accuracy, metrics.confusion, metrics.response_entropy):
        with pytest.raises(GenclsError, match=message):
            measure(bad)
    for compare in (metrics.error_consistency, metrics.observed_consistency, metrics.accuracy_difference):
        with pytest.raises(GenclsError, match=message):
            compare(good, bad)
    with pytest.raises(GenclsError, match=message):
        metrics.shape_bias(bad.assign(texture="dog"))


def test_a_misspelt_category_is_found_without_being_told_what_was_offered() -> None:
    bad = observer([1, 0, 0, 1])
    bad.loc[2, "category"] = "kat"
    assert not bad.attrs
    for measure in (metrics.accuracy, metrics.confusion, metrics.response_entropy):
        with pytest.raises(GenclsError, match=r"'kat' in 'category' is no category \(row 2\)"):
            measure(bad)
    bad.attrs["categories"] = ("cat", "dog", "kat")
    assert metrics.accuracy(bad).n == 4


def test_unmatched_stimuli_are_named() -> None:
    with pytest.raises(GenclsError, match=r"3 and 2 stimuli; 1 have no match.*\(row 2 of the first, as .*image 2"):
        metrics.error_consistency(observer([1, 0, 1]), observer([1, 0], "b"))
    with pytest.raises(GenclsError, match=r"2 and 3 stimuli; 1 have no match.*\(row 2 of the second, as .*image 2"):
        metrics.error_consistency(observer([1, 0]), observer([1, 0, 1], "b"))
    with pytest.raises(GenclsError, match=r"different categories.*row 1"):
        metrics.error_consistency(observer([1, 0]), observer([1, 0], "b").assign(category=["cat", "dog"]))


def test_trials_without_a_group_are_not_dropped_in_silence() -> None:
    trials = observer([1, 0, 1]).assign(condition=["0", math.nan, "0"], texture="dog")
    for measure in (metrics.accuracy, metrics.shape_bias, metrics.confusion):
        with pytest.raises(GenclsError, match="'condition' is empty in row 1"):
            measure(trials)
    with pytest.raises(GenclsError, match="'condition' is empty in row 1"):
        metrics.each(trials, "condition", metrics.accuracy)
    nobody = pd.concat([observer([1, 0]), observer([0, 1], "b").assign(subj=None)], ignore_index=True)
    for by_person in (metrics.pairwise_consistency, lambda t: metrics.each(t, "subj", metrics.accuracy)):
        with pytest.raises(GenclsError, match="'subj' is empty in rows 2, 3"):
            by_person(nobody)


def test_an_image_in_two_conditions_meets_no_table_without_conditions() -> None:
    twice = pd.concat([observer([1, 1, 0]), observer([0, 0, 1]).assign(condition="1")], ignore_index=True)
    once = observer([1, 0, 1], "b").drop(columns="condition")
    for pair in ((twice, once), (once, twice)):
        with pytest.raises(GenclsError, match=r"stands twice \(rows 3, 4, 5\)"):
            metrics.error_consistency(*pair)


def test_shape_bias_needs_textures() -> None:
    with pytest.raises(GenclsError, match="texture"):
        metrics.shape_bias(observer([1, 0]))
    with pytest.raises(GenclsError, match="no texture category in row 1"):
        metrics.shape_bias(conflict(1, 1).assign(texture=["dog", ""]))


def test_words_of_another_world_are_checked_against_what_was_offered() -> None:
    trials = conflict(2, 2).replace({"cat": "ring", "dog": "star"})
    assert metrics.shape_bias(trials, bootstrap=None) == 0.5
    with pytest.raises(GenclsError, match="'bear'"):
        metrics.shape_bias(conflict(2, 2, 1).replace({"cat": "ring", "dog": "star"}))
    offered = ("ring", "star", "bear")
    assert metrics.shape_bias(conflict(2, 2, 1).replace({"cat": "ring", "dog": "star"}), categories=offered) == 0.5


def test_metrics_do_not_import_torch() -> None:
    code = "import sys, gencls.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
