"""Reading image files: what is whole is read, what is not is named, and nothing else ever happens."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpy_siglip import ImageError, load_image
from numpy_siglip.preprocessing.image_search import find_images

RANDOM = np.random.default_rng(0)
KINDS = {"jpg": {}, "png": {}, "webp": {"lossless": True}, "gif": {}, "tiff": {}, "bmp": {}}


def _encoded(kind: str, size=(24, 18)) -> bytes:
    image = Image.fromarray(RANDOM.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    stream = io.BytesIO()
    image.save(stream, format={"jpg": "jpeg"}.get(kind, kind), **KINDS[kind])
    return stream.getvalue()


def _assert_image_error(path, message: str = "") -> None:
    with pytest.raises(ImageError) as caught:
        load_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read_as_pillow_reads_them(kind, tmp_path):
    path = tmp_path / f"image.{kind}"
    path.write_bytes(_encoded(kind))
    with Image.open(path) as expected:
        image = load_image(path)
        assert image.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    path.unlink()
    assert image.getpixel((0, 0)) is not None  # nothing is left to be read later


def test_transparency_survives_reading(tmp_path):
    image = Image.new("P", (3, 3))
    image.save(tmp_path / "p.png", transparency=0)
    assert load_image(tmp_path / "p.png").info["transparency"] == 0


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert load_image(tmp_path / "a.webp").convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_truncated_files_are_named(kind, share, tmp_path):
    data = _encoded(kind)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    _assert_image_error(path)


def test_files_that_are_no_images_are_named(tmp_path):
    empty, text, missing = (tmp_path / name for name in ("empty.jpg", "text.jpg", "missing.jpg"))
    empty.touch()
    text.write_text("This is not a photograph.")
    _assert_image_error(empty, "empty file")
    _assert_image_error(text, "not an image")
    _assert_image_error(missing, "no such file")
    _assert_image_error(tmp_path, "a folder; name one image in it")
    _assert_image_error(tmp_path / "text.jpg" / "inside.jpg", "Not a directory")
    _assert_image_error("https://example.org/photo.jpg", "URL")
    with pytest.raises(ImageError, match=r"^https://example\.org/photo\.jpg: a URL"):
        load_image(Path("https://example.org/photo.jpg"))  # which has made one slash of two
    with pytest.raises(ImageError, match="name is empty"):
        load_image("")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    _assert_image_error(tmp_path / "link.jpg", "a link to nowhere, which is not there")
    _assert_image_error(tmp_path / ("n" * 300), "File name too long")


def _png(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    text = chunk(b"zTXt", b"comment\0\0" + extra) if extra else b""
    return start + text + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused(tmp_path):
    """A kilobyte that claims to be 40 000 pixels square, and a comment of 100 MB."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(_png(40_000, 40_000, zlib.compress(b"\0" * 100_000)))
    _assert_image_error(bomb, "far too many pixels")
    comment = tmp_path / "comment.png"
    comment.write_bytes(_png(1, 1, zlib.compress(b"\0\0"), extra=zlib.compress(b"a" * 100_000_000)))
    _assert_image_error(comment)


def test_large_images_are_read_with_pillows_warning(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(_encoded("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 18 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        assert load_image(path).size == (24, 18)


def test_damaged_checksums_are_named(tmp_path):
    data = bytearray(_encoded("png"))
    data[29] ^= 0xFF  # inside the checksum of the header
    path = tmp_path / "crc.png"
    path.write_bytes(data)
    _assert_image_error(path)


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_is_an_image_error_or_an_image(kind, tmp_path):
    """Bytes changed at seeded places: Pillow's decoders fail in many ways, this function in one."""
    data = _encoded(kind)
    path = tmp_path / f"damaged.{kind}"
    generator = np.random.default_rng(3)
    outcomes = set()
    for _ in range(150):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), size=generator.integers(1, 6)):
            changed[min(place, int(generator.integers(1, len(data))))] = generator.integers(0, 256)
        path.write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata in files it can read
            try:
                outcomes.add(type(load_image(path).convert("RGB")).__name__)
            except ImageError as error:
                named = str(error).startswith(f"{path}: ") and "\n" not in str(error)
                outcomes.add("ImageError" if named else str(error))
    assert outcomes <= {"Image", "ImageError"}
    assert "ImageError" in outcomes


def test_warnings_turned_into_errors_are_image_errors(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(_encoded("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 18 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _assert_image_error(path)


# --------------------------------------------------------------------------------------- find_images


def test_folders_are_searched_in_a_fixed_order(tmp_path):
    names = ["b/z.JPG", "b/a.png", "a.webp", "c.txt", "b/c/d.jpeg", ".hidden.jpg", ".git/x.png", "e.tif"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.webp")
    found = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path])]
    assert found == ["a.webp", "b/a.png", "b/c/d.jpeg", "b/z.JPG", "e.tif", "link.png"]


def test_named_files_are_taken_whatever_their_names(tmp_path):
    (tmp_path / ".hidden").touch()
    named = [tmp_path / ".hidden", tmp_path / "missing.dat"]
    assert list(find_images(named)) == named
    hidden_folder = tmp_path / ".cache"
    hidden_folder.mkdir()
    (hidden_folder / "x.png").touch()
    assert list(find_images([hidden_folder])) == [hidden_folder / "x.png"]
    assert list(find_images([])) == []


def test_what_cannot_be_opened_is_passed_on_to_fail_where_it_is_read(tmp_path, monkeypatch):
    for name in ("a/x.png", "b/x.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "nothing.jpg").symlink_to("nowhere")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "nothing.txt").symlink_to("nowhere")
    scandir = os.scandir

    def denied(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    too_long = "n" * 300
    found = [str(path).removeprefix(f"{tmp_path}/") for path in find_images([tmp_path, too_long])]
    assert found == ["a", "b/x.png", "c.png", "circle.jpg", "nothing.jpg", too_long]


def test_links_to_folders_are_followed_only_where_they_are_named(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").touch()
    (tmp_path / "real" / "circle").symlink_to(tmp_path)
    (tmp_path / "real" / "circle.png").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("real")
    assert list(find_images([tmp_path])) == [tmp_path / "real" / "x.png"]
    assert list(find_images([tmp_path / "link"])) == [tmp_path / "link" / "x.png"]


def test_an_empty_name_is_not_the_current_folder(tmp_path):
    with pytest.raises(ImageError, match="name is empty"):
        list(find_images([tmp_path, ""]))
