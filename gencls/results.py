"""What a chapter says: its numbers, its figures, and where each of them came from.

A chapter opens a `Page`, reports every number through it and closes it. The page writes `results.json`, puts
reported numbers into prose, and shows what was run. No number is typed into a chapter.
"""

from __future__ import annotations

import base64
import html
import importlib.metadata
import io
import json
import math
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gencls.errors import GenclsError
from gencls.models import zoo
from gencls.stimuli.pictures import changes

#: Where a number came from → how the page says so.
ORIGINS = {
    "computed": "computed in this run",
    "cached": "computed earlier on this machine and kept in its cache",
    "record": "taken from a record that ships with the book",
    "mixed": "resting on scores of more than one origin",
    "reported": "reported by the paper, not measured here",
}
_PACKAGES = ("gencls", "numpy", "pandas", "xarray", "torch", "diffusers", "transformers", "matplotlib")
_SVG_LIMIT = 400_000  # bytes: a figure with more marks than this is embedded as PNG


@dataclass(frozen=True)
class Number:
    """One number of a page, as it stands in `results.json`.

    In `Page.say` and f-strings it prints its interval too: `{bias:.0%}` gives `24% [21%, 27%]`,
    `{bias.value:.0%}` the value alone, `{bias.n}` the number of trials behind it.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    observer: str | None = None
    origin: str = "computed"

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        spec = spec or (".2f" if any((x or 0) % 1 for x in (self.value, self.low, self.high)) else ".0f")
        if math.isnan(self.value):
            return "undefined"
        if self.low is None or self.high is None:
            return format(self.value, spec)
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)

    def _repr_html_(self) -> str:
        whose = f", {self.observer}" if self.observer else ""
        return f"<p>{html.escape(self.name + whose)}: {self.markup()}</p>"

    def markup(self, spec: str = "") -> str:
        """HTML: the number, a mark on what the paper reported, and its n and origin as a tooltip."""
        n = f", n = {self.n:,}" if self.n is not None else ""
        tip = html.escape(f"{self.observer + ': ' if self.observer else ''}{ORIGINS[self.origin]}{n}")
        text = format(self, spec) + ("†" if self.origin == "reported" else "")
        return f'<span class="gencls-number" title="{tip}">{text}</span>'


class _Undefined:
    """What stands in a text for a number that is none."""

    def __format__(self, spec: str) -> str:
        return "undefined"


class _Field:
    """A number inside `Page.say`, formatted as markup; its attributes are the number's, `undefined` where there is none."""

    def __init__(self, number: Number) -> None:
        self._number = number

    def __format__(self, spec: str) -> str:
        return self._number.markup(spec)

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._number, attribute)
        return (
            _Undefined() if attribute in ("value", "low", "high", "n") and (found is None or found != found) else found
        )


class _Fields:
    """The numbers of one name: `{name}` if there is only one, else `{name[observer]}`."""

    def __init__(self, name: str, numbers: Mapping[str | None, Number]) -> None:
        self._name, self._numbers = name, numbers

    def _only(self) -> _Field:
        if len(self._numbers) > 1:
            known = ", ".join(str(o) for o in self._numbers)
            raise GenclsError(
                f"'{{{self._name}}}' has several observers; write {{{self._name}[…]}} with one of: {known}"
            )
        return _Field(next(iter(self._numbers.values())))

    def __getitem__(self, observer: str) -> _Field:
        if observer not in self._numbers:
            known = ", ".join(str(o) for o in self._numbers)
            raise GenclsError(f"no '{self._name}' was reported for '{observer}'; there is one for: {known}")
        return _Field(self._numbers[observer])

    def __format__(self, spec: str) -> str:
        return format(self._only(), spec)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._only(), attribute)


class _Lookup(dict[str, _Fields]):
    def __missing__(self, name: str) -> _Fields:
        raise GenclsError(f"no number named '{name}' was reported on this page; there are: {', '.join(self)}")


class Html:
    """A piece of HTML that Jupyter and the book show; as text it is its plain summary."""

    def __init__(self, markup: str, text: str) -> None:
        self.markup, self.text = markup, text

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


