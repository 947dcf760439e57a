"""What a run will take, said before any weights are loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.models import hub, zoo

#: Labels and metadata of a record, whatever its size.
_RECORD = 20_000


def evaluations(kind: str, plan: Exhaustive, stimuli: int, classes: int) -> int:
    """Rows that the network is asked for: of a diffusion model one a stimulus, class, timestep and draw that the plan spends.

    An autoregressive model needs one a stimulus and class, a classifier one a stimulus, one of noised images one a timestep and draw, too. A timestep without noise or image, which
    some schedules have at their end, is left out by the run and counted here.
    """
    if kind == "diffusion":
        alive, a_stimulus = classes, 0
        for rows, keep in plan.stages:
            a_stimulus += len(rows) * plan.draws * alive
            alive = min(alive, keep or alive)
        return stimuli * a_stimulus
    if kind == "noised":
        return stimuli * plan.timesteps * plan.draws
    return stimuli * classes if kind == "autoregressive" else stimuli


def record_bytes(kind: str, plan: Exhaustive, stimuli: int, classes: int) -> int:
    """About how large the record of these scores is, uncompressed; for an autoregressive model without its tokens, at least."""
    cells = plan.timesteps * plan.draws if kind in ("diffusion", "noised") else 1
    return _RECORD + 4 * stimuli * classes * cells + 100 * stimuli


def parameters(folder: Path) -> int:
    """Numbers in the weights of a folder, from the headers of its safetensors files; parts that scoring never asks are left out."""
    found = 0
    for path in folder.rglob("*.safetensors"):
        if path.parent.name in hub.UNUSED or ".fp16." in path.name:
            continue
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return found


def told(model: str, stimuli: int, classes: int, plan: Exhaustive | None = None) -> dict[str, str]:
    """What a run of this model takes, in words; weights that are not here are not counted."""
    plan = plan or Exhaustive()
    folder = zoo.folder_of(model)
    if folder is None and not model.startswith(("hf:", "pypi:")):
        raise GenclsError(
            f"no model {model!r} is here; `gencls models` lists the known ones, or name a folder or hf:REPO"
        )
    kind = zoo.kind(folder) if folder else "diffusion" if model.startswith("hf:") else "discriminative"
    count = parameters(folder) if folder else 0
    weights = f"{count:,} numbers, {4 * count / 1e9:.3g} GB in float32" if count else "not here as safetensors"
    how = "" if folder or not model.startswith("hf:") else " if it is a diffusion model"
    return {
        "network evaluations": f"{evaluations(kind, plan, stimuli, classes)}{how}",
        "weights": weights,
        "scores": f"about {record_bytes(kind, plan, stimuli, classes) / 1e6:.3g} MB",
    }
