"""How much faster the batched manipulations are than plain per-image numpy and scipy.

    OMP_NUM_THREADS=1 python benchmarks/manipulations.py [side] [images]

gencls works on pieces of a batch on all cores, the plain versions image by image on one. So there are two ratios: of wall time, which a
user waits and which other work on the machine spoils, and of processor time, which is what the batch alone gives, cores left aside.

Both sides get the same float64 batch and, where random, the same draws; the plain versions are those that the
tests compare with. A set's time is the sum over its levels, of the best of several runs in turn. Five times in wall time is the
aim. It is missed where the plain version already is an expression or two of numpy or must draw the same numbers; below such a set
stands what limits it (`LIMITS`, from timing the parts at 224). The ratios of such sets also move with the batch: results of more
than some 30 MB (24 images) are fresh memory on both sides, whose first use costs as much as our arithmetic.
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
    "rotation": "plain is one product, a view and three copies: what is left to us is to read, turn and write the pixels once",
    "uniform-noise": "the draws of an image's seed are the same on both sides and a quarter of our time; the rest as colour",
    **dict.fromkeys(m.COHERENCE, "an image's noise is drawn on both sides"),
}


def seconds(*works: Callable[[], object], repeats: int) -> np.ndarray:
    """Seconds of each, wall and processor: works × 2, the best of `repeats`; in turn, so that a busy machine slows all alike."""
    times = np.empty((repeats, len(works), 2))
    for taken in times:
        for i, work in enumerate(works):
            start = np.array([time.perf_counter(), time.process_time()])
            work()
            taken[i] = np.array([time.perf_counter(), time.process_time()]) - start
    return times.min(axis=0)


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
    print(f"{n} images of {side}×{side}, float64, ms an image (summed over the levels), {os.cpu_count()} cores")
    print(f"{'set':20}{'plain':>9}{'gencls':>9}{'ratio':>8}{'processor time':>16}")
    totals = np.zeros((2, 2))
    for name, slow in plain.items():
        levels = (m.LEVELS if side == 224 else m.SHAPES_LEVELS)[name].values()
        kept = [x for x in levels if not (isinstance(x, bool) and not x)]
        if name.startswith("eidolon"):
            kept = kept[:1]
        batch = images[:4] if name.startswith("eidolon") and side >= 64 else images
        seeds = list(range(len(batch)))
        times = np.zeros((2, 2))
        for k in kept:
            times += seconds(
                partial(one_by_one, slow, batch, k, seeds),
                partial(m.manipulate, name, batch, k, seeds, spectrum=spectrum),
                repeats=2 if name.startswith("eidolon") else 40,
            )
        times *= 1000 / len(batch)
        totals += times
        print(row(name, times), flush=True)
        if times[0, 0] < AIM * times[1, 0]:
            print(f"    {LIMITS.get(name, '')}")
    print(row("all", totals))


def row(name: str, times: np.ndarray) -> str:
    """Wall milliseconds of plain and gencls, and the ratios of wall and of processor time."""
    (plain, plain_cpu), (ours, ours_cpu) = times
    return f"{name:20}{plain:9.3f}{ours:9.3f}{plain / ours:8.1f}{plain_cpu / ours_cpu:16.1f}"


if __name__ == "__main__":
    main(*(int(x) for x in (sys.argv[1:] or ["224", "64"])))
