"""What makes a generative classifier go by shape? One thing is varied at a time, in a world where both cues are known.

Most models here are too many to ship: their scores are on record in a compact form (`compact`), three training seeds each.
Intervals are over training seeds and stimuli (`gencls.metrics.seeded`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import xarray as xr

from gencls import categories as cats
from gencls import figures, trials
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.weightings import Weighting, answers, exponential, weighting
from gencls.metrics import Estimate, seeded
from gencls.metrics.seeded import Hits
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import RECORDS, World, seeds_of

FOLDER = RECORDS / "shapes" / "drivers"
#: The trainings that differ in the loss's weighting, and those that differ in the noise schedule.
LOSSES = ("drivers/cosine-x0", "drivers/cosine-eps", "drivers/cosine-exp")
SCHEDULES = ("drivers/cosine-x0", "drivers/linear-x0", "drivers/flow-x0")
GENERATIVE = (*LOSSES, *SCHEDULES[1:])
CLASSIFIER = "drivers/denoising-classifier"
#: Those that are told the category as an index, in a word, in sentences.
TELLINGS = ("drivers/index", "drivers/cosine-x0", "drivers/sentences")
#: A diffusion model and a causal transformer on tokens, of the same captions.
FAMILIES = ("shapes/pixel", "shapes/ar")
RESNET = "drivers/resnet"
#: What the errors of every model are weighted by in turn.
WEIGHTINGS = ("uniform", "snr", "1+snr", "exp(-7t)")
#: Stimuli of each set on record, and the noise levels.
COUNTS = {"photos": 48, "cue-conflict": 240}
PLAN = Exhaustive(timesteps=10)
#: The prompts of the question whether the wording matters; `a(n)` is the article that agrees. The words sketch and outline, and
#: the article before the bare name, were in no caption of the training.
TEMPLATES = (
    "A bad photo of a {}",
    "A bad photo of a(n) {}",
    "A bad photo of an {}",
    "a photo of a {}",
    "the {}",
    "{}",
    "a drawing of a {}",
    "this is a {}",
    "a sketch of a {}",
    "an outline of a {}",
)
PROMPT_COUNTS = {"photos": 32, "cue-conflict": 64}
PROMPT_PLAN = Exhaustive(timesteps=6)


# -- records ----------------------------------------------------------------------------------------------------------


def stimuli(world: World, counts: Mapping[str, int] = COUNTS) -> StimulusSet:
    """Photos and cue-conflict stimuli in one set, told apart by their condition."""
    parts = [world.stimuli(name, n) for name, n in counts.items()]
    table = pd.concat([p.table for p in parts], ignore_index=True)
    place = [(part, i) for part in parts for i in range(len(part))]
    return StimulusSet("drivers", table, lambda i: place[i][0][place[i][1]].image, world.categories)


def compact(scores: xr.Dataset) -> xr.Dataset:
    """Errors as the mean over classes and float16 differences from it, which keep three digits of what tells classes apart.

    What has no noise level stays as it is, an autoregressive model's log-likelihood summed over its tokens.
    """
    if "log_likelihood" in scores:
        whole = scores["log_likelihood"].astype("float64").sum("token").expand_dims("token", -1)
        return scores.drop_dims("token").assign(log_likelihood=whole.astype("float32"))
    if "error" not in scores:
        return scores
    mean = scores["error"].astype("float64").mean("class")
    kept = scores.drop_vars("error")
    return kept.assign(mean=mean.astype("float32"), difference=(scores["error"] - mean).astype("float16"))


def expanded(kept: xr.Dataset) -> xr.Dataset:
    """Errors again, out of `compact`."""
    if "difference" not in kept:
        return kept
    error = (kept["difference"].astype("float64") + kept["mean"]).transpose(*kept["difference"].dims)
    return kept.drop_vars(["difference", "mean"]).assign(error=error)


@lru_cache(maxsize=256)
def on_record(model: str, what: str = "") -> xr.Dataset:
    """A model's scores on record (`what` "": at `PLAN`; "octaves": split by band, see `gencls.analyses.octaves`)."""
    path = FOLDER / record_name(model, what)
    if not path.exists():
        raise GenclsError(
            f"{model} has no record{f' of {what}' if what else ''} for this chapter; `gencls train {model}`, "
            f"then `python scripts/drivers.py {model}`"
        )
    return expanded(records.read(path))


def record_name(model: str, what: str = "") -> str:
    """The file of a model's record in `FOLDER`."""
    return f"{model.replace('/', '-')}{f'.{what}' if what else ''}.zarr.zip"


