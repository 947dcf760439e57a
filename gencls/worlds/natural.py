"""The world of photographs at 64×64, whose models are trained by this project."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pandas as pd

from gencls import downloads, trials
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive
from gencls.stimuli import benchmark, manipulations, tiny_imagenet
from gencls.stimuli.pictures import prepare
from gencls.stimuli.sets import StimulusSet, spread
from gencls.worlds import base
from gencls.worlds.base import World, by_observer, under_every_level

#: The plans of the shipped records: few noise levels, most of them where the paper's weighting looks.
PLAN = Exhaustive(timesteps=8, warp=1.5)
OOD_PLAN = Exhaustive(timesteps=5, warp=1.5)
#: The real stimuli that the natural world shares with people, and how many photographs a condition it manipulates.
REAL_SETS = ("cue-conflict", "edge", "silhouette")
OOD_COUNT = 55


class Natural(World):
    """Photographs at 64×64 in 11 of the 16 entry-level categories, models trained by this project, and people on the real stimuli.

    Where the data are not here, the sets stand on their records: tables, digests and scores without pictures.
    """

    name = "natural"
    categories = tiny_imagenet.NATURAL
    sets = ("photos", *REAL_SETS, *manipulations.NATURAL_LEVELS)
    withheld = ("photos", *manipulations.NATURAL_LEVELS)  # ImageNet's terms
    noise_seeds = (0,)
    models = (
        *("natural/pixel", "natural/latent", "natural/ar"),
        *("natural/denoising-classifier", "natural/clip"),
        *("natural/resnet", "natural/resnet-noise", "natural/vit"),
        *("natural/latent-denoising-classifier", "natural/latent-classifier", "natural/tokens"),
        *("natural/pixel32", "natural/resnet32", "natural/ar8", "natural/tokens8"),
    )

    @property
    def moments(self) -> tuple[str, ...]:
        """Models along the trainings of others, `natural/resnet-750` after 750 steps, as far as their photographs are on record."""
        found = (
            re.fullmatch(r"(.+)-(\d+)\.zarr\.zip", p.name) for p in (base.RECORDS / self.name / "photos").glob("*.zip")
        )
        named = sorted((m[1], int(m[2])) for m in found if m and f"{self.name}/{m[1]}" in self.models)
        return tuple(f"{self.name}/{family}-{steps}" for family, steps in named)

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name not in self.sets:
            return super().stimuli(name)
        source = "texture-vs-shape" if name in REAL_SETS else "tiny-imagenet"
        if downloads.find(source) is None:  # a record is no reason to download anything
            why = f"'{source}' is not on this machine; `gencls data fetch {source}` gets it"
            if (found := self._recorded(name, why)) is not None:
                return found if n is None else found[self._some(found, n)]
        return self._here(name, n)

    def _some(self, whole: StimulusSet, n: int) -> np.ndarray:
        """The rows of `n` stimuli of a set spread over it; of photographs `n` a condition, the first, which are spread over the categories."""
        if n < 1 or whole.name in REAL_SETS:
            return spread(len(whole), n)
        of = whole.table["condition"].to_numpy()
        return np.concatenate([np.flatnonzero(of == c)[:n] for c in whole.conditions])

    def _here(self, name: str, n: int | None) -> StimulusSet:
        if name in manipulations.NATURAL_LEVELS:
            return self._manipulated(name, OOD_COUNT if n is None else n)
        photos = name == "photos"
        whole = tiny_imagenet.TinyImageNet().stimuli("photos") if photos else self._ours(benchmark.stimuli(name))
        chosen = whole if n is None else whole[self._some(whole, n)]  # of those on record, as without the data
        if photos:
            return chosen
        side = tiny_imagenet.SIDE
        return StimulusSet(name, chosen.table, lambda i: prepare(chosen[i].image, side), self.categories)

    def _ours(self, whole: StimulusSet) -> StimulusSet:
        """The stimuli whose cues are among the 11 categories; under cue conflict they differ."""
        table, own = whole.table, set(self.categories)
        keep = table["category"].isin(own) & (table["category"] != table["texture"])
        keep &= table["texture"].isin(own) | (table["texture"] == "")
        return whole[np.flatnonzero(keep)]

    def _manipulated(self, name: str, n: int) -> StimulusSet:
        """`n` held-out photographs a condition, each under every level of one manipulation."""
        world, levels = tiny_imagenet.TinyImageNet(), manipulations.NATURAL_LEVELS[name]
        options = {}
        if name == "power-equalisation":
            options["spectrum"] = manipulations.mean_spectrum(
                world.stimuli("photos", split="dev").images().astype(float) / 255
            )
        photos = world.stimuli("photos", max(n, OOD_COUNT))  # those on record, unless more are asked for
        return under_every_level(name, photos[self._some(photos, n)], levels, self.categories, options)

    def _recorded(self, name: str, why: str) -> StimulusSet | None:
        """A set as the first record of it holds it."""
        for path in sorted((base.RECORDS / self.name / name).glob("*.zarr.zip")):
            scores = records.read(path)
            table = pd.DataFrame({c: scores[c].values for c in ("category", "condition", "texture")})
            table.insert(0, "name", scores["stimulus"].values)

            def nothing(_: int) -> np.ndarray:
                raise GenclsError(f"the pictures of {name} are not here: {why}")

            return StimulusSet(name, table, nothing, self.categories, list(scores["digest"].values), why)
        return None

    def plan(self, name: str) -> Exhaustive:
        return OOD_PLAN if name in manipulations.NATURAL_LEVELS else PLAN

    def people(self, name: str) -> dict[str, pd.DataFrame]:
        return self._trials(name, "human")

    def networks(self, name: str) -> dict[str, pd.DataFrame]:
        return self._trials(name, "networks") if name in trials.NETWORK_SETS else {}

    def _trials(self, name: str, observers: Literal["human", "networks"]) -> dict[str, pd.DataFrame]:
        """Recorded trials on the stimuli of this world; they saw 224 px and chose among 16 categories."""
        if name not in REAL_SETS or (stimuli := self.stimuli(name)).missing:
            return {}
        table = trials.load(name, observers)
        part = table[table["stimulus"].isin(stimuli.table["name"])]
        part.attrs.update(table.attrs)
        return dict(by_observer(part))
