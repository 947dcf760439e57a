"""Chapters and their parameters: notebooks `book/<chapter>.md` (jupytext), the cell tagged `parameters` in each, and profiles of values."""

from __future__ import annotations

import ast
import builtins
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gencls.errors import GenclsError


@dataclass(frozen=True)
class Parameter:
    """One parameter of a chapter: an assignment in the cell tagged `parameters`."""

    name: str
    default: Any
    types: tuple[str, ...]  #: the annotation's names, else the default's type; empty: anything
    help: str  #: the comment behind it

    def check(self, value: Any, chapter: str) -> None:
        """Raise GenclsError unless the value is of the parameter's type (an int passes for a float)."""
        given = type(value).__name__
        if not self.types or given in self.types or (given == "int" and "float" in self.types):
            return
        wanted = " or ".join(self.types)
        raise GenclsError(f"chapter '{chapter}', parameter '{self.name}': {value!r} is not {wanted}")


def root_folder(start: str | Path | None = None) -> Path:
    """The checkout's folder: at `start` (default: where we are) or above it, else where the package is."""
    start = Path(start or os.environ.get("GENCLS_BOOK") or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[1]):
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise GenclsError(f"no book at {start} or above it; clone the repository and run this inside it")


def chapters(root: str | Path | None = None) -> list[str]:
    """The ids of all chapters: the files in `book/` that begin with a kernelspec, as jupytext's notebooks do."""
    files = sorted((root_folder(root) / "book").glob("*.md"))
    return [file.stem for file in files if re.match(r"---\n(.+\n)*?kernelspec:", file.read_text())]


def parameters(chapter: str, root: str | Path | None = None) -> dict[str, Parameter]:
    """A chapter's parameters by name, read from its `parameters` cell without running it."""
    source = _parameters_source(read_chapter(chapter, root_folder(root)))
    lines, found = source.splitlines(), {}
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise GenclsError(
            f"chapter '{chapter}': the parameters cell is no Python ({error.msg}, line {error.lineno})"
        ) from None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, annotation, value = node.targets[0].id, "", node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, annotation, value = node.target.id, ast.unparse(node.annotation), node.value
        else:
            continue
        try:
            default = ast.literal_eval(value)
        except ValueError:
            raise GenclsError(
                f"chapter '{chapter}', parameter '{name}': {ast.unparse(value)} is no plain value; write the number, text or list itself"
            ) from None
        named = tuple(part.strip().split("[")[0].replace("None", "NoneType") for part in annotation.split("|") if part)
        types = named or (() if default is None else (type(default).__name__,))
        types = types if all(hasattr(builtins, t) or t == "NoneType" for t in types) else ()
        comment = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset or 0 :].decode().strip()
        found[name] = Parameter(name, default, types, comment.lstrip("# ").strip())
    return found


def read_profile(profile: str | Path, root: str | Path | None = None) -> dict[str, Any]:
    """The mapping in a profile: a YAML file of parameters, or the name of one in `book/profiles/`.

    A key is a parameter, for every chapter that has it, or a chapter's id with a mapping of its own.
    """
    path = Path(profile)
    if not path.suffix:
        folder = root_folder(root) / "book" / "profiles"
        path = folder / f"{profile}.yml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.yml")))
            raise GenclsError(f"the profile '{profile}' is unknown; there are: {known}, or name a .yml file")
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise GenclsError(f"the profile {path} cannot be read: {why}") from None
    except yaml.YAMLError as error:
        raise GenclsError(f"the profile {path} is not YAML: {' '.join(str(error).split())}") from None
    if content is not None and not isinstance(content, dict):
        raise GenclsError(f"the profile {path} must be lines of `name: value`")
    return content or {}


def read_chapter(chapter: str, root: Path) -> Any:
    """The notebook, as jupytext reads it; GenclsError for an unknown one."""
    import jupytext

    known = chapters(root)
    if chapter not in known:
        raise GenclsError(f"no chapter '{chapter}' in the book; there are: {', '.join(known)}")
    return jupytext.read(root / "book" / f"{chapter}.md")


def defaults(chapter: str, root: Path) -> dict[str, Any]:
    """The values of a chapter's parameters where none are given."""
    return {name: parameter.default for name, parameter in parameters(chapter, root).items()}


def checked_values(chapter: str, given: Mapping[str, Any], profile: str | Path | None, root: Path) -> dict[str, Any]:
    """The parameters to inject, checked: the profile's, its own for this chapter, then the given ones."""
    known, names = parameters(chapter, root), chapters(root)
    read = read_profile(profile, root) if profile else {}
    general = {name: value for name, value in read.items() if name not in names}
    own = read.get(chapter) or {}
    if not isinstance(own, dict):
        raise GenclsError(f"the profile {profile}: '{chapter}' must be a mapping of parameters, not {own!r}")
    everywhere = {name for other in names for name in parameters(other, root)} if general else set()
    values = {k: v for k, v in general.items() if k in known or k not in everywhere} | own | dict(given)
    for name, value in values.items():
        if name not in known:
            raise GenclsError(f"chapter '{chapter}' has no parameter '{name}'; it has: {', '.join(known)}")
        known[name].check(value, chapter)
        if name in _CHECKS and value is not None:
            _CHECKS[name](value)
    return values


def _ids(models: list[str]) -> None:
    if not models or not all(isinstance(model, str) for model in models):
        raise GenclsError(
            f"models: {models!r} is no list of ids; name at least one, or leave it out for those of the world"
        )


def _weighting(name: str) -> None:
    from gencls.likelihood.weightings import weighting

    weighting(name)


def _count(least: int, what: str) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value < least:
            raise GenclsError(f"{what} is {value}; it is a whole number of at least {least}")

    return check


#: What can be said of a value before a chapter runs for minutes, by the parameter's name, which means the same in all of them.
_CHECKS: dict[str, Callable[[Any], None]] = {
    "models": _ids,
    "weighting": _weighting,
    "n": _count(1, "n"),
    "check": _count(0, "check"),
    "levels": _count(1, "levels"),
}


def check_profile(profile: str | Path | None, root: Path) -> None:
    """Raise GenclsError for a profile that some chapter cannot take."""
    if profile:
        for chapter in chapters(root):
            checked_values(chapter, {}, profile, root)


def _parameters_source(notebook: Any) -> str:
    return "\n".join(c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
