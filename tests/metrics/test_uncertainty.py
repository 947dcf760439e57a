"""Intervals, tests, power and calibration: do they do what they promise, on data whose truth is known?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gencls import metrics
from gencls.errors import GenclsError
from gencls.metrics import Bootstrap, seeded
from gencls.metrics.agreement import kappa
from gencls.metrics.bootstrap import clustered, clustered_variance, influences, p_value
from gencls.metrics.observers import fraction


def simulated(cells: np.ndarray, n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two observers whose joint correctness has these probabilities (both, only a, only b, neither)."""
    drawn = rng.choice(4, size=n, p=cells)
    tables = []
    for subj, right in (("a", drawn < 2), ("b", drawn % 2 == 0)):
        answers = np.where(right, "cat", "dog").astype(object)
        frame = pd.DataFrame({"object_response": answers, "stimulus": [f"s{i}" for i in range(n)]}, dtype=object)
        tables.append(frame.assign(subj=subj, category="cat", condition="0"))
    return tables[0], tables[1]


# ---- the bootstrap


def test_counting_cells_is_resampling_trials() -> None:
    """The distribution of resampled κ equals that of drawing trial numbers with replacement, one by one."""
    counts = np.array([30, 10, 5, 15])
    ours = kappa(Bootstrap(draws=4000, seed=1).counts(counts))
    labels = np.repeat(np.arange(4), counts)
    drawn = np.random.default_rng(2).integers(60, size=(4000, 60))
    plain = np.array([kappa(np.bincount(labels[d], minlength=4)) for d in drawn])
    assert stats.ks_2samp(ours, plain).pvalue > 0.01


def test_bca_is_that_of_scipy() -> None:
    values = (np.random.default_rng(0).random(60) < 0.15).astype(float)
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1))
    ours = Bootstrap(draws=20_000).interval(fraction, (1 - values).astype(int), 2)
    limits = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((limits.low, limits.high), abs=1 / 60 + 1e-9)  # one trial


def test_bca_of_a_skewed_share_is_scipys_to_the_trial() -> None:
    """3 of 60: where bias and acceleration move the ends by whole trials, in the right direction only."""
    values = np.r_[np.ones(3), np.zeros(57)]
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1))
    ours = Bootstrap(draws=20_000).interval(fraction, (1 - values).astype(int), 2)
    limits = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((limits.low, limits.high), abs=1e-9)
    assert (ours.low, ours.high) == pytest.approx((1 / 60, 8 / 60), abs=1e-9)


def test_p_is_twice_the_smaller_tail() -> None:
    assert p_value(np.r_[-np.ones(4), np.ones(95)]) == pytest.approx(2 * 5 / 100)


def test_same_seed_same_interval_another_seed_another() -> None:
    a, b = simulated(np.array([0.4, 0.2, 0.1, 0.3]), 80, np.random.default_rng(0))
    first, again, other = (metrics.error_consistency(a, b, Bootstrap(draws=300, seed=s)) for s in (1, 1, 2))
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(sum), st.sampled_from(["bca", "percentile"]))
@settings(max_examples=50)
def test_intervals_lie_in_range_and_in_order(counts: list[int], method: str) -> None:
    labels = np.repeat(np.arange(4), counts)
    i = Bootstrap(method, draws=200).interval(kappa, labels, 4)
    if not math.isnan(i.low):
        assert -1 <= i.low <= i.high <= 1


