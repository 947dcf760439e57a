"""What the chapter `drivers` computes with weights: compact scores, errors by octave, features, generated images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive, quadrature
from gencls.likelihood.scoring import score
from gencls.models import zoo
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.diffusion import DiffusionModel
from gencls.models.discriminative import DiscriminativeModel, magnified
from gencls.models.noise import noise
from gencls.models.pixel import cosine_schedule
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import SHAPES

#: Octaves of spatial frequency, cycles an image: the lowest holds the mean, too, the highest the corners of the spectrum.
EDGES = (0.0, 2.0, 4.0, 8.0, 16.0, np.inf)
BANDS = ("below 2", "2 to 4", "4 to 8", "8 to 16", "16 and above")


def band_masks(side: int) -> np.ndarray:
    """Which coefficients of a side×side Fourier transform are in which octave: bands×side×side, 0 or 1, each in one."""
    f = np.fft.fftfreq(side, 1 / side)
    radius = np.hypot(f[:, None], f[None, :])
    return np.stack([(radius >= low) & (radius < high) for low, high in pairwise(EDGES)]).astype(np.float32)


def by_band(residual: Tensor) -> Tensor:
    """Squared error of each octave: residual …×c×s×s → …×bands. By Parseval their sum is the whole squared error."""
    power = torch.fft.fft2(residual, norm="ortho").abs().double().square().sum(-3)
    return torch.einsum("...hw,bhw->...b", power, torch.from_numpy(band_masks(residual.shape[-1])).double())


def octaves(model: str, stimuli: StimulusSet, plan: Exhaustive, prompt: str = cats.PROMPT, seed: int = 0) -> xr.Dataset:
    """Denoising errors split into octaves: `error`, stimulus × class × t × draw (one) × band; noise and t as in `score`."""
    values, t, log_snr = _split(model, stimuli, plan, cats.prompts(list(stimuli.categories), prompt), seed)
    return _labelled(values, stimuli, t, log_snr, band=list(BANDS))


def prompted(model: str, template: str, stimuli: StimulusSet, plan: Exhaustive, seed: int = 0) -> xr.Dataset:
    """Denoising errors under one template; where it says `a(n)`, the article agrees with the category."""
    agree = "a(n)" in template
    texts = cats.prompts(list(stimuli.categories), template.replace("a(n)", "a"), articles=agree)
    values, t, log_snr = _split(model, stimuli, plan, texts, seed)
    return _labelled(values.sum(-1), stimuli, t, log_snr)


def _split(
    model: str, stimuli: StimulusSet, plan: Exhaustive, prompts: Sequence[str], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors by octave, stimulus × class × t × 1 × band, with t and log-SNR."""
    opened = _diffusion(zoo.open_model(model))
    timestep, alpha, sigma = opened.levels(plan.t)
    t = timestep.double().numpy() / opened.steps
    conditions, m = opened.conditions(prompts), len(prompts)
    found = np.zeros((len(stimuli), m, len(t), 1, len(BANDS)), np.float32)
    for start in range(0, len(stimuli), 16):
        some = [stimuli[i] for i in range(start, min(start + 16, len(stimuli)))]
        x0, rows = opened.encode([s.image for s in some]), torch.arange(m).expand(len(some), m)
        for k in range(len(t)):
            draws = torch.stack([noise(seed, s.name, float(timestep[k]), 0, tuple(x0.shape[1:])) for s in some])
            level = torch.full((len(some),), float(t[k]), dtype=torch.float64)
            estimate = opened.reconstruct(x0, draws.to(x0.device), level, rows, conditions)
            found[start : start + len(some), :, k, 0] = by_band((estimate - x0[:, None]).cpu()).numpy()
    return found, t, (2 * (alpha.double() / sigma.double()).log()).numpy()


def driver_scores(folder: Path, model: str, plan: Exhaustive) -> xr.Dataset:
    """Scores of any model of this chapter from its folder, generative or not, on `drivers.stimuli`.

    It is asked as it was told in training, and shown stimuli that are low-passed if its photos were.
    """
    from gencls.analyses.drivers import stimuli
    from gencls.training.recipes import recipe
    from gencls.worlds import open_world

    trained = recipe(model)
    shown = stimuli(open_world("shapes", low_pass=getattr(trained.world, "low_pass", None)))
    return score(zoo.open_folder(folder, model), shown, prompt=trained.prompt, plan=plan, progress=False)


def _labelled(
    values: np.ndarray, stimuli: StimulusSet, t: np.ndarray, log_snr: np.ndarray, **more: list[str]
) -> xr.Dataset:
    columns = {c: ("stimulus", stimuli.table[c].to_numpy(str)) for c in ("category", "condition", "texture")}
    return xr.Dataset(
        {"error": (("stimulus", "class", "t", "draw", *more), values)},
        coords={
            "stimulus": stimuli.table["name"].to_numpy(str),
            "class": np.array(stimuli.categories, str),
            "t": t,
            "log_snr": ("t", log_snr),
            "quadrature": ("t", quadrature(t)),
        }
        | columns
        | more,
    )


def _diffusion(model: object) -> DiffusionModel:
    if not isinstance(model, DiffusionModel):
        raise GenclsError(f"{model} has no denoising errors to split; name a diffusion model")
    return model


