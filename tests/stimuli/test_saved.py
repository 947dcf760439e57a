"""A stimulus set in a folder: what was written is read, and what was made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gencls
from gencls import trials
from gencls.errors import GenclsError
from gencls.stimuli import saved
from gencls.stimuli.sets import StimulusSet


@pytest.mark.parametrize("name", ["rotation", "false-colour", "cue-conflict"])
def test_a_set_comes_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    """Conditions like 90 and True stay text, and textures that are nobody's shape here can still be answered."""
    stimuli = gencls.world("shapes").stimuli(name, 6)
    found = saved.read(saved.write(stimuli, tmp_path / name))
    pd.testing.assert_frame_equal(found.table, stimuli.table.astype(object), check_dtype=False)
    assert (found.name, found.categories, found.digest()) == (name, stimuli.categories, stimuli.digest())
    answered = trials.from_answers("mine", found, [found.categories[0]] * len(found))
    assert trials.read(trials.write(answered, tmp_path / "t.csv"), categories=found.categories)[
        "condition"
    ].tolist() == [s.condition for s in stimuli]


def test_a_folder_made_by_hand_needs_only_images_and_a_table(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "a.bmp")
    (tmp_path / "stimuli.csv").write_text("name,category,condition,texture\na.bmp,dog,10,cat\n")
    found = saved.read(tmp_path)
    assert found.categories == ("cat", "dog") and found[0].condition == "10" and (found[0].image == 200).all()
    assert saved.read(tmp_path, ["dog", "fox", "cat"]).categories == ("dog", "fox", "cat")
    (tmp_path / "categories.txt").write_text("dog\ncat")
    assert saved.read(tmp_path).categories == ("dog", "cat")


def test_names_may_hold_folders_but_lead_nowhere_else(tmp_path: Path) -> None:
    def named(*names: str) -> StimulusSet:
        table = pd.DataFrame({"name": names, "category": "dog", "condition": "", "texture": ""})
        return StimulusSet("mine", table, lambda row: np.full((2, 2, 3), row, np.uint8), ["dog", "cat"])

    assert saved.read(saved.write(named("dog/1", "dog/2"), tmp_path / "in"))[1].image.max() == 1
    for name in ("../dog", str(tmp_path / "dog")):
        with pytest.raises(GenclsError, match="outside"):
            saved.write(named(name), tmp_path / "out")


def test_each_stimulus_finds_its_own_picture(tmp_path: Path) -> None:
    for i, names in enumerate((("a", "a.png"), ("a.png", "a"))):
        table = pd.DataFrame({"name": names, "category": "dog", "condition": "", "texture": ""})
        mine = StimulusSet("mine", table, lambda row: np.full((2, 2, 3), 100 * row, np.uint8), ["dog", "cat"])
        assert [s.image.max() for s in saved.read(saved.write(mine, tmp_path / str(i)))] == [0, 100]
    for name in ("", "stimuli.csv"):
        table = pd.DataFrame({"name": [name], "category": "dog", "condition": "", "texture": ""})
        mine = StimulusSet("mine", table, lambda _: np.zeros((2, 2, 3), np.uint8), ["dog", "cat"])
        with pytest.raises(GenclsError, match="cannot be named"):
            saved.write(mine, tmp_path / "out")


def test_what_is_no_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="holds no stimulus set"):
        saved.read(tmp_path)
    (tmp_path / "stimuli.csv").write_text("name,category\na,dog\n")
    with pytest.raises(GenclsError, match="the table lacks condition, texture"):
        saved.read(tmp_path)
    with pytest.raises(GenclsError, match="holds files already"):
        saved.write(gencls.world("shapes").stimuli("photos", 2), tmp_path)


def test_a_table_of_numbers_is_taken_as_text_and_categories_are_words() -> None:
    table = pd.DataFrame({"name": [1, 2], "category": ["dog", "cat"], "condition": [0, 90], "texture": [np.nan, "cat"]})
    stimuli = StimulusSet("mine", table, lambda row: np.zeros((2, 2, 3), np.uint8), ["dog", "cat"])
    assert stimuli.conditions == ["0", "90"] and stimuli.table["texture"].tolist() == ["", "cat"]
    assert len(stimuli.where(condition=90)) == len(stimuli.where(condition=np.array(["90", "7"]))) == 1
    with pytest.raises(GenclsError, match="stands twice"):
        StimulusSet("mine", table.assign(name=[1.0, "1"]), lambda row: np.zeros((2, 2, 3), np.uint8), ["dog", "cat"])
    for categories, what in (("dog", "'dog' is one text"), ([1, 2], "1 is no text")):
        with pytest.raises(GenclsError, match=what):
            StimulusSet("mine", table, lambda row: np.zeros((2, 2, 3), np.uint8), categories)
