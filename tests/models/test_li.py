"""Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier", written down a second time: slowly and obviously.

One picture, one prompt, one timestep and one noise draw a network call; nothing of gencls but the noise itself. gencls keeps
x₀-errors of batches: weighted by the SNR they must be these ε-errors, and decide the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from gencls.likelihood.plans import Exhaustive, Staged
from gencls.likelihood.scoring import score
from gencls.likelihood.weightings import answers
from gencls.models import tiny
from gencls.models.diffusion import DiffusionModel
from gencls.models.noise import noise
from gencls.stimuli.sets import StimulusSet

CLASSES = ["cat", "dog", "car", "airplane", "bear", "clock"]
PROMPTS = [f"A bad photo of a {c}" for c in CLASSES]
NAMES = ["wide", "tall", "square"]
SHAPES = [(40, 60), (50, 34), (32, 32)]


@functools.cache
def _pipeline(family: str) -> StableDiffusionPipeline:
    return tiny.build(family)


def _pictures() -> list[np.ndarray]:
    """Coarse blobs of colour, so that a small network sees something."""
    generator = np.random.default_rng(3)
    coarse = [generator.integers(0, 256, (4, 4, 3), np.uint8) for _ in SHAPES]
    return [np.asarray(Image.fromarray(c).resize((w, h))) for c, (h, w) in zip(coarse, SHAPES, strict=True)]


def _latent(pipe: StableDiffusionPipeline, picture: np.ndarray) -> torch.Tensor:
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling.BICUBIC)
    pixels = pipe.image_processor.preprocess(square)
    with torch.no_grad():
        return pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor


def _epsilon_error(
    pipe: StableDiffusionPipeline, latent: torch.Tensor, epsilon: torch.Tensor, timestep: int, prompt: str
) -> float:
    """‖ε − ε_θ(x_t, t, prompt)‖² by one call of the network (their equation 7)."""
    t = torch.tensor([timestep])
    noised = pipe.scheduler.add_noise(latent, epsilon, t)
    words = pipe.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        out = pipe.unet(noised, t, encoder_hidden_states=pipe.text_encoder(words.input_ids)[0]).sample
    if pipe.scheduler.config.prediction_type == "v_prediction":
        bar = pipe.scheduler.alphas_cumprod[timestep]
        out = bar.sqrt() * out + (1 - bar).sqrt() * noised
    return float((epsilon - out).double().square().sum())


def _li(
    pipe: StableDiffusionPipeline, picture: np.ndarray, name: str, timesteps: int, draws: int, keep: Sequence[int] = ()
) -> tuple[dict[tuple[str, int, int], float], str]:
    """Their algorithms 1 and 2: {(class, timestep, draw): ε-error} and the class with the lowest mean error.

    The timesteps are evenly spaced; every class sees the same noise. With `keep`, stage i of len(keep) + 1 spends every
    (len(keep) + 1)-th timestep, and only the keep[i] classes with the lowest mean error so far go on after it.
    """
    latent = _latent(pipe, picture)
    even = [round(1000 * (i + 0.5) / timesteps) for i in range(timesteps)]
    stages = len(keep) + 1
    remaining, errors = list(CLASSES), {}
    for stage in range(stages):
        for timestep in even[stage::stages]:
            for draw in range(draws):
                epsilon = noise(0, name, float(timestep), draw, tuple(latent.shape[1:]))[None]
                for c in remaining:
                    prompt = PROMPTS[CLASSES.index(c)]
                    errors[c, timestep, draw] = _epsilon_error(pipe, latent, epsilon, timestep, prompt)
        means = {c: np.mean([e for (k, _, _), e in errors.items() if k == c]) for c in remaining}
        remaining.sort(key=lambda c: means[c])
        if stage < len(keep):
            remaining = remaining[: keep[stage]]
    return errors, remaining[0]


@pytest.mark.parametrize("family", ["sd", "sd2"])
@pytest.mark.parametrize(
    "plan",
    [Exhaustive(timesteps=4, draws=2), Staged(timesteps=6, keep=(3, 2), weighting="snr")],
    ids=["exhaustive", "staged"],
)
def test_errors_and_decisions_are_those_of_li_et_al(family: str, plan: Exhaustive) -> None:
    pictures, pipe = _pictures(), _pipeline(family)
    table = pd.DataFrame({"name": NAMES, "category": "", "condition": "", "texture": ""})
    stimuli = StimulusSet("three", table, lambda i: pictures[i], CLASSES)
    scores = score(DiffusionModel(pipe, "tiny", budget=7), stimuli, plan=plan, progress=False)
    ours = scores["error"] * np.exp(scores["log_snr"])
    decided = answers(scores, "snr")
    keep = plan.keep if isinstance(plan, Staged) else ()
    for i, name in enumerate(NAMES):
        errors, answer = _li(pipe, pictures[i], name, plan.timesteps, plan.draws, keep)
        expected = np.full((len(CLASSES), plan.timesteps, plan.draws), np.nan)
        even = sorted({timestep for _, timestep, _ in errors})
        for (c, timestep, draw), error in errors.items():
            expected[CLASSES.index(c), even.index(timestep), draw] = error
        assert scores["timestep"].values.tolist() == even
        np.testing.assert_allclose(ours.isel(stimulus=i).transpose("class", "t", "draw"), expected, rtol=2e-4)
        assert decided[i] == answer
    assert np.isnan(ours).any() == bool(keep)


@pytest.mark.parametrize("family", ["sd", "sd2"])
def test_the_classes_differ_by_more_than_rounding(family: str) -> None:
    """Or the same decisions would say little."""
    errors, _ = _li(_pipeline(family), _pictures()[0], NAMES[0], 2, 1)
    first = [e for (_, timestep, _), e in errors.items() if timestep == 250]
    assert len(set(first)) == len(CLASSES)
    assert min(np.diff(np.sort(first))) > 1e-5 * max(first)
