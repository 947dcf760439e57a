"""How a decision comes about: stimuli, their reconstructions, their errors class by class."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gencls.errors import GenclsError
from gencls.figures.style import (
    COLOURS,
    INK,
    NOISE_AXIS,
    NORMAL,
    SMALL,
    dress,
    legend,
    new_axes,
    new_grid,
    noise_rightwards,
    same_shape,
    say,
    show,
    styles,
)


def error_curves(
    ax: Axes | None,
    errors: xr.DataArray,
    *,
    x: str = "log_snr",
    highlight: Mapping[str, str] | None = None,
    relative: bool = True,
) -> Axes:
    """Denoising errors of one stimulus, one curve a class, against the noise level.

    Parameters
    ----------
    errors : dims `class` and `timestep`, coords `t` or `log_snr` along `timestep`; other dims (draw) are
        averaged, NaN skipped, so a `stimulus` must have been chosen
    highlight : class → what it is, e.g. {"cat": "shape", "clock": "texture"}; without it the class of the
        least mean relative error is marked as "best"
    relative : in percent of the mean over the classes at that noise level, 0 being the mean; else the errors
    """
    if not {"class", "timestep"} <= set(errors.dims) or x not in errors.coords:
        raise GenclsError(f"error_curves: errors need dims class and timestep and the coord {x}; got {errors.dims}")
    if errors.sizes.get("stimulus", 1) != 1:
        raise GenclsError(f"error_curves: {errors.sizes['stimulus']} stimuli; choose one with .sel(stimulus=…)")
    level = np.asarray(errors[x].values, float)
    table = errors.mean([d for d in errors.dims if d not in ("class", "timestep")]).transpose("class", "timestep")
    ratio = 100 * (table / table.mean("class") - 1)
    names = [str(c) for c in errors["class"].values]
    best = names[int(np.nanargmin(ratio.mean("timestep").values))]
    marked = dict(highlight) if highlight is not None else {best: "best"}
    unknown = [name for name in marked if name not in names]
    if unknown:
        raise GenclsError(f"error_curves: no class {unknown[0]!r} among {', '.join(names)}")
    order = np.argsort(level)
    curves = (ratio if relative else table).values[:, order]
    own, ax = ax is None, ax or new_axes(6.4, 3.8)
    look = styles(marked)
    for name, curve in zip(names, curves, strict=True):
        if name in marked:
            text = f"{name} ({marked[name]})" if marked[name] else name
            ax.plot(
                level[order],
                curve,
                color=look[name].colour,
                marker=look[name].marker,
                ms=5,
                lw=2,
                label=text,
                zorder=3,
            )
        else:
            ax.plot(level[order], curve, color=INK, lw=0.9, alpha=0.55, label=f"_{name}", zorder=2)
    if relative:
        ax.axhline(0, color=INK, lw=1, ls=":", label="_mean")
    if x == "log_snr":
        noise_rightwards(ax)
    dress(
        ax,
        xlabel=NOISE_AXIS.get(x, x),
        ylabel="error against the mean\nof the classes (%)" if relative else "denoising error",
    )
    others = [(Line2D([], [], color=INK, lw=0.9), "other classes")] if len(names) > len(marked) else []
    handles, texts = ax.get_legend_handles_labels()
    legend(ax, own, [*zip(handles, texts, strict=True), *others])
    least = ", ".join(f"{name} ({what})" for name, what in marked.items())
    return say(
        ax,
        f"Denoising errors of {len(names)} classes against {NOISE_AXIS.get(x, x)}; marked: {least}. "
        f"On average over the noise levels the least error is that of {best}.",
    )


def reconstructions(
    images: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[str],
    *,
    rows: Sequence[str] | None = None,
    errors: Sequence[Sequence[float | None]] | None = None,
) -> np.ndarray:
    """A stimulus, its noised version, its reconstruction under each prompt: one row of images a noise level.

    images : rows × columns of H×W×3 (uint8, or floats in [0, 1], clipped); None leaves a cell empty
    titles : one a column;  rows : one a row, e.g. "t = 0.5"
    errors : the number under each image (None or NaN for none); the least of a row is framed and bold
    Returns the rows × columns array of Axes.
    """
    shape = (len(images), len(titles))
    same_shape("reconstructions", "images", [len(row) for row in images], shape)
    if errors is not None:
        same_shape("reconstructions", "errors", [len(row) for row in errors], shape)
    if rows is not None and len(rows) != shape[0]:
        raise GenclsError(f"reconstructions: {len(rows)} row titles for {shape[0]} rows; give one each")
    figure, axes = plt.subplots(
        *shape, figsize=(1.35 * shape[1] + 0.3, 1.6 * shape[0] + 0.3), squeeze=False, layout="constrained"
    )
    figure.patch.set_alpha(0)
    said = []
    for r, line in enumerate(images):
        numbers = np.array(
            [math.nan if e is None else e for e in errors[r]] if errors else [math.nan] * shape[1], float
        )
        least = -1 if np.isnan(numbers).all() else int(np.nanargmin(numbers))
        for c, image in enumerate(line):
            ax = axes[r, c]
            show(ax, image)
            if r == 0:
                ax.set_title(textwrap.fill(titles[c], 15), fontsize=NORMAL, color=INK)
            if not np.isnan(numbers[c]):
                ax.set_xlabel(f"{numbers[c]:.4g}", fontsize=SMALL, color=INK, weight="bold" if c == least else "normal")
            if c == least:
                ax.spines[:].set(visible=True, color=COLOURS[0], linewidth=3)
        if rows is not None:
            axes[r, 0].set_ylabel(rows[r], fontsize=NORMAL, color=INK)
        if least >= 0:
            said.append(f"{rows[r] + ': ' if rows else ''}the least error under {titles[least]}, {numbers[least]:.4g}")
    said = [f"Images in columns: {', '.join(titles)}", *said]
    say(axes[0, 0], "; ".join(said) + ".")
    return axes


def stimuli_grid(
    images: Sequence[np.ndarray], captions: Sequence[str] | None = None, *, columns: int = 8
) -> np.ndarray:
    """A contact sheet of images with captions below; small ones keep their pixels.

    images : H×W×3, uint8, or floats in [0, 1]
    Returns the array of Axes, one an image.
    """
    if not len(images):
        raise GenclsError("stimuli_grid: no images; give at least one")
    if captions is not None and len(captions) != len(images):
        raise GenclsError(f"stimuli_grid: {len(captions)} captions for {len(images)} images; give one each")
    panels = new_grid(len(images), 1.15, 1.15 + 0.25 * (captions is not None), columns=columns)
    for i, (ax, image) in enumerate(zip(panels, images, strict=True)):
        show(ax, image)
        if captions is not None:
            ax.set_xlabel(textwrap.fill(captions[i], 15), fontsize=SMALL, color=INK, labelpad=2)
    said = f": {', '.join(captions)}" if captions is not None else ""
    say(panels[0], f"Contact sheet of {len(images)} images{said}.")
    return panels
