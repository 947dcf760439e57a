"""Manipulations that treat each pixel by itself, and the turn."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from gencls.errors import GenclsError
from gencls.stimuli.manipulations._images import (
    Seed,
    as_batch,
    count,
    flag,
    generators,
    grey,
    in_pieces,
    number,
    on_grey,
    three_channels,
)

# False colour (Geirhos et al. 2018): linear RGB → cone responses (rows L, M, S), the cone responses to the
# grey background, and cone contrasts → axes (luminance, L−M, S−(L+M)).
_CONES = np.array(
    [
        [0.1619982647, 0.208049264, 0.0389347448],
        [0.0330275785, 0.2496504557, 0.0618343518],
        [0.0015524055, 0.0198861001, 0.1890224274],
    ]
)
_BACKGROUND = np.array([0.20449114, 0.17225619, 0.10523047])
_AXES = np.array([[9.27590805, 9.27590805, 0], [7.86421647, -9.33587662, 0], [-3.39709047, -3.39709047, 12.16230246]])

# Equal steps of light, a power of two: so that to count in them is exact.
_STEPS = 1 << 16


def colour(image: np.ndarray, level: bool) -> np.ndarray:
    """Colour unchanged (False, the benchmark's `cr`) or grey (True, `bw`).

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result. Grey is the luminance
    0.2125 R + 0.7154 G + 0.0721 B in three equal channels. Geirhos et al. 2018, section 2.
    Raises GenclsError for images of another type, shape or range, and for a level that is no bool.
    """
    return on_grey(image, "colour") if flag(level, "colour") else _unchanged(image, "colour")


def contrast(image: np.ndarray, level: float) -> np.ndarray:
    """Grey at a contrast of `level`: (1 − level)/2 + level·grey.

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result. `level` lies in [0, 1] and 0.1 is 10%;
    1 is grey unchanged. Geirhos et al. 2018, section 2.
    Raises GenclsError for images of another type, shape or range, and for levels outside [0, 1].
    """
    c = number(level, "contrast", "level", 0, 1)
    return on_grey(image, "contrast", contrast=c)


def uniform_noise(image: np.ndarray, level: float, seed: Seed = 0) -> np.ndarray:
    """Grey at contrast 0.3 plus noise, the same in all channels, uniform in [−level, level).

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result, clipped. `level` is 0 or more. `seed`:
    one int an image, whose noise is `numpy.random.default_rng(seed).uniform(-level, level, (H, W))`; or one
    int, from which and its place in the batch every image gets its own (the first one `default_rng(seed)`).
    Geirhos et al. 2018, section 2. Raises GenclsError for bad images, levels and seeds.
    """
    w = number(level, "uniform-noise", "level", 0)
    generator = generators(seed, count(image), "uniform-noise")

    if w == 0:
        return on_grey(image, "uniform-noise", contrast=0.3)

    def noisy(g: np.ndarray, rows: slice) -> np.ndarray:
        noise = np.empty(g.shape)
        for i, plane in enumerate(noise):
            generator(rows.start + i).random(out=plane)
        noise *= 2 * w
        noise -= w
        noise += g
        return noise

    return on_grey(image, "uniform-noise", noisy, contrast=0.3)


def rotation(image: np.ndarray, level: int) -> np.ndarray:
    """Grey turned counter-clockwise by `level` degrees: 0, 90, 180 or 270 (`numpy.rot90`).

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result (W×H where the turn asks for it).
    Geirhos et al. 2018, section 2. Raises GenclsError for bad images and other angles.
    """
    if number(level, "rotation", "level", 0, 270) % 90:
        raise GenclsError(f"rotation: level is 0, 90, 180 or 270 degrees, not {level!r}")
    batch, single = as_batch(image, "rotation")
    turns = int(level) // 90
    if not turns:
        return on_grey(image, "rotation")
    n, height, width, _ = batch.shape
    out = np.empty((n, *((width, height) if turns % 2 else (height, width)), 3), batch.dtype)

    def work(rows: slice, piece: np.ndarray) -> None:
        three_channels(np.rot90(grey(piece), turns, axes=(1, 2)), out[rows])

    in_pieces(batch, "rotation", work)
    return out[0] if single else out


def false_colour(image: np.ndarray, level: bool) -> np.ndarray:
    """Colours unchanged (False, the benchmark's `True`) or opponent (True, the benchmark's `False`).

    The luminance stays and both chromatic axes of the cone contrasts change sign; light is read from and
    written back by the 8-bit gamma table of the experiment's monitor, so that results are multiples of 1/255.
    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result. Geirhos et al. 2018, section 2. Raises
    GenclsError for images of another type, shape or range, and for a level that is no bool.
    """
    if not flag(level, "false-colour"):
        return _unchanged(image, "false-colour")
    batch, single = as_batch(image, "false-colour")
    tables, nearest, midpoints = _opponent_tables()
    nearest = nearest.astype(batch.dtype)
    out = np.empty_like(batch, order="C")

    def work(rows: slice, piece: np.ndarray) -> None:
        values = piece.reshape(-1, 3) * 255
        values = np.rint(values, out=values).astype(np.intp)
        light = tables[0].take(values[:, 0], axis=0)
        light += tables[1].take(values[:, 1], axis=0)
        light += tables[2].take(values[:, 2], axis=0)
        np.clip(light, 0, _STEPS, out=light)
        result = out[rows].reshape(-1, 3)
        nearest.take(light.astype(np.intp), out=result, mode="clip")
        unclear = result < 0
        result[unclear] = np.searchsorted(midpoints, light[unclear]) / 255

    in_pieces(batch, "false-colour", work)
    return out[0] if single else out


@cache
def gamma_table() -> np.ndarray:
    """Light in [0, 1] that the experiment's monitor gave for each 8-bit value: 256 numbers, increasing.

    Geirhos et al. 2018 (CC BY 4.0).
    """
    table = np.loadtxt(Path(__file__).parents[2] / "data" / "gamma_table.txt")
    table.setflags(write=False)
    return table


@cache
def _opponent_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The way from 8-bit values to opponent light as tables, and what finds the gamma table's nearest entry.

    From light to opponent light all is affine, so that it is a sum of three numbers looked up by channel
    (3×256×3, light 1 being 2¹⁶ steps). The second table gives the nearest entry / 255 for each step, −1 where a
    step holds a midpoint of two entries; the third are these midpoints.
    """
    table = gamma_table()
    flip = np.linalg.inv(_AXES) @ np.diag([1.0, -1.0, -1.0]) @ _AXES
    matrix = np.linalg.inv(_CONES) @ flip @ _CONES
    shift = np.linalg.inv(_CONES) @ (_BACKGROUND - flip @ _BACKGROUND)
    tables = table[None, :, None] * matrix.T[:, None, :]
    tables[0] += shift
    midpoints = (table[:-1] + table[1:]) / 2
    nearest = np.searchsorted(midpoints, np.arange(_STEPS + 1) / _STEPS) / 255
    cells = (midpoints * _STEPS).astype(int)
    nearest[np.concatenate([cells - 1, cells, cells + 1]).clip(0)] = -1  # the neighbours too: safe from rounding
    return tables * _STEPS, nearest, midpoints * _STEPS


def _unchanged(image: np.ndarray, what: str) -> np.ndarray:
    batch, single = as_batch(image, what)
    out = np.empty_like(batch, order="C")

    def work(rows: slice, piece: np.ndarray) -> None:
        out[rows] = piece

    in_pieces(batch, what, work)
    return out[0] if single else out
