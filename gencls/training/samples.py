"""Sample sheets: what a text-to-image model draws, as one picture to look at while it learns."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

#: Of a sampler, and images a prompt: enough to see what is there.
STEPS, COLUMNS = 25, 2
#: An image is magnified, each pixel alike, to about so many pixels a side.
_SIDE, _MARGIN = 128, 8


def sheet(pipeline: Any, prompts: Sequence[str], seed: int = 0, columns: int = COLUMNS) -> Image.Image:
    """A row a prompt, named at its left; arguments as in `draw`."""
    return _laid_out(draw(pipeline, prompts, seed, columns), prompts)


def draw(pipeline: Any, prompts: Sequence[str], seed: int = 0, columns: int = COLUMNS) -> np.ndarray:
    """prompts×columns×s×s×3 in [0, 1]; without guidance, as the model is scored.

    `pipeline` is one that diffusers opens, or is called as they are; in the middle of a training it may be, and is left as it was. The
    noise is a function of the seed, the row and the column.
    """
    options: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "np"}
    if "guidance_scale" in inspect.signature(type(pipeline).__call__).parameters:
        options["guidance_scale"] = 1.0
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    learning = [part.training for part in parts]
    pipeline.set_progress_bar_config(disable=True)
    try:
        for part in parts:
            part.eval()
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # compiling for another batch takes longer
            drawn = [
                pipeline(list(prompts), generator=torch.Generator().manual_seed(seed + column), **options).images
                for column in range(columns)
            ]
    finally:
        for part, was in zip(parts, learning, strict=True):
            part.train(was)
    return np.stack(drawn, 1)


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
