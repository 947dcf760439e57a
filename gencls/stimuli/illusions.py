"""Stimuli with two right answers, drawn by code from the shapes world: four kinds, each with two readings.

| kind | first reading | second reading |
| --- | --- | --- |
| `outline` | the shape of the line | the texture inside it |
| `vase` | the shape cut out (Rubin's vase) | the shape it is cut out of (his faces: what is left at its sides) |
| `hybrid` | the low spatial frequencies (Oliva et al. 2006) | the high ones |
| `turned` | the shape that was turned by 90°, 180° or 270° | the upright shape that it then overlaps most |

A stimulus is a pure function of (seed, index), the same pixels on every platform: templates are looked up as in
`gencls.stimuli.shapes`, and the hybrids' filter is binomial, in integers. `category` is the first reading, `texture` the second.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from gencls.errors import GenclsError
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import (
    _CELLS,
    _FIELD,
    _TILE,
    SHAPES,
    TEXTURES,
    ShapesWorld,
    _colours,
    _look_up,
    _pixels,
    _shape_template,
    _texture_template,
    low_passed,
)

NAME = "illusions"
KINDS = ("outline", "vase", "hybrid", "turned")
#: A vase is this much smaller than what it is cut out of, and at least this share of it lies inside.
VASE = 2 / 3
INSIDE = 0.9
#: Quarter turns counter-clockwise after which a shape overlaps another upright one more than any, itself included
#: (tests/stimuli/test_illusions.py measures that): (shape, quarters, what it reads as).
TURNS = (
    ("triangle", 2, "heart"),
    ("heart", 2, "clover"),
    ("arrow", 1, "fish"),
    ("fish", 3, "arrow"),
    ("drop", 3, "fish"),
    ("fish", 1, "drop"),
    ("tree", 3, "fish"),
    ("hourglass", 1, "fish"),
)
_ORDER = (
    16  # of the binomial filter: a blur of σ = √(16/4) = 2 px, so that textures (8 px a period) are high frequencies
)


def mask(shape: str, across: float, quarters: int = 0, shift: tuple[int, int] = (0, 0), turn: int = 0) -> np.ndarray:
    """A shape on the fine canvas, 128×128, bool.

    across : width of the shape's template in px; shift : in 1/65536 cells of it; turn : small tilt, tangent of its half in 1/1024
    quarters : quarter turns counter-clockwise of the canvas
    """
    found = _look_up(_shape_template(shape, False), _FIELD, _CELLS / across, turn, shift)
    return np.rot90(found, quarters).astype(bool)


@cache
def vases() -> tuple[tuple[int, int], ...]:
    """The pairs (cut out, what it is cut out of), numbers of shapes, of which enough lies inside."""
    small = [mask(s, 26 * VASE) for s in SHAPES]
    large = [mask(s, 26) for s in SHAPES]
    return tuple(
        (a, b)
        for a in range(16)
        for b in range(16)
        if a != b and (small[a] & large[b]).sum() >= INSIDE * small[a].sum()
    )


def blur(image: np.ndarray) -> np.ndarray:
    """Binomial low-pass of H×W×3 whole numbers, mirrored at the borders, times 2³²: exact, int64."""
    out = np.asarray(image, np.int64)
    for axis in (0, 1):
        for _ in range(_ORDER // 2):  # [1, 2, 1] each
            wide = np.concatenate([out.take([0], axis), out, out.take([-1], axis)], axis)
            n = out.shape[axis]
            out = wide.take(range(n), axis) + 2 * out + wide.take(range(2, n + 2), axis)
    return out


def hybrid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The low spatial frequencies of one image and the high ones of another: H×W×3, uint8, rounded once and clipped."""
    total = blur(low) + (np.asarray(high, np.int64) << 32) - blur(high)
    return np.clip((total + (1 << 31)) >> 32, 0, 255).astype(np.uint8)


