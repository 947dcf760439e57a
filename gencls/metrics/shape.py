"""Shape bias: which cue an observer follows when shape and texture disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import numpy as np
import pandas as pd

from gencls.errors import GenclsError
from gencls.metrics.bootstrap import DEFAULT, Bootstrap
from gencls.metrics.estimates import Estimate
from gencls.metrics.observers import each, estimated, proportion
from gencls.metrics.tables import NO_ANSWER, checked, offered, rows

SHAPE, TEXTURE, OTHER, NONE = range(4)


@overload
def shape_bias(
    trials: pd.DataFrame,
    by: None = None,
    bootstrap: Bootstrap | None = ...,
    categories: Sequence[str] | None = None,
    *,
    clustered: bool = True,
) -> Estimate: ...
@overload
def shape_bias(
    trials: pd.DataFrame,
    by: str,
    bootstrap: Bootstrap | None = ...,
    categories: Sequence[str] | None = None,
    *,
    clustered: bool = True,
) -> dict[str, Estimate]: ...
def shape_bias(
    trials: pd.DataFrame,
    by: str | None = None,
    bootstrap: Bootstrap | None = DEFAULT,
    categories: Sequence[str] | None = None,
    *,
    clustered: bool = True,
) -> Estimate | dict[str, Estimate]:
    """Shape decisions / (shape + texture decisions) of one observer, in [0, 1].

    Only trials whose two cues differ enter. `n` is shape + texture decisions; without any the value is NaN
    and `undefined`. It also carries `shape`, `texture`, `other`, `na` (counts), `trials` (with conflicting
    cues), `cue_accuracy` (answers that follow either cue, as a fraction of those trials; an Estimate),
    `naive` (the interval that ignores shared images, where the stimuli share them) and `corrected`: (s −
    g)/(s + x − 2g) with g = other/(offered categories − 2), the number of decisions a cue gains by
    guessing; it is not clipped, and undefined where s + x ≤ 2g. `na` is none of the four.

    `by="category"` (of the shape) or `by="subj"` gives a dict of estimates; `categories` are all answers
    offered (else those of `trials.attrs["categories"]`, the 16 entry-level ones, or the table's own). `clustered=False` ignores shared content and texture images. Source:
    Geirhos et al. 2019; stimuli of 160 content and 48 texture images.
    """
    if by is not None:
        whole = offered(trials, categories)
        return each(trials, by, lambda group: shape_bias(group, None, bootstrap, whole, clustered=clustered))
    words, conflict = conflicts(trials, categories)
    labels = decisions(conflict)
    counts = np.bincount(labels, minlength=4)
    guessable = len(words) - 2

    def corrected(cells: np.ndarray) -> np.ndarray:
        guesses = cells[..., OTHER] / guessable if guessable > 0 else 0.0 * cells[..., OTHER]
        rest = cells[..., SHAPE] + cells[..., TEXTURE] - 2 * guesses
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(rest > 1e-9, (cells[..., SHAPE] - guesses) / rest, math.nan)

    shared = conflict if clustered and len(conflict) else None
    followed = np.where(labels <= TEXTURE, 0, 1)
    return proportion(
        labels,
        shared,
        bootstrap,
        name="shape bias",
        cells=4,
        shape=int(counts[SHAPE]),
        texture=int(counts[TEXTURE]),
        other=int(counts[OTHER]),
        na=int(counts[NONE]),
        trials=len(conflict),
        cue_accuracy=proportion(followed, shared, bootstrap, name="cue accuracy", cells=2),
        corrected=estimated(
            corrected,
            labels,
            4,
            shared,
            bootstrap,
            name="shape bias corrected for guessing",
            n=int(counts[:2].sum()),
        ),
    )


def conflicts(trials: pd.DataFrame, categories: Sequence[str] | None = None) -> tuple[tuple[str, ...], pd.DataFrame]:
    """The categories that were offered, and the trials whose cues differ; GenclsError where one has no texture category."""
    words = offered(checked(trials, "texture"), categories) or ()
    single = (trials["texture"] == "").to_numpy()
    if single.any():
        raise GenclsError(f"shape bias: no texture category in {rows(trials, single)}; it needs cue-conflict trials")
    return tuple(words), trials[(trials["texture"] != trials["category"]).to_numpy()]


def decisions(trials: pd.DataFrame) -> np.ndarray:
    """Each trial's decision: 0 shape, 1 texture, 2 another category, 3 no answer. (n,) int."""
    answer = trials["object_response"].to_numpy(object)
    return np.select(
        [
            answer == trials["category"].to_numpy(object),
            answer == trials["texture"].to_numpy(object),
            answer == NO_ANSWER,
        ],
        [SHAPE, TEXTURE, NONE],
        OTHER,
    ).astype(np.intp)
