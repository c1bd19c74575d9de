from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from helpers.toy_models import TOY, save_image_processor, transformers_vision_model
from PIL import Image

from numpy_siglip import (
    Siglip2VisionConfig,
    SiglipError,
    SiglipImageProcessor,
)
from numpy_siglip.commands.command_line import main
from numpy_siglip.preprocessing.naflex_processing import cut_into_patches
from numpy_siglip.tools.visualize.figure_layout import PatchGrid
from numpy_siglip.tools.visualize.figures import (
    draw_patch_filters,
    draw_patch_grid,
    draw_pooling_attention,
    draw_position_similarity,
    draw_token_colours,
    principal_components,
)
from numpy_siglip.tools.visualize.visualization import displayed_image, filters_as_images, visualize

NAMES = ["patch_grid", "patch_filters", "position_similarity", "token_colours", "pooling_attention"]
GRID = PatchGrid(4, 4, 11, 44, 44)
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def _drawn_arrays(figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def test_the_command_writes_five_pictures(toy_folder, photos, tmp_path, capsys):
    output = tmp_path / "new" / "pictures"
    assert main(["visualize", str(photos[0]), "--model", str(toy_folder), "--output", str(output)]) == 0
    expected = [output / f"{name}.png" for name in NAMES]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in expected]
    assert sorted(output.iterdir()) == sorted(expected)
    for path in expected:
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 150
        assert len(np.unique(pixels)) > 20, f"{path.name} is almost blank"
        for axis in (0, 1):
            drawn = np.flatnonzero((pixels < 255).any(axis=1 - axis))
            assert drawn[0] < 15, f"{path.name} has an empty strip"
            assert pixels.shape[axis] - 1 - drawn[-1] < 15, f"{path.name} has an empty strip"


def test_a_tower_without_head_has_four_pictures(photos, tmp_path):
    transformers_vision_model(**TOY, vision_use_head=False).save_pretrained(tmp_path / "m")
    save_image_processor(tmp_path / "m", 44)
    pictures = visualize(photos[0], tmp_path / "m", tmp_path / "out")
    assert [path.stem for path in pictures] == NAMES[:-1]


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (1, 500)])
def test_odd_photographs_can_be_drawn(size, toy_folder, tmp_path):
    Image.new("RGBA", size, (200, 30, 30, 120)).save(tmp_path / "odd.png")
    pictures = visualize(tmp_path / "odd.png", toy_folder, tmp_path / "out")
    assert len(pictures) == 5
    for picture in (pictures[0], *pictures[3:]):  # those that show the photograph
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        assert (pixels.min(axis=-1) < 250).mean() > 0.4, f"{picture.name} is almost blank"


