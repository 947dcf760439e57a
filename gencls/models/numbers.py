"""Number types, chosen by a short probe and never by the processor's name."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from gencls.errors import GenclsError

#: Of a network's matrix products; noise, errors and sums stay float32 and wider.
DTYPES = ("float32", "bfloat16", "float16")


def _seconds(dtype: torch.dtype, device: str = "cpu") -> float:
    side = 512 if device == "cpu" else 4096
    a = torch.ones(side, side, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        float((a @ a)[0, 0])  # waits for an accelerator
        best = min(best, time.perf_counter() - start)
        if best > 0.25:  # a processor without bf16 units needs seconds: one look is enough
            break
    return best


@lru_cache(maxsize=4)
def training_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where a matrix product is at least 1.5 times as fast in it as in float32, else float32."""
    fast = 1.5 * _seconds(torch.bfloat16, device) < _seconds(torch.float32, device)
    return torch.bfloat16 if fast else torch.float32


def check(wanted: str, name: str) -> None:
    """Raise GenclsError with the model's `name` for a number type that there is not."""
    if wanted not in (*DTYPES, "auto"):
        raise GenclsError(f"{name}: number type {wanted!r} is not {', '.join(DTYPES[:-1])}, {DTYPES[-1]} or auto")


def choose(wanted: str, device: str, name: str) -> str:
    """A number type by its name, or for `auto` the one that a probe of the device finds fast; GenclsError as of `check`."""
    check(wanted, name)
    return str(training_dtype(device)).removeprefix("torch.") if wanted == "auto" else wanted
