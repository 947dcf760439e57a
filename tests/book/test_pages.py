"""The built pages, read in a real browser with no kernel and no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOY = "_executed/shapes/toy/toy.html"


def pages(folder: Path) -> list[Path]:
    """Every page that a reader sees, without the theme's own."""
    found = [p for p in folder.rglob("*.html") if "_static" not in p.parts]
    theme = (
        "genindex.html",
        "search.html",
        "py-modindex.html",
        "index.html",
    )  # index leads to the opening page
    return sorted(p for p in found if p.name not in theme)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(page.read_text())
    return parser.found


def test_every_page_moves_and_asks_no_other_host(read: Any, whole_book: tuple[Path, str]) -> None:
    folder, site = whole_book
    moved = 0
    for page in pages(folder):
        with read(f"{site}/{page.relative_to(folder).as_posix()}") as reader:
            assert reader.drag_everything() == [], page
            reader.tab.wait_for_timeout(200)
            assert (reader.foreign, reader.errors) == ([], []), page
            moved += len(reader.explorers())
    assert moved


def test_each_explorer_is_drawn_once(read: Any, site: str) -> None:
    with read(f"{site}/{TOY}") as reader:
        titles = [e.query_selector(".gx-title").text_content() for e in reader.explorers()]
        assert titles == ["Shape bias against the weighting", "A stimulus and its errors"]
        assert reader.tab.locator("script[src*='explorers.js']").count() == 1


def test_the_plot_shows_the_numbers_of_the_chosen_frame(read: Any, site: str) -> None:
    with read(f"{site}/{TOY}") as reader:
        first = reader.explorers()[0]
        slider = first.query_selector("input[type=range]")
        slider.focus()
        for _ in range(3):  # k = 0, 2, 4, 6
            reader.tab.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "6"
        rows = [row.text_content() for row in first.query_selector_all("tbody tr")]
        assert rows == ["peoplepeople0.384 [0.288, 0.443]", "toy/nettoy/net0.12 [0.09, 0.138]"]
        assert "weighting k 6" in first.query_selector("svg.gx-plot").get_attribute("aria-label")
        # The two markers stand as high as their values on an axis from 0 to 1.
        marks = first.query_selector_all("svg.gx-plot path")
        grid = [float(g.get_attribute("y1")) for g in first.query_selector_all(".gx-grid")]
        heights = [float(re.split("[M,a-z ]+", m.get_attribute("d"))[2]) for m in marks[:1]]
        assert heights[0] == pytest.approx(grid[0] + 0.384 * (grid[-1] - grid[0]), abs=0.5)


def test_the_picture_is_that_of_the_chosen_stimulus(read: Any, site: str) -> None:
    with read(f"{site}/{TOY}") as reader:
        second = reader.explorers()[1]
        select = second.query_selector("select")
        assert select.evaluate("s => s.selectedOptions[0].text") == "dog"
        select.select_option(label="car")
        image = second.query_selector(".gx-pictures img")
        assert image.get_attribute("alt") == "picture 0 of a car"
        pixel = image.evaluate(
            "async i => { await i.decode(); const c = document.createElement('canvas').getContext('2d');"
            " c.drawImage(i, 0, 0); return c.getImageData(3, 3, 1, 1).data[0]; }"
        )
        assert pixel == 40


def test_the_explorers_move_in_a_page_opened_as_a_file(read: Any, mini_book: Path) -> None:
    with read((mini_book / TOY).as_uri()) as reader:
        assert len(reader.explorers()) == 2
        assert reader.drag_everything() == []
        assert reader.foreign == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_the_plot_is_readable_in_both_modes(read: Any, site: str, scheme: str) -> None:
    with read(f"{site}/{TOY}", color_scheme=scheme) as reader:
        reader.explorers()
        ink, paper = reader.tab.evaluate(
            "() => { const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)"
            ".map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); "
            " return 0.2126*r + 0.7152*g + 0.0722*b; };"
            " return [getComputedStyle(document.querySelector('.gx-plot text')).fill,"
            " getComputedStyle(document.body).backgroundColor].map(luminance); }"
        )
        assert (paper > 0.5) == (scheme == "light")
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
        shown = "getComputedStyle(document.querySelector('.gencls-figure img')).backgroundColor"
        assert reader.tab.evaluate(shown) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [360, 1400])
def test_no_page_is_wider_than_the_screen(read: Any, whole_book: tuple[Path, str], width: int) -> None:
    folder, site = whole_book
    for page in pages(folder):
        address = f"{site}/{page.relative_to(folder).as_posix()}"
        with read(address, viewport={"width": width, "height": 800}) as reader:
            reader.explorers()
            assert reader.tab.evaluate("document.documentElement.scrollWidth") <= width, page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_table_is_read_from_the_keyboard_and_keeps_its_row_names(read: Any, site: str, scheme: str) -> None:
    with read(f"{site}/{TOY}", color_scheme=scheme, viewport={"width": 320, "height": 700}) as reader:
        box = reader.tab.get_by_role("region", name="What was measured. † reported by the paper")
        name, value = box.locator("tbody tr > *").first, box.locator("tbody td").first
        before = [cell.bounding_box()["x"] for cell in (name, value)]
        box.focus()
        for _ in range(3):
            reader.tab.keyboard.press("ArrowRight")
        reader.tab.wait_for_function("e => e.scrollLeft > 20", arg=box.element_handle())
        assert name.bounding_box()["x"] == pytest.approx(before[0], abs=1)
        assert value.bounding_box()["x"] < before[1] - 20
        paper = reader.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert name.evaluate("e => getComputedStyle(e).backgroundColor") == paper  # hides what moves under it


