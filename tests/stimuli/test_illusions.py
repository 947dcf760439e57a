"""Stimuli with two right answers: the same everywhere, and each with both readings in it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gencls
from gencls.errors import GenclsError
from gencls.stimuli import illusions
from gencls.stimuli.shapes import SHAPES, ShapesWorld

PAINTER = ShapesWorld()


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def two_levels(image: np.ndarray) -> np.ndarray:
    """Where a two-coloured image differs from its corner's colour by more than half of what it can."""
    distance = np.abs(image.astype(int) - image[0, 0].astype(int)).sum(-1)
    return distance * 2 > distance.max()


def coarse(mask: np.ndarray) -> np.ndarray:
    return mask.reshape(32, 4, 32, 4).mean((1, 3)) > 0.5


@given(st.sampled_from(illusions.KINDS), st.integers(0, 59), st.integers(1, 60), st.integers(0, 3))
def test_a_stimulus_does_not_hang_on_how_many_there_are(kind: str, i: int, more: int, seed: int) -> None:
    painter = ShapesWorld(seed=seed)
    few, many = illusions.stimuli(painter, i + 1), illusions.stimuli(painter, i + 1 + more)
    a, b = few.where(condition=kind)[i], many.where(condition=kind)[i]
    assert a == b and np.array_equal(a.image, b.image)


def test_other_seeds_show_other_stimuli_and_the_world_has_the_set() -> None:
    ours = gencls.world("shapes").stimuli("illusions", 3)
    assert ours.digest() == illusions.stimuli(PAINTER, 3).digest() != illusions.stimuli(ShapesWorld(seed=1), 3).digest()
    assert ours.conditions == list(illusions.KINDS) and len(ours) == 12
    with pytest.raises(GenclsError, match="n is 0"):
        illusions.stimuli(PAINTER, 0)


def test_every_stimulus_has_two_readings() -> None:
    table = illusions.stimuli(PAINTER).table
    assert (table["category"] != table["texture"]).all()
    assert set(table["category"]) | set(table["texture"]) <= set(SHAPES)
    for kind in ("outline", "hybrid"):  # no reading is more frequent than chance makes it
        assert len(table[table["condition"] == kind].drop_duplicates(["category", "texture"])) == 48


def test_a_turned_shape_overlaps_its_second_reading_more_than_any_upright_shape() -> None:
    upright = {shape: illusions.mask(shape, 26) for shape in SHAPES}
    for shape, quarters, other in illusions.TURNS:
        turned = illusions.mask(shape, 26, quarters)
        overlaps = {name: overlap(turned, mask) for name, mask in upright.items()}
        assert max(overlaps, key=lambda name: overlaps[name]) == other != shape
        assert overlaps[other] > overlap(upright[shape], upright[other]) + 0.15


def test_a_vase_is_its_faces_with_the_first_reading_cut_out() -> None:
    some = illusions.stimuli(PAINTER, 24).where(condition="vase")
    for stimulus in some:
        seen = two_levels(stimulus.image)
        large = np.stack(
            [coarse(illusions.mask(stimulus.texture, w, 0)) for w in range(22, 31)]
        )  # the pose is not known here, the size is
        assert large[0].sum() * 0.2 < seen.sum() < large[-1].sum()
    for a, b in illusions.vases():
        small, large_ = illusions.mask(SHAPES[a], 26 * illusions.VASE), illusions.mask(SHAPES[b], 26)
        assert (small & large_).sum() >= 0.9 * small.sum() and (large_ & ~small).sum() > 0.1 * large_.sum()


@given(arrays(np.uint8, (32, 32, 3)), arrays(np.uint8, (32, 32, 3)))
def test_a_hybrid_of_an_image_and_itself_is_the_image(a: np.ndarray, b: np.ndarray) -> None:
    assert np.array_equal(illusions.hybrid(a, a), a)
    # the blur keeps light (times 2³²) up to the borders' mirroring, and is linear
    assert np.array_equal(illusions.blur(a.astype(int) + b), illusions.blur(a) + illusions.blur(b))
    assert (illusions.blur(np.full((32, 32, 3), 7)) == 7 << 32).all()


def test_the_low_frequencies_of_a_hybrid_are_those_of_the_first() -> None:
    y, x = np.indices((32, 32))
    slow = np.rint(128 + 60 * np.cos(2 * np.pi * x / 64))[..., None].repeat(3, -1).astype(np.uint8)
    fast = np.rint(128 + 60 * (-1.0) ** y)[..., None].repeat(3, -1).astype(np.uint8)
    both = illusions.hybrid(slow, fast).astype(int)
    assert np.abs(both - 128 - (slow.astype(int) - 128) - (fast.astype(int) - 128))[8:-8, 8:-8].max() <= 4


def test_the_pixels_are_the_same_on_every_platform() -> None:
    images = illusions.stimuli(PAINTER, 12).images()
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == "1cae089c9c9c26ed"


def test_a_low_passed_world_has_low_passed_illusions() -> None:
    """From 4 cycles an image on nothing is left but what clipping and rounding bring back."""
    f = np.fft.fftfreq(32, 1 / 32)
    beyond, shares = np.hypot(f[:, None], f) >= 4, []
    for low_pass in (None, 4):
        power = np.abs(np.fft.fft2(illusions.stimuli(ShapesWorld(low_pass=low_pass), 24).images().mean(-1))) ** 2
        power[:, 0, 0] = 0  # the mean
        shares.append(power[:, beyond].sum(1) / power.sum((1, 2)))
    plain, smooth = shares
    assert smooth.max() < 0.01 < plain.min()
