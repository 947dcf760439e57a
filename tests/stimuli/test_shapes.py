"""The shapes world: the same pixels everywhere, cues as reliable as asked for, and nothing else that tells."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencls.errors import GenclsError
from gencls.stimuli.shapes import SETS, SHAPES, TEXTURES, ShapesWorld

WORLD = ShapesWorld()
OTHER = ShapesWorld(seed=3, shape_reliability=0.5, texture_reliability=0.25, cover="image", texture_scale=12)

#: SHA-256 over the pixels of the first 64 stimuli: what every platform must draw.
DIGESTS = {
    "photos": "ac39e037c77bf067278a644c91b9c193a3e9647bacfd64a02ea443a8afc2f80b",
    "cue-conflict": "9c4c2dfdb2f41a1b6042cdfc591196045c22e1ce4abdc34734120224fa9ff3be",
    "silhouette": "5f72fa32d5390b0d4170b824825a17ade62b5da3547fc440ade096f8bf2fffa8",
    "edge": "8079bb3fd19b1f8e4454cd755809a30e05b8de8c1aa6ef609221b6ef3ef0b35c",
    "texture": "386310075962fbe9e5a88517c7a0d48d53a7815fa6de5ad3d82856ee98899137",
}
OTHER_DIGEST = "c4c7cecf9a3eb1be6c4575946cbcae543789625c0807bbc22f66a317223efadb"


def _sha(images: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()


def _colours(image: np.ndarray) -> int:
    return len(np.unique(image.reshape(-1, 3), axis=0))


# -- a pure function ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_known_pixels(name: str) -> None:
    images = WORLD.stimuli(name, 64).images()
    assert images.shape == (64, 32, 32, 3)
    assert images.dtype == np.uint8
    assert _sha(images) == DIGESTS[name]


def test_known_pixels_of_another_world() -> None:
    assert _sha(OTHER.stimuli("photos", 64, "train").images()) == OTHER_DIGEST


def test_stimuli_share_no_random_numbers() -> None:
    """Philox counts blocks of four numbers: an index that were the counter itself would give neighbours common ones."""
    draws = [WORLD._random("test", index) for index in (0, 1, 2, 3, 7, 2**40)]
    flat = [number for draw in draws for number in draw]
    assert len(set(flat)) == len(flat)


def test_another_process_draws_the_same_in_another_order() -> None:
    code = (
        "import hashlib, numpy as np; from gencls.stimuli.shapes import ShapesWorld;"
        "s = ShapesWorld().stimuli('cue-conflict', 64); a = {i: s[i].image for i in reversed(range(64))};"
        "print(hashlib.sha256(np.stack([a[i] for i in range(64)]).tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == DIGESTS["cue-conflict"]


@given(st.sampled_from(SETS), st.integers(0, 10**6), st.sampled_from(["train", "dev", "test"]))
@settings(max_examples=20)
def test_a_stimulus_does_not_hang_on_how_many_were_asked_for(name: str, seed: int, split: str) -> None:
    world = ShapesWorld(seed=seed)
    few, many = world.stimuli(name, 3, split), world.stimuli(name, 300, split)
    assert few.table.equals(many.table.iloc[:3])
    assert np.array_equal(few.images(), many.images([0, 1, 2]))


def test_seeds_splits_and_sets_are_other_stimuli() -> None:
    digests = [
        _sha(world.stimuli(name, 16, split).images())
        for world in (WORLD, ShapesWorld(seed=1))
        for split in ("train", "dev", "test")
        for name in SETS
    ]
    assert len(set(digests)) == len(digests)


def test_no_photo_comes_twice() -> None:
    images = WORLD.stimuli("photos", 512).images()
    assert len({image.tobytes() for image in images}) == 512


# -- the sets --------------------------------------------------------------------------------------------------------


def test_sixteen_of_each() -> None:
    assert len(set(SHAPES)) == len(set(TEXTURES)) == 16


def test_cue_conflict_has_every_pair_once_in_each_round() -> None:
    table = WORLD.stimuli("cue-conflict", 480).table
    pairs = list(zip(table["category"], table["texture"], strict=True))
    every = {(s, t) for s in SHAPES for t in SHAPES if s != t}
    assert set(pairs[:240]) == set(pairs[240:]) == every
    assert pairs[:240] != pairs[240:]
    assert WORLD.stimuli("cue-conflict").table["texture"].isin(SHAPES).all()


@pytest.mark.parametrize("name", [name for name in SETS if name != "cue-conflict"])
def test_categories_are_balanced_and_only_conflicts_name_a_texture(name: str) -> None:
    table = WORLD.stimuli(name, 160).table
    assert set(Counter(table["category"]).items()) == {(shape, 10) for shape in SHAPES}
    assert (table["texture"] == "").all()
    assert (table["condition"] == name).all()


def test_a_conflict_shows_the_shape_and_texture_that_its_row_names() -> None:
    stimuli = WORLD.stimuli("cue-conflict", 32)
    for i in range(32):
        row = stimuli.table.iloc[i]
        shape, texture = SHAPES.index(row["category"]), SHAPES.index(row["texture"])
        assert np.array_equal(stimuli[i].image, WORLD.draw(shape, texture, "test/cue-conflict", i))


def test_a_silhouette_is_of_one_colour_on_another() -> None:
    for stimulus in WORLD.stimuli("silhouette", 32):
        pixels = stimulus.image.reshape(-1, 3).astype(int)
        values, counts = np.unique(pixels, axis=0, return_counts=True)
        ends = values[np.argsort(counts)[-2:]].astype(float)
        assert np.sort(counts)[-2:].sum() > 0.7 * 1024  # the rest are pixels that the outline cuts
        # Each of those is a mixture of the two colours: on the line between them, to a rounding.
        along = (pixels - ends[0]) @ (ends[1] - ends[0]) / ((ends[1] - ends[0]) ** 2).sum()
        assert np.abs(pixels - ends[0] - along[:, None] * (ends[1] - ends[0])).max() <= 1
        assert along.min() > -0.05
        assert along.max() < 1.05


def test_an_edge_is_the_border_of_its_silhouette() -> None:
    for i in range(16):
        filled, line = (WORLD.draw(i, None, "x", i, outline=outline).astype(int) for outline in (False, True))
        background = filled[0, 0]
        inside, drawn = ((np.abs(image - background) > 0).any(-1) for image in (filled, line))
        assert (inside | ~drawn).all()  # a line stays within its shape
        assert 0.05 * inside.sum() < drawn.sum()
        assert drawn.sum() < 0.9 * inside.sum()  # and leaves it open


def test_shapes_fill_a_fair_part_of_the_image_and_stay_within_it() -> None:
    for k in range(16):
        for i in range(8):
            image = WORLD.draw(k, None, "area", 16 * i + k).astype(int)
            ring = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            background = np.unique(ring, axis=0, return_counts=True)
            common = background[0][background[1].argmax()]
            share = (np.abs(image - common) > 0).any(-1).mean()
            assert 0.1 < share < 0.75, SHAPES[k]
            assert background[1].max() >= 0.85 * len(ring), SHAPES[k]


def test_all_shapes_and_all_textures_differ() -> None:
    shapes = [WORLD.draw(k, None, "same", 0) for k in range(16)]
    textures = [WORLD.draw(None, k, "same", 0) for k in range(16)]
    for images in (shapes, textures):
        for a in range(16):
            for b in range(a):
                assert (images[a] != images[b]).any(-1).mean() > 0.03


# -- the knobs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reliability", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_reliability_is_the_share_that_shows_its_own_cue(cue: str, reliability: float) -> None:
    world = ShapesWorld(seed=5, **{f"{cue}_reliability": reliability})
    n = 3200
    cues = np.array([world.cues("train", i) for i in range(n)])
    category, shape, texture = cues.T
    own, others = (shape, texture) if cue == "shape" else (texture, shape)
    assert (others == category).all()
    expected = reliability + (1 - reliability) / 16
    spread = 4 * np.sqrt(expected * (1 - expected) / n)
    assert abs((own == category).mean() - expected) <= spread
    if reliability == 0:  # every cue with every category, as chance has it
        table = np.histogram2d(category, own, bins=16)[0]
        statistic = ((table - n / 256) ** 2 / (n / 256)).sum()
        assert statistic < 225 + 5 * np.sqrt(2 * 225)


def test_unreliable_cues_are_drawn_independently() -> None:
    world = ShapesWorld(shape_reliability=0.5, texture_reliability=0.5)
    category, shape, texture = np.array([world.cues("train", i) for i in range(3200)]).T
    right = np.corrcoef(shape == category, texture == category)[0, 1]
    assert abs(right) < 4 / np.sqrt(3200)


def test_the_reliabilities_change_the_cues_of_a_photo_and_nothing_else() -> None:
    world = ShapesWorld(texture_reliability=0.0)
    for i in range(32):
        _, shape, texture = world.cues("train", i)
        assert np.array_equal(world.photo("train", i), WORLD.draw(shape, texture, "train", i))


def test_cover_says_what_the_texture_covers() -> None:
    whole = ShapesWorld(cover="image")
    corners = 0
    for i in range(32):
        a, b = WORLD.draw(0, 4, "cover", i), whole.draw(0, 4, "cover", i)
        corner = np.s_[:4, :4]  # beyond a disc in any pose
        assert _colours(a[corner]) == 1
        corners += _colours(b[corner]) > 1
        assert np.array_equal(a[12:20, 12:20], b[12:20, 12:20])  # the object stays as it is
    assert corners > 20


def test_texture_scale_is_the_period_in_pixels() -> None:
    for scale in (6.0, 12.0):
        world = ShapesWorld(texture_scale=scale)
        peaks = []
        for i in range(24):
            grey = world.draw(None, TEXTURES.index("rings"), "scale", i).mean(-1)
            power = np.abs(np.fft.rfft2(grey - grey.mean(), (256, 256))) ** 2
            y, x = np.meshgrid(np.fft.fftfreq(256), np.fft.rfftfreq(256), indexing="ij")
            frequency = np.hypot(x, y)
            low = (frequency > 1 / 64) & (frequency < 1.5 / scale)
            peaks.append(frequency[low][power[low].argmax()] * scale)
        # One period, within its jitter of a tenth (or the tile's diagonal, √2 as fine).
        assert np.median(peaks) == pytest.approx(1, abs=0.12)


# -- what must tell nothing --------------------------------------------------------------------------------------------


def _linear_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Of a least-squares classifier on standardised features, trained on one half and tested on the other."""
    half = len(labels) // 2
    x = np.column_stack([(features - features[:half].mean(0)) / (features[:half].std(0) + 1e-9), np.ones(len(labels))])
    weights = np.linalg.lstsq(x[:half], np.eye(16)[labels[:half]], rcond=None)[0]
    return float(((x[half:] @ weights).argmax(1) == labels[half:]).mean())


