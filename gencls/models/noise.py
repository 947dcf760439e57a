"""Noise as a pure function of (seed, stimulus, timestep, draw)."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def noise(seed: int, stimulus: str, timestep: float, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise for one stimulus at one timestep, float32, shared by all classes.

    It comes from the counter-based Philox generator on the CPU, keyed by the four arguments alone: the answer depends
    neither on the order, the batch, the worker nor an interruption.
    """
    key = hashlib.blake2b(f"{seed}|{stimulus}|{timestep:.6f}|{draw}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64)))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
