"""Shape bias of a world's observers: by category, noise level, weighting and training seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gencls import figures, metrics, trials
from gencls.errors import GenclsError
from gencls.likelihood.weightings import Weighting, exponential
from gencls.metrics import Bootstrap, Estimate, seeded
from gencls.metrics.bootstrap import DEFAULT
from gencls.stimuli.sets import COLUMNS, StimulusSet, spread
from gencls.worlds import Scored, World, joint, seeds_of

#: A bootstrap for explorers, where hundreds of intervals are wanted at once.
QUICK = Bootstrap(draws=1000)
#: A measure of shape bias is trusted only if an observer that can use shape alone comes out above the first of these,
#: and one that can use texture alone below the second.
CONTROL_LIMITS = (0.9, 0.1)
#: The stimulus set of each world in which both cues agree.
ORDINARY = {"shapes": "photos", "natural": "photos", "full": "colour"}
#: What an explorer offers to leave out: noise levels below these t.
STARTS = tuple(i / 8 for i in range(8))
#: What a world's shape biases do not show.
LIMITS = {
    "shapes": "The models of this world are small networks trained on drawings by this project. They are not the models of the paper, and a number here neither "
    "confirms nor refutes the paper's number for Imagen. What carries over is the question, and the way of asking: whether a model's shape bias comes from "
    "being generative, from the noise it was trained with, or from the weighting that reads it.",
    "natural": "The models of this world are small networks trained on 11,700 photographs by this project, not the models of the paper. People and the recorded networks saw the "
    "same stimuli at 224 pixels and chose among sixteen categories, the models at 64 pixels among eleven; the page *The same photographs* compares them at the same accuracy.",
    "full": "People, recorded networks and any model of yours see the same stimuli. Of the paper's generative models Imagen and Parti were never published, and "
    "none is on this machine unless the list above names it.",
}
NO_NOISE = "No generative model of this world is on this machine, so there is no noise level to look at."


@dataclass(frozen=True)
class Seen:
    """What observers make of one stimulus set.

    `scored`: scores by model; `lacking`: for those without any, the reason; `people` and `networks`: recorded trials.
    `seed`: of the noise. `missing`: why the stimuli themselves are not here (then there are none of the others), empty if they are.
    """

    world: World
    stimuli: StimulusSet
    scored: dict[str, Scored] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    people: dict[str, pd.DataFrame] = field(default_factory=dict)
    networks: dict[str, pd.DataFrame] = field(default_factory=dict)
    missing: str = ""
    seed: int = 0

    def trials(self, model: str, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
        """The trial table of one model under a weighting."""
        return self.world.trials(self.stimuli, model, self.scored[model], by)

    def observers(self, by: str | Weighting = "exp(-7t)") -> dict[str, list[pd.DataFrame]]:
        """Everyone's trials: people together, models under a weighting, recorded networks."""
        found = {"people": list(self.people.values())} if self.people else {}
        found |= {model: [self.trials(model, by)] for model in self.scored}
        return found | {name: [table] for name, table in self.networks.items()}

    @property
    def models(self) -> list[str]:
        """The ids of the models that have scores, the default training seed of each."""
        return [model for model in self.scored if "@" not in model]

    @property
    def generative(self) -> list[str]:
        """Those whose scores are denoising errors, so that noise levels and weightings mean something."""
        return [model for model in self.models if "error" in self.scored[model].scores]

    def origin(self, *observers: str) -> str:
        """Where the numbers that rest on these observers come from, as `Page.report` wants it."""
        other = "record" if self.missing else "computed"
        return joint(self.scored[o].origin if o in self.scored else other for o in observers)

    def sample(self, count: int) -> StimulusSet:
        """`count` stimuli to be shown, spread over the set; none where the pictures are not here."""
        if self.stimuli.missing:
            return self.stimuli[:0]
        return self.stimuli[spread(len(self.stimuli), count)]

    def note(self) -> str:
        """A sentence on who is not here and why."""
        if self.missing:
            unscored = f" So nothing was asked of {', '.join(self.lacking)}." if self.lacking else ""
            why = (
                self.missing
                if self.missing.endswith(".")
                else f"The stimuli and the trials are not on this machine: {self.missing}."
            )
            return f"{why}{unscored}"
        if not self.lacking:
            return "Every observer of this world is on this page."
        return f"Not on this page: {', '.join(self.lacking)} ({next(iter(self.lacking.values()))})."


