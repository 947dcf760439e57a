"""Does a model weigh shape and texture by how reliable they were in training? Records and intervals are those of `gencls.analyses.drivers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from gencls import figures
from gencls.analyses import drivers
from gencls.likelihood.weightings import Weighting
from gencls.metrics import Estimate, seeded

#: Which cue was unreliable in training (none: both were always right), and in which share of the photos it was right at least → what a model's name ends in.
UNRELIABLE = {
    "shape ½": "-shape-0.5",
    "shape ¾": "-shape-0.75",
    "none": "",
    "texture ¾": "-texture-0.75",
    "texture ½": "-texture-0.5",
}
#: The generative model and the classifier that were trained with cues of other reliability.
WEIGHING = ("drivers/cosine-x0", drivers.RESNET)


def by_reliability(families: Sequence[str], by: str | Weighting) -> pd.DataFrame:
    """`drivers.MEASURES` against the reliability of the cues in training: `set` (the measure), `observer, condition, value, low, high, n`.

    Photos, and so accuracy, are those in which both cues are right.
    """
    found = {
        (what, family, name): measure(drivers.seeds(family + end), by)
        for what, measure in drivers.MEASURES.items()
        for family in families
        for name, end in UNRELIABLE.items()
        if drivers.here([family + end])
    }
    return figures.points(found, ["set", "observer", "condition"])


def unreliable() -> list[str]:
    """The models of photos in which a cue is unreliable."""
    return [family + end for family in WEIGHING for end in UNRELIABLE.values() if end]


def swings(families: Sequence[str], by: str | Weighting) -> dict[str, Estimate]:
    """Family → how much more it goes by shape when texture was right in half of the photos only, than when shape was."""
    ends = list(UNRELIABLE.values())
    return {f: drivers.difference(drivers.seeds(f + ends[-1]), drivers.seeds(f + ends[0]), by) for f in families}


def swing_gap(first: str, second: str, by: str | Weighting) -> Estimate:
    """How much the second family's swing exceeds the first's, paired by stimuli; seeds of each training are independent."""
    ends = list(UNRELIABLE.values())
    groups = [
        [drivers.followed(s, by) for s in drivers.seeds(f + end)]
        for f in (second, first)
        for end in (ends[-1], ends[0])
    ]
    return seeded.contrast(groups, (1, -1, -1, 1))


def swing_verdict(found: Mapping[str, Estimate], curves: pd.DataFrame) -> str:
    """What the intervals of `swings` and of `by_reliability` say, a list in Markdown."""
    rows = curves[curves["set"] == "shape bias"].to_dict("records")
    lines = []
    for family, e in found.items():
        weighs = drivers.sentence(
            e,
            "goes more by the cue that was reliable",
            "goes *less* by the cue that was reliable",
            "does not follow reliability for sure",
        )
        sides = [
            f"{row['condition']}: {'shape' if row['low'] > 0.5 else 'texture' if row['high'] < 0.5 else 'neither for sure'}"
            for row in rows
            if row["observer"] == family
        ]
        lines.append(f"- **{family}** {weighs}. By unreliable cue, it goes by: {'; '.join(sides)}.")
    return "\n".join(lines)
