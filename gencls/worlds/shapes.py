"""The world that is drawn by code."""

from __future__ import annotations

from typing import Any

from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.stimuli import illusions, manipulations
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import SETS, SHAPES, ShapesWorld
from gencls.worlds.base import PLAN, World, under_every_level

#: The plan of the many conditions of the out-of-distribution sets, cheaper than that of the others.
OOD_PLAN = Exhaustive(timesteps=8)
#: How many stimuli of each set the shipped records hold (out of distribution: a condition).
COUNTS = {"photos": 160, "cue-conflict": 240, "silhouette": 160, "edge": 160, "texture": 160}
OOD_COUNT = 32
#: … and of each kind of illusion.
ILLUSION_COUNT = 48


class Shapes(World):
    """Drawn by code: 16 shapes × 16 textures at 32×32, models trained by this project."""

    name = "shapes"
    categories = SHAPES
    sets = (*SETS, illusions.NAME, *manipulations.SHAPES_LEVELS)
    models = ("shapes/pixel", "shapes/resnet", "shapes/resnet-noise")
    controls = ("shapes/control-shape", "shapes/control-texture")

    def __init__(self, **settings: Any) -> None:
        self.painter = ShapesWorld(**settings)

    def stimuli(self, name: str, n: int | None = None) -> StimulusSet:
        if name in SETS:
            return self.painter.stimuli(name, COUNTS[name] if n is None else n)
        if name == illusions.NAME:
            return illusions.stimuli(self.painter, ILLUSION_COUNT if n is None else n)
        if name not in manipulations.SHAPES_LEVELS:
            return super().stimuli(name)
        return self._manipulated(name, OOD_COUNT if n is None else n)

    def plan(self, name: str) -> Exhaustive:
        return PLAN if name in (*SETS, illusions.NAME) else OOD_PLAN

    def _manipulated(self, name: str, n: int) -> StimulusSet:
        """`n` photos a condition, each under every level of one manipulation; other photos than the set `photos`."""
        if n < 1:
            raise GenclsError(f"stimulus set {name!r}: n is {n}; ask for at least one stimulus a condition")
        levels = manipulations.SHAPES_LEVELS[name]
        photos = self.painter.stimuli("photos", 4096 + n)[4096 : 4096 + n]
        options = {}
        if name == "power-equalisation":
            options["spectrum"] = manipulations.mean_spectrum(
                self.painter.stimuli("photos", 256, "dev").images() / 255.0
            )
        return under_every_level(name, photos, levels, SHAPES, options)
