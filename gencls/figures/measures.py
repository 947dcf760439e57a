"""What was measured: shape bias, accuracy, error consistency, the claims."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from gencls.errors import GenclsError
from gencls.figures.style import (
    COLOURS,
    ENDS,
    INK,
    LEVELS,
    NOISE_AXIS,
    NORMAL,
    SMALL,
    Style,
    Styles,
    checked,
    curves,
    dress,
    figure_of,
    handle,
    ink_on,
    intervals,
    is_person,
    legend,
    listed,
    marker_size,
    new_axes,
    new_grid,
    noise_rightwards,
    number,
    say,
    styles,
    tick,
)

#: Marks of a forest whose rows name the observers: models, and what the paper reported.
MODEL, REPORTED = Style(COLOURS[0], "o"), Style(INK, "o")


def shape_bias(ax: Axes | None, biases: pd.DataFrame, *, style: Styles | None = None, dodge: bool = True) -> Axes:
    """Shape bias by category and observer, in the field's layout (Geirhos et al. 2019, figure 4).

    One row a category, one marker an observer, the interval as a line. The x axis is shape bias and runs from
    1 (shape) on the left to 0 (texture). The vertical line is an observer's whole bias, its interval a band where there
    are at most six observers; the legend gives it in numbers.

    Parameters
    ----------
    biases : `observer, category, value[, low, high]`, values 0–1. Rows with an empty category hold the whole
        bias; an observer without one gets the mean over categories.
    dodge : move observers apart within a row, so that intervals do not hide each other
    """
    frame = checked(biases, "shape_bias", ["observer", "category", "value"], unit=True)
    whole = frame[frame["category"].fillna("") == ""].set_index("observer")
    frame = frame[frame["category"].fillna("") != ""]
    categories = list(dict.fromkeys(frame["category"]))
    observers = list(dict.fromkeys(biases["observer"]))
    look = styles(observers, style)
    tall = max(0.36, 0.045 * len(observers))  # of a row, in inches
    own, ax = ax is None, ax or new_axes(6.4, 1.6 + tall * max(len(categories), 4) + 0.2 * len(observers))
    shift = (np.arange(len(observers)) - (len(observers) - 1) / 2) * min(0.16, 0.8 / len(observers)) * dodge
    entries, said = [], []
    for observer, move in zip(observers, shift, strict=True):
        colour, marker = look[observer]
        rows = frame[frame["observer"] == observer]
        y = rows["category"].map(categories.index).to_numpy(float) + move
        intervals(ax, rows["low"], rows["high"], y, colour, observer, horizontal=True)
        ax.plot(rows["value"], y, marker, color=colour, ms=marker_size(marker), label=observer, zorder=3)
        total = whole.loc[[observer]].iloc[0] if observer in whole.index else rows[["value"]].mean()
        value, low, high = (float(total.get(c, math.nan)) for c in ("value", "low", "high"))
        if not math.isnan(value):
            ax.axvline(
                value,
                color=colour,
                lw=1.8 if len(observers) <= 6 else 0.9,
                zorder=1,
                label=f"_mean {observer}",
            )
        if not math.isnan(low) and len(observers) <= 6:
            ax.axvspan(low, high, color=colour, alpha=0.13, lw=0, zorder=0, label=f"_mean interval {observer}")
        entries.append((handle(look[observer]), f"{observer}  {number(value, low, high)}"))
        said.append(f"{observer} {number(value, low, high)}")
    ax.set_xlim(1.02, -0.02)
    ax.set_ylim(len(categories) - 0.4, -0.6)
    ax.set_yticks(range(len(categories)), categories)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{abs(1 - x):.1f}"))
    dress(ax, xlabel="fraction of texture decisions")
    top = ax.secondary_xaxis("top")
    top.set_xlabel("fraction of shape decisions", color=INK, fontsize=NORMAL)
    top.tick_params(colors=INK, labelsize=SMALL)
    top.spines["top"].set_color(INK)
    for y in range(len(categories)):
        ax.axhline(y, color=INK, lw=0.5, alpha=0.3, zorder=0)
    ax.tick_params(axis="y", length=0)
    legend(ax, own, entries)
    return say(
        ax,
        f"Shape bias in {len(categories)} categories, one row each; the x axis runs from shape decisions "
        f"alone on the left to texture decisions alone on the right. Over all categories: {'; '.join(said)}.",
    )


def shape_bias_by_level(ax: Axes | None, frame: pd.DataFrame, *, x: str = "t", style: Styles | None = None) -> Axes:
    """Shape bias against the noise level, intervals as bands.

    frame : `observer, t | log_snr, value[, low, high]`; `x` names the level's column. A row whose level is
        NaN (people, a classifier) is drawn as a dashed line across.
    """
    frame = checked(frame, "shape_bias_by_level", ["observer", x, "value"], unit=True)
    own, ax = ax is None, ax or new_axes(6.4, 4)
    said = curves(ax, frame, x, styles(frame["observer"], style))
    if x == "log_snr":
        noise_rightwards(ax)
    ax.set_ylim(-0.02, 1.02)
    dress(ax, xlabel=NOISE_AXIS.get(x, x), ylabel="shape bias")
    legend(ax, own)
    return say(ax, f"Shape bias against {NOISE_AXIS.get(x, x)}. {said}")


def ood_curves(
    axes: Sequence[Axes] | np.ndarray | None,
    frame: pd.DataFrame,
    *,
    chance: float | None = 1 / 16,
    style: Styles | None = None,
    xlabel: str = "condition",
    ylabel: str = "accuracy",
) -> np.ndarray:
    """Accuracy against the conditions of each stimulus set, as small multiples. Returns the array of Axes.

    Parameters
    ----------
    frame : `set, observer, condition, value[, low, high, person]`; sets and conditions are drawn in the
        frame's order, evenly spaced. Rows with a non-empty `person` are single people: points, their range a
        band, their mean the line (unless rows without `person` give it).
    chance : the accuracy of guessing, a dotted line; None for none
    xlabel : what the conditions of a set are that has no levels of a manipulation
    """
    name = "ood_curves"
    frame = checked(frame, name, ["set", "observer", "condition", "value"])
    sets = list(dict.fromkeys(frame["set"]))
    own = axes is None
    panels = new_grid(len(sets), 2.5, 2.15, columns=4) if axes is None else np.ravel(np.asarray(axes, object))
    if len(panels) < len(sets):
        raise GenclsError(f"{name}: {len(sets)} sets but {len(panels)} Axes; give one Axes a set")
    look = styles(frame["observer"], style)
    for i, (ax, which) in enumerate(zip(panels, sets, strict=False)):
        rows = frame[frame["set"] == which]
        conditions = list(dict.fromkeys(rows["condition"].astype(str)))
        said = curves(ax, rows.assign(_x=rows["condition"].astype(str).map(conditions.index)), "_x", look, conditions)
        if chance is not None:
            ax.axhline(chance, color=INK, lw=1, ls=":", zorder=1, label="_chance")
        ticks = [tick(c) for c in conditions]
        ax.set_xticks(range(len(conditions)), ticks)
        ax.set_xlim(-0.35, len(conditions) - 0.65)
        ax.set_ylim(min(-0.02, float(rows[["value", "low"]].min().min()) - 0.05), 1.02)
        dress(
            ax,
            title=which,
            xlabel=LEVELS.get(which, xlabel),
            ylabel=ylabel if not own or i % 4 == 0 else "",
        )
        if sum(map(len, ticks)) > 18:
            ax.tick_params(axis="x", labelrotation=60)
        say(ax, f"{ylabel.capitalize()} on {which}. {said}" if ylabel else f"{which.capitalize()}. {said}")
    legend(panels[0], own, [(handle(look[o]), o) for o in dict.fromkeys(frame["observer"])])
    return panels


def ood_bars(
    ax: Axes | None, frame: pd.DataFrame, *, chance: float | None = 1 / 16, style: Styles | None = None
) -> Axes:
    """Accuracy on the sets of a single condition: a group of bars a set, a bar an observer, with intervals.

    frame : `set, observer, value[, low, high]`
    """
    frame = checked(frame, "ood_bars", ["set", "observer", "value"])
    sets, observers = (list(dict.fromkeys(frame[c])) for c in ("set", "observer"))
    own, ax = ax is None, ax or new_axes(max(6.4, 0.9 + len(sets) * (0.35 + 0.22 * len(observers))), 3.6)
    look = styles(observers, style)
    width = 0.8 / len(observers)
    for i, observer in enumerate(observers):
        colour, marker = look[observer]
        rows = frame[frame["observer"] == observer]
        x = rows["set"].map(sets.index).to_numpy(float) + (i - (len(observers) - 1) / 2) * width
        ax.bar(x, rows["value"], width * 0.86, color=colour, alpha=0.4, lw=0, label=f"_bar {observer}")
        intervals(ax, rows["low"], rows["high"], x, colour, observer)
        ax.plot(x, rows["value"], marker, color=colour, ms=marker_size(marker), label=observer, zorder=3)
    if chance is not None:
        ax.axhline(chance, color=INK, lw=1, ls=":", label="_chance")
    ax.set_xticks(range(len(sets)), sets)
    ax.set_ylim(0, 1.03)
    dress(ax, ylabel="accuracy")
    ax.tick_params(axis="x", length=0)
    legend(ax, own)
    said = "; ".join(f"{s}: {listed(frame[frame['set'] == s])}" for s in sets)
    return say(ax, f"Accuracy on {len(sets)} stimulus sets of a single condition. {said}.")


def consistency_matrix(ax: Axes | None, kappas: pd.DataFrame, *, label: str = "error consistency κ") -> Axes:
    """Every pair of observers, κ written into its cell (and its interval, up to 6 observers).

    kappas : `observer, other, value[, low, high]`, each pair once or twice; or a square frame, observers ×
        observers. NaN is drawn as an empty cell; the diagonal says nothing and is left out. Colours run from
        0 to 1.
    """
    if "observer" not in kappas:
        names = [str(name) for name in kappas.index]
        square = kappas.to_numpy(float)
        if square.shape != (len(names), len(names)) or list(kappas.columns.astype(str)) != names:
            raise GenclsError("consistency_matrix: rows and columns differ; give the same observers in the same order")
        cells = {(a, b): (square[i, j], math.nan, math.nan) for i, a in enumerate(names) for j, b in enumerate(names)}
    else:
        frame = checked(kappas, "consistency_matrix", ["observer", "other", "value"])
        names = list(dict.fromkeys([*frame["observer"], *frame["other"]]))
        cells = {}
        for row in frame.to_dict("records"):
            cell = (row["value"], row["low"], row["high"])
            cells[row["observer"], row["other"]] = cell
            cells.setdefault((row["other"], row["observer"]), cell)
    n = len(names)
    values = np.array([[cells.get((a, b), (math.nan,))[0] if a != b else math.nan for b in names] for a in names])
    side = 1.0 if n <= 6 else 0.55 if n <= 14 else 0.3
    _own, ax = ax is None, ax or new_axes(2.6 + side * n, 1.6 + side * n)
    mesh = ax.imshow(values, cmap="viridis", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(~np.isnan(values)), strict=True):
        if n > 14:
            break
        value, low, high = cells[names[i], names[j]]
        text = f"{value:.2f}" + (f"\n[{low:.2f},\n{high:.2f}]" if n <= 6 and not math.isnan(low) else "")
        ax.text(j, i, text, ha="center", va="center", fontsize=SMALL, color=ink_on(mesh.to_rgba(value)))
    ax.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), names)
    bar = figure_of(ax).colorbar(mesh, ax=ax, shrink=0.8)
    bar.set_label(label, color=INK, fontsize=NORMAL)
    bar.ax.tick_params(colors=INK, labelsize=SMALL)
    bar.outline.set_visible(False)
    dress(ax)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    pairs = [(values[i, j], names[i], names[j]) for i, j in zip(*np.triu_indices(n, 1), strict=True)]
    pairs = sorted(p for p in pairs if not math.isnan(p[0]))
    said = f"Matrix of {label} between {n} observers."
    if pairs:
        (low, *least), (high, *most) = pairs[0], pairs[-1]
        said += f" From {low:.2f} ({' and '.join(least)}) to {high:.2f} ({' and '.join(most)})."
    return say(ax, said)


def consistency_by_condition(
    axes: Sequence[Axes] | np.ndarray | None, frame: pd.DataFrame, *, style: Styles | None = None
) -> np.ndarray:
    """Error consistency against the conditions of each set, as small multiples; the dotted line is 0, chance.

    frame : `set, observer, condition, value[, low, high, person]` as in `ood_curves`; `observer` names the
        pair, and human-human, the ceiling, is drawn as people.
    """
    return ood_curves(axes, frame, chance=0, style=style, ylabel="error consistency κ")


def noise_ablation(
    axes: Sequence[Axes] | np.ndarray | None,
    frame: pd.DataFrame,
    *,
    x: str = "t",
    style: Styles | None = None,
) -> np.ndarray:
    """Shape bias and accuracy against the noise at test, for nets trained with and without noise.

    frame : `observer, measure, t | log_snr, value[, low, high]`; one panel a measure, in the frame's order.
        Rows whose level is NaN (people) are dashed lines across. Returns the array of Axes.
    """
    frame = checked(frame, "noise_ablation", ["observer", "measure", x, "value"], unit=True)
    measures = list(dict.fromkeys(frame["measure"]))
    panels = new_grid(len(measures), 4, 3.3, columns=2) if axes is None else np.ravel(np.asarray(axes, object))
    if len(panels) < len(measures):
        raise GenclsError(f"noise_ablation: {len(measures)} measures but {len(panels)} Axes; give one Axes a measure")
    look = styles(frame["observer"], style)
    for ax, measure in zip(panels, measures, strict=False):
        said = curves(ax, frame[frame["measure"] == measure], x, look)
        if x == "log_snr":
            noise_rightwards(ax)
        ax.set_ylim(-0.02, 1.02)
        dress(ax, xlabel=f"{'log-SNR' if x == 'log_snr' else x} of the noise at test", ylabel=measure)
        say(ax, f"{str(measure).capitalize()} against the noise at test. {said}")
    legend(panels[0], axes is None, [(handle(look[o]), o) for o in dict.fromkeys(frame["observer"])])
    return panels


def gains_by_level(
    axes: Sequence[Axes] | np.ndarray | None,
    frame: pd.DataFrame,
    *,
    x: str = "t",
    style: Styles | None = None,
    ylabel: str = "gain over the controls (%)",
) -> np.ndarray:
    """What each reading of an illusion gains over control prompts, against the noise level; the dotted line is 0, no gain.

    frame : `observer` (the reading), `kind, t | log_snr, value[, low, high]`; one panel a kind, in the frame's order.
    Returns the array of Axes.
    """
    frame = checked(frame, "gains_by_level", ["observer", "kind", x, "value"])
    kinds = list(dict.fromkeys(frame["kind"]))
    panels = new_grid(len(kinds), 3.4, 2.6, columns=2) if axes is None else np.ravel(np.asarray(axes, object))
    if len(panels) < len(kinds):
        raise GenclsError(f"gains_by_level: {len(kinds)} kinds but {len(panels)} Axes; give one Axes a kind")
    look = styles(frame["observer"], style)
    for i, (ax, kind) in enumerate(zip(panels, kinds, strict=False)):
        said = curves(ax, frame[frame["kind"] == kind], x, look)
        ax.axhline(0, color=INK, lw=1, ls=":", zorder=1, label="_none")
        if x == "log_snr":
            noise_rightwards(ax)
        dress(ax, title=kind, xlabel=NOISE_AXIS.get(x, x), ylabel=ylabel if axes is not None or i % 2 == 0 else "")
        say(ax, f"{ylabel.capitalize()}, {kind}, against the noise level. {said}")
    legend(panels[0], axes is None, [(handle(look[o]), o) for o in dict.fromkeys(frame["observer"])])
    return panels


def forest(
    ax: Axes | None, estimates: pd.DataFrame, *, xlabel: str = "", style: Styles | None = None, key: bool = True
) -> Axes:
    """The ledger: our estimates with intervals, people, and the paper's numbers (hollow).

    Parameters
    ----------
    estimates : `name, observer, origin, value[, low, high, shown]`, as in results.json; those whose `origin` is
        "reported" are the paper's, those whose `shown` is false are left out. Under a name the observers stand in the
        frame's order, from the top.
    key : whether each observer has a row of its own, labelled, under the name; without, a name is one row, for observers
        whose `style` or whose name says who they are
    """
    frame = checked(estimates, "forest", ["name", "observer", "origin", "value"])
    frame = frame[frame["shown"].astype(bool)] if "shown" in frame else frame
    names = list(dict.fromkeys(frame["name"]))
    frame = frame.sort_values("name", key=lambda column: column.map(names.index), kind="stable", ignore_index=True)
    own, (ax, at) = ax is None, (_row_each if key else _row_a_name)(ax, frame, names)
    drawn = {observer: look for observer, look in styles(frame["observer"]).items() if is_person(observer) or not key}
    look = dict.fromkeys(frame["observer"], MODEL) | drawn | dict(style or {})
    kinds: dict[str, Line2D] = {}
    for y, row in zip(at, frame.to_dict("records"), strict=True):
        reported = row["origin"] == "reported"
        colour, marker = REPORTED if reported and key else look[row["observer"]]
        intervals(ax, [row["low"]], [row["high"]], [y], colour, row["observer"], horizontal=True)
        (mark,) = ax.plot(
            row["value"], y, marker, color=colour, mfc="none" if reported else colour,
            mew=1.3 if reported else 1, ms=marker_size(marker) + reported,
            label=row["observer"], zorder=3,
        )  # fmt: skip
        kind = "reported by the paper" if reported else "people" if is_person(row["observer"]) else "models"
        kinds.setdefault(kind, mark)
    if np.nanmin(frame[ENDS]) >= 0 and np.nanmax(frame[ENDS]) <= 1:
        ax.set_xlim(-0.03, 1.03)
    dress(ax, xlabel=xlabel)
    ax.tick_params(axis="y", length=0)
    if key and len(kinds) > 1:
        legend(ax, own, [(mark, kind) for kind, mark in kinds.items()])
    parts = frame.groupby("name", sort=False)
    said = [f"{name}: {_spanned(rows) if key else listed(rows)}" for name, rows in parts]
    beside = " beside those reported" if "reported by the paper" in kinds else ""
    return say(ax, f"Our estimates{beside}. {'. '.join(said)}.")


def _row_each(ax: Axes | None, frame: pd.DataFrame, names: Sequence[str]) -> tuple[Axes, np.ndarray]:
    """A labelled row for each of a forest's rows, under a heading a name: the Axes and their heights."""
    group = frame["name"].map(names.index).to_numpy()
    at = np.arange(len(frame)) + 1.5 * group
    ax = ax or new_axes(5, 0.9 + 0.2 * (len(frame) + 1.5 * len(names)))
    ax.set_yticks(at, list(frame["observer"]))
    ax.set_ylim(at[-1] + 0.7, -1.6)
    for i, name in enumerate(names):
        y = at[group == i][0] - 1
        ax.text(
            0.02, y, name, transform=ax.get_yaxis_transform(), color=INK, fontsize=NORMAL, weight="bold", va="center"
        )
        ax.axhline(y - 0.6, color=INK, lw=0.5, alpha=0.4)
    return ax, at


