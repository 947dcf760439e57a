"""Which outputs of a classifier stand for the ImageNet classes behind the 16 categories: by WordNet id or by name, never guessed.

`data/imagenet_labels.csv` has ImageNet-1k's thousand classes in their order (sorted wnids), each with its WordNet names and its
place among the 21,841 classes of the release of fall 2011 and among Google's 21,843; made from timm's tables (Apache-2.0), whose
names are WordNet's (Princeton's licence).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gencls import categories as cats
from gencls.errors import GenclsError

_WNID = re.compile(r"(?<![0-9A-Za-z])n\d{8}(?!\d)")
_NUMBERED = re.compile(r"(label|class)?[ _-]?\d+", re.IGNORECASE)


class _Class(NamedTuple):
    """One of ImageNet-1k's thousand: its label, the names in it, and its place among 1,000, 21,841 and 21,843."""

    label: str
    names: frozenset[str]
    places: dict[int, int]


@cache
def _table() -> dict[str, _Class]:
    """wnid → class, in the order of the thousand."""
    with (Path(__file__).parents[1] / "data" / "imagenet_labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["wnid"]: _Class(
            row["names"], names(row["names"]), {1000: i} | {n: int(row[f"place_{n}"] or -1) for n in (21841, 21843)}
        )
        for i, row in enumerate(rows)
    }


def imagenet_labels() -> list[str]:
    """ImageNet-1k's thousand labels in their order, as the hub's models write them: 'tench, Tinca tinca', …"""
    return [entry.label for entry in _table().values()]


@cache
def _wanted() -> dict[str, str]:
    """wnid → category, of the 207."""
    return dict(cats.imagenet_table()[["wnid", "category"]].itertuples(index=False))


def names(label: str) -> frozenset[str]:
    """The names in a label: 'tabby, tabby cat' and 'Tabby_cat' alike, in lower case."""
    return frozenset(part.strip().replace("_", " ").lower() for part in label.split(",") if part.strip())


def _places(outputs: int) -> dict[str, int] | None:
    """Each of the 207's output in the known order of so many."""
    order, offset = {
        1000: (1000, 0),
        1001: (1000, 1),  # TensorFlow's, behind "background"
        21841: (21841, 0),
        21842: (1000, 0),  # Microsoft's: the thousand come first
        21843: (21843, 0),
    }.get(outputs, (0, 0))
    return {wnid: _table()[wnid].places[order] + offset for wnid in _wanted()} if order else None


def outputs_behind(labels: Mapping[int, str], model: str) -> dict[str, list[int]] | None:
    """The outputs behind each of the 16 categories that the labels know, None where the labels are no ImageNet classes.

    Parameters
    ----------
    labels : output → label, as `id2label` in a model's config.json
    model : its id, for the error

    Labels are understood that hold WordNet ids ('n02123045', any number of them, in any order); that are WordNet names in a known
    order of 1,000, 1,001, 21,841, 21,842 or 21,843 outputs, all names of a class or some; or a thousand such names in another
    order, as long as no name that matters is shared. `id2label` may have gaps where its order is a known one (21,841 labels
    under the numbers of 21,843). GenclsError: numbered labels (LABEL_0), an id twice, names that leave a class of the
    207 open.
    """
    outputs = sorted(labels)
    texts = [labels[i] for i in outputs]
    gaps = outputs != list(range(len(outputs)))
    if all(_NUMBERED.fullmatch(text) for text in texts):
        raise GenclsError(
            f"{model}: its {len(texts)} labels are numbers ({texts[0]!r}), so that nobody can tell what they stand for; write WordNet ids or "
            "names into id2label of its config.json"
        )
    ids = [_WNID.findall(text) for text in texts]
    if any(ids) and not gaps:
        return _by_category(_by_id(ids, model))
    found = _in_order(texts)
    if found is None and gaps:
        raise GenclsError(
            f"{model}: the numbers of its {len(texts)} labels have gaps, and they are in no known order of ImageNet; number them by the "
            "network's outputs in id2label of its config.json"
        )
    if found is None and len(texts) == 1000:
        found = _by_name(texts)
    if found is not None:
        return _by_category(found)
    if _places(len(texts)) is not None and any(_says(text, wnid) for text in texts for wnid in _wanted()):
        missing = [wnid for wnid in _wanted() if not any(_says(text, wnid) for text in texts)]
        what = (
            f"{len(missing)} of the 207 classes are not among them" if missing else "some names are shared by classes"
        )
        raise GenclsError(
            f"{model}: its {len(texts)} labels look like ImageNet's, but {what} and their order is no known one; write WordNet ids into "
            "id2label of its config.json"
        )
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise GenclsError(
            f"{model}: the label {twice!r} stands for several outputs; name them apart in its config.json"
        )
    return None


def _says(label: str, wnid: str) -> bool:
    """Whether every name in the label is one of the class's."""
    found = names(label)
    return bool(found) and found <= _table()[wnid].names


def _by_id(ids: list[list[str]], model: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for i, wnid in ((i, wnid) for i, several in enumerate(ids) for wnid in several if wnid in _wanted()):
        if wnid in found or len(ids[i]) > 1:
            raise GenclsError(
                f"{model}: the WordNet id {wnid} does not have one label of its own; see id2label in its config.json"
            )
        found[wnid] = i
    return found


def _in_order(texts: list[str]) -> dict[str, int] | None:
    places = _places(len(texts))
    if places is None or not all(_says(texts[place], wnid) for wnid, place in places.items()):
        return None
    return places


def _by_name(texts: list[str]) -> dict[str, int] | None:
    """Of a thousand names in any order: each of the 207 must be said by one label, and by one that says no other class."""
    said = {}
    for i, text in enumerate(texts):
        some = [wnid for wnid in _table() if _says(text, wnid)]
        all_names = [wnid for wnid in some if _table()[wnid].names == names(text)]
        said[i] = all_names or some  # 'partridge' is all that one class is called, and one name of the ruffed grouse
    found = {several[0]: i for i, several in said.items() if len(several) == 1}
    each = [w for several in said.values() for w in several if w in _wanted()]
    sure = all(said.values()) and len(each) == len(set(each)) and _wanted().keys() <= found.keys()
    return {wnid: found[wnid] for wnid in _wanted()} if sure else None


def _by_category(found: Mapping[str, int]) -> dict[str, list[int]] | None:
    """Category → outputs, in the benchmark's order; None where no class of the 207 was found."""
    behind: dict[str, list[int]] = {}
    for wnid, category in _wanted().items():
        if wnid in found:
            behind.setdefault(category, []).append(found[wnid])
    return {category: behind[category] for category in cats.CATEGORIES if category in behind} or None