class Prose:
    """Markdown that Jupyter and the book show as running text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return re.sub(r"<[^>]+>", "", self.text)


class Page:
    """One chapter's page: collects its numbers and figures, and says what was run.

    Its files (`results.json`, each figure's data) go to the folder named by the environment variable
    `GENCLS_OUT`, which `gencls run` and `gencls book` set; in a notebook run by hand to
    `runs/<world>/<chapter>`.

    Parameters
    ----------
    chapter : the chapter's id, e.g. `shape_bias`
    world : the world it is run on
    seed : the seed of everything random on it
    parameters : the chapter's other parameters, shown in the provenance box
    """

    def __init__(self, chapter: str, *, world: str, seed: int | None = None, **parameters: object) -> None:
        self.chapter, self.world, self.seed, self.parameters = chapter, world, seed, parameters
        given = os.environ.get("GENCLS_OUT")
        self.out = Path(given) if given else Path("runs") / world / chapter
        self._link = "" if given else f"{self.out.as_posix()}/"
        self._numbers: dict[tuple[str, str | None], Number] = {}
        self._files: set[str] = set()
        self._started = time.monotonic()

    def report(
        self,
        name: str,
        value: Any,
        *,
        observer: str | None = None,
        origin: str | None = None,
        n: int | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> Number:
        """Enter one number into the page's results and return it.

        Parameters
        ----------
        name : what was measured, e.g. `shape bias`; together with `observer` it is unique on the page
        value : a number, or an estimate with `.value`, `.low`, `.high`, `.n` and perhaps `.origin` (any of the last
            four given here by keyword wins)
        observer : whose number it is, e.g. `shapes/pixel`, `people`
        origin : `computed` in this run (the default), `cached` by an earlier run on this machine, from a `record` that
            ships, `mixed` where the number rests on more than one of these, or `reported` by the paper
        """
        origin = origin or getattr(value, "origin", "computed")
        if origin not in ORIGINS:
            raise GenclsError(f"'{name}': the origin '{origin}' is unknown; it is one of {', '.join(ORIGINS)}")
        if re.search(r"[.\[\]{}:!]", name):
            raise GenclsError(f"the name '{name}' holds one of . [ ] {{ }} : !, which page.say cannot refer to")
        if (name, observer) in self._numbers:
            raise GenclsError(f"'{name}' of {observer} is reported twice on the page {self.chapter}; name them apart")
        low = getattr(value, "low", None) if low is None else low
        high = getattr(value, "high", None) if high is None else high
        n = getattr(value, "n", None) if n is None else n
        number = Number(
            name,
            float(value),
            None if low is None else _finite(float(low)),
            None if high is None else _finite(float(high)),
            None if n is None or n != n else int(n),
            observer,
            origin,
        )
        self._numbers[name, observer] = number
        return number

    @property
    def numbers(self) -> list[Number]:
        """Every number reported so far, in order."""
        return list(self._numbers.values())

    def say(self, text: str) -> Prose | None:
        """Markdown with reported numbers in it: `page.say("A bias of {shape bias[people]:.0%}.")`.

        A field is the name of a number, followed by `[observer]` where it was reported for several, and by a
        format. It prints the interval; `{shape bias[people].value:.0%}` prints the value alone. An empty text shows nothing.
        """
        by_name: dict[str, dict[str | None, Number]] = {}
        for (name, observer), number in self._numbers.items():
            by_name.setdefault(name, {})[observer] = number
        lookup = _Lookup({name: _Fields(name, numbers) for name, numbers in by_name.items()})
        return Prose(text.format_map(lookup)) if text else None

    def table(
        self, *names: str, spec: str | Mapping[str, str] = ".2f", caption: str = "", rows: str = "observer"
    ) -> Html:
        """A table of reported numbers: one row an observer, one column a name (all names if none is given).

        `spec` formats the numbers, one for all or one a name; `rows` heads the first column, where the numbers were reported
        for something else than observers.
        """
        names = names or tuple(dict.fromkeys(number.name for number in self.numbers))
        unknown = [name for name in names if name not in {number.name for number in self.numbers}]
        if unknown:
            raise GenclsError(f"no number named '{unknown[0]}' was reported on the page {self.chapter}")
        observers = dict.fromkeys(number.observer for number in self.numbers if number.name in names)
        lines = []
        for observer in observers:
            cells = []
            for name in names:
                number = self._numbers.get((name, observer))
                wanted = spec if isinstance(spec, str) else spec.get(name, ".2f")
                cells.append(f"<td>{number.markup(wanted) if number else '–'}</td>")
            lines.append(f'<th scope="row">{html.escape(observer or "")}</th>{"".join(cells)}')
        note = "† reported by the paper" if any(n.origin == "reported" for n in self.numbers if n.name in names) else ""
        return Html(
            table_in_box([rows, *names], lines, caption=". ".join(part for part in (caption, note) if part)),
            f"table of {', '.join(names)} for {', '.join(str(o) for o in observers)}",
        )

    def figure(
        self, figure: Any, *, alt: str, data: pd.DataFrame | None = None, name: str = "", caption: str = ""
    ) -> Html:
        """Show a matplotlib figure (or Axes) with its alt text and a link to its data.

        Parameters
        ----------
        figure : a matplotlib Figure, or an Axes (or array of them) on it; it is closed
        alt : what the figure shows, in a sentence, for those who do not see it
        data : what is drawn, one row a mark; saved as `<name>.csv` beside the page
        name : the file's name, letters, digits, `-` and `_`; needed with `data`. It is the figure's anchor, too: `page.html#name`
        caption : Markdown-free text under the figure
        """
        import matplotlib.pyplot as plt

        if not alt.strip():
            raise GenclsError(f"a figure of the page {self.chapter} has no alt text; say in a sentence what it shows")
        axes = figure.flat[0] if hasattr(figure, "flat") else figure
        drawn = axes if hasattr(axes, "savefig") else axes.get_figure()
        link = f' <a href="{self._link}{self._save(data, name)}" download>Data (CSV)</a>' if data is not None else ""
        source = _embed(drawn)
        plt.close(drawn)
        anchor = f' id="{name}"' if name else ""
        return Html(
            f'<figure class="gencls-figure"{anchor}><img src="{source}" alt="{html.escape(alt)}">'
            f"<figcaption>{html.escape(caption)}{link}</figcaption></figure>",
            alt,
        )

    def _save(self, data: pd.DataFrame, name: str) -> str:
        if not re.fullmatch(r"[\w-]+", name):
            raise GenclsError(f"a figure with data needs a name of letters, digits, - and _, not '{name}'")
        if name in self._files:
            raise GenclsError(f"two figures of the page {self.chapter} are named '{name}'; name them apart")
        self._files.add(name)
        write_atomically(self.out / f"{name}.csv", data.to_csv(index=False))
        return f"{name}.csv"

    def close(self, models: Sequence[str] | None = None) -> Html:
        """Write `results.json` and show what was run.

        `models` are the models that were at work; by default every observer whose number was not reported
        by the paper.
        """
        seconds = time.monotonic() - self._started
        rows = [{k: _finite(v) for k, v in asdict(number).items()} for number in self.numbers]
        write_atomically(self.out / "results.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        if models is None:
            seen = (n.observer for n in self.numbers if n.observer and n.origin != "reported")
            models = list(dict.fromkeys(seen))
        facts = {
            "World": self.world,
            "Observers": ", ".join(models) or "none",
            "Seed": "none" if self.seed is None else str(self.seed),
            "Parameters": ", ".join(f"{k} = {v!r}" for k, v in self.parameters.items()) or "none",
            **({"Images shown as": changed.strip(" ()")} if (changed := changes(0, **zoo.shown())) else {}),
            "Commit": commit(),
            "Wall time": f"{seconds:.0f} s" if seconds >= 1 else "under a second",
            "Packages": ", ".join(f"{p} {v}" for p, v in _versions().items()),
        }
        for origin, meaning in ORIGINS.items():
            names = dict.fromkeys(number.name for number in self.numbers if number.origin == origin)
            count = sum(number.origin == origin for number in self.numbers)
            facts[f"Numbers {meaning}"] = f"{count} ({', '.join(names)})" if count else "none"
        body = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
        return Html(
            '<details class="gencls-provenance" open><summary>What was run</summary>'
            f'<dl>{body}</dl><p><a href="{self._link}results.json">Every number of this page (results.json)'
            "</a></p></details>",
            "\n".join(f"{k}: {v}" for k, v in facts.items()),
        )


def table_in_box(head: Sequence[str], rows: Sequence[str], *, caption: str) -> str:
    """HTML of a table in a box of its own, which scrolls, from the keyboard too, where the table is wider than the page.

    head : the columns' headings, as text; rows : the rows' cells, as markup, the first of each a row heading
    """
    title = html.escape(caption)
    columns = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return (
        f'<div class="gencls-scroll" tabindex="0" role="region" aria-label="{title or "table"}">'
        f'<table class="table gencls-table"><caption><span>{title}</span></caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def read_results(folder: str | Path) -> list[Number]:
    """The numbers that a chapter's run left in `folder/results.json`."""
    path = Path(folder) / "results.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise TypeError
        return [Number(**{**row, "value": math.nan if row["value"] is None else row["value"]}) for row in rows]
    except FileNotFoundError:
        raise GenclsError(f"{path} is not there; run the chapter first (`gencls run CHAPTER --out {folder}`)") from None
    except (json.JSONDecodeError, TypeError, KeyError):
        raise GenclsError(f"{path} is not a list of results; delete it and run the chapter again") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise GenclsError(
            f"{path} could not be written: {error.strerror}; free some space or choose another folder"
        ) from None


def commit() -> str:
    """The commit of the checkout that the package runs from, `+` if files differ from it."""
    here = Path(__file__).parent
    run = ["git", "-C", str(here), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    try:
        tracked = [
            "git",
            "-C",
            str(here),
            "ls-files",
            "--error-unmatch",
            "errors.py",
        ]  # and not a folder in somebody else's
        subprocess.run(tracked, capture_output=True, check=True)
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"release {_versions().get('gencls', 'unknown')}, not a git checkout"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _embed(figure: Any) -> str:
    """A figure as a data URL, on white, to read in dark mode too: SVG, or PNG if it has many marks."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})
    kind = "svg+xml"
    if buffer.tell() > _SVG_LIMIT:
        buffer, kind = io.BytesIO(), "png"
        figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white", dpi=160)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
