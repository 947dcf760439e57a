"""Make the shipped records of a model's world: `python scripts/records.py MODEL…`, or (`--set NAME`) those of one set, or, in the shapes world,
(`--more`) those of other noise draws and in bfloat16 or (`--prompts`) those of the illusions under other prompts.

Weights are taken from gencls/weights, those of other training seeds (`shapes/pixel@1`) and of moments along a training (`natural/resnet-750`)
from runs/weights, where `gencls train` leaves them. A record that is there already is made again only where something it hangs on has changed.
"""

from __future__ import annotations

import argparse
import time

import gencls
from gencls.categories import PROMPT
from gencls.likelihood import records
from gencls.likelihood.scoring import score
from gencls.models.zoo import open_folder, weights_digest
from gencls.stimuli import illusions
from gencls.worlds import NOISE_SEEDS, PROMPTS, RECORDS, World, record_name, weights_of


def main(models: list[str], more: bool, prompts: bool, sets: list[str]) -> None:
    for model in models:
        make(gencls.world(model.partition("/")[0]), model, more, prompts, sets)


def make(world: World, model: str, more: bool, prompts: bool, sets: list[str]) -> None:
    """The records of one model."""
    jobs = [(name, 0, "float32", PROMPT) for name in sets or world.sets]
    if more:
        jobs = [("cue-conflict", seed, "float32", PROMPT) for seed in NOISE_SEEDS if seed]
        jobs += [("cue-conflict", 0, "bfloat16", PROMPT)]
    if prompts:
        jobs = [(illusions.NAME, 0, "float32", prompt) for prompt in PROMPTS]
    folder = weights_of(model)
    digest = weights_digest(folder)
    for name, seed, dtype, prompt in jobs:
        opened = open_folder(folder, model, dtype)
        start = time.monotonic()
        record = RECORDS / world.name / name / record_name(model, seed, dtype, prompt)
        scores = score(
            opened,
            world.stimuli(name),
            plan=world.plan(name),
            seed=seed,
            prompt=prompt,
            record=record,
            model_digest=digest,
        )
        if world.name == "natural":
            records.write(records.by_rows(scores), record)
        print(f"{model} on {name} ({prompt}): {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("models", nargs="+", metavar="MODEL")
    options.add_argument("--more", action="store_true")
    options.add_argument("--prompts", action="store_true")
    options.add_argument("--set", action="append", default=[])
    given = options.parse_args()
    main(given.models, given.more, given.prompts, given.set)
