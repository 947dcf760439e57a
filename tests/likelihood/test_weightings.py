"""Weightings, quadrature and temperature against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive, Staged, quadrature
from gencls.likelihood.weightings import answers, fit_temperature, probabilities, weighted, weighting


def _scores(error: np.ndarray, t: np.ndarray) -> xr.Dataset:
    """error: stimulus × class × t."""
    return xr.Dataset(
        {"error": (("stimulus", "class", "t", "draw"), error[..., None])},
        coords={
            "t": t,
            "quadrature": ("t", quadrature(t)),
            "log_snr": ("t", 2 * np.log((1 - t) / t)),
            "class": [f"c{i}" for i in range(error.shape[1])],
        },
    )


@given(st.integers(1, 64), st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]))
def test_quadrature_sums_to_one(n: int, warp: float) -> None:
    t = np.array(Exhaustive(n, warp=warp).t)
    assert quadrature(t).sum() == pytest.approx(1)
    assert (np.diff(t) > 0).all()
    assert t[0] > 0
    assert t[-1] < 1


@pytest.mark.parametrize("warp", [1.0, 2.0])
def test_quadrature_integrates_under_a_uniform_t(warp: float) -> None:
    t = np.array(Exhaustive(64, warp=warp).t)
    found = float(weighted(_scores((t**2)[None, None], t))[0, 0])
    x = np.linspace(0, 1, 200_001)
    assert found == pytest.approx(np.trapezoid(np.exp(-7 * x) * x**2, x), rel=0.01)


def test_weightings_by_name_range_and_function() -> None:
    t, s = np.array([0.1, 0.3, 0.8]), np.array([4.0, 1.0, -2.0])
    for name, wanted in {
        "exp(-7t)": np.exp(-7 * t),
        "exp(-2.5t)": np.exp(-2.5 * t),
        "uniform": np.ones(3),
        "snr": np.exp(s),
        "1+snr": 1 + np.exp(s),
        "uniform on 0.2-0.5": np.array([0, 1, 0]),
        "exp(-7t) on 0.3-1": np.exp(-7 * t) * [0, 1, 1],
        "uniform on 0.1-0.3": np.array([1, 1, 0]),  # both ends are within
    }.items():
        np.testing.assert_allclose(weighting(name)(t, s), wanted)
    np.testing.assert_allclose(weighting(lambda t, s: t * s)(t, s), t * s)
    for bad in (
        "exp(7t)",
        "linear",
        "uniform on 0.5",
        "uniform on 0.5-0.2",
        "uniform on 0-2",
        "exp(-7.5.5t)",
        "uniform on 0..1-0.5",
    ):
        with pytest.raises(GenclsError):
            weighting(bad)


def test_a_weighting_decides_afterwards() -> None:
    t = np.array(Exhaustive(4).t)
    low, high = np.array([0.0, 0, 1, 1]), np.array([1.0, 1, 0, 0])  # good at low t, good at high t
    scores = _scores(np.stack([low, high])[None], t)
    assert answers(scores, "exp(-7t)") == ["c0"]
    assert answers(scores, "uniform on 0.5-1") == ["c1"]
    with pytest.raises(GenclsError, match="zero"):
        weighted(scores, "uniform on 0.4-0.5")


def test_probabilities_sum_to_one_and_the_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    t = np.array([0.5])
    errors = rng.normal(0, 100, (4000, 5, 1)) + 1000
    scores = _scores(errors, t)
    odds = probabilities(scores, 60.0, "uniform").values
    np.testing.assert_allclose(odds.sum(1), 1)
    right = [f"c{rng.choice(5, p=p)}" for p in odds]
    assert fit_temperature(scores, right, "uniform") == pytest.approx(60, rel=0.1)
    with pytest.raises(GenclsError, match="temperature"):
        probabilities(scores, 0.0)


def test_who_was_never_wrong_in_twenty_is_not_taken_to_be_certain() -> None:
    """Platt's target is 21/22, whose log-odds are log 21."""
    scores = _scores(np.tile(np.array([0.0, 100.0])[None, :, None], (20, 1, 1)), np.array([0.5]))
    assert fit_temperature(scores, ["c0"] * 20, "uniform") == pytest.approx(100 / np.log(21), rel=0.01)


def test_stages_divide_the_timesteps_over_the_whole_range() -> None:
    stages = Staged(timesteps=9, keep=(5, 2)).stages
    assert sorted(row for rows, _ in stages for row in rows) == list(range(9))
    assert [keep for _, keep in stages] == [5, 2, None]
    assert all(rows[0] <= 2 and rows[-1] >= 6 for rows, _ in stages)
    for bad in ({"keep": (2, 5)}, {"keep": (0,)}, {"timesteps": 1}):
        with pytest.raises(GenclsError):
            Staged(**{"timesteps": 8, **bad})
    with pytest.raises(GenclsError):
        Exhaustive(timesteps=0)
