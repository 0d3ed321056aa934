"""Photographs of any sizes and types, in memory and in files."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_similar._images.photographs import read_photographs
from sklearn_similar._images.scaling import Scaling

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (25, 16), dtype=np.uint8)


def whole(photographs):
    return [raster.whole().numpy().transpose(1, 2, 0) for raster in photographs]


@pytest.mark.parametrize(
    ("image", "unit"),
    [
        (COLOUR, COLOUR / 255),
        (COLOUR.astype(np.uint16) * 257, COLOUR / 255),
        (COLOUR.astype(np.int64), COLOUR / 255),
        (COLOUR / 255, COLOUR / 255),
        ((COLOUR / 255).astype(np.float32), COLOUR / 255),
        (COLOUR > 99, COLOUR > 99),
        (torch.from_numpy(COLOUR), COLOUR / 255),
        (COLOUR[..., :1], np.repeat(COLOUR[..., :1] / 255, 3, axis=2)),
        (COLOUR[..., 0], np.repeat(COLOUR[..., :1] / 255, 3, axis=2)),
    ],
)
def test_values_of_any_type_become_those_from_0_to_1(image, unit):
    (pixels,) = whole(read_photographs([image], 3))
    assert pixels.dtype == np.float32
    assert_allclose(pixels, unit, atol=1e-5)


def test_sizes_may_differ_and_background_images_follow():
    photographs = read_photographs([COLOUR, GREY], None, [GREY.T, COLOUR])
    assert photographs.sizes == [(20, 30), (25, 16), (16, 25), (20, 30)]
    assert photographs.n_channels == 3
    assert len(photographs) == 4
    images = whole(photographs)
    assert [image.shape[:2] for image in images] == photographs.sizes
    assert [raster.size for raster in photographs] == photographs.sizes
    assert_allclose(images[2][..., 1], GREY.T / 255, atol=1e-6)


def test_channels_are_grey_only_where_all_photographs_are():
    assert read_photographs([GREY, GREY[:9]], None).n_channels == 1
    assert read_photographs([GREY, COLOUR], None).n_channels == 3
    assert read_photographs(np.stack([GREY, GREY]), None).n_channels == 1
    assert read_photographs(np.stack([COLOUR, COLOUR]), None).n_channels == 3


def test_colour_is_made_grey_for_a_backbone_of_grey_images():
    (pixels,) = whole(read_photographs([COLOUR], 1))
    luma = COLOUR @ [0.299, 0.587, 0.114] / 255
    assert_allclose(pixels[..., 0], luma, atol=1e-5)


def test_files_are_read_when_they_are_indexed(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    pillow.fromarray(COLOUR).save(paths[0])
    pillow.fromarray(GREY).save(paths[1])
    for X in (tmp_path, str(tmp_path), paths, [str(path) for path in paths]):
        photographs = read_photographs(X, None)
        assert photographs.sizes == [(20, 30), (25, 16)]
        assert photographs.n_channels == 3
        colour, grey = whole(photographs)
        assert_allclose(colour, COLOUR / 255, atol=1e-6)
        assert_allclose(grey[..., 2], GREY / 255, atol=1e-6)
    photographs = read_photographs(paths, None)
    pillow.fromarray(255 - COLOUR).save(paths[0])
    assert_allclose(photographs[0].whole()[0], 1 - COLOUR[..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.full((9, 9, 4), 0.5),
            "Image 1 of X has 4 channels; pass grey or",
        ),
        (
            COLOUR.astype(float),
            "Image 1 of X of dtype float64 must lie between 0 and 1",
        ),
        (COLOUR / 255 - 0.5, "must lie between 0 and 1, but holds -0.5"),
        (np.full((9, 9), np.nan), "must lie between 0 and 1, but holds nan"),
        (COLOUR.astype(np.int16) - 9, "must lie between 0 and 255, but holds -9"),
        (COLOUR * 1j, "Complex data not supported: Image 1 of X"),
        (COLOUR.astype(str), "Image 1 of X has dtype <U"),
        (np.zeros((0, 5)), r"Image 1 of X has shape \(0, 5\)"),
    ],
)
def test_other_images_are_refused_by_number(image, message):
    with pytest.raises(ValueError, match=message):
        read_photographs([GREY, image], None)[1]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((5, 12)), "X is a ndarray, but y is a table of boxes"),
        ([], "X is a list, but y is a table of boxes"),
        (iter([GREY]), "but y is a table of boxes; pass photographs: a list"),
        (None, "X is a NoneType, but y is a table of boxes"),
        ("nowhere", "'nowhere' does not exist"),
        (["nowhere.png"], r"X\[0\] is 'nowhere.png', which does not exist"),
    ],
)
def test_what_are_not_photographs_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        read_photographs(X, None)


def test_photographs_of_12_bits_are_scaled_alike_in_memory_and_in_files(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="images in files")
    deep = (GREY.astype(np.uint16) * 16, GREY.T.astype(np.uint16) * 10)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, (*deep, GREY), strict=True):
        pillow.fromarray(image).save(path)
    given = [*deep, GREY]
    expected = [image.astype(np.float32) / 4095 for image in deep] + [GREY / 255]
    opened = [pillow.open(path) for path in paths]
    for X in (given, paths, opened):
        photographs = read_photographs(X, None)
        assert photographs.scaling.ranges["uint16"] == (0, 4095)
        for pixels, values in zip(whole(photographs), expected, strict=True):
            assert_allclose(pixels[..., 0], values, rtol=1e-6)
    for image in opened:
        image.close()


def test_a_range_of_the_user_clips_with_one_warning():
    X = [COLOUR.astype(np.float32) * 20, COLOUR.astype(np.float32), COLOUR]
    scaling = Scaling.given((0, 2000))
    backgrounds = [COLOUR.astype(np.uint16)]
    with pytest.warns(UserWarning, match=r"outside value_range=\(0, 2000\)") as caught:
        photographs = read_photographs(X, 3, backgrounds, scaling=scaling)
    first, second, third, background = whole(photographs)
    assert len(caught) == 1
    assert first.max() == 1
    assert_allclose(second, COLOUR / 2000, rtol=1e-6)
    assert_allclose(third, COLOUR / 255, rtol=1e-6)
    assert abs(background - COLOUR / 2000).max() < 1 / 255


def test_floats_that_are_not_from_0_to_1_name_the_parameter():
    with pytest.raises(ValueError, match="to 3; rescale it, or pass value_range"):
        read_photographs([np.linspace(0.5, 3, 81).reshape(9, 9)], None)[0]
