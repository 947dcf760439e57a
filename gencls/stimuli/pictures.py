"""A person's own image files: found, read and made ready for an observer.

Whatever the file holds becomes H×W×3, uint8:

- 16 bits a channel are scaled to 8 and rounded once, in a PNG after a transparency is laid on white (of
  colour in other files the high byte is kept: less than one level off)
- transparency is laid on white; palette, greyscale, bilevel and CMYK become RGB; colour profiles are ignored
- the EXIF orientation is applied; of an animation or a multi-page file the first image is read
- a side above `MAX_SIDE` is averaged down while loading, so that memory stays bounded (`MAX_BYTES`)
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from gencls.errors import GenclsError

#: What is taken from a folder. A file that is named by itself may be called anything.
EXTENSIONS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
#: The longest side of what is returned, in pixels.
MAX_SIDE = 4096
#: The most that decoding one file may take, in bytes: 268 million pixels in colour, more in grey.
MAX_BYTES = 2**30

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class Picture(NamedTuple):
    """One image file: its name as given, its pixels (H×W×3, uint8), and the key of its content.

    `digest` is the first 16 hexadecimal digits of the SHA-256 of the file's bytes. Noise is keyed by it, so
    that a renamed or moved file gets the same answer.
    """

    name: str
    image: np.ndarray
    digest: str


def find_pictures(paths: Iterable[str | Path]) -> list[Path]:
    """The image files behind these paths, in the order given; a folder gives its own images, sorted by name.

    Subfolders and hidden files are left out. GenclsError: nothing given, a path that is missing or may not be
    read, a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        try:
            if path.is_dir():
                files = sorted(p for p in path.iterdir() if _is_image(p))
                if not files:
                    raise GenclsError(f"{path}: the folder holds no images ({' '.join(EXTENSIONS)}); name another")
                found += files
                continue
            path.stat()
        except OSError as error:
            raise _unreadable(path, error) from None
        except ValueError as error:
            if isinstance(error, GenclsError):
                raise
            raise GenclsError(f"{str(path)!r} is no path ({error}); name an image file or a folder") from None
        if not path.is_file():
            raise GenclsError(f"{path}: neither a file nor a folder; name an image file or a folder of images")
        found.append(path)
    if not found:
        raise GenclsError("no images: name image files, or a folder of them")
    return found


def read_picture(path: str | Path, max_side: int = MAX_SIDE) -> Picture:
    """One image file as RGB; its longest side is at most `max_side` pixels.

    GenclsError: the file is missing, forbidden, empty, no image, damaged or cut short, or would take more
    than `MAX_BYTES` to decode.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, _our_own_limits():
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
            if not file.tell():
                raise GenclsError(f"{path}: the file is empty; give an image")
            file.seek(0)
            try:
                with Image.open(file) as picture:
                    return Picture(str(path), np.asarray(_load(picture, file, path, max_side)), digest)
            except UnidentifiedImageError:
                raise GenclsError(f"{path}: not an image that Pillow can read; give a PNG or JPEG") from None
            except GenclsError:
                raise
            except Exception as error:  # decoders fail in many ways on damaged data
                reason = str(error).strip().rstrip(".") or type(error).__name__
                raise GenclsError(
                    f"{path}: the image is damaged, cut short or of a rare kind ({reason}); "
                    "save it again as PNG or JPEG"
                ) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_pictures(paths: Iterable[str | Path], size: int | None = None, max_side: int = MAX_SIDE) -> list[Picture]:
    """The images behind files and folders. Errors: those of `find_pictures` and `read_picture`.

    With `size`, each is brought by `prepare` at once to size×size, so that a folder of thousands fits in memory.
    """
    pictures = (read_picture(path, max_side) for path in find_pictures(paths))
    return [p if size is None else p._replace(image=prepare(p.image, size)) for p in pictures]


def prepare(image: np.ndarray, size: int, crop: bool = True) -> np.ndarray:
    """The central square of an image, or without `crop` the whole made square, at size×size: H×W×3 uint8 → size×size×3 uint8.

    Bicubic, antialiased (Pillow widens its kernel where it reduces); an image of that size comes back as is.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise GenclsError(f"an image is H×W×3 uint8, not {image.shape} {image.dtype}; read files with read_pictures")
    if size < 1:
        raise GenclsError(f"size {size}: an image has at least one pixel a side")
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side] if crop else image)
    if square.shape[:2] == (size, size):
        return square
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def changes(own: int, resolution: int | None = None, crop: bool = True) -> str:
    """What a model's name says of another preprocessing than its own: " (48 pixels, whole image)", or nothing."""
    words = [f"{resolution} pixels"] * (resolution not in (None, own)) + ["whole image"] * (not crop)
    return f" ({', '.join(words)})" if words else ""


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _unreadable(path: Path, error: OSError) -> GenclsError:
    if isinstance(error, FileNotFoundError):
        return GenclsError(f"{path}: no such file or folder; check the name")
    if isinstance(error, PermissionError):
        return GenclsError(f"{path}: no permission to read it; allow it (chmod) or copy it elsewhere")
    return GenclsError(f"{path}: cannot be read ({error.strerror or error}); check the path")


