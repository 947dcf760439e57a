"""What all manipulations share: checks of images and seeds, grey, working through a batch piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gencls.errors import GenclsError

#: An int (image i of a batch draws from the pair of it and i) or one int an image.
Seed = int | Sequence[int] | np.ndarray

#: Red, green and blue in `grey` (ITU-R BT.709, as skimage's `rgb2gray`).
LUMINANCE = np.array([0.2125, 0.7154, 0.0721])

#: The size, in pixels, that the published levels are meant for.
REFERENCE_SIZE = 224

# Pixels worked on at a time: a few arrays of so many stay in a core's cache.
_PIECE = 1 << 16


def as_batch(images: np.ndarray, what: str) -> tuple[np.ndarray, bool]:
    """The images as n×H×W×3 and whether it was a single one; their range is checked piece by piece, later."""
    array = np.asarray(images)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise GenclsError(f"{what}: images are H×W×3 or n×H×W×3, not {'×'.join(map(str, array.shape)) or 'a number'}")
    if array.dtype not in (np.float32, np.float64):
        raise GenclsError(
            f"{what}: images are float32 or float64 in [0, 1], not {array.dtype}; divide 8-bit images by 255"
        )
    return (array, False) if array.ndim == 4 else (array[None], True)


def pieces(batch: np.ndarray, what: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Consecutive rows of the batch, contiguous and checked to lie in [0, 1]."""
    for rows in _rows(batch):
        yield rows, _checked(batch, rows, what)


def in_pieces(batch: np.ndarray, what: str, work: Callable[[slice, np.ndarray], None]) -> None:
    """`work(rows, piece)` for each of `pieces`, on all cores: numpy and scipy let other threads run while they compute.

    Each piece writes to rows of its own, so that the result does not depend on who comes first.
    """
    cores, some = _cores(), _rows(batch)

    def several(part: list[slice]) -> None:
        for rows in part:
            work(rows, _checked(batch, rows, what))

    if len(some) < 2 or cores < 2:
        several(some)
        return
    step = -(-len(some) // (4 * cores))  # a task has its price; a few for each core are enough for none to wait
    with ThreadPoolExecutor(cores) as threads:
        for done in [threads.submit(several, some[i : i + step]) for i in range(0, len(some), step)]:
            done.result()  # raises what the piece raised, the first of them in order


def _rows(batch: np.ndarray) -> list[slice]:
    step = max(1, _PIECE // (batch.shape[1] * batch.shape[2]))
    return [slice(start, min(start + step, len(batch))) for start in range(0, len(batch), step)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(batch: np.ndarray, rows: slice, what: str) -> np.ndarray:
    piece = np.ascontiguousarray(batch[rows])
    # As whole numbers the patterns of 0 to 1 are in order, and those of all else (but −0) lie above: one pass.
    bits = np.dtype(f"u{piece.itemsize}")
    if piece.view(bits).max() > np.ones((), piece.dtype).view(bits):
        low, high = piece.min(), piece.max()
        if not (low >= 0 and high <= 1):  # so that NaN is caught too
            raise GenclsError(
                f"{what}: images lie in [0, 1], but values from {low:g} to {high:g} stand in "
                f"images {rows.start} to {rows.stop - 1}; scale or clip them first"
            )
    return piece


def grey(images: np.ndarray, double: bool = False, scale: float = 1) -> np.ndarray:
    """…×H×W×3 → …×H×W: the luminance times `scale`, in the images' own number type or in double precision.

    Never above `scale`: no order of summing rounds the three weights above it, and rounding keeps order.
    """
    weights = (scale * LUMINANCE).astype(float if double else images.dtype)
    return _mix(images, weights[:, None], np.empty(images.shape[:-1], weights.dtype))


def three_channels(grey: np.ndarray, out: np.ndarray) -> np.ndarray:
    """…×H×W into each channel of `out`, …×H×W×3, contiguous."""
    return _mix(grey.astype(out.dtype, copy=False), np.ones((1, 3), out.dtype), out)


def _mix(values: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Each pixel's a channels times a matrix a×b, into `out`.

    BLAS takes half the time for two pixels at once, and less than strided copies do.
    """
    a, b = matrix.shape
    if out.size // b % 2 == 0:
        two = np.zeros((2, a, 2, b), matrix.dtype)  # np.kron takes as long as a fifth of the product
        two[0, :, 0] = two[1, :, 1] = matrix
        a, b, matrix = 2 * a, 2 * b, two.reshape(2 * a, 2 * b)
    np.matmul(values.reshape(-1, a), matrix, out=out.reshape(-1, b))
    return out


def on_grey(
    images: np.ndarray,
    what: str,
    function: Callable[[np.ndarray, slice], np.ndarray] | None = None,
    *,
    clip: bool = True,
    double: bool = False,
    contrast: float = 1,
) -> np.ndarray:
    """Apply `function(grey images n×H×W, their rows in the batch)`, clip, write to three equal channels.

    The function gets, and without one the result is, grey at this contrast: contrast·grey + (1 − contrast)/2.
    """
    batch, single = as_batch(images, what)
    out = np.empty_like(batch, order="C")
    to_three = np.repeat(contrast * LUMINANCE[:, None], 3, axis=1).astype(batch.dtype)

    def work(rows: slice, piece: np.ndarray) -> None:
        if function is None:  # one product fills the channels
            _mix(piece, to_three, out[rows])
            if contrast < 1:
                out[rows] += (1 - contrast) / 2
            return
        result = grey(piece, double, contrast)
        if contrast < 1:
            result += (1 - contrast) / 2
        result = function(result, rows)
        if clip:
            np.clip(result, 0, 1, out=result)
        three_channels(result, out[rows])

    in_pieces(batch, what, work)
    return out[0] if single else out


def generators(seed: Seed, n: int, what: str) -> Callable[[int], np.random.Generator]:
    """Row of the batch → its own generator: a pure function of seed and row (or of the row's own seed)."""
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu" or seeds.ndim > 1 or (seeds < 0).any():
        raise GenclsError(f"{what}: seed is a whole number from 0 on, or one for each image, not {seed!r}")
    if seeds.ndim == 0:
        return lambda row: np.random.default_rng([int(seeds), row])
    if len(seeds) != n:
        raise GenclsError(f"{what}: {len(seeds)} seeds for {n} images; give one int, or one seed an image")
    return lambda row: np.random.default_rng(int(seeds[row]))


def count(images: np.ndarray) -> int:
    """How many images."""
    return len(images) if np.ndim(images) == 4 else 1


def number(value: float, what: str, name: str, low: float, high: float = 1e6) -> float:
    """The value, if it is a number in [low, high]."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not low <= value <= high:
        raise GenclsError(f"{what}: {name} is a number between {low:g} and {high:g}, not {value!r}")
    return float(value)


def flag(value: bool, what: str) -> bool:
    """The value, if it is a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise GenclsError(f"{what}: level is True (manipulated) or False (not), not {value!r}")
    return bool(value)


def square(images: np.ndarray, what: str) -> int:
    """The side of square images, in pixels."""
    height, width = np.shape(images)[-3:-1]
    if height != width:
        raise GenclsError(
            f"{what}: levels scale with the side of a square image, and this one is {height}×{width}; crop it"
        )
    return height