def look(
    world: World,
    name: str,
    models: Sequence[str] | None = None,
    *,
    seeds: bool = False,
    n: int | None = None,
    check: int = 0,
    seed: int = 0,
) -> Seen:
    """What observers make of `n` stimuli of a set (None: as many as the records hold).

    `models` None stands for all of the world, and those that are neither here nor on record are noted; a model that you
    name must be there (GenclsError), unless the stimuli are not. `seeds`: their other training seeds too, as far as there are records of them.
    `check`: how many stimuli a model of those on record are scored afresh; `seed`: of the noise.
    """
    if n is not None and n < 1:
        raise GenclsError(f"n is {n}; ask for at least one stimulus")
    if check < 0:
        raise GenclsError(f"check is {check}; it is how many stimuli are scored afresh, 0 for none")
    try:
        stimuli = world.stimuli(name, n)
        people, networks = world.people(name), world.networks(name)
    except GenclsError as error:
        if name not in world.sets:
            raise
        empty = StimulusSet(name, pd.DataFrame(columns=list(COLUMNS)), lambda i: np.zeros((1, 1, 3)), world.categories)
        return Seen(world, empty, lacking=dict.fromkeys(models or (), str(error)), missing=str(error))
    if n is not None:
        shown = set(stimuli.table["name"])
        people, networks = (
            {o: t[t["stimulus"].isin(shown)].reset_index(drop=True) for o, t in tables.items()}
            for tables in (people, networks)
        )
    seen = Seen(world, stimuli, people=people, networks=networks, seed=seed)
    for family in world.models if models is None else models:
        for model in seeds_of(family) if seeds and family.startswith("shapes/") else [family]:
            try:
                seen.scored[model] = world.scores(stimuli, model, check=check, seed=seed)
            except GenclsError as error:
                if (models is not None and model == family) or "differ from the record" in str(error):
                    raise
                seen.lacking[model] = str(error)
    return seen


def frame(observers: Mapping[str, Sequence[pd.DataFrame]], bootstrap: Bootstrap = DEFAULT) -> pd.DataFrame:
    """Shape bias by category, and over all of them under the category "": `observer, category, value, low, high, n`.

    `observers` maps a name to trial tables: one for a model; several for people, whose mean it then is, with an
    interval over people.
    """
    found: dict[tuple[str, str], Estimate] = {}
    for name, tables in observers.items():
        each = [
            {"": metrics.shape_bias(t, None, bootstrap), **metrics.shape_bias(t, "category", bootstrap)} for t in tables
        ]
        for category in each[0]:
            values = [e[category] for e in each if category in e and not math.isnan(e[category])]
            if len(tables) == 1:
                found[name, category] = each[0][category]
            elif values:
                found[name, category] = metrics.mean_over_people(values)
    return figures.points(found, ["observer", "category"])


