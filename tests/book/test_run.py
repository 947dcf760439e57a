"""Running one chapter: its parameters, what it leaves, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from gencls.book import chapter_results, execute_pages, parameters, read_profile, run_chapter
from gencls.errors import GenclsError


def test_a_run_leaves_the_notebook_and_its_numbers(toy_root: Path, tmp_path: Path) -> None:
    done = run_chapter("toy", {"level": 0.25, "world": "elsewhere"}, tmp_path / "out", root=toy_root)
    assert done == tmp_path / "out" / "toy.ipynb"
    assert sorted(f.name for f in done.parent.iterdir()) == ["errors.csv", "results.json", "toy.ipynb"]
    assert json.loads((done.parent / "results.json").read_text())[:2] == [
        {"name": "shape bias", "value": 0.2405, "low": 0.21, "high": 0.27, "n": 819, "observer": "toy/net",
         "origin": "computed"},
        {"name": "shape bias", "value": 0.99, "low": None, "high": None, "n": None, "observer": "Imagen",
         "origin": "reported"},
    ]  # fmt: skip
    assert (done.parent / "errors.csv").read_text().splitlines()[1] == "0.0,0.25"
    box = nbformat.read(done, 4).cells[-1].outputs[0]["data"]["text/html"]
    for said in (
        "<dd>elsewhere</dd>",
        "level = 0.25",
        "<dt>Commit</dt>",
        "<dt>Seed</dt><dd>1</dd>",
        "numpy ",
    ):
        assert said in box
    assert "2 (shape bias, accuracy)" not in box  # each number stands under its own origin
    assert "Numbers taken from a record that ships with the book</dt><dd>1 (accuracy)" in box
    assert "Numbers computed earlier on this machine and kept in its cache</dt><dd>none" in box


def test_a_second_run_leaves_its_own_figures_and_what_a_reader_put_there(toy_root: Path, tmp_path: Path) -> None:
    run_chapter("toy", {}, tmp_path, root=toy_root)
    (tmp_path / "mine.csv").write_text("a,b")
    notebook = nbformat.read(tmp_path / "toy.ipynb", 4)
    assert "errors.csv" in notebook.metadata["gencls"]["files"]
    run_chapter("toy", {"level": 0.0}, tmp_path, root=toy_root)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine.csv", "nothing.csv", "results.json", "toy.ipynb"]


def test_the_explorers_state_is_saved_with_the_notebook(toy_root: Path, mini_book: Path) -> None:
    notebook = nbformat.read(toy_root / "_executed/shapes/toy/toy.ipynb", 4)
    models = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    states = [m["state"] for m in models if "_esm" in m["state"]]
    assert sorted(len(s["frames"]) for s in states) == [8, 12]


@pytest.mark.parametrize(
    ("chapter", "given", "said"),
    [
        ("shape", {}, "no chapter 'shape' in the book; there are: opening, toy"),
        (
            "toy",
            {"levle": 1},
            "chapter 'toy' has no parameter 'levle'; it has: world, seed, check, level, fail",
        ),
        ("toy", {"level": "high"}, "chapter 'toy', parameter 'level': 'high' is not float"),
        ("toy", {"seed": 1.5}, "parameter 'seed': 1.5 is not int or NoneType"),
        ("toy", {"check": -1}, "check is -1; it is a whole number of at least 0"),
        ("toy", {"fail": "ours"}, "chapter 'toy': the toy has no such world; take another"),
    ],
)
def test_a_mistake_is_one_sentence(toy_root: Path, tmp_path: Path, chapter: str, given: dict, said: str) -> None:
    with pytest.raises(GenclsError) as raised:
        run_chapter(chapter, given, tmp_path, root=toy_root)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_failed_run_touches_nothing_that_was_there(toy_root: Path, tmp_path: Path) -> None:
    run_chapter("toy", {}, tmp_path, root=toy_root)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(GenclsError, match='begins `if fail == "ours":` with ZeroDivisionError: nothing left'):
        run_chapter("toy", {"fail": "theirs"}, tmp_path, root=toy_root)
    after = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    assert nbformat.reads(after.pop("toy.failed.ipynb").decode(), 4).cells
    assert after == before


def test_none_and_whole_numbers_pass_where_they_mean_something(toy_root: Path) -> None:
    known = parameters("toy", toy_root)
    known["seed"].check(None, "toy")
    known["level"].check(1, "toy")
    known["check"].check("all", "toy")
    with pytest.raises(GenclsError, match="True is not float"):
        known["level"].check(True, "toy")
    assert known["check"].help == 'stimuli scored afresh; "all" scores every one'


def test_a_profile_reaches_the_chapters_that_have_its_parameters(toy_root: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("level: 0.75\ncheck: 4\ntoy:\n  seed: 3\n")
    done = run_chapter("toy", {"check": 5}, tmp_path / "out", profile=file, root=toy_root)
    assert nbformat.read(done, 4).metadata["gencls"]["parameters"] == {"level": 0.75, "seed": 3, "check": 5}
    run_chapter("opening", {}, tmp_path / "opening", profile=file, root=toy_root)  # has none of them
    file.write_text("levle: 1\n")
    with pytest.raises(GenclsError, match="has no parameter 'levle'"):
        run_chapter("opening", {}, tmp_path / "opening", profile=file, root=toy_root)
    file.write_text("- level\n")
    with pytest.raises(GenclsError, match="must be lines of `name: value`"):
        read_profile(file)
    with pytest.raises(GenclsError, match="the profile 'quick' is unknown; there are: default, full, smoke"):
        read_profile("quick", toy_root)


def test_what_is_unchanged_is_not_run_again(toy_root: Path, mini_book: Path) -> None:
    execute_pages(["shapes"], root=toy_root)
    assert execute_pages(["shapes"], root=toy_root) == []
    again = execute_pages(["shapes"], "smoke", root=toy_root)
    assert [p.stem for p in again] == ["toy"]  # its results are the same, so the opening page stands
    assert [p.stem for p in execute_pages(["shapes"], root=toy_root)] == ["toy"]


def test_the_opening_page_sums_up_the_others(toy_root: Path, mini_book: Path) -> None:
    summed = chapter_results("shapes", "opening", toy_root)
    assert summed == chapter_results("shapes", "toy", toy_root)
    assert chapter_results("full", "toy", toy_root) == []


def test_an_unknown_world_names_the_known_ones(toy_root: Path) -> None:
    with pytest.raises(GenclsError, match=r"the book has no world 'shape'; _toc\.yml names: shapes, full"):
        execute_pages(["shape"], root=toy_root)


def test_a_folder_that_cannot_be_written_is_one_sentence(toy_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenclsError, match="could not be written to"):
        run_chapter("toy", {}, tmp_path / "file" / "out", root=toy_root)
