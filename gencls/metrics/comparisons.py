"""Do two observers differ? Paired tests on the same stimuli, and Holm's correction for a family of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact

from gencls.errors import GenclsError
from gencls.metrics.agreement import ONLY_A, ONLY_B, joint, kappa_difference, signed_difference
from gencls.metrics.bootstrap import DEFAULT, Bootstrap, Clusters, Statistic, p_value
from gencls.metrics.consistency import difference
from gencls.metrics.estimates import Estimate, by_name
from gencls.metrics.shape import SHAPE, TEXTURE, conflicts, decisions
from gencls.metrics.tables import keys, matched


def compare_accuracy(
    a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """Accuracy of a minus accuracy of b on the same stimuli, in [−1, 1], with `p`.

    `p` is McNemar's exact test (two-sided binomial on the stimuli that only one got right), which takes
    stimuli for independent; where they share images, `p` is that of the clustered bootstrap and `p_naive`
    McNemar's.
    """
    (right_a, right_b), clusters = matched(a, b)
    labels = joint(right_a, right_b)
    estimate = difference(labels, bootstrap, clusters if clustered else None)
    only_a, only_b = int((labels == ONLY_A).sum()), int((labels == ONLY_B).sum())
    exact = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    if clusters is None or not clustered or exact == 1:
        estimate.extras |= {"p": exact, "p_naive": exact}
    else:
        interval = bootstrap.interval(signed_difference, labels, 4, clusters)
        estimate.extras |= {"p": p_value(interval.draws), "p_naive": exact}
    return estimate


def compare_error_consistency(
    a: pd.DataFrame,
    b: pd.DataFrame,
    reference: pd.DataFrame,
    bootstrap: Bootstrap = DEFAULT,
    *,
    clustered: bool = True,
) -> Estimate:
    """κ(a, reference) − κ(b, reference) on the same stimuli, with a bootstrap `p`: is a closer to the
    reference than b?

    Source: Klein et al. 2025 (stimuli are resampled for all three observers together).
    """
    (right_a, right_b, right_r), clusters = matched(a, b, reference)
    labels = (4 * ~right_a + 2 * ~right_b + ~right_r).astype(np.intp)
    return _compared(kappa_difference, labels, 8, clusters if clustered else None, bootstrap, "difference in κ")


def compare_shape_bias(
    a: pd.DataFrame, b: pd.DataFrame, bootstrap: Bootstrap = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """Shape bias of a minus that of b on the same cue-conflict stimuli, in [−1, 1], with a bootstrap `p`.

    NaN where either has no shape and no texture decision; interval and `p` are NaN where the decisions are too few to be resampled.
    """
    return mean_shape_bias_difference([(a, b)], bootstrap, clustered=clustered)


def mean_shape_bias_difference(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], bootstrap: Bootstrap = DEFAULT, *, clustered: bool = True
) -> Estimate:
    """The mean over pairs (a, b) of the shape bias of a minus that of b, in [−1, 1]: a `shape_bias_contrast`."""
    if not pairs:
        raise GenclsError("difference in shape bias: no pair of observers is there; pass at least one")
    each = [1 / len(pairs), -1 / len(pairs)] * len(pairs)
    return shape_bias_contrast(list(itertools.chain.from_iterable(pairs)), each, bootstrap, clustered=clustered)


def shape_bias_contrast(
    observers: Sequence[pd.DataFrame],
    weights: Sequence[float],
    bootstrap: Bootstrap = DEFAULT,
    *,
    clustered: bool = True,
) -> Estimate:
    """Σ weight · shape bias over observers, with a bootstrap `p` of 0.

    All of them saw the same cue-conflict stimuli, which are resampled for all together. NaN where one has no shape and no texture decision.
    """
    if not observers or len(observers) != len(weights):
        raise GenclsError(
            f"shape biases: {len(observers)} observers and {len(weights)} weights; give each observer one"
        )
    tables = [conflicts(trials)[1] for trials in observers]
    _, clusters = matched(*tables)
    by = [c for c in ("set", "condition", "stimulus") if all(c in t for t in tables)]
    first = pd.Index(keys(tables[0], by))
    each = [decisions(t)[pd.Index(keys(t, by)).get_indexer(first)] for t in tables]
    # The combinations of decisions that occur, combinations × observers, and which one each stimulus has.
    found, labels = np.unique(np.stack(each, 1), axis=0, return_inverse=True)

    def statistic(counts: np.ndarray) -> np.ndarray:
        shape, texture = counts @ (found == SHAPE), counts @ (found == TEXTURE)
        with np.errstate(invalid="ignore"):
            bias = shape / (shape + texture)
        return np.asarray(bias @ np.asarray(weights, float))

    shared = clusters if clustered else None
    return _compared(statistic, labels.ravel(), len(found), shared, bootstrap, "difference in shape bias")


def independence_p(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """The p of "their errors are independent (κ = 0)": Fisher's exact test on the joint correctness,
    two-sided."""
    (right_a, right_b), _ = matched(a, b)
    counts = np.bincount(joint(right_a, right_b), minlength=4)
    return float(fisher_exact(counts.reshape(2, 2))[1])


def holm(p_values: Mapping[str, float] | pd.Series | Sequence[float]) -> dict[str, float]:
    """Holm's (1979) correction in one family of tests: adjusted p by name, each at least the p that came in.

    All tests whose adjusted p is below α may be called significant with a family-wise error of α. A NaN (a
    test that could not be done) stays NaN and is not counted.
    """
    named = by_name(p_values)
    wrong = [k for k, p in named.items() if not math.isnan(p) and not 0 <= p <= 1]
    if wrong:
        raise GenclsError(f"Holm: the p of {wrong[0]!r} is {named[wrong[0]]}; a p lies between 0 and 1")
    order = sorted((k for k, p in named.items() if not math.isnan(p)), key=lambda k: named[k])
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * named[name]))
        adjusted[name] = largest
    return {k: adjusted.get(k, math.nan) for k in named}


def compare_all(
    observers: Mapping[str, pd.DataFrame],
    compare: Callable[[pd.DataFrame, pd.DataFrame], Estimate] = compare_accuracy,
) -> pd.DataFrame:
    """Every pair of observers compared, as one family.

    One row a pair: `observer_a, observer_b, value, low, high, n, p, p_holm`.
    """
    names = list(observers)
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            e = compare(observers[first], observers[second])
            found.append((first, second, e.value, e.low, e.high, e.n, e.p))
    table = pd.DataFrame(found, columns=["observer_a", "observer_b", "value", "low", "high", "n", "p"])
    table["p_holm"] = list(holm(table["p"].tolist()).values())
    return table


def _compared(
    statistic: Statistic,
    labels: np.ndarray,
    cells: int,
    clusters: Clusters | None,
    bootstrap: Bootstrap,
    name: str,
) -> Estimate:
    value = float(statistic(np.bincount(labels, minlength=cells)))
    if math.isnan(value):
        return Estimate(value, n=len(labels), name=name, method="none: 0/0", p=math.nan, naive=None)
    i = bootstrap.interval(statistic, labels, cells, clusters)
    defined = i.draws[~np.isnan(i.draws)]
    if value != 0 and (2 * len(defined) < len(i.draws) or np.ptp(defined) == 0):
        # Every resample says the same, or hardly one says anything: too few decisions to tell how sure they are.
        return Estimate(value, n=len(labels), name=name, method="none: too few decisions", p=math.nan, naive=None)
    return Estimate(value, i.low, i.high, len(labels), name, i.method, naive=i.naive, p=p_value(i.draws))
