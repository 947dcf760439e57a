"""Stimuli and stimulus sets: what every observer is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
import pandas as pd

from gencls.errors import GenclsError

#: The columns of a stimulus set's table. `texture` is empty but under cue conflict.
COLUMNS = ("name", "category", "condition", "texture")


@dataclass(frozen=True)
class Stimulus:
    """One image shown to an observer.

    `image` is H×W×3, uint8. `category` is the right answer (under cue conflict that of the shape),
    `texture` the category of the texture, empty where there is only one cue.
    """

    name: str
    category: str
    condition: str
    texture: str
    image: np.ndarray = field(repr=False, compare=False)


def _text(value: object) -> str:
    """A cell of a table as text: 90 and 90.0 are `90`, and what is not there is empty."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def spread(size: int, n: int) -> np.ndarray:
    """`n` row numbers spread evenly over `size`, the first and the last among them, or all of them; GenclsError if n < 1."""
    if n < 1:
        raise GenclsError(f"{n} stimuli were asked for; ask for at least one")
    return np.unique(np.linspace(0, size - 1, min(n, size)).astype(int))


def stimulus_digest(image: np.ndarray) -> str:
    """Sixteen digits of SHA-256 over an image's shape and pixels."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


class StimulusSet(Sequence[Stimulus]):
    """An ordered, lazily loaded collection of stimuli.

    Parameters
    ----------
    name : the set's name, e.g. `cue-conflict`
    table : one row a stimulus with the columns `name, category, condition, texture`, all taken as text; names are unique
    load : row number → image, H×W×3 uint8; called only when an image is asked for
    categories : the answers that observers choose among, in their fixed order
    digests : of the images, where they are known already: `stimulus_digest` of each row
    missing : why the images are not here; the table and the digests, from a record, then stand for them

    A slice or a list of row numbers gives another StimulusSet and loads nothing; one row number gives a Stimulus.
    """

    def __init__(
        self,
        name: str,
        table: pd.DataFrame,
        load: Callable[[int], np.ndarray],
        categories: Sequence[str],
        digests: Sequence[str] | None = None,
        missing: str = "",
    ) -> None:
        if isinstance(categories, str) or (words := [c for c in categories if not isinstance(c, str)]):
            what = f"{categories!r} is one text" if isinstance(categories, str) else f"{words[0]!r} is no text"
            raise GenclsError(f"stimulus set '{name}': of the categories, {what}; give a list of words")
        lacking = [c for c in COLUMNS if c not in table]
        if lacking:
            raise GenclsError(f"stimulus set '{name}': the table lacks {', '.join(lacking)}; it needs {COLUMNS}")
        table = table.loc[:, list(COLUMNS)].reset_index(drop=True).map(_text).astype(object)
        repeated = table["name"][table["name"].duplicated()]
        if len(repeated):
            raise GenclsError(
                f"stimulus set '{name}': {repeated.iloc[0]!r} stands twice; give each stimulus its own name"
            )
        self.name = name
        self.table = table
        self.categories = tuple(categories)
        self.missing = missing
        self._load, self._digests = load, list(digests) if digests is not None else None

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> Stimulus: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | np.ndarray) -> StimulusSet: ...
    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> Stimulus | StimulusSet:
        if isinstance(key, (int, np.integer)):
            i = range(len(self))[key]
            row = self.table.iloc[i]
            return Stimulus(row["name"], row["category"], row["condition"], row["texture"], self._load(i))
        rows = np.arange(len(self))[key]
        digests = None if self._digests is None else [self._digests[i] for i in rows]
        table = self.table.iloc[rows]
        return StimulusSet(self.name, table, lambda i: self._load(int(rows[i])), self.categories, digests, self.missing)

    def where(self, **values: object) -> StimulusSet:
        """The stimuli whose columns have these values, e.g. `photos.where(condition="0.1", category=["dog", "cat"])`."""
        keep = np.ones(len(self), bool)
        for column, wanted in values.items():
            if column not in COLUMNS:
                raise GenclsError(f"stimulus set '{self.name}' has no column {column!r}; it has {', '.join(COLUMNS)}")
            several = wanted if isinstance(wanted, Iterable) and not isinstance(wanted, str) else [wanted]
            keep &= self.table[column].isin([_text(value) for value in several]).to_numpy()
        return self[np.flatnonzero(keep)]

    @property
    def conditions(self) -> list[str]:
        """The conditions, in the order in which they first stand in the table."""
        return list(dict.fromkeys(self.table["condition"]))

    def images(self, rows: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """The images of these rows: n×H×W×3, uint8 (all of one size)."""
        return np.stack([self._load(int(i)) for i in np.arange(len(self))[rows]])

    def stimulus_digests(self) -> list[str]:
        """The digest of each image's pixels: what a score is bound to."""
        if self._digests is None:
            self._digests = [stimulus_digest(self._load(i)) for i in range(len(self))]
        return self._digests

    def digest(self) -> str:
        """SHA-256 over names, categories, conditions, textures and pixels: what a record is bound to."""
        sha = hashlib.sha256(self.table.to_csv(index=False).encode())
        for i in range(len(self)):
            image = np.ascontiguousarray(self._load(i))
            sha.update(repr((image.shape, image.dtype.str)).encode())
            sha.update(image.tobytes())
        return sha.hexdigest()

    def __repr__(self) -> str:
        return f"StimulusSet({self.name!r}, {len(self)} stimuli, conditions {self.conditions})"
