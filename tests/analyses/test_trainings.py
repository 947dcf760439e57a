"""What a second training moves, on answers and differences that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gencls import metrics
from gencls.analyses import trainings
from gencls.metrics import Estimate

MEASURE = "shape bias"


def pairs(differences: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"measure": MEASURE, "observer": [f"m{i}" for i in range(len(differences))], "value": differences}
    )


def test_the_spread_is_that_of_the_trainings_and_its_interval_holds_it() -> None:
    rng, held, found = np.random.default_rng(0), 0, []
    for _ in range(400):
        biases = 0.4 + 0.05 * rng.standard_normal((5, 2))  # five models, each trained twice
        sigma = trainings.spread(pairs(biases[:, 1] - biases[:, 0]))
        found.append(sigma**2)
        held += sigma.low <= 0.05 <= sigma.high
    assert np.sqrt(np.mean(found)) == pytest.approx(0.05, rel=0.05) and sigma.n == 5
    assert 0.92 < held / 400 < 0.98


def test_without_a_second_training_there_is_no_spread() -> None:
    assert np.isnan(trainings.spread(pairs(np.array([])))) and np.isnan(
        trainings.spread(pairs(np.array([0.1])), "other")
    )


def differences(values: list[float], half: float = 0.0784) -> pd.DataFrame:
    rows = [(f"a − b{i}", v, v - half, v + half, 300, "record", 0.01, 0.01) for i, v in enumerate(values)]
    return pd.DataFrame(rows, columns=["observer", "value", "low", "high", "n", "origin", "p", "p_holm"])


def test_trainings_that_agree_leave_the_intervals_as_they_are() -> None:
    rows = trainings.with_trainings(differences([0.1, 0.02]), Estimate(0.0, n=4))
    assert rows["low"].tolist() == pytest.approx([0.0216, -0.0584], abs=5e-4)
    one = 2 * stats.norm.sf(0.1 / 0.04)
    assert rows["p"][0] == pytest.approx(one, rel=0.1) and rows["p_holm"].tolist() == list(
        metrics.holm(rows["p"].tolist()).values()
    )


def test_trainings_that_differ_widen_the_intervals_to_what_they_cover() -> None:
    """Two models of the same bias over all trainings, known from one training each and some stimuli: 95% of the intervals hold 0."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        sigma = trainings.spread(pairs(0.05 * (rng.standard_normal(4) - rng.standard_normal(4))))
        value = 0.05 * (rng.standard_normal() - rng.standard_normal()) + 0.04 * rng.standard_normal()
        row = trainings.with_trainings(differences([value]), sigma).iloc[0]
        assert row["high"] - row["low"] > 2 * 0.0784
        held += row["low"] <= 0 <= row["high"]
        assert (row["p"] < 0.05) == (not row["low"] <= 0 <= row["high"])
    assert 0.92 < held / 400 < 0.99
