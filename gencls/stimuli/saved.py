"""A stimulus set as a folder: its images, `stimuli.csv` with a row each, and `categories.txt` with an answer a line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from gencls.errors import GenclsError
from gencls.stimuli.pictures import read_picture
from gencls.stimuli.sets import StimulusSet

TABLE, CATEGORIES = "stimuli.csv", "categories.txt"


def write(stimuli: StimulusSet, folder: str | Path, progress: bool = False) -> Path:
    """Write a set into a new or empty folder, its images as PNG; GenclsError where the folder holds files or the images are not here."""
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise GenclsError(f"{folder} holds files already; name another folder, or empty it")
    if out := [n for n in stimuli.table["name"] if Path(n).is_absolute() or ".." in Path(n).parts]:
        raise GenclsError(f"a stimulus named {out[0]!r} would lie outside {folder}; give it another name")
    if taken := [n for n in stimuli.table["name"] if not Path(n).name or n in (TABLE, CATEGORIES)]:
        raise GenclsError(f"a stimulus cannot be named {taken[0]!r} in a folder; give it another name")
    if stimuli.missing:
        raise GenclsError(f"the pictures of {stimuli.name} are not here: {stimuli.missing}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as stage:
        stimuli.table.to_csv(Path(stage, TABLE), index=False)
        Path(stage, CATEGORIES).write_text("".join(f"{c}\n" for c in stimuli.categories), encoding="utf-8")
        for stimulus in tqdm(stimuli, desc=stimuli.name, unit="image", disable=not progress):
            path = Path(stage, f"{stimulus.name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stimulus.image).save(path)
        for file in Path(stage).iterdir():
            file.replace(folder / file.name)
    return folder


def read(folder: str | Path, categories: Sequence[str] | None = None) -> StimulusSet:
    """The set in a folder, named like it: one that `write` made, or one made by hand in the same form.

    An image's file is the stimulus's name, with or without `.png` after it, in any form that `read_picture` takes. `categories`: what observers
    choose among; by default what `categories.txt` says, else all that the table names, textures too. GenclsError for what is no such folder.
    """
    folder = Path(folder)
    try:
        table = pd.read_csv(folder / TABLE, dtype=str, keep_default_na=False)
        if categories is None and (folder / CATEGORIES).is_file():
            lines = (folder / CATEGORIES).read_text(encoding="utf-8-sig").splitlines()
            categories = [line.strip() for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise GenclsError(f"{folder} holds no stimulus set: {TABLE} cannot be read ({error})") from error
    if categories is None:
        categories = sorted({*table.get("category", ()), *table.get("texture", ())} - {""})

    def load(row: int) -> np.ndarray:
        path = folder / table["name"].iloc[row]
        written = path.with_name(f"{path.name}.png")
        return read_picture(written if written.is_file() else path).image

    return StimulusSet(folder.resolve().name, table, load, categories)
