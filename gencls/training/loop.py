"""The one training loop: AdamW, a cosine schedule, averaged weights, checkpoints that a kill cannot hurt."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gencls.errors import GenclsError
from gencls.models.numbers import training_dtype

_CHECKPOINT_SECONDS = 60

#: What is to be done along a training: number of steps → a function of the seconds spent.
Snapshots = Mapping[int, Callable[[float], object]]
#: Where the numbers of a training are drawn, whatever it runs on.
CPU = torch.device("cpu")


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
    steps: int,
    checkpoint: Path,
    *,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    averaging: float = 0.999,
    label: str = "",
    recipe: str = "",
    snapshots: Snapshots | None = None,
    device: torch.device = CPU,
) -> float:
    """Train `model` in place; its weights at the end are their exponential moving average.

    Parameters
    ----------
    loss : step → scalar; everything random in it is a function of the step, so that a resumed run ends the same
    steps : fixed before the first one; the learning rate rises for the first 5% and falls to 0 as a cosine
    checkpoint : written every minute and taken up again where it exists; the caller removes it when the weights are saved
    recipe : what the run was given; GenclsError where the checkpoint is of another
    snapshots : what to call after how many steps, with the seconds spent; the weights are then as they are, not averaged
    device : where the model is while it learns, and `loss` puts what it is given (`beside`); for snapshots and at the end it is on the processor

    Returns
    -------
    seconds spent, those before an interruption included
    """
    model.to(device)
    fast = training_dtype(device.type)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
    )
    warm_up = max(1, steps // 20)

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 + 0.5 * float(torch.cos(torch.tensor(torch.pi * (step - warm_up) / max(1, steps - warm_up))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(min(averaging, 1 - 5 / max(steps, 10)))
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule, "average": average}
    first, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=CPU)
        if (saved.get("recipe"), saved.get("steps")) != (recipe, steps):
            raise GenclsError(
                f"the checkpoint {checkpoint} belongs to another recipe than this run's; delete it to begin again, or move it away"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first, spent = saved["step"], saved["seconds"]

    def save(step: int) -> None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in parts.items()}
        new = checkpoint.with_name(checkpoint.name + ".new")
        try:
            torch.save(
                {**state, "recipe": recipe, "steps": steps, "step": step, "seconds": spent + time.monotonic() - start},
                new,
            )
            new.replace(checkpoint)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError where the disk is full
            new.unlink(missing_ok=True)
            raise GenclsError(
                f"the checkpoint {checkpoint} could not be written ({getattr(error, 'strerror', None) or 'is the disk full?'}); free "
                "some space and run again: training goes on from the checkpoint before"
            ) from error

    model.train()
    start = saved_at = time.monotonic()
    with tqdm(total=steps, initial=first, desc=label, unit="step", dynamic_ncols=True, mininterval=1) as bar:
        for step in range(first, steps):
            with contextlib.nullcontext() if fast is torch.float32 else torch.autocast(device.type, fast):
                value = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            bar.update()
            if snapshots and step + 1 in snapshots:
                model.to(CPU)
                snapshots[step + 1](spent + time.monotonic() - start)
                model.to(device)
            if step % 20 == 0:
                bar.set_postfix(loss=f"{value.item():.4f}")
            if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                save(step + 1)
                saved_at = time.monotonic()
    if first < steps:
        save(steps)
    model.load_state_dict(average.module.state_dict())
    model.to(CPU).eval()
    return spent + time.monotonic() - start
