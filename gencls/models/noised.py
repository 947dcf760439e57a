"""A classifier of noised images, asked at noise levels as a diffusion model is: what is left of a generative classifier without generating."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gencls.errors import GenclsError
from gencls.models.compiling import Compiling
from gencls.models.labels import outputs_behind
from gencls.models.noise import levels
from gencls.models.pixel import PatchClassifier, cosine_schedule
from gencls.stimuli.pictures import prepare


class NoisedClassifier:
    """A noise-conditional classifier read out as a diffusion model is: at many noise levels, which a weighting brings together.

    What stands in its scores in the place of a denoising error is −log p(class | x_t, t), so that under a weighting its log-probabilities are
    averaged over t, and the lowest wins as it does among errors.

    Parameters
    ----------
    network : a PatchClassifier, with the names of its outputs (WordNet ids or the categories themselves) in its config
    name : the model's id
    alphas_cumprod : ᾱ of each timestep, of the schedule that it was trained under
    """

    kind = "noised"
    compiled = False
    compiling: Compiling | None = None
    dtype = "float32"
    budget = 256
    noise = 0.0

    def __init__(self, network: PatchClassifier, name: str, alphas_cumprod: Tensor) -> None:
        self.network, self.name = network.eval().requires_grad_(False), name
        self.labels = tuple(network.config.labels or ())
        if len(self.labels) != network.config.classes:
            raise GenclsError(
                f"{name}: {network.config.classes} outputs, but {len(self.labels)} labels in its config.json"
            )
        self.behind = outputs_behind(dict(enumerate(self.labels)), name)
        self.alphas, self.steps = alphas_cumprod, len(alphas_cumprod)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it can be asked about."""
        return tuple(self.behind) if self.behind is not None else self.labels

    @property
    def preprocessing(self) -> str:
        """What is done to an image, in words."""
        return f"central square, bicubic to {self.network.config.sample_size}, value / 127.5 - 1"

    @property
    def readout(self) -> str:
        """How the outputs become classes, in words."""
        return (
            "softmax over the labels" if self.behind is None else "mean of the softmax over the labels of each category"
        )

    def levels(self, t: Iterable[float]) -> tuple[Tensor, Tensor, Tensor]:
        """t in (0, 1) → (timestep, α, σ), as in `gencls.models.diffusion.DiffusionModel.levels`."""
        return levels(t, self.alphas)

    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """H×W×3 uint8 images → n×3×s×s in [−1, 1]."""
        pixels = np.stack([prepare(image, self.network.config.sample_size) for image in images])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def asked(self, classes: Sequence[str]) -> dict[str, Tensor]:
        """The share of each output in each class's answer, classes × outputs: the mean over those behind a category."""
        if unknown := [c for c in classes if c not in self.classes]:
            raise GenclsError(
                f"{self.name} has no label for {', '.join(map(repr, unknown))}; it knows {', '.join(self.classes)}"
            )
        shares = torch.zeros(len(classes), len(self.labels), dtype=torch.float64)
        for row, name in enumerate(classes):
            outputs = [self.labels.index(name)] if self.behind is None else self.behind[name]
            shares[row, outputs] = 1 / len(outputs)
        return {"shares": shares}

    def errors(self, x0: Tensor, noise: Tensor, t: Tensor, classes: Tensor, asked: dict[str, Tensor]) -> Tensor:
        """−log p(class | x_t, t) renormalised over the classes asked about: x0, noise n×3×s×s, t n, classes n×m rows of `asked` → n×m."""
        timestep, alpha, sigma = self.levels(t.tolist())
        x_t = alpha[:, None, None, None] * x0 + sigma[:, None, None, None] * noise
        with torch.no_grad():
            values = self.network(x_t, timestep).double().softmax(1) @ asked["shares"].T
        if not values.isfinite().all():
            raise GenclsError(f"{self.name} answers with NaN or infinity; its weights are broken")
        log_values = values.clamp(min=1e-300).log()
        return -(log_values - log_values.logsumexp(1, keepdim=True)).gather(1, classes)


def load_noised(folder: Path, name: str) -> NoisedClassifier:
    """A PatchClassifier's folder, as `gencls train natural/denoising-classifier` writes it; it was trained under the cosine schedule."""
    return NoisedClassifier(PatchClassifier.from_pretrained(folder), name, cosine_schedule().alphas_cumprod)
