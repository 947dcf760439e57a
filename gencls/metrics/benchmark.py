"""The model-vs-human benchmark's table (Geirhos et al. 2021), with the intervals that the original lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gencls.errors import GenclsError
from gencls.metrics.agreement import kappa, observed
from gencls.metrics.bootstrap import Bootstrap
from gencls.metrics.tables import grouped, matched

#: Conditions that the benchmark leaves out: not manipulated, or people below 20 % (labels in its spelling).
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "colour": ("cr",),
    "contrast": ("c100", "c03", "c01"),
    "high-pass": ("inf", "0.55", "0.45", "0.4"),
    "low-pass": ("0", "15", "40"),
    "phase-scrambling": ("0", "150", "180"),
    "power-equalisation": ("0",),
    "false-colour": ("True",),
    "rotation": ("0",),
    "eidolonI": ("1-10-10", "64-10-10", "128-10-10"),
    "eidolonII": ("1-3-10", "32-3-10", "64-3-10", "128-3-10"),
    "eidolonIII": ("1-0-10", "16-0-10", "32-0-10", "64-0-10", "128-0-10"),
    "uniform-noise": ("0.0", "0.6", "0.9"),
}
#: Sets that count as one condition.
SINGLE = ("cue-conflict", "edge", "silhouette", "sketch", "stylized")
MEASURES = ("accuracy_difference", "observed_consistency", "error_consistency")
MEAN_RANK = len(MEASURES)
PEOPLE = "people"
THOUSAND = Bootstrap(method="percentile", draws=1000)


@dataclass(frozen=True)
class _Cell:
    """One condition of one set: who was right on which stimulus (observers × stimuli)."""

    set_name: str
    condition: str
    correct: np.ndarray
    observers: list[str]


def is_person(subj: str) -> bool:
    """Whether this observer is one of the field's people (`subject-01`, …)."""
    return subj.startswith("subject-")


def kept(trials: pd.DataFrame, left_out: Mapping[str, Sequence[str]] = LEFT_OUT) -> pd.DataFrame:
    """The trials of the conditions that the benchmark keeps; needs the columns `set` and `condition`.

    A label is compared as text, and as a number where both are numbers: `3` is `3.0`.
    """
    missing = [c for c in ("set", "condition") if c not in trials]
    if missing:
        raise GenclsError(f"trials lack the column {missing[0]}; the benchmark goes by set and condition")
    out = {(name, _label(c)) for name, conditions in left_out.items() for c in conditions}
    labels = {c: _label(c) for c in pd.unique(trials["condition"])}
    keep = [(s, labels[c]) not in out for s, c in zip(trials["set"], trials["condition"], strict=True)]
    return trials[np.array(keep, bool)]


def benchmark_table(
    trials: pd.DataFrame,
    bootstrap: Bootstrap | None = THOUSAND,
    left_out: Mapping[str, Sequence[str]] = LEFT_OUT,
    person: Callable[[str], bool] = is_person,
) -> pd.DataFrame:
    """The benchmark's table of all observers in `trials` against its people.

    `trials` holds people and models over one or more sets (columns of a trial table and `set`), every model
    on every set and every person on all conditions of a set of theirs. One row a model and one for `people` (each pair of people compared once), columns
    `accuracy_difference` (squared), `observed_consistency`, `error_consistency`, `mean_rank` (over those
    three, models only; 1 is most human-like), `ood_accuracy`, `place` (in the order of mean ranks; ties share the better), and
    `_low` and `_high` of each. Every measure
    is computed for one person and condition at a time, then averaged over conditions, then people, then
    sets; accuracy pools the trials of a set's kept conditions, then averages over sets. κ that is 0/0
    counts as 1, as in the reference; `undefined` says how many such entered. Intervals: percentile
    bootstrap over stimuli within each condition, all observers together (people are four to ten and not
    resampled); cue-conflict stimuli are taken as independent, though they share images, so that their part of an
    interval is too narrow. Source: Geirhos et al. 2021, and its public code.
    """
    cells = _cells(kept(trials, left_out))
    if not cells:
        raise GenclsError("benchmark: no trial is left of the conditions that it keeps; pass trials of others")
    observers = list(dict.fromkeys(name for cell in cells for name in cell.observers))
    models = [name for name in observers if not person(name)]
    if len(models) == len(observers):
        raise GenclsError(
            "benchmark: no person among the observers; add the people's trials or say who is one (person=)"
        )
    for cell in cells:
        of_set = {name for other in cells if other.set_name == cell.set_name for name in other.observers}
        lacking = [o for o in observers if o not in cell.observers and (o in models or o in of_set)]
        if lacking:
            where = f"'{cell.set_name}'" + (f" in condition {cell.condition}" if cell.condition else "")
            raise GenclsError(f"benchmark: {lacking[0]} has no trials on {where}; drop the set or the observer")
    rows = [*models, PEOPLE]
    weights = [np.ones((1, cell.correct.shape[1])) for cell in cells]
    values, undefined = _measured(cells, weights, rows, person)
    columns = [*MEASURES, "mean_rank", "ood_accuracy", "place"]
    values = _with_places(values)
    table = pd.DataFrame(values[0], index=pd.Index(rows, name="observer"), columns=columns)
    if bootstrap is not None:
        rng = np.random.default_rng(bootstrap.seed)
        sizes = [cell.correct.shape[1] for cell in cells]
        weights = [rng.multinomial(n, np.full(n, 1 / n), size=bootstrap.draws).astype(float) for n in sizes]
        draws = _with_places(_measured(cells, weights, rows, person)[0])
        tail = (1 - bootstrap.level) / 2
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        for k, column in enumerate(columns):
            table[f"{column}_low"], table[f"{column}_high"] = low[:, k], high[:, k]
    table["undefined"] = undefined
    return table


