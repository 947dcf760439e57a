"""The book: chapters are parametrized notebooks, executed for each world, then rendered by Jupyter Book.

`book/<chapter>.md` (jupytext) → papermill → `_executed/<world>/<chapter>/<chapter>.ipynb` and `results.json`
→ `jupyter-book build .` → `_build/html/index.html`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from gencls import downloads
from gencls.chapters import (
    Parameter,
    chapters,
    check_profile,
    checked_values,
    defaults,
    parameters,
    read_chapter,
    read_profile,
    root_folder,
)
from gencls.errors import GenclsError
from gencls.results import Html, Number, Page, Prose, read_results, write_atomically

__all__ = [
    "Html", "Number", "Page", "Parameter", "Prose", "book_pages", "build_book", "chapter_results", "chapters",
    "execute_pages", "parameters", "read_profile", "read_results", "root_folder", "run_chapter",
]  # fmt: skip

EXECUTED = "_executed"
#: Worlds that are left out of a build which names none, where `GENCLS_MIRROR` is not set.
NEEDS_MIRROR = {"full"}
#: Set while `build_book` renders: what it left out, the extension does not run either.
RENDER_ONLY = "GENCLS_RENDER_ONLY"
#: The worlds whose scores a fresh build computes again (`GENCLS_FRESH=1` while their chapters run).
RECOMPUTED = {"shapes"}


def run_chapter(
    chapter: str,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    profile: str | Path | None = None,
    *,
    root: str | Path | None = None,
    progress: bool | None = None,
) -> Path:
    """Execute one chapter; returns the path of the executed notebook.

    Raises GenclsError for an unknown chapter or parameter, and where a cell fails: then nothing that was in
    `out` is touched, and the notebook up to the failure is `<chapter>.failed.ipynb`.

    Parameters
    ----------
    chapter : its id, e.g. `shape_bias`
    parameters : values in place of those in its `parameters` cell; they win over the profile's
    out : the folder for `<chapter>.ipynb`, `results.json` and the figures' data
          (default: `_executed/<world>/<chapter>` of the checkout, where the book takes them from)
    profile : name or path of a file of parameters, see `read_profile`
    progress : show a progress bar (default: on a terminal)
    """
    root = root_folder(root)
    values = checked_values(chapter, parameters or {}, profile, root)
    world = values.get("world", defaults(chapter, root).get("world", ""))
    folder = Path(out).resolve() if out else root / EXECUTED / str(world) / chapter
    return _execute(chapter, values, folder, root, sys.stderr.isatty() if progress is None else progress)


def book_pages(root: str | Path | None = None) -> list[tuple[str, str]]:
    """Every (world, chapter) that `_toc.yml` names, the opening page last: it sums up the others' results."""
    toc = yaml.safe_load((root_folder(root) / "_toc.yml").read_text())
    page = re.compile(rf"^{EXECUTED}/([^/]+)/([^/]+)/\2(?:\.ipynb)?$")
    root_page, *rest = (m and (m[1], m[2]) for m in map(page.match, [str(toc.get("root")), *_toc_files(toc)]))
    pages = [found for found in dict.fromkeys(rest) if found and found != root_page]
    return [*pages, root_page] if root_page else pages


def chapter_results(world: str, chapter: str, root: str | Path | None = None) -> list[Number]:
    """The numbers that a chapter of the book has reported for a world; none if it was not run there."""
    folder = root_folder(root) / EXECUTED / world / chapter
    return read_results(folder) if (folder / "results.json").is_file() else []


