"""Weightings: how the errors of a stimulus become one number a class, after they were paid for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from gencls.errors import GenclsError

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Weighting:
    """w(t, log-SNR) with a name; errors are averaged as E over t ~ U(0, 1) of w·‖x̂₀ − x₀‖²."""

    name: str
    function: Function

    def __call__(self, t: np.ndarray, log_snr: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.function(np.asarray(t, float), np.asarray(log_snr, float)), np.shape(t))

    def between(self, low: float, high: float) -> Weighting:
        """The same weighting on low ≤ t ≤ high, zero elsewhere."""
        if not 0 <= low < high <= 1:
            raise GenclsError(
                f"weighting: the range {low}–{high} is not within 0–1 and rising; give 0 ≤ low < high ≤ 1"
            )
        return Weighting(
            f"{self.name} on {low:g}-{high:g}", lambda t, s: self.function(t, s) * ((t >= low) & (t <= high))
        )


_NUMBER = r"(?:\d+\.?\d*|\.\d+)"


def exponential(k: float = 7.0) -> Weighting:
    """exp(−kt); k = 7 is the paper's (Jaini et al. 2024, section 2). It favours low noise."""
    return Weighting(f"exp(-{k:g}t)", lambda t, log_snr: np.exp(-k * t))


UNIFORM = Weighting("uniform", lambda t, log_snr: np.ones_like(t))
#: SNR·‖x̂₀ − x₀‖² = ‖ε̂ − ε‖² where noise is variance preserving (Li et al. 2023).
EPSILON = Weighting("snr", lambda t, log_snr: np.exp(log_snr))
#: (1 + SNR)·‖x̂₀ − x₀‖² = ‖v̂ − v‖² (Salimans & Ho 2022).
VELOCITY = Weighting("1+snr", lambda t, log_snr: 1 + np.exp(log_snr))


def weighting(value: str | Weighting | Function) -> Weighting:
    """A weighting by name (`exp(-7t)`, `uniform`, `snr`, `1+snr`, each also `… on 0.1-0.5`), or from your own w(t, log_snr)."""
    if isinstance(value, Weighting):
        return value
    if callable(value):
        return Weighting(getattr(value, "__name__", "own"), value)
    base, _, span = value.partition(" on ")
    known = {w.name: w for w in (UNIFORM, EPSILON, VELOCITY)}
    if match := re.fullmatch(rf"exp\(-({_NUMBER})t\)", base):
        found = exponential(float(match[1]))
    elif base in known:
        found = known[base]
    else:
        raise GenclsError(
            f"weighting {value!r} is not known; give exp(-7t) with any number, {', '.join(known)}, or a function"
        )
    if span:
        ends = re.fullmatch(rf"({_NUMBER})-({_NUMBER})", span)
        if not ends:
            raise GenclsError(f"weighting {value!r}: write the range as in 'uniform on 0.1-0.5'")
        found = found.between(float(ends[1]), float(ends[2]))
    return found


def weighted(scores: xr.Dataset, by: str | Weighting | Function = "exp(-7t)") -> xr.DataArray:
    """One number a class: stimulus × class, lower is better; NaN where a plan dropped the class.

    Draws are averaged, then timesteps by w(t) times the share of (0, 1) that each stands for. Scores of a discriminative
    model have no timestep: minus their log-probabilities come back whatever the weighting, and of an autoregressive model minus the
    sum of its tokens' log-likelihoods.
    """
    if "log_likelihood" in scores:
        return -scores["log_likelihood"].astype("float64").sum("token")
    if "log_probability" in scores:
        return -scores["log_probability"]
    w = weighting(by)
    bound = scores.attrs.get("eliminated_under")
    if bound and bound != w.name:
        raise GenclsError(
            f"these scores dropped classes under the weighting {bound}, so they say nothing under {w.name}; "
            f"use {bound}, or score again with an exhaustive plan"
        )
    factor = scores["quadrature"] * xr.DataArray(w(scores["t"].values, scores["log_snr"].values), dims="t")
    if not float(abs(factor).sum()) > 0:
        raise GenclsError(f"weighting {w.name} is zero at every t of these scores; widen its range")
    return (
        (scores["error"].astype("float64").mean("draw") * factor).sum("t", skipna=False).transpose("stimulus", "class")
    )


def answers(scores: xr.Dataset, by: str | Weighting | Function = "exp(-7t)") -> list[str]:
    """The class with the lowest weighted error, a stimulus."""
    values = weighted(scores, by).values
    if not np.isfinite(values).any(axis=1).all():
        raise GenclsError("some stimuli have no finite score for any class; score them again")
    best = np.nanargmin(np.where(np.isfinite(values), values, np.inf), axis=1)
    return [str(c) for c in scores["class"].values[best]]


def probabilities(
    scores: xr.Dataset, temperature: float = 1.0, by: str | Weighting | Function = "exp(-7t)"
) -> xr.DataArray:
    """softmax(−weighted error / temperature), stimulus × class; rows sum to 1."""
    if scores.attrs.get("eliminated_under"):
        raise GenclsError("a plan that drops classes gives answers, not probabilities; score with an exhaustive plan")
    if not temperature > 0:
        raise GenclsError(f"temperature is {temperature}; it must be above 0")
    logits = -weighted(scores, by) / temperature
    odds: xr.DataArray = xr.apply_ufunc(np.exp, logits - logits.max("class"))
    return odds / odds.sum("class")


def fit_temperature(scores: xr.Dataset, categories: list[str], by: str | Weighting | Function = "exp(-7t)") -> float:
    """The temperature under which held-out answers are most likely (Guo et al. 2017), found by a bounded search in log space.

    As in Platt (1999), of n held-out stimuli the right class has the target (n + 1)/(n + 2), the others share the rest, so that
    an observer who was never wrong is not taken to be certain.
    """
    from scipy.optimize import minimize_scalar

    values = -weighted(scores, by).values
    index = {str(c): i for i, c in enumerate(scores["class"].values)}
    right = np.array([index[c] for c in categories])
    target = (len(right) + 1) / (len(right) + 2)
    scale = float(np.median(values.max(1) - values.min(1))) or 1.0

    def surprise(log_temperature: float) -> float:
        logits = values / (scale * np.exp(log_temperature))
        top = logits.max(1)
        log_p = logits - (top + np.log(np.exp(logits - top[:, None]).sum(1)))[:, None]
        correct = log_p[np.arange(len(right)), right]
        others = (log_p.sum(1) - correct) / (log_p.shape[1] - 1)
        return float(-np.mean(target * correct + (1 - target) * others))

    best = minimize_scalar(surprise, bounds=(-12, 4), method="bounded")
    return scale * float(np.exp(best.x))
