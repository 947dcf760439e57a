"""Reading a person's own image files: every kind that occurs, and what cannot be read."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gencls.errors import GenclsError
from gencls.stimuli.pictures import find_pictures, prepare, read_picture, read_pictures

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def png16(path: Path, values: np.ndarray, colour_type: int, transparent: tuple[int, ...] = ()) -> Path:
    """A 16-bit PNG written by hand (Pillow writes only greyscale ones): H×W or H×W×C uint16.

    Every other row is written as differences from the pixel before (filter 1), the data in several chunks.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    raw = values.astype(">u2").view(np.uint8).reshape(len(values), values.shape[1], -1)
    lines = []
    for y, row in enumerate(raw):
        before = np.concatenate([np.zeros_like(row[:1]), row[:-1]])
        lines.append(bytes([y % 2]) + (row - before if y % 2 else row).tobytes())
    data = zlib.compress(b"".join(lines))
    key = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    body = b"".join(chunk(b"IDAT", data[i : i + 4096]) for i in range(0, len(data), 4096))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + key + body + chunk(b"IEND", b""))
    return path


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["png", "bmp", "ppm", "tiff"]))
def test_a_lossless_file_comes_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, kind: str
) -> None:
    image = noise(height, width)
    path = tmp_path_factory.mktemp("round") / f"a.{kind}"
    Image.fromarray(image).save(path)
    picture = read_picture(path)
    assert picture.name == str(path) and picture.image.dtype == np.uint8
    np.testing.assert_array_equal(picture.image, image)


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_alpha_is_laid_on_white(tmp_path_factory: pytest.TempPathFactory, rgba: tuple[int, ...]) -> None:
    path = tmp_path_factory.mktemp("alpha") / "a.png"
    Image.new("RGBA", (3, 2), rgba).save(path)
    colour, alpha = np.array(rgba[:3], float), rgba[3] / 255
    np.testing.assert_allclose(read_picture(path).image[1, 2], colour * alpha + 255 * (1 - alpha), atol=1)


def test_every_16_bit_grey_is_rounded_to_the_nearest_of_8_bits(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "a.tiff")
    for name in ("a.png", "a.tiff"):
        got = read_picture(tmp_path / name).image
        np.testing.assert_array_equal(got, np.repeat(np.rint(values / 257).astype(np.uint8)[..., None], 3, 2))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (6, 4), (4, 2)])
def test_16_bit_samples_are_laid_on_white_and_rounded_once(tmp_path: Path, colour_type: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (300, 30, channels), np.uint16)
    values[:, 0] = [[v] * channels for v in np.linspace(0, 65535, 300).astype(np.uint16)]
    values[0, 1:6, 0] = [128, 129, 383, 384, 65406]  # where the high byte alone would be a level off
    alpha = values[..., -1:] / 65535 if channels in (2, 4) else np.ones((300, 30, 1))
    colour = values[..., : 3 if channels > 2 else 1] / 257
    want = np.broadcast_to(colour * alpha + 255 * (1 - alpha), (300, 30, 3))
    got = read_picture(png16(tmp_path / "a.png", values, colour_type)).image
    np.testing.assert_allclose(got, want, rtol=0, atol=0.5 + 1e-9)


def test_known_16_bit_samples(tmp_path: Path) -> None:
    samples = np.array([[[65535, 0, 255], [128, 129, 32896], [257, 514, 65406]]], np.uint16)
    got = read_picture(png16(tmp_path / "rgb.png", samples, 2)).image
    assert got.tolist() == [[[255, 0, 1], [0, 1, 128], [1, 2, 254]]]
    half = np.array([[[0, 32768], [65535, 1], [1000, 65535], [1000, 0]]], np.uint16)
    got = read_picture(png16(tmp_path / "grey.png", half, 4)).image
    assert got[0].tolist() == [[127] * 3, [255] * 3, [4] * 3, [255] * 3]


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_one_16_bit_colour_may_be_transparent(tmp_path: Path, colour_type: int, channels: int) -> None:
    values = np.full((1, 3, channels), 1000, np.uint16)
    values[0, 1, -1] = 1001  # the same high byte, another colour
    path = png16(tmp_path / "a.png", values, colour_type, (1000,) * channels)
    assert read_picture(path).image[0].tolist() == [[255] * 3, [4] * 3, [255] * 3]


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    got = read_picture(tmp_path / "a.png").image
    assert got[0, 0].tolist() == [255, 255, 255] and got[3, 3].tolist() == [200, 100, 50]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 6), "white").convert(mode).save(tmp_path / "a.tiff")
    got = read_picture(tmp_path / "a.tiff").image
    assert got.shape == (6, 8, 3) and (got == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.repeat(np.repeat(np.array([[0, 80, 160], [40, 120, 250]], np.uint8), 16, 0), 16, 1)
    undo = {  # how a camera held so stores the upright scene (EXIF 2.3, tag 0x0112)
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").image[..., 0], upright)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.image.tolist() == [[[1, 2, 3]]]
    assert (prepare(picture.image, 32) == [1, 2, 3]).all()


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "png"), ("L", "jpg"), ("RGBA", "png"), ("P", "png")])
def test_20000_pixels_wide_is_averaged_down(tmp_path: Path, mode: str, kind: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 20_000).astype(np.uint8), (50, 1))
    Image.fromarray(np.repeat(ramp[..., None], 3, 2)).convert(mode).save(tmp_path / f"a.{kind}")
    image = read_picture(tmp_path / f"a.{kind}").image
    assert image.shape[1] == 4096 and image.shape[0] in (10, 11)
    tolerance = 2 if mode != "P" else 20
    np.testing.assert_allclose(image[5, :, 1], np.linspace(0, 255, 4096), atol=tolerance)


