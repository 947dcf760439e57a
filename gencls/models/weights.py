"""Where the weights of this project's models lie: in the package, in a checkout beside it, or downloaded.

Those of the shapes world ship in the package. Those of photographs are too large for it: a checkout holds them in `weights/`, and where there is none each
file is downloaded, once, and checked against its digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gencls import __version__, downloads
from gencls.archives import manifest

PACKAGE = Path(__file__).parents[1] / "weights"
CHECKOUT = Path(__file__).parents[2] / "weights"
#: Where a file of a checkout can be had: the tag of this version.
_URL = f"https://raw.githubusercontent.com/gencls/gencls/v{__version__}/weights"


def files(model: str) -> dict[str, downloads.Source]:
    """The files of a model that is downloaded, by their paths in its folder, each with its SHA-256; none of a model that is not."""
    return {
        path.removeprefix(f"{model}/"): downloads.Source(
            path.rpartition("/")[2], f"{_URL}/{path}", f"a part of the weights of {model}", "MIT", digest
        )
        for path, digest in manifest("weights").items()
        if path.startswith(f"{model}/")
    }


def places(model: str) -> Iterator[Path]:
    """The folders that may hold a model's weights, in the order in which they are looked for; downloaded, or in a mirror, whole folders alone."""
    yield PACKAGE / model
    yield CHECKOUT / model
    found = {path: downloads.find(wanted) for path, wanted in files(model).items()}
    folders = {place.parents[path.count("/")] if place else None for path, place in found.items()}
    if len(folders) == 1 and (whole := folders.pop()):
        yield whole


def files_place(model: str) -> str:
    """Where a mirror, or the cache, keeps a model's files: host/path."""
    return downloads.Source(model, f"{_URL}/{model}", "", "").place


def fetch(model: str) -> Path | None:
    """Download a model's files, those that are not there yet; its folder, or None for a model that is not downloaded."""
    folder = None
    for path, wanted in files(model).items():
        folder = downloads.fetch(wanted).parents[path.count("/")]
    return folder
