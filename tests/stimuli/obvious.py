"""The manipulations written plainly from their definitions, an image at a time, independent of gencls."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray

CONES = np.array(
    [
        [0.1619982647, 0.208049264, 0.0389347448],
        [0.0330275785, 0.2496504557, 0.0618343518],
        [0.0015524055, 0.0198861001, 0.1890224274],
    ]
)
DKL = np.array([[9.27590805, 9.27590805, 0], [7.86421647, -9.33587662, 0], [-3.39709047, -3.39709047, 12.16230246]])
WHITE = np.array([0.20449114, 0.17225619, 0.10523047])


def three(grey: np.ndarray, clip: bool = True) -> np.ndarray:
    return np.stack([np.clip(grey, 0, 1) if clip else grey] * 3, axis=-1)


def colour(image, level):
    return three(rgb2gray(image)) if level else image


def contrast(image, level):
    return three((1 - level) / 2 + level * rgb2gray(image))


def uniform_noise(image, level, seed):
    grey = 0.7 / 2 + 0.3 * rgb2gray(image)
    return three(grey + np.random.default_rng(seed).uniform(-level, level, grey.shape))


def low_pass(image, level):
    grey = rgb2gray(image)
    sigma = level * len(grey) / 224
    return three(gaussian_filter(grey, sigma, mode="constant", cval=0.4423) if level else grey)


def high_pass(image, level):
    grey = rgb2gray(image)
    if level == np.inf:
        return three(grey)
    high = grey - gaussian_filter(grey, level * len(grey) / 224, mode="constant", cval=0.4423)
    return three(high + 0.4423 - high.mean())


def rotation(image, level):
    return three(np.rot90(rgb2gray(image), level // 90))


def phase_scrambling(image, level, seed, clip=True):
    """For images of an even size."""
    spectrum = np.fft.fftshift(np.fft.fft2(rgb2gray(image)))
    amplitude, phase = np.abs(spectrum), np.angle(spectrum)
    inner = phase[1:, 1:].ravel()
    half = (inner.size - 1) // 2
    delta = np.deg2rad(np.random.default_rng(seed).uniform(-level, level, half))
    inner[:half] += delta
    inner[half + 1 :] -= delta
    phase[1:, 1:] = inner.reshape(phase.shape[0] - 1, -1)
    return three(np.real(np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * phase)))), clip)


def power_equalisation(image, spectrum, clip=True):
    phase = np.angle(np.fft.fftshift(np.fft.fft2(rgb2gray(image))))
    return three(np.real(np.fft.ifft2(np.fft.ifftshift(spectrum * np.exp(1j * phase)))), clip)


def false_colour(image, gamma):
    light = gamma[np.round(255 * image).astype(int)].reshape(-1, 3).T
    d = DKL @ (CONES @ light - WHITE[:, None])
    d[1:] *= -1
    back = np.linalg.solve(CONES, np.linalg.solve(DKL, d) + WHITE[:, None]).T
    back = np.clip(back, 0, 1)
    nearest = np.array([np.abs(gamma - value).argmin() for value in back.ravel()])
    return (nearest / 255).reshape(image.shape)


def false_colour_fast(image, gamma):
    """The same with a binary search for the 256 differences: what a plain version for use would do."""
    light = gamma[np.round(255 * image).astype(int)].reshape(-1, 3).T
    d = DKL @ (CONES @ light - WHITE[:, None])
    d[1:] *= -1
    back = np.clip(np.linalg.solve(CONES, np.linalg.solve(DKL, d) + WHITE[:, None]).T, 0, 1)
    right = np.searchsorted(gamma, back).clip(1, 255)
    nearest = np.where(back - gamma[right - 1] <= gamma[right] - back, right - 1, right)
    return (nearest / 255).reshape(image.shape)


def eidolon(image, reach, coherence, grain, seed):
    """For squares of a power of two; the noise is not gencls's, so only statistics agree (or reach 0)."""
    rng = np.random.default_rng(seed)
    grey = rgb2gray(image)
    n = len(grey)
    canvas = np.pad(grey, n // 2, mode="symmetric")
    sigmas = [2 ** ((k - 1) / 2) for k in range(100) if 2 ** ((k - 1) / 2) <= n / 8]
    blurred = [gaussian_filter(canvas, s, mode="wrap") for s in sigmas]
    slices = [a - b for a, b in zip(blurred, [*blurred[1:], np.zeros_like(canvas)], strict=True)]

    def noise(sigma):
        plane = gaussian_filter(rng.standard_normal(canvas.shape), sigma, mode="wrap")
        return (plane - plane.mean()) / plane.std()

    y, x = np.mgrid[: 2 * n, : 2 * n]
    coherent = np.zeros((2, 2 * n, 2 * n))
    total = np.zeros_like(canvas)
    for k in reversed(range(len(sigmas))):
        coherent += [noise(sigmas[k]) * sigmas[k] / (n / 4) for _ in range(2)]
        incoherent = np.stack([noise(grain * n / 256) for _ in range(2)])
        u = reach * n / 256 * (coherence * coherent + (1 - coherence) * incoherent)
        rows = np.clip(y + np.rint(u[0]).astype(int), 0, 2 * n - 1)
        columns = np.clip(x + np.rint(u[1]).astype(int), 0, 2 * n - 1)
        total += slices[k][rows, columns]
    return three(total[n // 2 : -(n // 2), n // 2 : -(n // 2)])
