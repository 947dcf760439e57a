"""The copy model of error consistency, and how many trials a finding needs (Klein et al. 2025, arXiv
2507.06645).

One observer copies the other's correctness with some probability and otherwise answers on its own; the
probability and κ determine each other, which turns κ into something one can picture, and gives the joint
distribution of two observers from which power follows. A negative probability means copying the opposite.
Powers here are of two-sided tests in the normal approximation, with the variance of the estimate by the
delta method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from gencls.errors import GenclsError
from gencls.metrics.agreement import kappa as cohen
from gencls.metrics.agreement import kappa_difference
from gencls.metrics.bootstrap import Statistic


@dataclass(frozen=True)
class CopyModel:
    """`probability` in [−1, 1] of copying the more accurate observer, whose accuracy is `source`.

    `own` is the copier's accuracy when it does not copy (NaN where it always does).
    """

    probability: float
    source: float
    own: float


def copy_model(kappa: float, accuracy_a: float, accuracy_b: float) -> CopyModel:
    """The copy model of two observers with this κ and these accuracies in [0, 1].

    The less accurate observer copies the more accurate one. With equal accuracies the probability is κ
    itself. Source: Klein et al. 2025, section 4. Where one observer is always right or always wrong, it is
    NaN.
    """
    _possible(kappa, accuracy_a, accuracy_b)
    source, copier = max(accuracy_a, accuracy_b), min(accuracy_a, accuracy_b)
    if not 0 < source < 1:
        return CopyModel(math.nan, source, copier)
    probability = kappa * (source * (1 - copier) + copier * (1 - source)) / (2 * source * (1 - source))
    alone = 1 - abs(probability)
    copied = source if probability >= 0 else 1 - source
    own = min(max((copier - abs(probability) * copied) / alone, 0.0), 1.0) if alone > 1e-12 else math.nan
    return CopyModel(probability, source, own)


def joint_probabilities(kappa: float, accuracy_a: float, accuracy_b: float) -> np.ndarray:
    """P(both right), P(only a), P(only b), P(neither): (4,), what κ and the two accuracies imply."""
    _possible(kappa, accuracy_a, accuracy_b)
    covariance = kappa * (accuracy_a * (1 - accuracy_b) + accuracy_b * (1 - accuracy_a)) / 2
    both = accuracy_a * accuracy_b + covariance
    cells = np.array([both, accuracy_a - both, accuracy_b - both, 1 - accuracy_a - accuracy_b + both])
    return np.clip(cells, 0, 1)


def kappa_power(n: int, kappa: float, accuracy_a: float, accuracy_b: float, alpha: float = 0.05) -> float:
    """The chance to find that κ is not 0 with n trials."""
    cells = joint_probabilities(kappa, accuracy_a, accuracy_b)
    return _power(n, kappa, _deviation(cohen, cells), alpha)


def kappa_trials(kappa: float, accuracy_a: float, accuracy_b: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The trials needed to find with this power that κ is not 0."""
    cells = joint_probabilities(kappa, accuracy_a, accuracy_b)
    return _trials(kappa, _deviation(cohen, cells), power, alpha)


def kappa_half_width(n: int, kappa: float, accuracy_a: float, accuracy_b: float, level: float = 0.95) -> float:
    """Half the width of κ's interval to be expected from n trials."""
    cells = joint_probabilities(kappa, accuracy_a, accuracy_b)
    return float(ndtri((1 + level) / 2) * _deviation(cohen, cells) / math.sqrt(n))


def kappa_difference_power(
    n: int,
    kappa_1: float,
    kappa_2: float,
    accuracy_1: float,
    accuracy_2: float,
    accuracy_reference: float,
    alpha: float = 0.05,
) -> float:
    """The chance to find with n trials that observer 1 and observer 2 differ in κ with a third, the
    reference.

    All three see the same stimuli; given the reference's correctness the two are independent.
    """
    cells = _three(kappa_1, kappa_2, accuracy_1, accuracy_2, accuracy_reference)
    return _power(n, kappa_1 - kappa_2, _deviation(kappa_difference, cells), alpha)