def test_a_wider_level_gives_a_wider_interval() -> None:
    labels = np.repeat([0, 1], [40, 60])
    narrow, wide = (Bootstrap(level=level).interval(fraction, labels, 2) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("options", [{"method": "magic"}, {"draws": 0}, {"level": 95}])
def test_impossible_bootstraps_are_refused(options: dict) -> None:
    with pytest.raises(GenclsError, match="bootstrap"):
        Bootstrap(**options)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_kappa_intervals_cover(method: str) -> None:
    cells, rng = metrics.joint_probabilities(0.4, 0.7, 0.6), np.random.default_rng(3)
    hits = 0
    for k in range(200):
        labels = rng.choice(4, size=200, p=cells)
        i = Bootstrap(method, draws=400, seed=k).interval(kappa, labels, 4)
        hits += i.low <= 0.4 <= i.high
    assert 0.90 <= hits / 200 <= 0.99


def test_clustered_intervals_cover_where_naive_ones_do_not() -> None:
    """60 contents × 20 textures, 5 textures a content, success depending on both images."""
    rng = np.random.default_rng(4)
    contents = np.repeat(np.arange(60), 5)
    textures = (contents * 7 + np.tile(np.arange(5), 60) * 3) % 20
    effects = rng.normal(size=(100_000, 2))
    truth = (1 / (1 + np.exp(-effects.sum(1)))).mean()
    hits = np.zeros(2)
    for k in range(150):
        log_odds = rng.normal(size=60)[contents] + rng.normal(size=20)[textures]
        labels = (rng.random(300) > 1 / (1 + np.exp(-log_odds))).astype(int)
        i = Bootstrap(draws=400, seed=k).interval(fraction, labels, 2, (contents, textures))
        assert i.naive is not None
        hits += [i.low <= truth <= i.high, i.naive[0] <= truth <= i.naive[1]]
    clustered, naive = hits / 150
    assert clustered >= 0.87 and naive <= 0.80


def test_clustered_interval_of_independent_stimuli_is_about_the_naive_one() -> None:
    rng = np.random.default_rng(5)
    contents, textures = np.repeat(np.arange(60), 5), rng.integers(20, size=300)
    ratios = []
    for k in range(40):
        i = Bootstrap("percentile", draws=400, seed=k).interval(
            fraction, rng.integers(2, size=300), 2, (contents, textures)
        )
        assert i.naive is not None
        ratios.append((i.high - i.low) / (i.naive[1] - i.naive[0]))
    assert 0.95 < np.mean(ratios) < 1.2


def test_two_way_variance_of_one_way_data() -> None:
    """Whole content images right or wrong, textures without effect: the variance is that of the contents."""
    contents, textures = np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10)
    right = (contents < 3).astype(float)
    variance = clustered_variance(right, (contents, textures))
    assert variance == pytest.approx(0.3 * 0.7 / 10)


def test_draws_that_vary_less_than_their_clusters_say_are_not_widened() -> None:
    influence, clusters = np.r_[-np.ones(5), np.ones(5)], (np.arange(10), np.arange(10))
    narrow = np.linspace(-0.01, 0.01, 9)
    np.testing.assert_array_equal(clustered(narrow, 0.0, influence, clusters), narrow)
    assert clustered(100 * narrow, 0.0, influence, clusters).var() == pytest.approx(1 / 10)  # of 10 stimuli, each ±1


def test_the_interval_over_three_trainings_is_students() -> None:
    """Mean 0.5, standard deviation 0.3, two degrees of freedom."""
    assert seeded.half_width(0.0, 100, [np.array([0.2, 0.5, 0.8])]) == pytest.approx(4.30265 * 0.3 / 3**0.5, rel=1e-5)


def test_cells_of_the_confusion_have_the_interval_of_resampling_their_column() -> None:
    """60 cats, answered 36, 15, 8, 1, 0 times so; 40 dogs, always right. Only a category's own trials count."""
    answers = ["cat"] * 36 + ["dog"] * 15 + ["na"] * 8 + ["bear"] + ["dog"] * 40
    trials = pd.DataFrame({"object_response": answers, "category": ["cat"] * 60 + ["dog"] * 40}, dtype=object)
    matrix = metrics.confusion(trials, Bootstrap("percentile", draws=4000))
    for answer in ("cat", "dog", "na", "bear"):
        cell = matrix.loc[answer, "cat"]
        slow = plain.confusion_bootstrap(trials, answer, "cat", draws=4000, seed=1)
        assert cell.n == 60 and (cell.low, cell.high) == pytest.approx(slow, abs=1 / 60 + 1e-9)  # one trial
    never, always = matrix.loc["oven", "cat"], matrix.loc["dog", "dog"]
    assert (never.low, never.high) == pytest.approx((0, 1 - 0.025 ** (1 / 60)))  # Clopper and Pearson
    assert (always.low, always.high) == pytest.approx((0.025 ** (1 / 40), 1))


