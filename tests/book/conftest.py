"""A small book, built once by the project's own machinery and served here, and a Chromium to read it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gencls.book import build_book

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy chapters with the project's own configuration, scripts, styles and references; not executed."""
    root = tmp_path_factory.mktemp("book")
    shutil.copytree(TOY, root, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "_config.yml", root)
    for name in ("_static", "profiles"):
        shutil.copytree(REPOSITORY / "book" / name, root / "book" / name)
    (root / "book" / "profiles" / "smoke.yml").write_text("check: 4\n")  # the real one names the real chapters
    shutil.copy(REPOSITORY / "book" / "references.bib", root / "book")
    return root


@pytest.fixture(scope="session")
def mini_book(toy_root: Path) -> Path:
    """The toy book's `html` folder, built with its shapes world alone, although the other one's data are here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENCLS_MIRROR", str(TOY))
        return build_book(["shapes"], root=toy_root).parent


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this host while the generator is alive; yields its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def site(mini_book: Path) -> Iterator[str]:
    yield from serve(mini_book)


@pytest.fixture(scope="module", params=["toy", "real"])
def whole_book(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """The toy book, and the real one where `make book` has built it: its folder and its address."""
    folder = REPOSITORY / "_build" / "html"
    if request.param == "toy":
        folder = request.getfixturevalue("mini_book")
    elif not (folder / "index.html").is_file():
        pytest.skip("the real book is not built here: `make book`")
    for address in serve(folder):
        yield folder, address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright; without it a test skips, with CI=true it fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        why = "needs Chromium to read the pages: `apt-get install chromium`"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


class Reader:
    """One page in a browser that can reach this host alone."""

    #: What an explorer shows: everything that it draws, without its controls.
    PICTURE = "e => [...e.querySelectorAll('.gx-body, .gx-text')].map(b => b.innerHTML).join()"
    LABEL = "(e, id) => e.querySelector(`label[for='${id}']`).textContent"

    def __init__(self, tab: Any, host: str) -> None:
        self.tab, self._host = tab, host
        self.foreign: list[str] = []  # requests to other hosts, each refused
        self.errors: list[str] = []
        tab.route("**/*", self._decide)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def _decide(self, route: Any) -> None:
        if route.request.url.startswith((self._host, "blob:", "data:")):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def explorers(self) -> list[Any]:
        """The page's explorers, once they are drawn (none on a page without any)."""
        if self.tab.locator('script[type="application/vnd.jupyter.widget-view+json"]').count():
            self.tab.wait_for_selector("html[data-explorers=drawn]", state="attached")
        return list(self.tab.query_selector_all(".gx"))

    def drag_everything(self) -> list[str]:
        """Drag every slider, choose all that lists offer; the labels of those that moved nothing."""
        idle = []
        for explorer in self.explorers():
            for control in explorer.query_selector_all("input[type=range], select"):
                if len(self._move(explorer, control)) == 1:
                    idle.append(explorer.evaluate(self.LABEL, control.get_attribute("id")))
        return idle

    def _move(self, explorer: Any, control: Any) -> set[str]:
        """Every picture seen while one control moves."""
        seen = {explorer.evaluate(self.PICTURE)}
        if control.get_attribute("type") != "range":
            for option in control.query_selector_all("option"):
                control.select_option(option.get_attribute("value"))
                seen.add(explorer.evaluate(self.PICTURE))
            return seen
        for share in (0.02, 0.35, 0.65, 0.98):
            control.scroll_into_view_if_needed()  # the page may have grown
            box = control.bounding_box()
            y = box["y"] + box["height"] / 2
            self.tab.mouse.move(box["x"] + box["width"] / 2, y)
            self.tab.mouse.down()
            self.tab.mouse.move(box["x"] + share * box["width"], y)
            self.tab.mouse.up()
            seen.add(explorer.evaluate(self.PICTURE))
        return seen


@pytest.fixture
def read(chromium: Any) -> Callable[..., AbstractContextManager[Reader]]:
    """Open an address in a tab of its own: `with read(address, color_scheme="dark") as reader`."""

    @contextmanager
    def opened(address: str, **options: Any) -> Iterator[Reader]:
        context = chromium.new_context(**options)
        host = "/".join(address.split("/")[:3]) + "/"
        reader = Reader(context.new_page(), host)
        reader.tab.goto(address, wait_until="load")
        yield reader
        context.close()

    return opened
