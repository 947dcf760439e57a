"""The Python door: an observer that answers, whatever kind it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.weightings import answers, probabilities, weighted
from gencls.likelihood.weightings import weighting as to_weighting
from gencls.models import zoo
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.pictures import Picture, read_picture, rgb
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import SHAPES
from gencls.stimuli.tiny_imagenet import NATURAL

#: Kinds of the models that are asked in words.
READERS = ("diffusion", "autoregressive", "contrastive")


@dataclass(frozen=True)
class Classification:
    """What an observer says of some images.

    `answers`: a class an image. `scores`: the labelled array (`gencls.likelihood.scoring.score`). `probabilities`: one row
    an image, one column a class, rows sum to 1; None where a plan dropped classes, or where no temperature was fitted to the weighting. `note`: what a reader should know.
    """

    names: tuple[str, ...]
    answers: tuple[str, ...]
    scores: xr.Dataset
    probabilities: pd.DataFrame | None
    weighted: pd.DataFrame
    note: str = ""

    def table(self) -> pd.DataFrame:
        """One row an image: its name, the answer, how probable, and the runner-up."""
        rows = []
        for i, (name, answer) in enumerate(zip(self.names, self.answers, strict=True)):
            others = self.weighted.iloc[i].drop(answer).dropna()  # what a plan dropped came nowhere
            row: dict[str, object] = {"image": name, "answer": answer}
            if self.probabilities is not None:
                row["probability"] = float(self.probabilities.iloc[i][answer])
            rows.append({**row, "next": str(others.idxmin()) if len(others) else ""})
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and words, for JSON."""
        images = []
        for i, row in enumerate(self.table().to_dict("records")):
            scores = {str(k): float(v) if np.isfinite(v) else None for k, v in self.weighted.iloc[i].items()}
            odds = None
            if self.probabilities is not None:
                odds = {str(k): float(v) for k, v in self.probabilities.iloc[i].items()}
            images.append({**row, "scores": scores, "probabilities": odds})
        return {**{k: str(v) for k, v in self.scores.attrs.items()}, "note": self.note, "images": images}


