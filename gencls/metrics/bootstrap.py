"""Resampling: intervals of any statistic of cell counts.

Every measure here is a function of how many trials fall into a few cells (right and wrong; shape, texture
and other; the four cells of two observers' joint correctness). Resampling trials with replacement and
counting cells is exactly a multinomial draw of the counts, so 10,000 draws cost what 10,000 × cells numbers
cost, whatever the number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.special import ndtr, ndtri

from gencls.errors import GenclsError

#: counts (..., cells) → values (...); NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]
#: For every stimulus the number of its content image and of its texture image, both 0…
Clusters = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An interval, the draws behind it, and where stimuli are clustered the naive interval beside it."""

    low: float
    high: float
    method: str
    draws: np.ndarray = field(repr=False)
    naive: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bootstrap:
    """How to resample: `method` is `bca` (Efron 1987) or `percentile`, `level` the coverage in (0, 1).

    Same seed, same interval. Stimuli that share content and texture images are resampled by both (Owen
    2007's pigeonhole bootstrap: a stimulus counts as often as its content image was drawn times as often as
    its texture image was), which alone counts the independent part of the variance three times; the draws
    are therefore brought to the two-way clustered variance V_content + V_texture − V_stimulus (Cameron,
    Gelbach, Miller 2011), never below the largest of the three. Clustered intervals are percentile
    intervals.
    """

    method: str = "bca"
    draws: int = 10_000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("bca", "percentile"):
            raise GenclsError(f"bootstrap: method {self.method!r} is unknown; choose 'bca' or 'percentile'")
        if not isinstance(self.draws, int) or self.draws < 1 or not 0 < self.level < 1:
            raise GenclsError(
                f"bootstrap: draws {self.draws}, level {self.level}; need a whole number of draws ≥ 1 and 0 < level < 1"
            )

    def counts(self, counts: np.ndarray) -> np.ndarray:
        """Resampled cell counts, draws × cells."""
        n = int(counts.sum())
        return np.random.default_rng(self.seed).multinomial(n, counts / n, size=self.draws)

    def interval(
        self,
        statistic: Statistic,
        labels: np.ndarray,
        cells: int,
        clusters: Clusters | None = None,
        resampled: np.ndarray | None = None,
    ) -> Interval:
        """The interval of `statistic` over stimuli whose cell numbers are `labels` (n,), 0 ≤ label < cells.

        `resampled` may hold the clustered resampling's counts (draws × cells) where they are known already.
        """
        counts = np.bincount(labels, minlength=cells)
        if not counts.sum():
            return Interval(math.nan, math.nan, "nothing to resample", np.full(self.draws, math.nan))
        value = float(statistic(counts))
        naive = statistic(self.counts(counts))
        influence = influences(statistic, counts)
        low, high = self.limits(naive, value, influence, counts)
        if clusters is None:
            return Interval(low, high, f"{self.method} bootstrap", naive)
        if resampled is None:
            resampled = clustered_counts(labels, cells, clusters, self.draws, self.seed)
        draws = clustered(statistic(resampled), value, influence[labels], clusters)
        method = "two-way clustered percentile bootstrap"
        return Interval(*self.percentiles(draws), method, draws, (low, high))

    def percentiles(self, draws: np.ndarray) -> tuple[float, float]:
        """The percentile interval of draws (n,), undefined draws left out."""
        defined = draws[~np.isnan(draws)]
        if not len(defined):
            return math.nan, math.nan
        tail = (1 - self.level) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return float(low), float(high)

    def limits(self, draws: np.ndarray, value: float, influence: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
        """The interval by this method; `influence` (cells,) is the jackknife's, `counts` (cells,) the
        data's."""
        defined = draws[~np.isnan(draws)]
        if math.isnan(value) or not len(defined):
            return math.nan, math.nan
        if self.method == "percentile" or defined.min() == defined.max():
            return self.percentiles(defined)
        below = (np.mean(defined < value) + np.mean(defined <= value)) / 2  # ties count half
        bias = ndtri(np.clip(below, 0.5 / len(defined), 1 - 0.5 / len(defined)))
        centred = influence - counts @ influence / counts.sum()
        spread = counts @ centred**2
        acceleration = counts @ centred**3 / (6 * spread**1.5) if spread > 0 else 0.0
        tail = ndtri((1 - self.level) / 2)
        z = bias + np.array([tail, -tail])
        low, high = np.quantile(defined, ndtr(bias + z / np.maximum(1 - acceleration * z, 1e-9)))
        return float(low), float(high)


#: 10,000 draws, BCa, 95 %.
DEFAULT = Bootstrap()


def influences(statistic: Statistic, counts: np.ndarray) -> np.ndarray:
    """What one more trial in each cell does to the statistic, by the jackknife: (n − 1)·(value − value
    without it).

    0 for empty cells, and where the statistic without the trial is undefined.
    """
    without = np.maximum(counts - np.eye(len(counts), dtype=counts.dtype), 0)
    change = (counts.sum() - 1) * (statistic(counts) - statistic(without))
    return np.where((counts > 0) & np.isfinite(change), change, 0.0)


def clustered_counts(labels: np.ndarray, cells: int, clusters: Clusters, draws: int, seed: int) -> np.ndarray:
    """Pigeonhole-resampled cell counts, draws × cells."""
    contents, textures = clusters
    n_contents, n_textures = int(contents.max()) + 1, int(textures.max()) + 1
    weigh_content, weigh_texture = image_draws(n_contents, n_textures, draws, seed)
    where = sparse.csr_matrix(
        (np.ones(len(labels), np.float32), (labels * n_textures + textures, contents)),
        shape=(cells * n_textures, n_contents),
    )
    by_texture = (where @ weigh_content).reshape(cells, n_textures, draws)
    return np.einsum("ctd,td->dc", by_texture, weigh_texture).astype(np.float64)


@lru_cache(maxsize=4)
def image_draws(contents: int, textures: int, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each image is drawn: contents × draws and textures × draws, float32 whole numbers."""
    rng = np.random.default_rng(seed)

    def times(images: int) -> np.ndarray:
        drawn = rng.integers(images, size=(draws, images)) + images * np.arange(draws)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=draws * images).reshape(draws, images)
        counted = np.ascontiguousarray(counted.T, dtype=np.float32)
        counted.setflags(write=False)
        return counted

    return times(contents), times(textures)


def clustered(draws: np.ndarray, value: float, influence: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Pigeonhole draws (n,) brought to the two-way clustered variance; `influence` is that of every
    stimulus."""
    spread = np.nanvar(draws) if np.isfinite(draws).any() else 0.0
    if not spread > 0:
        return draws
    return value + (draws - value) * min(1.0, math.sqrt(clustered_variance(influence, clusters) / spread))


def clustered_variance(influence: np.ndarray, clusters: Clusters) -> float:
    """V_content + V_texture − V_stimulus of a statistic whose stimuli have these influences, at least each
    of them."""
    centred = (influence - influence.mean()) / len(influence)
    content, texture = (float((np.bincount(c, centred) ** 2).sum()) for c in clusters)
    stimulus = float((centred**2).sum())
    return max(content + texture - stimulus, content, texture, stimulus)


def p_value(draws: np.ndarray) -> float:
    """Two-sided bootstrap p of "the difference is 0": twice the smaller tail beyond 0, (k + 1)/(draws +
    1)."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return math.nan
    tail = min(np.sum(defined <= 0), np.sum(defined >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(defined) + 1)))