def execute_pages(
    worlds: Sequence[str] | None = None,
    profile: str | Path | None = None,
    fresh: bool = False,
    *,
    root: str | Path | None = None,
    missing_only: bool = False,
    log: Callable[[str], object] = print,
) -> list[Path]:
    """Execute the chapters that `_toc.yml` names for these worlds; returns the notebooks, in the order run.

    A chapter whose inputs (its text, parameters, the package, the records, what it sums up) are those of its
    last run is not run again, unless it is the shapes world's and `fresh`. A page of a world that is left out,
    if it was never run, becomes a note that says how to make it.
    """
    root = root_folder(root)
    pages = book_pages(root)
    known = list(dict.fromkeys(world for world, _ in pages))
    if worlds is None:
        worlds = [w for w in known if w not in NEEDS_MIRROR or os.environ.get("GENCLS_MIRROR")]
    for world in worlds:
        if world not in known:
            raise GenclsError(f"the book has no world '{world}'; _toc.yml names: {', '.join(known)}")
    check_profile(profile, root)
    package, done = _digest_of_package(root), []
    for world in RECOMPUTED if fresh else ():
        shutil.rmtree(downloads.cache_folder() / "records" / world, ignore_errors=True)
    for i, (world, chapter) in enumerate(pages, 1):
        folder = root / EXECUTED / world / chapter
        notebook = folder / f"{chapter}.ipynb"
        read_chapter(chapter, root)
        if world not in worlds:
            if not notebook.exists():
                _write_note(notebook, chapter, world, (root / "book" / f"{chapter}.md").read_text())
            continue
        if missing_only and _metadata(notebook):
            continue
        values = checked_values(chapter, {"world": world}, profile, root)
        inputs = _digest(
            package, (root / "book" / f"{chapter}.md").read_text(), values, _siblings(root, chapter, pages)
        )
        again = fresh and world in RECOMPUTED
        if not again and _metadata(notebook).get("inputs") == inputs:
            log(f"[{i}/{len(pages)}] {world}/{chapter}: unchanged")
            continue
        log(f"[{i}/{len(pages)}] {world}/{chapter}")
        with _environment(GENCLS_FRESH="1") if again else nullcontext():
            done.append(_execute(chapter, values, folder, root, sys.stderr.isatty(), inputs))
    return done


