"""How the small models of the chapter `drivers` are trained: one thing is varied at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gencls.models.noised import UNetClassifier
from gencls.models.pixel import PatchClassifier, PixelPipeline
from gencls.stimuli.shapes import SHAPES
from gencls.training.data import Labelled, Pool
from gencls.training.loop import Run, beside, compiled, fit, stratified
from gencls.training.pixel import scheduler

#: SNR grows without bound as t goes to 0; in the loss it stops here (under the cosine schedule, below t = 0.06).
MOST = 100.0
LEARNING_RATE = 2e-3
#: Weight of ‖x̂₀ − x₀‖² in the loss, from t in (0, 1) and ᾱ. `eps`: SNR·‖x̂₀ − x₀‖² = ‖ε̂ − ε‖².
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x0": lambda t, alpha_bar: torch.ones_like(t),
    "eps": lambda t, alpha_bar: (alpha_bar / (1 - alpha_bar)).clamp(max=MOST),
    "exp": lambda t, alpha_bar: torch.exp(-7 * t),
}


def weights(loss: str, alphas_cumprod: Tensor) -> Tensor:
    """The loss's weight at each timestep, scaled to the mean 1."""
    t = (torch.arange(len(alphas_cumprod)) + 0.5) / len(alphas_cumprod)
    found = LOSSES[loss](t, alphas_cumprod.float())
    return found / found.mean()


def _noised(
    photos: Labelled, batch: int, alphas: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x₀, labels, timesteps (`stratified`) and x_t."""
    images, labels = photos.batch(batch, generator)
    x0 = images * 2 - 1
    timestep = stratified(batch, len(alphas), generator)
    alpha_bar = alphas[timestep][:, None, None, None]
    return (
        x0,
        labels,
        timestep,
        alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * torch.randn(x0.shape, generator=generator),
    )


def train_generator(
    pipe: PixelPipeline,
    photos: Pool,
    run: Run,
    *,
    loss: str,
    sentences: bool = False,
) -> float:
    """Train text encoder and network to predict x₀ under one of `LOSSES`; returns seconds.

    Captions are the bare category or, with `sentences`, the varied ones of `shapes/pixel`.
    """
    alphas = pipe.scheduler.alphas_cumprod
    model = nn.ModuleDict({"transformer": pipe.transformer, "text_encoder": pipe.text_encoder})
    weight = weights(loss, alphas)

    def value(step: int) -> Tensor:
        generator = run.generator(step)
        x0, labels, timestep, x_t = _noised(photos, run.batch, alphas, generator)
        said = photos.captions(labels, generator) if sentences else [SHAPES[int(k)] for k in labels]
        x0, x_t, timestep, counts = beside(model, x0, x_t, timestep, weight[timestep])
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slow on 16 tokens
            prediction = pipe.transformer(x_t, timestep, pipe.encode_prompt(said))
        return (counts * (prediction.float() - x0).square().mean((1, 2, 3))).mean()

    return fit(model, value, run, learning_rate=LEARNING_RATE)


def classifier(
    seed: int,
    width: int,
    patch_size: int = 8,
    side: int = 32,
    depth: int = 4,
    labels: Sequence[str] = SHAPES,
    activation: str = "gelu",
) -> PatchClassifier:
    """The untrained noise-conditional classifier, its weights a function of the seed."""
    torch.manual_seed(seed)
    return PatchClassifier(
        sample_size=side,
        patch_size=patch_size,
        width=width,
        heads=width // 64,
        depth=depth,
        classes=len(labels),
        labels=list(labels),
        activation=activation,
    )


def latent_classifier(seed: int, unet: Mapping[str, Any], labels: Sequence[str]) -> UNetClassifier:
    """The untrained classifier of noised latents, its weights a function of the seed. `unet`: the configuration of the generator's U-Net."""
    torch.manual_seed(seed)
    network = UNetClassifier(
        {k: v for k, v in unet.items() if k != "_name_or_path"}, list(labels)
    )  # no path of this machine
    for part in network.modules():
        if isinstance(part, Attention):
            part.set_processor(AttnProcessor())  # the fused kernel's backward pass is slow on 64 tokens
    return network.to(memory_format=torch.channels_last)


def train_classifier(
    network: PatchClassifier | UNetClassifier,
    photos: Labelled,
    run: Run,
    *,
    alphas: Tensor | None = None,
    rate: float = LEARNING_RATE,
    fast: bool = False,
) -> float:
    """Train on the classes of the very photos or latents, timesteps and noise of a generator, by cross-entropy.

    `alphas`: ᾱ of its timesteps, those of the cosine schedule by default. `rate`: the highest learning rate.
    """
    alphas = scheduler("cosine").alphas_cumprod if alphas is None else alphas
    forward = compiled(network) if fast else network

    def value(step: int) -> Tensor:
        generator = run.generator(step)
        _, labels, timestep, x_t = _noised(photos, run.batch, alphas, generator)
        x_t, timestep, labels = beside(network, x_t, timestep, labels)
        with sdpa_kernel(SDPBackend.MATH):
            return F.cross_entropy(forward(x_t, timestep), labels)

    return fit(network, value, run, learning_rate=rate)
