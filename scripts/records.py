"""Make the shipped records of the shapes world: `python scripts/records.py MODEL…`, or (`--more`) those of other noise draws and in bfloat16.

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


def main(models: list[str], more: bool) -> None:
    world = gencls.world("shapes")
    jobs = [(name, 0, "float32") for name in world.sets]
    if more:
        jobs = [("cue-conflict", seed, "float32") for seed in NOISE_SEEDS if seed] + [("cue-conflict", 0, "bfloat16")]
    for model in models:
        folder = next(f for f in (WEIGHTS / model, WEIGHTS_OF_SEEDS / model) if f.exists())
        digest = weights_digest(folder)
        for name, seed, dtype in jobs:
            opened = open_folder(folder, model, dtype)
            start = time.monotonic()
            record = RECORDS / "shapes" / name / record_name(model, seed, dtype)
            score(opened, world.stimuli(name), plan=world.plan(name), seed=seed, record=record, model_digest=digest)
            print(f"{model} on {name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if word != "--more"], "--more" in sys.argv)
