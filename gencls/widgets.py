"""Explorers: sliders and lists that move a plot and pictures, in Jupyter and in a page without a kernel.

Everything that a slider can reach is computed beforehand and travels inside the widget, so the page needs
neither a kernel nor a network. With a kernel, an explorer given `live` takes any value, not only those
on its grid.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import anywidget
import numpy as np
import pandas as pd
import traitlets
from PIL import Image

from gencls.errors import GenclsError

#: Okabe and Ito's colours without yellow and black: safe for the colour-blind, seen on white and on dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#888888")
#: The most that one explorer may embed, in bytes: a page has 3 MB for all of its explorers.
LIMIT = 3_000_000


class Explorer(anywidget.AnyWidget):
    """Controls that choose what a plot and a row of pictures show.

    Parameters
    ----------
    controls : column → label, in the order in which they stand. A column of numbers gets a slider over its
        values, sorted; any other a list, in the order in which its values first occur.
    curves : tidy table, one row a point: the control columns and those named by `x`, `y`, `series`, `low`,
        `high`, `color`. A table may lack the columns of controls that do not matter to it. A column `tick` names the
        places on an `x` of numbers, and `xlabel` what they are levels of, where that changes with the controls.
    x, y : its columns, drawn against each other; `x` may hold numbers or names
    series : column that tells the lines apart
    low, high : columns with an interval's ends
    color : column that colours (and names, in the legend) the series, e.g. their role; default: the series
    kind : `line`, `dot` or `bar` (the last two are for an `x` of names; `bar` needs one)
    pictures : tidy table, one row a picture: the control columns, `image` (a key of `images`), `caption`
    images : key → H×W×3 or H×W uint8 array; each is embedded once
    text : tidy table with the control columns and `text`, a sentence under the picture
    start : control column → value shown first
    labels : axis labels by column; colors : series or role → hex; rules : label → height of a horizontal line
    ylim : limits of y, `"frame"` for those of what is shown, or None for those of everything
    log : the axes with a logarithmic scale, `""`, `"x"`, `"y"` or `"xy"`
    title, alt : the heading, and what the plot shows, in a sentence, for those who do not see it
    live : called with the controls' values as keywords, returns the rows of `curves` there; with a kernel at
        hand the sliders then take any number

    Examples
    --------
    Shape bias of each observer as the weighting's k moves::

        Explorer({"k": "weighting k"}, curves=table, x="observer", y="shape bias", low="low", high="high",
                 kind="dot", ylim=(0, 1), alt="Shape bias of each observer")
    """

    _esm = Path(__file__).with_name("explorer.js")
    _css = Path(__file__).with_name("explorer.css")
    spec = traitlets.Dict().tag(sync=True)
    frames = traitlets.List().tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        controls: Mapping[str, str],
        *,
        curves: pd.DataFrame | None = None,
        x: str = "x",
        y: str = "y",
        series: str | None = None,
        low: str | None = None,
        high: str | None = None,
        color: str | None = None,
        kind: Literal["line", "dot", "bar"] = "line",
        pictures: pd.DataFrame | None = None,
        images: Mapping[str, np.ndarray] | None = None,
        text: pd.DataFrame | None = None,
        start: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        colors: Mapping[str, str] | None = None,
        rules: Mapping[str, float] | None = None,
        ylim: tuple[float, float] | Literal["frame"] | None = None,
        log: str = "",
        title: str = "",
        alt: str = "",
        live: Callable[..., pd.DataFrame] | None = None,
    ) -> None:
        if not alt.strip():
            raise GenclsError("an explorer has no alt text; say in a sentence what it shows")
        tables = [t for t in (curves, pictures, text) if t is not None]
        self._columns = tuple(controls)
        self._axes = (x, y, series, low, high, color or series)
        self._live = live
        _need(curves, "curves", [c for c in self._axes if c])
        _need(pictures, "pictures", ["image"])
        _need(text, "text", ["text"])
        self._offered = {column: _offered(column, tables) for column in controls}
        self._categories = _categories(curves, x)
        self._groups = _groups(curves, color or series)
        pool = {k: _embed(k, image) for k, image in (images or {}).items()}
        if pictures is not None and (lost := set(pictures["image"]) - set(pool)):
            raise GenclsError(f"an explorer's pictures name the image '{min(lost)}', which is not among `images`")
        named = dict(labels or {})
        plot = None
        if curves is not None:
            extent = None if self._categories else _extent(curves[x], "x" in log)
            palette = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(self._groups)} | dict(colors or {})
            plot = {
                "kind": kind,
                "x": {
                    "label": named.get(x, x),
                    "categories": self._categories,
                    "extent": extent,
                    "log": "x" in log,
                    "whole": self._categories is None and "x" not in log and bool((curves[x] % 1 == 0).all()),
                },
                "y": {"label": named.get(y, y), "log": "y" in log, "free": ylim == "frame"}
                | ({"lim": list(ylim)} if isinstance(ylim, tuple) else {}),
                "groups": [{"name": g, "color": palette[g], "shape": i} for i, g in enumerate(self._groups)],
                "rules": [{"label": label, "y": float(at)} for label, at in (rules or {}).items()],
            }
            if kind == "bar" and not self._categories:
                raise GenclsError(f"an explorer with bars needs names on its x axis; '{x}' holds numbers")
        spec = {
            "title": title,
            "alt": alt,
            "controls": [_control(c, label, self._offered[c]) for c, label in controls.items()],
            "plot": plot,
            "images": pool,
            "live": live is not None and curves is not None,
        }
        found = [_by_setting(table, list(controls)) for table in (curves, pictures, text)]
        settings = itertools.product(*self._offered.values())
        frames = [self._frame(*(rows(at) for rows in found)) for at in settings]
        size = len(json.dumps([spec, frames]))
        if size > LIMIT:
            raise GenclsError(
                f"an explorer would embed {size / 1e6:.1f} MB; a page has room for {LIMIT / 1e6:.0f} MB: "
                "offer fewer values, points or images"
            )
        chosen = [self._position(c, (start or {}).get(c, self._offered[c][0])) for c in controls]
        super().__init__(spec=spec, frames=frames, chosen=chosen)
        self.on_msg(self._answer)

    @property
    def values(self) -> dict[str, Any]:
        """The controls' present values, by column."""
        return {c: self._offered[c][i] for c, i in zip(self._columns, self.chosen, strict=True)}

    def choose(self, **values: Any) -> None:
        """Move controls to values that they offer."""
        at = dict(zip(self._columns, self.chosen, strict=True))
        for column, value in values.items():
            if column not in at:
                raise GenclsError(f"the explorer has no control '{column}'; it has: {', '.join(at)}")
            at[column] = self._position(column, value)
        self.chosen = list(at.values())

    def _position(self, column: str, value: Any) -> int:
        if value not in self._offered[column]:
            known = ", ".join(map(str, self._offered[column]))
            raise GenclsError(f"the control '{column}' does not offer {value!r}; it offers: {known}")
        return self._offered[column].index(value)

    def _frame(self, curves: pd.DataFrame, shown: pd.DataFrame, said: pd.DataFrame) -> dict[str, Any]:
        captions = shown["caption"] if "caption" in shown else [""] * len(shown)
        return {
            "marks": self._marks(curves) if len(curves) else [],
            "x": self._places(curves),
            "pictures": [[str(k), str(c)] for k, c in zip(shown["image"], captions, strict=True)] if len(shown) else [],
            "text": " ".join(map(str, said["text"])) if len(said) else "",
        }

    def _marks(self, rows: pd.DataFrame) -> list[list[Any]]:
        x, y, series, low, high, color = self._axes
        marks = []
        for name, part in rows.groupby(series, sort=False) if series else [("", rows)]:
            group = self._groups.index(str(part[color].iloc[0])) if color else 0
            places = [self._categories.index(str(v)) for v in part[x]] if self._categories else _rounded(part[x])
            ends = [_rounded(part[end]) if end else None for end in (low, high)]
            marks.append([str(name), group, places, _rounded(part[y]), *ends])
        return marks

    def _places(self, rows: pd.DataFrame) -> dict[str, Any]:
        """What a frame says of its x axis in place of what the plot says: names of its places, and what they are levels of."""
        said: dict[str, Any] = {}
        if "tick" in rows and len(rows):
            named = rows.drop_duplicates(self._axes[0]).sort_values(self._axes[0])
            said["ticks"] = [
                [at, str(name)] for at, name in zip(_rounded(named[self._axes[0]]), named["tick"], strict=True)
            ]
        if "xlabel" in rows and len(rows):
            said["label"] = str(rows["xlabel"].iloc[0])
        return said

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        """A value typed by the reader: compute its curves in the kernel and send them."""
        if self._live is None or not isinstance(message, dict) or "value" not in message:
            return
        column = self._columns[int(message["control"])]
        try:
            rows = self._live(**(self.values | {column: message["value"]}))
            at = [message["value"] if c == column else None for c in self._columns]
            self.send(
                {"frame": {"marks": self._marks(rows), "x": self._places(rows), "pictures": [], "text": "", "at": at}}
            )
        except Exception as error:  # whatever it is, the reader looks under the plot
            self.send({"error": f"{column} = {message['value']}: {error}"})


