"""How the classifiers are trained on the photos' labels: a pre-activation ResNet with GroupNorm, and a vision transformer.

GroupNorm (BiT, Kolesnikov et al. 2020) keeps no running statistics, which would mix those of noised and clean images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import BitConfig, BitForImageClassification, ViTConfig, ViTForImageClassification

from gencls.models.codes import Reader, pictured
from gencls.models.discriminative import magnified
from gencls.stimuli.shapes import SHAPES
from gencls.training.data import Labelled, Photographs, Photos
from gencls.training.loop import Run, beside, compiled, fit

#: While they learn, transformers write their attention out: on 64 patches its backward pass is faster than the fused kernel's.
ATTENTION = "eager"


def resnet(
    seed: int,
    width: int = 128,
    depths: tuple[int, ...] = (2, 2, 2),
    labels: Sequence[str] = SHAPES,
    groups: int | None = None,
) -> BitForImageClassification:
    """The untrained classifier, its weights a function of the seed.

    `groups` of each norm: width / 4 by default, one channel each in the narrow layers of the first stage; BiT has two, width / 8.
    """
    torch.manual_seed(seed)
    return BitForImageClassification(
        BitConfig(
            embedding_size=width // 2,
            hidden_sizes=[width * 2**i for i in range(len(depths))],
            depths=list(depths),
            num_groups=groups or min(32, width // 4),
            layer_type="preactivation",
            **_named(labels),
        )
    )


def vit(
    seed: int, width: int, depth: int, patch_size: int, side: int, labels: Sequence[str], channels: int = 3
) -> ViTForImageClassification:
    """The untrained vision transformer, its weights a function of the seed. Its settings are those of `tower`."""
    torch.manual_seed(seed)
    sizes = tower(width, depth, patch_size, side) | {"num_channels": channels}
    config = ViTConfig(**sizes, **_named(labels), attn_implementation=ATTENTION)
    return ViTForImageClassification(config)


def tower(width: int, depth: int, patch_size: int, side: int) -> dict[str, object]:
    """Settings of a transformer over an image's patches, as transformers' ViT and CLIP both name them.

    Squared ReLUs (So et al. 2021) are faster than GELUs on a processor; which learn better was not compared here.
    """
    return {
        "image_size": side, "patch_size": patch_size, "hidden_size": width, "intermediate_size": 3 * width,
        "num_hidden_layers": depth, "num_attention_heads": width // 64, "hidden_act": "relu2",
    }  # fmt: skip


class Codes:
    """The codes that another model makes of every photo and of its mirror image, computed once; `channels` and `side` of their images."""

    def __init__(self, reader: Reader, photos: Photos | Photographs) -> None:
        self.reader, self.labels = reader, photos.labels
        parts = [view for both in (photos.images, photos.images.flip(2)) for view in both.split(64)]  # of n×s×s×3
        coded = [
            reader.encode(list(part.numpy())).cpu() for part in tqdm(parts, desc=f"codes of {reader.name}", unit="part")
        ]
        self.values = torch.cat(coded).unflatten(0, (2, -1))
        _, self.channels, self.side, _ = pictured(reader, coded[0][:1]).shape

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images size×c×rows×columns that `logits` scales to `pictured` ones, and labels; half are of mirrored photos."""
        rows = torch.randint(len(self.labels), (size,), generator=generator)
        mirrored = (torch.rand(size, generator=generator) < 0.5).long()
        return pictured(self.reader, self.values[mirrored, rows]) / 2 + 0.5, self.labels[rows]


def logits(network: nn.Module, images: Tensor, magnify: int) -> Tensor:
    """Images n×3×s×s in [0, 1] (noised ones beyond it) → n×labels: magnified and scaled to (x − 0.5) / 0.5."""
    return network(magnified(images * 2 - 1, magnify)).logits.float()


def add_noise(images: Tensor, gamma: Tensor, noise: Tensor) -> Tensor:
    """√γ·x + √(1−γ)·ε (Jaini et al. 2024, appendix). images n×3×s×s in [0, 1], gamma n in [0, 1]."""
    gamma = gamma[:, None, None, None]
    return gamma.sqrt() * images + (1 - gamma).sqrt() * noise


def train_on_labels(
    network: nn.Module,
    photos: Labelled,
    run: Run,
    *,
    noise: tuple[float, float] | None = None,
    noised: float = 1.0,
    rate: float = 2e-3,
    magnify: int = 2,
    fast: bool = False,
) -> float:
    """Train by cross-entropy; returns seconds. `fast`: compiled, see `gencls.training.loop.compiled`.

    `noise`: the range of γ, drawn uniformly for each image; None shows clean photos. `noised`: the share of the images that it is for; the others
    are clean. Noise comes before magnification. `rate`: the highest learning rate.
    """
    forward = compiled(network) if fast else network

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        images, labels = photos.batch(run.batch, generator)
        if noise is not None:
            gamma = noise[0] + (noise[1] - noise[0]) * torch.rand(run.batch, generator=generator)
            if noised < 1:
                gamma = torch.where(torch.rand(run.batch, generator=generator) < noised, gamma, 1.0)
            images = add_noise(images, gamma, torch.randn(images.shape, generator=generator))
        images, labels = beside(network, images, labels)
        return F.cross_entropy(logits(forward, images, magnify), labels)

    return fit(network, loss, run, learning_rate=rate)


def _named(labels: Sequence[str]) -> dict[str, object]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
