"""The rules that every chapter of the book keeps."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import pytest
import yaml

from gencls.book import book_pages, chapters, parameters, read_profile

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy"
FILES = sorted([*(REPOSITORY / "book").glob("*.md"), *(TOY / "book").glob("*.md")])
CHAPTERS = [f for f in FILES if f.stem in chapters(f.parents[1] if f.is_relative_to(TOY) else REPOSITORY)]


def cells(file: Path) -> list[tuple[list[str], str]]:
    """Tags and source of the code cells; a fenced example of a plain page is not one."""
    notebook = jupytext.read(file, fmt="md:myst")
    return [(c.metadata.get("tags", []), c.source) for c in notebook.cells if c.cell_type == "code"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_page_with_code_is_a_chapter(file: Path) -> None:
    assert bool(cells(file)) == (file in CHAPTERS), "code cells but no cell tagged `parameters`, or the reverse"


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda f: f.stem)
def test_a_chapter_calls_the_package_and_defines_nothing(file: Path) -> None:
    for _, source in cells(file):
        assert len(source.splitlines()) <= 15, f"a cell of more than 15 lines:\n{source}"
        kinds = [type(node) for node in ast.walk(ast.parse(source))]
        assert not {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef} & set(kinds), source


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda f: f.stem)
def test_a_chapter_has_one_parameters_cell_with_its_world_and_explains_each(file: Path) -> None:
    tagged = [source for tags, source in cells(file) if "parameters" in tags]
    assert len(tagged) == 1
    found = parameters(file.stem, file.parents[1])
    assert "world" in found and all(p.help for p in found.values()), found


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda f: f.stem)
def test_a_chapter_opens_and_closes_its_page_under_its_own_name(file: Path) -> None:
    source = "\n".join(source for _, source in cells(file))
    assert re.search(rf'Page\(\s*"{file.stem}"', source) and ".close(" in source


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda f: f.stem)
def test_a_chapter_names_no_place_that_every_world_would_name_again(file: Path) -> None:
    labels = re.findall(r"^\(.+\)=$|\$\$ *\(.+\)$|^:(?:label|name):.*$", file.read_text(), re.MULTILINE)
    assert not labels, "a label must be the only one of its name, and a chapter stands in the book once a world"


def test_the_contents_name_only_what_is_there() -> None:
    for root in (REPOSITORY, TOY):
        known = chapters(root)
        assert all(chapter in known for _, chapter in book_pages(root)) or not known
        for file in re.findall(r"file: (book/\S+)", (root / "_toc.yml").read_text()):
            assert (root / file).with_suffix(".md").is_file(), file


def test_each_profile_of_the_book_names_parameters_that_some_chapter_has() -> None:
    known = chapters(REPOSITORY)
    names = {name for chapter in known for name in parameters(chapter, REPOSITORY)}
    for file in (REPOSITORY / "book" / "profiles").glob("*.yml"):
        for name in read_profile(file) if names else ():
            assert name in names or name in known, (file, name)


def test_nothing_on_a_page_is_configured_to_come_from_another_host() -> None:
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"
    scripts = config["sphinx"]["config"]["nb_ipywidgets_js"]
    assert all((REPOSITORY / "book/_static" / name).is_file() for name in scripts)
