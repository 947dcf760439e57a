"""Trial tables as the measures need them: checked, of one observer, matched by stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.metrics.bootstrap import Clusters

#: The answer of a person who did not answer in time: wrong, and neither shape nor texture.
NO_ANSWER = "na"
_IMAGES = r"(?:^|_)(([a-zA-Z]+)\d+)-(([a-zA-Z]+)\d+)(?:\.\w+)?$"


def rows(table: pd.DataFrame, bad: np.ndarray, most: int = 5) -> str:
    """The rows of a mask, for an error message: `row 3, 7 and 12 more`."""
    named = [str(i) for i in table.index[bad]]
    more = f" and {len(named) - most:,} more" if len(named) > most else ""
    return f"row{'s' if len(named) > 1 else ''} {', '.join(named[:most])}{more}"


def checked(trials: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """The trials of one observer on one set: complete, answered, nothing twice; otherwise a GenclsError.

    Needs `object_response` and `category`, and the columns `needed`. Where there is a `subj` or `set`
    column it has one value, and no stimulus stands twice in a condition; none of these is NaN anywhere.
    """
    missing = [c for c in ("object_response", "category", *needed) if c not in trials]
    if missing:
        raise GenclsError(f"trials lack the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; add them")
    if not len(trials):
        raise GenclsError("trials are empty: there is nothing to measure; check the selection that led to them")
    for column in ("subj", "set", "condition", "stimulus"):
        if column in trials:
            filled(trials, column)
    for column, hint in (
        ("subj", "pass one observer at a time, e.g. by metrics.each(trials, 'subj', …)"),
        ("set", "measure each set alone"),
    ):
        if column in trials:
            values = list(pd.unique(trials[column]))
            if len(values) > 1:
                other = (trials[column] != values[0]).to_numpy(bool)
                raise GenclsError(
                    f"trials mix {len(values)} values of '{column}': '{values[0]}', and others in "
                    f"{rows(trials, other)} (as '{values[1]}'); {hint}"
                )
    for column in ("object_response", "category", *needed):
        bad = np.array([not isinstance(v, str) or (not v and column != "texture") for v in trials[column].tolist()])
        if bad.any():
            raise GenclsError(
                f"trials: '{column}' is empty or no text in {rows(trials, bad)}; a missing answer is 'na'"
            )
    if "stimulus" in trials:
        bad = trials.duplicated([c for c in ("condition", "stimulus") if c in trials]).to_numpy()
        if bad.any():
            raise GenclsError(
                f"trials: a stimulus of one condition stands twice ({rows(trials, bad)}); keep one trial each"
            )
    return trials


def filled(trials: pd.DataFrame, column: str) -> None:
    """A GenclsError if the column is NaN anywhere: pandas leaves such rows out of every group."""
    bad = trials[column].isna().to_numpy(bool)
    if bad.any():
        raise GenclsError(f"trials: '{column}' is empty in {rows(trials, bad)}; fill it in, or leave these trials out")


def grouped(trials: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    """The trials of each value of a column, in order of first appearance; a GenclsError where one has none."""
    if by not in trials:
        raise GenclsError(f"trials lack the column '{by}' to group by; add it, or group by another")
    filled(trials, by)
    groups = {str(name): group for name, group in trials.groupby(trials[by].astype(str), sort=False)}
    for group in groups.values():
        group.attrs = dict(trials.attrs)
    return groups


def words(trials: pd.DataFrame) -> set[str]:
    """The categories that a table names, as such and as textures."""
    return {str(word) for cue in ("category", "texture") if cue in trials for word in pd.unique(trials[cue])} - {""}


def told(trials: pd.DataFrame, categories: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """The answers that could be given, as far as that is known.

    They are `categories`, else `trials.attrs["categories"]`, else the 16 entry-level ones where half or more of
    the table's are among them (so that a misspelt one is found), else None.
    """
    given = trials.attrs.get("categories") if categories is None else categories
    known, own = tuple(() if given is None else given), words(trials)
    if not known and 2 * len(own & set(CATEGORIES)) >= len(own):
        known = CATEGORIES
    return known or None


def offered(
    trials: pd.DataFrame, categories: Sequence[str] | None = None, strict: bool = True
) -> tuple[str, ...] | None:
    """The answers that could be given, and every word in the table checked against them.

    They are `told`, else (strict) the table's own `words`, else None and nothing is checked.
    """
    known = told(trials, categories)
    if known is None and strict:
        known = tuple(sorted(words(trials)))
    if not known:
        return None
    allowed = {"object_response": {*known, NO_ANSWER}, "category": {*known}, "texture": {*known, ""}}
    for column in [c for c in allowed if c in trials]:
        bad = ~trials[column].isin(allowed[column]).to_numpy()
        if bad.any():
            word = trials[column].to_numpy(object)[bad][0]
            raise GenclsError(
                f"trials: '{word}' in '{column}' is no category ({rows(trials, bad)}); "
                "correct it, or let trials.attrs['categories'] hold all that were offered"
            )
    return known


def right(trials: pd.DataFrame) -> np.ndarray:
    """Which answers are right: (n,) bool. `na` is wrong."""
    return trials["object_response"].to_numpy(object) == trials["category"].to_numpy(object)


def matched(*observers: pd.DataFrame) -> tuple[np.ndarray, Clusters | None]:
    """The correctness of several observers of the same stimuli: observers × stimuli, bool, and their shared
    images.

    Trials meet by `stimulus`, and by `condition` and `set` where all tables have them; any stimulus that
    one observer lacks is an error, and so is one whose category differs between them.
    """
    for trials in observers:
        checked(trials, "stimulus")
        offered(trials, strict=False)
    by = [c for c in ("set", "condition", "stimulus") if all(c in t for t in observers)]
    for trials in observers:
        again = pd.Index(keys(trials, by)).duplicated()
        if again.any():
            raise GenclsError(
                f"one observer's trials have the columns set and condition that another's lack, and without them a stimulus "
                f"stands twice ({rows(trials, again)}); give all tables the same columns"
            )
    first = pd.Index(keys(observers[0], by))
    correct, clusters = [right(observers[0])], image_clusters(observers[0])
    for other in observers[1:]:
        index = pd.Index(keys(other, by))
        order = index.get_indexer(first)
        lacking = order < 0
        if lacking.any() or len(other) != len(first):
            which, table, alone = ("first", observers[0], lacking)
            if not lacking.any():
                which, table, alone = ("second", other, ~index.isin(first))
            named = (first if which == "first" else index)[alone]
            raise GenclsError(
                f"two of the observers saw {len(first)} and {len(other)} stimuli; {len(named)} have no match by "
                f"{', '.join(by)} ({rows(table, alone)} of the {which}, as {str(named[0])!r}); compare what both saw"
            )
        for column, words in (("category", "categories"), ("texture", "textures")):
            if not all(column in table for table in (other, observers[0])):
                continue
            differ = other[column].to_numpy(object)[order] != observers[0][column].to_numpy(object)
            if differ.any():
                raise GenclsError(
                    f"two observers' tables name different {words} for one stimulus "
                    f"({rows(observers[0], differ)} of the first); correct the table that is wrong"
                )
        correct.append(right(other)[order])
        if clusters is None and (known := image_clusters(other)) is not None:
            clusters = known[0][order], known[1][order]
    return np.array(correct), clusters


def keys(trials: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """One text a trial, under which observers meet."""
    columns: list[Any] = [trials[c].astype(str).tolist() for c in by]
    return [" | ".join(parts) for parts in zip(*columns, strict=True)]


def image_clusters(trials: pd.DataFrame) -> Clusters | None:
    """Content and texture image of every cue-conflict stimulus, numbered from 0, or None where names do not
    tell.

    `cat7-elephant1` has content image cat7 and texture image elephant1 (Geirhos et al. 2019: 160 and 48
    images). The names count only where all are of that form and agree with `category` and `texture`.
    """
    if "texture" not in trials:
        return None
    column = "stimulus" if "stimulus" in trials else "imagename"
    if column not in trials or not str(trials["texture"].iloc[0]):
        return None
    parts = trials[column].astype(object).str.extract(_IMAGES)
    named = (parts[1].to_numpy() == trials["category"].to_numpy(object)) & (
        parts[3].to_numpy() == trials["texture"].to_numpy(object)
    )
    if not named.all():
        return None
    return pd.factorize(parts[0])[0], pd.factorize(parts[2])[0]
