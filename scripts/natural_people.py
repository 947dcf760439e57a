"""Compute what the natural world's pages say of people, of resolution and of noise: `GENCLS_MIRROR=… python scripts/natural_people.py`, after `scripts/records.py`.

People's trials are read from the public archives and are not committed; the table of what is computed from them is `photographs.PEOPLE`. `photographs.RESOLUTION` is of a real ImageNet classifier, `coding.CODED` of classifiers behind other models' autoencoders, `drawings.RECOGNISED` of pictures that the models draw,
`photographs.NOISE` of this world's ResNets, and `photographs.SWEEP` of the small ones whose weights do not ship: it is made again where all of them lie in runs/weights/sweep.
"""

from __future__ import annotations

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


if __name__ == "__main__":
    natural = gencls.world("natural")
    table = photographs.computed(natural, [m for m in natural.models if scored(natural, m)])
    photographs.PEOPLE.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(photographs.PEOPLE, index=False, float_format="%.6g", na_rep="nan")
    print(photographs.PEOPLE, len(table))
    whole = gencls.world("full").stimuli("cue-conflict")
    sides = photographs.computed_by_resolution("pypi:efficientnet-lite0", (224, 112, 64, 32), whole).drop(
        columns="origin"
    )
    sides.to_csv(photographs.RESOLUTION, index=False, float_format="%.6g")
    print(photographs.RESOLUTION, len(sides))
    coded = coding.computed(natural)
    coded.to_csv(coding.CODED, index=False, float_format="%.6g")
    print(coding.CODED, len(coded))
    drawn = drawings.computed(drawings.shown(natural))
    drawn.to_csv(drawings.RECOGNISED, index=False, float_format="%.6g")
    print(drawings.RECOGNISED, len(drawn))
    noised, _ = photographs.noise_at_test(natural)
    noised.to_csv(photographs.NOISE, index=False, float_format="%.6g")
    print(photographs.NOISE, len(noised))
    small = {model: WEIGHTS_OF_SEEDS / model for model in RECIPES if model.startswith("sweep/")}
    if all(folder.exists() for folder in small.values()):
        swept = photographs.computed_sweep(natural, small)
        swept.to_csv(photographs.SWEEP, index=False, float_format="%.6g")
        print(photographs.SWEEP, len(swept))
