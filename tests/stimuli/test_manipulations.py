"""The twelve manipulations against their plain definitions, and what must hold of them for any image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import obvious
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2gray

from gencls.errors import GenclsError
from gencls.stimuli import manipulations as m

GAMMA = m.gamma_table()


def natural(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Images with a 1/f spectrum, in colour, filling [0, 1], with a bar of pure white."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, 3, side, side))) / f).real.transpose(0, 2, 3, 1)
    images = np.clip(0.5 + 0.25 * noise / noise.std(), 0, 1)
    images[:, : side // 8, : side // 4] = 1
    return images


def everything(images: np.ndarray, seed: int | list[int] = 0) -> dict[str, np.ndarray]:
    """Every set at a strong level that exists at every size used here."""
    levels = {"colour": True, "contrast": 0.1, "high-pass": 14.0, "low-pass": 10, "phase-scrambling": 90}
    levels |= {"power-equalisation": True, "false-colour": True, "rotation": 90, "uniform-noise": 0.35}
    levels |= dict.fromkeys(m.COHERENCE, 16)
    spectrum = np.ones(images.shape[-3:-1])
    return {name: m.manipulate(name, images, levels[name], seed, spectrum=spectrum) for name in m.LEVELS}


@pytest.mark.parametrize("side", [224, 32, 64])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equal_to_the_plain_definitions(side: int, dtype: type) -> None:
    images = natural(2, side).astype(dtype)
    levels = m.LEVELS if side == 224 else m.SHAPES_LEVELS
    seeds = [11, 12]
    spectrum = np.mean([np.abs(np.fft.fftshift(np.fft.fft2(rgb2gray(x)))) for x in natural(4, side, 1)], axis=0)
    np.testing.assert_allclose(m.mean_spectrum(natural(4, side, 1)), spectrum, rtol=1e-12)
    plain = {
        "colour": obvious.colour,
        "contrast": obvious.contrast,
        "high-pass": obvious.high_pass,
        "low-pass": obvious.low_pass,
        "rotation": obvious.rotation,
    }
    cases = [
        (name, level, lambda x, s, f=f, k=level: f(x, k))
        for name, f in plain.items()
        for level in levels[name].values()
    ]
    cases += [
        (name, level, lambda x, s, f=f, k=level: f(x, k, s))
        for name, f in (
            ("phase-scrambling", obvious.phase_scrambling),
            ("uniform-noise", obvious.uniform_noise),
        )
        for level in levels[name].values()
    ]
    cases += [("power-equalisation", True, lambda x, s: obvious.power_equalisation(x, spectrum))]
    for name, level, slow in cases:
        ours = m.manipulate(name, images, level, seeds, spectrum=spectrum)
        assert ours.dtype == dtype
        expected = np.stack([slow(x.astype(float), s) for x, s in zip(images, seeds, strict=True)])
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6, err_msg=f"{name} {level}")


def test_false_colour_equals_its_definition_on_colours_of_all_kinds() -> None:
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(0, 256, (40, 40, 3))
    bytes_[:8] = rng.integers(0, 6, (8, 40, 3))  # the dark end, where the table's entries lie closest
    image = bytes_ / 255
    ours = m.false_colour(image, True)
    assert np.array_equal(ours, obvious.false_colour(image, GAMMA))
    assert np.array_equal(ours, obvious.false_colour_fast(image, GAMMA))
    assert np.array_equal(m.false_colour(image, False), image)


def test_false_colour_keeps_grey_background_and_luminance() -> None:
    # At the light whose cones are the background's all contrasts are 0, and nothing can change.
    light = np.linalg.solve(obvious.CONES, obvious.WHITE)
    values = np.abs(GAMMA[:, None] - light).argmin(axis=0) / 255
    grey = np.broadcast_to(values, (4, 4, 3)).copy()
    assert np.abs(m.false_colour(grey, True) - grey).max() <= 2 / 255
    red = np.broadcast_to([0.6, 0.45, 0.5], (4, 4, 3)).copy()
    turned = m.false_colour(red, True)
    luminance = [(obvious.DKL @ obvious.CONES @ GAMMA[np.rint(x[0, 0] * 255).astype(int)])[0] for x in (red, turned)]
    assert turned[0, 0, 0] < turned[0, 0, 1]  # reddish becomes greenish
    assert luminance[0] == pytest.approx(luminance[1], rel=0.02)


def test_gamma_table_is_the_published_one(mirror: Path) -> None:
    from gencls import downloads

    assert np.array_equal(GAMMA, np.load(downloads.fetch("gamma-table")).ravel())


def test_published_spectrum_is_the_default_at_224(mirror: Path) -> None:
    image = natural(1, 224)[0]
    m.published_spectrum.cache_clear()
    spectrum = m.published_spectrum()
    assert spectrum.shape == (224, 224) and spectrum.argmax() == 112 * 224 + 112
    expected = obvious.power_equalisation(image, spectrum)
    np.testing.assert_allclose(m.power_equalisation(image, True), expected, rtol=0, atol=1e-6)


def test_equalised_amplitudes_are_the_given_ones_before_clipping() -> None:
    images, spectrum = natural(3, 48), m.mean_spectrum(natural(5, 48, 1))
    out = m.power_equalisation(images, True, spectrum, clip=False)
    amplitudes = np.abs(np.fft.fftshift(np.fft.fft2(out[..., 0]), axes=(1, 2)))
    np.testing.assert_allclose(amplitudes, np.broadcast_to(spectrum, amplitudes.shape), atol=1e-4)
    phases = [np.angle(np.fft.fft2(x)) for x in (out[0, ..., 0], rgb2gray(images[0]))]
    assert np.abs(np.angle(np.exp(1j * (phases[0] - phases[1])))).max() < 1e-3


@pytest.mark.parametrize("shape", [(32, 32), (31, 31), (30, 45), (3, 3), (2, 5), (1, 1)])
def test_scrambling_keeps_the_mean_before_clipping(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((3, *shape, 3))
    out = m.phase_scrambling(images, 180, 5, clip=False)
    np.testing.assert_allclose(out.mean(axis=(1, 2))[:, 0], rgb2gray(images).mean(axis=(1, 2)), atol=1e-6)
    if min(shape) > 2:
        assert np.abs(out - m.colour(images, True)).max() > 0.05


@settings(max_examples=25)
@given(st.integers(0, 2**63), st.sampled_from([8, 24, 40]), st.sampled_from([np.float32, np.float64]))
def test_any_image_stays_an_image(seed: int, side: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.random((side, side, 3)) < rng.random()).astype(dtype)  # the hardest case: corners of the colour cube
    before = image.copy()
    for name in [
        "colour",
        "contrast",
        "phase-scrambling",
        "power-equalisation",
        "false-colour",
        "rotation",
        "uniform-noise",
    ]:
        for level in m.LEVELS[name].values():
            out = m.manipulate(name, image, level, seed, spectrum=np.ones((side, side)))
            assert out.shape == image.shape and out.dtype == dtype
            assert out.min() >= 0 and out.max() <= 1
            if "colour" not in name or (name == "colour" and level):
                assert np.array_equal(out[..., 0], out[..., 1]) and np.array_equal(out[..., 0], out[..., 2])
    assert np.array_equal(image, before)


@settings(max_examples=15)
@given(st.floats(0.5, 1000), st.integers(0, 100))
def test_any_positive_sigma_may_be_asked_for(sigma: float, seed: int) -> None:
    image = natural(1, 40, seed)[0]
    level = sigma * 224 / 40 * (1 + 1e-12)
    for f, slow in ((m.low_pass, obvious.low_pass), (m.high_pass, obvious.high_pass)):
        np.testing.assert_allclose(f(image, level), slow(image, level), rtol=0, atol=1e-6)


@settings(max_examples=10)
@given(st.integers(0, 2**40), st.integers(2, 6))
def test_an_image_does_not_depend_on_its_batch(seed: int, n: int) -> None:
    images = natural(n, 32, seed % 1000)
    seeds = [seed + 7 * i for i in range(n)]
    whole, prefix, counted = everything(images, seeds), everything(images[:2], seed), everything(images, seed)
    for name, out in everything(images[1], seeds[1]).items():
        np.testing.assert_allclose(out, whole[name][1], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(prefix[name], counted[name][:2], atol=1e-6, err_msg=name)
    for name, out in everything(images[0], seed).items():
        np.testing.assert_allclose(out, counted[name][0], atol=1e-6, err_msg=name)


def test_seeds_are_what_randomness_depends_on() -> None:
    images = np.repeat(natural(1, 32), 2, axis=0)
    for name in ["phase-scrambling", "uniform-noise", *m.COHERENCE]:
        level = list(m.SHAPES_LEVELS[name].values())[3]
        out = m.manipulate(name, images, level, 3)
        assert np.array_equal(out, m.manipulate(name, images, level, 3))
        assert not np.allclose(out[0], out[1])  # each image its own noise
        assert not np.allclose(out, m.manipulate(name, images, level, 4))
        same = m.manipulate(name, images, level, [3, 3])
        assert np.array_equal(same[0], same[1])


def test_levels_without_manipulation_are_the_identity() -> None:
    images = natural(2, 32)
    grey = m.colour(images, True)
    for name, level in [
        ("contrast", 1.0),
        ("high-pass", np.inf),
        ("low-pass", 0),
        ("phase-scrambling", 0),
        ("rotation", 0),
    ]:
        np.testing.assert_allclose(m.manipulate(name, images, level), grey, atol=1e-15)
    assert np.array_equal(m.power_equalisation(images, False), grey)
    assert np.array_equal(m.colour(images, False), images)
    turned = m.rotation(m.rotation(images, 90), 270)
    np.testing.assert_allclose(turned, grey, atol=1e-12)
    assert m.rotation(np.zeros((2, 3, 3)), 90).shape == (3, 2, 3)
    assert m.colour(np.zeros((0, 4, 4, 3)), True).shape == (0, 4, 4, 3)


def test_every_published_level_and_every_level_of_the_shapes_exists(mirror: Path) -> None:
    for side, sets in ((224, m.LEVELS), (32, m.SHAPES_LEVELS)):
        image = natural(1, side)[0]
        for name, levels in sets.items():
            for label, level in levels.items():
                if name in m.COHERENCE and side == 224 and level not in (1, 128):
                    continue
                spectrum = None if side == 224 else m.mean_spectrum([image])
                out = m.manipulate(name, image, label, 1, spectrum=spectrum)
                assert np.array_equal(out, m.manipulate(name, image, level, 1, spectrum=spectrum))
    assert [len(m.LEVELS[name]) for name in m.LEVELS] == [2, 8, 8, 8, 7, 2, 2, 4, 8, 8, 8, 8]
    assert list(m.LEVELS["eidolonII"])[:2] == ["1-3-10", "2-3-10"] and list(m.LEVELS["eidolonIII"])[7] == "128-0-10"
    assert list(m.LEVELS["high-pass"])[:2] == ["inf", "3.0"] and list(m.LEVELS["uniform-noise"])[3] == "0.1"
    assert list(m.LEVELS["contrast"])[5:] == ["c05", "c03", "c01"]


# Eidolons: the noise cannot be matched, what it does to an image can.


@pytest.mark.parametrize("side", [32, 64])
def test_an_eidolon_of_no_reach_is_the_sum_of_its_slices(side: int) -> None:
    image = natural(1, side)[0]
    expected = obvious.eidolon(image, 0, 1, 10, 0)
    np.testing.assert_allclose(m.eidolon(image, 0, 1.0), expected, rtol=0, atol=1e-6)


def resize(grey: np.ndarray, side: int) -> np.ndarray:
    plane = Image.fromarray(grey.astype(np.float32), "F").resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(plane, float)


def test_at_224_the_reach_is_in_pixels_of_256() -> None:
    smooth = 0.5 + 0.3 * np.outer(np.sin(np.arange(224) / 20), np.cos(np.arange(224) / 30))
    small, large = (np.stack([grey] * 3, -1) for grey in (smooth, resize(smooth, 256)))
    expected = resize(m.eidolon(large, 16, 0.3, seed=1)[..., 0], 224)
    np.testing.assert_allclose(m.eidolon(small, 16, 0.3, seed=1)[..., 0], expected, atol=1e-4)


def test_at_224_an_eidolon_is_resized_to_256_and_back_as_pillow_does() -> None:
    image = natural(1, 224)[0]
    large = np.clip(resize(rgb2gray(image), 256), -9, 9)
    blurred = obvious.eidolon(np.stack([large] * 3, -1), 0, 1, 10, 0)[..., 0]
    expected = np.clip(resize(blurred, 224), 0, 1)
    np.testing.assert_allclose(m.eidolon(image, 0, 1.0)[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize(("coherence", "grain"), [(1.0, 10), (0.3, 10), (0.0, 10), (0.0, 40)])
def test_displacements_have_the_definitions_statistics(coherence: float, grain: float) -> None:
    """How far from the image an eidolon gets, as the plain version has it, over images and noises."""
    images = natural(40, 64)
    for reach in (4, 32):
        ours = m.eidolon(images, reach, coherence, grain, seed=1)
        plain = np.stack([obvious.eidolon(x, reach, coherence, grain, i) for i, x in enumerate(images)])
        still = m.eidolon(images, 0, coherence)
        distances = [np.sqrt(((x - still) ** 2).mean(axis=(1, 2, 3))) for x in (ours, plain)]
        assert distances[0].mean() == pytest.approx(distances[1].mean(), rel=0.08)
        steepness = [np.abs(np.diff(x[..., 0], axis=1)).mean() for x in (ours, plain)]
        assert steepness[0] == pytest.approx(steepness[1], rel=0.08)


def test_noise_planes_are_standardised_and_independent() -> None:
    from gencls.stimuli.manipulations._eidolon import _noise

    rngs = [np.random.default_rng(i) for i in range(3)]
    for sigma in (0.0, 0.7, 3.0, 8.0):
        spectrum = _noise(32, sigma, 2.0, rngs)
        band = spectrum.shape[1] // 2
        full = np.zeros((3, 64, 64), complex)
        full[:, 32 - band : 32 + band + 1, 32 - band : 32 + band + 1] = spectrum
        planes = np.fft.ifft2(np.fft.ifftshift(full, axes=(1, 2)), norm="forward")
        for part in (planes.real, planes.imag):
            np.testing.assert_allclose(part.mean(axis=(1, 2)), 0, atol=1e-5)
            np.testing.assert_allclose(part.var(axis=(1, 2)), 4, rtol=1e-4)
        if sigma == 3.0:  # neighbours d apart correlate as exp(−d²/4σ²)
            neighbours = (planes.real * np.roll(planes.real, 3, axis=1)).mean() / 4
            assert neighbours == pytest.approx(np.exp(-9 / 36), abs=0.08)
        assert abs((planes.real * planes.imag).mean()) < 1.5


# Bad input.

IMAGE = np.full((32, 32, 3), 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: m.colour(np.zeros((4, 4)), True), "H×W×3"),
        (lambda: m.colour(np.zeros((4, 4, 3), np.uint8), True), "divide 8-bit images by 255"),
        (lambda: m.contrast(IMAGE * 255, 0.5), r"\[0, 1\]"),
        (lambda: m.contrast(IMAGE * np.nan, 0.5), r"\[0, 1\]"),
        (lambda: m.false_colour(IMAGE - 1, False), r"\[0, 1\]"),
        (lambda: m.contrast(IMAGE, 10), "between 0 and 1"),
        (lambda: m.contrast(IMAGE, "0.1"), "is a number"),
        (lambda: m.contrast(IMAGE, np.nan), "is a number"),
        (lambda: m.colour(IMAGE, 1), "True"),
        (lambda: m.rotation(IMAGE, 45), "0, 90, 180 or 270"),
        (lambda: m.low_pass(IMAGE, 3), "0.429 pixels at 32×32, below half a pixel; from 3.5 on"),
        (lambda: m.high_pass(IMAGE, 3), "below half a pixel"),
        (lambda: m.high_pass(IMAGE, 0), "above 0"),
        (lambda: m.low_pass(IMAGE, -1), "between 0"),
        (lambda: m.low_pass(IMAGE, np.inf), "between 0"),
        (lambda: m.low_pass(IMAGE[:20], 10), "20×32; crop it"),
        (lambda: m.eidolon(IMAGE, 2, 0.3), "reach 2 is 0.25 pixels"),
        (lambda: m.eidolon(IMAGE, 8, 0.3, grain=1), "grain 1 is 0.125 pixels"),
        (lambda: m.eidolon(IMAGE, 8, 3), "coherence"),
        (lambda: m.eidolon(IMAGE[:4, :4], 8, 1), "8×8 or larger"),
        (lambda: m.uniform_noise(IMAGE, 0.1, -1), "seed"),
        (lambda: m.uniform_noise(IMAGE, 0.1, 1.5), "seed"),
        (lambda: m.uniform_noise(np.stack([IMAGE] * 3), 0.1, [1, 2]), "2 seeds for 3 images"),
        (lambda: m.power_equalisation(IMAGE, True), "mean_spectrum"),
        (lambda: m.power_equalisation(IMAGE, True, np.ones((16, 32))), "32×32 amplitudes"),
        (lambda: m.power_equalisation(IMAGE, True, -np.ones((32, 32))), "0 or more"),
        (lambda: m.mean_spectrum([]), "no images"),
        (lambda: m.mean_spectrum([IMAGE, IMAGE[:16]]), "one size"),
        (lambda: m.manipulate("blur", IMAGE, 1), "blur"),
        (lambda: m.manipulate("low-pass", IMAGE, "2"), "no condition is called '2'"),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, words: str) -> None:
    with pytest.raises(GenclsError, match=words):
        call()
