"""Compute people's figures on the 17 sets, the tables that ship as `gencls/data/human_*.csv`.

Run with the data at hand: `GENCLS_MIRROR=... python scripts/human_reference.py [FOLDER]`. It needs nothing
but pandas and the definitions, on purpose: `gencls.metrics` is checked against these tables, not made by
the same code.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gencls.metrics.benchmark import LEFT_OUT
from gencls.trials import CONDITIONS, SETS, load

DATA = Path(__file__).resolve().parent.parent / "gencls" / "data"


def accuracy(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers by set, condition and person; `na` is wrong."""
    right = trials.assign(correct=trials["object_response"] == trials["category"])
    table = right.groupby(["set", "condition", "subj"], sort=False)["correct"].agg(n="size", correct="sum")
    return table.assign(accuracy=table["correct"] / table["n"]).reset_index()


def accuracy_of_sets(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers by set, the trials of the kept conditions pooled, and its standard error over images.

    A photograph that comes back under several levels or to several people is one image, with all of its trials: with h of n right a
    share p̂ = Σh/Σn has the standard error √Σ(h − p̂·n)² / Σn (Cochran 1977, ratio estimator). A cue-conflict stimulus `cat7-elephant1` shares its
    content image cat7 and its texture image elephant1 with others: V_content + V_texture − V_stimulus (Cameron, Gelbach, Miller 2011).
    """
    left_out = [c in LEFT_OUT.get(s, ()) for s, c in zip(trials["set"], trials["condition"], strict=True)]
    kept = trials[~np.array(left_out)]
    ends = [f"-{s}-{c}" for s, c in zip(kept["set"], kept["condition"], strict=True)]
    images = [name.removesuffix(end) for name, end in zip(kept["stimulus"], ends, strict=True)]
    right = kept.assign(image=images, correct=kept["object_response"] == kept["category"])
    rows = []
    for name, of_set in right.groupby("set", sort=False):
        of_image = of_set.groupby("image")["correct"].agg(["sum", "size"])
        n, share = int(of_image["size"].sum()), of_image["sum"].sum() / of_image["size"].sum()
        apart = of_image["sum"] - share * of_image["size"]
        variance = float((apart**2).sum())
        if name == "cue-conflict":
            content, texture = ((apart.groupby(apart.index.str.split("-").str[k]).sum() ** 2).sum() for k in (0, 1))
            variance = max(content + texture - variance, content, texture, variance)
        rows.append((name, n, int(of_image["sum"].sum()), share, np.sqrt(variance) / n))
    return pd.DataFrame(rows, columns=["set", "n", "correct", "accuracy", "standard_error"])


def shape_bias(trials: pd.DataFrame) -> pd.DataFrame:
    """Shape decisions / (shape + texture decisions) by person and shape category, where the cues differ."""
    conflict = trials[trials["category"] != trials["texture"]]
    decided = conflict.assign(
        shape=conflict["object_response"] == conflict["category"],
        texture=conflict["object_response"] == conflict["texture"],
    )
    rows = []
    for subj, of_person in decided.groupby("subj"):
        groups = [("all", of_person), *of_person.groupby("category")]
        for category, group in groups:
            shape, texture = int(group["shape"].sum()), int(group["texture"].sum())
            bias = shape / (shape + texture) if shape + texture else np.nan
            rows.append((subj, category, shape, texture, len(group), bias))
    return pd.DataFrame(rows, columns=["subj", "category", "shape", "texture", "n", "shape_bias"])


def error_consistency(trials: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa on correctness, each pair of people, by set and condition (Geirhos et al. 2020)."""
    rows = []
    right = trials.assign(correct=trials["object_response"] == trials["category"])
    for (name, condition), group in right.groupby(["set", "condition"], sort=False):
        people = group.pivot(index="stimulus", columns="subj", values="correct").astype(bool)
        for a, b in itertools.combinations(people.columns, 2):
            observed = float((people[a] == people[b]).mean())
            p, q = float(people[a].mean()), float(people[b].mean())
            expected = p * q + (1 - p) * (1 - q)
            kappa = 1.0 if expected == 1 else (observed - expected) / (1 - expected)
            rows.append((name, condition, a, b, len(people), observed, expected, kappa))
    columns = ["set", "condition", "subj_a", "subj_b", "n", "observed", "expected", "kappa"]
    return pd.DataFrame(rows, columns=columns)


def tables() -> dict[str, pd.DataFrame]:
    """The four tables, sets and conditions in the benchmark's order."""
    trials = pd.concat([load(name) for name in SETS], ignore_index=True)
    order = {(name, c): (i, j) for i, name in enumerate(SETS) for j, c in enumerate(CONDITIONS[name])}
    keys = [(*order[s, c], subj) for s, c, subj in zip(trials["set"], trials["condition"], trials["subj"], strict=True)]
    trials = trials.iloc[sorted(range(len(keys)), key=keys.__getitem__)]
    return {
        "accuracy": accuracy(trials),
        "accuracy_of_sets": accuracy_of_sets(trials),
        "shape_bias": shape_bias(trials[trials["set"] == "cue-conflict"]),
        "error_consistency": error_consistency(trials),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    for name, table in tables().items():
        table.to_csv(folder / f"human_{name}.csv", index=False)
        print(folder / f"human_{name}.csv", len(table))