def _need(table: pd.DataFrame | None, name: str, columns: Sequence[str]) -> None:
    for column in columns:
        if table is not None and column not in table:
            raise GenclsError(
                f"the explorer's `{name}` lacks the column '{column}'; it has: {', '.join(map(str, table))}"
            )


def _offered(column: str, tables: Sequence[pd.DataFrame]) -> list[Any]:
    values = dict.fromkeys(v for table in tables if column in table for v in table[column].tolist())
    if not values:
        raise GenclsError(f"an explorer's control '{column}' is a column of none of its tables, or has no value")
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    return sorted(values) if numeric else list(values)


def _control(column: str, label: str, values: Sequence[Any]) -> dict[str, Any]:
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values]
    return {
        "name": column,
        "label": label,
        "shown": shown,
        "kind": "slider" if numeric else "select",
        "numeric": numeric,
    }


def _categories(curves: pd.DataFrame | None, x: str) -> list[str] | None:
    if curves is None or pd.api.types.is_numeric_dtype(curves[x]):
        return None
    return list(dict.fromkeys(curves[x].astype(str)))


def _groups(curves: pd.DataFrame | None, color: str | None) -> list[str]:
    return list(dict.fromkeys(curves[color].astype(str))) if curves is not None and color else [""]


def _extent(values: pd.Series, log: bool) -> list[float]:
    low, high = float(values.min()), float(values.max())
    if log and low <= 0:
        raise GenclsError(f"an explorer's x axis is logarithmic, but '{values.name}' goes down to {low:g}")
    return [low, high] if high > low else ([low / 2, high * 2] if log else [low - 0.5, high + 0.5])


def _by_setting(table: pd.DataFrame | None, controls: Sequence[str]) -> Callable[[Sequence[Any]], pd.DataFrame]:
    """What a table has for one setting of the controls, of which it may lack some."""
    if table is None:
        return lambda at: pd.DataFrame()
    mine = [i for i, column in enumerate(controls) if column in table]
    if not mine:
        return lambda at: table
    groups = dict(iter(table.groupby([controls[i] for i in mine], sort=False)))
    return lambda at: groups.get(tuple(at[i] for i in mine), table[:0])


def _rounded(values: pd.Series) -> list[float | None]:
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.astype(float)]


def _embed(key: str, image: np.ndarray) -> dict[str, Any]:
    """An image as a data URL: PNG if small, since it is shown enlarged; else JPEG."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise GenclsError(f"an explorer's image '{key}' must be H×W×3 or H×W uint8, not {image.shape} {image.dtype}")
    small = max(image.shape[:2]) <= 96
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "PNG" if small else "JPEG", **({"optimize": True} if small else {"quality": 85})
    )
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"src": f"data:image/{'png' if small else 'jpeg'};base64,{data}", "alt": str(key), "small": small}
