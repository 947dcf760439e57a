"""The natural world's questions: all its models learned from the same photographs, and people saw the same stimuli.

People's trials are not in the repository. What is computed from them (`people`) is on record in `PEOPLE`, one row a number, made by
`scripts/natural_people.py`; where the trials are here, a page computes it again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gencls import figures, metrics
from gencls.analyses import agreement, noise
from gencls.analyses.bias import QUICK, Seen, look
from gencls.errors import GenclsError
from gencls.likelihood.weightings import Weighting, exponential, weighting
from gencls.metrics import Bootstrap, Estimate
from gencls.models import zoo
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.tiny_imagenet import SIDE
from gencls.worlds import REAL_SETS, RECORDS, World, open_world

PEOPLE = RECORDS / "natural" / "people.csv"
RESOLUTION = RECORDS / "natural" / "resolution.csv"
NOISE = RECORDS / "natural" / "noise.csv"
SWEEP = RECORDS / "natural" / "sweep.csv"
#: Shares of noise that the ResNets are tested with, 1 − γ.
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)
ABLATION = ("natural/resnet", "natural/resnet-noise")
COLUMNS = ["measure", "set", "observer", "other", "value", "low", "high", "n"]
#: Who learned to make images; who learned to tell them apart; and what stands between the two.
GENERATIVE = ("natural/pixel", "natural/latent", "natural/ar")
DISCRIMINATIVE = ("natural/resnet", "natural/resnet-noise", "natural/vit")
BETWEEN = ("natural/denoising-classifier", "natural/clip")
#: What differs in one thing above all: latents or tokens in the place of pixels; finer tokens in the place of coarser ones; making the same codes or naming what they show, noised or clean; naming it
#: from codes or from pixels; captions in the place of labels before one and the same tower; convolutions in the place of patches before the same labels.
KINDRED = (
    ("natural/latent", "natural/pixel"),
    ("natural/ar", "natural/pixel"),
    ("natural/ar", "natural/latent"),
    ("natural/latent", "natural/latent-denoising-classifier"),
    ("natural/latent", "natural/latent-classifier"),
    ("natural/latent-denoising-classifier", "natural/latent-classifier"),
    ("natural/ar", "natural/tokens"),
    ("natural/ar", "natural/ar8"),
    ("natural/ar8", "natural/tokens8"),
    ("natural/latent-classifier", "natural/vit"),
    ("natural/tokens", "natural/vit"),
    ("natural/clip", "natural/vit"),
    ("natural/resnet", "natural/vit"),
)
#: Each generative model, and who was told the labels of what it learned to make: of the same noised images, noised latents, tokens.
OWN = (
    ("natural/pixel", "natural/denoising-classifier"),
    ("natural/latent", "natural/latent-denoising-classifier"),
    ("natural/ar", "natural/tokens"),
)
#: The model of tokens as it was first, with coarser tokens, and its control.
COARSE = ("natural/ar8", "natural/tokens8")
#: Accuracy on held-out photographs that was asked of each before the first training (on two cores with bf16 units).
ASKED = {
    **{"natural/pixel": 0.45, "natural/latent": 0.50, "natural/ar": 0.45, "natural/resnet": 0.72},
    **{"natural/vit": 0.60, "natural/clip": 0.60, "natural/denoising-classifier": 0.60},
}
#: The mean κ of the people among themselves, the ceiling.
CEILING = "people with each other"
EACH_OTHER = "each other"
#: κ with the group again, each person's answers outside the world's categories (and `na`) left out.
WITHIN = "κ with people, answers outside left out"


def families(seen: Seen) -> dict[str, list[str]]:
    """Kind → the models of it that answered."""
    kinds = {"generative": GENERATIVE, "discriminative": DISCRIMINATIVE, "between": BETWEEN}
    return {kind: [m for m in models if m in seen.scored] for kind, models in kinds.items()}


def told(trials: pd.DataFrame, bootstrap: Bootstrap = QUICK) -> dict[str, Estimate]:
    """Shape bias under cue conflict, the same corrected for guessing, and the share of answers that follow either cue."""
    bias = metrics.shape_bias(trials, None, bootstrap)
    return {"shape bias": bias, "corrected for guessing": bias.corrected, "cue accuracy": bias.cue_accuracy}


def differences(
    seen: Seen, by: str | Weighting = "exp(-7t)", pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Shape bias of each generative model less that of each other one, paired over stimuli, Holm-corrected as one family.

    pairs : others than these, as far as both of a pair answered
    Returns `observer, value, low, high, n, origin, p, p_holm`, `observer` naming both.
    """
    asked = list(itertools.product(GENERATIVE, [*DISCRIMINATIVE, *BETWEEN])) if pairs is None else pairs
    trials = {m: seen.trials(m, by) for m in dict.fromkeys(m for pair in asked for m in pair) if m in seen.scored}
    found = {
        f"{a} − {b}": metrics.compare_shape_bias(trials[a], trials[b]) for a, b in asked if a in trials and b in trials
    }
    corrected = metrics.holm({pair: e.p for pair, e in found.items()})
    rows = figures.points(found)
    rows["origin"] = [seen.origin(*pair.split(" − ")) for pair in rows["observer"]]
    return rows.assign(p=[found[o].p for o in rows["observer"]], p_holm=[corrected[o] for o in rows["observer"]])