def biases(seen: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """`frame` of everyone in `seen`; where the stimuli are missing, of the people in the table that ships.

    Categories stand in the world's order.
    """
    observers = seen.observers(by)
    on_record = not observers and (seen.missing or seen.stimuli.missing)
    found = people_on_record() if on_record else frame(observers)
    order = {category: i for i, category in enumerate(("", *seen.world.categories))}
    names = list(dict.fromkeys(found["observer"]))
    place = found["observer"].map(names.index) * len(order) + found["category"].map(order)
    return found.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def plainly(biases: pd.DataFrame) -> str:
    """Who goes by which cue, as far as the 95% interval of the whole bias says so: a list in Markdown, without those who have none."""
    whole = biases[(biases["category"] == "") & ~biases["observer"].str.contains("@")]
    kinds: dict[str, list[str]] = {"by shape": [], "by texture": [], "by neither more than by the other": []}
    for row in whole.dropna(subset=["value", "low", "high"]).to_dict("records"):
        sure = row["low"] > 0.5 or row["high"] < 0.5
        kind = ("by shape" if row["value"] > 0.5 else "by texture") if sure else "by neither more than by the other"
        kinds[kind].append(str(row["observer"]))
    return "\n".join(f"- Going {kind}: {', '.join(who)}." for kind, who in kinds.items() if who)


def counts(seen: Seen, by: str | Weighting = "exp(-7t)") -> pd.DataFrame:
    """Decisions of every observer but people: `observer, decision, value, n`."""
    rows = []
    for name, tables in seen.observers(by).items():
        if len(tables) == 1:
            one = metrics.shape_bias(tables[0], None, None)
            found = {"shape": one.shape, "texture": one.texture, "other": one.other, "none": one.na}
            rows += [{"observer": name, "decision": d, "value": v, "n": one.trials} for d, v in found.items()]
    return pd.DataFrame(rows, columns=["observer", "decision", "value", "n"])


def beside(seen: Seen, by: str | Weighting = "exp(-7t)") -> dict[str, dict[str, Estimate]]:
    """What a bias is to be read with: `cue accuracy` and `corrected for guessing` → observer → estimate.

    People are the mean of each person's own. A correction that is undefined (no more answers by a cue than guessing gives) is
    left out, and with it the mean of people of whom one has none.
    """
    found: dict[str, dict[str, Estimate]] = {"cue accuracy": {}, "corrected for guessing": {}}
    for name, tables in seen.observers(by).items():
        each = [metrics.shape_bias(t, None, QUICK) for t in tables]
        for measure, values in (
            ("cue accuracy", [e.cue_accuracy for e in each]),
            ("corrected for guessing", [e.corrected for e in each]),
        ):
            value = values[0] if len(values) == 1 else metrics.mean_over_people(values)
            if not math.isnan(value):
                found[measure][name] = value
    return found


def people_on_record() -> pd.DataFrame:
    """The same frame for the ten people of the real cue-conflict set, from the table that ships with the package."""
    table = trials.human_reference("shape_bias")
    table = table.dropna(subset=["shape_bias"]).replace({"category": {"all": ""}})
    found = {
        ("people", category): metrics.mean_over_people(list(part["shape_bias"]))
        for category, part in table.groupby("category", sort=False)
    }
    return figures.points(found, ["observer", "category"])


def controls(world: World, *, n: int | None = None, check: int = 0) -> Seen:
    """The world's validity controls on its cue-conflict set, as far as they are here; nobody else."""
    seen = look(world, "cue-conflict", [], n=n)
    for model in world.controls:
        try:
            seen.scored[model] = world.scores(seen.stimuli, model, check=check)
        except GenclsError as error:
            seen.lacking[model] = str(error)
    return seen


def over_seeds(seen: Seen, by: str | Weighting = "exp(-7t)") -> dict[str, Estimate]:
    """Model → mean bias over its training seeds, `low` and `high` the lowest and highest of them, `n` their number.

    Each has the `origin` of the scores behind it.
    """
    families: dict[str, dict[str, float]] = {}
    for model in seen.scored:
        value = metrics.shape_bias(seen.trials(model, by), None, None)
        families.setdefault(model.partition("@")[0], {})[model] = float(value)
    return {
        family: range_over("training seeds", list(seeds.values()), seen.origin(*seeds))
        for family, seeds in families.items()
    }


def between_families(seen: Seen, by: str | Weighting = "exp(-7t)") -> dict[str, Estimate]:
    """The difference of two models' shape biases over training seeds and stimuli, by `A − B`, for each two of which several seeds are here."""
    families: dict[str, list[pd.DataFrame]] = {}
    for model in seen.scored:
        families.setdefault(model.partition("@")[0], []).append(seen.trials(model, by))
    several = [family for family, tables in families.items() if len(tables) > 1]
    return {
        f"{a} − {b}": seeded.bias_difference(families[a], families[b]) for a, b in itertools.combinations(several, 2)
    }


def range_over(what: str, values: Sequence[float], origin: str = "computed") -> Estimate:
    """The mean of `values`, one each of `what` (training seeds, noise draws); `low` and `high` are the lowest and highest, `n` their number."""
    mean = float(np.mean(values))
    name, method = f"mean over {what}", f"range over {what}"
    return Estimate(mean, min(values), max(values), len(values), name, method, origin=origin)


def over_noise(seen: Seen, seed: int = 0, by: str | Weighting = "exp(-7t)") -> dict[str, Estimate]:
    """Generative model → mean bias over noise draws, `low` and `high` the lowest and highest of them, `n` their number.

    Each draw is a noise seed of its own: `seed`, which `seen` was scored with, and as many of those on record as make up the world's number of
    draws. A world with one draw has nothing to compare.
    Each has the `origin` of the scores behind it.
    """
    found: dict[str, Estimate] = {}
    for model in seen.generative if len(seen.world.noise_seeds) > 1 else ():
        others = [other for other in seen.world.noise_seeds if other != seed][: len(seen.world.noise_seeds) - 1]
        draws = [seen.scored[model], *(seen.world.scores(seen.stimuli, model, seed=other) for other in others)]
        tables = [seen.world.trials(seen.stimuli, model, scored, by) for scored in draws]
        values = [float(metrics.shape_bias(table, None, None)) for table in tables]
        found[model] = range_over("noise draws", values, joint(scored.origin for scored in draws))
    return found


def by_level(seen: Seen, models: Sequence[str], bootstrap: Bootstrap = QUICK) -> pd.DataFrame:
    """Shape bias if one noise level alone decides: `observer, t, log_snr, value, low, high, n`.

    A classifier has no noise level: its t and log_snr are NaN, which the figure draws as a line across.
    """
    rows = [pd.DataFrame(columns=["observer", "t", "log_snr", "value", "low", "high", "n"])]
    for model in models:
        scores = seen.scored[model].scores
        if model not in seen.generative:
            bias = metrics.shape_bias(seen.trials(model), None, bootstrap)
            rows.append(figures.points({model: bias}, t=math.nan, log_snr=math.nan))
            continue
        for i, (t, log_snr) in enumerate(zip(scores["t"].values, scores["log_snr"].values, strict=True)):
            alone = Scored(scores.isel(t=[i]), seen.origin(model), 0)
            table = seen.world.trials(seen.stimuli, model, alone, "uniform")
            bias = metrics.shape_bias(table, None, bootstrap)
            rows.append(figures.points({model: bias}, t=float(t), log_snr=float(log_snr)))
    return pd.concat(rows[len(rows) > 1 :], ignore_index=True)


def by_weighting(
    seen: Seen, models: Sequence[str], weightings: Sequence[str], bootstrap: Bootstrap = QUICK
) -> pd.DataFrame:
    """Shape bias under each weighting: `observer, weighting, k, value, low, high, n`; k is NaN but for exp(-kt)."""
    rows = [pd.DataFrame(columns=["observer", "weighting", "k", "value", "low", "high", "n"])]
    for name in weightings if models else ():
        k = float(name[5:-2]) if name.startswith("exp(-") and name.endswith("t)") else math.nan
        found = {m: metrics.shape_bias(seen.trials(m, name), None, bootstrap) for m in models}
        rows.append(figures.points(found, weighting=name, k=k))
    return pd.concat(rows[len(rows) > 1 :], ignore_index=True)


def explored(seen: Seen, models: Sequence[str], k: float, start: float) -> pd.DataFrame:
    """What the explorer shows at one setting: exp(-kt) on start ≤ t ≤ 1, `observer, value, low, high, k, start, said`.

    `said` counts the decisions. Under a weighting every classifier stays where it is.
    """
    by = exponential(k).between(start, 1.0)
    found = {m: metrics.shape_bias(seen.trials(m, by), None, QUICK) for m in models}
    said = {m: f"{m}: {e.shape} shape, {e.texture} texture, {e.other} other" for m, e in found.items()}
    rows = figures.points(found, k=k, start=start)
    return rows.assign(said=rows["observer"].map(said))


def explorer_table(seen: Seen, models: Sequence[str], ks: Sequence[float], starts: Sequence[float]) -> pd.DataFrame:
    """`explored` at every k and start."""
    moving = [m for m in models if m in seen.generative]
    still = [m for m in models if m not in seen.generative]
    fixed = explored(seen, still, 0.0, 0.0) if still else pd.DataFrame()
    parts = [
        pd.concat([explored(seen, moving, k, start), fixed.assign(k=k, start=start)], ignore_index=True)
        for k in ks
        for start in starts
    ]
    return pd.concat(parts, ignore_index=True)


def explorer_text(table: pd.DataFrame) -> pd.DataFrame:
    """One sentence a setting, out of `explorer_table`: `k, start, text`."""
    groups = table.groupby(["k", "start"], sort=False)["said"]
    return groups.agg(lambda said: "Decisions. " + "; ".join(said) + ".").rename("text").reset_index()


def validity(seen: Seen) -> str:
    """Whether the world's controls (scored in `seen`) came out as they must, in a sentence."""
    here = [model for model in seen.world.controls if model in seen.scored]
    if len(here) < 2:
        return "The controls are not on this page: this world has none, or their weights are not on this machine."
    shape, texture = (metrics.shape_bias(seen.trials(model), None, None) for model in here)
    above, below = CONTROL_LIMITS
    if shape > above and texture < below:
        return "Both controls come out as they must, so the measure measures what its name says."
    return (
        f"**A control fails**: it takes more than {above:g} for the one and less than {below:g} for the other, so the "
        "numbers on this page must not be read as shape bias."
    )