def seeds(model: str, what: str = "") -> list[xr.Dataset]:
    """The records of a model's training seeds, those that there are; GenclsError if there is none."""
    return [on_record(name, what) for name in here(seeds_of(model), what)] or [on_record(model, what)]


def here(models: Iterable[str], what: str = "") -> list[str]:
    """Those of the models that have a record."""
    return [m for m in models if (FOLDER / record_name(m, what)).exists()]


def of(scores: xr.Dataset, condition: str) -> xr.Dataset:
    """The stimuli of one condition, `photos` or `cue-conflict`."""
    return scores.isel(stimulus=np.flatnonzero(scores["condition"].values == condition))


# -- measures with intervals over seeds and stimuli -------------------------------------------------------------------


def followed(scores: xr.Dataset, by: str | Weighting) -> Hits:
    """(shape decisions, shape or texture decisions) of the cue-conflict stimuli: two bool arrays of n."""
    conflict = of(scores, "cue-conflict")
    said = np.array(answers(conflict, by))
    shape = said == conflict["category"].values
    return shape, shape | (said == conflict["texture"].values)


def _either(scores: xr.Dataset, by: str | Weighting) -> Hits:
    whole = followed(scores, by)[1]
    return whole, np.ones_like(whole)


def _right(scores: xr.Dataset, by: str | Weighting) -> Hits:
    photos = of(scores, "photos")
    right = np.array(answers(photos, by)) == photos["category"].values
    return right, np.ones_like(right)


#: A measure's name → which stimuli are hits, and which count.
_HITS: dict[str, Callable[[xr.Dataset, str | Weighting], Hits]] = {
    "shape bias": followed,
    "cue accuracy": _either,
    "accuracy": _right,
}


def _measured(name: str, each: Sequence[xr.Dataset], by: str | Weighting) -> Estimate:
    hits, whole = zip(*(_HITS[name](scores, by) for scores in each), strict=True)
    return seeded.ratio(hits, whole, name)


def bias(each: Sequence[xr.Dataset], by: str | Weighting) -> Estimate:
    """Shape bias of a model under a weighting, the mean over its training seeds."""
    return _measured("shape bias", each, by)


def cue_accuracy(each: Sequence[xr.Dataset], by: str | Weighting) -> Estimate:
    """The share of cue-conflict stimuli where either cue is followed; by chance 1/8."""
    return _measured("cue accuracy", each, by)


def accuracy(each: Sequence[xr.Dataset], by: str | Weighting) -> Estimate:
    """Accuracy on photos, the mean over training seeds."""
    return _measured("accuracy", each, by)


MEASURES: dict[str, Callable[[Sequence[xr.Dataset], str | Weighting], Estimate]] = {
    "shape bias": bias,
    "cue accuracy": cue_accuracy,
    "accuracy": accuracy,
}


def difference(a: Sequence[xr.Dataset], b: Sequence[xr.Dataset], by: str | Weighting) -> Estimate:
    """How much the shape bias of `a` lies above that of `b`, with its interval over seeds and stimuli."""
    groups = [[followed(scores, by) for scores in group] for group in (a, b)]
    return seeded.contrast(groups, (1, -1))


def sentence(e: Estimate, above: str, below: str, neither: str) -> str:
    """One of three sentences, by where the interval lies against 0."""
    return above if e.low > 0 else below if e.high < 0 else neither


def compare(
    pairs: Mapping[str, tuple[str, str]], weightings: Sequence[str] = WEIGHTINGS
) -> dict[tuple[str, str], Estimate]:
    """(label, weighting) → how much the first of two models' shape bias lies above the second's, for pairs that have records."""
    return {
        (label, by): difference(seeds(a), seeds(b), by)
        for label, (a, b) in pairs.items()
        if len(here([a, b])) == 2
        for by in weightings
    }


def verdict(found: Mapping[tuple[str, str], Estimate]) -> str:
    """What the intervals of `compare` say, a line a label, in Markdown."""
    lines = []
    for label in dict.fromkeys(label for label, _ in found):
        kinds: dict[str, list[str]] = {"goes more by shape": [], "goes less by shape": [], "cannot be told apart": []}
        for (other, by), e in found.items():
            if other == label:
                kinds[sentence(e, *kinds)].append(f"`{by}`")
        parts = [f"{kind} when read under {', '.join(by)}" for kind, by in kinds.items() if by]
        lines.append(f"- **{label}**: the first {'; '.join(parts)}.")
    return "\n".join(lines)


