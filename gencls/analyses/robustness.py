"""Accuracy out of distribution, for observers of any world, with intervals that know which trials share an image."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gencls import figures, metrics, trials
from gencls.analyses.resampling import Drawn, Weights, differences, drawn, enough, estimate, images_of
from gencls.errors import GenclsError
from gencls.figures.style import LEVELS, tick
from gencls.metrics import Bootstrap, Estimate
from gencls.metrics.observers import clopper_pearson
from gencls.metrics.tables import image_clusters
from gencls.stimuli import manipulations
from gencls.stimuli.sets import StimulusSet
from gencls.worlds import World, joint

#: A bootstrap for the many conditions of a figure.
QUICK = Bootstrap(method="percentile", draws=1000)
#: What the paper reports as the two failures of generative classifiers (Jaini et al. 2024, section 3.2).
FAILURES = ("rotation", "high-pass")
#: The sets of parametric manipulations, and those of a single condition that observers of every world saw.
PARAMETRIC = tuple(manipulations.LEVELS)
SINGLE = ("edge", "silhouette")
PEOPLE = "people"


@dataclass(frozen=True)
class Answered:
    """Everyone's trials on several stimulus sets, in one table.

    `origins`: observer → as `Scored` has it, "computed" for who has trials; `checked`: how many stimuli were scored afresh; `lacking`: observer →
    why it has no trials; `missing`: set → why its stimuli or recorded trials are not here.
    """

    world: World
    trials: pd.DataFrame
    stimuli: dict[str, StimulusSet] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    checked: int = 0
    lacking: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def observers(self) -> list[str]:
        """Who answered, in order."""
        return list(dict.fromkeys(self.trials["subj"]))

    @property
    def sets(self) -> list[str]:
        """The sets that somebody answered, in order."""
        return list(dict.fromkeys(self.trials["set"]))

    def of(self, *observers: str) -> pd.DataFrame:
        """The trials of these observers."""
        return self.trials[self.trials["subj"].isin(observers)]

    def origin(self, *observers: str) -> str:
        """Where the numbers that rest on these observers come from, as `Page.report` wants it."""
        return joint(self.origins.get(o, "computed") for o in observers)

    def note(self) -> str:
        """Sentences on who and what is not here, and why; empty if all are."""
        said = []
        if self.lacking:
            said.append(
                f"Not in every part of this page: {', '.join(self.lacking)} ({next(iter(self.lacking.values()))})."
            )
        if self.missing:
            first = next(iter(self.missing.values()))
            said.append(f"Not on this machine: the stimuli of {', '.join(self.missing)} ({first}).")
        return " ".join(said)


def answered(
    world: World,
    sets: Sequence[str],
    models: Sequence[str],
    *,
    n: int | None = None,
    weighting: str = "exp(-7t)",
    check: int = 0,
    seed: int = 0,
    recorded: bool = True,
) -> Answered:
    """The answers of models, and of the people and networks whose trials are on record, to several sets.

    `n`: stimuli a set (out of distribution: a condition), None for as many as the records hold; `check`: how many
    stimuli in all are scored afresh, for each model whose scores come from a record, spread over the sets. Who or what is
    not here is left out and noted.
    """
    tables: list[pd.DataFrame] = []
    at_hand: dict[str, StimulusSet] = {}
    origins: dict[str, set[str]] = {}
    lacking: dict[str, str] = {}
    missing: dict[str, str] = {}
    checked = 0
    if n is not None and n < 1:
        raise GenclsError(f"n is {n}; ask for at least one stimulus")
    for name in sets:
        try:
            at_hand[name] = world.stimuli(name, n)
        except GenclsError as error:
            if name not in world.sets:
                raise
            missing[name] = str(error)
    answers: dict[tuple[str, str], pd.DataFrame] = {}
    for model in models:  # one after another, so that each is opened once
        for i, (name, stimuli) in enumerate(at_hand.items()):
            share = check * (i + 1) // len(at_hand) - check * i // len(at_hand)
            try:
                scored = world.scores(stimuli, model, check=share, seed=seed)
            except GenclsError as error:
                if "differ from the record" in str(error):
                    raise
                lacking[model] = str(error)
                continue
            checked += scored.checked
            answers[name, model] = world.trials(stimuli, model, scored, weighting)
            origins.setdefault(model, set()).add(scored.origin)
    tables += [answers[name, model] for name in at_hand for model in models if (name, model) in answers]
    for name in sets if recorded else ():
        try:
            own = [*world.people(name).values(), *world.networks(name).values()]
        except GenclsError as error:
            missing.setdefault(name, str(error))
            continue
        if n is not None and name in at_hand:
            shown = set(at_hand[name].table["name"])
            own = [t[t["stimulus"].isin(shown)] for t in own]
        tables += own
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(trials.COLUMNS))
    of_all = {o: joint(origins.get(o, {"computed"})) for o in dict.fromkeys(table["subj"])}
    return Answered(world, table, at_hand, of_all, checked, lacking, missing)


# -- accuracy --------------------------------------------------------------------------------------------------


def together(table: pd.DataFrame) -> pd.DataFrame:
    """The trials with all people as one observer, `people`: for measures that pool their trials."""
    return table.assign(subj=[PEOPLE if metrics.is_person(s) else s for s in table["subj"]])


def by_condition(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in every condition: `set, observer, condition, value, low, high, n, person`.

    A person's rows have the observer `people` and their name in `person`; the others' `person` is empty. Conditions are
    in the order of the world's own levels.
    """
    parts = [pd.DataFrame(columns=["condition", "set", "value", "low", "high", "n", "observer", "person"])]
    for (name, subj), own in table.groupby(["set", "subj"], sort=False):
        person = metrics.is_person(str(subj))
        measure = functools.partial(metrics.accuracy, bootstrap=None if person else QUICK)
        found = metrics.each(own, "condition", measure)
        rows = figures.points({c: found[c] for c in ordered(str(name), found)}, ["condition"], set=name)
        parts.append(rows.assign(observer=PEOPLE if person else str(subj), person=str(subj) if person else ""))
    return join(*parts)


