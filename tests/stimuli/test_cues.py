"""Silhouettes, edges and cue conflict of images that come with a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencls.errors import GenclsError
from gencls.stimuli import cues

Y, X = np.indices((48, 48))
DISC = (Y - 24) ** 2 + (X - 22) ** 2 < 14**2
OUTLINE = np.abs(np.hypot(Y - 24, X - 22) - 14) < 2


def test_silhouette_is_black_on_white() -> None:
    out = cues.silhouette(DISC)
    assert out.shape == (48, 48, 3)
    assert (out[DISC] == 0).all() and (out[~DISC] == 1).all()
    assert np.array_equal(cues.silhouette(np.stack([DISC, ~DISC]))[0], out)


def test_edges_of_a_disc_are_its_outline_and_thin() -> None:
    image = np.where(DISC[..., None], [0.9, 0.2, 0.4], 0.6).astype(np.float32)
    out = cues.edges(image)
    drawn = out[..., 0] == 0
    assert out.dtype == np.float32 and set(np.unique(out)) == {0, 1}
    assert not (drawn & ~OUTLINE).any()
    angles = np.degrees(np.arctan2(Y - 24, X - 22))[drawn]
    assert np.diff(np.sort(angles)).max() < 12  # closed all around
    assert drawn.sum() < 1.4 * 2 * np.pi * 14  # one pixel thick


def test_edges_agree_with_skimage_where_both_are_sure() -> None:
    from scipy.ndimage import binary_dilation, gaussian_filter
    from skimage.feature import canny

    light = gaussian_filter(np.random.default_rng(0).random((96, 96)), 4)
    light = (light - light.min()) / np.ptp(light)
    ours = cues.edges(np.repeat(light[..., None], 3, -1))[..., 0] == 0
    theirs = canny(light, 2**0.5, low_threshold=0.28, high_threshold=0.7, use_quantiles=True, mode="nearest")
    near = np.ones((3, 3))
    assert ours.sum() > 100
    assert (theirs & binary_dilation(ours, near)).sum() > 0.85 * theirs.sum()


def test_a_mask_takes_the_background_out() -> None:
    image = np.random.default_rng(0).random((48, 48, 3))
    image[DISC] = 0.1
    drawn = cues.edges(image, DISC)[..., 0] == 0
    assert drawn.any() and not (drawn & ~OUTLINE).any()
    batch = cues.edges(np.stack([image, image]), np.stack([DISC, DISC]))
    assert np.array_equal(batch[1, ..., 0] == 0, drawn)


def test_nothing_is_drawn_where_nothing_changes() -> None:
    assert (cues.edges(np.full((20, 20, 3), 0.3)) == 1).all()


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_texture_patch_is_the_largest_square(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 12)) < 0.8
    squares = {
        side: [(y, x) for y in range(10 - side) for x in range(13 - side) if mask[y : y + side, x : x + side].all()]
        for side in range(1, 10)
    }
    side = max((s for s, places in squares.items() if places), default=0)
    image = rng.random((9, 12, 3))
    if side < 2:
        with pytest.raises(GenclsError, match=r"too thin|no object"):
            cues.texture_patch(image, mask)
        return
    out = cues.texture_patch(image, mask)
    kept = np.isclose(out, image).all(axis=-1)
    assert any(kept[y : y + side, x : x + side].all() for y, x in squares[side])
    inside = {tuple(p) for p in image[mask]}
    assert all(tuple(p) in inside for p in out.reshape(-1, 3))
    assert len({tuple(p) for p in out.reshape(-1, 3)}) == side**2


def test_cue_conflict_has_one_shape_and_another_texture() -> None:
    textures = np.random.default_rng(0).random((2, 48, 48, 3))
    out = cues.cue_conflict(textures, np.stack([DISC, ~DISC]), background=0.5)
    assert np.array_equal(out[0][DISC], textures[0][DISC]) and (out[0][~DISC] == 0.5).all()
    assert np.array_equal(out[1][~DISC], textures[1][~DISC]) and (out[1][DISC] == 0.5).all()
    assert np.array_equal(cues.cue_conflict(textures[0], DISC, 0.5), out[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cues.silhouette(DISC.astype(float)), "bool"),
        (lambda: cues.silhouette(np.zeros((4, 4), bool)), "holds no object"),
        (
            lambda: cues.cue_conflict(np.zeros((48, 48, 3)), DISC[:20]),
            "the mask is 20×48, the image asks for 48×48",
        ),
        (lambda: cues.cue_conflict(np.zeros((48, 48, 3)), DISC, 2), "background"),
        (lambda: cues.texture_patch(np.zeros((2, 48, 48, 3)), DISC), "one image at a time"),
        (lambda: cues.edges(np.full((48, 48, 3), 2.0)), r"\[0, 1\]"),
        (lambda: cues.edges(np.zeros((48, 48, 3)), sigma=-1), "sigma"),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, words: str) -> None:
    with pytest.raises(GenclsError, match=words):
        call()
