"""The photos and captions that the models of this project learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gencls.downloads import alone
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.pictures import prepare
from gencls.stimuli.shapes import SHAPES, ShapesWorld
from gencls.stimuli.tiny_imagenet import TinyImageNet

#: Every caption names the category; the wording around it varies and says nothing.
TEMPLATES = (
    "a photo of a {}", "a bad photo of a {}", "a picture of a {}", "a drawing of a {}", "an image of a {}",
    "a small photo of a {}", "a good photo of a {}", "a photo of the {}", "the {}", "a {}", "a blurry photo of a {}",
    "a close up photo of a {}", "a low resolution photo of a {}", "a colourful picture of a {}", "this is a {}",
    "one {} on a plain ground",
)  # fmt: skip

#: The same for photographs: without what a photograph is not.
PHOTO_TEMPLATES = (
    *(t for t in TEMPLATES if t not in ("a drawing of a {}", "one {} on a plain ground")),
    *("a blurry picture of a {}", "a snapshot of a {}"),
)


class Labelled(Protocol):
    """What a classifier learns from."""

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images size×3×s×s in [0, 1] and the numbers of their classes, all drawn from the generator."""


class Pool(Labelled, Protocol):
    """What a model of captions learns from."""

    def captions(self, labels: Tensor, generator: torch.Generator) -> list[str]:
        """A caption a label, its wording drawn from the generator."""


class Photos:
    """A pool of training photos, drawn once and shared by every training of the same world.

    `folder`: where the pool is kept between runs (about 200 MB for 65,536 photos); None keeps it in memory only.
    """

    def __init__(self, world: ShapesWorld, n: int, folder: Path | None = None) -> None:
        self.n = n
        images, labels = _kept(world, n, folder) if folder else _drawn(world, n)
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images size×3×32×32 in [0, 1] and labels, each photo alike likely."""
        rows = torch.randint(self.n, (size,), generator=generator)
        return self.images[rows].permute(0, 3, 1, 2).float() / 255, self.labels[rows]

    def captions(self, labels: Tensor, generator: torch.Generator) -> list[str]:
        """A caption a label, its template drawn at random."""
        picks = torch.randint(len(TEMPLATES), (len(labels),), generator=generator)
        return [
            TEMPLATES[int(t)].format(SHAPES[int(k)]).replace(" a arrow", " an arrow")
            for t, k in zip(picks, labels, strict=True)
        ]


def _drawn(world: ShapesWorld, n: int) -> tuple[np.ndarray, np.ndarray]:
    rows = tqdm(range(n), desc="drawing photos", unit="photo", disable=n < 2000)
    return np.stack([world.photo("train", i) for i in rows]), np.array([world.cues("train", i)[0] for i in range(n)])


def _kept(world: ShapesWorld, n: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pool in a folder, drawn first where it is not there; of trainings that begin together one draws, and the others wait for it."""
    path = folder / f"photos-{_fingerprint(world)}-{n}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if not path.exists():
            images, labels = _drawn(world, n)
            new = path.with_suffix(".new.npz")
            np.savez(new, images=images, labels=labels)
            new.replace(path)
        with np.load(path) as pool:
            return pool["images"], pool["labels"]


class Photographs:
    """Tiny-ImageNet's training photographs, half of them mirrored left to right as they are drawn, reduced to `side` pixels.

    A caption names the entry-level category half of the time where there is one ("a blurry picture of a cat"), otherwise one of the
    class's own names ("a photo of a tabby").
    """

    def __init__(self, world: TinyImageNet, side: int = tiny_imagenet.SIDE) -> None:
        images, labels = world.pixels("train")
        if side != tiny_imagenet.SIDE:
            images = np.stack([prepare(image, side) for image in images])
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
        self.classes = tiny_imagenet.classes(world.count)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images size×3×s×s in [0, 1] and the numbers of their classes, each photograph alike likely."""
        rows = torch.randint(len(self.labels), (size,), generator=generator)
        mirrored = torch.rand(size, generator=generator) < 0.5
        images = self.images[rows].permute(0, 3, 1, 2).float() / 255
        return torch.where(mirrored[:, None, None, None], images.flip(-1), images), self.labels[rows]

    def captions(self, labels: Tensor, generator: torch.Generator) -> list[str]:
        """A caption a label; its template, and which name of the class it says, drawn at random."""
        templates = torch.randint(len(PHOTO_TEMPLATES), (len(labels),), generator=generator)
        draws = torch.rand(len(labels), 2, generator=generator, dtype=torch.float64).tolist()
        return [
            PHOTO_TEMPLATES[int(t)].format(self._name(int(k), *draw))
            for t, k, draw in zip(templates, labels, draws, strict=True)
        ]

    def _name(self, label: int, first: float, second: float) -> str:
        entry = self.classes[label]
        return entry.category if entry.category and first < 0.5 else entry.names[int(second * len(entry.names))]


def pool(
    world: ShapesWorld | TinyImageNet, photos: int, cache: Path | None = None, side: int = tiny_imagenet.SIDE
) -> Photos | Photographs:
    """What a recipe's world has to learn from; `photos` and `cache` are of the shapes world, `side` is of photographs."""
    return Photographs(world, side) if isinstance(world, TinyImageNet) else Photos(world, photos, cache)


def _fingerprint(world: ShapesWorld) -> str:
    values = (
        world.seed,
        world.shape_reliability,
        world.texture_reliability,
        world.cover,
        world.texture_scale,
        *([] if world.low_pass is None else [f"below{world.low_pass:g}"]),
    )
    return "-".join(str(v) for v in values)