def ordered(set_name: str, conditions: Sequence[str] | Mapping[str, object]) -> list[str]:
    """Conditions in the order of the set's levels, from hardly to strongly manipulated; unknown ones last."""
    worlds = (manipulations.LEVELS, manipulations.SHAPES_LEVELS, manipulations.NATURAL_LEVELS)
    whole = [list(table[set_name]) for table in worlds if set(conditions) <= set(table.get(set_name, ()))]
    known = whole[0] if whole else [c for table in worlds for c in table.get(set_name, ())]
    return sorted(conditions, key=lambda c: known.index(c) if c in known else len(known))


#: How far a failure in a world has the cause that it has in the paper.
FAIR = {
    "shapes": "Turned shapes are a fair test only of shapes that have an upright: a circle or a ring is the same at every angle. And a high-pass filter leaves "
    "little of a 32-pixel image. So a failure in this world has the same name as the paper's and not necessarily the same cause.",
    "natural": "These photographs have 64 pixels a side, of which a high-pass filter leaves less than of the paper's larger ones, and the places in the order are "
    "those of the values: with intervals as wide as those above, neighbours may change places. So a failure in this world has the same name as the paper's and not necessarily the same cause.",
    "full": "",
}


def people_on_record(sets: Sequence[str]) -> pd.DataFrame:
    """`by_condition` of people from the table that ships with the package, which needs no trial files."""
    table = trials.human_reference("accuracy")
    table = table[table["set"].isin(sets)].rename(columns={"accuracy": "value", "subj": "person"})
    rows = table.assign(observer=PEOPLE, low=math.nan, high=math.nan)
    return rows[["set", "observer", "condition", "value", "low", "high", "n", "person"]].reset_index(drop=True)


def ood_people_on_record(sets: Sequence[str]) -> Estimate:
    """People's overall accuracy from such a table: trials of the kept conditions pooled, then the mean over sets.

    The interval is the mean ± 1.96 standard errors over images; no image is in two sets. With the trials at hand `ood_accuracy` resamples instead.
    """
    table = trials.human_reference("accuracy_of_sets").query("set in @sets")
    value = float(table["accuracy"].mean())
    spread = 1.96 * float(np.sqrt((table["standard_error"] ** 2).sum())) / max(1, len(table))
    return Estimate(value, value - spread, value + spread, int(table["n"].sum()), "OOD accuracy", "normal over images")


