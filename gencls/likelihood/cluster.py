"""Scoring on several workers, on one machine or many: Ray actors that hold the model, chunks of stimuli handed out, one writer.

Every chunk is scored by itself, and its noise is a function of the stimulus, so that the scores do not depend on who scored what. A
worker that dies loses the chunk that it had; another is started in its place, and the chunk is done again.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood.scoring import Asked, Chunk, Loop, Told, Workers

#: Workers that may die over one chunk before it is given up.
ATTEMPTS = 3


class _Actor:
    """What runs in a worker: the model, and what was last asked of it."""

    def __init__(self, model: str, options: dict[str, Any], threads: int) -> None:
        self._id, self._options, self._threads = model, options, threads
        self._asked: Asked | None = None

    def _model(self) -> Any:
        import torch

        from gencls.models import zoo

        torch.set_num_threads(self._threads)
        return zoo.open_model(self._id, **self._options)  # which keeps it open

    def classes(self) -> tuple[str, ...]:
        return tuple(getattr(self._model(), "classes", cats.CATEGORIES))

    def name(self) -> str:
        return self._model().name

    def ask(self, asked: Asked) -> Told:
        if self._asked != asked:
            self._loop, self._asked = Loop(self._model(), asked), asked
        return self._loop.told

    def score(self, asked: Asked, chunk: Chunk) -> np.ndarray:
        self.ask(asked)
        return self._loop.one(*chunk)

    def process(self) -> int:
        return os.getpid()


class RayWorkers(Workers):
    """A model held by several Ray actors; hand it to `gencls.likelihood.scoring.score` in the place of an opened model.

    Parameters
    ----------
    model : its id, as `gencls.load` takes it
    workers : how many; by default one a GPU of the cluster, or one if it has none. On CPUs they share those of the cluster evenly
    address : of a running cluster, as `ray.init` has it (`auto`, `ray://host:10001`); by default RAY_ADDRESS, or else a Ray of its own here
    options : of `gencls.models.zoo.open_model`

    Raises GenclsError where Ray is not installed, the cluster cannot be reached, or has fewer GPUs than workers.
    """

    def __init__(self, model: str, workers: int | None = None, address: str | None = None, **options: Any) -> None:
        ray = _connected(address)
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = workers or gpus or 1
        if count < 1 or (gpus and count > gpus) or count > cpus:
            raise GenclsError(
                f"{count} workers: the Ray cluster has {gpus} GPUs and {cpus} CPUs; ask for at most {gpus or cpus} workers"
            )
        share = max(1, cpus // count)
        self.name, self._ray = model, ray
        self._kind = ray.remote(num_cpus=share, num_gpus=1 if gpus else 0)(_Actor)
        self._given = (model, options, share)
        self.actors = [self._start() for _ in range(count)]

    def _start(self) -> Any:
        return self._kind.remote(*self._given)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it chooses among when none are named."""
        return tuple(self._get(self.actors[0].classes.remote()))

    @property
    def title(self) -> str:
        """What its records call it: the id, and what was changed of its preprocessing."""
        return self._get(self.actors[0].name.remote())

    def processes(self) -> list[int]:
        """The process ids of the workers, each on its machine."""
        return [self._get(actor.process.remote()) for actor in self.actors]

    def ask(self, asked: Asked) -> _Asking:
        return _Asking(self, asked, self._get(self.actors[0].ask.remote(asked)))

    def _get(self, reference: Any) -> Any:
        """What a worker answers; its own error, not Ray's wrapping of it."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayActorError as error:
            raise GenclsError(
                f"{self.name}: a Ray worker died before it could say what it holds; is its memory short?"
            ) from error

    def close(self) -> None:
        """Let the workers go."""
        for actor in self.actors:
            self._ray.kill(actor)
        self.actors = []


@dataclass
class _Asking:
    """Chunks handed out to whoever is idle."""

    workers: RayWorkers
    asked: Asked
    told: Told

    def each(self, chunks: Iterable[Chunk], stimuli: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The number of a chunk and its scores, as they come in; no more chunks are read than workers are idle.

        Nobody looks at `stimuli`: workers compile on request only.
        """
        ray, actors = self.workers._ray, self.workers.actors
        fresh = enumerate(chunks)
        again: deque[tuple[int, Chunk]] = deque()
        died: dict[int, int] = {}
        idle, busy = deque(range(len(actors))), {}
        while True:
            while idle and (task := again.popleft() if again else next(fresh, None)) is not None:
                who = idle.popleft()
                busy[actors[who].score.remote(self.asked, task[1])] = (who, task)
            if not busy:
                return
            (reference, *_), _ = ray.wait(list(busy), num_returns=1)
            who, (number, chunk) = busy.pop(reference)
            try:
                found = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except ray.exceptions.RayError as error:  # the worker, or its machine, is gone
                died[number] = died.get(number, 0) + 1
                if died[number] >= ATTEMPTS:
                    raise GenclsError(
                        f"{self.told.name}: {ATTEMPTS} Ray workers died over the same {len(chunk[0])} stimuli; is their memory short? What was "
                        "computed is kept: run again"
                    ) from error
                actors[who] = self.workers._start()
                again.append((number, chunk))
            else:
                yield number, found
            idle.append(who)


@lru_cache(maxsize=1)
def from_environment(model: str, **options: Any) -> RayWorkers | None:
    """The workers that `gencls run --engine ray` asks for, None where it does not. One model at a time is held. `options`: as in `RayWorkers`."""
    if os.environ.get("GENCLS_ENGINE") != "ray":
        return None
    count = os.environ.get("GENCLS_WORKERS")
    return RayWorkers(model, int(count) if count else None, **options)


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError as error:
        raise GenclsError("several workers need Ray: pip install 'gencls[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise GenclsError(
                f"the Ray cluster at {address or os.environ.get('RAY_ADDRESS') or 'this machine'} cannot be reached "
                f"({str(error).splitlines()[0]}); start it with `ray start --head`, or leave the address out"
            ) from error
    return ray
