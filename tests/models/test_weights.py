"""Weights that are not in the package: found in a checkout, or downloaded file by file."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import gencls
from gencls.models import weights, zoo


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that holds a copy of a small model as `natural/elsewhere`, a manifest that names it, and no checkout."""
    real = weights.PACKAGE / "shapes/control-shape"
    place = tmp_path / "mirror" / weights.files_place("natural/elsewhere")
    shutil.copytree(real, place)
    names = [path.relative_to(place).as_posix() for path in sorted(place.rglob("*")) if path.is_file()]
    table = {f"natural/elsewhere/{n}": hashlib.sha256((place / n).read_bytes()).hexdigest() for n in names}
    monkeypatch.setattr(weights, "manifest", {"weights": table}.__getitem__)
    monkeypatch.setattr(weights, "CHECKOUT", tmp_path / "none")
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    return place


def test_they_open_from_a_mirror_as_they_would_from_the_package(elsewhere: Path) -> None:
    assert zoo.folder_of("natural/elsewhere") == weights.fetch("natural/elsewhere") == elsewhere
    assert zoo.facts("natural/elsewhere") == zoo.facts("shapes/control-shape")  # its temperature, among others
    assert zoo.digest("natural/elsewhere") == zoo.digest("shapes/control-shape")
    assert zoo.open_model("natural/elsewhere").classes == zoo.open_model("shapes/control-shape").classes


def test_a_half_downloaded_folder_is_no_model_and_is_completed(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / weights.files_place("natural/elsewhere")
    cache.mkdir(parents=True)
    shutil.copy(elsewhere / "config.json", cache)
    here = tmp_path / "empty"
    here.mkdir()
    monkeypatch.setenv("GENCLS_MIRROR", str(here))
    assert not zoo.is_here("natural/elsewhere") and zoo.digest("natural/elsewhere") == ""
    for file in elsewhere.iterdir():
        shutil.copy(file, cache)
    assert zoo.folder_of("natural/elsewhere") == cache


def test_a_file_that_was_changed_is_refused(elsewhere: Path) -> None:
    with (elsewhere / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(gencls.GenclsError, match=r"config\.json.*SHA-256"):
        weights.fetch("natural/elsewhere")


def test_what_is_missing_is_named_with_its_place(elsewhere: Path) -> None:
    (elsewhere / "config.json").unlink()
    with pytest.raises(gencls.GenclsError, match=r"weights of natural/elsewhere.*config\.json"):
        weights.fetch("natural/elsewhere")


def test_a_model_that_is_not_downloaded_has_no_files() -> None:
    assert weights.fetch("shapes/pixel@7") is None


def test_a_checkout_holds_what_the_manifest_says() -> None:
    assert weights.CHECKOUT.is_dir()
    here = {p.relative_to(weights.CHECKOUT).as_posix(): p for p in weights.CHECKOUT.rglob("*") if p.is_file()}
    told = weights.manifest("weights")
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in here.items()} == told
    assert sum(path.stat().st_size for path in here.values()) < 80e6
