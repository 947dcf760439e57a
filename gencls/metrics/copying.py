"""The copy model of error consistency, and how many trials a finding needs (Klein et al. 2025, arXiv
2507.06645).

One observer copies the other's correctness with some probability and otherwise answers on its own; the
probability and κ determine each other, which turns κ into something one can picture, and gives the joint
distribution of two observers from which power follows. A negative probability means copying the opposite.

Powers here are of two-sided tests in the normal approximation: the test's bar stands where the variance of "no difference" puts it, the estimate
moves with its own (both by the delta method). Where the test is exact on counts (Fisher's, McNemar's), the approximation has Yates' correction for
continuity, without which a handful of trials would seem to be enough. It still promises too much where one of the two is wrong, or right, fewer
than about five times in those trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from gencls.errors import GenclsError
from gencls.metrics.agreement import kappa as cohen
from gencls.metrics.agreement import kappa_bounds, kappa_difference
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
    """The chance to find with n trials that κ is not 0, by Fisher's test (`independence_p`)."""
    return _consistency(kappa, accuracy_a, accuracy_b).power(n, alpha)


def kappa_trials(kappa: float, accuracy_a: float, accuracy_b: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The trials needed to find with this power that κ is not 0, by Fisher's test (`independence_p`)."""
    return _consistency(kappa, accuracy_a, accuracy_b).trials(power, alpha)


def kappa_half_width(n: int, kappa: float, accuracy_a: float, accuracy_b: float, level: float = 0.95) -> float:
    """Half the width of κ's interval to be expected from n trials."""
    _some(n)
    _between("level", level)
    return float(ndtri((1 + level) / 2) * _consistency(kappa, accuracy_a, accuracy_b).deviation / math.sqrt(n))


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
    return _difference(kappa_1, kappa_2, accuracy_1, accuracy_2, accuracy_reference).power(n, alpha)


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
    return _difference(kappa_1, kappa_2, accuracy_1, accuracy_2, accuracy_reference).trials(power, alpha)


def accuracy_difference_trials(
    accuracy_a: float, accuracy_b: float, kappa: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The trials needed to find with this power that two observers of the same stimuli differ in accuracy, by McNemar's test.

    The more consistent they are (κ), the fewer.
    """
    _, only_a, only_b, _ = joint_probabilities(kappa, accuracy_a, accuracy_b)
    effect, either = only_a - only_b, only_a + only_b
    return _Test(effect, math.sqrt(either), math.sqrt(max(either - effect**2, 0.0)), 1.0).trials(power, alpha)


@dataclass(frozen=True)
class _Test:
    """A two-sided test of "the effect is 0": standard deviations of √n·estimate where it is (`null`) and where it is `effect`.

    `correction`/n is what the correction for continuity takes from the effect.
    """

    effect: float
    null: float
    deviation: float
    correction: float = 0.0

    def power(self, n: int, alpha: float) -> float:
        """The chance to find the effect with n trials."""
        _some(n)
        _between("alpha", alpha)
        if self.effect == 0:
            return alpha
        bar = float(ndtri(1 - alpha / 2)) * self.null
        shift = max(abs(self.effect) * math.sqrt(n) - self.correction / math.sqrt(n), 0.0)
        if self.deviation == 0:
            return float(shift > bar)
        return float(ndtr((shift - bar) / self.deviation) + ndtr((-shift - bar) / self.deviation))

    def trials(self, power: float, alpha: float) -> int:
        """The fewest trials with this power."""
        if not 0 < alpha < power < 1:
            raise GenclsError(f"power: need 0 < alpha < power < 1, got alpha {alpha} and power {power}")
        if self.effect == 0:
            raise GenclsError(
                "power: a difference of 0 is never found, however many trials; name the difference to detect"
            )
        low, high = 1, 1
        while self.power(high, alpha) < power:
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(middle, alpha) >= power else (middle + 1, high)
        return high


def _consistency(kappa: float, accuracy_a: float, accuracy_b: float) -> _Test:
    """Fisher's test of κ = 0 at these accuracies."""
    cells = joint_probabilities(kappa, accuracy_a, accuracy_b)
    unlike = accuracy_a * (1 - accuracy_b) + accuracy_b * (1 - accuracy_a)
    if unlike == 0:
        raise GenclsError(
            f"copy model: κ is 0/0 at accuracies {accuracy_a} and {accuracy_b}, always right or wrong both; it takes observers who are not"
        )
    independent = joint_probabilities(0, accuracy_a, accuracy_b)
    return _Test(kappa, _deviation(cohen, independent), _deviation(cohen, cells), 1 / unlike)


def _difference(kappa_1: float, kappa_2: float, accuracy_1: float, accuracy_2: float, reference: float) -> _Test:
    """The test of κ₁ = κ₂ with the reference; if they are the same, they are what lies between the two, as far as the accuracies let both be."""
    accuracies = (accuracy_1, accuracy_2, reference)
    cells = _three(kappa_1, kappa_2, *accuracies)
    limits = [kappa_bounds(accuracy, reference) for accuracy in (accuracy_1, accuracy_2)]
    same = [float(np.clip((kappa_1 + kappa_2) / 2, *ends)) for ends in limits]
    alike = _three(same[0], same[1], *accuracies)
    return _Test(kappa_1 - kappa_2, _deviation(kappa_difference, alike), _deviation(kappa_difference, cells))


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


def _some(n: int) -> None:
    if n < 1:
        raise GenclsError(f"power: {n} trials are none; ask for at least one")


def _between(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise GenclsError(f"power: {name} {share} is not between 0 and 1; give a fraction, not percent")


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
