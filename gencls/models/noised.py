"""A classifier of noised images, asked at noise levels as a diffusion model is: what is left of a generative classifier without generating."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from gencls.errors import GenclsError
from gencls.models.codes import reader_of
from gencls.models.compiling import Compiling
from gencls.models.diffusion import DiffusionModel
from gencls.models.labels import outputs_behind
from gencls.models.noise import levels
from gencls.models.pixel import PatchClassifier, cosine_schedule
from gencls.stimuli.pictures import prepare


class UNetClassifier(ModelMixin, ConfigMixin):
    """The contracting half of a text-conditioned U-Net, asked for the category of noised latents instead of the noise (Dhariwal & Nichol 2021, 4.1).

    sample n×c×h×w, timestep n → logits n×classes, from the mean over places. Its layers are those of the U-Net up to the middle, attention to
    text among them; all the text that they are given is one learned vector, the same for every image.
    """

    @register_to_config
    def __init__(self, unet: Mapping[str, Any], labels: list[str] | None = None) -> None:
        super().__init__()
        whole = UNet2DConditionModel(**{k: v for k, v in unet.items() if not k.startswith(("_", "addition_"))})
        self.conv_in, self.time_proj, self.time_embedding = whole.conv_in, whole.time_proj, whole.time_embedding
        self.down_blocks, self.mid_block = whole.down_blocks, whole.mid_block
        width = unet["block_out_channels"][-1]
        self.text = nn.Parameter(torch.zeros(1, 1, unet["cross_attention_dim"]))
        self.norm = nn.GroupNorm(unet["norm_num_groups"], width)
        self.answer = nn.Linear(width, len(labels or ()))

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        time, text = self.time_embedding(self.time_proj(timestep)), self.text.expand(len(sample), -1, -1)
        hidden = self.conv_in(sample)
        for block in self.down_blocks:
            hidden, _ = block(hidden, time, encoder_hidden_states=text)
        hidden = self.mid_block(hidden, time, encoder_hidden_states=text)
        return self.answer(F.silu(self.norm(hidden)).mean((2, 3))).float()


class NoisedClassifier:
    """A noise-conditional classifier read out as a diffusion model is: at many noise levels, which a weighting brings together.

    What stands in its scores in the place of a denoising error is −log p(class | x_t, t), so that under a weighting its log-probabilities are
    averaged over t, and the lowest wins as it does among errors.

    Parameters
    ----------
    network : a PatchClassifier or a UNetClassifier, with the names of its outputs (WordNet ids or the categories themselves) in its config
    name : the model's id
    alphas_cumprod : ᾱ of each timestep, of the schedule that it was trained under
    reader : whose latents it sees, of a UNetClassifier
    """

    kind = "noised"
    compiled = False
    compiling: Compiling | None = None
    dtype = "float32"
    budget = 256
    noise = 0.0

    def __init__(
        self,
        network: PatchClassifier | UNetClassifier,
        name: str,
        alphas_cumprod: Tensor,
        reader: DiffusionModel | None = None,
    ) -> None:
        self.network, self.name, self.reader = network.eval().requires_grad_(False), name, reader
        self.labels = tuple(network.config.labels or ())
        if len(self.labels) != network.answer.out_features:
            raise GenclsError(
                f"{name}: {network.answer.out_features} outputs, but {len(self.labels)} labels in its config.json"
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
        if self.reader:
            return f"{self.reader.preprocessing}, of {self.reader.name}"
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
        """H×W×3 uint8 images → n×3×s×s in [−1, 1], or the latents of `reader`."""
        if self.reader:
            return self.reader.encode(images)
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
        """−log p(class | x_t, t) renormalised over the classes asked about: x0, noise as `encode` gives, t n, classes n×m rows of `asked` → n×m."""
        timestep, alpha, sigma = self.levels(t.tolist())
        device = next(self.network.parameters()).device
        x_t = alpha[:, None, None, None] * x0.cpu() + sigma[:, None, None, None] * noise.cpu()
        with torch.no_grad():
            values = self.network(x_t.to(device), timestep.to(device)).cpu().double().softmax(1) @ asked["shares"].T
        if not values.isfinite().all():
            raise GenclsError(f"{self.name} answers with NaN or infinity; its weights are broken")
        log_values = values.clamp(min=1e-300).log()
        return -(log_values - log_values.logsumexp(1, keepdim=True)).gather(1, classes.cpu())


def load_noised(folder: Path, name: str, device: str = "auto") -> NoisedClassifier:
    """The folder of a PatchClassifier, trained under the cosine schedule, or of a UNetClassifier, under that of the model whose latents it sees, which is put on `device`."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return NoisedClassifier(PatchClassifier.from_pretrained(folder), name, cosine_schedule().alphas_cumprod)
    reader = reader_of(json.loads(path.read_text()), name, device)
    if not isinstance(reader, DiffusionModel):
        raise GenclsError(
            f"{name} sees noised latents, and {reader.name} has none; its preprocessor_config.json is wrong"
        )
    alphas = reader.pipeline.scheduler.alphas_cumprod
    return NoisedClassifier(UNetClassifier.from_pretrained(folder), name, alphas, reader)
