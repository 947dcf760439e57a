"""As many rows at a time as the device has memory for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from gencls.errors import GenclsError

T = TypeVar("T")
#: What a RuntimeError says where memory ran out: CUDA outside its allocator, MPS, a CPU under Linux or macOS, a CPU under Windows.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the device has no memory left."""
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    return told or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def in_passes(run: Callable[[slice], T], n: int, most: int, name: str) -> tuple[list[T], int]:
    """`run` over the rows 0 … n, at most `most` at a time; where memory runs out half as many, and on from there.

    Returns what the passes gave, in order, and how many rows a pass may have from now on. Raises GenclsError, with the model's
    `name`, where a single row does not fit.
    """
    done: list[T] = []
    start = 0
    while start < n:
        rows = min(most, n - start)
        try:
            done.append(run(slice(start, start + rows)))
            start += rows
            continue
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        # Outside the handler, so that the failed pass lets go of its tensors.
        if rows == 1:
            raise GenclsError(
                f"{name}: this device's memory is too small for a single pass of its network; try --offload (pipelines), a smaller "
                "model, or another --device"
            )
        most = rows // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return done, most