def test_every_image_has_alt_text_and_every_page_is_light(whole_book: tuple[Path, str]) -> None:
    for page in pages(whole_book[0]):
        for tag, attributes in tags(page):
            assert tag != "img" or attributes.get("alt"), (page, attributes)
            fetched = attributes.get("href") if tag == "link" else attributes.get("src")
            assert not (fetched or "").startswith(("http:", "https:", "//")), (page, fetched)
        state = re.findall(r'widget-state\+json"[^>]*>(.*?)</script>', page.read_text(), re.S)
        assert sum(map(len, state)) < 3_000_000, page


def test_mathematics_is_mathml(mini_book: Path) -> None:
    toy = (mini_book / TOY).read_text()
    assert toy.count("<math") == 2 and "<mfrac>" in toy and "MathJax" not in toy
    assert toy.count("<mover ") == 2 and "munder" not in toy  # the 0 of x̂₀ stands beside it, not under it
    notes = (mini_book / "book/notes.html").read_text()
    assert notes.count("<math") == 2 and '<span class="eqno">(1)</span>' in notes


def test_the_data_of_a_figure_stand_where_its_link_points(mini_book: Path) -> None:
    page = mini_book / TOY
    links = [a["href"] for tag, a in tags(page) if tag == "a" and "download" in a]
    assert links == ["errors.csv"]
    assert (page.parent / "errors.csv").read_text().splitlines()[:2] == ["t,error", "0.0,0.5"]
    assert len(json.loads((page.parent / "results.json").read_text())) == 3


def test_prose_tables_citations_and_the_reference_are_rendered(mini_book: Path) -> None:
    toy, notes = (mini_book / TOY).read_text(), (mini_book / "book/notes.html").read_text()
    text = re.sub(r"<[^>]+>", "", toy)
    assert "24% [21%, 27%] of trials, n = 819" in text and "the paper has 99%†" in text
    assert "Jaini" in text and "† reported by the paper" in text
    assert "<strong>origin</strong> – " in notes  # what stands behind the colon is an explanation, not a type
    assert 'id="gencls.results.Page.report"' in notes and "Partial success in closing the gap" in notes


def test_a_world_that_was_left_out_says_how_it_is_run(mini_book: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (mini_book / "_executed/full/toy/toy.html").read_text())
    assert "gencls run toy -p world=full" in text


def test_the_launch_button_opens_the_chapter_s_source(mini_book: Path) -> None:
    links = [a.get("href") or "" for tag, a in tags(mini_book / TOY) if tag == "a"]
    binder = [link for link in links if "mybinder.org" in link]
    assert binder and all(link.endswith("book/toy.md") for link in binder)


def test_the_download_menu_gives_files_that_are_there(whole_book: tuple[Path, str]) -> None:
    for page in pages(whole_book[0]):
        links = [a["href"] or "" for tag, a in tags(page) if tag == "a" and "_sources/" in (a.get("href") or "")]
        assert links and all((page.parent / link).is_file() for link in links), (page, links)


def test_every_page_names_an_icon_that_is_there(whole_book: tuple[Path, str]) -> None:
    for page in pages(whole_book[0]):
        (icon,) = [a["href"] or "" for tag, a in tags(page) if tag == "link" and a.get("rel") == "icon"]
        assert (page.parent / icon.partition("?")[0]).is_file(), (page, icon)


def test_a_bare_jupyter_book_runs_what_was_never_run(tmp_path: Path, toy_root: Path) -> None:
    shutil.copytree(toy_root, tmp_path / "fresh", ignore=shutil.ignore_patterns("_executed", "_build"))
    root = tmp_path / "fresh"
    environment = {k: v for k, v in os.environ.items() if k not in ("GENCLS_MIRROR", "GENCLS_BOOK")}
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    assert (root / "_build/html/index.html").is_file()
    assert json.loads((root / "_executed/shapes/toy/results.json").read_text())


def test_the_reference_renders_without_a_warning(tmp_path: Path) -> None:
    """A build of the book fails at a warning; docstrings are where they come from."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    own = {k: v for k, v in config.items() if k.startswith(("autodoc", "napoleon", "default_role"))}
    own["extensions"] = ["myst_parser", "sphinx.ext.napoleon", "sphinx.ext.autodoc"]
    (tmp_path / "conf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in own.items()))
    shutil.copy(ROOT / "book" / "api.md", tmp_path / "index.md")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(tmp_path), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gencls.figures.forest" in (tmp_path / "html" / "index.html").read_text()
