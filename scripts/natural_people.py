"""Compute what the natural world's pages say of people, of resolution and of noise: `GENCLS_MIRROR=… python scripts/natural_people.py [TABLE…]`, after `scripts/records.py`.

People's trials are read from the public archives and are not committed; what is computed from them is. Of the tables, `people` and
`resolution` take about a minute, `coded` and `drawn` (the models' pictures, at three guidances) about 20 together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import gencls
from gencls.analyses import coding, drawings, photographs
from gencls.errors import GenclsError
from gencls.training.recipes import RECIPES
from gencls.worlds import REAL_SETS, WEIGHTS_OF_SEEDS, World


def scored(world: World, model: str) -> bool:
    """Whether all the sets that people saw are on record for a model, or can be scored."""
    try:
        return all(world.scores(world.stimuli(name), model) for name in REAL_SETS)
    except GenclsError:
        return False


def people(world: World) -> pd.DataFrame:
    """How the models that have all the sets stand beside people."""
    return photographs.computed(world, [model for model in world.models if scored(world, model)])


def resolution(world: World) -> pd.DataFrame:
    """A real ImageNet classifier on stimuli of fewer pixels."""
    stimuli = gencls.world("full").stimuli("cue-conflict")
    table = photographs.computed_by_resolution("pypi:efficientnet-lite0", (224, 112, 64, 32), stimuli)
    return table.drop(columns="origin")


def drawn(world: World) -> pd.DataFrame:
    """How often pictures that the models draw are recognised."""
    return drawings.computed(drawings.shown(world))


def noise(world: World) -> pd.DataFrame:
    """This world's ResNets on noised stimuli."""
    return photographs.noise_at_test(world)[0]


def sweep(world: World) -> pd.DataFrame | None:
    """The small ResNets of the sweep, where all their weights lie in runs/weights/sweep."""
    small = {model: WEIGHTS_OF_SEEDS / model for model in RECIPES if model.startswith("sweep/")}
    return photographs.computed_sweep(world, small) if all(folder.exists() for folder in small.values()) else None


TABLES: dict[str, tuple[Path, Callable[[World], pd.DataFrame | None]]] = {
    "people": (photographs.PEOPLE, people),
    "resolution": (photographs.RESOLUTION, resolution),
    "coded": (coding.CODED, coding.computed),
    "drawn": (drawings.RECOGNISED, drawn),
    "noise": (photographs.NOISE, noise),
    "sweep": (photographs.SWEEP, sweep),
}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; without one, all")
    wanted = options.parse_args().tables or list(TABLES)
    if unknown := sorted({*wanted} - {*TABLES}):
        options.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    natural = gencls.world("natural")
    for name in wanted:
        path, compute = TABLES[name]
        table = compute(natural)
        if table is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(path, index=False, float_format="%.6g", na_rep="nan")
            print(path, len(table), flush=True)
