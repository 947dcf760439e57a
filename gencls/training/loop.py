"""The one training loop: AdamW, a cosine schedule, averaged weights, checkpoints that a kill cannot hurt."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gencls.errors import GenclsError
from gencls.models.numbers import training_dtype

_CHECKPOINT_SECONDS = 60
#: The decay of the average over the weights of each step.
AVERAGING = 0.999

#: Where the numbers of a training are drawn, whatever it runs on.
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """What every training is given, whatever it trains.

    steps : fixed before the first one
    batch : images a step
    seed : of all that is random
    checkpoint : written every minute and taken up again where it exists; the caller removes it when the weights are saved
    label : what the progress bar says
    recipe : what the run was given; a checkpoint of another is refused
    snapshots : what to call after how many steps, with the seconds spent; the weights are then as they are, not averaged
    device : where the model is while it learns; for snapshots and at the end it is on the processor
    watch : called after every step with the number of steps and the seconds spent; the model stays where it is
    """

    steps: int
    batch: int
    seed: int
    checkpoint: Path
    label: str = ""
    recipe: str = ""
    snapshots: Mapping[int, Callable[[float], object]] = field(default_factory=dict)
    device: torch.device = CPU
    watch: Callable[[int, float], object] | None = None

    def generator(self, step: int) -> torch.Generator:
        """Rules all that is random in one step, so that a run that is taken up again ends in the same weights."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)

    def first(self, steps: int, batch: int, what: str) -> Run:
        """The stage before this one, with a checkpoint of its own: a run that is taken up again passes over what is done."""
        before = self.checkpoint.with_name(self.checkpoint.name + "-first")
        return replace(self, steps=steps, batch=batch, checkpoint=before, label=f"{self.label}: {what}", snapshots={})


def stratified(batch: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """A timestep an image, in no order: uniform over 0 … timesteps − 1 and spread evenly over the batch."""
    offset = torch.rand((), generator=generator)
    return ((torch.randperm(batch, generator=generator) + offset) / batch * timesteps).long()


def beside(model: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors where the model is. What is random is drawn on the processor first, so that it is the same on every device."""
    device = next(model.parameters()).device
    return tuple(tensor.to(device) for tensor in tensors)


def compiled(module: nn.Module) -> nn.Module:
    """The module, compiled in place where a C++ compiler is here to do it: the same weights under the same names, faster.

    What compiling takes, about a minute, pays in trainings of more than a few minutes only. Its sums are ordered otherwise, so that the weights
    that come out agree with those of the uncompiled module as far as those of two machines do, not bit for bit.
    """
    if shutil.which("g++"):
        torch._dynamo.config.suppress_errors = True  # where compiling fails all the same, the module runs as it is
        module.compile()
    return module


def fit(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    run: Run,
    *,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
) -> float:
    """Train `model` in place; its weights at the end are their exponential moving average.

    Parameters
    ----------
    loss : step → scalar; everything random in it is a function of the step (`Run.generator`), and what it is given is put where the model is (`beside`)
    run : GenclsError where its checkpoint is of another recipe or number of steps
    learning_rate : the highest; it rises for the first 5% of the steps and falls to 0 as a cosine

    Returns
    -------
    seconds spent, those before an interruption included
    """
    model.to(run.device)
    fast = training_dtype(run.device.type)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, run.steps))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(min(AVERAGING, 1 - 5 / max(run.steps, 10)))
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule, "average": average}
    first, spent = _taken_up(run, parts)

    def seconds() -> float:
        return spent + time.monotonic() - start

    model.train()
    start = saved_at = time.monotonic()
    with tqdm(total=run.steps, initial=first, desc=run.label, unit="step", dynamic_ncols=True, mininterval=1) as bar:
        for step in range(first, run.steps):
            with contextlib.nullcontext() if fast is torch.float32 else torch.autocast(run.device.type, fast):
                value = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            bar.update()
            if run.watch:
                run.watch(step + 1, seconds())
            if step + 1 in run.snapshots:
                model.to(CPU)
                run.snapshots[step + 1](seconds())
                model.to(run.device)
            if step % 20 == 0:
                bar.set_postfix(loss=f"{value.item():.4f}")
            if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                _save(run, parts, step + 1, seconds())
                saved_at = time.monotonic()
    if first < run.steps:
        _save(run, parts, run.steps, seconds())
    model.load_state_dict(average.module.state_dict())
    model.to(CPU).eval()
    return seconds()


def _rate(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: it rises for the first 5% of the steps and falls to 0 as a cosine."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * float(torch.cos(torch.tensor(torch.pi * (step - warm_up) / max(1, steps - warm_up))))


def opened(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds; GenclsError for a damaged one."""
    try:
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location=CPU)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise GenclsError(f"the checkpoint {checkpoint} is damaged; delete it to begin again") from error
    return saved


def _taken_up(run: Run, parts: Mapping[str, Any]) -> tuple[int, float]:
    """Steps and seconds that a run was stopped after, its state put into the parts; none where there is no checkpoint."""
    if not run.checkpoint.exists():
        return 0, 0.0
    saved = opened(run.checkpoint)
    if (saved.get("recipe"), saved.get("steps")) != (run.recipe, run.steps):
        raise GenclsError(
            f"the checkpoint {run.checkpoint} belongs to another recipe than this run's; delete it to begin again, or move it away"
        )
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"], saved["seconds"]


def _save(run: Run, parts: Mapping[str, Any], step: int, seconds: float) -> None:
    """Write the checkpoint: whole, or the one before stays."""
    run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    new = run.checkpoint.with_name(run.checkpoint.name + ".new")
    try:
        torch.save({**state, "recipe": run.recipe, "steps": run.steps, "step": step, "seconds": seconds}, new)
        new.replace(run.checkpoint)
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError where the disk is full
        new.unlink(missing_ok=True)
        raise GenclsError(
            f"the checkpoint {run.checkpoint} could not be written ({getattr(error, 'strerror', None) or 'is the disk full?'}); free "
            "some space and run again: training goes on from the checkpoint before"
        ) from error
