"""What the book costs: `python benchmarks/costs.py` after `make book` writes benchmarks/costs.csv.

A row a chapter with the seconds that it took to execute, and a row a shipped record with its network evaluations
(stimuli × classes × timesteps × draws; an autoregressive model needs one a class, a classifier one a stimulus).
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from gencls.analyses import drivers, octaves, reliability
from gencls.book import EXECUTED, root_folder
from gencls.likelihood import records
from gencls.worlds import RECORDS, WORLDS

#: Kind of a model → what there is one evaluation of its network for. A classifier of noised images answers for all classes at once.
ONE_EVALUATION = {
    "diffusion": ("stimulus", "class", "t", "draw"),
    "noised": ("stimulus", "t", "draw"),
    "autoregressive": ("stimulus", "class"),
}


def main() -> None:
    root = root_folder()
    rows: list[dict[str, object]] = []
    for notebook in sorted((root / EXECUTED).glob("*/*/*.ipynb")):
        seconds = json.loads(notebook.read_text())["metadata"].get("gencls", {}).get("seconds")
        if seconds is not None:
            rows.append(
                {
                    "what": f"chapter {notebook.parent.parent.name}/{notebook.stem}",
                    "seconds": round(seconds, 1),
                }
            )
    for model in (model for name in ("shapes", "natural") for model in WORLDS[name].models):
        evaluations = stimuli = 0
        for record in sorted((RECORDS / model).parent.glob(f"*/{model.rpartition('/')[2]}.zarr.zip")):
            scores = records.read(record)
            asked = ONE_EVALUATION.get(scores.attrs["kind"], ("stimulus",))
            evaluations += math.prod(scores.sizes[dimension] for dimension in asked)
            stimuli += scores.sizes["stimulus"]
        if stimuli:
            rows.append({"what": f"record of {model}", "stimuli": stimuli, "evaluations": evaluations})
    trained = [
        *drivers.GENERATIVE,
        drivers.CLASSIFIER,
        *drivers.TELLINGS,
        "shapes/ar",
        *octaves.resnets(),
        *reliability.unreliable(),
    ]
    for row in drivers.costs(drivers.here(dict.fromkeys(trained))).to_dict("records"):
        what = f"{row['observer']}: one training, and a seed's record of {sum(drivers.COUNTS.values())} stimuli"
        counted = {"stimuli": sum(drivers.COUNTS.values()), "evaluations": row["evaluations"]}
        rows.append({"what": what, "seconds": round(row["seconds"], 1)} | counted)
    with Path(__file__).with_name("costs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["what", "seconds", "stimuli", "evaluations"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