def kappa_difference_trials(
    kappa_1: float,
    kappa_2: float,
    accuracy_1: float,
    accuracy_2: float,
    accuracy_reference: float,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """The trials needed to find with this power that two observers differ in κ with a third, the
    reference."""
    cells = _three(kappa_1, kappa_2, accuracy_1, accuracy_2, accuracy_reference)
    return _trials(kappa_1 - kappa_2, _deviation(kappa_difference, cells), power, alpha)


def accuracy_difference_trials(
    accuracy_a: float, accuracy_b: float, kappa: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The trials needed to find with this power that two observers of the same stimuli differ in accuracy.

    The more consistent they are (κ), the fewer.
    """
    _, only_a, only_b, _ = joint_probabilities(kappa, accuracy_a, accuracy_b)
    effect = only_a - only_b
    return _trials(effect, math.sqrt(max(only_a + only_b - effect**2, 0.0)), power, alpha)


def _three(kappa_1: float, kappa_2: float, accuracy_1: float, accuracy_2: float, reference: float) -> np.ndarray:
    if not 0 < reference < 1:
        raise GenclsError(f"power: the reference's accuracy {reference} must lie strictly between 0 and 1")
    first = joint_probabilities(kappa_1, accuracy_1, reference).reshape(2, 2)
    second = joint_probabilities(kappa_2, accuracy_2, reference).reshape(2, 2)
    return np.einsum("ir,jr,r->ijr", first, second, 1 / np.array([reference, 1 - reference])).ravel()


def _deviation(statistic: Statistic, cells: np.ndarray) -> float:
    """Standard deviation of √n·(estimate − truth), by the delta method."""
    step = 1e-6
    plus, minus = cells + step * np.eye(len(cells)), cells - step * np.eye(len(cells))
    slope = (statistic(plus) - statistic(minus)) / (2 * step)
    return math.sqrt(max(float(cells @ slope**2 - (cells @ slope) ** 2), 0.0))


def _power(n: int, effect: float, deviation: float, alpha: float) -> float:
    if n < 1:
        raise GenclsError(f"power: {n} trials are none; ask for at least one")
    if deviation == 0:
        return alpha if effect == 0 else 1.0
    shift, bar = abs(effect) * math.sqrt(n) / deviation, ndtri(1 - alpha / 2)
    return float(ndtr(shift - bar) + ndtr(-shift - bar))


def _trials(effect: float, deviation: float, power: float, alpha: float) -> int:
    if not 0 < alpha < power < 1:
        raise GenclsError(f"power: need 0 < alpha < power < 1, got alpha {alpha} and power {power}")
    if effect == 0:
        raise GenclsError("power: a difference of 0 is never found, however many trials; name the difference to detect")
    low, high = 1, 1
    while _power(high, effect, deviation, alpha) < power:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, effect, deviation, alpha) >= power else (middle + 1, high)
    return high


def _possible(kappa: float, accuracy_a: float, accuracy_b: float) -> None:
    for p in (accuracy_a, accuracy_b):
        if not 0 <= p <= 1:
            raise GenclsError(f"copy model: accuracy {p} is not between 0 and 1; give fractions, not percent")
    unlike = accuracy_a * (1 - accuracy_b) + accuracy_b * (1 - accuracy_a)
    lowest = abs(accuracy_a + accuracy_b - 1) - (1 - unlike)
    highest = unlike - abs(accuracy_a - accuracy_b)
    if not lowest - 1e-9 <= kappa * unlike <= highest + 1e-9:
        raise GenclsError(
            f"copy model: κ = {kappa} is impossible at accuracies {accuracy_a} and {accuracy_b}; "
            "kappa_bounds() says which can be"
        )