def _cells(trials: pd.DataFrame) -> list[_Cell]:
    """Every condition of every set, with its observers matched by stimulus."""
    cells = []
    for set_name, of_set in grouped(trials, "set").items():
        for condition, group in ({"": of_set} if set_name in SINGLE else grouped(of_set, "condition")).items():
            by_observer = grouped(group, "subj")
            try:
                correct, _ = matched(*by_observer.values())
            except GenclsError as error:
                raise GenclsError(f"benchmark, set '{set_name}' {condition}: {error}") from None
            cells.append(_Cell(set_name, condition, correct, list(by_observer)))
    return cells


def _measured(
    cells: list[_Cell], weights: list[np.ndarray], rows: list[str], person: Callable[[str], bool]
) -> tuple[np.ndarray, np.ndarray]:
    """All columns for every draw of stimulus weights: draws × rows × columns, and undefined κ a row."""
    draws = weights[0].shape[0]
    sets = list(dict.fromkeys(cell.set_name for cell in cells))
    total = np.zeros((draws, len(rows), 5))
    undefined = np.zeros(len(rows), int)
    for name in sets:
        conditions = [k for k, cell in enumerate(cells) if cell.set_name == name]
        people = [o for o in cells[conditions[0]].observers if person(o)]
        for r, row in enumerate(rows):
            pairs = (
                [(a, b) for i, a in enumerate(people) for b in people[i + 1 :]]
                if row == PEOPLE
                else [(row, human) for human in people]
            )
            if not pairs:
                raise GenclsError(f"benchmark: set '{name}' has {len(people)} people; the table needs at least two")
            by_condition = []
            for k in conditions:
                measures, zero_over_zero = _pairs(cells[k], weights[k], pairs)
                by_condition.append(measures)
                undefined[r] += zero_over_zero
            total[:, r, :3] += np.mean(by_condition, axis=0).mean(axis=1)
            who = people if row == PEOPLE else [row]
            hits = sum((weights[k] @ _of(cells[k], who).T).sum(1) for k in conditions)
            shown = sum(weights[k].sum(1) * len(who) for k in conditions)
            total[:, r, 4] += hits / shown
    values = total / len(sets)
    values[:, -1, 3] = np.nan
    models = values[:, :-1]
    order = [pd.DataFrame(models[:, :, m]).rank(axis=1, ascending=m == 0).to_numpy() for m in range(3)]
    values[:, :-1, 3] = np.mean(order, axis=0)
    return values, undefined


def _with_places(values: np.ndarray) -> np.ndarray:
    """Draws × rows × columns with one more: the place in the order of mean ranks, NaN where there is none."""
    places = pd.DataFrame(values[:, :, MEAN_RANK].round(9)).rank(axis=1, method="min").to_numpy()
    return np.concatenate([values, places[:, :, None]], axis=2)


def _of(cell: _Cell, names: Sequence[str]) -> np.ndarray:
    return cell.correct[[cell.observers.index(n) for n in names]].astype(float)


def _pairs(cell: _Cell, weights: np.ndarray, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, int]:
    """The three measures of pairs of observers: draws × pairs × 3, and how many κ of all are 0/0 (first
    draw)."""
    a, b = (_of(cell, side) for side in zip(*pairs, strict=True))
    both, only_a, only_b = weights @ (a * b).T, weights @ (a * (1 - b)).T, weights @ ((1 - a) * b).T
    counts = np.stack([both, only_a, only_b, weights.sum(1)[:, None] - both - only_a - only_b], axis=-1)
    consistency = kappa(counts)
    squared = ((only_a - only_b) / weights.sum(1)[:, None]) ** 2
    nothing = np.isnan(consistency)
    return np.stack([squared, observed(counts), np.where(nothing, 1.0, consistency)], axis=-1), int(nothing[0].sum())


def _label(condition: object) -> str | float:
    try:
        return float(str(condition))
    except ValueError:
        return str(condition)
