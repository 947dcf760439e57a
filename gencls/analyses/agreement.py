"""Do observers fail on the same images? Error consistency over conditions and sets, nearness to a group."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from gencls import metrics, trials
from gencls.analyses.resampling import Drawn, Weights, differences, drawn, enough, estimate, images_of
from gencls.analyses.robustness import PEOPLE, QUICK, Answered
from gencls.errors import GenclsError
from gencls.metrics import Bootstrap, Estimate
from gencls.metrics.agreement import kappa
from gencls.metrics.benchmark import SINGLE
from gencls.metrics.bootstrap import Clusters
from gencls.metrics.tables import image_clusters
from gencls.worlds import seeds_of


def family(observer: str) -> str:
    """The model that a training seed belongs to (`shapes/pixel@2` → `shapes/pixel`), `people` for a person."""
    return PEOPLE if metrics.is_person(observer) else observer.partition("@")[0]


def pair_name(a: str, b: str) -> str:
    """How a figure names a pair of observers: by their families, `people` for two people."""
    a, b = (family(o).rpartition("/")[2] for o in (a, b))
    return (f"{a} (each other)" if a != PEOPLE else PEOPLE) if a == b else f"{a} – {b}"


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """κ of every pair of observers of one set: `observer, other, value, low, high, n`; NaN where it is 0/0."""
    rows = metrics.pairwise_consistency(table, QUICK)
    rows = rows.rename(columns={"observer_a": "observer", "observer_b": "other"})
    return rows.assign(value=rows["value"].mask(rows["undefined"]))


def family_matrix(pairs: pd.DataFrame) -> pd.DataFrame:
    """`matrix` averaged within families, which then also have a value with themselves: families × families."""
    both = pd.concat([pairs, pairs.rename(columns={"observer": "other", "other": "observer"})])
    both = both.assign(a=both["observer"].map(family), b=both["other"].map(family))
    order = list(dict.fromkeys(both["a"]))
    return both.pivot_table(index="a", columns="b", values="value").reindex(index=order, columns=order)


def consistency(
    table: pd.DataFrame, pairs: Mapping[str, Sequence[tuple[str, str]]], draws: int = 1000, seed: int = 0
) -> tuple[dict[str, Estimate], pd.DataFrame]:
    """κ of groups of pairs: the overall estimates, and those of every condition.

    `pairs`: a group's name → pairs of observers, whose κ are averaged. κ is computed in a condition, where it is
    defined (not both always right), then averaged over the conditions of a set, then over sets; `n` counts the conditions
    in which it was. The second is a frame `set, observer, condition, value, low, high, n`, `observer` naming the group.
    """
    cells, rows = _kappas(metrics.kept(table), pairs, draws, seed)
    of_groups = {g: [(name, of[g].settled()) for (name, _), of in cells.items() if g in of] for g in pairs}
    samples = {g: _over_sets(of_group, draws) for g, of_group in of_groups.items()}
    overall = {
        g: estimate(s, int(sum(r["observer"] == g and not math.isnan(r["value"]) for r in rows)), "error consistency")
        for g, s in samples.items()
    }
    columns = ["set", "observer", "condition", "value", "low", "high", "n"]
    return overall, pd.DataFrame(rows, columns=columns)


def closeness(
    table: pd.DataFrame,
    references: Sequence[str],
    observers: Sequence[str],
    draws: int | None = None,
    seed: int = 0,
    *,
    clustered: bool = True,
) -> tuple[dict[str, Estimate], pd.DataFrame]:
    """How near observers err to a group, their mean κ with its members; and the differences, Holm-corrected.

    The group itself, under the name `each other`, is the mean over its pairs: the ceiling. `n` counts stimuli and
    `conditions` those in which there is a κ (one who answered fewer sets is averaged over fewer). Images are resampled for all
    together; cue-conflict stimuli by their content and texture images, unless `clustered` is False: then as if they
    were independent, the naive interval. Differences: `observer_a, observer_b, value, low, high, p, p_holm`, each over the
    sets and conditions in which both have a κ, so that who answered an easier set does not look nearer; none where they
    share none. `draws`: by default `enough`. A draw in which a condition has no κ takes the condition's own, so that all draws are means over the
    same conditions.
    """
    pairs = {o: [(o, r) for r in references if r != o] for o in observers}
    if len(references) > 1:
        pairs["each other"] = list(itertools.combinations(references, 2))
    draws = draws or enough(math.comb(len(pairs), 2))
    cells, rows = _kappas(metrics.kept(table), pairs, draws, seed, clustered)
    found, apart = dict[str, Estimate](), dict[tuple[str, str], np.ndarray]()
    for group in pairs:
        of_group = [(name, of[group].settled()) for (name, _), of in cells.items() if _defined(of, group)]
        if of_group:
            n = sum(r["n"] for r in rows if r["observer"] == group and not math.isnan(r["value"]))
            found[group] = estimate(_over_sets(of_group, draws), n, "error consistency")
            found[group].extras["conditions"] = len(of_group)
    for a, b in itertools.combinations(found, 2):
        both = [(name, of[a] - of[b]) for (name, _), of in cells.items() if _defined(of, a) and _defined(of, b)]
        if both:
            apart[a, b] = _over_sets([(name, difference.settled()) for name, difference in both], draws)
    return found, differences(apart, "difference in κ")


def _defined(of_groups: Mapping[str, Drawn], group: str) -> bool:
    return group in of_groups and not math.isnan(of_groups[group].samples[0])


def _over_sets(cells: Sequence[tuple[str, np.ndarray]], draws: int) -> np.ndarray:
    """The mean over the conditions of each set, then over sets, of what is defined: `(set, 1 + draws)` → 1 + draws."""
    by_set: dict[str, list[np.ndarray]] = {}
    for name, values in cells:
        by_set.setdefault(name, []).append(values)
    return mean_defined([mean_defined(v) for v in by_set.values()]) if by_set else np.full(draws + 1, math.nan)


def trials_needed(table: pd.DataFrame, references: Sequence[str], observers: Sequence[str]) -> pd.DataFrame:
    """What the copy model makes of each observer's κ with a group on one set, and the trials that findings need.

    Columns `observer, copied, chance, ceiling`: the probability of copying a member of the group, in [−1, 1], and the
    trials needed, at 80% power and α = 0.05, to tell κ from 0 and from the group's own. κ and accuracies are means over
    the group, the stimuli are taken as independent. NaN where an observer or the group is always right or wrong, or
    where there is no difference to find. Source: Klein et al. 2025.
    """
    if len(references) < 2:
        raise GenclsError(f"trials needed: a group of {len(references)} has no κ of its own members; give at least two")
    accuracies = {str(o): float((t["object_response"] == t["category"]).mean()) for o, t in table.groupby("subj")}
    found = closeness(table, references, observers, 1, clustered=False)[0]
    group = float(np.mean([accuracies[r] for r in references]))
    ceiling = found["each other"].value if "each other" in found else math.nan
    rows = []
    for observer in [o for o in observers if o in found]:
        own, kappa = accuracies[observer], found[observer].value
        low, high = metrics.kappa_bounds(own, group)
        copied = chance = apart = math.nan
        if 0 < own < 1 and 0 < group < 1 and low <= kappa <= high:
            copied = metrics.copy_model(kappa, own, group).probability
            chance = metrics.kappa_trials(kappa, own, group) if kappa else math.nan
            if not math.isnan(ceiling) and kappa != ceiling:
                apart = metrics.kappa_difference_trials(kappa, ceiling, own, group, group)
        rows.append((observer, copied, chance, apart))
    return pd.DataFrame(rows, columns=["observer", "copied", "chance", "ceiling"])


def _kappas(
    table: pd.DataFrame,
    pairs: Mapping[str, Sequence[tuple[str, str]]],
    draws: int,
    seed: int,
    clustered: bool = True,
) -> tuple[dict[tuple[str, str], dict[str, Drawn]], list[dict[str, Any]]]:
    """Set and condition → group → κ, and one row a group and condition."""
    weigh, rows = Weights(draws, seed), list[dict[str, Any]]()
    cells: dict[tuple[str, str], dict[str, Drawn]] = {}
    for name, of_set in table.groupby("set", sort=False):
        for condition, part in of_set.groupby("condition", sort=False):
            correct, weights, shared = _cell(part, weigh, clustered)
            for group, members in pairs.items():
                here = [(correct[a], correct[b]) for a, b in members if a in correct and b in correct]
                if not here:
                    continue
                (one,) = drawn(partial(_mean_kappa, here), weights, shared)
                e = estimate(one.settled(), weights.shape[1], "error consistency")
                whole = np.where(np.isnan(one.samples), one.samples[0], one.samples)
                cells.setdefault((str(name), str(condition)), {})[group] = replace(one, samples=whole)
                rows.append(
                    {"set": name, "observer": group, "condition": condition, "value": e.value, "low": e.low}
                    | {"high": e.high, "n": e.n}
                )
    return cells, rows


def _cell(
    part: pd.DataFrame, weigh: Weights, clustered: bool
) -> tuple[dict[str, np.ndarray], np.ndarray, Clusters | None]:
    """One condition: who was right on which stimulus, the stimuli's weights (1 + draws × stimuli), and the images that they share."""
    right = part.assign(right=(part["object_response"] == part["category"]).astype(float))
    grid = right.pivot(index="subj", columns="stimulus", values="right")
    grid = grid.loc[:, grid.notna().all()]
    if not grid.shape[1]:
        raise GenclsError(f"{part['set'].iloc[0]}, {part['condition'].iloc[0]}: no stimulus was seen by all observers")
    first = part.drop_duplicates("stimulus").set_index("stimulus").loc[list(grid.columns)].reset_index()
    clusters = image_clusters(first) if clustered else None
    weights = weigh.cues(*clusters) if clusters else weigh.images(tuple(images_of(first)))
    return {str(o): row for o, row in zip(grid.index, grid.to_numpy(), strict=True)}, weights, clusters


