"""Where images come from and in what form, and which are no images though they look like it."""

from __future__ import annotations

import io
import os
import struct
import threading

import ml_dtypes
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from numpy_siglip import (
    Embedder,
    ImageError,
    Siglip2VisionModel,
    SiglipImageProcessor,
    find_images,
    load_image,
)
from numpy_siglip.preprocessing import image_formats, image_search, images
from numpy_siglip.preprocessing.images import orientation_of, upright


def _opened(path) -> Image.Image:
    """An image of Pillow that needs its file no more."""
    return Image.open(io.BytesIO(path.read_bytes()))


def _pixels(image, **options):
    return SiglipImageProcessor(size={"height": 32, "width": 32})(image, **options)["pixel_values"]


# ------------------------------------------------------------------------------------------------ pipes


def _written(path, content):
    thread = threading.Thread(target=path.write_bytes, args=(content,))
    thread.start()
    return thread


def test_a_named_pipe_is_read_to_its_end(photos, tmp_path):
    pipe = tmp_path / "photo.jpg"
    os.mkfifo(pipe)
    writer = _written(pipe, photos[0].read_bytes())
    np.testing.assert_array_equal(np.asarray(load_image(pipe)), np.asarray(_opened(photos[0])))
    writer.join()
    writer = _written(pipe, b"")
    with pytest.raises(ImageError, match=r"photo\.jpg: empty file"):
        load_image(pipe)
    writer.join()


def test_what_a_shell_makes_of_a_command(photos):
    read, write = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(write, small.getvalue()), os.close(write)))
    small = io.BytesIO()
    _opened(photos[0]).resize((20, 30)).save(small, "png")
    thread.start()
    assert load_image(f"/dev/fd/{read}").size == (20, 30)
    thread.join()
    os.close(read)


def test_a_file_whose_system_says_that_it_is_empty(photos, monkeypatch):
    """As some network file systems do of every file."""
    fields = list(photos[0].stat())
    fields[6] = 0
    monkeypatch.setattr(images.Path, "stat", lambda self, **_: os.stat_result(fields))
    assert load_image(photos[0]).size == _opened(photos[0]).size


def test_more_than_memory_may_hold_comes_through_no_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_STREAM", 1000)
    pipe = tmp_path / "photo.jpg"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"x" * 1001))
    writer.start()
    with pytest.raises(ImageError, match="more than 1000 bytes came through it"):
        load_image(pipe)
    writer.join()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_image(device):
    with pytest.raises(ImageError, match="a device or a terminal, not an image"):
        load_image(device)