def test_without_matplotlib_the_extra_is_named(monkeypatch, photos, toy_folder, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SiglipError, match=r"pip install \"numpy-siglip\[plots\]\""):
        visualize(photos[0], toy_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_image_is_drawn_as_it_was_read(photos):
    processor = SiglipImageProcessor()
    opened = Image.open(photos[0])
    np.testing.assert_array_equal(displayed_image(opened, processor), np.asarray(opened))
    half_clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (displayed_image(half_clear, processor) == 255).all()


def test_the_grid_covers_what_the_patches_cover():
    """384 pixels hold 27 patches of 14; the last 6 pixels of each side belong to none."""
    axes = draw_patch_grid(IMAGE, PatchGrid(27, 27, 14, 384, 384)).axes[0]
    assert len(axes.lines) == 2 * 28
    vertical = sorted({line.get_xdata()[0] for line in axes.lines if np.ptp(line.get_xdata()) == 0})
    np.testing.assert_allclose(vertical, np.arange(28) * 90 * 14 / 384)
    assert len(axes.patches) == 2  # the two dimmed strips
    assert len(draw_patch_grid(IMAGE, GRID).axes[0].patches) == 0


def test_a_grid_of_any_aspect_ratio():
    """Three rows of five patches in the image of 90 x 60 pixels, on a photograph's own pixels."""
    grid = PatchGrid(3, 5, 16, 48, 80)
    axes = draw_patch_grid(IMAGE, grid).axes[0]
    vertical = sorted({line.get_xdata()[0] for line in axes.lines if np.ptp(line.get_xdata()) == 0})
    horizontal = sorted({line.get_ydata()[0] for line in axes.lines if np.ptp(line.get_ydata()) == 0})
    np.testing.assert_allclose(vertical, np.arange(6) * 18)
    np.testing.assert_allclose(horizontal, np.arange(4) * 20)
    assert axes.get_title() == "5 x 3 = 15 patches of 16 pixels in an image of 80 x 48"
    tokens = np.zeros((15, 33))
    tokens[7] = np.arange(33)  # second row, third column
    overlay = _drawn_arrays(draw_token_colours(IMAGE, grid, tokens))[-1]
    assert overlay.shape == (3, 5, 3)
    assert overlay[1, 2, 0] == 1
    attention = np.random.default_rng(0).dirichlet(np.ones(15), size=2)
    np.testing.assert_array_equal(
        _drawn_arrays(draw_pooling_attention(IMAGE, grid, attention))[-2], attention[0].reshape(3, 5)
    )


@pytest.mark.parametrize("size", [(90, 60), (10, 400), (300, 5)])
def test_naflex_has_five_pictures(size, naflex_folder, tmp_path):
    Image.fromarray(IMAGE).resize(size).save(tmp_path / "photo.png")
    pictures = visualize(tmp_path / "photo.png", naflex_folder, tmp_path / "out")
    assert [picture.stem for picture in pictures] == NAMES


def test_naflex_filters_are_turned_to_what_an_image_is():
    """A filter that is a patch becomes the picture of that patch."""
    picture = np.random.default_rng(0).standard_normal((3, 11, 11))
    config = Siglip2VisionConfig(patch_size=11)
    np.testing.assert_array_equal(filters_as_images(cut_into_patches(picture, 11), config)[0], picture)


def test_filters_are_shown_in_their_own_colours():
    filters = np.zeros((2, 3, 4, 4), np.float32)
    filters[0, 0] = 0.1  # all red
    filters[1, 2] = -5.0  # less than no blue, and stronger
    (tiles,) = _drawn_arrays(draw_patch_filters(filters))
    np.testing.assert_allclose(tiles[0, 0], [0.5, 0.5, 0])
    np.testing.assert_allclose(tiles[0, 5], [1, 0.5, 0.5])


def test_similarity_maps_have_their_place_at_one():
    positions = np.random.default_rng(0).standard_normal((25, 8))
    maps = _drawn_arrays(draw_position_similarity(positions))[:25]
    for index, similarity in enumerate(maps):
        assert similarity.ravel()[index] == pytest.approx(1)
        assert np.abs(similarity).max() <= 1 + 1e-9
    cosine = positions[3] @ positions[11] / np.linalg.norm(positions[3]) / np.linalg.norm(positions[11])
    assert maps[3].ravel()[11] == pytest.approx(cosine)


def test_the_title_fits_above_the_maps_of_any_grid():
    figure = draw_position_similarity(np.random.default_rng(0).standard_normal((64 * 64, 3)))
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert title.x0 > 0
    assert title.x1 < figure.bbox.width


def test_components_are_those_of_the_covariance():
    generator = np.random.default_rng(0)
    tokens = generator.standard_normal((500, 6)) * [10, 5, 2, 0.1, 0.1, 0.1] + 7
    components, shares = principal_components(tokens.astype(np.float32))
    values, vectors = np.linalg.eigh(np.cov(tokens.T))
    np.testing.assert_allclose(shares, values[::-1][:3] / values.sum(), rtol=1e-4)
    for index in range(3):
        projected = tokens @ vectors[:, -1 - index]
        middle = (components[:, index] > 0) & (components[:, index] < 1)
        correlation = np.corrcoef(projected[middle], components[middle, index])[0, 1]
        assert abs(correlation) > 0.999
    assert components.min() == 0
    assert components.max() == 1


def test_token_colours_lie_where_their_patches_are():
    tokens = np.zeros((16, 33))
    tokens[5] = np.arange(33)  # second row, second column
    overlay = _drawn_arrays(draw_token_colours(IMAGE, GRID, tokens))[-1]
    assert overlay.shape == (4, 4, 3)
    assert overlay[1, 1, 0] == 1
    assert overlay[..., 0].sum() == 1


@pytest.mark.parametrize("heads", [1, 3, 7, 16])
def test_every_head_and_the_mean_are_drawn(heads):
    attention = np.random.default_rng(0).dirichlet(np.ones(16), size=heads)
    arrays = _drawn_arrays(draw_pooling_attention(IMAGE, GRID, attention))
    np.testing.assert_allclose(arrays[2], attention.mean(axis=0).reshape(4, 4))
    assert len(arrays) == 3 + heads
    for drawn, head in zip(arrays[3:], attention, strict=True):
        np.testing.assert_array_equal(drawn, head.reshape(4, 4))


def test_one_patch_does_not_darken_the_others():
    """Nine tenths of the attention on one patch: what is left is still told apart, and the bar says how."""
    attention = np.random.default_rng(0).dirichlet(np.full(196, 5.0)) * 0.1
    attention[17] += 0.9
    figure = draw_pooling_attention(IMAGE, PatchGrid(14, 14, 16, 224, 224), np.stack([attention] * 2))
    for image in [image for axes in figure.axes for image in axes.images][2:]:
        brightness = np.asarray(image.norm(image.get_array())).clip(0, 1)
        assert brightness.ravel()[17] == 1
        assert 0.5 < np.median(brightness) < 0.9
        assert image.norm.gamma == 0.5
    (bar,) = [axes for axes in figure.axes if axes.get_xlabel()]
    assert "by its square root; the most is 90" in bar.get_xlabel()
    for text in (label.get_text() for label in bar.get_xticklabels()):
        assert text.endswith("%")


def test_a_head_that_looks_at_one_patch_alone_is_drawn():
    figure = draw_pooling_attention(IMAGE, PatchGrid(14, 14, 16, 224, 224), np.eye(196)[[3]])
    head = figure.axes[-1].images[0] if figure.axes[-1].images else figure.axes[-2].images[0]
    assert head.norm.vmax == 1


def test_pictures_replace_the_ones_before(toy_folder, photos, tmp_path):
    first = visualize(photos[0], toy_folder, tmp_path)
    before = first[0].read_bytes()
    second = visualize(photos[1], toy_folder, tmp_path)
    assert first == second
    assert second[0].read_bytes() != before
    assert len(list(tmp_path.iterdir())) == 5


def test_bad_input_draws_nothing(toy_folder, photos, tmp_path, capsys):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    output = tmp_path / "out"
    assert main(["visualize", str(photos[0]), "--model", str(folder), "--output", str(output)]) == 2
    assert "encoder.layers.2" in capsys.readouterr().err
    assert not output.exists()
