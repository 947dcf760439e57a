"""Noise as a pure function of (seed, stimulus, timestep, draw), and how much of it there is at t."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

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


def levels(t: Iterable[float], alphas_cumprod: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """t in (0, 1) → (the timestep nearest to t·N, α = √ᾱ, σ = √(1 − ᾱ)) of a schedule of N timesteps: x_t = α·x₀ + σ·ε."""
    share, steps = torch.tensor(list(t), dtype=torch.float64), len(alphas_cumprod)
    timestep = (share * steps).round().long().clamp(0, steps - 1)
    alpha_bar = alphas_cumprod.double()[timestep]
    return timestep, alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