def test_colour_says_nothing_about_the_category() -> None:
    n = 3200
    labels = np.arange(n) % 16
    palettes = []
    for i in range(n):
        image = WORLD.draw(0, 0, "train", i)  # the colours of photo i, whatever its category shows
        palettes.append(np.concatenate([image[0, 0], image[13:19, 13:19].reshape(-1, 3).max(0)]))
    accuracy = _linear_accuracy(np.array(palettes, float), labels)
    assert accuracy < 1 / 16 + 4 * np.sqrt(1 / 16 * 15 / 16 / (n / 2))


def test_the_colour_of_the_corners_is_at_chance_in_photos() -> None:
    n = 1600
    images, labels = WORLD.batch("train", range(n))
    corners = images[:, ::31, ::31].reshape(n, -1).astype(float)
    assert labels.tolist() == [i % 16 for i in range(n)]
    assert _linear_accuracy(corners, labels) < 1 / 16 + 4 * np.sqrt(1 / 16 * 15 / 16 / (n / 2))


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"shape_reliability": 1.1}, "shape_reliability"),
        ({"texture_reliability": -0.1}, "texture_reliability"),
        ({"texture_reliability": float("nan")}, "texture_reliability"),
        ({"cover": "background"}, "cover"),
        ({"texture_scale": 2}, "texture_scale"),
        ({"texture_scale": float("nan")}, "texture_scale"),
    ],
)
def test_settings_out_of_range_are_named(settings_: dict[str, object], named: str) -> None:
    with pytest.raises(GenclsError, match=named):
        ShapesWorld(**settings_)


