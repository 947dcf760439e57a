"""A text-to-image diffusion pipeline as a classifier (Jaini et al. 2024, section 2).

Noise the image, denoise it under a prompt for each class, and measure how far the reconstruction is from the image.
`DiffusionModel` knows the mathematics of noise; an adapter (`gencls.models.adapters`) knows how its pipeline is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from gencls.errors import GenclsError
from gencls.models.adapters import Adapter, Condition, adapter
from gencls.models.compiling import Compiling
from gencls.models.memory import in_passes
from gencls.models.noise import levels
from gencls.models.numbers import choose
from gencls.models.prompts import told_apart
from gencls.stimuli.pictures import changes, prepare


class DiffusionModel:
    """Any text-to-image diffusion pipeline, ready to be asked for denoising errors.

    Parameters
    ----------
    pipeline : a diffusers pipeline whose class has an adapter
    name : the model's id, as records and tables show it
    budget : rows (stimulus × class) of one forward pass at most; halved where memory runs out
    resolution : pixels a side that images are brought to; the pipeline's own by default
    crop : the central square of an image is shown; without it the whole image, made square. Another resolution or crop becomes
        part of the name, so that its scores are never taken for the model's own
    dtype : of the network's matrix products, one of `gencls.models.numbers.DTYPES`, or "auto": bfloat16 where a probe finds it
        fast; noise, errors and sums stay float32 and wider
    """

    kind = "diffusion"
    compiled = False
    compiling: Compiling | None = None

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        name: str,
        budget: int = 256,
        dtype: str = "float32",
        resolution: int | None = None,
        crop: bool = True,
    ) -> None:
        self.adapter, self.crop = adapter(pipeline, name), crop
        own = self.adapter.size
        if resolution not in (None, own):
            self._resize(resolution or 0, name)
        name += changes(own, resolution, crop)
        if budget < 1:
            raise GenclsError(f"budget is {budget}; a forward pass needs at least one row")
        self.dtype = choose(dtype, pipeline._execution_device.type, name)
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        self.pipeline, self.name, self.budget = pipeline, name, budget
        scheduler, config = pipeline.scheduler, pipeline.scheduler.config
        self.flow = "flow" in type(scheduler).__name__.lower() or config.get("prediction_type") == "flow_prediction"
        self.prediction = "flow" if self.flow else config.get("prediction_type")
        if self.prediction not in ("epsilon", "v_prediction", "sample", "flow"):
            raise GenclsError(
                f"{name}: prediction type {self.prediction!r} is not epsilon, v_prediction, sample or flow"
            )
        if not self.flow and not hasattr(scheduler, "alphas_cumprod"):
            raise GenclsError(
                f"{name}: a {type(scheduler).__name__} has no table of noise levels over timesteps (alphas_cumprod); "
                "give the pipeline the scheduler that it was trained with"
            )
        self.steps: int = config.num_train_timesteps

    def _resize(self, resolution: int, name: str) -> None:
        own = self.adapter.size
        step = self.adapter.pipeline.vae_scale_factor if hasattr(self.adapter.pipeline, "vae") else 1
        if resolution < 1 or resolution % (8 * step) or type(self.adapter).size is not Adapter.size:
            raise GenclsError(
                f"{name}: it cannot take images of {resolution} pixels a side, only its own {own}"
                + (f" or multiples of {8 * step}" if type(self.adapter).size is Adapter.size else "")
            )
        self.adapter.size = resolution

    @property
    def preprocessing(self) -> str:
        """What is done to an image, in words."""
        steps = ["central square" if self.crop else "whole image made square", f"bicubic to {self.adapter.size}"]
        steps.append("value / 127.5 - 1")
        if (vae := getattr(self.pipeline, "vae", None)) is not None:
            shift = f"(mean - {vae.config.get('shift_factor') or 0:g})"
            own = ", whitened" if vae.config.get("latents_mean") is not None else ""
            steps.append(f"the VAE's mean{own}, {shift} * {vae.config.scaling_factor:g}")
        return ", ".join(steps)

    # -- the mathematics of noise --------------------------------------------------------------------------------

    def levels(self, t: Iterable[float]) -> tuple[Tensor, Tensor, Tensor]:
        """t in (0, 1) → (timestep handed to the network, α, σ): x_t = α·x₀ + σ·ε.

        Schedules over timesteps: the timestep nearest to t·N, α = √ᾱ, σ = √(1 − ᾱ) from the pipeline's own scheduler.
        Flow matching: σ = t, α = 1 − σ, and the network gets N·σ.
        """
        share = torch.tensor(list(t), dtype=torch.float64)
        if self.flow:
            return (share * self.steps).float(), (1 - share).float(), share.float()
        return levels(share.tolist(), self.pipeline.scheduler.alphas_cumprod)

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

        def some(rows: slice) -> Tensor:
            pixels = torch.from_numpy(
                np.stack([prepare(image, self.adapter.size, self.crop) for image in images[rows]])
            )
            with torch.no_grad():
                return self.adapter.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).float()

        return torch.cat(self._passes(some, len(images)))

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """The prompts' embeddings, computed once; GenclsError where two of them are the same, so that the network could not tell the classes apart."""
        with torch.no_grad():
            found = self.adapter.conditions(prompts)
        told_apart(prompts, zip(*found.values(), strict=True), self.name)
        return found

    def predict(self, x_t: Tensor, timestep: Tensor, classes: Tensor, conditions: Condition) -> Tensor:
        """The network's own prediction for n noised stimuli under m classes each: n·m×c×h×w, float32.

        x_t: n×c×h×w. timestep: n, as the network takes it. classes: n×m, rows of `conditions`. The part of the network that
        does not see the prompt runs once a stimulus and pass. Channels beyond c, a learned variance, are cut off.
        """
        each, chosen = classes.shape[1], classes.flatten()

        def some(rows: slice) -> Tensor:
            first, last = rows.start // each, (rows.stop - 1) // each
            stimulus = torch.arange(rows.start, rows.stop, device=x_t.device) // each - first
            rounded = torch.autocast(x_t.device.type, getattr(torch, self.dtype), enabled=self.dtype != "float32")
            with torch.no_grad(), rounded:
                shared = self.adapter.shared(x_t[first : last + 1], timestep[first : last + 1])
                pairs = tuple(part[stimulus] for part in shared)
                given = {name: value[chosen[rows]] for name, value in conditions.items()}
                return self.adapter.network(pairs, given)[:, : x_t.shape[1]].float()

        return torch.cat(self._passes(some, len(chosen)))

    def _passes(self, run: Callable[[slice], Tensor], n: int) -> list[Tensor]:
        done, self.budget = in_passes(run, n, self.budget, self.name)
        return done

    def reconstruct(self, x0: Tensor, noise: Tensor, t: Tensor, classes: Tensor, conditions: Condition) -> Tensor:
        """x̂₀ for n noised stimuli under m classes each: n×m×c×h×w.

        x0, noise: n×c×h×w. t: n, in (0, 1). classes: n×m, rows of `conditions`.
        """
        n, m = classes.shape
        timestep, alpha, sigma = (v.to(x0.device) for v in self.levels(t.tolist()))
        alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
        x_t = alpha * x0 + sigma * noise
        prediction = self.predict(x_t, timestep, classes, conditions)
        repeated = [v.repeat_interleave(m, 0) for v in (x_t, alpha, sigma)]
        return self.denoised(repeated[0], prediction, repeated[1], repeated[2]).unflatten(0, (n, m))

    def errors(self, x0: Tensor, noise: Tensor, t: Tensor, classes: Tensor, conditions: Condition) -> Tensor:
        """Denoising errors ‖x̂₀ − x₀‖², n×m, summed in float64; arguments as in `reconstruct`. GenclsError where one is not finite."""
        off = self.reconstruct(x0, noise, t, classes, conditions) - x0[:, None]
        if off.device.type == "mps":  # which has no float64
            off = off.cpu()
        errors = off.double().square().flatten(2).sum(-1)
        if not errors.isfinite().all():
            raise GenclsError(
                f"{self.name} answers with NaN or infinity in {self.dtype}; take float32, or see to its weights"
            )
        return errors
