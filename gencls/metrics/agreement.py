"""Two observers' joint correctness: its four cells, and what is computed from their counts."""

from __future__ import annotations

import math

import numpy as np

from gencls.errors import GenclsError

BOTH, ONLY_A, ONLY_B, NEITHER = range(4)


def joint(correct_a: np.ndarray, correct_b: np.ndarray) -> np.ndarray:
    """The cell of each trial: 0 both right, 1 only a, 2 only b, 3 neither. (n,) int."""
    return (2 * ~correct_a + ~correct_b).astype(np.intp)


def observed(counts: np.ndarray) -> np.ndarray:
    """The fraction of trials on which both are right or both wrong: counts (..., 4) → (...), in [0, 1]."""
    return np.asarray((counts[..., BOTH] + counts[..., NEITHER]) / counts.sum(-1))


def signed_difference(counts: np.ndarray) -> np.ndarray:
    """Accuracy of a minus accuracy of b: counts (..., 4) → (...), in [−1, 1]."""
    return np.asarray((counts[..., ONLY_A] - counts[..., ONLY_B]) / counts.sum(-1))


def kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen's κ of counts (..., 4) of both, only a, only b, neither right: (...), in [−1, 1]; NaN where it
    is 0/0.

    (c_obs − c_exp)/(1 − c_exp), written so that whole numbers stay exact.
    """
    n = counts.sum(-1)
    a, b = counts[..., BOTH] + counts[..., ONLY_A], counts[..., BOTH] + counts[..., ONLY_B]
    unlike = a * (n - b) + b * (n - a)  # n²·(1 − c_exp)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(unlike > 0, 2 * (n * counts[..., BOTH] - a * b) / unlike, math.nan)


def kappa_difference(counts: np.ndarray) -> np.ndarray:
    """κ(1, reference) − κ(2, reference) of counts (..., 8), cell = 4·[1 wrong] + 2·[2 wrong] + [reference
    wrong]."""
    cells = counts.reshape(*counts.shape[:-1], 2, 2, 2)
    first, second = cells.sum(-2), cells.sum(-3)
    return kappa(first.reshape(*first.shape[:-2], 4)) - kappa(second.reshape(*second.shape[:-2], 4))


def kappa_bounds(accuracy_a: float, accuracy_b: float) -> tuple[float, float]:
    """The smallest and the largest κ that two observers of these accuracies can have.

    NaN where both are always right, or both always wrong. Source: Geirhos, Meding & Wichmann 2020, appendix.
    """
    for p in (accuracy_a, accuracy_b):
        if not 0 <= p <= 1:
            raise GenclsError(f"kappa bounds: accuracy {p} is not between 0 and 1; give fractions, not percent")
    expected = accuracy_a * accuracy_b + (1 - accuracy_a) * (1 - accuracy_b)
    if expected == 1:
        return math.nan, math.nan
    lowest, highest = abs(accuracy_a + accuracy_b - 1), 1 - abs(accuracy_a - accuracy_b)
    return (lowest - expected) / (1 - expected), (highest - expected) / (1 - expected)