# -- features ---------------------------------------------------------------------------------------------------------


def features(
    model: str, stimuli: StimulusSet, levels: Sequence[float], seed: int = 0
) -> Iterator[tuple[str, float, np.ndarray]]:
    """(layer, t, stimuli × places × channels) of a model that sees the stimuli at each noise level t of the cosine schedule.

    The layer `pixels` is what goes in. A diffusion model's blocks are read at every token, those behind the prompt under the
    mean of the categories' prompts; a ResNet's stages at every place of its map, averaged down to 4×4. Of an autoregressive model the
    layer `tokens` is what its decoder is fed for the image, without noise.
    """
    opened = zoo.open_model(model)
    if isinstance(opened, AutoregressiveModel):
        codes = opened.encode(list(stimuli.images()))
        yield "pixels", 0.0, stimuli.images().reshape(len(stimuli), -1, 3) / np.float32(127.5) - 1
        yield "tokens", 0.0, opened.adapter.embed(codes).numpy()
        return
    alphas = cosine_schedule().alphas_cumprod.double()
    images = torch.from_numpy(stimuli.images()).permute(0, 3, 1, 2).float() / 127.5 - 1
    for t in levels:
        step = int(min(max(round(t * len(alphas)), 0), len(alphas) - 1))
        draws = torch.stack([noise(seed, name, float(step), 0, (3, 32, 32)) for name in stimuli.table["name"]])
        alpha_bar = alphas[step] if t > 0 else torch.tensor(1.0)
        x_t = (alpha_bar.sqrt() * images + (1 - alpha_bar).sqrt() * draws).float()
        yield "pixels", t, x_t.flatten(2).transpose(1, 2).numpy()
        parts = [_layers(opened, x_t[i : i + 64], step) for i in range(0, len(x_t), 64)]
        for layer in parts[0]:
            yield layer, t, torch.cat([part[layer] for part in parts]).cpu().numpy()


@torch.no_grad()
def _layers(model: object, x_t: Tensor, step: int) -> dict[str, Tensor]:
    """Layer → n × places × channels."""
    found = {}
    if isinstance(model, DiscriminativeModel):
        x_t = x_t.to(next(model.network.parameters()).device)
        states = model.network(magnified(x_t, model.magnify), output_hidden_states=True).hidden_states
        for i, state in enumerate(states):
            found[f"stage {i}"] = torch.nn.functional.adaptive_avg_pool2d(state, 4).flatten(2).transpose(1, 2)
        return found
    net = _diffusion(model).adapter.net
    x_t = x_t.to(net.position.device)
    text = _diffusion(model).conditions(cats.prompts(SHAPES, cats.PROMPT))["text"].mean(0, keepdim=True)
    moment = net.time(_time(step, len(x_t), net.config.width).to(x_t.device))
    hidden = net.patch_in(x_t).flatten(2).transpose(1, 2) + net.position
    for i, block in enumerate([*net.trunk_blocks, *net.text_blocks]):
        hidden = block(hidden, moment if i < len(net.trunk_blocks) else moment + net.text(text))
        found[f"block {i + 1}"] = hidden
    return found


def _time(step: int, n: int, width: int) -> Tensor:
    from diffusers.models.embeddings import get_timestep_embedding

    return get_timestep_embedding(torch.full((n,), step), width, flip_sin_to_cos=True)


def read_out(
    model: str, train: StimulusSet, test: StimulusSet, levels: Sequence[float], seed: int = 0
) -> list[dict[str, object]]:
    """Accuracy of linear probes for both cues: `model, layer, t, reading, cue, value, n`.

    A layer is read `place by place` (what is where) and `averaged` over places (what there is, wherever it is). Shape and texture
    vary independently in both sets, which share no stimulus.
    """
    from gencls.analyses.probes import CUES, probe

    rows: list[dict[str, object]] = []
    pairs = zip(features(model, train, levels, seed), features(model, test, levels, seed), strict=True)
    for (layer, t, a), (_, _, b) in pairs:
        for reading, x, y in (
            ("place by place", a.reshape(len(a), -1), b.reshape(len(b), -1)),
            ("averaged", a.mean(1), b.mean(1)),
        ):
            said = probe(x, [train.table[cue].to_numpy(str) for cue in CUES], y)
            for cue, answer in zip(CUES, said, strict=True):
                right = answer == test.table[cue].to_numpy(str)
                row = {"model": model, "layer": layer, "t": t, "reading": reading, "cue": cue}
                rows.append(row | {"value": right.mean(), "n": len(right)})
    return rows


# -- the naive method -------------------------------------------------------------------------------------------------


def generate(model: str, each: int, steps: int, seed: int = 0, prompt: str = cats.PROMPT) -> np.ndarray:
    """`each` images of every category by `steps` denoising steps: categories × each × 32×32×3, in [0, 1].

    It costs categories × each × steps network evaluations, once for all stimuli.
    """
    pipeline = _diffusion(zoo.open_model(model)).pipeline
    prompts = [p for p in cats.prompts(SHAPES, prompt) for _ in range(each)]
    generator = torch.Generator().manual_seed(seed)
    images = pipeline(prompts, num_inference_steps=steps, generator=generator, output_type="np").images
    return np.stack(images).reshape(len(SHAPES), each, *np.shape(images[0]))
