"""Does an observer know how sure it may be?"""

from __future__ import annotations

from typing import Any

import numpy as np

from gencls.errors import GenclsError
from gencls.metrics.bootstrap import Bootstrap
from gencls.metrics.estimates import Estimate

TWO_THOUSAND = Bootstrap(method="percentile", draws=2000)


def expected_calibration_error(
    probabilities: np.ndarray,
    answers_correct: np.ndarray,
    bins: int = 15,
    bootstrap: Bootstrap | None = TWO_THOUSAND,
) -> Estimate:
    """Expected calibration error in [0, 1]: the mean gap between confidence and accuracy, over equal-width
    bins.

    `probabilities` are those of the answers given, (n,), or of all classes, (n, classes), whose largest
    counts; `answers_correct` is (n,) bool. Bins are (k/bins, (k+1)/bins], the first closed; the gap of a
    bin counts by its trials. `curve` has one (mean confidence, accuracy, n) for every bin that is not
    empty. In small samples even a perfectly calibrated observer has one above 0: `by_chance` is what one who is
    this sure would have, on average. Resampling adds about as much again: the interval is the draws' percentiles,
    less what their mean is above the estimate, never below 0. Source: Guo et al. 2017.
    """
    confidence = np.asarray(probabilities, float)
    correct = np.asarray(answers_correct)
    confidence = confidence.max(-1) if confidence.ndim == 2 else confidence
    if confidence.shape != correct.shape or confidence.ndim != 1 or not len(confidence):
        raise GenclsError(f"calibration: {confidence.shape} probabilities for {correct.shape} answers; give as many")
    if not np.isin(correct, (0, 1)).all() or not ((confidence >= 0) & (confidence <= 1 + 1e-9)).all():
        raise GenclsError("calibration: probabilities must lie in [0, 1] and answers be True or False; check for NaN")
    if bins < 1:
        raise GenclsError(f"calibration: {bins} bins are none; ask for at least one")
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = confidence - correct

    def error(gap: np.ndarray) -> float:
        return float(np.abs(np.bincount(which, gap, minlength=bins)).sum() / len(gap))

    sizes = np.bincount(which, minlength=bins)
    mean_confidence, accuracy = (
        np.bincount(which, v, minlength=bins) / np.maximum(sizes, 1) for v in (confidence, correct)
    )
    curve = [(float(mean_confidence[k]), float(accuracy[k]), int(sizes[k])) for k in np.flatnonzero(sizes)]
    value = error(gap)
    named: dict[str, Any] = {"name": "expected calibration error", "curve": curve}
    if bootstrap is None:
        return Estimate(value, n=len(gap), method="none", **named)
    rng, even = np.random.default_rng(bootstrap.seed), np.full(len(gap), 1 / len(gap))
    draws = np.array([error(gap * rng.multinomial(len(gap), even)) for _ in range(bootstrap.draws)])
    named["by_chance"] = np.mean(
        [error(confidence - (rng.random(len(gap)) < confidence)) for _ in range(bootstrap.draws)]
    )
    least, most = bootstrap.percentiles(draws - (draws.mean() - value))
    return Estimate(value, max(0.0, least), most, len(gap), method="percentile bootstrap, bias taken off", **named)
