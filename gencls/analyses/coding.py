"""What the codes that generative models look at keep of an image: classifiers are shown the stimuli coded and decoded again.

On record in `CODED`, made by `scripts/natural_people.py`; people's trials have no part in it. Reading it needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gencls import figures, metrics
from gencls.analyses.bias import QUICK
from gencls.models.zoo import open_model
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import RECORDS, World

CODED = RECORDS / "natural" / "coded.csv"
#: Whose codes, and who looks at what is left.
CODERS = ("natural/latent", "natural/ar")
OBSERVERS = ("natural/resnet", "natural/resnet-noise", "natural/vit", "natural/clip")
COLUMNS = ["measure", "coder", "observer", "value", "low", "high", "n"]


def decoded(images: Sequence[np.ndarray], coder: str) -> np.ndarray:
    """H×W×3 uint8 images as the model's autoencoder, of latents or of tokens, makes them again: n×s×s×3 uint8."""
    import torch

    model: Any = open_model(coder)
    with torch.no_grad():
        if model.kind == "autoregressive":
            pixels = model.network.model.vqmodel.decode(model.encode(images))
        else:
            vae = model.pipeline.vae
            pixels = vae.decode(model.encode(images) / vae.config.scaling_factor).sample
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def recoded(stimuli: StimulusSet, coder: str) -> StimulusSet:
    """The same stimuli, coded and decoded one by one; under a name of their own."""
    name = f"{stimuli.name}-{coder.rpartition('/')[2]}"
    return StimulusSet(name, stimuli.table, lambda i: decoded([stimuli[i].image], coder)[0], stimuli.categories)


def computed(world: World, coders: Sequence[str] = CODERS, observers: Sequence[str] = OBSERVERS) -> pd.DataFrame:
    """Shape bias under cue conflict and accuracy on photographs: `COLUMNS`; `coder` is empty for the stimuli as they are."""
    rows = []
    for measure, name in (("shape bias", "cue-conflict"), ("accuracy", "photos")):
        whole = world.stimuli(name)
        for coder in ("", *coders):
            shown = recoded(whole, coder) if coder else whole
            for observer in observers:
                trials = world.trials(shown, observer, world.scores(shown, observer)).assign(set=name)
                found = metrics.accuracy(trials, QUICK) if name == "photos" else metrics.shape_bias(trials, None, QUICK)
                rows.append(figures.points({observer: found}, measure=measure, coder=coder))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def on_record() -> pd.DataFrame:
    """`computed` as it ships; without a row where it does not."""
    return pd.read_csv(CODED, keep_default_na=False) if CODED.is_file() else pd.DataFrame(columns=COLUMNS)
