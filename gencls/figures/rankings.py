"""A ranking with what is not settled about it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from gencls.figures.style import (
    INK,
    Styles,
    checked,
    dress,
    intervals,
    marker_size,
    new_axes,
    say,
    styles,
)


def ranking(ax: Axes | None, ranks: pd.DataFrame, *, style: Styles | None = None) -> Axes:
    """Mean ranks with their intervals, best on top, over a pale bar: the places in the order that draws gave.

    ranks : `observer, value, low, high, place_low, place_high`; 1 is the most human-like.
    """
    frame = checked(ranks, "ranking", ["observer", "value", "low", "high", "place_low", "place_high"])
    frame = frame.sort_values("value", kind="stable").reset_index(drop=True)
    look = styles(frame["observer"], style)
    ax = ax or new_axes(6.8, 1.3 + 0.26 * len(frame))
    for y, row in enumerate(frame.to_dict("records")):
        colour, marker = look[row["observer"]]
        first, last = row["place_low"] - 0.25, row["place_high"] + 0.25
        ax.barh(y, last - first, 0.7, first, color=INK, alpha=0.18, lw=0, label=f"_places {row['observer']}")
        intervals(ax, [row["low"]], [row["high"]], [y], colour, row["observer"], horizontal=True)
        ax.plot(row["value"], y, marker, color=colour, ms=marker_size(marker), label=row["observer"], zorder=3)
    ax.set_yticks(range(len(frame)), frame["observer"])
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.set_xlim(0.5, len(frame) + 0.5)
    dress(ax, xlabel="mean rank (1: most like the group)")
    ax.tick_params(axis="y", length=0)
    said = "; ".join(
        f"{r['observer']} {r['value']:.1f}, places {r['place_low']:.0f} to {r['place_high']:.0f}"
        for r in frame.to_dict("records")
    )
    return say(ax, f"Mean rank of {len(frame)} observers, with intervals and the places that they took. {said}.")
