"""A text-to-image diffusion pipeline as a classifier (Jaini et al. 2024, section 2).

Noise the image, denoise it under a prompt for each class, and measure how far the reconstruction is from the image.
`DiffusionModel` knows the mathematics of noise; an `Adapter`, one a pipeline class, knows how that pipeline is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from gencls.errors import GenclsError
from gencls.stimuli.pictures import prepare

Condition = dict[str, Tensor]


class Adapter(Protocol):
    """How one pipeline class is called. `network` predicts the scheduler's target for n×c×h×w noised inputs."""

    def __init__(self, pipeline: Any) -> None: ...

    @property
    def size(self) -> int:
        """Pixels a side that the pipeline works at."""
        ...

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """What the network needs of each prompt; every tensor has the prompts first."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels n×3×s×s in [−1, 1] → what is noised (pixels, or latents)."""
        ...

    def shared(self, x_t: Tensor, timestep: Tensor) -> Any:
        """The part of the network that does not see the prompt, run once for all classes."""
        ...

    def network(self, shared: Any, condition: Condition) -> Tensor:
        """The prediction, from n rows of `shared` and n rows of each tensor of `condition`."""
        ...


class PixelAdapter:
    """gencls's own PixelPipeline: pixels are noised, text enters in the last blocks."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def size(self) -> int:
        return self.pipeline.transformer.config.sample_size

    def conditions(self, prompts: Sequence[str]) -> Condition:
        return {"text": self.pipeline.encode_prompt(list(prompts))}

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def shared(self, x_t: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        return self.pipeline.transformer.trunk(x_t, timestep)

    def network(self, shared: tuple[Tensor, ...], condition: Condition) -> Tensor:
        return self.pipeline.transformer.head(*shared, condition["text"])


class StableDiffusionAdapter:
    """StableDiffusionPipeline (1.x, 2.x): the VAE's mean, scaled, is noised; a U-Net attends to the prompt's tokens."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def size(self) -> int:
        return self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor

    def conditions(self, prompts: Sequence[str]) -> Condition:
        embeddings, _ = self.pipeline.encode_prompt(
            list(prompts), self.pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return {"text": embeddings}

    def encode(self, pixels: Tensor) -> Tensor:
        vae = self.pipeline.vae
        return vae.encode(pixels.to(vae.dtype)).latent_dist.mean * vae.config.scaling_factor

    def shared(self, x_t: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        return x_t, timestep

    def network(self, shared: tuple[Tensor, ...], condition: Condition) -> Tensor:
        x_t, timestep = shared
        return self.pipeline.unet(x_t, timestep, encoder_hidden_states=condition["text"]).sample


#: Pipeline class name → its adapter. A new pipeline needs an entry here and nothing else.
ADAPTERS: dict[str, type[Adapter]] = {
    "PixelPipeline": PixelAdapter,
    "StableDiffusionPipeline": StableDiffusionAdapter,
}


class DiffusionModel:
    """Any text-to-image diffusion pipeline, ready to be asked for denoising errors.

    Parameters
    ----------
    pipeline : a diffusers pipeline whose class has an adapter
    name : the model's id, as records and tables show it
    budget : rows (stimulus × class) of one forward pass
    dtype : of the network's matrix products, "float32" or "bfloat16"; noise, errors and sums stay float32 and wider
    """

    kind = "diffusion"

    def __init__(self, pipeline: DiffusionPipeline, name: str, budget: int = 256, dtype: str = "float32") -> None:
        adapter = ADAPTERS.get(type(pipeline).__name__)
        if adapter is None:
            raise GenclsError(
                f"{name}: no adapter for a {type(pipeline).__name__}; known are {', '.join(ADAPTERS)}. "
                "The how-to 'add a model' shows the few lines that a new one takes"
            )
        if budget < 1:
            raise GenclsError(f"budget is {budget}; a forward pass needs at least one row")
        if dtype not in ("float32", "bfloat16"):
            raise GenclsError(f"{name}: number type {dtype!r} is not float32 or bfloat16")
        self.dtype = dtype
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        self.pipeline, self.name, self.budget = pipeline, name, budget
        self.adapter = adapter(pipeline)
        config = pipeline.scheduler.config
        self.flow = "flow" in type(pipeline.scheduler).__name__.lower()
        self.prediction = "flow" if self.flow else config.prediction_type
        if self.prediction not in ("epsilon", "v_prediction", "sample", "flow"):
            raise GenclsError(
                f"{name}: prediction type {self.prediction!r} is not epsilon, v_prediction, sample or flow"
            )
        self.steps: int = config.num_train_timesteps

    # -- the mathematics of noise --------------------------------------------------------------------------------

    def levels(self, t: Iterable[float]) -> tuple[Tensor, Tensor, Tensor]:
        """t in (0, 1) → (timestep handed to the network, α, σ): x_t = α·x₀ + σ·ε.

        Schedules over timesteps: the timestep nearest to t·N, α = √ᾱ, σ = √(1 − ᾱ) from the pipeline's own scheduler.
        Flow matching: σ = t, α = 1 − σ, and the network gets N·σ.
        """
        share = torch.tensor(list(t), dtype=torch.float64)
        if self.flow:
            return (share * self.steps).float(), (1 - share).float(), share.float()
        timestep = (share * self.steps).round().long().clamp(0, self.steps - 1)
        alpha_bar = self.pipeline.scheduler.alphas_cumprod.double()[timestep]
        return timestep, alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()

    def denoised(self, x_t: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """x̂₀ from the network's prediction: epsilon (x_t − σε̂)/α, v αx_t − σv̂, sample itself, flow x_t − σv̂."""
        if self.prediction == "epsilon":
            return (x_t - sigma * prediction) / alpha
        if self.prediction == "v_prediction":
            return alpha * x_t - sigma * prediction
        if self.prediction == "flow":
            return x_t - sigma * prediction
        return prediction

    # -- what a stimulus needs -----------------------------------------------------------------------------------

    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """H×W×3 uint8 images → x₀, n×c×h×w float32: centre crop, antialiased resize, [−1, 1], the VAE's mean if any."""
        pixels = np.stack([prepare(image, self.adapter.size) for image in images])
        with torch.no_grad():
            return self.adapter.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).float()

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """The prompts' embeddings, computed once."""
        with torch.no_grad():
            return self.adapter.conditions(prompts)

    def reconstruct(self, x0: Tensor, noise: Tensor, t: Tensor, classes: Tensor, conditions: Condition) -> Tensor:
        """x̂₀ for n noised stimuli under m classes each: n×m×c×h×w.

        x0, noise: n×c×h×w. t: n, in (0, 1). classes: n×m, rows of `conditions`. The part of the network that does not see
        the prompt runs once a stimulus.
        """
        n, m = classes.shape
        timestep, alpha, sigma = (v.to(x0.device) for v in self.levels(t.tolist()))
        alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
        x_t = alpha * x0 + sigma * noise
        rounded = torch.autocast(x0.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16")
        with torch.no_grad(), rounded:
            shared = self.adapter.shared(x_t, timestep)
            rows = tuple(part.repeat_interleave(m, 0) for part in shared)
            chosen = {name: value[classes.flatten()] for name, value in conditions.items()}
            prediction = self.adapter.network(rows, chosen)[:, : x0.shape[1]].float()
        repeated = [v.repeat_interleave(m, 0) for v in (x_t, alpha, sigma)]
        return self.denoised(repeated[0], prediction, repeated[1], repeated[2]).unflatten(0, (n, m))

    def errors(self, x0: Tensor, noise: Tensor, t: Tensor, classes: Tensor, conditions: Condition) -> Tensor:
        """Denoising errors ‖x̂₀ − x₀‖², n×m; arguments as in `reconstruct`."""
        estimate = self.reconstruct(x0, noise, t, classes, conditions)
        return (estimate - x0[:, None]).double().square().flatten(2).sum(-1)