def test_unknown_sets_and_splits_and_no_stimuli_are_named() -> None:
    with pytest.raises(GenclsError, match="sketches"):
        WORLD.stimuli("sketches")
    with pytest.raises(GenclsError, match="validation"):
        WORLD.stimuli("photos", 4, "validation")
    with pytest.raises(GenclsError, match="n is 0"):
        WORLD.stimuli("photos", 0)


def test_a_low_passed_world_keeps_what_is_below_and_nothing_else() -> None:
    from gencls.stimuli.shapes import low_passed

    x = np.arange(32) / 32
    low, high = (40 * np.cos(2 * np.pi * f * x) for f in (3, 4))
    image = np.rint(128 + low + high)[None, :, None] + np.zeros((32, 1, 3))
    kept = low_passed(image.astype(np.uint8), 4)
    assert np.abs(kept - (128 + low)[None, :, None]).max() <= 1.5
    plain, smooth = ShapesWorld().stimuli("cue-conflict", 8), ShapesWorld(low_pass=4).stimuli("cue-conflict", 8)
    assert plain.table.equals(smooth.table)
    assert np.array_equal(low_passed(plain[3].image, 4), smooth[3].image)
    power = np.abs(np.fft.fft2(smooth.images().mean(-1))) ** 2
    f = np.fft.fftfreq(32, 1 / 32)
    beyond = np.hypot(f[:, None], f) >= 4
    assert power[:, beyond].sum() < 1e-3 * power.sum()  # clipping and rounding bring a little back


def test_a_low_pass_of_nothing_is_an_error() -> None:
    with pytest.raises(GenclsError, match="low_pass is 0"):
        ShapesWorld(low_pass=0)
