"""The 17 stimulus sets: the real ones of the mirror, and releases as a mirror would hold them."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencls import downloads, trials
from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.stimuli import benchmark
from gencls.stimuli.benchmark import SETS, condition_label, parse_name, stimuli, texture_of


@pytest.mark.parametrize("name", ["cue-conflict", "edge", "silhouette"])
def test_stimuli_meet_the_trials(mirror: Path, name: str) -> None:
    pictures, people = stimuli(name), trials.load(name)
    seen = people.drop_duplicates("stimulus").set_index("stimulus").loc[pictures.table["name"]]
    assert len(pictures) == people["stimulus"].nunique()
    for column in ("category", "condition", "texture"):
        assert (seen[column].to_numpy() == pictures.table[column].to_numpy()).all()
    one = pictures[7]
    assert one.image.shape == (224, 224, 3) and one.image.dtype == np.uint8 and one.image.std() > 1


def test_cue_conflict(mirror: Path) -> None:
    pictures = stimuli("cue-conflict")
    table = pictures.table
    assert len(table) == 1280 and (table["category"] != table["texture"]).sum() == 1200
    assert (table.groupby("category").size() == 80).all() and pictures.categories == CATEGORIES
    row = table.loc[table["name"] == "cat1-bird1"].iloc[0]
    assert (row["category"], row["texture"]) == ("cat", "bird")
    other = stimuli("cue-conflict-texture-instruction")
    assert (other[9].image == pictures[9].image).all() and other.name != pictures.name
    assert (pickle.loads(pickle.dumps(pictures._load))(9) == pictures[9].image).all()


def test_what_is_not_here_says_how_to_fetch_it(mirror: Path) -> None:
    with pytest.raises(GenclsError, match=r"stimuli.*'sketch'.*gencls data fetch stimuli-sketch"):
        stimuli("sketch")
    for unpublished in ("original", "scetch"):
        with pytest.raises(GenclsError, match="there are colour"):
            stimuli(unpublished)


def test_every_set_has_a_source() -> None:
    assert set(SETS) == {*downloads.RELEASED_SETS, "cue-conflict", "edge", "silhouette"} and len(SETS) == 17


def release(folder: Path, name: str, files: list[str]) -> None:
    """A release as a mirror holds it, one colour an image."""
    path = folder / downloads.source(f"stimuli-{name}").place
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as bundle:
        for i, file in enumerate(files):
            content = io.BytesIO()
            Image.new("RGB", (8, 8), (i % 256, i // 256, 0)).save(content, "PNG")
            member = tarfile.TarInfo(file)
            member.size = content.tell()
            content.seek(0)
            bundle.addfile(member, content)


def test_a_release_is_read_as_its_names_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(benchmark._SIZES, "high-pass", 4)
    (tmp_path / "mirror").mkdir()
    name = "high-pass/dnn/session-1/000{}_hp_dnn_{}_{}_10_n0{}_7380.png"
    files = [name.format(i, c, k, i) for i, (c, k) in enumerate([("inf", "cat"), ("3", "dog"), ("0.40", "car")])]
    release(tmp_path / "mirror", "high-pass", [*files[::-1], "high-pass/._junk.png"])
    with pytest.raises(GenclsError, match="4 stimuli, but 3 were found"):
        stimuli("high-pass")
    monkeypatch.setitem(benchmark._SIZES, "high-pass", 3)
    pictures = stimuli("high-pass")
    assert list(pictures.table["name"]) == ["n00_7380", "n01_7380", "n02_7380"]
    assert pictures.conditions == ["inf", "3.0", "0.4"] and list(pictures.table["category"]) == [
        "cat",
        "dog",
        "car",
    ]
    assert pictures[0].image[0, 0].tolist() == [2, 0, 0]  # the file that stood last in the archive
    release(tmp_path / "mirror", "high-pass", [f.replace("_dog_", "_dodo_") for f in files])
    with pytest.raises(GenclsError, match="'dodo'"):
        stimuli("high-pass")


def test_a_release_by_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path))
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(benchmark._SIZES, "sketch", 2)
    release(tmp_path, "sketch", ["sketch/dog/dog-2.png", "sketch/cat/cat-1.png"])
    assert list(stimuli("sketch").table["category"]) == ["cat", "dog"]


def test_names_and_labels() -> None:
    assert parse_name("0001_cop_s01_c30_knife_10_n03041632_7380.png") == ("c30", "knife", "n03041632_7380")
    assert parse_name("0001_s5n_dnn_0_bird_00_bird3-bird2.png") == ("0", "bird", "bird3-bird2")
    assert parse_name("bird3-bird2.png") is None
    assert texture_of("bird3-clock2") == "clock" and texture_of("boat-0068-sketch-23") == "" == texture_of("bird3")
    assert condition_label("uniform-noise", "0.90") == "0.9" and condition_label("low-pass", "3") == "3"
    assert condition_label("high-pass", "3") == "3.0" and condition_label("high-pass", "inf") == "inf"
    assert condition_label("false-colour", "true") == "True"


def test_a_damaged_image_is_a_clear_error() -> None:
    with pytest.raises(GenclsError, match=r"x\.png is no whole image"):
        benchmark.decoded(b"\x89PNG\r\n\x1a\n damaged", "x.png")
