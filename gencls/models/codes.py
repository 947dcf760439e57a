"""A classifier of codes: it sees of an image the tokens or latents that a generative model sees of it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gencls.errors import GenclsError
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import DiscriminativeModel
from gencls.models.labels import outputs_behind
from gencls.stimuli.pictures import changes

Reader: TypeAlias = AutoregressiveModel | DiffusionModel


def pictured(reader: Reader, codes: Tensor) -> Tensor:
    """What `reader.encode` gives of n images → n×c×rows×columns, of about the mean square of a photograph's pixels.

    Latents are left as they are. Tokens become an image with a channel a token, √c where it stands and 0 elsewhere, so that a network's first
    layer looks each up.
    """
    if isinstance(reader, DiffusionModel):
        return codes
    count: int = reader.network.config.vq_config.num_embeddings
    return F.one_hot(codes.unflatten(1, reader.grid), count).permute(0, 3, 1, 2).float() * count**0.5


def reader_of(preprocessing: Mapping[str, Any], name: str, device: str = "auto") -> Reader:
    """The model that a preprocessor_config.json names (`codes_of`); GenclsError where it was trained again since (`digest`)."""
    from gencls.models.zoo import digest

    of = preprocessing["codes_of"]
    if digest(of) != preprocessing["digest"]:
        raise GenclsError(
            f"{name} sees the codes of another training of {of} than the one that is here; train it again"
        )
    return open_reader(of, name, device)


def open_reader(of: str, name: str, device: str = "auto") -> Reader:
    """The model whose codes the classifier `name` sees; GenclsError where it makes none."""
    from gencls.models.zoo import open_model

    opened = open_model(of, device=device)
    if not isinstance(opened, (AutoregressiveModel, DiffusionModel)):
        raise GenclsError(f"{name} sees the codes of {of}, which makes none; name a model of tokens or of latents")
    return opened


class CodeClassifier(DiscriminativeModel):
    """A classifier behind another model's encoder; of two that see the same codes one was told labels, one learned to make the image.

    Parameters
    ----------
    network : n×c×rows×columns, as `pictured` → logits n×labels
    name : the model's id
    labels : output → label, as `id2label`
    reader : whose codes it sees
    """

    def __init__(self, network: torch.nn.Module, name: str, labels: Mapping[int, str], reader: Reader) -> None:
        super().__init__(network, name, [labels[i] for i in sorted(labels)], reader.adapter.size)
        self.reader = reader
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
            raise GenclsError(f"{self.name}: noise is mixed into pixels only, and it sees codes")
        codes = pictured(self.reader, self.reader.encode(images))
        with torch.no_grad():
            return self.network(codes.to(next(self.network.parameters()).device))