def test_cells_of_the_confusion_count_shared_images_once() -> None:
    """20 cats × 20 dog textures; a texture image misleads or it does not: the error is that of 20 images."""
    misleading = np.random.default_rng(8).random(20) < 0.4
    rows = [(f"cat{i}-dog{j}", "dog" if misleading[j] else "cat") for i in range(20) for j in range(20)]
    trials = pd.DataFrame(rows, columns=["stimulus", "object_response"], dtype=object)
    trials = trials.assign(category="cat", texture="dog")
    cell = metrics.confusion(trials).loc["dog", "cat"]
    p = misleading.mean()
    assert cell == p
    assert cell.high - cell.low == pytest.approx(2 * 1.96 * math.sqrt(p * (1 - p) / 20), rel=0.1)
    assert cell.naive[1] - cell.naive[0] == pytest.approx(2 * 1.96 * math.sqrt(p * (1 - p) / 400), rel=0.1)
    alone = metrics.confusion(trials, clustered=False).loc["dog", "cat"]
    assert (alone.low, alone.high) == cell.naive


def test_influence_of_a_mean_is_the_deviation_from_it() -> None:
    counts = np.array([30, 70])
    np.testing.assert_allclose(influences(fraction, counts), [0.7, -0.3])


# ---- comparisons


def test_mcnemar_known_answer() -> None:
    """10 only a, 2 only b: 2·P(X ≤ 2 | 12, ½) = 2·79/4096."""
    cells = np.repeat(np.arange(4), [20, 10, 2, 8])
    names = [f"s{i}" for i in range(40)]
    a, b = (
        pd.DataFrame({"object_response": np.where(r, "cat", "dog").astype(object), "stimulus": names}).assign(
            subj=s, category="cat"
        )
        for s, r in (("a", cells < 2), ("b", cells % 2 == 0))
    )
    e = metrics.compare_accuracy(a, b, Bootstrap(draws=500))
    assert e == pytest.approx(0.2) and e.p == pytest.approx(2 * 79 / 4096) and 0 < e.low < 0.2 < e.high
    assert metrics.compare_accuracy(a, a.assign(subj="c"), Bootstrap(draws=500)).p == 1


def test_where_images_are_shared_the_p_is_that_of_the_images() -> None:
    """Two observers misled by texture images of their own, 20 of them: McNemar counts 400 stimuli as independent."""
    names = [f"cat{i}-dog{j}" for i in range(20) for j in range(20)]
    base = pd.DataFrame({"stimulus": names, "category": "cat", "texture": "dog"}, dtype=object)

    def who(subj: str, wrong: np.ndarray) -> pd.DataFrame:
        return base.assign(subj=subj, object_response=["dog" if wrong[k % 20] else "cat" for k in range(400)])

    rng = np.random.default_rng(8)
    e = metrics.compare_accuracy(who("a", rng.random(20) < 0.4), who("b", rng.random(20) < 0.3), Bootstrap(draws=1000))
    assert e.p > 0.05 > e.p_naive


def test_a_difference_in_kappa_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(6)
    reference = rng.random(1500) < 0.7
    copy = np.where(rng.random(1500) < 0.6, reference, rng.random(1500) < 0.7)
    tables = [
        pd.DataFrame(
            {
                "object_response": np.where(r, "cat", "dog").astype(object),
                "stimulus": [f"s{i}" for i in range(1500)],
            }
        ).assign(subj=s, category="cat")
        for s, r in zip("rcde", [reference, copy, rng.random(1500) < 0.7, rng.random(1500) < 0.7], strict=True)
    ]
    human, close, far, also_far = tables
    found = metrics.compare_error_consistency(close, far, human, Bootstrap(draws=1000))
    assert found == pytest.approx(0.6, abs=0.1) and found.p < 0.01 and found.low > 0.4
    nothing = metrics.compare_error_consistency(far, also_far, human, Bootstrap(draws=1000))
    assert nothing.low < 0 < nothing.high and nothing.p > 0.05
    assert metrics.independence_p(close, human) < 1e-6 < 0.01 < metrics.independence_p(far, human)


def test_shape_bias_difference() -> None:
    names = [f"s{i}" for i in range(400)]
    base = pd.DataFrame({"stimulus": names, "category": "cat", "texture": "dog"}, dtype=object)
    a = base.assign(subj="a", object_response=["cat"] * 200 + ["dog"] * 100 + ["na"] * 100)
    b = base.assign(subj="b", object_response=["cat"] * 100 + ["dog"] * 100 + ["na"] * 200).sample(
        frac=1, random_state=0
    )
    e = metrics.compare_shape_bias(a, b, Bootstrap(draws=1000))
    assert e == pytest.approx(2 / 3 - 1 / 2) and e.low < e < e.high and e.p < 0.01
    assert e == -metrics.compare_shape_bias(b, a, Bootstrap(draws=1000))


