"""Which spatial frequencies decide? Denoising errors split into octaves, beside ResNets of low-passed photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from gencls import figures
from gencls.analyses import drivers
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.weightings import Weighting, weighted
from gencls.metrics import Estimate, seeded
from gencls.stimuli.sets import spread
from gencls.worlds import World

#: The noise levels of the records.
BAND_PLAN = Exhaustive(timesteps=8)
#: Where octaves meet, in cycles an image: below them the photos of a ResNet, or the octaves of a denoising error, are looked at.
CUTOFFS = (2, 4, 8, 16)


def check(world: World, model: str, n: int) -> int:
    """Split `n` stimuli afresh and compare them with the record, bound by the weights; how many were compared.

    0 where the weights are not here. GenclsError where the record is not of these weights.
    """
    from gencls.likelihood.scoring import TOLERANCE, differ
    from gencls.models import zoo

    if n < 1 or not zoo.is_here(model):
        return 0
    from gencls.analyses.driver_scores import octaves

    old, shown = drivers.on_record(model, "octaves"), drivers.stimuli(world)
    rows = spread(len(shown), n)
    apart = differ(octaves(model, shown[rows], BAND_PLAN), old.isel(stimulus=rows))
    if not apart < TOLERANCE:
        raise GenclsError(
            f"{model}: {len(rows)} stimuli split into octaves afresh differ from the record by up to {apart:.1e} relative; "
            f"make it again with `python scripts/drivers.py --octaves {model}`"
        )
    return len(rows)


def by_level(model: str, what: str = "shape bias") -> pd.DataFrame:
    """A measure where one octave of one noise level alone decides: `observer` (the octave), `t, log_snr, value, low, high, n`.

    The rows of the observer `all` are those of the whole error.
    """
    each = drivers.seeds(model, "octaves")
    rows = []
    for band in ["all", *each[0]["band"].values.tolist()]:
        cut = [_one_band(scores, str(band)) for scores in each]
        for i, (t, log_snr) in enumerate(zip(cut[0]["t"].values, cut[0]["log_snr"].values, strict=True)):
            found = drivers.MEASURES[what]([c.isel(t=[i]) for c in cut], "uniform")
            rows.append(figures.points({str(band): found}, t=float(t), log_snr=float(log_snr)))
    return pd.concat(rows, ignore_index=True)


def band_bias(model: str, weightings: Sequence[str], what: str = "shape bias") -> dict[tuple[str, str], Estimate]:
    """(octave, weighting) → a measure where that octave alone decides, at all noise levels; `all` is the whole error."""
    each = drivers.seeds(model, "octaves")
    found = {}
    for band in ["all", *each[0]["band"].values.tolist()]:
        for by in weightings:
            found[str(band), by] = drivers.MEASURES[what]([_one_band(s, str(band)) for s in each], by)
    return found


def _one_band(scores: xr.Dataset, band: str) -> xr.Dataset:
    error = scores["error"].sum("band") if band == "all" else scores["error"].sel(band=band, drop=True)
    return scores.drop_vars(["error", "band"]).assign(error=error)


def whole(model: str) -> list[xr.Dataset]:
    """The scores of a model's training drivers.seeds; where they are split into octaves, their sum."""
    return (
        [_one_band(s, "all") for s in drivers.seeds(model, "octaves")]
        if drivers.here([model], "octaves")
        else drivers.seeds(model)
    )


def low_passed(model: str, by: str | Weighting) -> pd.DataFrame:
    """Shape bias and accuracy without high frequencies, `set` (the measure), `observer, condition` (cycles an image), `value, low, high, n`.

    Of the diffusion model the octaves of the error below the cutoff decide; a ResNet was trained on photos that were low-passed there, and is shown
    stimuli that were low-passed alike.
    """
    found = {}
    for at, (octaves, nets) in _beside(model).items():
        for what in ("shape bias", "accuracy"):
            found[what, f"{model}, octaves", at] = drivers.MEASURES[what](octaves, by)
            if nets:
                found[what, f"{drivers.RESNET}, trained on these", at] = drivers.MEASURES[what](nets, by)
    return figures.points(found, ["set", "observer", "condition"])


def low_pass_gap(model: str, by: str | Weighting) -> dict[str, Estimate]:
    """Cutoff → how much more the octaves of a diffusion model below it go by shape than the ResNet that was trained on them."""
    return {at: drivers.difference(octaves, nets, by) for at, (octaves, nets) in _beside(model).items() if nets}


def _beside(model: str) -> dict[str, tuple[list[xr.Dataset], list[xr.Dataset]]]:
    """Cutoff → the octaves of a diffusion model's error below it, and the scores of the ResNet that was trained on them, none without a record."""
    found = {}
    for cut, net in zip((*CUTOFFS, None), (*resnets()[1:], drivers.RESNET), strict=True):
        octaves = [_below(s, cut) for s in drivers.seeds(model, "octaves")]
        found["all" if cut is None else f"below {cut}"] = octaves, drivers.seeds(net) if drivers.here([net]) else []
    return found


def gap_verdict(found: Mapping[str, Estimate]) -> str:
    """What the intervals of `low_pass_gap` say, in Markdown."""
    kinds: dict[str, list[str]] = {"more by shape than": [], "less by shape than": [], "like": []}
    for cut, e in found.items():
        kinds[drivers.sentence(e, *kinds)].append(cut)
    return "The generative model goes " + "; ".join(
        f"{kind} the ResNet: {', '.join(cuts)}" for kind, cuts in kinds.items() if cuts
    ) + " (cycles an image; as far as the intervals tell)."  # fmt: skip


def resnets() -> list[str]:
    """The small ResNet, and those of low-passed photos."""
    return [drivers.RESNET, *(f"{drivers.RESNET}-below-{cut}" for cut in CUTOFFS)]


def _below(scores: xr.Dataset, cut: float | None) -> xr.Dataset:
    """The part of an error that lies below a cutoff at which an octave begins."""
    kept = scores["error"].isel(band=slice(None if cut is None else 1 + CUTOFFS.index(int(cut))))
    return scores.drop_vars(["error", "band"]).assign(error=kept.sum("band"))


def margins(model: str, by: str | Weighting) -> dict[str, Estimate]:
    """Octave → its part of the margin between the two readings, in percent of the mean size of the whole margin.

    The margin is the weighted error under the texture's category less that under the shape's: above 0 speaks for shape; `n` counts stimuli in every seed. The
    octaves' parts sum to the whole (`all`), because their errors do.
    """
    each = [drivers.of(s, "cue-conflict") for s in drivers.seeds(model, "octaves")]
    parts = {b: [_margin(_one_band(s, b), by) for s in each] for b in ["all", *map(str, each[0]["band"].values)]}
    units = [np.full_like(whole, np.abs(whole).mean() / 100) for whole in parts["all"]]
    found = {band: seeded.ratio(values, units, "margin", unit=False) for band, values in parts.items()}
    count = sum(map(len, units))  # of the stimuli, in every seed: what was summed are sizes
    return {b: Estimate(e.value, e.low, e.high, count, e.name, e.method, points=e.points) for b, e in found.items()}


def _margin(scores: xr.Dataset, by: str | Weighting) -> np.ndarray:
    values = weighted(scores, by).values
    names = [str(c) for c in scores["class"].values]
    at = [[names.index(c) for c in scores[k].values.tolist()] for k in ("category", "texture")]
    rows = np.arange(len(values))
    return values[rows, at[1]] - values[rows, at[0]]
