"""Network evaluations a second: `python benchmarks/throughput.py` writes benchmarks/throughput.csv.

The whole of scoring is timed (noise, network, errors) and, by hooks, the network alone. On a GPU the networks of `benchmarks/flops.py` are
built from their configurations with random weights and run in bfloat16; without one (or with --tiny) the same code runs gencls's tiny
pipelines of the same classes in float32, which says that it works and nothing about a real model. FLOPs are counted by torch.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from flops import CONFIGS, PEAK, write
from torch.utils.flop_counter import FlopCounterMode

from gencls.categories import CATEGORIES, prompts
from gencls.models import tiny
from gencls.models.diffusion import DiffusionModel

#: Each real network, the tiny pipeline of its class, and the widths of what its text encoders give.
FAMILIES = {
    "stabilityai/stable-diffusion-2-1": ("sd2", {}),
    "stabilityai/stable-diffusion-xl-base-1.0": ("sdxl", {"text_embeds": 1280}),
    "DeepFloyd/IF-I-M-v1.0": ("deepfloyd", {}),
}
SECONDS = 10.0


def opened(name: str, real: bool, device: str) -> tuple[DiffusionModel, dict[str, torch.Tensor], tuple[int, ...]]:
    """The model, embeddings of the 16 prompts, and the shape of what is noised."""
    family, widths = FAMILIES[name]
    pipeline = tiny.build(family)
    config = pipeline.unet.config
    if not real:
        model = DiffusionModel(pipeline, family)
        return (
            model,
            model.conditions(prompts(CATEGORIES)),
            (config.in_channels, config.sample_size, config.sample_size),
        )
    given = CONFIGS[name]
    made: dict[str, Any] = DiffusionModel(pipeline, name).conditions(prompts(CATEGORIES))
    with torch.device(device):
        pipeline.unet = UNet2DConditionModel(**given)  # its products are in bfloat16, as `--dtype bfloat16` has it
    model = DiffusionModel(pipeline, name, dtype="bfloat16")
    text = given.get("encoder_hid_dim", given["cross_attention_dim"])
    for key, value in made.items():
        if value.is_floating_point() and value.ndim == 3:
            made[key] = torch.randn(len(CATEGORIES), 77, text)
        elif key in widths:
            made[key] = torch.randn(len(CATEGORIES), widths[key])
        made[key] = made[key].to(device)
    return model, made, (given.get("in_channels", 4), given["sample_size"], given["sample_size"])


def measure(name: str, real: bool, device: str, stimuli: int = 4) -> dict[str, Any]:
    """Evaluations a second over at least ten seconds, after two calls that are not counted."""
    model, conditions, shape = opened(name, real, device)
    x0, noise = torch.randn(2, stimuli, *shape, device=device)
    t = torch.linspace(0.1, 0.9, stimuli, dtype=torch.float64)
    classes = torch.arange(len(CATEGORIES), device=device).expand(stimuli, -1)
    inside = [0.0, 0.0]

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(*_: Any) -> None:
        inside[1] = now()

    def end(*_: Any) -> None:
        inside[0] += now() - inside[1]

    model.pipeline.unet.register_forward_pre_hook(begin)
    model.pipeline.unet.register_forward_hook(end)
    with FlopCounterMode(display=False) as counted:
        model.errors(x0, noise, t, classes, conditions)
    model.errors(x0, noise, t, classes, conditions)
    inside[0], start, calls = 0.0, now(), 0
    while now() - start < SECONDS:
        model.errors(x0, noise, t, classes, conditions)
        calls += 1
    wall, evaluations = now() - start, calls * classes.numel()
    achieved = counted.get_total_flops() * calls / wall
    return {
        "network": name if real else f"tiny {name.partition('/')[2]}",
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "number type": model.dtype,
        "evaluations a second": round(evaluations / wall, 1),
        "share of the time in the network": round(inside[0] / wall, 3),
        "FLOP/s achieved (10¹²)": round(achieved / 1e12, 4),
        "of the card's peak": round(achieved / PEAK, 3) if "H100" in _card(device) else "",
    }


def _card(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else ""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tiny", action="store_true", help="the tiny pipelines, even where there is a GPU")
    real = torch.cuda.is_available() and not options.parse_args().tiny
    device = "cuda" if real else "cpu"
    rows = [measure(name, real, device) for name in FAMILIES]
    for row in rows:
        print(row)
    write(str(Path(__file__).with_name("throughput.csv")), rows)


if __name__ == "__main__":
    main()