def test_the_mean_difference_in_shape_bias_resamples_all_observers_together() -> None:
    rng = np.random.default_rng(0)
    base = pd.DataFrame({"stimulus": [f"s{i}" for i in range(300)], "category": "cat", "texture": "dog"}, dtype=object)
    a, b, c, d = (
        base.assign(subj=s, object_response=rng.choice(["cat", "dog", "na"], 300, p=[p, 0.8 - p, 0.2])).sample(
            frac=1, random_state=i
        )
        for i, (s, p) in enumerate(zip("abcd", (0.6, 0.4, 0.5, 0.2), strict=True))
    )
    few = Bootstrap(draws=1000)
    one, other = metrics.compare_shape_bias(a, b, few), metrics.compare_shape_bias(c, d, few)
    mean = metrics.mean_shape_bias_difference([(a, b), (c, d)], few)
    assert mean == pytest.approx((float(one) + float(other)) / 2)
    assert mean.high - mean.low < 0.9 * max(one.high - one.low, other.high - other.low) and mean.p < 0.01
    nothing = metrics.mean_shape_bias_difference([(a, b), (b, a)], few)
    assert nothing == 0 and nothing.low == nothing.high == 0 and nothing.p == 1
    with pytest.raises(GenclsError, match="have no match"):
        metrics.mean_shape_bias_difference([(a, b), (c, d.iloc[1:])])


@pytest.mark.parametrize(("a", "b"), [(["cat"], ["dog"]), (["dog", "dog", "na", "na"], ["na", "na", "cat", "na"])])
def test_a_difference_on_a_handful_of_decisions_is_sure_of_nothing(a: list[str], b: list[str]) -> None:
    base = {"stimulus": [f"s{i}" for i in range(len(a))], "category": "cat", "texture": "dog"}
    first, second = (pd.DataFrame({**base, "subj": "x", "object_response": said}, dtype=object) for said in (a, b))
    found = metrics.compare_shape_bias(first, second, Bootstrap(draws=500))
    assert abs(found) == 1 and math.isnan(found.p) and math.isnan(found.low)
    assert metrics.holm({"this": found.p, "other": 0.02})["other"] == 0.02


def test_a_contrast_that_most_resamples_leave_undefined_has_no_interval() -> None:
    base = pd.DataFrame({"stimulus": [f"s{i}" for i in range(10)], "category": "cat", "texture": "dog"}, dtype=object)
    said = ({0: "cat"}, {1: "dog"}, {2: "cat", 3: "dog"})
    observers = [base.assign(subj="x", object_response=[answers.get(i, "na") for i in range(10)]) for answers in said]
    found = metrics.shape_bias_contrast(observers, [1, -0.5, -0.5], Bootstrap(draws=500))
    assert found == 0.75 and math.isnan(found.p) and math.isnan(found.low)


def test_a_difference_in_shape_bias_needs_two_cues_that_both_tables_agree_on() -> None:
    base = pd.DataFrame({"stimulus": ["s0", "s1"], "category": "cat", "texture": "dog", "object_response": "cat"})
    a, b = base.assign(subj="a"), base.assign(subj="b")
    with pytest.raises(GenclsError, match="no texture category in rows 0, 1"):
        metrics.compare_shape_bias(a.assign(texture=""), b)
    with pytest.raises(GenclsError, match=r"different textures for one stimulus \(row 1 of the first"):
        metrics.compare_shape_bias(a, b.assign(texture=["dog", "bird"]))


