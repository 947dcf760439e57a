"""The world of the model-vs-human benchmark, and of any pretrained model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gencls import categories as cats
from gencls import trials
from gencls.errors import GenclsError
from gencls.stimuli import benchmark
from gencls.stimuli.sets import StimulusSet, spread
from gencls.worlds.base import World, by_observer


class Full(World):
    """The 17 model-vs-human sets at 224×224, the people who saw them, and any pretrained model."""

    name = "full"
    categories = cats.CATEGORIES
    sets = tuple(benchmark.SETS)
    models = ("pypi:efficientnet-lite0",)
    controls = ()

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name not in self.sets:
            return super().stimuli(name)
        whole = benchmark.stimuli(name)
        return whole if n is None else whole[spread(len(whole), n)]

    def people(self, name: str) -> dict[str, pd.DataFrame]:
        return dict(by_observer(trials.load(name, "human")))

    def networks(self, name: str) -> dict[str, pd.DataFrame]:
        return dict(by_observer(trials.load(name, "networks"))) if name in trials.NETWORK_SETS else {}


def missing(sets: Sequence[str]) -> str:
    """What the world `full` lacks on this machine, in one sentence; empty if nothing."""
    for name in sets:
        try:
            benchmark.stimuli(name)
            trials.load(name, "human")
        except GenclsError as error:
            return str(error)
    return ""
