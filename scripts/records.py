"""Make the shipped records of the shapes world: `python scripts/records.py MODEL…`, those of other noise draws (`--noise`) too.

Weights are taken from gencls/weights, those of other training seeds (`shapes/pixel@1`) from runs/weights, where
`gencls train` leaves them. A record that is there already is made again only where something it hangs on has changed.
"""

from __future__ import annotations

import sys
import time

import gencls
from gencls.likelihood.scoring import score
from gencls.models.zoo import WEIGHTS, open_folder, weights_digest
from gencls.worlds import NOISE_SEEDS, RECORDS, WEIGHTS_OF_SEEDS, record_name


def main(models: list[str], noise: bool) -> None:
    world = gencls.world("shapes")
    jobs = [("cue-conflict", seed) for seed in NOISE_SEEDS if seed] if noise else [(name, 0) for name in world.sets]
    for model in models:
        folder = next(f for f in (WEIGHTS / model, WEIGHTS_OF_SEEDS / model) if f.exists())
        opened, digest = open_folder(folder, model), weights_digest(folder)
        for name, seed in jobs:
            start = time.monotonic()
            record = RECORDS / "shapes" / name / record_name(model, seed)
            score(opened, world.stimuli(name), plan=world.plan(name), seed=seed, record=record, model_digest=digest)
            print(f"{model} on {name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if word != "--noise"], "--noise" in sys.argv)
