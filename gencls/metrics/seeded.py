"""Ratios over the stimuli as means over training seeds.

Such an interval has two sources, the stimuli (bootstrapped, the same resample for all seeds) and the seeds (s²/k); the sum of the variances is
read with Student's t at Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from gencls.errors import GenclsError
from gencls.metrics.comparisons import compare_shape_bias
from gencls.metrics.estimates import Estimate
from gencls.metrics.shape import SHAPE, TEXTURE, decisions

#: Which of n stimuli are hits, and which are counted at all: two bool arrays.
Hits = tuple[np.ndarray, np.ndarray]
_DRAWS = 1000


@lru_cache
def _draws(n: int) -> np.ndarray:
    """How often each of n stimuli is drawn: draws × n."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_DRAWS).astype(float)


def _share(hits: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return hits / whole


def ratio(hits: Sequence[np.ndarray], whole: Sequence[np.ndarray], name: str = "", unit: bool = True) -> Estimate:
    """The mean over training seeds of Σ hits / Σ whole over stimuli, with its interval over seeds and stimuli.

    hits, whole: one array a seed, of n stimuli each, the same stimuli in every seed. `n` counts what is in `whole`, over all
    seeds; `points` holds the seeds' own values. `unit`: the interval is kept within [0, 1]. With one seed the interval is
    over stimuli alone; a seed with nothing in `whole` is left out. Where every stimulus is a hit, or none is, in every seed, the
    interval is Wilson's over one seed's stimuli.
    """
    a, b = np.stack(hits).astype(float), np.stack(whole).astype(float)
    values = _share(a.sum(1), b.sum(1))
    there = np.isfinite(values)
    points = values[there]
    if not len(points):
        return Estimate(math.nan, n=0, name=name, method="nothing to average", points=[])
    times = _draws(a.shape[1])
    resampled = _share(times @ a.T, times @ b.T)[:, there]
    spread = float(np.nanvar(np.nanmean(np.where(np.isfinite(resampled), resampled, np.nan), 1)))
    half = half_width(spread, a.shape[1], [points])
    low, high = points.mean() - half, points.mean() + half
    if unit and half == 0 and points[0] in (0, 1):  # all right or all wrong: Wilson's end, as of one seed's stimuli
        fewest = float(b.sum(1)[there].min())
        inside = fewest / (fewest + 1.96**2)
        low, high = (inside, 1.0) if points[0] == 1 else (0.0, 1 - inside)
    if unit:
        low, high = max(0.0, low), min(1.0, high)
    method = "over training seeds and stimuli" if len(points) > 1 else "over stimuli"
    return Estimate(points.mean(), low, high, int(b.sum()), name, method, points=points.tolist())


def half_width(stimuli_variance: float, n: int, groups: Sequence[np.ndarray]) -> float:
    """Half a 95% interval: variance over stimuli plus s²/k of each group of seeds, at Satterthwaite's degrees of freedom."""
    parts = [(stimuli_variance, n - 1)]
    parts += [(float(np.var(g, ddof=1)) / len(g), len(g) - 1) for g in groups if len(g) > 1]
    total = sum(v for v, _ in parts)
    if not total > 0:
        return 0.0
    freedom = total**2 / sum(v**2 / max(d, 1) for v, d in parts if v > 0)
    return float(stats.t.ppf(0.975, freedom) * math.sqrt(total))


def contrast(
    groups: Sequence[Sequence[Hits]], signs: Sequence[int], name: str = "difference of shape bias"
) -> Estimate:
    """Σ sign · ratio over groups of training seeds, all on the same stimuli, with its interval over seeds and stimuli."""
    values, draws = [], []
    times = _draws(len(groups[0][0][0]))
    for group in groups:
        hits, whole = (np.stack([p[i] for p in group]).astype(float) for i in (0, 1))
        values.append(_share(hits.sum(1), whole.sum(1)))
        draws.append(np.nanmean(_share(times @ hits.T, times @ whole.T), 1))
    value = float(sum(sign * np.nanmean(v) for sign, v in zip(signs, values, strict=True)))
    resampled = sum(sign * d for sign, d in zip(signs, draws, strict=True))
    half = half_width(float(np.nanvar(resampled)), times.shape[1], [v[np.isfinite(v)] for v in values])
    half = math.nan if half == 0 and value else half  # all against none: no resample can tell how sure that is
    return Estimate(value, value - half, value + half, times.shape[1], name, "over seeds and stimuli")


def of_cues(trials: pd.DataFrame) -> Hits:
    """Which of the cue-conflict trials were answered by shape, and which by either cue."""
    said = decisions(trials)
    return said == SHAPE, (said == SHAPE) | (said == TEXTURE)


def bias_difference(a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame]) -> Estimate:
    """Shape bias of a less that of b, each a model's trials by training seed, all on the same cue-conflict stimuli.

    With its interval over seeds and stimuli; with one seed each, over stimuli and the images that they share (`compare_shape_bias`).
    """
    if len(a) == len(b) == 1:
        return compare_shape_bias(a[0], b[0])
    names = [list(trials["stimulus"]) for trials in (*a, *b)]
    if any(other != names[0] for other in names):
        raise GenclsError(
            "difference in shape bias: the training seeds did not see the same stimuli; score them on one set"
        )
    return contrast([[of_cues(trials) for trials in group] for group in (a, b)], (1, -1), "difference in shape bias")


def paired(
    hits: Sequence[np.ndarray], whole: Sequence[np.ndarray], hits_b: Sequence[np.ndarray], whole_b: Sequence[np.ndarray]
) -> Estimate:
    """The difference of two ratios of the same seeds on the same stimuli, seed by seed, with its interval over both."""
    arrays = [np.stack(x).astype(float) for x in (hits, whole, hits_b, whole_b)]
    sums = [a.sum(1) for a in arrays]
    points = _share(sums[0], sums[1]) - _share(sums[2], sums[3])
    times = _draws(arrays[0].shape[1])
    a, b, c, d = (times @ x.T for x in arrays)
    draws = np.nanmean(_share(a, b) - _share(c, d), 1)
    kept = points[np.isfinite(points)]
    half = half_width(float(np.nanvar(draws)), times.shape[1], [kept])
    value = float(kept.mean()) if len(kept) else math.nan
    half = math.nan if half == 0 and value else half  # as in `contrast`
    return Estimate(value, value - half, value + half, times.shape[1], "difference", "over seeds and stimuli")
