"""What scoring with a model costs: operations, memory and seconds.

A pipeline's weights are not read for it: its networks are built from their configurations and counted on tensors that have a shape and
no numbers; the one that is evaluated again and again is timed with random weights. Other models are opened and asked for one grey image.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gencls import categories as cats
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import Asked, Loop, Model
from gencls.models import devices, hub, numbers, zoo
from gencls.models.adapters import Condition
from gencls.models.autoregressive import AutoregressiveModel
from gencls.models.diffusion import DiffusionModel

#: How long a probe may take that one evaluation does not fill.
SECONDS = 2.0


@dataclass(frozen=True)
class Cost:
    """What a model's network costs.

    device : where it runs; seconds : of one evaluation there, None where it has no memory free for the network
    parameters : of the network that is evaluated; weights : bytes of all that is kept in memory, float32
    flops : operations of one evaluation
    rows, activations : evaluations of one pass, and the bytes of the tensors that are alive at once in it
    """

    device: str
    parameters: int
    weights: int
    flops: float
    rows: int
    activations: int
    seconds: float | None


def of(
    model: str,
    stimuli: int,
    classes: Sequence[str] | None = None,
    prompt: str = cats.PROMPT,
    count: int = 0,
    folder: Path | None = None,
    **opening: Any,
) -> Cost | None:
    """Of scoring stimuli with a model that is on this machine, or whose configurations are in `folder`; `opening`: of `gencls.models.zoo.open_model`.

    None where it would have to be opened and its `count` of weights does not fit into the memory that is free.
    """
    place, folder = devices.choose(opening.get("device", "auto")), folder or zoo.folder_of(model)
    if folder and zoo.kind(folder) == "diffusion":
        options = {name: opening[name] for name in ("dtype", "resolution", "crop") if name in opening}
        return of_pipeline(folder, model, cats.prompts(classes or cats.CATEGORIES, prompt), stimuli, place, **options)
    if 4 * count > free(place):
        return None
    return of_opened(zoo.open_model(model, **opening), stimuli, classes, prompt, place)


def of_pipeline(
    folder: Path, name: str, prompts: Sequence[str], stimuli: int, place: torch.device, **options: Any
) -> Cost:
    """Of scoring stimuli under these prompts with the diffusers pipeline in a folder; `options`: of `DiffusionModel`.

    The time is the network's: an autoencoder runs once a stimulus, a text encoder once a prompt.
    """
    m = len(prompts)
    options["dtype"] = numbers.choose(options.get("dtype", "float32"), place.type, name)
    hub.quiet()
    pipeline = hub.open_pipeline(folder, name, weights=False)
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    no_numbers = FakeTensorMode(allow_non_fake_inputs=True)
    with no_numbers:
        for network in networks:
            network.to_empty(device=place)
        model = DiffusionModel(pipeline, name, **options)
        conditions = model.adapter.conditions(prompts)  # without numbers none can be told from another
    timestep = model.levels([0.5])[0].to(place)

    def encoded(n: int) -> Tensor:
        pixels = torch.zeros(n, 3, model.adapter.size, model.adapter.size, device=place)
        with torch.no_grad():
            return model.adapter.encode(pixels).float()

    def predict(x_t: Tensor, given: Condition, classes: int = m) -> Tensor:
        return model.predict(x_t, timestep.expand(len(x_t)), torch.arange(classes).expand(len(x_t), -1), given)

    n = max(1, min(stimuli, model.budget // m))
    with no_numbers:
        x_t = encoded(n)
        operations = flops(lambda: predict(x_t[:1], conditions)) / m
        alive = max(activations(lambda: encoded(n)), activations(lambda: predict(x_t, conditions)))
    net, rows = model.adapter.net, min(n * m, model.budget)
    found = Cost(str(place), _parameters([net]), 4 * _parameters(networks), operations, rows, alive, None)
    if 4 * found.parameters + alive / rows > free(place):
        return found
    with torch.device(place):
        model.adapter.net = type(net).from_config(net.config).eval().requires_grad_(False)
        noise = torch.randn(n, *x_t.shape[1:])
        given = {
            name: (torch.randn if value.is_floating_point() else torch.ones)(value.shape, dtype=value.dtype)
            for name, value in conditions.items()
        }
    spent = seconds(lambda rows: predict(noise[: max(1, rows // m)], given, min(rows, m)), n * m, place, m)
    return replace(found, seconds=spent)


def of_opened(model: Model, stimuli: int, classes: Sequence[str] | None, prompt: str, place: torch.device) -> Cost:
    """Of scoring stimuli with an opened model that is no pipeline, from one grey image; one of tokens is asked for one class alone."""
    assert not isinstance(model, DiffusionModel)  # those are counted by `of_pipeline`
    asked = tuple(classes if classes is not None else getattr(model, "classes", cats.CATEGORIES))
    rows = stimuli
    if isinstance(model, AutoregressiveModel):
        rows, asked = min(stimuli * len(asked), max(1, model.budget // math.prod(model.grid))), asked[:1]
    loop = Loop(model, Asked(asked, prompt, Exhaustive(1), 0))
    rows = min(rows, loop.told.chunk)

    def score(n: int) -> np.ndarray:
        return loop.one([np.full((256, 256, 3), 128, np.uint8)] * n, ["probe"] * n)

    count = _parameters([model.network])
    alive = activations(lambda: score(1)) * rows
    return Cost(str(place), count, 4 * count, flops(lambda: score(1)), rows, alive, seconds(score, rows, place))


def _parameters(networks: Sequence[torch.nn.Module]) -> int:
    return sum(p.numel() for network in networks for p in network.parameters())


def flops(run: Callable[[], object]) -> int:
    """Operations of matrix products, convolutions and attention; a multiplication and an addition are two.

    Attention is counted as the two products that it is: torch does not count a processor's fused kernel.
    """
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        run()
    return counted.get_total_flops()


def activations(run: Callable[[], object]) -> int:
    """Bytes of the tensors that are made on the way and alive at once, fake ones included; not the workspace of single operations."""
    with _Alive() as alive:
        run()
    return alive.peak


class _Alive(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._meet((args, kwargs), made=False)  # weights and inputs, of which a view may come back
        out = func(*args, **(kwargs or {}))
        self._meet(out, made=True)
        self.peak = max(self.peak, self.now)
        return out

    def _meet(self, tensors: Any, made: bool) -> None:
        for tensor in (t for t in tree_leaves(tensors) if isinstance(t, Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                size = storage.nbytes() if made else 0
                self.now += size
                self._known.add(storage._cdata)
                weakref.finalize(storage, self._lost, storage._cdata, size)

    def _lost(self, address: int, size: int) -> None:
        self.now -= size
        self._known.discard(address)


def seconds(run: Callable[[int], object], most: int, device: torch.device, by: int = 1) -> float:
    """Seconds a row of `run(rows)`, from a probe: one row, then as many as fit into `SECONDS`, `most` at most, and whole multiples of `by` from that on."""
    rows, calls = 1, 0
    while True:
        start = time.perf_counter()
        run(rows)
        if device.type in ("cuda", "mps"):
            getattr(torch, device.type).synchronize()
        spent, calls = time.perf_counter() - start, calls + 1
        if spent > SECONDS / 2 or calls == 3:
            return spent / rows
        rows = max(1, min(most, int(rows * SECONDS / spent)))
        rows -= rows % by if rows > by else 0


def free(device: torch.device) -> int:
    """Bytes that are free on a device, or on the machine whose memory it shares."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
