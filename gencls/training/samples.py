"""Sample sheets: what a text-to-image model draws, as one picture to look at while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from gencls.errors import GenclsError
from gencls.models.pixel import PixelPipeline
from gencls.training.autoregressive import Janus

#: Of a sampler, and images a prompt: enough to see what is there.
STEPS, COLUMNS = 25, 2
#: The guidance scale of the guided pictures; at 1 they are the model's own.
GUIDANCE = 4.0
#: An image is magnified, each pixel alike, to about so many pixels a side.
_SIDE, _MARGIN = 128, 8


def sheet(model: Any, prompts: Sequence[str], seed: int = 0, columns: int = COLUMNS) -> Image.Image:
    """A row a prompt, named at its left: `columns` pictures as the model is scored, then as many from the same noise, guided."""
    both = [draw(model, prompts, seed, columns, guidance) for guidance in (1.0, GUIDANCE)]
    return _laid_out(np.concatenate(both, 1), prompts)


def draw(
    model: Any, prompts: Sequence[str], seed: int = 0, columns: int = COLUMNS, guidance: float = 1.0
) -> np.ndarray:
    """prompts×columns×s×s×3 in [0, 1]; without guidance by default, as the model is scored.

    `model` is a pipeline that diffusers opens, or is called as they are, or a `gencls.training.autoregressive.Janus`; in the middle of a training it
    may be, and is left as it was. What is drawn is a function of the seed, the row and the column. `guidance`: a pipeline of diffusers' own goes
    away from the empty prompt, the others from all the prompts together; GenclsError below 1, which would be no guidance under another name.
    """
    if guidance < 1:
        raise GenclsError(f"guidance is {guidance:g}; give 1, for none, or more")
    written = isinstance(model, Janus)
    parts = [model.network] if written else [part for part in model.components.values() if isinstance(part, nn.Module)]
    learning = [part.training for part in parts]
    try:
        for part in parts:
            part.eval()
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # compiling for another batch takes longer
            each = [torch.Generator().manual_seed(seed + column) for column in range(columns)]
            drawn = [
                model.draw(prompts, g, guidance) if written else _denoised(model, prompts, g, guidance) for g in each
            ]
    finally:
        for part, was in zip(parts, learning, strict=True):
            part.train(was)
    return np.stack(drawn, 1)


def _denoised(pipeline: Any, prompts: Sequence[str], generator: torch.Generator, guidance: float) -> np.ndarray:
    """A picture a prompt, n×s×s×3 in [0, 1]."""
    options: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "np", "guidance_scale": guidance}
    if isinstance(pipeline, PixelPipeline):
        options["negative_prompt"] = list(prompts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(list(prompts), generator=generator, **options).images


def _laid_out(images: np.ndarray, names: Sequence[str]) -> Image.Image:
    """images rows×columns×s×s×3 in [0, 1], a name a row."""
    rows, columns, side = images.shape[:3]
    scale = max(1, round(_SIDE / side))
    font = ImageFont.load_default(16)
    left = 2 * _MARGIN + max(round(font.getlength(name)) for name in names)
    step = side * scale + _MARGIN
    page = Image.new("RGB", (left + columns * step, _MARGIN + rows * step), "white")
    pen = ImageDraw.Draw(page)
    for i, name in enumerate(names):
        top = _MARGIN + i * step
        pen.text((_MARGIN, top + step // 2), name, "black", font, anchor="lm")
        for k in range(columns):
            pixels = np.rint(images[i, k] * 255).astype(np.uint8)
            page.paste(
                Image.fromarray(pixels).resize((side * scale,) * 2, Image.Resampling.NEAREST), (left + k * step, top)
            )
    return page