def test_pipes_in_a_folder_are_passed_over(photos, tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(photos[0].read_bytes())
    left = []
    assert list(find_images([tmp_path], passed_over=left.append)) == [tmp_path / "b.jpg"]
    assert left == [tmp_path / "a.jpg"]
    assert image_search.told_passed_over(left) == "passed over 1 file: 1 .jpg (no regular files)"


# ---------------------------------------------------------------------------------------------- formats


def test_heic_is_read_whatever_it_is_called(photos, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    picture = _opened(photos[0]).resize((64, 48))
    heif.from_pillow(picture).save(tmp_path / "photo.heic", quality=95)
    (tmp_path / "photo.heic").rename(tmp_path / "photo.jpg")  # as telephones send them
    found = np.asarray(load_image(tmp_path / "photo.jpg").convert("RGB"), np.float32)
    assert np.abs(found - np.asarray(picture, np.float32)).mean() < 8


def test_without_its_package_heic_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "register", lambda package: False)
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setattr(
        Image, "open", lambda source: (_ for _ in ()).throw(Image.UnidentifiedImageError("no"))
    )
    with pytest.raises(ImageError, match=r'pillow_heif reads, .*: pip install "numpy-siglip\[heif\]"'):
        load_image(tmp_path / "photo.jpg")


@pytest.mark.parametrize("name", ["a.nef", "b.CR2", "c.svg"])
def test_raw_files_and_drawings_are_to_be_converted(name, tmp_path):
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"files are not read here: convert them to JPEG, PNG or TIFF"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jp2", ".avif", ".webp", ".qoi", ".tga", ".pbm"])
def test_what_pillow_reads_is_found_in_folders(suffix, photos, tmp_path):
    if suffix not in image_formats.readable_suffixes():
        pytest.skip("this Pillow does not read it")
    picture = _opened(photos[0]).resize((40, 30))
    (picture.convert("1") if suffix == ".pbm" else picture).save(tmp_path / f"photo{suffix}")
    assert [file.name for file in find_images([tmp_path])] == [f"photo{suffix}"]
    assert load_image(tmp_path / f"photo{suffix}").size == (40, 30)


def test_patterns_and_what_is_left_out(tmp_path):
    for name in ("a.jpg", "b.jpg", "b_thumb.jpg", "2019/c.jpg", "2020/d.jpg", "2020/thumbs/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    odd = tmp_path / "[x].jpg"
    odd.touch()

    def names(*paths, **options):
        return [str(file.relative_to(tmp_path)) for file in find_images(paths, **options)]

    assert names(tmp_path / "*.jpg") == ["[x].jpg", "a.jpg", "b.jpg", "b_thumb.jpg"]
    assert names(tmp_path / "**" / "d.jpg") == ["2020/d.jpg"]
    assert names(odd) == ["[x].jpg"]  # a name that is there is no pattern
    assert names(tmp_path, exclude=["*_thumb.jpg", "thumbs", "2019/*", "[[]x].jpg"]) == [
        "2020/d.jpg",
        "a.jpg",
        "b.jpg",
    ]
    with pytest.raises(ImageError, match=r"\*\.png': no file fits this pattern"):
        names(tmp_path / "*.png")


# --------------------------------------------------------------------------------------------- EXIF


def _exif(orientation, *others):
    """A block of EXIF with an orientation and other entries, of which none need make sense."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0)), *others]
    body = b"".join(struct.pack("<HHI4s", *entry) for entry in sorted(entries))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(orientation, photos, tmp_path):
    picture = _opened(photos[0]).resize((30, 20))
    picture.save(tmp_path / "a.jpg", exif=_exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(_opened(tmp_path / "a.jpg")))
    turned = load_image(tmp_path / "a.jpg", apply_exif_orientation=True)
    np.testing.assert_array_equal(np.asarray(turned), expected)
    pixels = _pixels(_opened(tmp_path / "a.jpg"), apply_exif_orientation=True)
    np.testing.assert_array_equal(pixels, _pixels(Image.fromarray(expected)))
    assert orientation_of(_opened(tmp_path / "a.jpg")) == orientation


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # which says so of what it cannot make sense of
def test_other_entries_of_the_block_may_be_anything(photos, tmp_path):
    generator = np.random.default_rng(0)
    picture = _opened(photos[0]).resize((30, 20))

    def entry():
        tag, kind, count = generator.integers(1, (0xFFFF, 14, 9)).tolist()
        return tag, kind, count, generator.bytes(4)

    for _ in range(200):
        others = [entry() for _ in range(int(generator.integers(1, 6)))]
        picture.save(tmp_path / "a.jpg", exif=_exif(6, *(other for other in others if other[0] != 0x0112)))
        assert load_image(tmp_path / "a.jpg", apply_exif_orientation=True).size == (20, 30)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_there_is_not_turns_nothing(value, photos, tmp_path):
    _opened(photos[0]).resize((30, 20)).save(tmp_path / "a.jpg", exif=_exif(value))
    assert load_image(tmp_path / "a.jpg", apply_exif_orientation=True).size == (30, 20)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_block_turns_nothing(photos, tmp_path):
    picture = _opened(photos[0]).resize((30, 20))
    for cut in range(len(_exif(6))):
        picture.save(tmp_path / "a.jpg", exif=_exif(6)[:cut])
        assert load_image(tmp_path / "a.jpg", apply_exif_orientation=True).size in ((30, 20), (20, 30))
    assert upright(picture).size == (30, 20)


def test_images_that_ask_to_be_turned_are_told(pair_folder, photos, tmp_path, caplog):
    embedder = Embedder.from_pretrained(pair_folder)
    picture = _opened(photos[0])
    picture.save(tmp_path / "a.jpg", exif=_exif(6))
    asked = [tmp_path / "a.jpg", _opened(tmp_path / "a.jpg"), photos[0]]
    plain = embedder.embed_images(asked)
    (message,) = caplog.messages
    assert message.endswith("asks to turn them: 2 images; apply_exif_orientation=True turns")
    caplog.clear()
    turned = embedder.embed_images(asked, apply_exif_orientation=True)
    assert caplog.messages == []
    np.testing.assert_array_equal(turned[0], turned[1])
    assert not np.array_equal(turned[0], plain[0])
    np.testing.assert_array_equal(turned[2], plain[2])


# ------------------------------------------------------------------------------------- too many pixels


def _gif(screen, frame):
    """A GIF of few bytes whose first frame is larger than its screen."""
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return header + descriptor + b"\x02\x02\x4c\x01\x00;"


def test_a_gif_that_unfolds_is_refused(tmp_path):
    (tmp_path / "a.gif").write_bytes(_gif((2, 3), (9000, 9000)))
    with pytest.raises(ImageError, match=r"says that it has 2 x 3 pixels and unfolds to 9000 x 9000"):
        load_image(tmp_path / "a.gif")
    with pytest.raises(ImageError, match=r"unfolds to 9000 x 9000"):
        _pixels((tmp_path / "a.gif").read_bytes())


def test_a_scan_of_many_pixels_is_refused_until_they_are_allowed(tmp_path, monkeypatch):
    Image.new("1", (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 29_999)
    with pytest.raises(ImageError, match=r"far too many pixels .*--max-pixels .*MAX_IMAGE_PIXELS"):
        load_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with pytest.warns(Image.DecompressionBombWarning):
        assert load_image(tmp_path / "a.png").size == (300, 200)


def test_a_program_is_not_run_to_draw_an_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ImageError, match=r"\(EPS\), which is not run"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(size):
    with pytest.raises(ImageError, match=f"has {size[0]} x {size[1]} pixels, and so nothing to see"):
        _pixels(Image.new("RGB", size))


# ----------------------------------------------------------------------------------------------- forms


def test_paths_come_in_columns_and_arrays(pair_folder, photos):
    pandas = pytest.importorskip("pandas")
    embedder = Embedder.from_pretrained(pair_folder)
    names = [str(photo) for photo in photos]
    expected = embedder.embed_images(names)
    for column in (
        np.array(names),
        np.array(photos, object),
        pandas.Series(names),
        pandas.Series(photos, index=range(5, 5 + len(photos))),
        pandas.Index(names),
        pandas.Series(names, dtype="category"),
    ):
        np.testing.assert_array_equal(embedder.embed_images(column), expected)
        assert len(_pixels(column)) == len(photos)
    np.testing.assert_array_equal(embedder.embed_images(photos[0].parent), expected)
    np.testing.assert_array_equal(embedder.embed_images(f"{photos[0].parent}/*.jpg"), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_and_narrow_floats(dtype):
    values = torch.linspace(0, 1, 3 * 40 * 40).reshape(3, 40, 40).to(dtype)
    processor = SiglipImageProcessor(do_resize=False, do_rescale=False)
    expected = processor(values.float().numpy())["pixel_values"]
    np.testing.assert_allclose(processor(values)["pixel_values"], expected, atol=1e-3)
    narrow = values.float().numpy().astype(ml_dtypes.bfloat16)
    assert processor(narrow)["pixel_values"].dtype == np.float32


@pytest.mark.parametrize("name", ["pixel_values", "pixel_attention_mask", "spatial_shapes"])
def test_the_mask_of_a_masked_array_is_not_lost(name, naflex_folder):
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    width = model.config.patch_features
    inputs = {
        "pixel_values": np.zeros((1, 4, width), np.float32),
        "pixel_attention_mask": np.ones((1, 4), np.int32),
        "spatial_shapes": np.array([[2, 2]]),
    }
    hidden = np.ma.masked_array(inputs[name], mask=False)
    assert model(**{**inputs, name: hidden}).pooler_output.shape == (1, 33)  # which hides nothing
    hidden[0, 0] = np.ma.masked
    with pytest.raises(ImageError, match=f"{name} is a masked array, .* array.filled"):
        model(**{**inputs, name: hidden})


def test_a_masked_image_is_refused():
    image = np.ma.masked_array(np.zeros((40, 40, 3), np.uint8), mask=False)
    image[3, 3] = np.ma.masked
    with pytest.raises(ImageError, match=r"is a masked array"):
        _pixels(image)


@pytest.mark.parametrize("odd", [np.nan, 2, 0.5, -1])
def test_a_pixel_mask_holds_nothing_but_0_and_1(odd, naflex_folder):
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    mask = np.ones((1, 4), np.float32)
    mask[0, 2] = odd
    with pytest.raises(ImageError, match="pixel_attention_mask holds something else than 0 and 1"):
        model(np.zeros((1, 4, model.config.patch_features), np.float32), mask, [[2, 2]])


def test_a_bad_image_of_several_is_named_by_its_number(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    good, bad = np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 7), np.uint8)
    with pytest.raises(ImageError, match=r"^image 10: an image array has shape \(30, 30, 7\)"):
        embedder.embed_images([good] * 10 + [bad])
    images = [good, "missing.jpg", photos[0], bad]
    result = embedder.embed_images(images, on_error="skip")
    assert result.indices == [0, 2]
    assert {number: str(error)[:20] for number, error in result.errors.items()} == {
        1: "missing.jpg: no such",
        3: "an image array has s",
    }
    np.testing.assert_array_equal(result.rows, embedder.embed_images([good, photos[0]]))
    classified = embedder.classify(images, "a cat, a dog", on_error="skip")
    assert classified.rows.shape == (2, 2)
    assert classified.indices == [0, 2]
