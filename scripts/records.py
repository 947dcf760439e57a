"""Make the shipped records of the shapes world: `python scripts/records.py MODEL…`.

Weights are taken from gencls/weights, those of other training seeds (`shapes/pixel@1`) from runs/weights, where
`gencls train` leaves them. A record that is there already is made again only where something it hangs on has changed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import gencls
from gencls.likelihood.scoring import score
from gencls.models.zoo import open_folder, open_model, weights_digest
from gencls.worlds import RECORDS, WEIGHTS_OF_SEEDS


def main(models: list[str]) -> None:
    world = gencls.world("shapes")
    for model in models:
        folder = WEIGHTS_OF_SEEDS / model
        seeded = "@" in model
        opened = open_folder(folder, model) if seeded else open_model(model)
        digest = weights_digest(folder if seeded else Path(gencls.__file__).parent / "weights" / model)
        for name in world.sets:
            start = time.monotonic()
            record = RECORDS / "shapes" / name / f"{model.rpartition('/')[2]}.zarr.zip"
            score(opened, world.stimuli(name), plan=world.plan(name), record=record, model_digest=digest)
            print(f"{model} on {name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
