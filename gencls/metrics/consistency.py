"""Measures of two observers of the same stimuli: do they fail on the same images?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from gencls.errors import GenclsError
from gencls.metrics.agreement import ONLY_A, ONLY_B, joint, kappa, kappa_bounds, observed, signed_difference
from gencls.metrics.bootstrap import DEFAULT, Bootstrap, Clusters, image_draws
from gencls.metrics.copying import copy_model
from gencls.metrics.estimates import Estimate
from gencls.metrics.observers import clopper_pearson
from gencls.metrics.tables import grouped, matched

PERCENTILE = Bootstrap(method="percentile")


def error_consistency(
    a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap | None = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """Cohen's κ of two observers' correctness on the same stimuli, in [−1, 1]: 0 is chance given their
    accuracies.

    κ = (c_obs − c_exp)/(1 − c_exp), c_exp = p₁p₂ + (1 − p₁)(1 − p₂). Where both are always right, or both
    always wrong, it is 0/0: the value is then 1, as the reference has it, and `undefined` is set. An
    observer that is always right (or wrong) beside one that is not has κ = 0 whatever it sees, with the
    interval [0, 0]. `n` is trials; `observed`, `expected`, `accuracies`, `bounds` (of κ at these
    accuracies), `counts` (both, only a, only b, neither right) and `copy_probability` (Klein et al. 2025)
    come along, and `naive` where stimuli share images. Source: Geirhos, Meding & Wichmann 2020.
    """
    (right_a, right_b), clusters = matched(a, b)
    return _consistency(joint(right_a, right_b), clusters if clustered else None, bootstrap)


def _consistency(
    labels: np.ndarray,
    clusters: Clusters | None,
    bootstrap: Bootstrap | None,
    resampled: np.ndarray | None = None,
) -> Estimate:
    """Error consistency from the joint cell of every trial (n,), and if known its pigeonhole counts."""
    counts = np.bincount(labels, minlength=4)
    n, value = len(labels), float(kappa(counts))
    p_a, p_b = float(counts[:2].sum() / n), float(counts[::2].sum() / n)
    expected = p_a * p_b + (1 - p_a) * (1 - p_b)
    undefined = math.isnan(value)
    extras: dict[str, Any] = {
        "observed": float(observed(counts)),
        "expected": expected,
        "accuracies": (p_a, p_b),
        "bounds": kappa_bounds(p_a, p_b),
        "counts": tuple(int(c) for c in counts),
        "copy_probability": math.nan if undefined else copy_model(value, p_a, p_b).probability,
        "naive": None,
    }
    low = high = math.nan
    method = "none"
    if undefined:
        value, method = 1.0, "none: 0/0"
    elif bootstrap is not None and counts[ONLY_A] == counts[ONLY_B] == 0:
        low = (clopper_pearson(n, n, bootstrap.level)[0] - expected) / (1 - expected)
        high, method = 1.0, "exact (Clopper–Pearson on agreement)"
    elif bootstrap is not None:
        interval = bootstrap.interval(kappa, labels, 4, clusters, resampled)
        low, high, method, extras["naive"] = interval.low, interval.high, interval.method, interval.naive
    return Estimate(value, low, high, n, "error consistency", method, undefined, **extras)


def observed_consistency(
    a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap | None = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """The fraction of stimuli on which two observers are both right or both wrong, in [0, 1].

    Source: Geirhos, Meding & Wichmann 2020.
    """
    (right_a, right_b), clusters = matched(a, b)
    agree = right_a == right_b
    value, n = float(agree.mean()), len(agree)
    named: dict[str, Any] = {"n": n, "name": "observed consistency"}
    if bootstrap is None:
        return Estimate(value, method="none", naive=None, **named)
    if agree.all() or not agree.any():
        low, high = clopper_pearson(int(agree.sum()), n, bootstrap.level)
        return Estimate(value, low, high, method="exact (Clopper–Pearson)", naive=None, **named)
    interval = bootstrap.interval(observed, joint(right_a, right_b), 4, clusters if clustered else None)
    return Estimate(value, interval.low, interval.high, method=interval.method, naive=interval.naive, **named)


def accuracy_difference(
    a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap | None = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """The *squared* difference of two observers' accuracies on the same stimuli, in [0, 1], as the
    benchmark has it.

    `signed` is the difference a − b itself; the interval is that of the signed difference, squared (from 0
    where it spans 0). Source: Geirhos et al. 2021.
    """
    (right_a, right_b), clusters = matched(a, b)
    labels = joint(right_a, right_b)
    signed = difference(labels, bootstrap, clusters if clustered else None)
    value = (float(right_a.mean()) - float(right_b.mean())) ** 2
    low, high = sorted((signed.low**2, signed.high**2)) if not math.isnan(signed.low) else (math.nan, math.nan)
    low = 0.0 if signed.low <= 0 <= signed.high else low
    return Estimate(value, low, high, len(labels), "accuracy difference", f"{signed.method}, squared", signed=signed)


def difference(labels: np.ndarray, bootstrap: Bootstrap | None, clusters: Clusters | None) -> Estimate:
    """Accuracy of a minus that of b, from the joint cells of both (n,).

    Where the two never differ, or one alone is right everywhere, no resample says anything else: the interval is then the widest that Clopper and Pearson's
    share of the stimuli in which they (do not) differ lets be.
    """
    counts, n = np.bincount(labels, minlength=4), len(labels)
    value, name = float(signed_difference(counts)), "signed accuracy difference"
    if bootstrap is None:
        return Estimate(value, n=n, name=name, method="none", naive=None)
    if value in (-1, 1) or not counts[[ONLY_A, ONLY_B]].any():
        unseen = clopper_pearson(0, n, bootstrap.level)[1]
        ends = (value - 2 * unseen, value + 2 * unseen) if value else (-unseen, unseen)
        return Estimate(value, max(ends[0], -1.0), min(ends[1], 1.0), n, name, "exact (Clopper–Pearson)", naive=None)
    i = bootstrap.interval(signed_difference, labels, 4, clusters)
    return Estimate(value, i.low, i.high, n, name, i.method, naive=i.naive)


def pairwise_consistency(
    trials: pd.DataFrame, bootstrap: Bootstrap | None = PERCENTILE, *, by_images: bool = True
) -> pd.DataFrame:
    """Error consistency of every pair of observers in one table of trials on the same stimuli.

    One row a pair with the columns `observer_a, observer_b, value, low, high, n, undefined, observed,
    naive_low, naive_high`, each number that of `error_consistency` with this bootstrap. Where stimuli share
    images (and `by_images`), all pairs are resampled together: 276 pairs on 1,280 trials take about a
    second.
    """
    tables = grouped(trials, "subj")
    if len(tables) < 2:
        raise GenclsError(f"pairs need two observers, and the trials hold {len(tables)}; pass the trials of more")
    names = list(tables)
    correct, clusters = matched(*tables.values())
    clusters = clusters if by_images else None
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    together = _resampled_together(correct, pairs, clusters, bootstrap) if clusters and bootstrap else None
    result = []
    for k, (i, j) in enumerate(pairs):
        resampled = None if together is None else together[k]
        e = _consistency(joint(correct[i], correct[j]), clusters, bootstrap, resampled)
        numbers = (e.value, e.low, e.high, e.n, e.undefined, e.observed)
        result.append((names[i], names[j], *numbers, *(e.naive or (math.nan, math.nan))))
    columns = ["observer_a", "observer_b", "value", "low", "high", "n", "undefined", "observed"]
    return pd.DataFrame(result, columns=[*columns, "naive_low", "naive_high"])


def _resampled_together(
    correct: np.ndarray, pairs: list[tuple[int, int]], clusters: Clusters, bootstrap: Bootstrap
) -> np.ndarray:
    """Pigeonhole counts of every pair: pairs × draws × 4 cells."""
    contents, textures = clusters
    weigh_content, weigh_texture = image_draws(
        int(contents.max()) + 1, int(textures.max()) + 1, bootstrap.draws, bootstrap.seed
    )
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    both_right = (correct[first] & correct[second]).astype(np.float32)
    wanted = np.concatenate([both_right, correct.astype(np.float32), np.ones((1, correct.shape[1]), np.float32)])
    sums = np.concatenate(  # in slices of 1,000 draws, so that memory stays small
        [
            wanted @ (weigh_content[contents, d : d + 1000] * weigh_texture[textures, d : d + 1000])
            for d in range(0, bootstrap.draws, 1000)
        ],
        axis=1,
    ).astype(np.float64)
    both, each, all_trials = sums[: len(pairs)], sums[len(pairs) : -1], sums[-1]
    a, b = each[first], each[second]
    return np.stack([both, a - both, b - both, all_trials - a - b + both], axis=-1)
