"""What can be read out of a network's features linearly: shape, texture, or neither?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls.analyses import drivers
from gencls.metrics import seeded

#: Cue-conflict stimuli that probes are trained and tested on, and the noise levels.
TRAIN, TEST = 640, 240
LEVELS = (0.0, 0.1, 0.3, 0.5, 0.7)
#: The column of a cue-conflict stimulus that says each cue → what the page calls it.
NAMES = {"category": "shape", "texture": "texture"}
CUES = tuple(NAMES)
_PENALTIES = np.logspace(-4, 1, 6)


def probe(train: np.ndarray, labels: Sequence[np.ndarray], test: np.ndarray) -> list[np.ndarray]:
    """Labels for the rows of `test`, read out linearly, for each kind of label: ridge regression on one-hot labels.

    train: n×d, test: m×d, labels: n of each kind. The penalty, relative to the mean size of a row, is the one of least
    leave-one-out error on `train`.
    """
    centre = train.mean(0)
    a, b = (train - centre).astype(np.float64), (test - centre).astype(np.float64)
    gram = a @ a.T
    scale = np.trace(gram) / len(a) or 1.0
    sizes, vectors = np.linalg.eigh(gram / scale)
    found = []
    for each in labels:
        kinds = np.unique(each)
        targets = (each[:, None] == kinds) - (each[:, None] == kinds).mean(0)
        turned = vectors.T @ targets
        best, kept = math.inf, targets
        for penalty in _PENALTIES:
            inverse = 1 / (np.maximum(sizes, 0) + penalty)
            solution = vectors @ (inverse[:, None] * turned)
            loss = float(np.square(solution / (vectors**2 @ inverse)[:, None]).sum())
            if loss < best:
                best, kept = loss, solution
        found.append(kinds[(b @ a.T / scale @ kept).argmax(1)])
    return found


FILE = drivers.FOLDER / "probes.csv"


def read(models: Sequence[str]) -> pd.DataFrame:
    """What a linear reading finds: `model, layer, t, reading, cue, value, low, high, n`, means over the training seeds on record."""
    known = pd.read_csv(FILE)
    known["family"] = known["model"].str.partition("@")[0]
    rows = []
    for (family, layer, t, reading, cue), part in known[known["family"].isin(models)].groupby(
        ["family", "layer", "t", "reading", "cue"], sort=False
    ):
        values, n = part["value"].to_numpy(), int(part["n"].iloc[0])
        mean = float(values.mean())
        half = seeded.half_width(mean * (1 - mean) / n, n, [values])
        ends = {"low": max(0.0, mean - half), "high": min(1.0, mean + half), "n": n * len(values)}
        row = {"model": family, "layer": layer, "t": t, "reading": reading, "cue": cue, "value": mean}
        rows.append(row | ends)
    return pd.DataFrame(rows)


def curves(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of `figures.ood_curves` out of `read`: a panel a model and cue, a line a layer, the better of the two readings."""
    top = found.loc[found.groupby(["model", "layer", "t", "cue"], sort=False)["value"].idxmax()]
    cue = top["cue"].map(NAMES)
    drawn = top.assign(set=top["model"] + ", " + cue, observer=top["layer"], condition=top["t"].map("{:g}".format))
    return drawn.sort_values(["model", "cue", "layer", "t"]).reset_index(drop=True)


def best(curves: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, `shape` or `texture`) → the row of its best layer and noise level, the input left out."""
    rows = curves[curves["layer"] != "pixels"]
    top = rows.loc[rows.groupby(["model", "cue"], sort=False)["value"].idxmax()]
    return {(str(r["model"]), NAMES[str(r["cue"])]): {str(k): v for k, v in r.items()} for r in top.to_dict("records")}


def readable(model: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(layer, `shape` or `texture`) → what a linear probe finds there without noise, by the better of the two readings."""
    rows = curves(read([model]))
    return {
        (str(r["layer"]), NAMES[str(r["cue"])]): {str(k): v for k, v in r.items()}
        for r in rows[rows["t"] == 0].to_dict("records")
    }
