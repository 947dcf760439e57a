"""Stimuli drawn again for many observers at once, as far as trials share images: values, differences and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gencls import metrics
from gencls.metrics import Estimate
from gencls.metrics.bootstrap import Clusters, clustered, image_draws, p_value


def enough(tests: int, least: int = 1000) -> int:
    """Draws that leave room for each of so many differences to stand.

    No bootstrap p is below 2 ÷ draws, which Holm's correction multiplies by the number of tests: 50 draws a test keep that below .05.
    """
    return max(least, 50 * tests)


def images_of(table: pd.DataFrame) -> list[str]:
    """What stimulus each trial's image was made of: one photo under every manipulation is one image."""
    found = []
    for name, condition, stimulus in zip(table["set"], table["condition"], table["stimulus"], strict=True):
        stem = stimulus.removesuffix(f"-{name}-{condition}")
        found.append(stem if stem != stimulus else f"{name}/{stimulus}")
    return found


class Weights:
    """How often each image counts: first once, then as drawn. Sets of the same images share their draws."""

    def __init__(self, draws: int, seed: int) -> None:
        self.draws, self.seed = draws, seed
        self._known: dict[tuple[str, ...], np.ndarray] = {}

    def images(self, units: tuple[str, ...]) -> np.ndarray:
        """1 + draws × images."""
        if units not in self._known:
            rng = np.random.default_rng([self.seed, len(self._known)])
            drawn = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=self.draws)
            self._known[units] = np.concatenate([np.ones((1, len(units))), drawn])
        return self._known[units]

    def cues(self, contents: np.ndarray, textures: np.ndarray) -> np.ndarray:
        """1 + draws × stimuli that share content and texture images, both resampled (Owen 2007): three times the variance of single stimuli, see `Drawn.settled`."""
        first, second = image_draws(int(contents.max()) + 1, int(textures.max()) + 1, self.draws, self.seed)
        return np.concatenate([np.ones((1, len(contents))), (first[contents] * second[textures]).T])


@dataclass(frozen=True)
class Drawn:
    """A statistic of stimuli: its value, then its draws (1 + draws,); what each stimulus adds to it (n,), and the images that they share."""

    samples: np.ndarray
    influence: np.ndarray
    clusters: Clusters | None

    def __sub__(self, other: Drawn) -> Drawn:
        """The difference of two on the same stimuli."""
        return Drawn(self.samples - other.samples, self.influence - other.influence, self.clusters)

    def settled(self) -> np.ndarray:
        """The value and its draws; where stimuli share images, of the two-way clustered variance (see `metrics.Bootstrap`)."""
        if self.clusters is None:
            return self.samples
        value = self.samples[:1]
        return np.concatenate([value, clustered(self.samples[1:], value[0], self.influence, self.clusters)])


def drawn(statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, clusters: Clusters | None) -> list[Drawn]:
    """Statistics of the same n stimuli, `statistic` of their weights m×n giving m×k: k of them; `weights` (1 + draws)×n, `clusters` if they are `cues`."""
    samples, n = statistic(weights), weights.shape[1]
    influence = np.zeros((n, samples.shape[1]))
    if clusters is not None:  # the jackknife's
        influence = np.nan_to_num((n - 1) * (samples[:1] - statistic(1 - np.eye(n))))
    return [Drawn(*both, clusters) for both in zip(samples.T, influence.T, strict=True)]


def estimate(samples: np.ndarray, n: int, name: str) -> Estimate:
    """The value and its percentile interval."""
    drawn = samples[1:][~np.isnan(samples[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (math.nan, math.nan)
    return Estimate(float(samples[0]), float(low), float(high), n, name, "percentile over images")


def differences(drawn: Mapping[tuple[str, str], np.ndarray], name: str) -> pd.DataFrame:
    """Differences of two observers, the value and then its draws, as one family of tests."""
    rows = []
    for (a, b), samples in drawn.items():
        e = estimate(samples, 0, name)
        rows.append((a, b, e.value, e.low, e.high, p_value(samples[1:])))
    frame = pd.DataFrame(rows, columns=["observer_a", "observer_b", "value", "low", "high", "p"])
    return frame.assign(p_holm=list(metrics.holm(frame["p"].tolist()).values()))