def build_book(
    worlds: Sequence[str] | None = None,
    profile: str | Path | None = None,
    fresh: bool = False,
    out: str | Path | None = None,
    *,
    root: str | Path | None = None,
    log: Callable[[str], object] = print,
) -> Path:
    """Execute the chapters and render the book; returns the path of its `index.html`.

    Parameters
    ----------
    worlds : which parts to execute (default: all whose data are here; `full` needs `GENCLS_MIRROR`)
    profile : parameters of this build, e.g. `smoke`; see `read_profile`
    fresh : compute every score of the shapes world again, from the weights at hand
    out : folder that `_build/` is made in (default: the checkout)
    """
    root = root_folder(root)
    execute_pages(worlds, profile, fresh, root=root, log=log)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(root), "-q", "-W", "--keep-going"]
    if out:
        command += ["--path-output", str(Path(out).resolve())]
    log("rendering the pages")
    environment = os.environ | {RENDER_ONLY: "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr + done.stdout).splitlines()
    index = Path(out or root).resolve() / "_build" / "html" / "index.html"
    if done.returncode or not index.is_file():
        why = [line for line in said if re.search("WARNING|ERROR|rror:", line)] or said[-5:]
        raise GenclsError("jupyter-book could not build the book: " + " | ".join(why[:5]))
    return index


def _toc_files(toc: Any) -> Iterator[str]:
    if isinstance(toc, dict):
        yield from (str(value) for key, value in toc.items() if key in ("file", "root"))
        toc = list(toc.values())
    if isinstance(toc, list):
        for item in toc:
            yield from _toc_files(item)


def _execute(
    chapter: str,
    values: Mapping[str, Any],
    folder: Path,
    root: Path,
    progress: bool,
    inputs: str = "run by hand",
) -> Path:
    """Run in a folder of its own beside `folder` and move the results there once all is well."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it calls an annotated parameter unknown
    notebook = read_chapter(chapter, root)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    final = folder / f"{chapter}.ipynb"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".running-") as temporary:
            stage = Path(temporary)
            try:
                with _environment(GENCLS_OUT=str(stage), GENCLS_BOOK=str(root)):
                    done = papermill.execute_notebook(
                        notebook,
                        str(stage / "run.ipynb"),
                        dict(values),
                        kernel_name="python3",
                        extra_arguments=["--IPKernelApp.log_level=50"],
                        progress_bar=progress,
                    )
            except PapermillExecutionError as error:
                failed = final.with_suffix(".failed.ipynb")
                (stage / "run.ipynb").replace(failed)
                raise _failure(chapter, error, failed) from None
            (stage / "run.ipynb").unlink()
            seconds = done.metadata.pop("papermill", {}).get("duration")
            files = sorted(file.name for file in stage.iterdir())
            done.metadata["gencls"] = {
                "inputs": inputs,
                "seconds": seconds,
                "files": files,
                "parameters": json.loads(json.dumps(dict(values), default=str)),
            }
            for cell in done.cells:
                tags = cell.metadata.setdefault("tags", [])
                cell.metadata.pop("papermill", None)
                if cell.cell_type == "code" and not {"show-input", "remove-input", "remove-cell"} & set(tags):
                    tags.append("hide-input")
            nbformat.write(done, str(stage / final.name))
            final.with_suffix(".failed.ipynb").unlink(missing_ok=True)
            for name in _metadata(final).get("files", []):  # an earlier run's figures are not this one's
                (folder / Path(name).name).unlink(missing_ok=True)  # in this folder, whatever a notebook says
            for name in [*files, final.name]:
                (stage / name).replace(folder / name)
    except OSError as error:
        raise GenclsError(
            f"chapter '{chapter}' could not be written to {folder}: {error.strerror or error}; "
            "free some space or choose another folder"
        ) from None
    return final


def _failure(chapter: str, error: Any, failed: Path) -> GenclsError:
    if error.ename in ("GenclsError", "Unreachable"):
        return GenclsError(f"chapter '{chapter}': {error.evalue}")
    first = next((line for line in error.source.splitlines() if line.strip()), "").strip()
    message = " ".join(str(error.evalue).split()) or "no message"
    return GenclsError(
        f"chapter '{chapter}' failed in the cell that begins `{first}` with {error.ename}: {message} "
        f"(everything up to there is in {failed})"
    )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _digest_of_package(root: Path) -> str:
    """SHA-256 over the package's files (code, tables, weights), the records, the checkout's weights, where data are read and which are here."""
    sha = hashlib.sha256(json.dumps([os.environ.get("GENCLS_MIRROR", ""), downloads.here()]).encode())
    for folder in (Path(__file__).parent, root / "book" / "records", root / "weights"):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".checkpoint":
                sha.update(file.relative_to(folder).as_posix().encode())
                sha.update(hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


def _siblings(root: Path, chapter: str, pages: Sequence[tuple[str, str]]) -> list[str]:
    """What the opening page sums up: the other pages' results (nothing for any other page)."""
    if chapter != pages[-1][1]:
        return []
    files = (root / EXECUTED / world / name / "results.json" for world, name in pages if name != chapter)
    return [file.read_text() for file in files if file.is_file()]


def _metadata(notebook: Path) -> dict[str, Any]:
    """What `_execute` wrote down of a run: its inputs, seconds, files and parameters; empty where nothing was run."""
    try:
        return dict(json.loads(notebook.read_text())["metadata"]["gencls"])
    except (OSError, KeyError, ValueError):
        return {}


def _write_note(notebook: Path, chapter: str, world: str, source: str) -> None:
    import nbformat.v4 as v4

    title = re.search(r"^# (.+)$", source, re.MULTILINE)
    text = (
        f"# {title[1] if title else chapter}: not run\n\n"
        f"This page was not run in this build. `gencls run {chapter} -p world={world}` runs it; "
        "`GENCLS_MIRROR` names a folder with the public data that it needs."
    )
    cell = v4.new_markdown_cell(text, id="note")
    write_atomically(notebook, json.dumps(v4.new_notebook(cells=[cell])))
