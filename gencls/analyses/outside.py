"""Error consistency on data that no benchmark uses: the experiments of texture-vs-shape outside the 17 sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from gencls import metrics, trials
from gencls.analyses.agreement import mean_defined
from gencls.analyses.resampling import Weights, drawn, estimate
from gencls.errors import GenclsError
from gencls.metrics import Estimate
from gencls.metrics.agreement import kappa
from gencls.metrics.bootstrap import Clusters
from gencls.metrics.tables import image_clusters

#: What people were asked to name, where it is not the shape's category.
ASKED = {"cue-conflict-texture-instruction": "texture"}
#: How the mean over pairs of people is called, the ceiling.
EACH_OTHER = "each other"


def recorded() -> tuple[dict[str, pd.DataFrame], str]:
    """The trials of every experiment outside the 17, people and networks; or none, and a sentence on why."""
    try:
        return {name: trials.load(name, "all") for name in trials.EXPERIMENTS}, ""
    except GenclsError as error:
        return {}, str(error)


def consistency(table: pd.DataFrame, draws: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Mean κ of each network with the people of one experiment, and of people with `each other`.

    Each pair is compared on the stimuli that both saw (of texture-filled-rotated a person saw an eighth); the mean is
    over pairs whose κ is defined. Right is what people were asked to name (`ASKED`, else the shape). Intervals are over
    stimuli, with content and texture images resampled where stimuli share them, and `naive` is then the one that takes
    stimuli as independent. `n`: stimuli seen by both, in the pair that has fewest; `pairs`: those averaged;
    `undefined_pairs`: 0/0, left out; `constant_pairs`: κ = 0 because one of the two is always right or always wrong.
    Raises GenclsError for more than one set or no person. Source: Geirhos, Meding & Wichmann 2020.
    """
    names = list(pd.unique(table["set"]))
    if len(names) != 1:
        raise GenclsError(f"outside the 17: the trials hold {len(names)} sets; measure each experiment alone")
    people = [s for s in pd.unique(table["subj"]) if metrics.is_person(s)]
    networks = [s for s in pd.unique(table["subj"]) if s not in people]
    if not people:
        raise GenclsError(f"outside the 17: nobody among the observers of '{names[0]}' is a person; add their trials")
    groups = {network: [(network, person) for person in people] for network in networks}
    if len(people) > 1:
        groups[EACH_OTHER] = list(itertools.combinations(people, 2))
    right = table.assign(right=(table["object_response"] == table[ASKED.get(names[0], "category")]).astype(float))
    grid = right.pivot(index="subj", columns="stimulus", values="right")
    first = table.drop_duplicates("stimulus").set_index("stimulus").loc[list(grid.columns)].reset_index()
    weigh, clusters = Weights(draws, seed), _shared_images(first)
    answered = {str(s): row for s, row in zip(grid.index, grid.to_numpy(), strict=True)}
    naive = weigh.images(tuple(grid.columns))
    weights = weigh.cues(*clusters) if clusters else naive
    return {g: _group(answered, pairs, weights, clusters, naive) for g, pairs in groups.items()}


def _group(
    answered: dict[str, np.ndarray],
    pairs: list[tuple[str, str]],
    weights: np.ndarray,
    clusters: Clusters | None,
    naive: np.ndarray,
) -> Estimate:
    a, b = (np.array([answered[name] for name in side]) for side in zip(*pairs, strict=True))

    def estimated(weights: np.ndarray, clusters: Clusters | None) -> Estimate:
        (one,) = drawn(lambda w: mean_defined(_kappas(a, b, w))[:, None], weights, clusters)
        return estimate(one.settled(), 0, "error consistency")

    e, plain = estimated(weights, clusters), estimated(naive, None) if clusters else None
    both = ~np.isnan(a) & ~np.isnan(b)
    constant = [_constant(x[seen]) or _constant(y[seen]) for x, y, seen in zip(a, b, both, strict=True)]
    values = _kappas(a, b, weights[:1])[:, 0]
    defined = ~np.isnan(values)
    return Estimate(
        e.value, e.low, e.high, int(both.sum(1).min()), e.name,
        "two-way clustered percentile bootstrap" if plain is not None else "percentile bootstrap over stimuli",
        naive=None if plain is None else (plain.low, plain.high),
        pairs=int(defined.sum()), undefined_pairs=int((~defined).sum()),
        constant_pairs=int((np.array(constant) & defined).sum()),
    )  # fmt: skip


def _kappas(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """κ of pairs on what both saw: pairs × stimuli (1, 0, NaN: not seen), draws × stimuli → pairs × draws."""
    seen = ~np.isnan(a) & ~np.isnan(b)
    x, y = np.where(seen, a, 0.0), np.where(seen, b, 0.0)
    both, first, second, total = ((part @ weights.T) for part in (x * y, x, y, seen.astype(float)))
    return kappa(np.stack([both, first - both, second - both, total - first - second + both], -1))


def _shared_images(stimuli: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Content and texture image of each stimulus; the angle at the end of a rotated one's name is neither."""
    return image_clusters(stimuli.assign(stimulus=stimuli["stimulus"].str.replace(r"-\d+$", "", regex=True)))


def _constant(right: np.ndarray) -> bool:
    return bool(len(right)) and right.min() == right.max()


def frame(found: dict[str, dict[str, Estimate]]) -> pd.DataFrame:
    """`consistency` of several experiments, one row an observer: for a figure and its data."""
    rows = []
    for name, of_experiment in found.items():
        for observer, e in of_experiment.items():
            naive = e.naive or (math.nan, math.nan)
            rows.append(
                {"name": name, "observer": "people" if observer == EACH_OTHER else observer, "origin": "computed"}
                | {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "naive_low": naive[0]}
                | {"naive_high": naive[1], "pairs": e.pairs, "constant_pairs": e.constant_pairs}
                | {"undefined_pairs": e.undefined_pairs}
            )
    return pd.DataFrame(rows)
