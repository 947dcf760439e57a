"""Tiny-ImageNet's photographs at 64×64: what the models of the natural world learn from and are tested on.

80 of the public archive's 200 classes are read, those that `data/tiny_imagenet.csv` lists; 26 of them fall under 11 of the 16
entry-level categories. Of a class's 500 training photographs, in the order of their numbers, the first 450 train and the last 50
choose (`dev`); the 50 of its `val/` are held out (`test`). ImageNet's terms allow research; no page shows one of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gencls import downloads
from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.stimuli.benchmark import decoded
from gencls.stimuli.sets import StimulusSet

#: Pixels a side.
SIDE = 64
#: Photographs of a class in each split.
SPLITS = {"train": 450, "dev": 50, "test": 50}


class Class(NamedTuple):
    """One of the 80: its WordNet id, its entry-level category (empty for the 54 others) and its WordNet names."""

    wnid: str
    category: str
    names: tuple[str, ...]


@cache
def classes(count: int = 26) -> tuple[Class, ...]:
    """The 26 classes behind the 11 categories, or all 80, sorted by their wnids."""
    with (Path(__file__).parents[1] / "data" / "tiny_imagenet.csv").open(newline="", encoding="utf-8") as file:
        every = [Class(r["wnid"], r["category"], tuple(r["names"].split(", "))) for r in csv.DictReader(file)]
    found = {26: tuple(c for c in every if c.category), 80: tuple(every)}
    if count not in found:
        raise GenclsError(f"{count} classes: the natural world has a list of 26 and one of 80")
    return found[count]


#: The 11 entry-level categories that the 26 classes fall under, in the benchmark's order.
NATURAL = tuple(c for c in CATEGORIES if c in {entry.category for entry in classes()})


@dataclass(frozen=True)
class TinyImageNet:
    """The photographs of 26 classes, or of 80."""

    count: int = 26

    def files(self, split: str) -> list[tuple[str, Class]]:
        """Each photograph's place in the archive, and its class: class by class, by number. GenclsError for another split."""
        if split not in SPLITS:
            raise GenclsError(f"no split {split!r}; the photographs are split into {', '.join(SPLITS)}")
        found = []
        for entry in classes(self.count):
            if split == "test":
                names = [f"val/images/{name}" for name in _held_out()[entry.wnid]]
            else:
                first = 0 if split == "train" else SPLITS["train"]
                numbers = range(first, first + SPLITS[split])
                names = [f"train/{entry.wnid}/images/{entry.wnid}_{i}.JPEG" for i in numbers]
            found += [(name, entry) for name in names]
        return found

    def stimuli(self, name: str = "photos", n: int | None = None, split: str = "test") -> StimulusSet:
        """Photographs of the 11 categories, equally many of each: `n` in all, or 50 a category.

        A category's own are spread over its classes. A photograph is known by its file's name, and its category is the entry-level one.
        """
        if name != "photos":
            raise GenclsError(f"Tiny-ImageNet has photographs, no set {name!r}; ask for 'photos'")
        if n is not None and n < 1:
            raise GenclsError(f"stimulus set {name!r}: n is {n}; ask for at least one stimulus")
        files = [(place, entry.category) for place, entry in self.files(split) if entry.category]
        each = SPLITS[split] if n is None else -(-n // len(NATURAL))
        chosen: list[list[tuple[str, str]]] = []
        for category in NATURAL:
            own = [file for file in files if file[1] == category]
            rows = np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int))
            chosen.append([own[i] for i in rows])
        # Category by category in turn, so that the first n are spread over all of them.
        picked = [own[i] for i in range(max(map(len, chosen))) for own in chosen if i < len(own)][:n]
        table = pd.DataFrame(
            {"name": [Path(place).stem for place, _ in picked], "category": [category for _, category in picked]}
        ).assign(condition="0", texture="")
        return StimulusSet("photos", table, lambda i: _photograph(picked[i][0]), NATURAL)

    def pixels(self, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
        """Every photograph of a split, n×64×64×3 uint8, and the number of its class among `classes(count)`, n."""
        number = {entry.wnid: i for i, entry in enumerate(classes(self.count))}
        files = self.files(split)
        labels = np.array([number[entry.wnid] for _, entry in files])
        return np.stack([_photograph(place) for place, _ in files]), labels


def _photograph(place: str) -> np.ndarray:
    return decoded(downloads.archive("tiny-imagenet").read(place), place)


@cache
def _held_out() -> dict[str, list[str]]:
    """wnid → the names of its files in `val/images`, by number."""
    text = downloads.archive("tiny-imagenet").read("val/val_annotations.txt").decode()
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, wnid = line.split("\t")[:2]
        found.setdefault(wnid, []).append(name)
    return {wnid: sorted(names, key=lambda n: int(n[4:].partition(".")[0])) for wnid, names in found.items()}
