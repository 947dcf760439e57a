"""Eidolons: images whose parts are out of place (Koenderink et al. 2017)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from gencls.errors import GenclsError
from gencls.stimuli.manipulations._images import (
    REFERENCE_SIZE,
    Seed,
    as_batch,
    count,
    generators,
    number,
    on_grey,
    square,
)

#: The size, in pixels, that reach and grain are meant for; images of 224 pixels are resized to it.
CANVAS = 256

# Beyond this many cycles per σ a Gaussian leaves less than a millionth of the power: noise is not drawn
# there.
_BAND = np.sqrt(np.log(1e6)) / (2 * np.pi)


def eidolon(image: np.ndarray, reach: float, coherence: float, grain: float = 10, seed: Seed = 0) -> np.ndarray:
    """Partially coherent disarray: grey cut into scales, the pixels of every scale displaced by smooth noise.

    `image` is H×H×3 or n×H×H×3, H ≥ 8, float RGB in [0, 1]; so is the result, clipped. `reach` is the
    displacement's standard deviation and `grain` that of the noise's blur, in pixels of 256, so that both are
    multiplied by H/256 (images of 224 pixels are resized to 256 and back, Lanczos, as the benchmark's were).
    `coherence` lies in [0, 1]: at 1 coarse scales drag the fine ones along, at 0 every scale is displaced by
    itself. The scales are σₖ = 2^((k−1)/2) pixels up to H/8, so that reach 0 gives grey blurred with σ =
    1/√2. `seed`: one int an image, or one int, from which and its place in the batch every image gets its own
    (the first one the int itself). The images continue by mirroring; the noise lives on a periodic canvas of
    twice their side, on which it has mean 0 and variance 1. Koenderink, Valsecchi, van Doorn, Wagemans and
    Gegenfurtner, "Eidolons: Novel stimuli for vision research" (2017). Raises GenclsError for bad images,
    levels and seeds, and for a reach or grain above 0 but below half a pixel.
    """
    what = "eidolon"
    c = number(coherence, what, "coherence", 0, 1)
    generator = generators(seed, count(image), what)
    side = square(as_batch(image, what)[0], what)
    resized = side == REFERENCE_SIZE
    n = CANVAS if resized else side
    if n < 8:
        raise GenclsError(f"eidolon: images are 8×8 or larger, not {side}×{side}; enlarge them first")
    pixels = {"reach": number(reach, what, "reach", 0), "grain": number(grain, what, "grain", 0)}
    for name, value in pixels.items():
        pixels[name] = scaled = value * n / CANVAS
        if 0 < scaled < 0.5:
            raise GenclsError(
                f"eidolon: {name} {value:g} is {scaled:.3g} pixels at {side}×{side}, below half a pixel; "
                f"from {0.5 * CANVAS / n:g} on it can be shown"
            )

    def displaced(g: np.ndarray, rows: slice) -> np.ndarray:
        if resized:
            up, down = _lanczos(REFERENCE_SIZE, CANVAS), _lanczos(CANVAS, REFERENCE_SIZE)
            g = up @ g @ up.T
        own = [generator(row) for row in range(rows.start, rows.stop)]
        g = _disarray(g, pixels["reach"], c, pixels["grain"], own)
        return down @ np.clip(g, 0, 1) @ down.T if resized else g

    return on_grey(image, what, displaced, double=True)


def scales(n: int) -> np.ndarray:
    """The scales of an image of n pixels, as σ in pixels: 2^((k−1)/2), k = 0, 1, … up to n/8."""
    last = int(np.floor(2 * np.log2(n / 8) + 1 + 1e-9))
    return 2.0 ** ((np.arange(last + 1) - 1) / 2)


def _disarray(
    g: np.ndarray, reach: float, coherence: float, grain: float, generators: list[np.random.Generator]
) -> np.ndarray:
    """Images, b×n×n, displaced, not clipped; reach and grain in their own pixels."""
    b, n, _ = g.shape
    slices = _slices(g)
    if reach == 0:
        return slices.sum(axis=0)
    sigmas = scales(n)
    # The canvas is the image between halves of its mirror image; only the image's part of it is ever looked
    # at.
    home = np.arange(n, dtype=np.int32) + n // 2
    mirrored = np.pad(np.arange(n, dtype=np.int32), (n // 2, n - n // 2), "symmetric")
    first = np.arange(0, b * n * n, n * n, dtype=np.int32)[:, None, None]
    coherent = np.zeros((b, 1, 1), np.complex64)
    out = np.zeros((b, n, n))
    for k in reversed(range(len(sigmas))):
        field = np.zeros((b, 1, 1), np.complex64)
        if coherence > 0:
            coherent = _sum(coherent, _noise(n, sigmas[k], sigmas[k] / (n / 4), generators))
            field = np.float32(coherence) * coherent
        if coherence < 1:
            field = _sum(field, _noise(n, grain, 1 - coherence, generators))
        u = _inverse(field, n)
        u *= np.float32(reach)
        rows = np.rint(u.imag).astype(np.int32) + home[:, None]
        columns = np.rint(u.real).astype(np.int32) + home
        source = mirrored.take(rows, mode="clip")
        source *= n
        source += mirrored.take(columns, mode="clip")
        source += first
        out += slices[k].ravel().take(source)
    return out


def _slices(g: np.ndarray) -> np.ndarray:
    """Differences of Gaussians, finest first, and the coarsest: scales×b×n×n; their sum is the finest."""
    transfers = _transfers(g.shape[1])
    bands = transfers[:, :, None] * transfers[:, None, :]
    bands[:-1] -= bands[1:]
    return fft.idctn(bands[:, None] * fft.dctn(g, axes=(1, 2)), axes=(2, 3), overwrite_x=True)


@lru_cache(maxsize=8)
def _transfers(n: int) -> np.ndarray:
    """What scipy's Gaussian of each scale does to the n cosines of a mirrored line: scales×n."""
    rows = []
    for sigma in scales(n):
        offsets = np.arange(1, int(4 * sigma + 0.5) + 1)
        kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
        waves = np.cos(np.pi / n * np.outer(np.arange(n), offsets))
        rows.append((1 + 2 * waves @ kernel) / (1 + 2 * kernel.sum()))
    return np.stack(rows)


def _noise(n: int, sigma: float, weight: float, generators: list[np.random.Generator]) -> np.ndarray:
    """Spectra of blurred Gaussian noise on a periodic canvas of 2n pixels: b×m×m, frequency 0 in the middle.

    Of each, the real and the imaginary part of the inverse are two independent planes, of mean 0 and variance
    weight². Only the band that the blur lets through is drawn. A plane's variance is the sum of its squared
    spectrum.
    """
    band = n - 1
    if sigma:
        band = min(band, int(np.ceil(_BAND * 2 * n / sigma)))
    size = 2 * band + 1
    z = np.empty((len(generators), size, 2 * size), np.float32)
    for generator, plane in zip(generators, z, strict=True):
        generator.standard_normal(dtype=np.float32, out=plane)
    z = z.view(np.complex64)
    transfer = np.exp(-2 * (np.pi * sigma * np.arange(-band, band + 1) / (2 * n)) ** 2).astype(np.float32)
    z *= np.outer(transfer, transfer)
    z[:, band, band] = 0
    opposite = z[:, ::-1, ::-1].conj()
    parts, mirror = (x.reshape(len(z), -1).view(np.float32) for x in (z, opposite))
    power, cross = np.einsum("bi,bi->b", parts, parts), np.einsum("bi,bi->b", parts, mirror)
    real, imaginary = weight / np.sqrt((power + cross) / 2), weight / np.sqrt((power - cross) / 2)
    z *= ((real + imaginary) / 2)[:, None, None]
    opposite *= ((real - imaginary) / 2)[:, None, None]
    z += opposite
    return z


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of two centred spectra of different bands, in the place of the larger one."""
    if a.shape[1] > b.shape[1]:
        a, b = b, a
    margin = (b.shape[1] - a.shape[1]) // 2
    inside = slice(margin, b.shape[1] - margin)
    b[:, inside, inside] += a
    return b


def _inverse(spectrum: np.ndarray, n: int) -> np.ndarray:
    """The first n×n pixels of the periodic canvas with this centred spectrum (any n×n would do)."""
    b, size, _ = spectrum.shape
    band = size // 2
    lines = np.zeros((b, 2 * n, size), np.complex64)
    lines[:, : band + 1] = spectrum[:, band:]
    lines[:, 2 * n - band :] = spectrum[:, :band]
    lines = fft.ifft(lines, axis=1, norm="forward", overwrite_x=True)
    planes = np.zeros((b, n, 2 * n), np.complex64)
    planes[:, :, : band + 1] = lines[:, :n, band:]
    planes[:, :, 2 * n - band :] = lines[:, :n, :band]
    return fft.ifft(planes, axis=2, norm="forward", overwrite_x=True)[:, :, :n]


@lru_cache(maxsize=2)
def _lanczos(source: int, target: int) -> np.ndarray:
    """Resizing a line of `source` pixels to `target`, as target×source: Pillow's Lanczos, of 3 lobes."""
    scale = source / target
    stretch = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = (np.arange(source) + 0.5 - centres[:, None]) / stretch
    matrix = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return matrix / matrix.sum(axis=1, keepdims=True)
