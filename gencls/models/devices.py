"""Where a model runs: an accelerator where there is one, else the processor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from gencls.errors import GenclsError
from gencls.models.memory import ran_out


def devices() -> list[str]:
    """What is there, the fastest first: `cuda`, `mps`, `cpu`."""
    found = ["cuda"] if torch.cuda.is_available() else []
    return [*found, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose(wanted: str = "auto") -> torch.device:
    """The device of this name (`cpu`, `cuda`, `cuda:1`, `mps`), or the fastest that is there for `auto`."""
    here = devices()
    kind, _, number = (here[0] if wanted == "auto" else wanted).partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in here or (number and not (number.isdecimal() and int(number) < count)):
        raise GenclsError(
            f"no device {wanted!r} on this machine; there are {', '.join(here)}; or leave the choice to auto"
        )
    if kind == "cuda":  # float32 is the reference: convolutions in it would have 10 bits after the point by default
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(f"{kind}:{number}" if number else kind)


def place(part: Any, device: torch.device, name: str, offload: bool = False) -> Any:
    """A pipeline or network moved to its device.

    `offload`: a pipeline's parts stay in the processor's memory and visit the device one at a time, by diffusers' own
    `enable_model_cpu_offload`; for models larger than the card.
    """
    try:
        if not offload:
            return part.to(device)
        if device.type == "cpu" or getattr(part, "model_cpu_offload_seq", None) is None:
            why = (
                "needs a card to offload from"
                if device.type == "cpu"
                else "cannot be offloaded, only a pipeline of several parts can"
            )
            raise GenclsError(f"{name}: on {device} it {why}; leave --offload out")
        part.enable_model_cpu_offload(device=device)
        return part
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise GenclsError(
            f"{name} does not fit into the memory of {device}; try --offload (pipelines), a smaller model, or --device cpu"
        ) from error


def compiles(device: torch.device, name: str) -> bool:
    """Whether torch.compile works here, tried on two numbers; where it does not, one sentence says that the model runs as it is."""
    try:
        trial: Callable[[torch.Tensor], torch.Tensor] = torch.compile(lambda x: x.sin() + 1, dynamic=False)
        trial(torch.ones(2, device=device))
    except Exception as error:  # a compiler that is missing or broken says so in many ways
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        logging.getLogger("gencls").warning(
            f"gencls: {name} is not compiled, because torch.compile does not work on {device} ({why}); it runs as it is"
        )
        return False
    torch._dynamo.config.suppress_errors = True  # a part that cannot be compiled runs as it is
    return True
