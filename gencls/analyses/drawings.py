"""What the generative models draw, and whether classifiers can tell what it is.

On record in `RECOGNISED`, made by `scripts/natural_people.py`; people's trials have no part in it. Reading it needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls import figures, metrics, trials
from gencls.analyses.bias import QUICK
from gencls.models import zoo
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import RECORDS, World

RECOGNISED = RECORDS / "natural" / "drawn.csv"
#: Who draws, with how much guidance (1 is none, as the models are scored), and who looks at it.
ARTISTS = ("natural/pixel", "natural/latent", "natural/ar")
GUIDANCES = (1.0, 2.0, 4.0)
JUDGES = ("natural/resnet", "pypi:efficientnet-lite0")
#: Pictures a category.
EACH = 10
COLUMNS = ["measure", "artist", "guidance", "observer", "value", "low", "high", "n"]


def pictures(model: str, categories: Sequence[str], seed: int, guidance: float, each: int = 1) -> np.ndarray:
    """What a model draws of "a photo of a" each category: categories×each×s×s×3 uint8."""
    from gencls.training.autoregressive import Janus
    from gencls.training.samples import draw

    opened: Any = zoo.open_model(model)
    drawing = Janus(opened.network, opened.adapter.processor) if opened.kind == "autoregressive" else opened.pipeline
    made = draw(drawing, [f"a photo of a {c}" for c in categories], seed, each, guidance)
    return np.rint(made * 255).astype(np.uint8)


def drawn(
    models: Sequence[str], categories: Sequence[str], seed: int = 0, guidance: float = 1.0
) -> tuple[list[np.ndarray], list[str]]:
    """A picture a category of each of these models whose weights are here, and what each picture is."""
    images: list[np.ndarray] = []
    names: list[str] = []
    for model in [m for m in models if zoo.digest(m)]:
        images += list(pictures(model, categories, seed, guidance)[:, 0])
        names += [f"{c} ({model.rpartition('/')[2]})" for c in categories]
    return images, names


def computed(world: World, artists: Sequence[str] = ARTISTS, each: int = EACH) -> pd.DataFrame:
    """How often each of `JUDGES` names what a picture was to show, of the held-out photographs (`artist` empty) and of `each` pictures a category."""
    from gencls.likelihood.scoring import score
    from gencls.likelihood.weightings import answers

    categories = list(world.categories)
    shown: dict[tuple[str, float], StimulusSet] = {("", 1.0): world.stimuli("photos")}
    table = pd.DataFrame({"category": np.repeat(categories, each), "condition": "drawn", "texture": ""})
    table["name"] = [f"{c}-{k}" for c in categories for k in range(each)]
    for artist in artists:
        for guidance in GUIDANCES:
            made = np.concatenate(pictures(artist, categories, 0, guidance, each))
            name = f"drawn-{artist.rpartition('/')[2]}-{guidance:g}"
            shown[artist, guidance] = StimulusSet(name, table, made.__getitem__, world.categories)
    rows = []
    for (artist, guidance), stimuli in shown.items():
        for judge in JUDGES:
            named = answers(score(zoo.open_model(judge), stimuli, classes=categories, progress=False))
            found = metrics.accuracy(trials.from_answers(judge, stimuli, named).assign(set="drawn"), QUICK)
            rows.append(figures.points({judge: found}, measure="recognised", artist=artist, guidance=guidance))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def recognised() -> pd.DataFrame:
    """`RECOGNISED`; no rows where it is not here."""
    return pd.read_csv(RECOGNISED, keep_default_na=False) if RECOGNISED.is_file() else pd.DataFrame(columns=COLUMNS)