def _mean_kappa(pairs: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> np.ndarray:
    """The mean κ of pairs of observers under each of m weights of the stimuli: m×1."""
    return mean_defined([_kappa(a, b, weights) for a, b in pairs])[:, None]


def _kappa(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    both, first, second, total = weights @ (a * b), weights @ a, weights @ b, weights.sum(1)
    return kappa(np.stack([both, first - both, second - both, total - first - second + both], -1))


def mean_defined(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is defined; NaN where nothing is."""
    stacked = np.array(values)
    count = (~np.isnan(stacked)).sum(0)
    return np.where(count > 0, np.nansum(stacked, axis=0) / np.maximum(count, 1), math.nan)


def ranking(
    table: pd.DataFrame, references: Sequence[str], observers: Sequence[str], draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """The benchmark's ranking with intervals, of the observers who answered all the sets and conditions that somebody of the group did.

    Columns `observer, value, low, high, place, place_low, place_high, undefined`: the mean rank over the three measures and the place
    in its order, with percentile intervals over draws of stimuli, the same for all; and how many of its κ are 0/0, which the benchmark counts as 1. Best first. Fewer than two to rank,
    or a group of fewer than two: an empty frame. Source: Geirhos et al. 2021, who give neither interval.
    """
    columns = ["observer", "value", "low", "high", "place", "place_low", "place_high", "undefined"]
    table = metrics.kept(table)
    cells = table["set"] + " " + table["condition"].where(~table["set"].isin(SINGLE), "")
    asked = set(cells[table["subj"].isin(references)])
    table, cells = table[cells.isin(asked)], cells[cells.isin(asked)]
    answered = {str(observer): set(own) for observer, own in cells.groupby(table["subj"])}
    ranked = [o for o in observers if answered.get(o) == asked and o not in references]
    if len(ranked) < 2 or len(references) < 2:
        return pd.DataFrame(columns=columns)
    found = metrics.benchmark_table(
        table[table["subj"].isin([*references, *ranked])],
        Bootstrap(method="percentile", draws=draws, seed=seed),
        person=set(references).__contains__,
    )
    found = found.loc[ranked].rename(columns=lambda c: {"mean_rank": "value"}.get(c, c.removeprefix("mean_rank_")))
    return found.sort_values("value", kind="stable").rename_axis("observer").reset_index()[columns]


def shared_failures(
    seen: Answered,
    observers: Sequence[str],
    sets: Sequence[str],
    most: int,
    shrink: Callable[[np.ndarray], np.ndarray],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """For every two observers and set: how often both, one or neither is right, κ in words, and images that both miss.

    Four things for an explorer with the controls `first, second, set`: the bars (`outcome, stimuli`), the sentences
    (`text`), the pictures (`image, caption`) and the images, at most `most` for each two and set: the first of those that both
    miss in an order at random, the same for all, so that many pairs share few images.
    """
    bars, said, pictures = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    images: dict[str, np.ndarray] = {}
    outcomes = ("both right", "only the first", "only the second", "both wrong")
    for name in [s for s in sets if s in seen.sets]:
        of_set = seen.trials[(seen.trials["set"] == name) & seen.trials["subj"].isin(observers)]
        right = of_set.drop_duplicates(_PLACE).set_index(_PLACE)["category"].sample(frac=1, random_state=0)
        table = of_set.pivot(index=_PLACE, columns="subj", values="object_response").loc[right.index]
        answers = {str(o): table[o].to_numpy(object) for o in table}
        there = {o: table[o].notna().to_numpy() for o in answers}
        correct = {o: answer == right.to_numpy(object) for o, answer in answers.items()}
        kappas = _kappas_in_words(of_set)
        for a, b in itertools.product(observers, repeat=2):
            at = {"first": a, "second": b, "set": name}
            if a == b or frozenset((a, b)) not in kappas:
                why = "Choose two different observers." if a == b else "No trials of these two on this set."
                said.append(at | {"text": why})
                continue
            shared, x, y = there[a] & there[b], correct[a], correct[b]
            counts = [int((shared & v).sum()) for v in (x & y, x & ~y, ~x & y, ~x & ~y)]
            bars += [at | {"outcome": o, "stimuli": c} for o, c in zip(outcomes, counts, strict=True)]
            said.append(at | {"text": f"{shared.sum()} stimuli; {kappas[frozenset((a, b))]}."})
            for i in np.flatnonzero(shared & ~x & ~y)[:most] if name in seen.stimuli else ():
                caption = f"{right.iloc[i]}: the first says {answers[a][i]}, the second {answers[b][i]}"
                pictures.append(at | {"image": right.index[i][1], "caption": caption})
    for name, stimuli in seen.stimuli.items():
        row_of = {s: i for i, s in enumerate(stimuli.table["name"])}
        wanted = {p["image"] for p in pictures if p["set"] == name}
        images |= {s: shrink(stimuli[row_of[s]].image) for s in sorted(wanted) if s in row_of}
    pictures = [p for p in pictures if p["image"] in images]
    keys = ["first", "second", "set"]
    return (
        pd.DataFrame(bars, columns=[*keys, "outcome", "stimuli"]),
        pd.DataFrame(said, columns=[*keys, "text"]),
        pd.DataFrame(pictures, columns=[*keys, "image", "caption"]),
        images,
    )


#: Where two observers' trials of a set meet.
_PLACE = ["condition", "stimulus"]


def _kappas_in_words(of_set: pd.DataFrame) -> dict[frozenset[str], str]:
    """κ of every two who answered a set, with its interval; the mean over conditions where there are several."""
    mean = ""
    pairs = list(itertools.combinations(dict.fromkeys(of_set["subj"]), 2))
    if of_set["condition"].nunique() > 1:
        mean = ", the mean over the conditions that the benchmark keeps"
        names = {" and ".join(pair): [pair] for pair in pairs}
        found = consistency(of_set, names, QUICK.draws)[0]
        rows = [(*names[name][0], e.value, e.low, e.high) for name, e in found.items()]
    else:
        table = matrix(of_set) if pairs else pd.DataFrame(columns=["observer", "other", "value", "low", "high"])
        rows = list(table[["observer", "other", "value", "low", "high"]].itertuples(index=False, name=None))
    return {
        frozenset((a, b)): "κ is not defined: both are always right, or both always wrong"
        if math.isnan(value)
        else f"κ = {value:.2f} [{low:.2f}, {high:.2f}]{mean}"
        for a, b, value, low, high in rows
    }


def with_seeds(models: Sequence[str]) -> list[str]:
    """The models and, of those that this project trains, the other training seeds."""
    return [seed for model in models for seed in (seeds_of(model) if model.startswith("shapes/") else [model])]


def pair_groups(machines: Sequence[str], people: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Pairs of observers by their families: `resnet – pixel`, `resnet (each other)` for two seeds, `people`.

    With people there, a machine's pairs are those with people; without, machines are paired with each other.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    pairs = itertools.combinations(machines, 2) if not people else itertools.product(machines, people)
    for a, b in [*pairs, *itertools.combinations(people, 2)]:
        found.setdefault(pair_name(a, b), []).append((a, b))
    return found


def people_on_record() -> pd.DataFrame:
    """κ of every two people in every condition, from the table that ships: `set, observer, condition, value, person`."""
    table = trials.human_reference("error_consistency")
    names = table["subj_a"] + " and " + table["subj_b"]
    rows = table.assign(observer=PEOPLE, person=names, low=math.nan, high=math.nan).rename(columns={"kappa": "value"})
    return rows[["set", "observer", "condition", "value", "low", "high", "person", "n"]]


def ceiling(rows: pd.DataFrame) -> dict[str, Estimate]:
    """Set → mean κ between people over kept conditions and pairs; `low` and `high` are the lowest and highest pair."""
    found = {}
    for name, part in metrics.kept(rows).groupby("set", sort=False):
        of_pairs = part.groupby("person")["value"].mean()
        ends = float(of_pairs.min()), float(of_pairs.max())
        found[str(name)] = Estimate(
            float(of_pairs.mean()), *ends, len(of_pairs), "κ between people", "range over pairs"
        )
    return found
