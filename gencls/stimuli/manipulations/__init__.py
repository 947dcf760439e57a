"""The twelve parametric manipulations of the model-vs-human benchmark, on anyone's images.

Every function takes one image, H×W×3, or a batch, n×H×W×3, of float RGB in [0, 1] and gives the same back.
Levels are numbers in the benchmark's units (contrast 0.1 is 10%, σ and reach in pixels of its 224×224 images,
degrees) or bools. Geirhos, Medina Temme, Rauber, Schütt, Bethge and Wichmann, "Generalisation in humans and
deep neural networks" (NeurIPS 2018).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gencls.errors import GenclsError
from gencls.stimuli.manipulations._eidolon import eidolon
from gencls.stimuli.manipulations._images import Seed
from gencls.stimuli.manipulations._pointwise import (
    colour,
    contrast,
    false_colour,
    gamma_table,
    rotation,
    uniform_noise,
)
from gencls.stimuli.manipulations._spectral import (
    high_pass,
    low_pass,
    mean_spectrum,
    phase_scrambling,
    power_equalisation,
    published_spectrum,
)

__all__ = [
    "COHERENCE",
    "LEVELS",
    "SHAPES_LEVELS",
    "colour",
    "contrast",
    "eidolon",
    "false_colour",
    "gamma_table",
    "high_pass",
    "low_pass",
    "manipulate",
    "mean_spectrum",
    "phase_scrambling",
    "power_equalisation",
    "published_spectrum",
    "rotation",
    "uniform_noise",
]

#: The coherence of the three eidolon sets.
COHERENCE = {"eidolonI": 1.0, "eidolonII": 0.3, "eidolonIII": 0.0}


def _eidolons(coherence: float, reaches: tuple[int, ...]) -> dict[str, float]:
    return {f"{reach}-{10 * coherence:g}-10": reach for reach in reaches}


#: Set name → condition label, as the benchmark spells it → the level that the set's function takes (an
#: eidolon's is its reach).
LEVELS: dict[str, dict[str, float]] = {
    "colour": {"cr": False, "bw": True},
    "contrast": {f"c{percent:02d}": percent / 100 for percent in (100, 50, 30, 15, 10, 5, 3, 1)},
    "high-pass": {str(sigma): sigma for sigma in (np.inf, 3.0, 1.5, 1.0, 0.7, 0.55, 0.45, 0.4)},
    "low-pass": {str(sigma): sigma for sigma in (0, 1, 3, 5, 7, 10, 15, 40)},
    "phase-scrambling": {str(width): width for width in (0, 30, 60, 90, 120, 150, 180)},
    "power-equalisation": {"0": False, "pow": True},
    "false-colour": {"True": False, "False": True},
    "rotation": {str(angle): angle for angle in (0, 90, 180, 270)},
    **{name: _eidolons(coherence, (1, 2, 4, 8, 16, 32, 64, 128)) for name, coherence in COHERENCE.items()},
    "uniform-noise": {str(width): width for width in (0.0, 0.03, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9)},
}

#: The same for the shapes world, at 32×32: the published levels, as far as half a pixel of σ or reach is left
#: of them; the high-pass levels are higher, since σ = 3 of 224 pixels is 0.43 of 32.
SHAPES_LEVELS: dict[str, dict[str, float]] = {
    **LEVELS,
    "high-pass": {str(sigma): sigma for sigma in (np.inf, 14.0, 7.0, 4.0)},
    "low-pass": {str(sigma): sigma for sigma in (0, 5, 7, 10, 15, 40)},
    **{name: _eidolons(coherence, (4, 8, 16, 32, 64, 128)) for name, coherence in COHERENCE.items()},
}

#: The same for the natural world, at 64×64: three of the published levels of each, fixed before any model was shown them; high-pass
#: higher, since little of σ = 1.5 of 224 pixels is left at 64.
NATURAL_LEVELS: dict[str, dict[str, float]] = {
    "colour": {"bw": True},
    "contrast": {"c30": 0.3, "c10": 0.1, "c05": 0.05},
    "high-pass": {"10.0": 10.0, "5.0": 5.0, "3.0": 3.0},
    "low-pass": {"3": 3, "7": 7, "15": 15},
    "phase-scrambling": {"60": 60, "90": 90, "120": 120},
    "power-equalisation": {"pow": True},
    "false-colour": {"False": True},
    "rotation": {"90": 90, "180": 180, "270": 270},
    **{name: _eidolons(coherence, (4, 8, 16)) for name, coherence in COHERENCE.items()},
    "uniform-noise": {"0.1": 0.1, "0.2": 0.2, "0.35": 0.35},
}


def manipulate(
    set_name: str,
    image: np.ndarray,
    level: float | str,
    seed: Seed = 0,
    *,
    spectrum: np.ndarray | None = None,
) -> np.ndarray:
    """The manipulation of one of the benchmark's sets.

    `set_name` is a key of `LEVELS`; `image` is H×W×3 or n×H×W×3, float RGB in [0, 1], and so is the result;
    `level` is what the set's function takes, or a label of `LEVELS` or `SHAPES_LEVELS`; `seed` matters to
    phase-scrambling, the eidolons and uniform-noise; `spectrum` to power-equalisation. Raises GenclsError for
    an unknown set or label, and what the set's function raises.
    """
    if set_name not in LEVELS:
        raise GenclsError(f"no manipulation makes the set '{set_name}'; there are {', '.join(LEVELS)}")
    if isinstance(level, str):
        labels = NATURAL_LEVELS[set_name] | SHAPES_LEVELS[set_name] | LEVELS[set_name]
        if level not in labels:
            raise GenclsError(f"{set_name}: no condition is called '{level}'; there are {', '.join(labels)}")
        level = labels[level]
    if set_name in COHERENCE:
        return eidolon(image, level, COHERENCE[set_name], seed=seed)
    function = _FUNCTIONS[set_name]
    if set_name in ("phase-scrambling", "uniform-noise"):
        return function(image, level, seed)
    return function(image, level, spectrum) if set_name == "power-equalisation" else function(image, level)


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "colour": colour,
    "contrast": contrast,
    "high-pass": high_pass,
    "low-pass": low_pass,
    "phase-scrambling": phase_scrambling,
    "power-equalisation": power_equalisation,
    "false-colour": false_colour,
    "rotation": rotation,
    "uniform-noise": uniform_noise,
}
