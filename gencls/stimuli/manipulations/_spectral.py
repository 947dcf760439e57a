"""Manipulations of spatial frequency: Gaussian filters, phases, amplitudes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

import numpy as np
from scipy import fft

from gencls import downloads
from gencls.errors import GenclsError
from gencls.stimuli.manipulations._images import (
    REFERENCE_SIZE,
    Seed,
    as_batch,
    count,
    flag,
    generators,
    grey,
    number,
    on_grey,
    pieces,
    square,
)

#: What is thought to stand outside an image: the mean grey of the benchmark's images.
MEAN_GREY = 0.4423


def low_pass(image: np.ndarray, level: float) -> np.ndarray:
    """Grey through a Gaussian filter of standard deviation `level` pixels; outside stands 0.4423.

    `image` is H×H×3 or n×H×H×3, float RGB in [0, 1]; so is the result. `level` is meant for 224 pixels and is
    multiplied by H/224; 0 is grey unchanged. The filter is scipy's `gaussian_filter`. Geirhos et al. 2018,
    section 2. Raises GenclsError for bad images and levels, and where the scaled level is above 0 but below
    half a pixel.
    """
    if number(level, "low-pass", "level", 0) == 0:
        return on_grey(image, "low-pass")
    sigma = _scaled(image, level, "low-pass")

    def blurred(g: np.ndarray, rows: slice) -> np.ndarray:
        g -= MEAN_GREY
        g = _blur(g, sigma)
        g += MEAN_GREY
        return g

    return on_grey(image, "low-pass", blurred)


def high_pass(image: np.ndarray, level: float) -> np.ndarray:
    """Grey less its low-pass at `level` pixels, moved to the mean 0.4423 and clipped.

    `image` is H×H×3 or n×H×H×3, float RGB in [0, 1]; so is the result. `level` is meant for 224 pixels and is
    multiplied by H/224; infinity is grey unchanged. Geirhos et al. 2018, section 2. Raises GenclsError for
    bad images and levels, and where the scaled level is below half a pixel.
    """
    if level == np.inf:
        return on_grey(image, "high-pass")
    if number(level, "high-pass", "level", 0) == 0:
        raise GenclsError("high-pass: level is above 0 (infinity leaves grey unchanged), not 0")
    sigma = _scaled(image, level, "high-pass")

    def sharpened(g: np.ndarray, rows: slice) -> np.ndarray:
        g -= MEAN_GREY
        g -= _blur(g, sigma)
        g += (MEAN_GREY - g.mean(axis=(1, 2)))[:, None, None]
        return g

    return on_grey(image, "high-pass", sharpened)


def phase_scrambling(image: np.ndarray, level: float, seed: Seed = 0, *, clip: bool = True) -> np.ndarray:
    """Phases of grey's spectrum shifted by noise, uniform in [−level, level) degrees; the mean stays.

    In the centred spectrum, the frequencies whose opposite exists (at an even size all but the first row and
    column) are taken row by row: those before the mean get +δ₀, +δ₁, …, those after it −δ₀, −δ₁, …. This
    pairing is the benchmark's own and not conjugate-symmetric: the real part, which is taken, has other
    amplitudes than the image. `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result, clipped
    unless `clip` is False. `level` lies in [0, 180]. `seed`: one int an image, whose δ are
    `numpy.random.default_rng(seed).uniform(-level, level, …)`; or one int, from which and its place in the
    batch every image gets its own (the first one `default_rng(seed)`). Geirhos et al. 2018, section 2. Raises
    GenclsError for bad images, levels and seeds.
    """
    w = number(level, "phase-scrambling", "level", 0, 180)
    if w == 0:
        return on_grey(image, "phase-scrambling")
    generator = generators(seed, count(image), "phase-scrambling")

    def scrambled(g: np.ndarray, rows: slice) -> np.ndarray:
        height, width = g.shape[1:]
        sides = height - 1 + height % 2, width - 1 + width % 2
        half = sides[0] * sides[1] // 2
        draws = np.empty((len(g), half))
        for i, own in enumerate(draws):
            generator(rows.start + i).random(out=own)
        draws *= 2 * w * np.pi / 180
        draws -= w * np.pi / 180
        delta = draws.astype(np.float32)  # single precision is exact to some 1e-7 here, and twice as fast
        # The real part of the inverse keeps the conjugate-symmetric part of the spectrum: at a frequency with
        # +δᵢ stands −δⱼ at its opposite, j = half − 1 − i, and what is kept is the spectrum times (exp(iδᵢ) +
        # exp(iδⱼ)) / 2, which is its own mirror image in i.
        full = np.empty((len(g), 2 * half + 1), np.complex64)
        turn = full[:, :half]
        for wave, part in ((np.cos(delta), turn.real), (np.sin(delta), turn.imag)):
            np.add(wave, wave[:, ::-1], out=part)
            part *= np.float32(0.5)
        full[:, half] = 1
        np.conjugate(turn, out=full[:, half + 1 :])
        right = full.reshape(-1, *sides)[:, :, sides[1] // 2 :]  # the columns of frequency 0, 1, …
        spectrum = fft.rfft2(g.astype(np.float32))
        columns = right.shape[2]
        up = sides[0] // 2 + 1  # rows of frequency 0, 1, …; then, from the end, −1, −2, …
        spectrum[:, :up, :columns] *= right[:, up - 1 :]
        spectrum[:, height - up + 1 :, :columns] *= right[:, : up - 1]
        return fft.irfft2(spectrum, s=(height, width), overwrite_x=True)

    return on_grey(image, "phase-scrambling", scrambled, clip=clip)


def power_equalisation(
    image: np.ndarray, level: bool, spectrum: np.ndarray | None = None, *, clip: bool = True
) -> np.ndarray:
    """Grey unchanged (False, the benchmark's `0`) or its phases with other amplitudes (True, `pow`).

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result, clipped unless `clip` is False.
    `spectrum` is H×W, the amplitudes 0 or more with frequency 0 at (H//2, W//2), as `mean_spectrum` gives
    them for a set of one's own; without it, at 224×224, the published mean of the benchmark's images
    (downloaded once). Amplitudes that differ between a frequency and its opposite count by their mean, which
    is what the real part of the inverse keeps. Geirhos et al. 2018, section 2. Raises GenclsError for bad
    images, levels and spectra.
    """
    if not flag(level, "power-equalisation"):
        return on_grey(image, "power-equalisation")
    shape = as_batch(image, "power-equalisation")[0].shape[1:3]
    if spectrum is None:
        if shape != (REFERENCE_SIZE, REFERENCE_SIZE):
            raise GenclsError(
                f"power-equalisation: the published spectrum is 224×224 and the image {shape[0]}×{shape[1]}; "
                "give spectrum=mean_spectrum(images) of your own set"
            )
        spectrum = published_spectrum()
    amplitudes = np.fft.ifftshift(np.asarray(spectrum, float))
    if amplitudes.shape != shape or not np.isfinite(amplitudes).all() or (amplitudes < 0).any():
        raise GenclsError(
            f"power-equalisation: spectrum holds {shape[0]}×{shape[1]} amplitudes, finite and 0 or more; "
            f"this one is {'×'.join(map(str, amplitudes.shape))}; make it with mean_spectrum(images)"
        )
    opposite = np.roll(amplitudes[::-1, ::-1], 1, axis=(0, 1))
    amplitudes = ((amplitudes + opposite) / 2)[:, : shape[1] // 2 + 1]

    def equalised(g: np.ndarray, rows: slice) -> np.ndarray:
        own = fft.rfft2(g)
        size = own.real**2
        size += own.imag**2
        np.sqrt(size, out=size)
        # Below this stands rounding noise, whose phase means nothing: taken as 0, so that every machine gives
        # the same.
        nothing = size <= 1e-15 * g[0].size
        if nothing.any():
            own[nothing], size[nothing] = 1, 1
        np.divide(amplitudes, size, out=size)
        mean = own[:, 0, 0].real * size[:, 0, 0] / g[0].size
        # Without the mean, single precision is exact to some 1e-7 here.
        changed = np.empty(own.shape, np.complex64)
        np.multiply(own.real, size, out=changed.real, casting="same_kind")
        np.multiply(own.imag, size, out=changed.imag, casting="same_kind")
        changed[:, 0, 0] = 0
        return fft.irfft2(changed, s=shape, overwrite_x=True) + mean[:, None, None]

    return on_grey(image, "power-equalisation", equalised, clip=clip, double=True)


def mean_spectrum(images: Iterable[np.ndarray] | np.ndarray) -> np.ndarray:
    """The mean amplitude spectrum of a set's grey images: H×W, frequency 0 at (H//2, W//2).

    `images`: n×H×W×3 or any iterable of H×W×3, float RGB in [0, 1], of one size. For `power_equalisation`.
    Raises GenclsError for images of another type or range, of several sizes, and for none.
    """
    what = "mean spectrum"
    total, n = np.zeros(()), 0
    for image in images:
        batch, _ = as_batch(image, what)
        if n and batch.shape[1:3] != total.shape:
            raise GenclsError(
                f"{what}: image {n} is {'×'.join(map(str, batch.shape[1:3]))}, those before it "
                f"{'×'.join(map(str, total.shape))}; give all one size"
            )
        for _, piece in pieces(batch, what):
            total = total + np.abs(fft.fft2(grey(piece, double=True))).sum(axis=0)
        n += len(batch)
    if not n:
        raise GenclsError(f"{what}: there are no images; give at least one")
    return np.fft.fftshift(total / n)


@cache
def published_spectrum() -> np.ndarray:
    """The benchmark's mean amplitude spectrum: 224×224, centred (Geirhos et al. 2018; downloaded once)."""
    spectrum = np.load(downloads.fetch("mean-spectrum"), allow_pickle=False)
    spectrum.setflags(write=False)
    return spectrum


def _scaled(image: np.ndarray, level: float, what: str) -> float:
    """σ in pixels of this image."""
    side = square(as_batch(image, what)[0], what)
    sigma = level * side / REFERENCE_SIZE
    if side != REFERENCE_SIZE and sigma < 0.5:
        raise GenclsError(
            f"{what}: level {level:g} is {sigma:.3g} pixels at {side}×{side}, below half a pixel; "
            f"from {0.5 * REFERENCE_SIZE / side:g} on it can be shown"
        )
    return sigma


def _blur(g: np.ndarray, sigma: float) -> np.ndarray:
    """Separable Gaussian of n×H×H images with zeros outside: matrix products, block by block along the band.

    In single precision, which is exact to some 1e-7 here, and twice as fast.
    """
    side = g.shape[-1]
    matrix, radius = _gaussian_matrix(side, sigma)
    g = g.astype(np.float32, copy=False)
    block = 32 if 3 * radius < side else side
    rows, columns = np.empty_like(g), np.empty_like(g)
    for start in range(0, side, block):
        to = slice(start, min(start + block, side))
        seen = slice(max(0, start - radius), min(side, start + block + radius))
        np.matmul(g[..., seen], matrix[seen, to], out=rows[..., to])
    for start in range(0, side, block):
        to = slice(start, min(start + block, side))
        seen = slice(max(0, start - radius), min(side, start + block + radius))
        np.matmul(matrix[to, seen], rows[:, seen], out=columns[:, to])
    return columns


@lru_cache(maxsize=32)
def _gaussian_matrix(side: int, sigma: float) -> tuple[np.ndarray, int]:
    """scipy's Gaussian (cut at radius int(4σ + 0.5), renormalised) as a band matrix, and the radius."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    kernel /= 2 * kernel.sum() - 1
    distance = np.abs(np.subtract.outer(np.arange(side), np.arange(side)))
    return np.where(distance <= radius, kernel[np.minimum(distance, radius)], 0).astype(np.float32), radius
