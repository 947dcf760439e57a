"""The measures against an implementation written from the definitions: slow, obvious, and independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencls import metrics
from gencls.errors import GenclsError
from gencls.metrics import Bootstrap

CATEGORIES = ("bear", "bird", "cat", "dog", "knife")
NO_INTERVAL = None


# ---- trials made up


def made_up(subj: str, seed: int, n: int = 40, skill: float = 0.5, conditions: int = 1) -> pd.DataFrame:
    """One observer on n stimuli of each condition; the stimuli depend on n only, the answers on the seed."""
    stimuli, rng = np.random.default_rng(n), np.random.default_rng(seed)
    rows = []
    for c in range(conditions):
        for i in range(n):
            category, texture = stimuli.choice(CATEGORIES, 2)
            guess = str(rng.choice([*CATEGORIES, texture, "na"]))
            answer = category if rng.random() < skill else guess
            rows.append((subj, answer, category, texture, str(c), f"image {i}"))
    frame = pd.DataFrame(rows, columns=["subj", "object_response", "category", "texture", "condition", "stimulus"])
    return frame.astype(object)


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=40)
def test_one_observer_equals_the_obvious(seed: int, n: int, skill: float) -> None:
    trials = made_up("a", seed, n, skill)
    assert abs(metrics.accuracy(trials, NO_INTERVAL) - plain.accuracy(trials)) < 1e-12
    assert abs(metrics.response_entropy(trials, NO_INTERVAL) - plain.entropy(trials)) < 1e-12
    matrix = metrics.confusion(trials, NO_INTERVAL, CATEGORIES)
    obvious = [[plain.confusion(trials, a, c) for c in CATEGORIES] for a in (*CATEGORIES, "na")]
    np.testing.assert_allclose(matrix.astype(float), obvious, atol=1e-12, rtol=0)
    shape, texture, bias = plain.shape_bias(trials)
    ours = metrics.shape_bias(trials, bootstrap=NO_INTERVAL)
    assert (ours.shape, ours.texture, ours.n) == (shape, texture, shape + texture)
    assert ours.undefined == math.isnan(bias)
    assert math.isnan(bias) or abs(ours - bias) < 1e-12
    assert ours.shape + ours.texture + ours.other + ours.na == ours.trials


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=40)
def test_two_observers_equal_the_obvious_in_any_order(seed: int, n: int, p: float, q: float) -> None:
    a, b = made_up("a", seed, n, p), made_up("b", seed + 1, n, q)
    observed, kappa = plain.consistency(a, b)
    ours = metrics.error_consistency(a, b.sample(frac=1, random_state=seed), NO_INTERVAL)
    assert abs(ours - kappa) < 1e-12
    assert abs(ours.observed - observed) < 1e-12
    assert abs(metrics.observed_consistency(a, b, NO_INTERVAL) - observed) < 1e-12
    squared = (plain.accuracy(a) - plain.accuracy(b)) ** 2
    assert abs(metrics.accuracy_difference(a, b, NO_INTERVAL) - squared) < 1e-12
    assert ours == metrics.error_consistency(b, a, NO_INTERVAL)  # symmetric
    assert -1 <= ours <= 1
    if not ours.undefined:
        assert ours.bounds[0] - 1e-12 <= ours <= ours.bounds[1] + 1e-12


def benchmark_trials(models: Sequence[str], people: Sequence[str]) -> pd.DataFrame:
    tables = []
    for name, n in (("colour", 8), ("rotation", 6), ("edge", 12)):
        conditions = {"colour": ["cr", "bw"], "rotation": ["0", "90", "180", "270"], "edge": ["0"]}[name]
        for k, subj in enumerate([*models, *people]):
            table = made_up(subj, seed=len(name) * 100 + k, n=n, skill=0.3 + 0.1 * k, conditions=len(conditions))
            table["condition"] = [conditions[int(c)] for c in table["condition"]]
            tables.append(table.assign(set=name))
    return pd.concat(tables, ignore_index=True)


def test_benchmark_table_averages_in_the_reference_order() -> None:
    models, people = ["net-1", "net-2", "net-3"], ["subject-01", "subject-02", "subject-03"]
    trials = benchmark_trials(models, people)
    ours = metrics.benchmark_table(trials, bootstrap=Bootstrap("percentile", draws=200))
    left_out = {"colour": ("cr",), "rotation": ("0",)}
    theirs = plain.benchmark(trials, models, people, left_out)
    np.testing.assert_allclose(ours.loc[theirs.index, theirs.columns], theirs, atol=1e-12, rtol=0)
    ranks = (
        theirs.loc[models, "accuracy_difference"].rank()
        + theirs.loc[models, "observed_consistency"].rank(ascending=False)
        + theirs.loc[models, "error_consistency"].rank(ascending=False)
    ) / 3
    np.testing.assert_allclose(ours.loc[models, "mean_rank"], ranks, atol=1e-12)
    assert math.isnan(ours.loc["people", "mean_rank"])
    for column in theirs.columns:
        assert (ours[f"{column}_low"] <= ours[f"{column}_high"]).all()


def test_benchmark_needs_every_model_on_every_set_and_people() -> None:
    trials = benchmark_trials(["net-1", "net-2"], ["subject-01", "subject-02"])
    with pytest.raises(GenclsError, match="net-2 has no trials on 'edge'"):
        metrics.benchmark_table(trials[(trials.subj != "net-2") | (trials.set != "edge")])
    for condition in ("0", "90"):  # a person who lacks one condition would count in the others alone
        with pytest.raises(GenclsError, match=f"subject-02 has no trials on 'rotation' in condition {condition};"):
            lacks = (trials.subj == "subject-02") & (trials.set == "rotation") & (trials.condition == condition)
            metrics.benchmark_table(trials[~lacks], left_out={})
    with pytest.raises(GenclsError, match="no person"):
        metrics.benchmark_table(trials[trials.subj.str.startswith("net")])


def test_left_out_conditions_whatever_the_spelling() -> None:
    trials = pd.DataFrame(
        {
            "set": [
                "low-pass",
                "low-pass",
                "uniform-noise",
                "uniform-noise",
                "eidolonI",
                "false-colour",
                "edge",
            ],
            "condition": ["15.0", "10", "0.60", "0.35", "64-10-10", "False", "0"],
        }
    )
    assert metrics.kept(trials)["condition"].tolist() == ["10", "0.35", "False", "0"]


def test_all_pairs_equal_one_pair_at_a_time() -> None:
    """Where stimuli share images, all pairs are resampled together: same numbers, same intervals."""
    stimuli = [
        (f"{s}{i}-{t}{j}", s, t) for s in ("cat", "dog") for t in ("bear", "knife") for i in range(5) for j in (1, 2)
    ]
    rng = np.random.default_rng(0)
    tables = []
    for subj in ("a", "b", "c"):
        answers = [str(rng.choice([s, t, "na"])) for _, s, t in stimuli]
        table = pd.DataFrame(stimuli, columns=["stimulus", "category", "texture"])
        tables.append(table.assign(subj=subj, condition="0", object_response=answers))
    choice = Bootstrap("percentile", draws=500)
    together = metrics.pairwise_consistency(pd.concat(tables), choice)
    assert len(together) == 3
    for row, (a, b) in zip(together.itertuples(), combinations(tables, 2), strict=True):
        alone = metrics.error_consistency(a, b, choice)
        assert "clustered" in alone.method
        np.testing.assert_allclose((row.value, row.low, row.high), (alone, alone.low, alone.high), atol=1e-6)
        np.testing.assert_allclose((row.naive_low, row.naive_high), alone.naive, atol=1e-12)
