"""What the generative models draw, and whether classifiers can tell what it is.

On record in `RECOGNISED`, made by `scripts/natural_people.py`; people's trials have no part in it. Reading it needs no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls import figures, metrics, trials
from gencls.analyses import coding
from gencls.analyses.bias import QUICK
from gencls.analyses.photographs import GENERATIVE
from gencls.metrics.bootstrap import Bootstrap
from gencls.models import zoo
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import RECORDS, World

RECOGNISED = RECORDS / "natural" / "drawn.csv"
#: With how much guidance the generative models draw (1 is none, as they are scored), and who looks at it.
GUIDANCES = (1.0, 2.0, 4.0)
JUDGES = ("natural/resnet", "pypi:efficientnet-lite0")
#: Pictures a category.
EACH = 10
COLUMNS = ["measure", "shown", "artist", "guidance", "observer", "value", "low", "high", "n"]


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
    """A picture a category of each of these models whose weights are here, category by category, and what each picture is."""
    artists = [m for m in models if zoo.digest(m)]
    made = {artist: pictures(artist, categories, seed, guidance)[:, 0] for artist in artists}
    wanted = list(itertools.product(range(len(categories)), artists))
    names = [f"{categories[k]} ({artist.rpartition('/')[2]})" for k, artist in wanted]
    return [made[artist][k] for k, artist in wanted], names


def shown(
    world: World, artists: Sequence[str] = GENERATIVE, each: int = EACH
) -> dict[tuple[str, str, float], StimulusSet]:
    """(what, by whom, guidance) → the held-out photographs, the same as an artist's autoencoder makes them again, and `each` pictures a category."""
    photographs = world.stimuli("photos")
    found = {("photographs", "", 1.0): photographs}
    found |= {("decoded", a, 1.0): coding.recoded(photographs, a) for a in artists if a in coding.CODERS}
    categories = list(world.categories)
    table = pd.DataFrame({"category": np.repeat(categories, each), "condition": "drawn", "texture": ""})
    table["name"] = [f"{c}-{k}" for c in categories for k in range(each)]
    for artist, guidance in itertools.product(artists, GUIDANCES):
        made = np.concatenate(pictures(artist, categories, 0, guidance, each))
        name = f"drawn-{artist.rpartition('/')[2]}-{guidance:g}"
        found["pictures", artist, guidance] = StimulusSet(name, table, made.__getitem__, world.categories)
    return found


def computed(
    sets: Mapping[tuple[str, str, float], StimulusSet], judges: Sequence[str] = JUDGES, bootstrap: Bootstrap = QUICK
) -> pd.DataFrame:
    """How often each judge names what was to be seen, in all that is `shown`: `COLUMNS`."""
    from gencls.likelihood.scoring import score
    from gencls.likelihood.weightings import answers

    rows = []
    for ((what, artist, guidance), stimuli), judge in itertools.product(sets.items(), judges):
        named = answers(score(zoo.open_model(judge), stimuli, classes=stimuli.categories, progress=False))
        found = metrics.accuracy(trials.from_answers(judge, stimuli, named).assign(set=what), bootstrap)
        row = figures.points({judge: found}, measure="recognised", shown=what, artist=artist)
        rows.append(row.assign(guidance=guidance))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def recognised() -> pd.DataFrame:
    """`RECOGNISED`; no rows where it is not here."""
    return pd.read_csv(RECOGNISED, keep_default_na=False) if RECOGNISED.is_file() else pd.DataFrame(columns=COLUMNS)
