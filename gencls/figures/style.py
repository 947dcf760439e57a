"""How every figure looks: colours, markers, panels, legends, curves, and the words that describe them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gencls.errors import GenclsError

#: Text and axes: readable on white and on near-black.
INK = "#7a7a7a"
PEOPLE = "#d9415d"
COLOURS = ("#2a7abf", "#c17f00", "#009470", "#b0629a", "#4596c9", "#8d7f3c")
MARKERS = ("o", "s", "^", "v", "P", "X", "p")
SMALL, NORMAL = 9, 10

#: What the conditions of a stimulus set are levels of.
LEVELS = {
    "colour": "colour",
    "contrast": "contrast (%)",
    "high-pass": "filter σ (px)",
    "low-pass": "filter σ (px)",
    "phase-scrambling": "phase noise (°)",
    "power-equalisation": "power spectrum",
    "false-colour": "false colour",
    "rotation": "angle (°)",
    "eidolonI": "reach (coherence 1.0)",
    "eidolonII": "reach (coherence 0.3)",
    "eidolonIII": "reach (coherence 0.0)",
    "uniform-noise": "noise half-width",
}
NOISE_AXIS = {"t": "noise level t (0 clean, 1 noise alone)", "log_snr": "log-SNR (more noise to the right)"}


class Style(NamedTuple):
    """How an observer is drawn."""

    colour: str
    marker: str


Styles = Mapping[str, Style]
ENDS = ["value", "low", "high"]


def is_person(observer: str) -> bool:
    """Whether a name is that of people: `people`, `human`, `subject-03`, `people (mean of ten)`."""
    return re.match(r"(people|humans?|persons?|participants?|subjects?)(\b|_|\d)", observer.lower()) is not None


def styles(observers: Iterable[str], given: Styles | None = None) -> dict[str, Style]:
    """One style each, in order, but for those `given`.

    42 observers differ in colour or marker; people share theirs.
    Make it once over all observers and pass it to each figure as `style`, so that the figures agree.
    """
    names = list(dict.fromkeys(observers))
    machines = [name for name in names if not is_person(name)]
    drawn = {name: Style(PEOPLE, "D") for name in names}
    for i, name in enumerate(machines):
        drawn[name] = Style(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
    return drawn | {name: style for name, style in (given or {}).items() if name in drawn}


def points(estimates: Mapping[Any, Any], columns: Sequence[str] = ("observer",), **constant: object) -> pd.DataFrame:
    """A frame from Estimates (anything with `value`, `low`, `high`, `n`; a bare number has no interval).

    The keys give the columns: `points({("people", "cat"): estimate}, ["observer", "category"], t=0.5)`.
    """
    rows = []
    for key, estimate in estimates.items():
        row: dict[str, object] = dict(zip(columns, key if isinstance(key, tuple) else (key,), strict=True)) | constant
        row["value"] = float(getattr(estimate, "value", estimate))
        for field in ("low", "high", "n"):
            row[field] = getattr(estimate, field, math.nan)
        rows.append(row)
    return pd.DataFrame(rows, columns=[*columns, *constant, "value", "low", "high", "n"])


def describe(ax: Axes) -> str:
    """The alternative text of the figure that this Axes stands in."""
    return str(figure_of(ax).get_label())


def checked(frame: pd.DataFrame, name: str, columns: Sequence[str], unit: bool = False) -> pd.DataFrame:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise GenclsError(f"{name}: the frame lacks the column {', '.join(missing)}; it needs {', '.join(columns)}")
    if frame.empty:
        raise GenclsError(f"{name}: the frame has no rows; give at least one")
    frame = frame.copy()
    for column in ("low", "high"):
        if column not in frame:
            frame[column] = math.nan
    try:
        frame[ENDS] = frame[ENDS].astype(float)
    except (TypeError, ValueError) as error:
        raise GenclsError(f"{name}: what stands in value, low or high is no number ({error})") from None
    outside = frame["value"][(frame["value"] < 0) | (frame["value"] > 1)]
    if unit and len(outside):
        raise GenclsError(f"{name}: the value {outside.iloc[0]:g} (row {outside.index[0]}) is no fraction; give 0 to 1")
    return frame


def same_shape(name: str, what: str, lengths: list[int], shape: tuple[int, int]) -> None:
    if not shape[0] or lengths != [shape[1]] * shape[0]:
        raise GenclsError(f"{name}: {what} in rows of {lengths}; give {shape[1]} in each row, one a title")


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def new_axes(width: float, height: float) -> Axes:
    figure, ax = plt.subplots(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    return ax


def new_grid(n: int, width: float, height: float, columns: int) -> np.ndarray:
    across = min(n, columns)
    down = math.ceil(n / across)
    figure, axes = plt.subplots(
        down, across, figsize=(width * across, height * down + 0.5), squeeze=False, layout="constrained"
    )
    figure.patch.set_alpha(0)
    for ax in axes.flat[n:]:
        ax.remove()
    return axes.ravel()[:n]


def dress(ax: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    ax.patch.set_alpha(0)
    ax.tick_params(colors=INK, labelsize=SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    if title:
        ax.set_title(title, fontsize=NORMAL, color=INK, weight="bold")
    if xlabel:
        ax.set_xlabel(xlabel, fontsize=NORMAL, color=INK)
    if ylabel:
        ax.set_ylabel(ylabel, fontsize=NORMAL, color=INK)


def show(ax: Axes, image: np.ndarray | None) -> None:
    ax.patch.set_alpha(0)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    if image is not None:
        pixels = image if image.dtype == np.uint8 else np.clip(image, 0, 1)
        ax.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= 64 else "antialiased")


def marker_size(marker: str) -> float:
    return {"D": 6, "P": 8, "X": 8, "p": 8}.get(marker, 7)


def handle(style: Style) -> Line2D:
    return Line2D([], [], color=style.colour, marker=style.marker, ls="", ms=marker_size(style.marker))


def legend(ax: Axes, own: bool, entries: Sequence[tuple[Any, str]] | None = None) -> None:
    """Frameless: under the panels of a figure of our own, else inside the Axes where it hides least."""
    entries = entries or list(zip(*ax.get_legend_handles_labels(), strict=True))
    if not entries:
        return
    handles, texts = [handle for handle, _ in entries], [text for _, text in entries]
    look: dict[str, Any] = {"fontsize": SMALL, "labelcolor": INK, "frameon": False}
    figure = figure_of(ax)
    if own:
        columns = int(figure.get_figwidth() / (0.5 + 0.066 * max(map(len, texts))))
        figure.legend(handles, texts, loc="outside lower center", ncols=max(1, min(len(texts), columns)), **look)
    else:
        ax.legend(handles, texts, loc="best", **look)


def intervals(
    ax: Axes, low: Iterable[float], high: Iterable[float], at: Iterable[float], colour: str, observer: str,
    *, horizontal: bool = False,
) -> None:  # fmt: skip
    low, high, at = (np.asarray(list(v), float) for v in (low, high, at))
    drawn = ~np.isnan(low) & ~np.isnan(high)
    if drawn.any():
        lines = ax.hlines if horizontal else ax.vlines
        lines(
            at[drawn],
            low[drawn],
            high[drawn],
            color=colour,
            lw=1.8,
            alpha=0.65,
            label=f"_interval {observer}",
            zorder=2,
        )


def curves(ax: Axes, frame: pd.DataFrame, x: str, look: Styles, ticks: Sequence[str] | None = None) -> str:
    """One line an observer with its band, single people as points; returns the words for it."""
    said = []
    for observer, rows in frame.groupby("observer", sort=False):
        colour, marker = look[str(observer)]
        rows = _with_people(ax, rows, x, colour, str(observer))
        across, rows = rows[rows[x].isna()], rows[rows[x].notna()].sort_values(x)
        for _, row in across.iterrows():
            ax.axhline(
                row["value"], color=colour, lw=1.8, ls="--", marker=marker, markevery=[1], ms=marker_size(marker) - 1.5,
                label=str(observer), zorder=2, clip_on=False,
            )  # fmt: skip
            if not math.isnan(row["low"]):
                ax.axhspan(row["low"], row["high"], color=colour, alpha=0.13, lw=0, label=f"_band {observer}")
            said.append(f"{observer}: {number(row['value'], row['low'], row['high'])} throughout")
        if not len(rows):
            continue
        ax.plot(
            rows[x], rows["value"], marker + "-", color=colour, ms=marker_size(marker) - 1.5, lw=1.6,
            label="_" * bool(len(across)) + str(observer), zorder=3,
        )  # fmt: skip
        if rows["low"].notna().any():
            ax.fill_between(
                rows[x], rows["low"], rows["high"], color=colour, alpha=0.2, lw=0, label=f"_band {observer}"
            )
        known = rows[rows["value"].notna()]
        if len(known):
            ends = [ticks[int(v)] if ticks else f"{v:.3g}" for v in (known[x].iloc[0], known[x].iloc[-1])]
            values = known["value"].to_numpy()
            said.append(
                f"{observer}: {values[0]:.2f} at {ends[0]}" + f" to {values[-1]:.2f} at {ends[1]}" * (len(known) > 1)
            )
    return "; ".join(said) + "."


def _with_people(ax: Axes, rows: pd.DataFrame, x: str, colour: str, observer: str) -> pd.DataFrame:
    if "person" not in rows:
        return rows
    single = rows["person"].fillna("").astype(str) != ""
    if not single.any():
        return rows
    people, rows = rows[single], rows[~single]
    ax.plot(
        people[x],
        people["value"],
        "d",
        color=colour,
        ms=4,
        alpha=0.55,
        lw=0,
        label=f"_person {observer}",
        zorder=2,
    )
    if rows.empty:
        by = people.groupby(x)["value"]
        rows = pd.DataFrame({"value": by.mean(), "low": by.min(), "high": by.max()}).reset_index()
    return rows


def noise_rightwards(ax: Axes) -> None:
    """Let log-SNR fall to the right, so that noise grows rightwards as it does along t."""
    low, high = sorted(ax.get_xlim())
    ax.set_xlim(high, low)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def tick(condition: str) -> str:
    """`c05` → 5, `0.90` → 0.9, `128-10-10` → 128; words stay."""
    text = re.sub(r"^c(?=\d)|(?<=\d)-\d+-10$", "", condition)
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def ink_on(colour: Any) -> str:
    """Black or white, whichever reads better on this RGB colour (WCAG relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "black" if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else "white"


def number(value: float, low: float = math.nan, high: float = math.nan) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if not math.isnan(low) else "")


def listed(rows: pd.DataFrame) -> str:
    return ", ".join(f"{r['observer']} {number(r['value'], r['low'], r['high'])}" for r in rows.to_dict("records"))


def texts_of(axes: Iterable[Axes]) -> Iterator[str]:
    for ax in axes:
        text = str(ax.get_label())
        if text and not text.startswith("<"):  # a colour bar
            yield text


def say(ax: Axes, text: str) -> Axes:
    """Keep the alternative text: each Axes' own as its label, all of them together as the figure's."""
    ax.set_label(text)
    figure = figure_of(ax)
    figure.set_label(" ".join(texts_of(figure.axes)))
    return ax