def test_reducing_averages_instead_of_skipping(tmp_path: Path) -> None:
    stripes = np.zeros((64, 512), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png", max_side=128).image, 127.5, atol=1)


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 80))
def test_prepare_gives_the_size_and_stays_in_range(height: int, width: int, size: int) -> None:
    flat = np.full((height, width, 3), (255, 128, 0), np.uint8)
    out = prepare(flat, size)
    assert out.shape == (size, size, 3) and out.dtype == np.uint8
    assert (out == [255, 128, 0]).all()


def test_prepare_takes_the_centre_and_leaves_the_right_size_alone() -> None:
    image = noise(8, 20)
    np.testing.assert_array_equal(prepare(image, 8), image[:, 6:14])
    np.testing.assert_array_equal(prepare(image.transpose(1, 0, 2), 8), image[:, 6:14].transpose(1, 0, 2))


def test_prepare_is_antialiased() -> None:
    board = np.repeat(((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)[..., None], 3, 2)
    np.testing.assert_allclose(prepare(board, 16)[2:-2, 2:-2], 127.5, atol=3)


def test_prepare_refuses_what_is_no_image() -> None:
    for bad in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(GenclsError, match="H×W×3 uint8"):
            prepare(bad, 8)
    with pytest.raises(GenclsError, match="at least one pixel"):
        prepare(noise(4, 4), 0)


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    for name, value in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        Image.new("L", (4, 4), value).save(tmp_path / name)
    a, b, c = read_pictures([tmp_path])
    assert a.digest == b.digest != c.digest and len(a.digest) == 16


def test_folders_are_expanded_sorted_and_without_what_is_no_image(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", ".hidden.png"):
        Image.new("L", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "odd").write_bytes((tmp_path / "a.jpg").read_bytes())
    assert [p.name for p in find_pictures([tmp_path, tmp_path / "odd"])] == ["a.jpg", "b.PNG", "odd"]
    assert [p.image.shape for p in read_pictures(str(tmp_path), size=5)] == [(5, 5, 3)] * 2


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(jpeg, "jpeg")
    png = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(png, "png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tiff")
    (tmp_path / "cut.jpg").write_bytes(jpeg.getvalue()[:-1000])
    (tmp_path / "cut.png").write_bytes(png.getvalue()[:-1000])
    (tmp_path / "flipped.png").write_bytes(png.getvalue()[:200] + b"\0" * 50 + png.getvalue()[250:])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "none").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    cases = {
        "float.tiff": "floating-point",
        "cut.jpg": "cut short",
        "cut.png": "cut short",
        "flipped.png": "damaged",
        "text.png": "not an image",
        "empty.png": "is empty",
        "none": "holds no images",
        "pipe.png": "neither a file nor a folder",
        "absent.png": "no such file",
        "cut.jpg/a.png": "cannot be read",
        "a\0b.png": "is no path",
    }
    for name, words in cases.items():
        with pytest.raises(GenclsError, match=words) as caught:
            read_pictures([tmp_path / name])
        message = str(caught.value)
        assert "\n" not in message and ";" in message and (name in message or "\0" in name)
    with pytest.raises(GenclsError, match="no images: name"):
        read_pictures([])


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = png16(tmp_path / "bomb.png", np.zeros((1, 1, 3), np.uint16), 2)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(GenclsError, match="60000×60000 px would take more than 1024 MiB"):
        read_picture(path)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    Image.new("L", (2, 2)).save(folder / "a.png")
    for target, mode in ((folder / "a.png", 0o000), (folder, 0o000)):
        target.chmod(mode)
        with pytest.raises(GenclsError, match="no permission"):
            read_pictures([target])
        target.chmod(0o700)
