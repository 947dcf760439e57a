"""The shapes world: stimuli drawn by code, so that shape and texture are known exactly.

Sixteen shapes × sixteen textures at 32×32 px. In training, shape k carries texture k: both cues are fully diagnostic and
an observer is free to use either. Under cue conflict they disagree. Colour, pose, phase and jitter are random and tell nothing.

Every stimulus is a pure function of (seed, stream, index), the same pixels on every platform: random numbers come from the
counter-based Philox generator, geometry is integer or exactly rounded arithmetic (rotations are rational, no sine is taken).
A stimulus is drawn by looking up two integer templates (the shape's mask, the texture's tile) through an affine map on a
canvas 4 times as fine, and averaging each 4×4 block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage

from gencls.errors import GenclsError
from gencls.stimuli.sets import StimulusSet

#: Shape k and texture k belong together in training; the shape names the category.
SHAPES = (
    "circle", "square", "triangle", "star", "cross", "heart", "moon", "ring",
    "arrow", "bolt", "hourglass", "drop", "clover", "hammer", "fish", "tree",
)  # fmt: skip
TEXTURES = (
    "stripes", "bars", "diagonals", "slashes", "checks", "dots", "grid", "bricks",
    "zigzag", "scales", "rings", "crosses", "triangles", "weave", "speckle", "squares",
)  # fmt: skip
SETS = ("photos", "cue-conflict", "silhouette", "edge", "texture")

SIZE = 32  # px
_FINE = 4  # canvas px a stimulus px, each way
_CELLS = 256  # cells of a shape's template, each way
_TILE = 64  # cells of a texture's tile, each way
_FIELD = 1024  # a shape's template, padded, so that an index can wrap without a test

Mask = np.ndarray


def _polygon(*corners: tuple[int, int]) -> Callable[[Mask, Mask], Mask]:
    """Even-odd rule in integers: inside where an odd number of edges lie to the right."""

    def inside(x: Mask, y: Mask) -> Mask:
        odd = np.zeros(np.broadcast(x, y).shape, bool)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            crosses = (y0 <= y) != (y1 <= y)
            side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
            odd ^= crosses & ((side > 0) == (y1 > y0))
        return odd

    return inside


def _disc(cx: int, cy: int, r: int) -> Callable[[Mask, Mask], Mask]:
    return lambda x, y: (x - cx) ** 2 + (y - cy) ** 2 <= r * r


def _box(x0: int, y0: int, x1: int, y1: int) -> Callable[[Mask, Mask], Mask]:
    return lambda x, y: (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)


def _union(*parts: Callable[[Mask, Mask], Mask]) -> Callable[[Mask, Mask], Mask]:
    return lambda x, y: np.logical_or.reduce([part(x, y) for part in parts])


# x to the right, y downwards, both from −255 to 255.
_SHAPES: dict[str, Callable[[Mask, Mask], Mask]] = {
    "circle": _disc(0, 0, 205),
    "square": _box(-180, -180, 180, 180),
    "triangle": _polygon((0, -230), (225, 175), (-225, 175)),
    "star": _polygon(
        (0, -245),
        (58, -80),
        (233, -76),
        (94, 31),
        (144, 198),
        (0, 99),
        (-144, 198),
        (-94, 31),
        (-233, -76),
        (-58, -80),
    ),
    "cross": _union(_box(-78, -225, 78, 225), _box(-225, -78, 225, 78)),
    "heart": _union(
        _disc(-103, -85, 118), _disc(103, -85, 118), _polygon((-198, -14), (0, 232), (198, -14), (0, -110))
    ),
    "moon": lambda x, y: _disc(-10, 0, 225)(x, y) & ~_disc(95, 0, 185)(x, y),
    "ring": lambda x, y: _disc(0, 0, 220)(x, y) & ~_disc(0, 0, 112)(x, y),
    "arrow": _polygon((0, -240), (195, -20), (82, -20), (82, 225), (-82, 225), (-82, -20), (-195, -20)),
    "bolt": _polygon((60, -245), (-165, 45), (-25, 45), (-75, 245), (165, -70), (25, -70), (120, -245)),
    "hourglass": _polygon((-190, -220), (190, -220), (38, 0), (190, 220), (-190, 220), (-38, 0)),
    "drop": _union(_disc(0, 85, 150), _polygon((0, -245), (136, 22), (0, 90), (-136, 22))),
    "clover": _union(
        _disc(0, -115, 112), _disc(-118, 50, 112), _disc(118, 50, 112), _disc(0, 0, 60), _box(-28, 0, 28, 240)
    ),
    "hammer": _union(_box(-210, -220, 210, -75), _box(-58, -80, 58, 235)),
    "fish": _union(
        lambda x, y: (x + 60) ** 2 * 125**2 + y**2 * 180**2 <= 180**2 * 125**2,
        _polygon((70, 0), (240, -145), (240, 145)),
    ),
    "tree": _union(
        _polygon((0, -245), (125, -75), (-125, -75)),
        _polygon((0, -150), (170, 45), (-170, 45)),
        _polygon((0, -40), (215, 165), (-215, 165)),
        _box(-42, 160, 42, 245),
    ),
}


def _cell(u: Mask, period: int) -> Mask:
    """Distance from the centre of each period, −period/2 … period/2 − 1."""
    return u % period - period // 2


# u to the right, v downwards, 0 … 63: one period of the texture.
_TEXTURES: dict[str, Callable[[Mask, Mask], Mask]] = {
    "stripes": lambda u, v: (v % 32 < 16) & (u >= 0),
    "bars": lambda u, v: (u % 32 < 16) & (v >= 0),
    "diagonals": lambda u, v: (u + v) % 32 < 16,
    "slashes": lambda u, v: (u - v) % 32 < 16,
    "checks": lambda u, v: (u // 32 + v // 32) % 2 == 0,
    "dots": lambda u, v: _cell(u, 32) ** 2 + _cell(v, 32) ** 2 <= 110,
    "grid": lambda u, v: (u % 32 < 7) | (v % 32 < 7),
    "bricks": lambda u, v: (v % 32 < 7) | ((u + 32 * (v // 32)) % 64 < 7),
    "zigzag": lambda u, v: (v + abs(_cell(u, 64))) % 32 < 16,
    "scales": lambda u, v: (_cell(u + 32 * (v // 32), 64) ** 2 + (v % 32) ** 2) // 200 % 2 == 0,
    "rings": lambda u, v: (_cell(u, 64) ** 2 + _cell(v, 64) ** 2) // 210 % 2 == 0,
    "crosses": lambda u, v: (
        ((abs(_cell(u, 64)) < 7) & (abs(_cell(v, 64)) < 22)) | ((abs(_cell(v, 64)) < 7) & (abs(_cell(u, 64)) < 22))
    ),
    "triangles": lambda u, v: abs(_cell(u, 64)) * 2 < v,
    "weave": lambda u, v: np.where((u // 32 + v // 32) % 2 == 0, u % 16 < 8, v % 16 < 8),
    "speckle": lambda u, v: (0x9E3779B97F4A7C15 >> ((u // 8) + 8 * (v // 8)).astype(np.uint64)) & np.uint64(1) == 1,
    "squares": lambda u, v: np.maximum(abs(_cell(u, 64)), abs(_cell(v, 64))) // 8 % 2 == 0,
}


@cache
def _shape_template(shape: str, outline: bool) -> np.ndarray:
    """The mask of a shape, or its outline about one pixel wide, in the middle of a field: 1024×1024, uint8."""
    axis = 2 * np.arange(_CELLS) - (_CELLS - 1)
    mask = _SHAPES[shape](axis[None, :], axis[:, None])
    if outline:
        ball = axis[_CELLS // 2 - 7 : _CELLS // 2 + 7]
        mask = mask & ~ndimage.binary_erosion(mask, ball[None] ** 2 + ball[:, None] ** 2 <= 13**2)
    edge = (_FIELD - _CELLS) // 2
    return np.pad(mask, edge).astype(np.uint8).ravel()


@cache
def _texture_template(texture: str) -> np.ndarray:
    """One period of a texture: 64×64, uint8."""
    axis = np.arange(_TILE)
    tile: np.ndarray = np.broadcast_to(_TEXTURES[texture](axis[None, :], axis[:, None]), (_TILE, _TILE))
    return np.ascontiguousarray(tile, np.uint8).ravel()


# Eighths of a stimulus px from the image's centre to the centre of each canvas px.
_AXIS = (2 * np.arange(SIZE * _FINE) - (SIZE * _FINE - 1)).astype(np.int32)


def _look_up(template: np.ndarray, side: int, scale: float, turn: int, shift: tuple[int, int]) -> np.ndarray:
    """The template seen through a similarity: 128×128, uint8.

    `scale` is cells a px; the rotation's half-angle has the tangent turn/1024, so that cosine and sine are rational;
    `shift` is in 1/65536 cells. Cells are found in fixed point with 16 bits behind the point, wrapping at `side`.
    """
    half = turn / 1024
    cos, sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    a, b = int(np.rint(cos * scale * 8192)), int(np.rint(sin * scale * 8192))
    origin = side << 15
    u = (_AXIS * a + (origin + shift[0]))[None, :] + (_AXIS * b)[:, None]
    v = (_AXIS * -b + (origin + shift[1]))[None, :] + (_AXIS * a)[:, None]
    bits = side.bit_length() - 1
    index = ((v >> (16 - bits)) & ((side - 1) << bits)) | ((u >> 16) & (side - 1))
    return template[index]


@dataclass(frozen=True)
class ShapesWorld:
    """The painter of the shapes world.

    Parameters
    ----------
    seed : every seed is another world of stimuli with the same statistics
    shape_reliability, texture_reliability : 0–1, the share of photos that show their category's own shape (texture);
        the others show one of the 16 by chance, so at 0 the cue says nothing
    cover : what the texture covers, "object" or "image" (the background then has it too, in two other colours)
    texture_scale : px a period of the texture, 4–32
    low_pass : every image keeps its spatial frequencies below this many cycles an image and no other; None keeps all
    """

    seed: int = 0
    shape_reliability: float = 1.0
    texture_reliability: float = 1.0
    cover: str = "object"
    texture_scale: float = 8.0
    low_pass: float | None = None

    def __post_init__(self) -> None:
        for name in ("shape_reliability", "texture_reliability"):
            if not 0 <= getattr(self, name) <= 1:
                raise GenclsError(f"shapes world: {name} is {getattr(self, name)}; give a share from 0 to 1")
        if self.cover not in ("object", "image"):
            raise GenclsError(f"shapes world: cover is {self.cover!r}; give 'object' or 'image'")
        if not 4 <= self.texture_scale <= SIZE:
            raise GenclsError(f"shapes world: texture_scale is {self.texture_scale}; give 4 to {SIZE} px a period")
        if self.low_pass is not None and not self.low_pass > 0:
            raise GenclsError(f"shapes world: low_pass is {self.low_pass}; give a number of cycles an image above 0")

    # -- one stimulus -------------------------------------------------------------------------------------------

    def _random(self, stream: str, index: int, n: int = 24) -> list[int]:
        """n random integers below 2³², a pure function of (seed, stream, index)."""
        key = np.frombuffer(hashlib.blake2b(f"{self.seed}/{stream}".encode(), digest_size=16).digest(), np.uint64)
        return [int(x) >> 32 for x in np.random.Philox(key=key, counter=[0, index, 0, 0]).random_raw(n)]

    def cues(self, stream: str, index: int) -> tuple[int, int, int]:
        """(category, shape, texture), each 0–15, of photo `index`: categories come in turn, cues as reliable as set."""
        category = index % 16
        draw = self._random(stream + "/cues", index, 4)
        shape = category if draw[0] < self.shape_reliability * 2**32 else draw[1] % 16
        texture = category if draw[2] < self.texture_reliability * 2**32 else draw[3] % 16
        return category, shape, texture

    def draw(
        self, shape: int | None, texture: int | None, stream: str, index: int, outline: bool = False
    ) -> np.ndarray:
        """One stimulus: 32×32×3, uint8.

        `shape` None: the texture covers the whole image. `texture` None: the object is of one colour. `outline`: a line
        drawing of the shape.
        """
        r = self._random(stream, index)
        colours = _colours(r[:13])
        if shape is None:
            inside = np.ones((SIZE * _FINE, SIZE * _FINE), np.uint8)
        else:
            across = 24 + 5 * (r[13] / 2**32)  # px, the template's width; shapes fill about nine tenths of it
            scale = _CELLS / across
            shift = tuple(int(np.rint((r[k] / 2**32 - 0.5) * 4 * scale * 65536)) for k in (14, 15))
            template = _shape_template(SHAPES[shape], outline)
            inside = _look_up(template, _FIELD, scale, r[16] % 215 - 107, (shift[0], shift[1]))
        if texture is None:
            layer = inside * np.uint8(2)
        else:
            scale = _TILE / self.texture_scale * (0.9 + 0.2 * (r[17] / 2**32))
            phase = (r[18] % (_TILE << 16), r[19] % (_TILE << 16))
            tile = _look_up(_texture_template(TEXTURES[texture]), _TILE, scale, r[20] % 179 - 89, phase)
            ground = tile if self.cover == "image" else np.uint8(0)
            layer = np.where(inside, tile + np.uint8(2), ground).astype(np.uint8)
        # layer: 0, 1 the background's two colours, 2, 3 the object's
        image = _pixels(layer, colours)
        return image if self.low_pass is None else low_passed(image, self.low_pass)

    def photo(self, stream: str, index: int) -> np.ndarray:
        """Photo `index` of a stream ("train", "dev", "test"): 32×32×3, uint8."""
        _, shape, texture = self.cues(stream, index)
        return self.draw(shape, texture, stream, index)

    # -- stimulus sets -------------------------------------------------------------------------------------------

    def stimuli(self, name: str, n: int | None = None, split: str = "test") -> StimulusSet:
        """A stimulus set by name; any part of it is drawn without drawing the rest.

        `photos` (in distribution), `cue-conflict` (the 240 pairs of a shape and another's texture, in a random order that
        is begun again every 240), `silhouette`, `edge`, `texture` (textures alone, named by the shape that carries them).
        `n` defaults to 480; `split` is "train", "dev" or "test".
        """
        if name not in SETS:
            raise GenclsError(f"the shapes world has no stimulus set {name!r}; it has {', '.join(SETS)}")
        if split not in ("train", "dev", "test"):
            raise GenclsError(f"shapes world: split is {split!r}; give 'train', 'dev' or 'test'")
        n = 480 if n is None else n
        if n < 1:
            raise GenclsError(f"stimulus set {name!r}: n is {n}; ask for at least one stimulus")
        stream = split if name == "photos" else f"{split}/{name}"
        cues = self._conflicts(stream, n) if name == "cue-conflict" else [(i % 16, i % 16) for i in range(n)]

        def load(i: int) -> np.ndarray:
            shape, texture = cues[i]
            if name == "photos":
                return self.photo(stream, i)
            return self.draw(
                None if name == "texture" else shape,
                None if name in ("silhouette", "edge") else texture,
                stream,
                i,
                outline=name == "edge",
            )

        table = pd.DataFrame(
            {
                "name": [f"{split}-{name}-{i:05d}" for i in range(n)],
                "category": [SHAPES[shape] for shape, _ in cues],
                "condition": name,
                "texture": [SHAPES[texture] if name == "cue-conflict" else "" for _, texture in cues],
            }
        )
        return StimulusSet(name, table, load, SHAPES)

    def _conflicts(self, stream: str, n: int) -> list[tuple[int, int]]:
        pairs = [(s, t) for s in range(16) for t in range(16) if s != t]
        order: list[tuple[int, int]] = []
        for block in range(-(-n // len(pairs))):
            draw = self._random(stream + "/order", block, len(pairs))
            order += [pairs[i] for i in sorted(range(len(pairs)), key=lambda i: (draw[i], i))]
        return order[:n]

    def batch(self, stream: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Photos to train on: images n×32×32×3 uint8, and their categories, n, int64."""
        images = np.stack([self.photo(stream, i) for i in indices])
        return images, np.asarray([self.cues(stream, i)[0] for i in indices], np.int64)