@contextmanager
def _our_own_limits() -> Iterator[None]:
    """Pillow's guard counts pixels, ours bytes after a JPEG's reduced decoding, so ours stands in for it."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata is the file's own affair
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _load(picture: Image.Image, file: BinaryIO, path: Path, max_side: int) -> Image.Image:
    width, height = picture.size
    drafted = picture.size
    if max(picture.size) > max_side:
        shrink = max_side / max(picture.size)
        picture.draft(None, (math.ceil(width * shrink), math.ceil(height * shrink)))  # JPEG: decodes at 1/2, 1/4, 1/8
        # A progressive file keeps all its coefficients while it decodes.
        drafted = (width, height) if picture.info.get("progressive") else picture.size
    deep = _deep_mode(picture)
    a_pixel = 12 if deep else {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(picture.mode, 4)
    if drafted[0] * drafted[1] * a_pixel > MAX_BYTES:
        raise GenclsError(
            f"{path}: {width}×{height} px would take more than {MAX_BYTES // 2**20} MiB to decode; make it smaller"
        )
    picture.load()
    turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))  # not before: a PNG is decoded for it
    if deep:
        picture = _rounded_once(picture, file, deep)
    rgb = _reduced(picture, max(1, max(picture.size) // max_side))
    rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return rgb if turn is None else rgb.transpose(turn)


# How Pillow reads the 16-bit samples of a PNG, of which it keeps the high bytes, and what makes it keep the low
# ones: read as if the low byte came first; grey with transparency: read as the four bytes that it is.
_LOW_BYTES = {"I;16B": "I;16B", "RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def _deep_mode(picture: Image.Image) -> str:
    """How Pillow reads this file, if it is a PNG of 16-bit samples in colour or with transparency, or ""."""
    tiles = picture.tile if isinstance(picture, PngImagePlugin.PngImageFile) else []
    mode = str(tiles[0].args) if tiles else ""
    whole = mode == "I;16B" and "transparency" not in picture.info  # plain grey, which Pillow does not cut
    return mode if mode in _LOW_BYTES and not whole else ""


def _rounded_once(high: Image.Image, file: BinaryIO, mode: str) -> Image.Image:
    """The 16-bit samples of a PNG laid on white, then scaled to 8 bits; in strips."""
    file.seek(0)
    low = Image.open(file)
    assert isinstance(low, PngImagePlugin.PngImageFile)
    low.tile = [tile._replace(args=_LOW_BYTES[mode]) for tile in low.tile]
    key = high.info.get("transparency")
    whole = Image.new("RGB", high.size)
    for top in range(0, high.height, 256):
        box = (0, top, high.width, min(high.height, top + 256))
        a, b = (np.asarray(x.crop(box)).astype(np.uint16) for x in (high, low))
        values: np.ndarray
        if mode == "I;16B":
            values = a[..., None]
        else:
            values = b[..., ::2] << 8 | b[..., 1::2] if mode == "LA;16B" else a << 8 | b
        if values.shape[2] in (2, 4):
            values, alpha = values[..., :-1], values[..., -1:] / 65535
        else:
            alpha = np.ones(()) if key is None else (values != key).any(axis=2, keepdims=True).astype(float)
        eight = np.rint((values * alpha + 65535 * (1 - alpha)) / 257).astype(np.uint8)
        whole.paste(Image.fromarray(np.repeat(eight, 3 // eight.shape[2], axis=2)), box)
    return whole


def _reduced(picture: Image.Image, factor: int) -> Image.Image:
    """As RGB, every factor×factor block averaged; in strips, so that no second full-size copy is made."""
    if factor == 1:
        return rgb(picture)
    width, height = picture.size
    whole = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    rows = 64
    for top in range(0, height, rows * factor):
        strip = rgb(picture.crop((0, top, width, min(height, top + rows * factor))))
        whole.paste(strip.reduce(factor), (0, top // factor))
    return whole


def rgb(picture: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, by the rules above; ValueError for values that have no fixed white."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("whole numbers beyond 16 bits")
        values = values.astype(np.uint32)
        picture = Image.fromarray(((values * 255 + 32895) >> 16).astype(np.uint8))  # round(v / 257), exactly
    elif picture.mode == "F":
        raise ValueError("floating-point pixels have no fixed white")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
