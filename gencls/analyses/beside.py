"""Single people and recorded networks beside the natural world's models: the figure of the page *The same photographs*, and of README."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from gencls import figures
from gencls.analyses.bias import Seen
from gencls.analyses.photographs import COARSE, GENERATIVE, OWN, of_people
from gencls.figures.style import COLOURS, INK

#: Who else saw the stimuli: people, and networks trained on stylised images (SIN), which take texture away, or on photographs.
CROWDS = ("people", "networks, stylised ImageNet", "networks, photographs")
MAKES, NAMES_THE_SAME, OTHER = (figures.Style(*look) for look in zip(COLOURS, "os^", strict=False))


def rows(seen: Seen, biases: pd.DataFrame, table: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Rows of `figures.forest`: people and networks, who saw 224 pixels, above the world's models, each beside its control.

    `biases`: of `bias.biases`; `table, origin`: what `photographs.people` gives
    """
    others = of_people(table, "shape bias")
    others = others[~others["observer"].isin(seen.models)].assign(origin=origin)
    others["name"] = [_crowd(o) for o in others["observer"]]
    others = others.sort_values("name", key=lambda names: names.map(CROWDS.index), kind="stable")
    ours = biases[(biases["category"] == "") & biases["observer"].isin(seen.models)]
    order = list(dict.fromkeys([m for pair in (*OWN, COARSE) for m in pair] + list(seen.models)))
    ours = ours.assign(name=ours["observer"], origin=[seen.origin(o) for o in ours["observer"]])
    ours = ours.sort_values("observer", key=lambda names: names.map(order.index))
    columns = ["name", "observer", "origin", "value", "low", "high", "n"]
    return pd.concat([part[columns] for part in (others, ours) if len(part)], ignore_index=True)


def _crowd(observer: str) -> str:
    return CROWDS[0] if figures.is_person(observer) else CROWDS[1 if ", SIN)" in observer else 2]


def looks(observers: Iterable[str]) -> dict[str, figures.Style]:
    """Blue circles make images, orange squares were told the labels of what one of these made, green triangles are the other classifiers, grey dots networks."""
    controls = {control for _, control in (*OWN, COARSE)}
    found = {}
    for name in observers:
        if name.startswith("natural/"):
            makes = name in (*GENERATIVE, COARSE[0], "natural/pixel32")
            found[name] = MAKES if makes else NAMES_THE_SAME if name in controls else OTHER
        elif not figures.is_person(name):
            found[name] = figures.Style(INK, "o")
    return found
