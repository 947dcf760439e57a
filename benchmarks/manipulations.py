"""How much faster the batched manipulations are than plain per-image numpy and scipy, on one core.

    OMP_NUM_THREADS=1 python benchmarks/manipulations.py [side] [images]

Both sides get the same float64 batch and, where random, the same draws; the plain versions are those that the
tests compare with. A set's time is the sum over its levels. The best of three runs counts.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from gencls.stimuli import manipulations as m

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "stimuli"))
import obvious


def seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def one_by_one(slow: Callable[..., np.ndarray], batch: np.ndarray, level: float, seeds: list[int]) -> np.ndarray:
    """The plain way through a batch."""
    return np.stack([slow(image, level, seed) for image, seed in zip(batch, seeds, strict=True)])


def main(side: int, n: int) -> None:
    """One row a set: milliseconds an image, ours and plain, and their ratio."""
    images = np.random.default_rng(0).random((n, side, side, 3))
    spectrum = m.mean_spectrum(images)
    gamma = m.gamma_table()
    plain: dict[str, Callable[..., np.ndarray]] = {
        "colour": lambda x, level, seed: obvious.colour(x, level),
        "contrast": lambda x, level, seed: obvious.contrast(x, level),
        "high-pass": lambda x, level, seed: obvious.high_pass(x, level),
        "low-pass": lambda x, level, seed: obvious.low_pass(x, level),
        "phase-scrambling": obvious.phase_scrambling,
        "power-equalisation": lambda x, level, seed: obvious.power_equalisation(x, spectrum),
        "false-colour": lambda x, level, seed: obvious.false_colour_fast(x, gamma),
        "rotation": lambda x, level, seed: obvious.rotation(x, level),
        "uniform-noise": obvious.uniform_noise,
        **{name: lambda x, level, seed, c=c: obvious.eidolon(x, level, c, 10, seed) for name, c in m.COHERENCE.items()},
    }
    print(f"{n} images of {side}×{side}, float64, ms an image (summed over the levels)")
    print(f"{'set':20}{'plain':>9}{'gencls':>9}{'ratio':>8}")
    totals = np.zeros(2)
    for name, slow in plain.items():
        levels = (m.LEVELS if side == 224 else m.SHAPES_LEVELS)[name].values()
        kept = [x for x in levels if not (isinstance(x, bool) and not x)]
        if name.startswith("eidolon"):
            kept = kept[:1]
        batch = images[: max(1, n // 4)] if name.startswith("eidolon") and side >= 64 else images
        seeds = list(range(len(batch)))
        times = np.array(
            [
                sum(seconds(partial(one_by_one, slow, batch, k, seeds)) for k in kept),
                sum(seconds(partial(m.manipulate, name, batch, k, seeds, spectrum=spectrum)) for k in kept),
            ]
        )
        times *= 1000 / len(batch)
        totals += times
        print(f"{name:20}{times[0]:9.3f}{times[1]:9.3f}{times[0] / times[1]:8.1f}", flush=True)
    print(f"{'all':20}{totals[0]:9.3f}{totals[1]:9.3f}{totals[0] / totals[1]:8.1f}")


if __name__ == "__main__":
    main(*(int(x) for x in (sys.argv[1:] or ["224", "16"])))
