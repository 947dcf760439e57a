"""Make the records of the chapter `drivers`: `python scripts/drivers.py drivers/cosine-x0@1 …`, or `--octaves`, `--prompts`, `--probes`
of the models named. Weights are taken from gencls/weights or runs/weights (or `--weights FOLDER`), where `gencls train` leaves them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd
import xarray as xr

from gencls.analyses import driver_scores, drivers
from gencls.analyses import octaves as bands
from gencls.analyses import probes as linear
from gencls.likelihood import records
from gencls.models.zoo import weights_digest
from gencls.worlds import WEIGHTS_OF_SEEDS, weights_of
from gencls.worlds.shapes import Shapes


def main(models: list[str], weights: Path, octaves: bool, prompts: bool, probes: bool) -> None:
    shapes = Shapes()
    stimuli = drivers.stimuli(shapes)
    for model in models:
        folder = weights_of(model, weights)
        start = time.monotonic()
        if probes:
            train = shapes.painter.stimuli("cue-conflict", linear.TRAIN, "dev")
            test = shapes.stimuli("cue-conflict", linear.TEST)
            rows = pd.DataFrame(driver_scores.read_out(str(folder), train, test, linear.LEVELS)).assign(model=model)
            old = pd.read_csv(linear.FILE) if linear.FILE.exists() else rows[:0]
            both = pd.concat([old[old["model"] != model], rows]) if len(old) else rows
            both.to_csv(linear.FILE, index=False, float_format="%.6g")
        elif prompts:
            some = drivers.stimuli(shapes, drivers.PROMPT_COUNTS)
            for template in drivers.TEMPLATES:
                made = driver_scores.prompted(str(folder), template, some, drivers.PROMPT_PLAN)
                _write(
                    drivers.compact(made),
                    model,
                    folder,
                    f"prompt{drivers.TEMPLATES.index(template)}",
                    template=template,
                )
        elif octaves:
            _write(
                drivers.compact(driver_scores.octaves(str(folder), stimuli, bands.BAND_PLAN)),
                model,
                folder,
                "octaves",
            )
        else:
            made = driver_scores.driver_scores(folder, model, drivers.PLAN)
            facts = json.loads((folder / "gencls.json").read_text())
            _write(drivers.compact(made), model, folder, "", facts=json.dumps(facts), seconds=facts["seconds"])
        print(f"{model}: {time.monotonic() - start:.1f} s", flush=True)


def _write(scores: xr.Dataset, model: str, folder: Path, what: str, **attributes: object) -> None:
    scores.attrs = {"model": model, "model_digest": weights_digest(folder), **attributes}
    records.write(scores, drivers.FOLDER / drivers.record_name(model, what))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("models", nargs="+", metavar="MODEL")
    options.add_argument("--weights", type=Path, default=WEIGHTS_OF_SEEDS)
    for name in ("--octaves", "--prompts", "--probes"):
        options.add_argument(name, action="store_true")
    given = options.parse_args()
    main(given.models, given.weights, given.octaves, given.prompts, given.probes)