def read_two_ways(models: Sequence[str], first: str, second: str) -> dict[str, Estimate]:
    """Model → how much its shape bias under the first weighting lies above that under the second; the same seeds in both."""
    found = {}
    for model in models:
        parts = [[followed(s, by) for s in seeds(model)] for by in (first, second)]
        whole = [[p[1] for p in part] for part in parts]
        hits = [[p[0] for p in part] for part in parts]
        found[model] = seeded.paired(hits[0], whole[0], hits[1], whole[1])
    return found


def costs(models: Sequence[str]) -> pd.DataFrame:
    """What training and records took: `observer, seeds, seconds, presentations, accuracy, evaluations`, means over seeds.

    `accuracy`: on 128 or 256 photos like those of its training, of the split that was looked at in choosing the steps; NaN where a training kept none.
    """
    rows = []
    for model in models:
        each = seeds(model)
        facts = [json.loads(s.attrs["facts"]) for s in each]
        dev = [f.get("in_distribution_accuracy", {}).get("value", math.nan) for f in facts]
        row = {"observer": model, "seeds": len(each), "seconds": np.mean([f["seconds"] for f in facts])}
        row |= {"presentations": facts[0]["presentations"], "accuracy": np.mean(dev)}
        rows.append(row | {"evaluations": _evaluations(model, each[0])})
    return pd.DataFrame(rows)


def _evaluations(model: str, scores: xr.Dataset) -> int:
    """How often a network was run for the scores: a classifier once for all classes."""
    what = next(name for name in ("error", "log_likelihood", "log_probability") if name in scores)
    at_once = model.startswith((CLASSIFIER, RESNET))
    return scores[what].size // (len(scores["class"]) if at_once else 1)


def conclusions(
    readings: Mapping[str, Estimate],
    split: Mapping[tuple[str, str], Estimate],
    by: str,
    generating: Mapping[str, Estimate],
    bands: Sequence[str],
) -> str:
    """What the intervals say of the paper's explanation, a list in Markdown.

    readings: model → bias under `by` less that under uniform; split: of `band_bias`; generating: weighting → bias of the generative model less that of
    the classifier of the same noised images; bands: octaves from low to high that are compared with one half.
    """
    kinds: dict[str, list[str]] = {"shape": [], "texture": [], "neither cue for sure": []}
    for band in bands:
        e = split[band, by]
        kinds["shape" if e.low > 0.5 else "texture" if e.high < 0.5 else "neither cue for sure"].append(
            f"{band} cycles"
        )
    more, less = sum(e.low > 0 for e in readings.values()), sum(e.high < 0 for e in readings.values())
    ways: dict[str, list[str]] = {
        "more by shape than": [],
        "*less* by shape than": [],
        "neither more nor less by shape, for sure, than": [],
    }
    for way, e in generating.items():
        ways[sentence(e, *ways)].append(f"`{way}`")
    made = "; ".join(f"{kind} the classifier under {', '.join(names)}" for kind, names in ways.items() if names)
    octaves_ = "; ".join(f"{', '.join(names)} by {kind}" for kind, names in kinds.items() if names)
    return "\n".join(
        [
            f"- **Low frequencies and shape.** Taken alone, the octaves go: {octaves_}.",
            f"- **The weighting.** Of {len(readings)} generative models, read under `{by}` and not uniformly, {more} go more by shape, "
            f"{less} go *less* by shape, and of {len(readings) - more - less} it cannot be told.",
            f"- **Generating.** On the same noised images the generative model goes {made}. How well each of the two learned is in that difference, too.",
        ]
    )


def weak(found: pd.DataFrame, least: float = 0.5) -> str:
    """Which models hardly learned the categories, in a sentence; `found` is of `costs`."""
    names = found[found["accuracy"] < least]["observer"].tolist()
    if not names:
        return "Every generative model here names most photos."
    return (
        f"**{', '.join(names)}** did not learn to name most photos in the steps that all were given. Where such a model cannot be told "
        "apart from another, that says little, and its bias is that of few decisions."
    )


# -- training bound × scoring weight ----------------------------------------------------------------------------------


def table(models: Sequence[str], weightings: Sequence[str] = WEIGHTINGS, what: str = "shape bias") -> pd.DataFrame:
    """Every model under every weighting: `observer, weighting, value, low, high, n`; `what` is one of `MEASURES`."""
    found = {(m, w): MEASURES[what](seeds(m), w) for m in models for w in weightings}
    return figures.points(found, ["observer", "weighting"])


