"""A classifier of image tokens: it sees of an image what an autoregressive model sees of it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gencls.errors import GenclsError
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.discriminative import DiscriminativeModel
from gencls.models.labels import outputs_behind
from gencls.stimuli.pictures import changes


def pictured(codes: Tensor, grid: tuple[int, int], count: int) -> Tensor:
    """Codes n×T, row by row → an image with a channel a code, n×count×rows×columns, √count where the code stands and 0 elsewhere.

    So its mean square is 1, as a photograph's about is, and a network's first layer looks each code up.
    """
    return F.one_hot(codes.unflatten(1, grid), count).permute(0, 3, 1, 2).float() * count**0.5


class TokenClassifier(DiscriminativeModel):
    """A classifier behind another model's VQ encoder; of two that see the same tokens one was told labels, one learned to write the image.

    Parameters
    ----------
    network : n×codes×rows×columns, as `pictured` → logits n×labels
    name : the model's id
    labels : output → label, as `id2label`
    reader : whose tokens it sees
    """

    def __init__(self, network: Any, name: str, labels: Mapping[int, str], reader: AutoregressiveModel) -> None:
        super().__init__(network, name, [labels[i] for i in sorted(labels)], reader.adapter.size)
        self.reader, self.codes = reader, int(network.config.num_channels)
        self.behind = outputs_behind(labels, name)

    @property
    def preprocessing(self) -> str:
        return f"{self.reader.preprocessing}, of {self.reader.name}"

    def show(self, resolution: int | None, crop: bool) -> None:
        if changes(self.size, resolution, crop):
            raise GenclsError(
                f"{self.name}: it takes images of its own size only; leave resolution and crop as they are"
            )

    def output(self, images: Sequence[np.ndarray], noise: Tensor | None = None) -> Any:
        """The network's own output for H×W×3 uint8 images, n of them."""
        if self.noise:
            raise GenclsError(f"{self.name}: noise is mixed into pixels only, and it sees tokens")
        with torch.no_grad():
            return self.network(pictured(self.reader.encode(images), self.reader.grid, self.codes))
