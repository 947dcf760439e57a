"""The measures once more, written from the definitions: slow, obvious, and independent of the package.

Numpy and pandas only; the tests compare with them and `benchmarks/metrics.py` measures against them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd


def accuracy(trials: pd.DataFrame) -> float:
    return sum(r.object_response == r.category for r in trials.itertuples()) / len(trials)


def shape_bias(trials: pd.DataFrame) -> tuple[int, int, float]:
    shape = texture = 0
    for r in trials.itertuples():
        if r.category != r.texture:
            shape += r.object_response == r.category
            texture += r.object_response == r.texture
    return shape, texture, shape / (shape + texture) if shape + texture else math.nan


def consistency(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float]:
    correct_b = {(r.condition, r.stimulus): r.object_response == r.category for r in b.itertuples()}
    pairs = [(r.object_response == r.category, correct_b[r.condition, r.stimulus]) for r in a.itertuples()]
    observed = sum(x == y for x, y in pairs) / len(pairs)
    p, q = sum(x for x, _ in pairs) / len(pairs), sum(y for _, y in pairs) / len(pairs)
    expected = p * q + (1 - p) * (1 - q)
    return observed, 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def confusion(trials: pd.DataFrame, answer: str, category: str) -> float:
    of_category = [r.object_response == answer for r in trials.itertuples() if r.category == category]
    return sum(of_category) / len(of_category) if of_category else math.nan


def confusion_bootstrap(trials: pd.DataFrame, answer: str, category: str, draws: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of one cell, one resampling of the category's trials after the other."""
    rng = np.random.default_rng(seed)
    given = trials.loc[trials.category == category, "object_response"].to_numpy(object)
    values = [np.mean(given[rng.integers(len(given), size=len(given))] == answer) for _ in range(draws)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def entropy(trials: pd.DataFrame) -> float:
    total = 0.0
    for category in set(trials.object_response) - {"na"}:
        p = (trials.object_response == category).sum() / len(trials)
        total -= p * math.log2(p)
    return total


def benchmark(
    trials: pd.DataFrame, models: Sequence[str], people: Sequence[str], left_out: dict[str, tuple[str, ...]]
) -> pd.DataFrame:
    rows = {}
    for model in [*models, "people"]:
        pairs = list(combinations(people, 2)) if model == "people" else [(model, p) for p in people]
        by_set, pooled = [], []
        for name in trials.set.unique():
            of_set = trials[trials.set == name]
            conditions = [c for c in of_set.condition.unique() if c not in left_out.get(name, ())]
            kept = of_set[of_set.condition.isin(conditions)]
            by_person = []
            for first, second in pairs:
                by_condition = []
                for c in conditions:
                    a = kept[(kept.subj == first) & (kept.condition == c)]
                    b = kept[(kept.subj == second) & (kept.condition == c)]
                    squared = (accuracy(a) - accuracy(b)) ** 2
                    by_condition.append((squared, *consistency(a, b)))
                by_person.append(np.mean(by_condition, axis=0))
            by_set.append(np.mean(by_person, axis=0))
            pooled.append(accuracy(kept[kept.subj.isin(people if model == "people" else [model])]))
        rows[model] = [*np.mean(by_set, axis=0), np.mean(pooled)]
    columns = ["accuracy_difference", "observed_consistency", "error_consistency", "ood_accuracy"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def kappa_bootstrap(right_a: np.ndarray, right_b: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of κ, one resampling of trials after the other."""
    rng, n, values = np.random.default_rng(seed), len(right_a), []
    for _ in range(draws):
        drawn = rng.integers(n, size=n)
        a, b = right_a[drawn], right_b[drawn]
        p, q = a.mean(), b.mean()
        expected = p * q + (1 - p) * (1 - q)
        values.append(1.0 if expected == 1 else ((a == b).mean() - expected) / (1 - expected))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
