"""The 17 stimulus sets of model-vs-human (Geirhos et al. 2021), read lazily from their public archives.

A stimulus has one key everywhere, under which the trials of all people and models meet. In the files every
observer's copy of an image has its own name, `0001_cop_s01_c30_knife_10_n03041632_7380.png`: running number,
experiment, observer, condition, category, a constant, and then the image's own name. That last part without
its ending is the key; no set shows one image in two conditions, so the key is unique within a set. Under
cue conflict it is `shape-texture`, as in `airplane1-bicycle2`.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from gencls import downloads
from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.stimuli.sets import StimulusSet

_REACH = (1, 2, 4, 8, 16, 32, 64, 128)
#: Each set's conditions in the benchmark's spelling and order: no manipulation first.
CONDITIONS: dict[str, tuple[str, ...]] = {
    "colour": ("cr", "bw"),
    "contrast": ("c100", "c50", "c30", "c15", "c10", "c05", "c03", "c01"),
    "high-pass": ("inf", "3.0", "1.5", "1.0", "0.7", "0.55", "0.45", "0.4"),
    "low-pass": ("0", "1", "3", "5", "7", "10", "15", "40"),
    "phase-scrambling": ("0", "30", "60", "90", "120", "150", "180"),
    "power-equalisation": ("0", "pow"),
    "false-colour": ("True", "False"),
    "rotation": ("0", "90", "180", "270"),
    "eidolonI": tuple(f"{reach}-10-10" for reach in _REACH),
    "eidolonII": tuple(f"{reach}-3-10" for reach in _REACH),
    "eidolonIII": tuple(f"{reach}-0-10" for reach in _REACH),
    "uniform-noise": ("0.0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9"),
    "cue-conflict": ("0",),
    "edge": ("0",),
    "silhouette": ("0",),
    "sketch": ("0",),
    "stylized": ("0",),
}
#: The 17 sets.
SETS = tuple(CONDITIONS)
#: How many stimuli each set has (1,280 where it is not said).
_SIZES = {
    **{"edge": 160, "silhouette": 160, "sketch": 800, "stylized": 800},
    **{"phase-scrambling": 1120, "power-equalisation": 1120, "false-colour": 1120},
}
#: The cue-conflict stimuli shown with another instruction (Geirhos et al. 2019): the same images.
_SAME_IMAGES = {
    "cue-conflict-shape-instruction": "cue-conflict",
    "cue-conflict-texture-instruction": "cue-conflict",
}
_FOLDERS = {
    "cue-conflict": "stimuli/style-transfer-preprocessed-512",
    "edge": "stimuli/edges",
    "silhouette": "stimuli/filled-silhouettes",
}
_NAME = re.compile(
    r"\d+_[a-z0-9]+_[a-z0-9]+_(?P<condition>[^_]+)_(?P<category>[a-z]+)_\d+_(?P<image>.+?)(?:\.[A-Za-z]+)?"
)
_CUES = re.compile(r"(?P<shape>[a-z]+)\d+-(?P<texture>[a-z]+)\d+")


def condition_label(set_name: str, label: str) -> str:
    """A condition in the benchmark's spelling: `3` → `3.0` for high-pass, `0.90` → `0.9`, `true` → `True`."""
    if set_name in ("high-pass", "uniform-noise"):
        return str(float(label))
    return label.capitalize() if set_name == "false-colour" else label


def parse_name(file_name: str) -> tuple[str, str, str] | None:
    """An observer's file name → (condition as written there, category, key); None for another form."""
    found = _NAME.fullmatch(PurePosixPath(file_name).name)
    return (found["condition"], found["category"], found["image"]) if found else None


def texture_of(key: str) -> str:
    """The texture's category in a cue-conflict key: `airplane1-bicycle2` → `bicycle`; "" for another key."""
    found = _CUES.match(key)
    return found["texture"] if found and found["texture"] in CATEGORIES else ""


def stimuli(set_name: str) -> StimulusSet:
    """One of the 17 sets: 224×224 RGB, read when asked for, in the order of their keys.

    `category` is the right answer; under cue conflict it is the shape's, and `texture` the texture's (80 of
    the 1,280 carry the texture of their own category). Cue-conflict, edge and silhouette stimuli are CC BY
    4.0, from Geirhos et al. (2019), "ImageNet-trained CNNs are biased towards texture"; say so where they
    are shown.

    Raises GenclsError for an unknown set, and, saying how to fetch it, for one that is not here.
    """
    source_set = _SAME_IMAGES.get(set_name, set_name)
    if source_set not in SETS:
        known = ", ".join((*SETS, *_SAME_IMAGES))
        raise GenclsError(f"no stimulus set that was published is called '{set_name}'; there are {known}")
    if folder := _FOLDERS.get(source_set):
        names = downloads.archive("texture-vs-shape").names(folder, ".png")
        rows = [(PurePosixPath(n).stem, PurePosixPath(n).parent.name, "0") for n in names]
        read = functools.partial(_from_archive, names)
    else:
        files = _released(source_set)
        rows = [_described(source_set, path) for path in files]
        read = functools.partial(_from_files, files)
    size = _SIZES.get(source_set, 1280)
    if len(rows) != size:
        raise GenclsError(f"the set '{set_name}' has {size:,} stimuli, but {len(rows):,} were found; fetch it again")
    table = pd.DataFrame(rows, columns=["name", "category", "condition"])
    table["texture"] = [texture_of(n) if source_set == "cue-conflict" else "" for n in table["name"]]
    strange = table[~table["category"].isin(CATEGORIES) | ~table["condition"].isin(CONDITIONS[source_set])]
    if len(strange):
        first = strange.iloc[0]
        raise GenclsError(
            f"the set '{set_name}': {first['name']} has the category {first['category']!r} and the condition "
            f"{first['condition']!r}, which the benchmark lacks; fetch it again"
        )
    return StimulusSet(set_name, table, read, CATEGORIES)


def _released(set_name: str) -> list[Path]:
    """The image files of a released set, by key."""
    folder = downloads.unpacked(f"stimuli-{set_name}")
    files = [p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg") and p.name[0] != "."]
    return sorted(files, key=lambda p: _described(set_name, p)[0])


def _described(set_name: str, path: Path) -> tuple[str, str, str]:
    """Key, category and condition of a released file; a plain `category/image.png` has the condition 0."""
    if parsed := parse_name(path.name):
        condition, category, key = parsed
        return key, category, condition_label(set_name, condition)
    return path.stem, path.parent.name, "0"


def _from_archive(names: Sequence[str], row: int) -> np.ndarray:
    return decoded(downloads.archive("texture-vs-shape").read(names[row]), names[row])


def _from_files(files: Sequence[Path], row: int) -> np.ndarray:
    return decoded(files[row].read_bytes(), str(files[row]))


def decoded(content: bytes, name: str) -> np.ndarray:
    """An encoded image as H×W×3, uint8."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise GenclsError(f"{name} is no whole image ({error}); fetch it again") from error
