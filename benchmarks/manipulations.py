"""How much faster the batched manipulations are than plain per-image numpy and scipy.

    OMP_NUM_THREADS=1 python benchmarks/manipulations.py [side] [images]

gencls works on pieces of a batch on all cores, the plain versions image by image on one: pin the process to one core (`taskset -c 0`)
to see what the batch alone gives.

Both sides get the same float64 batch and, where random, the same draws; the plain versions are those that the
tests compare with. A set's time is the sum over its levels. Wall time, of the best of several runs in turn. Five times is the aim. It is missed where the plain version already is an expression or two of
numpy or must draw the same numbers; below such a set stands what limits it (`LIMITS`, from timing the parts at
224). The ratios of such sets also move with the batch: results of more than some 30 MB are fresh memory, whose
first use costs as much as the arithmetic.
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

AIM = 5
#: What both sides must do, and what keeps ours from being five times as fast.
LIMITS = {
    "colour": "one thin product on both sides; the rest is memory traffic and fresh memory for the result",
    "contrast": "as colour",
    "high-pass": "the filters are short and scipy's is quick at them; grey, the check and the result take half of ours",
    "phase-scrambling": "two real FFTs in single precision are half of our time, drawing and sines a sixth",
    "power-equalisation": "two real FFTs take most of our time, the first in double precision, for the phases of weak waves",
    "false-colour": "a lookup of each value on both sides",
    "rotation": "plain is one product, a view and three copies: nothing to save but temporaries",
    "uniform-noise": "the draws of an image's seed are the same on both sides and a quarter of our time; the rest as colour",
    **dict.fromkeys(m.COHERENCE, "an image's noise is drawn on both sides"),
}


def seconds(*works: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each, the best of `repeats`; in turn, so that a busy machine slows all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


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
        batch = images[:4] if name.startswith("eidolon") and side >= 64 else images
        seeds = list(range(len(batch)))
        times = np.zeros(2)
        for k in kept:
            times += seconds(
                partial(one_by_one, slow, batch, k, seeds),
                partial(m.manipulate, name, batch, k, seeds, spectrum=spectrum),
                repeats=2 if name.startswith("eidolon") else 7,
            )
        times *= 1000 / len(batch)
        totals += times
        print(f"{name:20}{times[0]:9.3f}{times[1]:9.3f}{times[0] / times[1]:8.1f}", flush=True)
        if times[0] < AIM * times[1]:
            print(f"    {LIMITS.get(name, '')}")
    print(f"{'all':20}{totals[0]:9.3f}{totals[1]:9.3f}{totals[0] / totals[1]:8.1f}")


if __name__ == "__main__":
    main(*(int(x) for x in (sys.argv[1:] or ["224", "64"])))
