"""What the book costs: `python benchmarks/costs.py` after `make book` writes benchmarks/costs.csv.

A row a chapter with the seconds that it took to execute, and a row a shipped record with its network evaluations
(stimuli × classes × timesteps × draws; a classifier needs one a stimulus).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from gencls.analyses import drivers
from gencls.book import EXECUTED, root_folder
from gencls.likelihood import records
from gencls.worlds import RECORDS, WORLDS


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
            values = scores["error"] if "error" in scores else scores["log_probability"].isel({"class": 0})
            if scores.attrs["kind"] == "noised":  # which answers for all classes at once
                values = values.isel({"class": 0})
            evaluations += values.size
            stimuli += scores.sizes["stimulus"]
        if stimuli:
            rows.append({"what": f"record of {model}", "stimuli": stimuli, "evaluations": evaluations})
    for row in drivers.costs(drivers.here([*drivers.GENERATIVE, drivers.CLASSIFIER])).to_dict("records"):
        what = f"{row['observer']}: one training, and a seed's record of {sum(drivers.COUNTS.values())} stimuli"
        counted = {"stimuli": sum(drivers.COUNTS.values()), "evaluations": row["evaluations"]}
        rows.append({"what": what, "seconds": round(row["seconds"], 1)} | counted)
    with Path(__file__).with_name("costs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["what", "seconds", "stimuli", "evaluations"])
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