def pairs(painter: ShapesWorld, kind: str, n: int) -> list[tuple[int, int, int]]:
    """(first reading, second reading, quarter turns) of n stimuli of a kind, in a random order begun again when used up."""
    if kind == "turned":
        options = [(SHAPES.index(a), SHAPES.index(b), quarters) for a, quarters, b in TURNS]
    elif kind == "vase":
        options = [(a, b, 0) for a, b in vases()]
    else:
        options = [(a, b, 0) for a in range(16) for b in range(16) if a != b]
    found: list[tuple[int, int, int]] = []
    for block in range(-(-n // len(options))):
        draw = painter._random(f"{NAME}/{kind}/order", block, len(options))
        found += [options[i] for i in sorted(range(len(options)), key=lambda i: (draw[i], i))]
    return found[:n]


def draw(painter: ShapesWorld, kind: str, first: int, second: int, quarters: int, index: int) -> np.ndarray:
    """One stimulus: 32×32×3, uint8."""
    stream = f"{NAME}/{kind}"
    if kind == "hybrid":
        low, high = (painter.draw(cue, cue, f"{stream}/{p}", index) for cue, p in ((first, "low"), (second, "high")))
        return _kept(painter, hybrid(low, high))
    r = painter._random(stream, index)
    across = 24 + 5 * (r[13] / 2**32)
    scale, turn = _CELLS / across, r[16] % 215 - 107
    x, y = (int(np.rint((r[k] / 2**32 - 0.5) * 4 * scale * 65536)) for k in (14, 15))
    if kind == "outline":
        inside = mask(SHAPES[first], across, 0, (x, y), turn)
        line = _look_up(_shape_template(SHAPES[first], True), _FIELD, scale, turn, (x, y)).astype(bool)
        cells = _TILE / painter.texture_scale * (0.9 + 0.2 * (r[17] / 2**32))
        phase = (r[18] % (_TILE << 16), r[19] % (_TILE << 16))
        tile = _look_up(_texture_template(TEXTURES[second]), _TILE, cells, r[20] % 179 - 89, phase)
        layer = np.where(line, 1, np.where(inside, tile + 2, 0))
    elif kind == "vase":
        large = mask(SHAPES[second], across, 0, (x, y), turn)
        # the same place on the canvas, of a template whose cells are larger
        small = mask(SHAPES[first], across * VASE, 0, (int(np.rint(x / VASE)), int(np.rint(y / VASE))), turn)
        layer = np.where(large & ~small, 2, 0)
    else:
        layer = np.where(mask(SHAPES[first], across, quarters, (x, y), turn), 2, 0)
    return _kept(painter, _pixels(layer.astype(np.uint8), _colours(r[:13])))


def _kept(painter: ShapesWorld, image: np.ndarray) -> np.ndarray:
    """The frequencies of an image that the painter keeps."""
    return image if painter.low_pass is None else low_passed(image, painter.low_pass)


def stimuli(painter: ShapesWorld, n: int = 48) -> StimulusSet:
    """`n` stimuli of each kind (the condition); `category` is the first reading, `texture` the second.

    Raises GenclsError where n is below 1.
    """
    if n < 1:
        raise GenclsError(f"stimulus set {NAME!r}: n is {n}; ask for at least one stimulus a kind")
    rows = [(kind, i, *pair) for kind in KINDS for i, pair in enumerate(pairs(painter, kind, n))]
    table = pd.DataFrame(
        {
            "name": [f"{kind}-{i:04d}" for kind, i, *_ in rows],
            "category": [SHAPES[first] for _, _, first, _, _ in rows],
            "condition": [kind for kind, *_ in rows],
            "texture": [SHAPES[second] for _, _, _, second, _ in rows],
        }
    )

    def load(row: int) -> np.ndarray:
        kind, i, first, second, quarters = rows[row]
        return draw(painter, kind, first, second, quarters, i)

    return StimulusSet(NAME, table, load, SHAPES)