def ood_accuracy(table: pd.DataFrame, draws: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """Overall accuracy of every observer who answered all sets of the table, with its interval.

    Trials of the kept conditions are pooled in a set, then averaged over sets (Geirhos et al. 2021). The interval is a
    percentile bootstrap over images (exact where all or none are right): an image that comes back under several manipulations or to several people is drawn
    with all of its trials; cue-conflict stimuli by their content and texture images.
    """
    table = metrics.kept(table)
    n = table.groupby("subj", sort=False).size()
    found = _accuracies(table, draws, seed)
    overall = {o: estimate(_over_sets(own), int(n[o]), "OOD accuracy") for o, own in found.items()}
    return {o: _exact(e, table[table["subj"] == o]) for o, e in overall.items()}


def _exact(found: Estimate, trials: pd.DataFrame) -> Estimate:
    """The same, and where all or none are right, which no resample changes, with Clopper and Pearson's interval over the images."""
    if found not in (0, 1):
        return found
    images = len(set(images_of(trials)))
    low, high = clopper_pearson(int(found) * images, images)
    return Estimate(found.value, low, high, found.n, found.name, "exact (Clopper–Pearson) over images")


def ood_differences(table: pd.DataFrame, draws: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Every pair of observers' difference in overall accuracy, as one family, images resampled for both together.

    Columns `observer_a, observer_b, value, low, high, p, p_holm`. `draws`: by default `enough`.
    """
    draws = draws or enough(math.comb(table["subj"].nunique(), 2))
    found = _accuracies(metrics.kept(table), draws, seed)
    pairs = {(a, b): zip(found[a], found[b], strict=True) for a, b in itertools.combinations(found, 2)}
    return differences({pair: _over_sets([a - b for a, b in sets]) for pair, sets in pairs.items()}, "OOD accuracy")


def standing(tests: pd.DataFrame, most: int = 12) -> str:
    """How many of a family of `differences` stand after correction, and which, in a sentence."""
    if not len(tests):
        return "Fewer than two observers, so that there is no difference to test."
    sure = tests[tests["p_holm"] < 0.05]
    named = [
        f"{row['observer_a']} {'above' if row['value'] > 0 else 'below'} {row['observer_b']}"
        for row in sure.to_dict("records")
    ]
    said = f"Of {len(tests)} differences, {len(sure)} stand after correction"
    return said + (f": {', '.join(named[:most])}{', …' if len(named) > most else ''}." if named else ".")


def _accuracies(table: pd.DataFrame, draws: int, seed: int) -> dict[str, list[Drawn]]:
    """Observer → accuracy on each set; not of who lacks one."""
    weigh = Weights(draws, seed)
    found: dict[str, list[Drawn]] = {str(o): [] for o in pd.unique(table["subj"])}
    for _, part in table.groupby("set", sort=False):
        rows, units = pd.factorize(np.array(images_of(part)), sort=True)
        who = pd.Index(list(found)).get_indexer(pd.Index(part["subj"]))
        hits, shown = np.zeros((2, len(units), len(found)))
        np.add.at(hits, (rows, who), part["object_response"] == part["category"])
        np.add.at(shown, (rows, who), 1)
        clusters = image_clusters(part.iloc[np.unique(rows, return_index=True)[1]])
        weights = weigh.cues(*clusters) if clusters else weigh.images(tuple(units))
        made = drawn(functools.partial(_share, hits, shown), weights, clusters)
        for own, accuracy in zip(found.values(), made, strict=True):
            own.append(accuracy)
    return {o: own for o, own in found.items() if not any(math.isnan(d.samples[0]) for d in own)}


def _over_sets(of_sets: Sequence[Drawn]) -> np.ndarray:
    """The mean over sets: 1 + draws."""
    return np.mean([one.settled() for one in of_sets], axis=0)


def _share(hits: np.ndarray, shown: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ hits) / (weights @ shown)


def manipulated_pictures(
    seen: Answered, models: Sequence[str], sets: Sequence[str], photos: int, shrink: Callable[[np.ndarray], np.ndarray]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The same few photos under every condition of a set, with who is right; none of sets that the world withholds.

    Rows `set, photo, image, caption`, and the images by name.
    """
    rows: list[dict[str, Any]] = []
    images: dict[str, np.ndarray] = {}
    for name in [s for s in sets if s in seen.stimuli and s not in seen.world.withheld]:
        stimuli = seen.stimuli[name]
        answers = _answers(seen, name, models)
        for condition in ordered(name, stimuli.conditions):
            part = stimuli.where(condition=condition)
            for k in range(min(photos, len(part))):
                one = part[k * (len(part) // photos) if len(part) >= photos else k]
                given = "; ".join(f"{_short(m)}: {_verdict(answers, m, one.name, one.category)}" for m in models)
                images[one.name] = shrink(one.image)
                caption = f"{condition} ({one.category}). {given}"
                rows.append({"set": name, "photo": k + 1, "image": one.name, "caption": caption})
    return pd.DataFrame(rows, columns=["set", "photo", "image", "caption"]), images


def explorer_curves(accuracies: pd.DataFrame) -> pd.DataFrame:
    """`by_condition` for an explorer: `set, level, tick, xlabel, observer, accuracy, low, high`; people are their mean and range.

    `level` counts a set's conditions, `tick` and `xlabel` name them as the figure does.
    """
    rows = mean_of_people(accuracies)
    rows["level"] = rows.groupby("set", sort=False)["condition"].transform(lambda c: pd.factorize(c)[0] + 1)
    rows["tick"] = rows["condition"].astype(str).map(tick)
    rows["xlabel"] = rows["set"].map(LEVELS)
    columns = ["set", "level", "tick", "xlabel", "observer", "accuracy", "low", "high"]
    return rows.rename(columns={"value": "accuracy"})[columns]


def mean_of_people(accuracies: pd.DataFrame) -> pd.DataFrame:
    """`by_condition` with people as their mean; `low` and `high` are the lowest and the highest of them."""
    single = accuracies["person"] != ""
    keys = ["set", "observer", "condition"]
    groups = accuracies[single].groupby(keys, sort=False)["value"]
    people = groups.agg(value="mean", low="min", high="max", n="size").reset_index()
    return join(people, accuracies[~single][[*keys, "value", "low", "high", "n"]])


def join(*tables: pd.DataFrame) -> pd.DataFrame:
    """Tables one below the other, the empty ones left out."""
    filled = [t for t in tables if len(t)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def about_failures(table: pd.DataFrame, models: Sequence[str]) -> str:
    """Where each model's accuracy on rotation and high-pass stands among the manipulations, a line a model in Markdown."""
    kept = metrics.kept(table[table["set"].isin(PARAMETRIC)])
    right = kept.assign(right=kept["object_response"] == kept["category"])
    grid = right.groupby(["subj", "set"], sort=False)["right"].mean().unstack("set")
    said = []
    for model in [m for m in models if m in grid.index]:
        own = pd.Series(grid.loc[model]).dropna().sort_values()
        places = [f"{f} is number {list(own.index).index(f) + 1}" for f in FAILURES if f in own.index]
        if places:
            said.append(f"- **{model}**: {' and '.join(places)} of {len(own)}.")
    if not said:
        return "No model on this page answered the manipulated stimuli."
    return "\n".join(["Counted from the manipulation that a model does worst on:", "", *said])


def small(image: np.ndarray, side: int = 112) -> np.ndarray:
    """An image as an explorer embeds it: at most `side` pixels a side."""
    from PIL import Image

    if max(image.shape[:2]) <= side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def _answers(seen: Answered, name: str, models: Sequence[str]) -> dict[tuple[str, str], str]:
    part = seen.trials[(seen.trials["set"] == name) & seen.trials["subj"].isin(models)]
    return {(s, i): a for s, i, a in zip(part["subj"], part["stimulus"], part["object_response"], strict=True)}


def _short(model: str) -> str:
    return model.rpartition("/")[2]


def _verdict(answers: Mapping[tuple[str, str], str], model: str, stimulus: str, category: str) -> str:
    answer = answers.get((model, stimulus), "no answer")
    return "right" if answer == category else answer