def _pixels(layer: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """128×128 numbers of colours → 32×32×3 uint8: every block of the fine canvas averaged."""
    blocks = layer.reshape(SIZE, _FINE, SIZE, _FINE)
    counts = np.stack([(blocks == k).sum((1, 3), dtype=np.int32) for k in range(4)], -1)
    return ((counts @ colours + _FINE * _FINE // 2) // (_FINE * _FINE)).astype(np.uint8)


def low_passed(image: np.ndarray, below: float) -> np.ndarray:
    """The spatial frequencies of an image from `below` cycles an image on, in any direction, left out: s×s×3 uint8 → the same, clipped and rounded."""
    f = np.fft.fftfreq(len(image), 1 / len(image))
    kept = np.fft.fft2(image, axes=(0, 1)) * (np.hypot(f[:, None], f) < below)[..., None]
    return np.clip(np.rint(np.fft.ifft2(kept, axes=(0, 1)).real), 0, 255).astype(np.uint8)


def _colours(r: Sequence[int]) -> np.ndarray:
    """Four colours, 4×3, 0–255: background (two) and object (two), told apart by their lightness bands, in random order.

    The background's second colour is used only where the texture covers the whole image.
    """
    bands = [30, 95, 160, 225]
    order = []
    pick = r[0]
    for left in range(4, 0, -1):
        order.append(bands.pop(pick % left))
        pick //= left
    chroma = np.array([x % 91 - 45 for x in r[1:13]], np.int32).reshape(4, 3)
    chroma -= chroma.sum(1, keepdims=True) // 3
    return np.clip(np.array(order, np.int32)[:, None] + chroma, 0, 255)