def by_level(models: Sequence[str], what: str = "shape bias") -> pd.DataFrame:
    """A measure where one noise level alone decides: `observer, t, log_snr, value, low, high, n`."""
    rows = []
    for model in models:
        each = seeds(model)
        for i, (t, log_snr) in enumerate(zip(each[0]["t"].values, each[0]["log_snr"].values, strict=True)):
            found = MEASURES[what]([s.isel(t=[i]) for s in each], "uniform")
            rows.append(figures.points({model: found}, t=float(t), log_snr=float(log_snr)))
    return pd.concat(rows, ignore_index=True)


def where(by: str, each: xr.Dataset) -> float:
    """The share of a weighting's decision that noise levels below t = 0.25 have.

    It is measured on what decides: the spread over classes of each level's weighted error.
    """
    w = weighting(by)(each["t"].values, each["log_snr"].values) * each["quadrature"].values
    spread = each["error"].mean("draw").std("class").mean("stimulus").values * w
    return float(spread[each["t"].values < 0.25].sum() / spread.sum())


def explorer_table(models: Sequence[str], ks: Iterable[float] = range(0, 15, 4)) -> pd.DataFrame:
    """`explored` at every k, and at the paper's 7."""
    return pd.concat([explored(models, k) for k in sorted({*ks, 7})], ignore_index=True)


def explored(models: Sequence[str], k: float, measures: Sequence[str] = ()) -> pd.DataFrame:
    """What the explorer shows at one exp(-kt): `observer` (without the `drivers/` that all share), `measure, k, value, low, high, n`."""
    by = exponential(k)
    found = {
        (m.removeprefix("drivers/"), what): MEASURES[what](seeds(m), by)
        for m in models
        for what in measures or MEASURES
    }
    return figures.points(found, ["observer", "measure"], k=k)


# -- prompts ----------------------------------------------------------------------------------------------------------


def by_prompt(model: str, by: str | Weighting = "exp(-7t)") -> dict[str, dict[str, Estimate]]:
    """Template → `MEASURES` under it, with intervals over stimuli; those on record."""
    found = {}
    for i, template in enumerate(TEMPLATES):
        if here([model], f"prompt{i}"):
            each = [on_record(model, f"prompt{i}")]
            found[template] = {name: measure(each, by) for name, measure in MEASURES.items()}
    return found


def between_prompts(model: str, by: str | Weighting = "exp(-7t)") -> dict[str, dict[str, Estimate]]:
    """Template → how much each of `MEASURES` under it lies above that under the first, on the same stimuli; those on record."""
    each = {t: on_record(model, f"prompt{i}") for i, t in enumerate(TEMPLATES) if here([model], f"prompt{i}")}
    if TEMPLATES[0] not in each:
        return {}
    return {
        template: {
            name: seeded.paired(*([part] for part in (*hits(scores, by), *hits(each[TEMPLATES[0]], by))))
            for name, hits in _HITS.items()
        }
        for template, scores in each.items()
        if template != TEMPLATES[0]
    }


def otherwise(found: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Which wordings change a measure, as far as the intervals of `between_prompts` tell, in a sentence."""
    said = [
        f"{cats.wording(template)} {'raises' if e.low > 0 else 'lowers'} {name} by {abs(e.value):.2f} [{min(abs(e.low), abs(e.high)):.2f}, {max(abs(e.low), abs(e.high)):.2f}]"
        for template, measures in found.items()
        for name, e in measures.items()
        if e.low > 0 or e.high < 0
    ]
    if not said:
        return "Nothing that the intervals of the differences would tell apart."
    return f"The rows do not all agree. Against {cats.wording(TEMPLATES[0])}, on the same stimuli: {'; '.join(said)}."


# -- the naive method -------------------------------------------------------------------------------------------------


def nearest(images: np.ndarray, shown: StimulusSet) -> list[str]:
    """The category of the generated image (categories × each × h×w×3, in [0, 1]) nearest to each stimulus in L2."""
    k, each = images.shape[:2]
    flat = images.reshape(k * each, -1).astype(np.float64)
    pixels = shown.images().reshape(len(shown), -1) / 255.0
    distance = (flat**2).sum(1)[None] - 2 * pixels @ flat.T
    return [shown.categories[i] for i in distance.argmin(1) // each]


def naive(model: str, world: World, each: int, steps: int, seed: int = 0) -> Estimate:
    """Accuracy on the world's photos by the nearest of `each` generated images a category; `evaluations` is what they cost."""
    from gencls import metrics
    from gencls.analyses.driver_scores import generate

    shown = world.stimuli("photos")
    said = nearest(generate(model, each, steps, seed), shown)
    found = metrics.accuracy(trials.from_answers("nearest generated image", shown, said))
    found.extras["evaluations"] = len(shown.categories) * each * steps
    return found