def test_holm_known_answer() -> None:
    """Holm's own arithmetic: 0.01, 0.04, 0.03, 0.005 of four tests."""
    adjusted = metrics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": math.nan})
    assert [adjusted[k] for k in "abcd"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(adjusted["e"])
    with pytest.raises(GenclsError, match=r"'0' is 1.2"):
        metrics.holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    adjusted = list(metrics.holm(p).values())
    assert all(x <= y <= min(1, len(p) * x) + 1e-12 for x, y in zip(p, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(p)] == sorted(adjusted)


def test_all_pairs_form_one_family() -> None:
    a, b = simulated(np.array([0.4, 0.3, 0.1, 0.2]), 100, np.random.default_rng(0))
    table = metrics.compare_all({"a": a, "b": b, "c": a.assign(subj="c")})
    assert len(table) == 3 and (table["p_holm"] >= table["p"]).all()


# ---- the copy model


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0, 1))
def test_copying_reproduces_kappa(p: float, q: float, where: float) -> None:
    """Simulate the model in probabilities: the copier copies, else answers alone; κ comes out again."""
    low, high = metrics.kappa_bounds(p, q)
    wanted = low + where * (high - low)
    model = metrics.copy_model(wanted, p, q)
    own = 0.5 if math.isnan(model.own) else model.own
    copied = np.array([1.0, 0.0]) if model.probability >= 0 else np.array([0.0, 1.0])
    right_given_source = abs(model.probability) * copied + (1 - abs(model.probability)) * own
    source = np.array([model.source, 1 - model.source])
    both, only_copier = source * right_given_source
    assert both + only_copier == pytest.approx(min(p, q), abs=1e-6)
    cells = np.array([both, model.source - both, only_copier, 1 - model.source - only_copier])
    assert kappa(cells) == pytest.approx(wanted, abs=1e-6)
    np.testing.assert_allclose(metrics.joint_probabilities(wanted, max(p, q), min(p, q)), cells, atol=1e-6)


def test_equal_accuracies_copy_with_probability_kappa() -> None:
    assert metrics.copy_model(0.35, 0.8, 0.8).probability == pytest.approx(0.35)
    with pytest.raises(GenclsError, match="impossible"):
        metrics.copy_model(0.9, 0.9, 0.3)


def test_power_is_what_simulation_finds() -> None:
    n, cells = 150, metrics.joint_probabilities(0.2, 0.7, 0.6)
    counts = np.random.default_rng(7).multinomial(n, cells, size=4000)
    assert kappa(counts).std() * 1.96 == pytest.approx(metrics.kappa_half_width(n, 0.2, 0.7, 0.6), rel=0.05)
    found = [stats.fisher_exact(table.reshape(2, 2)).pvalue < 0.05 for table in counts[:1500]]
    assert metrics.kappa_power(n, 0.2, 0.7, 0.6) == pytest.approx(np.mean(found), abs=0.04)


@pytest.mark.parametrize(("kappa", "a", "b"), [(1.0, 0.5, 0.5), (0.7, 0.6, 0.6), (0.51, 0.4, 0.4), (-0.3, 0.5, 0.6)])
def test_few_trials_are_enough_only_where_the_exact_test_says_so(kappa: float, a: float, b: float) -> None:
    n = metrics.kappa_trials(kappa, a, b)
    counts = np.random.default_rng(3).multinomial(n, metrics.joint_probabilities(kappa, a, b), size=1000)
    found = [stats.fisher_exact(table.reshape(2, 2)).pvalue < 0.05 for table in counts]
    assert 0.77 < np.mean(found) < 0.95


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.9, 0.1), (0.95, 0.5), (0.8, 0.6)])
def test_few_trials_tell_accuracies_apart_only_where_mcnemars_test_does(a: float, b: float) -> None:
    n = metrics.accuracy_difference_trials(a, b)
    counts = np.random.default_rng(4).multinomial(n, metrics.joint_probabilities(0, a, b), size=1000)
    found = [one + two > 0 and stats.binomtest(one, one + two).pvalue < 0.05 for _, one, two, _ in counts.tolist()]
    assert np.mean(found) > 0.77


def test_a_power_without_a_meaning_is_refused() -> None:
    for call in (
        lambda: metrics.kappa_trials(0.5, 1.0, 1.0),
        lambda: metrics.kappa_power(100, 0.3, 0.7, 0.6, alpha=5),
        lambda: metrics.kappa_half_width(100, 0.3, 0.7, 0.6, level=95),
        lambda: metrics.kappa_half_width(0, 0.3, 0.7, 0.6),
    ):
        with pytest.raises(GenclsError, match=r"0/0|not between 0 and 1|ask for at least one"):
            call()


