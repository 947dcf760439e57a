"""What a run will take, said before it is begun."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.models import hub, zoo

_ELSEWHERE = "not known before the model is on this machine"
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
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length) if length < path.stat().st_size else "")
        except ValueError as error:
            raise GenclsError(f"{path} is no safetensors file (a pointer of git-lfs?); fetch it again") from error
        found += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return found


def told(
    model: str,
    stimuli: int,
    classes: Sequence[str] | None = None,
    prompt: str = cats.PROMPT,
    plan: Exhaustive | None = None,
    **opening: Any,
) -> dict[str, str]:
    """What a run of this model takes, in words; of a model that is not here, what can be said without it.

    Of a model of the hub that is not here, configurations are fetched and no weights; those of a pipeline are enough to count it.
    `classes`: by default the model's own, of which 16 are counted where they are not known. `opening`: of `gencls.models.zoo.open_model`.
    """
    plan = plan or Exhaustive()
    if classes is not None:
        cats.distinct(classes)
    folder = zoo.folder_of(model)
    if folder is None and not model.startswith(("hf:", "pypi:")):
        raise GenclsError(
            f"no model {model!r} is here; `gencls models` lists the known ones, or name a folder or hf:REPO"
        )
    count, unknown = parameters(folder) if folder else 0, _ELSEWHERE
    if folder is None and model.startswith("hf:") and find_spec("huggingface_hub"):
        try:
            folder = hub.configurations(model)
        except hub.Unreachable as error:
            unknown = f"not known: {error}"
    kind = zoo.kind(folder) if folder else "diffusion" if model.startswith("hf:") else "discriminative"
    among = len(classes or cats.CATEGORIES)
    weights = f"{count:,} numbers, {_size(4 * count)} in float32" if count else "not here as safetensors"
    how = "" if folder or not model.startswith("hf:") else " if it is a diffusion model"
    n = evaluations(kind, plan, stimuli, among)
    return {
        "network evaluations": f"{n}{how}",
        "weights": weights,
        **_spent(model, folder, n, count, stimuli, classes, prompt, opening, unknown),
        "scores": f"about {_size(record_bytes(kind, plan, stimuli, among))}",
    }


def _spent(
    model: str,
    folder: Path | None,
    n: int,
    count: int,
    stimuli: int,
    classes: Sequence[str] | None,
    prompt: str,
    opening: dict[str, Any],
    unknown: str,
) -> dict[str, str]:
    """Operations, memory and time of `n` evaluations of a model with `count` numbers, in words; `unknown` where nothing of it is here."""
    names, here = ("network", "memory", "time"), zoo.is_here(model)
    pipeline = folder is not None and zoo.kind(folder) == "diffusion"
    if not (here or pipeline):
        return dict.fromkeys(names, unknown)
    if not find_spec("torch"):
        return dict.fromkeys(names, "not known without torch: pip install 'gencls[models]'")
    from gencls.likelihood import costs

    cost = costs.of(model, stimuli, classes, prompt, count, folder, **opening)
    if cost is None:
        return dict.fromkeys(names, "not known: the model does not fit into the memory that is free")
    time = f"not known: the network does not fit into the memory that is free on {cost.device}"
    if cost.seconds:
        time = f"about {_duration(n * cost.seconds)} on {cost.device} ({1 / cost.seconds:.3g} evaluations a second in a short probe"
        time += "; once a stimulus an autoencoder and once a class the text encoders come on top)" if pipeline else ")"
    counted = f"{cost.weights // 4:,} numbers, {_size(cost.weights)} in float32, counted: only configurations and tokenizers were fetched"
    return ({} if here else {"weights": counted}) | {
        "network": f"{cost.parameters:,} parameters, {cost.flops:.3g} operations an evaluation, both counted",
        "memory": f"{_size(cost.weights)} of weights and about {_size(cost.activations)} of tensors alive at once in a pass of {cost.rows}; "
        "where that is too much, fewer are passed at a time",
        "time": time,
    }


def _size(n: float) -> str:
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s"
