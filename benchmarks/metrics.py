"""How much faster the measures' intervals are than resampling trials one by one, on one core.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py [trials] [observers]

Made-up observers on stimuli that share images as the cue-conflict set's do. The obvious implementation is
the one that the tests compare with; for all pairs, and for 10,000 draws, its time is measured on fewer and
scaled up. The best of three runs counts.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gencls import metrics
from gencls.categories import CATEGORIES
from gencls.metrics import Bootstrap
from gencls.metrics.tables import right

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "metrics"))
import plain

DRAWS, FEW = 10_000, 500


def seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def made_up(n: int, observers: int) -> list[pd.DataFrame]:
    """Observers of n cue-conflict stimuli made of 160 content and 48 texture images."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(160 * 48, size=n, replace=False)
    shape, texture = (
        [f"{CATEGORIES[i // 10]}{i % 10}" for i in range(160)],
        [f"{CATEGORIES[i // 3]}{i % 3}" for i in range(48)],
    )
    table = pd.DataFrame(
        {
            "stimulus": [f"{shape[p // 48]}-{texture[p % 48]}" for p in pairs],
            "category": [CATEGORIES[p // 48 // 10] for p in pairs],
            "texture": [CATEGORIES[p % 48 // 3] for p in pairs],
            "condition": "0",
        }
    )
    result = []
    for k in range(observers):
        choice = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
        answers = np.select([choice == 0, choice == 1], [table["category"], table["texture"]], "na")
        result.append(table.assign(subj=f"observer {k}", object_response=answers))
    return result


def main(n: int, observers: int) -> None:
    """One row a measure: ours, the obvious one, the ratio."""
    tables = made_up(n, observers)
    a, b = tables[:2]
    right_a, right_b = right(a), right(b)
    everyone = pd.concat(tables, ignore_index=True)
    pairs = observers * (observers - 1) // 2
    percentile = Bootstrap("percentile", DRAWS)

    slow = seconds(lambda: plain.kappa_bootstrap(right_a, right_b, FEW, 0)) * DRAWS / FEW
    rows = [
        ("κ of a pair, naive", lambda: metrics.error_consistency(a, b, percentile, clustered=False), slow),
        ("κ of a pair, BCa", lambda: metrics.error_consistency(a, b, clustered=False), slow),
        ("κ of a pair, two-way clustered", lambda: metrics.error_consistency(a, b), slow),
        (
            f"κ of {pairs} pairs, naive",
            lambda: metrics.pairwise_consistency(everyone, by_images=False),
            slow * pairs,
        ),
        (f"κ of {pairs} pairs, clustered", lambda: metrics.pairwise_consistency(everyone), slow * pairs),
    ]
    print(f"{n} trials, {DRAWS} draws{'':14}{'gencls':>12}{'obvious':>12}{'ratio':>8}")
    for name, work, obvious in rows:
        ours = seconds(work)
        print(f"{name:38}{ours * 1e3:9.1f} ms{obvious * 1e3:9.0f} ms{obvious / ours:8.0f}")


if __name__ == "__main__":
    main(*(int(x) for x in [*sys.argv[1:], *("1280", "24")[len(sys.argv) - 1 :]]))
