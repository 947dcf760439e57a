"""Measures of one observer: accuracy, confusion, response entropy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import beta

from gencls.metrics.bootstrap import DEFAULT, Bootstrap, Statistic
from gencls.metrics.estimates import Estimate
from gencls.metrics.tables import NO_ANSWER, checked, grouped, image_clusters, offered, right

T = TypeVar("T")


def accuracy(trials: pd.DataFrame, bootstrap: Bootstrap | None = DEFAULT, *, clustered: bool = True) -> Estimate:
    """The fraction of right answers of one observer, in [0, 1]; `na` is wrong, the shape is right under cue
    conflict.

    `n` counts trials; `right` is how many of them are right. Where all or none are right, the bootstrap has
    nothing to say and the interval is Clopper and Pearson's. Source: Geirhos et al. 2018.
    """
    checked(trials)
    offered(trials, strict=False)
    correct = right(trials)
    labels = (~correct).astype(np.intp)
    return proportion(
        labels, trials if clustered else None, bootstrap, name="accuracy", cells=2, right=int(correct.sum())
    )


def proportion(
    labels: np.ndarray,
    shared: pd.DataFrame | None,
    bootstrap: Bootstrap | None,
    *,
    name: str,
    cells: int,
    **extras: Any,
) -> Estimate:
    """Cell 0 as a fraction of cells 0 and 1, with its interval; `shared` are the trials, if images count."""
    counts = np.bincount(labels, minlength=cells)
    n = int(counts[:2].sum())
    value = float(fraction(counts))
    if n and counts[:2].min() == 0 and bootstrap is not None:
        low, high = clopper_pearson(int(counts[0]), n, bootstrap.level)
        return Estimate(value, low, high, n, name, "exact (Clopper–Pearson)", naive=None, **extras)
    return estimated(fraction, labels, cells, shared, bootstrap, name=name, n=n, **extras)


def estimated(
    statistic: Statistic,
    labels: np.ndarray,
    cells: int,
    shared: pd.DataFrame | None,
    bootstrap: Bootstrap | None,
    *,
    name: str,
    n: int,
    **extras: Any,
) -> Estimate:
    """A statistic of cell counts with its bootstrap interval (none with `bootstrap=None`)."""
    value = float(statistic(np.bincount(labels, minlength=cells)))
    if bootstrap is None or math.isnan(value):
        return Estimate(value, n=n, name=name, method="none", naive=None, **extras)
    clusters = None if shared is None else image_clusters(shared)
    interval = bootstrap.interval(statistic, labels, cells, clusters)
    return Estimate(value, interval.low, interval.high, n, name, interval.method, naive=interval.naive, **extras)


def fraction(counts: np.ndarray) -> np.ndarray:
    """Cell 0 / (cell 0 + cell 1) of counts (..., ≥ 2); NaN for 0/0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(counts[..., 0] / (counts[..., 0] + counts[..., 1]))


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval (Clopper & Pearson 1934)."""
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, n - successes + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)


def each(trials: pd.DataFrame, by: str, measure: Callable[[pd.DataFrame], T]) -> dict[str, T]:
    """A measure on every group of trials, e.g. `each(trials, "condition", accuracy)`; in order of first
    appearance."""
    return {name: measure(group) for name, group in grouped(trials, by).items()}


def confusion(
    trials: pd.DataFrame,
    bootstrap: Bootstrap | None = DEFAULT,
    categories: Sequence[str] | None = None,
    *,
    clustered: bool = True,
) -> pd.DataFrame:
    """Answers (rows, `na` last) by presented category (columns) of one observer: fractions of a column's
    trials, each an Estimate.

    A cell is what `accuracy` of the column's trials would be, were its answer the right one: the stimuli of
    a category are resampled among themselves, by their shared images under cue conflict, and an answer that
    was never given, or always, has Clopper and Pearson's interval. `n` is the column's trials; a category
    that was never presented has cells that are NaN, with n = 0. `categories` are all answers offered (else
    those that `gencls.metrics.tables.offered` finds). `confusion(trials).astype(float)` is the plain matrix; each presented column of it
    sums to 1. Source: Geirhos et al. 2018.
    """
    words = offered(checked(trials), categories) or ()
    answers = trials["object_response"].to_numpy(object)

    def cell(answer: str, shown: np.ndarray) -> Estimate:
        labels = (answers[shown] != answer).astype(np.intp)
        shared = trials[shown] if clustered and len(labels) else None
        return proportion(labels, shared, bootstrap, name=f"answer {answer}", cells=2)

    table = {}
    for word in words:
        shown = (trials["category"] == word).to_numpy()
        table[word] = pd.Series({answer: cell(answer, shown) for answer in (*words, NO_ANSWER)}, dtype=object)
    return pd.DataFrame(table)


def response_entropy(
    trials: pd.DataFrame, bootstrap: Bootstrap | None = DEFAULT, categories: Sequence[str] | None = None
) -> Estimate:
    """Shannon entropy in bits of one observer's answers, from 0 to log2(categories).

    As in the reference, p is the number of answers of a category divided by all trials, and `na` is no
    category. Source: Geirhos et al. 2018.
    """
    checked(trials)
    words = [*(offered(trials, categories) or ()), NO_ANSWER]
    labels = pd.Index(words).get_indexer(pd.Index(trials["object_response"].astype(object)))

    def entropy(counts: np.ndarray) -> np.ndarray:
        p = counts[..., :-1] / counts.sum(-1, keepdims=True)
        return np.asarray(-(p * np.log2(np.where(p > 0, p, 1.0))).sum(-1) + 0.0)

    return estimated(entropy, labels, len(words), trials, bootstrap, name="response entropy", n=len(trials))
