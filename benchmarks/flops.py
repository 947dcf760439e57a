"""What the paper's questions cost with real models: `python benchmarks/flops.py` writes benchmarks/flops.csv and full_scale.csv.

The networks are built from their published configurations on the meta device, without weights or memory, and one
evaluation (one image, one class, one timestep) is counted by torch's FlopCounterMode (matrix products, convolutions and
attention; a multiplication and an addition are 2). Hours are that count × evaluations ÷ what the card is *assumed* to
achieve; nothing here was timed.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

import gencls

HERE = Path(__file__).parent
#: The dense bf16 peak of an H100 SXM (NVIDIA's data sheet), and the share of it that we assume a U-Net achieves.
PEAK, SHARE = 989e12, 0.35
#: Stimuli × classes × timesteps × draws of a chapter's run for the world `full`, exhaustive.
TIMESTEPS, CLASSES = 16, 16
#: Parameters in millions as the repositories' cards or papers state them. IF's configuration is put together from the
#: classes that its pipeline uses and could not be compared with the file: the count is near its card's, not equal.
CARDS = {
    "stabilityai/stable-diffusion-2-1": 866,
    "stabilityai/stable-diffusion-xl-base-1.0": 2600,
    "DeepFloyd/IF-I-M-v1.0": 400,
}
#: unet/config.json of each repository: only what differs from diffusers' defaults.
CONFIGS: dict[str, dict[str, Any]] = {
    "stabilityai/stable-diffusion-2-1": {
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "stabilityai/stable-diffusion-xl-base-1.0": {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "use_linear_projection": True,
    },
    "DeepFloyd/IF-I-M-v1.0": {
        "sample_size": 64,
        "in_channels": 3,
        "out_channels": 6,
        "block_out_channels": (192, 384, 576, 768),
        "down_block_types": ("ResnetDownsampleBlock2D", *3 * ("SimpleCrossAttnDownBlock2D",)),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": (*3 * ("SimpleCrossAttnUpBlock2D",), "ResnetUpsampleBlock2D"),
        "layers_per_block": 3,
        "act_fn": "gelu",
        "attention_head_dim": 64,
        "cross_attention_dim": 768,
        "cross_attention_norm": "group_norm",
        "encoder_hid_dim": 4096,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 64,
        "only_cross_attention": False,
        "resnet_time_scale_shift": "scale_shift",
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 1.4142135623730951,
    },
}


def count(name: str) -> dict[str, Any]:
    """Parameters (millions) and FLOPs (10¹²) of one evaluation of a network, batch 1, 77 text tokens."""
    config = CONFIGS[name]
    size, channels = config["sample_size"], config.get("in_channels", 4)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        network = UNet2DConditionModel(**config)
        text = torch.zeros(1, 77, config.get("encoder_hid_dim", config["cross_attention_dim"]))
        added = {"text_embeds": torch.zeros(1, 1280), "time_ids": torch.zeros(1, 6)}
        network(torch.zeros(1, channels, size, size), torch.zeros(1), text, added_cond_kwargs=added)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "network": name,
        "input": f"{channels}×{size}×{size}",
        "parameters, counted (M)": round(parameters / 1e6, 1),
        "parameters, its card (M)": CARDS[name],
        "FLOPs an evaluation, counted (10¹²)": round(counted.get_total_flops() / 1e12, 3),
    }


def stimuli() -> dict[str, int]:
    """What each chapter of the world `full` scores: the stimuli of its sets, counted from the table of people's trials."""
    table = pd.read_csv(Path(gencls.__file__).parent / "data" / "human_accuracy.csv")
    sets = table.groupby(["set", "condition"])["n"].max().groupby("set").sum()
    return {"shape_bias": int(sets["cue-conflict"]), "ood, error_consistency": int(sets.sum())}


def write(name: str, rows: list[dict[str, Any]]) -> None:
    with (HERE / name).open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    counted = [count(name) for name in CONFIGS]
    write("flops.csv", counted)
    rows = []
    for chapter, n in stimuli().items():
        evaluations = n * CLASSES * TIMESTEPS
        hours = {
            f"{row['network'].partition('/')[2]}, assumed speed (h)": round(
                evaluations * row["FLOPs an evaluation, counted (10¹²)"] * 1e12 / (PEAK * SHARE) / 3600, 1
            )
            for row in counted
        }
        rows.append({"chapter": chapter, "stimuli": n, "evaluations": evaluations} | hours)
    write("full_scale.csv", rows)


if __name__ == "__main__":
    main()
