"""The natural world's photographs: which they are, how they are split, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gencls import downloads
from gencls.categories import imagenet_table
from gencls.errors import GenclsError
from gencls.stimuli.tiny_imagenet import NATURAL, TinyImageNet, classes
from gencls.training.data import Photographs
from gencls.training.pixel import PHOTO_TEXTS, tokenizer


def test_the_26_classes_are_those_of_the_80_that_imagenet_puts_behind_a_category() -> None:
    behind = dict(imagenet_table()[["wnid", "category"]].itertuples(index=False))
    assert [c.wnid for c in classes()] == [c.wnid for c in classes(80) if c.wnid in behind]
    assert all(c.category == behind.get(c.wnid, "") for c in classes(80))
    assert (len(classes()), len(classes(80)), len(NATURAL)) == (26, 80, 11)
    with pytest.raises(GenclsError, match="26 and one of 80"):
        classes(27)


def test_the_list_of_80_is_the_mirrors(mirror: Path) -> None:
    names = downloads.archive("tiny-imagenet").names("train", ".JPEG")
    assert sorted({name.split("/")[1] for name in names}) == [c.wnid for c in classes(80)]


def test_no_photograph_is_in_two_splits_and_each_class_has_its_share(mirror: Path) -> None:
    world = TinyImageNet(80)
    files = {split: [place for place, _ in world.files(split)] for split in ("train", "dev", "test")}
    assert [len(files[s]) for s in ("train", "dev", "test")] == [80 * 450, 80 * 50, 80 * 50]
    assert len(set().union(*files.values())) == 80 * 550
    here = set(downloads.archive("tiny-imagenet").names("", ".JPEG"))
    assert set().union(*files.values()) == here
    with pytest.raises(GenclsError, match="no split 'val'"):
        world.files("val")


def test_held_out_photographs_are_balanced_and_the_first_of_them_too(mirror: Path) -> None:
    whole = TinyImageNet().stimuli()
    assert whole.table["category"].value_counts().to_dict() == dict.fromkeys(NATURAL, 50)
    assert TinyImageNet().stimuli(n=55).table["category"].value_counts().to_dict() == dict.fromkeys(NATURAL, 5)
    assert all(name.startswith("val_") for name in whole.table["name"])
    assert whole[3].image.shape == (64, 64, 3)


def test_half_of_the_photographs_are_mirrored_and_captions_say_what_is_true(mirror: Path) -> None:
    pool = Photographs(TinyImageNet())
    generator = torch.Generator().manual_seed(3)
    images, labels = pool.batch(400, generator)
    texts = pool.captions(labels, generator)
    for text, label in zip(texts, labels.tolist(), strict=True):
        entry = pool.classes[label]
        assert any(text.endswith(f" {name}") for name in (entry.category, *entry.names)), text
    said = np.mean([text.endswith(pool.classes[k].category) for text, k in zip(texts, labels, strict=True)])
    own = [np.mean([name.endswith(c.category) for name in c.names]) for c in (pool.classes[k] for k in labels)]
    assert abs(said - (0.5 + 0.5 * np.mean(own))) < 0.08  # half, and those whose own name ends in the category's
    same = [bool(torch.equal(image, _plain(pool, image))) for image in images]
    assert 0.4 < np.mean(same) < 0.6
    again = torch.Generator().manual_seed(3)
    assert torch.equal(pool.batch(400, again)[0], images) and pool.captions(labels, again) == texts


def _plain(pool: Photographs, image: torch.Tensor) -> torch.Tensor:
    """The photograph that an image was, whichever way round."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0)
    mirrored = pixels.flip(1)
    found = (pool.images == pixels).flatten(1).all(1) | (pool.images == mirrored).flatten(1).all(1)
    return pool.images[found][0].permute(2, 0, 1).float() / 255


def test_the_tokenizer_knows_every_word_of_the_captions() -> None:
    words = tokenizer(PHOTO_TEXTS)
    for text in PHOTO_TEXTS:
        assert words.unk_token_id not in words(text.replace("{}", "cat")).input_ids, text
