"""The photos and captions that the shapes models learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gencls.stimuli.shapes import SHAPES, ShapesWorld

#: Every caption names the category; the wording around it varies and says nothing.
TEMPLATES = (
    "a photo of a {}", "a bad photo of a {}", "a picture of a {}", "a drawing of a {}", "an image of a {}",
    "a small photo of a {}", "a good photo of a {}", "a photo of the {}", "the {}", "a {}", "a blurry photo of a {}",
    "a close up photo of a {}", "a low resolution photo of a {}", "a colourful picture of a {}", "this is a {}",
    "one {} on a plain ground",
)  # fmt: skip


class Photos:
    """A pool of training photos, drawn once and shared by every training of the same world.

    `folder`: where the pool is kept between runs (about 200 MB for 65,536 photos); None keeps it in memory only.
    """

    def __init__(self, world: ShapesWorld, n: int, folder: Path | None = None) -> None:
        self.n = n
        path = folder / f"photos-{_fingerprint(world)}-{n}.npz" if folder else None
        if path and path.exists():
            with np.load(path) as pool:
                images, labels = pool["images"], pool["labels"]
        else:
            rows = tqdm(range(n), desc="drawing photos", unit="photo", disable=n < 2000)
            images = np.stack([world.photo("train", i) for i in rows])
            labels = np.array([world.cues("train", i)[0] for i in range(n)])
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                new = path.with_suffix(".new.npz")
                np.savez(new, images=images, labels=labels)
                new.replace(path)
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images size×3×32×32 in [0, 1] and labels, each photo alike likely."""
        rows = torch.randint(self.n, (size,), generator=generator)
        return self.images[rows].permute(0, 3, 1, 2).float() / 255, self.labels[rows]


def captions(labels: Tensor, generator: torch.Generator) -> list[str]:
    """A caption a label, its template drawn at random."""
    picks = torch.randint(len(TEMPLATES), (len(labels),), generator=generator)
    return [
        TEMPLATES[int(t)].format(SHAPES[int(k)]).replace(" a arrow", " an arrow")
        for t, k in zip(picks, labels, strict=True)
    ]


def _fingerprint(world: ShapesWorld) -> str:
    values = (
        world.seed,
        world.shape_reliability,
        world.texture_reliability,
        world.cover,
        world.texture_scale,
    )
    return "-".join(str(v) for v in values)