def test_trials_needed_have_the_power_and_one_less_has_not() -> None:
    n = metrics.kappa_trials(0.2, 0.7, 0.6, power=0.9)
    assert metrics.kappa_power(n, 0.2, 0.7, 0.6) >= 0.9 > metrics.kappa_power(n - 1, 0.2, 0.7, 0.6)
    n = metrics.kappa_difference_trials(0.3, 0.2, 0.7, 0.7, 0.8)
    arguments = (0.3, 0.2, 0.7, 0.7, 0.8)
    assert metrics.kappa_difference_power(n, *arguments) >= 0.8 > metrics.kappa_difference_power(n - 1, *arguments)
    assert metrics.kappa_difference_trials(0.3, 0.25, 0.7, 0.7, 0.8) > 3 * n  # half the difference, four times


def test_paired_accuracy_trials_fall_with_consistency() -> None:
    """Independent observers need about the textbook's number for two proportions, 0.7 against 0.6."""
    alone = metrics.accuracy_difference_trials(0.7, 0.6)
    textbook = (1.96 + 0.8416) ** 2 * (0.21 + 0.24) / 0.01
    assert textbook < alone < 1.1 * textbook  # McNemar's test with its correction for continuity takes a little more
    assert metrics.accuracy_difference_trials(0.7, 0.6, kappa=0.5) < 0.6 * alone
    with pytest.raises(GenclsError, match="never found"):
        metrics.accuracy_difference_trials(0.7, 0.7)


def test_where_there_is_nothing_to_find_it_is_found_as_often_as_alpha_says() -> None:
    assert metrics.kappa_power(100, 0.0, 0.7, 0.6) == pytest.approx(0.05)


# ---- calibration


def test_calibration_known_answer() -> None:
    """Ten answers at 0.95 of which 7 are right, ten at 0.55 of which 6 are: (0.25 + 0.05) / 2."""
    p, right = np.repeat([0.95, 0.55], 10), np.array([1] * 7 + [0] * 3 + [1] * 6 + [0] * 4)
    e = metrics.expected_calibration_error(p, right)
    assert e == pytest.approx(0.15) and e.n == 20 and e.low <= e.high
    assert [c[2] for c in e.curve] == [10, 10]
    classes = np.stack([p, 1 - p], axis=1)
    assert metrics.expected_calibration_error(classes, right, bootstrap=None) == pytest.approx(0.15)


def test_a_confidence_between_two_bins_counts_in_the_lower_one() -> None:
    found = metrics.expected_calibration_error(np.array([0.5, 0.75]), np.array([1, 0]), bins=2, bootstrap=None)
    assert found == pytest.approx(0.625)  # (0.5 + 0.75) / 2; together in the upper bin they would even out


def test_a_calibrated_observer_is_as_far_off_as_by_chance() -> None:
    """100 observers of 400 answers: their mean error is that of chance, and an interval is no longer above the estimate alone."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        sure = rng.uniform(0.5, 1, 400)
        few = metrics.Bootstrap("percentile", draws=50)
        found.append(metrics.expected_calibration_error(sure, rng.random(400) < sure, bootstrap=few))
    assert np.mean(found) == pytest.approx(np.mean([e.by_chance for e in found]), rel=0.1)
    assert np.mean([e.low for e in found]) < np.mean(found) - 0.01 and all(0 <= e.low <= e <= e.high for e in found)
    even = metrics.expected_calibration_error(np.full(40, 0.5), np.arange(40) % 2)
    assert (even, even.low) == (0, 0) and even.high > 0.05  # right half of the time in 40 answers is no certainty
    off = metrics.expected_calibration_error(np.full(400, 0.9), rng.random(400) < 0.6)
    assert off.by_chance < 0.03 < 0.2 < off.low < off < off.high


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not() -> None:
    assert metrics.expected_calibration_error(np.ones(9), np.ones(9, bool)) == 0
    assert metrics.expected_calibration_error(np.ones(9), np.zeros(9, bool)) == 1


@pytest.mark.parametrize(("p", "right"), [([0.5], [1, 0]), ([1.5], [1]), ([math.nan], [1]), ([0.5], [2]), ([], [])])
def test_bad_calibration_input_is_refused(p: list[float], right: list[int]) -> None:
    with pytest.raises(GenclsError, match="calibration"):
        metrics.expected_calibration_error(np.array(p), np.array(right))
