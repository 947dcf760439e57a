"""What another training moves: models of the natural world that were trained twice, from two seeds, on the same photographs.

An interval over stimuli says what other stimuli would have given of the same training. What another training would have given of the same stimuli
is told by k models trained twice: σ² = Σ d² / 2k, where d is the difference between the two biases of a model. Between two models of one training each
lies then, beside the chance of the stimuli, a variance of 2σ², taken to be the same for all models.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from gencls import figures, metrics
from gencls.analyses.bias import Seen
from gencls.analyses.photographs import trials_of
from gencls.likelihood.weightings import Weighting
from gencls.metrics import Estimate, seeded


def again(seen: Seen, photos: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Second less first training of each model with two on record: `measure, observer, value, low, high, n, first, second, origin`.

    Both on the same stimuli, which the interval is over; `measure` is "shape bias" or "accuracy on photographs".
    """
    twice = [m for m in getattr(seen.world, "retrained", ()) if m.partition("@")[0] in seen.scored and not seen.seed]
    rows = [pd.DataFrame(columns=["measure", "observer", "value", "low", "high", "n", "first", "second", "origin"])]
    for measure, of, value, compare in (
        ("shape bias", seen, metrics.shape_bias, metrics.compare_shape_bias),
        ("accuracy on photographs", photos, metrics.accuracy, metrics.compare_accuracy),
    ):
        for second in twice:
            first = second.partition("@")[0]
            now, then = (trials_of(of, model, by) for model in (second, first))
            row = figures.points({first: compare(now, then)}, measure=measure)
            ends = {end: float(value(table, bootstrap=None)) for end, table in (("first", then), ("second", now))}
            rows.append(row.assign(**ends, origin=seen.origin(first)))
    return pd.concat(rows[len(rows) > 1 :], ignore_index=True)


def spread(rows: pd.DataFrame, measure: str = "shape bias") -> Estimate:
    """σ of `again`: the standard deviation over trainings, with the interval of χ² at as many degrees of freedom as there are pairs, `n`.

    nan without any pair.
    """
    d = rows.loc[rows["measure"] == measure, "value"].to_numpy(float)
    if not len(d):
        return Estimate(math.nan, n=0, name="standard deviation over trainings")
    squares = float((d**2).sum()) / 2
    low, high = (math.sqrt(squares / stats.chi2.ppf(share, len(d))) for share in (0.975, 0.025))
    value = math.sqrt(squares / len(d))
    return Estimate(value, low, high, len(d), "standard deviation over trainings", "χ² over models trained twice")


def with_trainings(differences: pd.DataFrame, sigma: Estimate) -> pd.DataFrame:
    """`photographs.differences` with the chance of both trainings in interval and p, Holm's correction over the same family.

    The variances are added, and read with Student's t at Satterthwaite's degrees of freedom, `sigma.n` of them behind σ.
    """
    rows = differences.copy()
    stimuli = ((rows["high"] - rows["low"]) / (2 * stats.norm.ppf(0.975))) ** 2
    sums = [
        seeded.satterthwaite([(v, n - 1), (2 * sigma**2, sigma.n)]) for v, n in zip(stimuli, rows["n"], strict=True)
    ]
    total, freedom = (np.array(part) for part in zip(*sums, strict=True))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    p = 2 * stats.t.sf(np.abs(rows["value"]) / np.sqrt(total), freedom)
    corrected = metrics.holm(dict(zip(rows["observer"], p, strict=True)))
    return rows.assign(
        low=rows["value"] - half, high=rows["value"] + half, p=p, p_holm=[corrected[o] for o in rows["observer"]]
    )