def making(seen: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """`differences` of the pairs `OWN`, p not corrected, and last, where all answered, their mean."""
    rows = differences(seen, by, OWN).drop(columns="p_holm")
    if len(rows) < len(OWN):
        return rows
    mean = metrics.mean_shape_bias_difference([(seen.trials(a, by), seen.trials(b, by)) for a, b in OWN])
    origin = seen.origin(*(m for pair in OWN for m in pair))
    whole = figures.points({"mean of the three": mean}).assign(origin=origin, p=mean.p)
    return pd.concat([rows, whole], ignore_index=True)


def reached(photos: Seen, by: str | Weighting = "exp(-7t)") -> str:
    """Who of `ASKED` reached what was asked of it on the held-out photographs, and by how much the others fall short, in words."""
    found = {m: metrics.accuracy(photos.trials(m, by), QUICK) for m in ASKED if m in photos.scored}
    there = [m for m, a in found.items() if a.value >= ASKED[m]]
    short = [
        f"{m} ({a.value:.3f} [{a.low:.3f}, {a.high:.3f}], {ASKED[m]:.2f} asked)"
        for m, a in found.items()
        if m not in there
    ]
    said = f"Reached what was asked of it beforehand: {', '.join(there) or 'none'}."
    return f"{said} Fell short: {', '.join(short)}." if short else said


def verdict(differences: pd.DataFrame) -> str:
    """What the corrected differences say of the claim, in words."""
    if not len(differences):
        return "No generative model of this world is here, so the claim cannot be tested."
    sure = differences[differences["p_holm"] < 0.05]
    above, below = sure[sure["value"] > 0], sure[sure["value"] < 0]
    said = [
        f"Of {len(differences)} differences, {len(above)} stand above zero and {len(below)} below it after correction."
    ]
    for rows, how in ((above, "more"), (below, "less")):
        said += [f"- {o.replace(' − ', f' is {how} shape-biased than ')}." for o in rows["observer"]]
    return "\n".join([said[0], "", *said[1:]])


def matched(world: World, seen: Seen, photos: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Shape bias against accuracy on held-out photographs, at the end of every training and at the moments on record along it.

    `observer, model, accuracy, value, low, high, n`; `observer` is the family. A weak model's bias drifts to one half, so that biases are compared
    at the same accuracy.
    """
    rows = []
    moments = () if seen.seed else getattr(world, "moments", ())  # which are on record under one noise
    for model in [*moments, *seen.models]:
        family = model.rpartition("-")[0] if model in moments else model
        if family not in seen.scored:
            continue
        bias = figures.points({family: metrics.shape_bias(trials_of(seen, model, by), None, QUICK)}, model=model)
        rows.append(bias.assign(accuracy=float(metrics.accuracy(trials_of(photos, model, by), None))))
    columns = ["observer", "model", "accuracy", "value", "low", "high", "n"]
    found = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    return found.sort_values(["observer", "accuracy"], kind="stable")[columns].reset_index(drop=True)


def trials_of(seen: Seen, model: str, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """The trials of a model of `seen`, or of a moment along a training, from its record."""
    scored = seen.scored.get(model) or seen.world.scores(seen.stimuli, model)
    return seen.world.trials(seen.stimuli, model, scored, by)


def at_accuracy(found: pd.DataFrame, model: str, seen: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Each other family's bias where its training had the model's accuracy, interpolated along `matched`, and the model's less that, on the same stimuli.

    `observer, accuracy, bias, value, low, high, n, p, p_holm`, Holm over the model's comparisons. Interpolated is between the two moments next to the accuracy, whose
    own chance (of the accuracies, and of the training) is in no interval. A family whose trainings on record never were that accurate, or never that inaccurate, is left out.
    """
    own = found[found["model"] == model]
    differences, at = dict[str, Estimate](), dict[str, float]()
    for family, part in found.groupby("observer", sort=False) if len(own) else ():
        accuracy, ends = float(own["accuracy"].iloc[0]), part["accuracy"].to_numpy()
        if family == model or len(part) < 2 or not ends.min() <= accuracy <= ends.max():
            continue
        above = max(1, int(np.searchsorted(ends, accuracy)))  # the moment that is at least as accurate
        share = (
            1.0
            if ends[above] == ends[above - 1]
            else float((accuracy - ends[above - 1]) / (ends[above] - ends[above - 1]))
        )
        weights = [1.0, share - 1, -share]
        tables = [trials_of(seen, m, by) for m in (model, *part["model"].iloc[above - 1 : above + 1])]
        differences[str(family)] = metrics.shape_bias_contrast(tables, weights)
        at[str(family)] = float(np.interp(accuracy, ends, part["value"]))
    rows = figures.points(differences)
    corrected = metrics.holm({family: e.p for family, e in differences.items()})
    return rows.assign(
        accuracy=float(own["accuracy"].iloc[0]) if len(own) else math.nan,
        bias=[at[o] for o in rows["observer"]],
        p=[differences[o].p for o in rows["observer"]],
        p_holm=[corrected[o] for o in rows["observer"]],
    )


def equally_accurate(found: Mapping[str, pd.DataFrame]) -> str:
    """What the corrected differences of `at_accuracy` say, a line a generative model, in Markdown."""
    lines = []
    for model, rows in found.items():
        sure = rows["p_holm"] < 0.05
        kinds = {
            "more shape-biased than": rows[sure & (rows["value"] > 0)],
            "less than": rows[sure & (rows["value"] < 0)],
            "not to be told from": rows[~sure],
        }
        said = [f"{how} {', '.join(part['observer'])}" for how, part in kinds.items() if len(part)]
        lines += [f"- **{model}**: {'; '.join(said)}."] if said else []
    return "\n".join(lines)


def reweighted(seen: Seen, photos: Seen, k: float, start: float, models: Sequence[str] | None = None) -> pd.DataFrame:
    """Shape bias and accuracy under exp(−kt) on start ≤ t ≤ 1: `measure, observer, value, low, high, n, k, start`; of all models, or of these."""
    by = exponential(k).between(start, 1.0)
    rows = []
    for measure, of, function in (
        ("shape bias", seen, metrics.shape_bias),
        ("accuracy on photographs", photos, metrics.accuracy),
    ):
        found = {m: function(of.trials(m, by), bootstrap=QUICK) for m in models or of.models}
        rows.append(figures.points(found, measure=measure, k=k, start=start))
    return pd.concat(rows, ignore_index=True)


def explorer_table(seen: Seen, photos: Seen, ks: Sequence[float], starts: Sequence[float]) -> pd.DataFrame:
    """`reweighted` at every k and start; models that look once stay where they are."""
    moving, still = seen.generative, [m for m in seen.models if m not in seen.generative]
    fixed = reweighted(seen, photos, 0.0, 0.0, still) if still else pd.DataFrame()
    settings = itertools.product(ks, starts)
    parts = [
        part
        for k, start in settings
        for part in ([reweighted(seen, photos, k, start, moving)] if moving else []) + [fixed.assign(k=k, start=start)]
    ]
    return pd.concat([p for p in parts if len(p)], ignore_index=True)


def noise_at_test(world: World, shares: Sequence[float] = SHARES, n: int | None = None) -> tuple[pd.DataFrame, str]:
    """`gencls.analyses.noise.frame` of the world's two ResNets, and where it comes from: "computed" where stimuli and weights are here, else "record"."""
    if world.stimuli("cue-conflict", 1).missing or not all(zoo.digest(model) for model in ABLATION):
        table = pd.read_csv(NOISE) if NOISE.is_file() else noise.frame({})
        return table[table["share"].isin(shares)].reset_index(drop=True), "record"
    return noise.frame(noise.ablation(world, noise.classifiers(world, ABLATION), shares, n)), "computed"


def computed_sweep(
    world: World, folders: Mapping[str, Path], shares: Sequence[float] = (0.0, 0.1, 0.25, 0.5)
) -> pd.DataFrame:
    """Shape bias and accuracy of small ResNets whose trainings differ in the noise alone, with these shares of noise at test; `SWEEP`.

    folders : id of a recipe, `sweep/…` → where its weights are
    Returns `observer, strength, noised, measure, share, value, low, high, n`: `strength` is 1 − the least γ in training, the most noise that an image was
    given, `noised` the share of images that were given any.
    """
    from gencls.models.discriminative import DiscriminativeModel
    from gencls.training.recipes import recipe

    parts = []
    for model, folder in folders.items():
        opened, given = zoo.open_folder(folder, model), recipe(model)
        assert isinstance(opened, DiscriminativeModel)
        least, noised = (given.noise[0], given.noised) if given.noise else (1.0, 0.0)
        found = noise.frame(noise.ablation(world, {model: opened}, shares, None))
        parts.append(found.assign(strength=1 - least, noised=noised))
    columns = ["observer", "strength", "noised", "measure", "share", "value", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns]


def swept(shares: Sequence[float] = (0.0, 0.25)) -> pd.DataFrame:
    """The record of `computed_sweep` at these shares of noise at test, its `observer` now `training` and `observer` the noise at test; no rows without one."""
    if not SWEEP.is_file():
        return pd.DataFrame(
            columns=["training", "strength", "noised", "measure", "share", "value", "low", "high", "n", "observer"]
        )
    table = pd.read_csv(SWEEP).rename(columns={"observer": "training"})
    table = table[table["share"].isin(shares)]
    return table.assign(observer=[f"{share:.0%} of noise at test" for share in table["share"]]).reset_index(drop=True)


def sweep(along: str, shares: Sequence[float] = (0.0, 0.1, 0.25, 0.5)) -> pd.DataFrame:
    """Shape biases of `swept` along `strength`, every image noised, or along `noised`, the paper's noise for a share of them; both begin without noise.

    GenclsError if `along` is neither.
    """
    if along not in ("strength", "noised"):
        raise GenclsError(f"the sweep over noise goes along 'strength' or 'noised', not along {along!r}")
    table = swept(shares)
    other = "noised" if along == "strength" else "strength"
    chosen = table[(table["measure"] == noise.BIAS) & ((table[other] == 1) | (table["noised"] == 0))]
    return chosen.sort_values(["share", along], kind="stable").reset_index(drop=True)


# -- people -----------------------------------------------------------------------------------------------------------


def people(
    world: World, models: Sequence[str], by: str | Weighting = "exp(-7t)", n: int | None = None, seed: int = 0
) -> tuple[pd.DataFrame, str]:
    """What is computed from people's trials, and where it comes from: "computed" where they are here, else "record".

    On record are our models' answers to all the stimuli under the paper's weighting and the noise's seed 0: of other answers, or of other models,
    nothing is said. `n`: stimuli a set, None for all.
    """
    if world.people("cue-conflict"):
        return computed(world, models, by, n, seed), "computed"
    if not PEOPLE.is_file():
        raise GenclsError(f"{PEOPLE} is not there, and people's trials are not either; `gencls data fetch` gets them")
    table = pd.read_csv(PEOPLE, keep_default_na=False, na_values=["nan"])
    same = weighting(by).name == "exp(-7t)" and n is None and seed == 0
    for column in ("observer", "other"):
        table = table[~table[column].str.startswith("natural/") | table[column].isin(models if same else ())]
    return table.reset_index(drop=True), "record"


def computed(
    world: World, models: Sequence[str], by: str | Weighting = "exp(-7t)", n: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Accuracies, biases and κ of people, of recorded networks and of our models with people, on the sets that people saw; `COLUMNS`.

    People saw 224 pixels and chose among 16 categories. Answers that are none of the world's eleven, and `na`, are wrong and neither cue; κ is
    given a second time (`WITHIN`) with each person's such trials left out: the mean over people, and the range over them.
    """
    rows: list[pd.DataFrame] = []
    for name in REAL_SETS:
        seen = look(world, name, models, n=n, seed=seed)
        ours = {m: seen.trials(m, by) for m in models}
        group, others = list(seen.people), [*ours, *seen.networks]
        observers = {**seen.people, **seen.networks, **ours}
        rows.append(_rows({(o, ""): metrics.accuracy(t, QUICK) for o, t in observers.items()}, "accuracy", name))
        if name == "cue-conflict":
            for measure in ("shape bias", "corrected for guessing", "cue accuracy"):
                found = {(o, ""): told(t)[measure] for o, t in observers.items()}
                rows.append(_rows(found, measure, name))
        table = pd.concat(observers.values(), ignore_index=True)
        near, tests = agreement.closeness(table, group, others)
        rows.append(_rows({(CEILING if o == EACH_OTHER else o, ""): e for o, e in near.items()}, "κ with people", name))
        pairs = metrics.pairwise_consistency(table)
        with_people = pairs[pairs["observer_a"].isin(group) | pairs["observer_b"].isin(group)]
        named = {"observer_a": "observer", "observer_b": "other"}
        rows.append(with_people.rename(columns=named).assign(measure="κ", set=name)[COLUMNS])
        of_ours = tests[tests["observer_a"].isin(ours) & tests["observer_b"].isin(ours)].rename(columns=named)
        rows.append(of_ours.assign(measure="difference in κ", set=name, n=math.nan)[COLUMNS])
        rows.append(
            of_ours.assign(
                measure="p (Holm)", set=name, value=of_ours["p_holm"], low=math.nan, high=math.nan, n=math.nan
            )[COLUMNS]
        )
        inside = {o: t[t["object_response"].isin(world.categories)] for o, t in seen.people.items()}
        rows.append(_rows({(m, ""): _mean_kappa(ours[m], inside) for m in ours}, WITHIN, name))
    return pd.concat(rows, ignore_index=True)


def _mean_kappa(ours: pd.DataFrame, group: Mapping[str, pd.DataFrame]) -> Estimate:
    """Mean κ of a model with each person on what that person's table holds, where it is defined; `low` and `high` are the lowest and the highest."""
    values = []
    for table in [t for t in group.values() if len(t)]:
        found = metrics.error_consistency(ours[ours["stimulus"].isin(table["stimulus"])], table, None)
        values += [] if found.undefined else [found.value]
    ends = (min(values), max(values)) if values else (math.nan, math.nan)
    return Estimate(float(np.mean(values)) if values else math.nan, *ends, len(values), WITHIN, "range over people")


def _rows(found: Mapping[tuple[str, str], Estimate], measure: str, name: str) -> pd.DataFrame:
    return figures.points(found, ["observer", "other"], measure=measure, set=name)[COLUMNS]


def of_people(table: pd.DataFrame, measure: str, name: str = "cue-conflict") -> pd.DataFrame:
    """The rows of one measure and set, without the pairs."""
    return table[(table["measure"] == measure) & (table["set"] == name) & (table["other"] == "")].reset_index(drop=True)


def mean_of_people(table: pd.DataFrame, measure: str, name: str = "cue-conflict") -> Estimate:
    """The mean over people of one measure, with an interval over people where there are enough of them."""
    rows = of_people(table, measure, name)
    return metrics.mean_over_people([float(v) for v in rows.loc[rows["observer"].map(metrics.is_person), "value"]])


# -- resolution -------------------------------------------------------------------------------------------------------


def reduced(stimuli: StimulusSet, side: int) -> StimulusSet:
    """The same stimuli, reduced to `side` pixels by an antialiasing filter and enlarged again to what they were."""
    from PIL import Image

    def image(i: int) -> np.ndarray:
        whole = Image.fromarray(stimuli[i].image)
        small = whole.resize((side, side), Image.Resampling.LANCZOS)
        return np.asarray(small.resize(whole.size, Image.Resampling.BICUBIC))

    return StimulusSet(f"{stimuli.name}-{side}px", stimuli.table, image, stimuli.categories)


def trained_at(seen: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Shape bias of the families that were trained at another resolution too: `side, observer, value, low, high, n`, the same stimuli reduced to each."""
    rows = [pd.DataFrame(columns=["side", "observer", "value", "low", "high", "n"])]
    for small in [m for m in seen.scored if m.endswith("32") and m.removesuffix("32") in seen.scored]:
        for model, side in ((small.removesuffix("32"), SIDE), (small, 32)):
            rows.append(
                figures.points({small.removesuffix("32"): metrics.shape_bias(seen.trials(model, by))}, side=side)
            )
    return pd.concat(rows[len(rows) > 1 :], ignore_index=True)


def by_resolution(model: str, sides: Sequence[int]) -> pd.DataFrame:
    """Shape bias of a model of the world `full` at each resolution: `side, observer, value, low, high, n, origin`.

    From `RESOLUTION` where all of it is there; computed where the stimuli are here; else no row.
    """
    if RESOLUTION.is_file():
        table = pd.read_csv(RESOLUTION)
        found = table[(table["observer"] == model) & table["side"].isin(sides)]
        if set(found["side"]) == set(sides):
            return found.assign(origin="record").reset_index(drop=True)
    try:
        whole = open_world("full").stimuli("cue-conflict")
    except GenclsError:
        return pd.DataFrame(columns=["side", "observer", "value", "low", "high", "n", "origin"])
    return computed_by_resolution(model, sides, whole)


def computed_by_resolution(model: str, sides: Sequence[int], whole: StimulusSet) -> pd.DataFrame:
    """`by_resolution` on these stimuli, scored."""
    full = open_world("full")
    rows = []
    for side in sides:
        shown = whole if side >= whole[0].image.shape[0] else reduced(whole, side)
        scored = full.scores(shown, model)
        trials = full.trials(shown, model, scored)
        trials["set"] = whole.name
        rows.append(figures.points({model: metrics.shape_bias(trials)}, side=side, origin=scored.origin))
    return pd.concat(rows, ignore_index=True)