class Observer:
    """An observer by its id: a generative model or a classifier behind one door.

    `engine`: "here", or "ray" for `workers` of a Ray cluster at `address` (`gencls.likelihood.cluster.RayWorkers`); `options`: of
    `gencls.models.zoo.open_model`.
    """

    def __init__(
        self,
        model: str,
        allow_pickles: bool = False,
        engine: str = "here",
        workers: int | None = None,
        address: str | None = None,
        **options: Any,
    ) -> None:
        self.id = model
        self.model: Any
        check_engine(engine, workers, address)
        if engine == "ray":
            from gencls.likelihood.cluster import RayWorkers

            self.model = RayWorkers(model, workers, address, allow_pickles=allow_pickles, **options)
        else:
            self.model = zoo.open_model(model, allow_pickles=allow_pickles, **options)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it chooses among when none are named."""
        return trained_on(self.id) or tuple(getattr(self.model, "classes", cats.CATEGORIES))

    def classify(
        self,
        images: Sequence[np.ndarray | str | Path | Picture | Image.Image]
        | np.ndarray
        | str
        | Path
        | Picture
        | Image.Image,
        classes: Sequence[str] | None = None,
        prompt: str = cats.PROMPT,
        plan: Exhaustive | None = None,
        weighting: str = "exp(-7t)",
        seed: int = 0,
        progress: bool = False,
        unfinished: Path | None = None,
        following: int = 0,
    ) -> Classification:
        """What the observer answers.

        Parameters
        ----------
        images : H×W×3 uint8 arrays, paths, PIL images, or pictures read before; one or several
        classes : any that you name; a classifier must have them among its labels
        prompt : with `{}` where the class goes (generative models, CLIP and its kin)
        unfinished : a folder where scores are kept one by one and found again after a kill; whoever names it removes it
        following : images that further calls of the same run bring, as in `gencls.likelihood.scoring.score`
        plan, weighting, seed : which denoising errors are computed, and how they become one number (generative models)
        """
        from gencls.likelihood.scoring import score

        if isinstance(images, (str, Path, Picture, Image.Image)) or (
            isinstance(images, np.ndarray) and images.ndim < 4
        ):
            images = [images]
        if isinstance(classes, str):
            raise GenclsError(f"classes is one text, {classes!r}; give a list of classes")
        wanted = list(self.classes if classes is None else classes)
        to_weighting(weighting)  # refuses one that there is not, before anything is scored
        if self.id.startswith("shapes/") and (unknown := [c for c in wanted if c not in SHAPES]):
            raise GenclsError(
                f"{self.id} was trained on drawn shapes and knows nothing else, not {', '.join(map(repr, unknown))}; "
                f"its classes are {', '.join(SHAPES)}"
            )
        reads = any(entry.id == self.id and entry.kind in READERS for entry in zoo.ENTRIES)
        if reads and self.id.startswith("natural/") and (unread := _unread(wanted)):
            raise GenclsError(
                f"{self.id} learned its words from captions of {len(tiny_imagenet.classes())} classes and never read {', '.join(map(repr, unread))}; "
                f"name others, such as {', '.join(NATURAL)}"
            )
        pictures = [_picture(image, i) for i, image in enumerate(images)]
        if not pictures:
            raise GenclsError("no image was given; name at least one")
        table = pd.DataFrame(
            {
                "name": [f"{i}:{p.name}" for i, p in enumerate(pictures)],
                "category": "",
                "condition": "",
                "texture": "",
            }
        )
        stimuli = StimulusSet("pictures", table, lambda i: pictures[i].image, wanted)
        scores = score(
            self.model,
            stimuli,
            classes=wanted,
            prompt=prompt,
            plan=plan,
            seed=seed,
            keys=[p.digest for p in pictures],
            unfinished=unfinished,
            progress=progress,
            following=following,
        )
        names = tuple(p.name for p in pictures)
        odds = None
        temperature = zoo.temperature(self.id, weighting, "error" in scores)
        if "eliminated_under" not in scores.attrs and temperature is not None:
            odds = pd.DataFrame(probabilities(scores, temperature, weighting).values, index=list(names), columns=wanted)
        notes = []
        if self.id.startswith("shapes/"):
            notes.append(f"{self.id} was trained on drawn 32×32 shapes: shapes are all it knows.")
        if prompt != scores.attrs["prompt"] and prompt != cats.PROMPT:
            notes.append(f"{self.id} answers by its labels: the prompt has no effect.")
        return Classification(
            names,
            tuple(answers(scores, weighting)),
            scores,
            odds,
            pd.DataFrame(weighted(scores, weighting).values, index=list(names), columns=wanted),
            " ".join(notes),
        )


def check_engine(engine: str, workers: int | None = None, address: str | None = None) -> None:
    """Raise GenclsError for an engine that there is not, and for what it has no use for."""
    if engine not in ("here", "ray"):
        raise GenclsError(f"no engine {engine!r}; there are here and ray")
    if engine == "here" and (workers is not None or address is not None):
        raise GenclsError("workers and an address are those of a Ray cluster; say --engine ray as well (engine='ray')")


def _unread(classes: Sequence[object]) -> list[object]:
    """Those of the classes that hold a word which is in none of the names in the natural world's captions."""
    named = [*NATURAL, *(name for entry in tiny_imagenet.classes() for name in entry.names)]
    known = {word for name in named for word in _words(name)}
    return [c for c in classes if not known.issuperset(_words(c))]


def _words(name: object) -> list[str]:
    return re.findall(r"\w+", str(name).lower())


def trained_on(model: str) -> tuple[str, ...]:
    """The categories that a model of this project was trained on, by its id; empty for another's."""
    return {"shapes": SHAPES, "natural": NATURAL}.get(model.partition("/")[0], ())


def _picture(image: np.ndarray | str | Path | Picture | Image.Image, i: int) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, Path)):
        return read_picture(image)
    try:
        array = np.asarray(rgb(image) if isinstance(image, Image.Image) else image)
    except ValueError as error:
        raise GenclsError(f"image {i}: {error}; give 8 or 16 bits a channel") from error
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise GenclsError(f"image {i} is {array.dtype} of shape {array.shape}; give H×W×3 uint8 in 0–255")
    return Picture(f"image {i}", array, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16])