def _row_a_name(ax: Axes | None, frame: pd.DataFrame, names: Sequence[str]) -> tuple[Axes, np.ndarray]:
    """One row a name, its observers close to each other: the Axes and their heights."""
    size, place = frame["name"].map(frame["name"].value_counts()), frame.groupby("name").cumcount()
    at = frame["name"].map(names.index) + (place - (size - 1) / 2) * np.minimum(0.2, 0.8 / size)
    ax = ax or new_axes(6.8, 0.9 + 0.05 * len(frame) + 0.22 * len(names))
    ax.set_yticks(range(len(names)), [textwrap.fill(str(name), 36) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    for y in range(1, len(names)):
        ax.axhline(y - 0.5, color=INK, lw=0.5, alpha=0.4)
    return ax, at.to_numpy()


def _spanned(rows: pd.DataFrame) -> str:
    """In words, each row's number where there are few, else from the lowest to the highest: people, models, those reported."""
    theirs, people = rows["origin"] == "reported", rows["observer"].map(is_person)
    said = []
    for of, part in (("", rows[people & ~theirs]), ("", rows[~people & ~theirs]), ("reported ", rows[theirs])):
        part = part[part["value"].notna()].sort_values("value")
        if 0 < len(part) < 3:
            said.append(of + listed(part.assign(low=math.nan)))
        elif len(part):
            ends = [listed(part.iloc[[end]].assign(low=math.nan)) for end in (0, -1)]
            said.append(f"{of}from {ends[0]} to {ends[1]}")
    return "; ".join(said)
