"""Crops show the pixels in and around the boxes."""

import numpy as np
import pytest
from annotated_images import make_image, table_of

from sklearn_similar.datasets import cut_instances

IMAGE = np.arange(20 * 40, dtype=np.uint16).reshape(20, 40)


def test_a_square_box_is_cut_out_pixel_by_pixel():
    X, y = cut_instances([IMAGE], table_of((0, "coin", 12, 3, 20, 11)), size=8)
    np.testing.assert_array_equal(X, [IMAGE[3:11, 12:20]])
    assert X.dtype == np.uint16
    assert y.tolist() == ["coin"]


def test_the_longer_side_decides_so_that_the_aspect_ratio_is_kept():
    X, _ = cut_instances([IMAGE], table_of((0, "coin", 12, 6, 20, 10)), size=8)
    np.testing.assert_array_equal(X, [IMAGE[4:12, 12:20]])


@pytest.mark.parametrize("shift", [-0.4, 0.4])
def test_the_square_lies_at_the_nearest_pixel(shift):
    truth = table_of((0, "coin", 12 + shift, 3, 20 + shift, 11))
    X, _ = cut_instances([IMAGE], truth, size=8)
    np.testing.assert_array_equal(X, [IMAGE[3:11, 12:20]])


def test_resampled_integers_are_rounded():
    image = np.array([[0, 3], [0, 3]], dtype=np.uint8)
    X, _ = cut_instances([image], table_of((0, "a", 0, 0, 2, 2)), size=4)
    assert X[0].tolist() == [[0, 1, 2, 3]] * 4


def test_context_enlarges_the_square():
    truth = table_of((0, "coin", 12, 6, 16, 10))
    X, _ = cut_instances([IMAGE], truth, size=8, context=2)
    np.testing.assert_array_equal(X, [IMAGE[4:12, 10:18]])


def test_border_pixels_continue_beyond_the_image():
    truth = table_of((0, "a", 0, 0, 4, 4), (0, "b", 36, 16, 40, 20))
    X, _ = cut_instances([IMAGE], truth, size=8, context=2)
    padded = np.pad(IMAGE, 2, mode="edge")
    np.testing.assert_array_equal(X, [padded[:8, :8], padded[-8:, -8:]])


def test_a_square_larger_than_the_image_is_cut_out():
    truth = table_of((0, "all", 0, 0, 40, 20))
    X, _ = cut_instances([IMAGE], truth, size=80, context=2)
    padded = np.pad(IMAGE, [(30, 30), (20, 20)], mode="edge")
    np.testing.assert_array_equal(X, [padded])


@pytest.mark.parametrize("side", [16, 24])
def test_larger_squares_are_smoothed(side):
    stripes = np.zeros((30, 30), dtype=np.uint8)
    stripes[:, ::2] = 200
    X, _ = cut_instances(
        [stripes], table_of((0, "a", 2, 2, 2 + side, 2 + side)), size=8
    )
    # Without smoothing, crops would hold the stripes or one of their colours.
    assert np.abs(X[0, :, 1:-1].astype(int) - 100).max() <= 25


def test_an_enlarged_crop_of_one_colour_has_that_colour():
    image = np.full((9, 9, 3), [1, 128, 255], dtype=np.uint8)
    X, _ = cut_instances([image], table_of((0, "a", 3, 3, 6, 5)), size=11)
    np.testing.assert_array_equal(X, np.broadcast_to(image[0, 0], (1, 11, 11, 3)))


@pytest.mark.parametrize(
    "dtype",
    [np.bool_, np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64],
)
def test_crops_have_the_type_of_the_images(dtype):
    X, _ = cut_instances([IMAGE.astype(dtype)], table_of((0, "a", 1, 1, 9, 9)), size=5)
    assert X.dtype == dtype
    assert X.shape == (1, 5, 5)


def test_rows_keep_their_order_whatever_their_image():
    images = np.stack([np.full((9, 9), value) for value in (1, 2, 3)])
    truth = table_of((2, "c", 0, 0, 2, 2), (0, "a", 1, 1, 3, 3), (2, "d", 4, 4, 6, 6))
    truth.index = [5, 5, 7]
    X, y = cut_instances(images, truth, size=2)
    assert X[:, 0, 0].tolist() == [3, 1, 3]
    assert y.tolist() == ["c", "a", "d"]


def test_grey_images_get_the_channels_of_colour_images():
    colour = np.repeat(np.arange(81, dtype=np.uint8).reshape(9, 9)[..., None], 3, 2)
    truth = table_of((0, "a", 0, 0, 9, 9), (1, "b", 0, 0, 9, 9))
    X, _ = cut_instances([colour[..., 0], colour], truth, size=9)
    np.testing.assert_array_equal(X, [colour, colour])


def test_paths_are_read(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    path = tmp_path / "a.png"
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    pillow.fromarray(pixels).save(path)
    for one in (path, str(path)):
        X, _ = cut_instances([one], table_of((0, "a", 3, 2, 8, 7)), size=5)
        np.testing.assert_array_equal(X, [pixels[2:7, 3:8]])


def test_files_are_turned_upright(tmp_path):
    path = make_image(tmp_path / "a.png", 20, 40, orientation=6)
    X, _ = cut_instances([path], table_of((0, "a", 20, 0, 40, 20)), size=20)
    assert X.shape == (1, 20, 20)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, "a", 1, 1, 9, 9), "image=1, which is none of the 1 images"),
        ((0, "a", 1, 1, 1, 9), "Row 0 of instances has a box without area"),
        ((0, "a", 1, 1, 41, 9), "outside its image of height 20 and width 40"),
    ],
)
def test_rows_that_cannot_be_cut_are_named(row, message):
    with pytest.raises(ValueError, match=message):
        cut_instances([IMAGE], table_of(row))


def test_parameters_are_checked(tmp_path):
    truth = table_of((0, "a", 1, 1, 9, 9), (1, "b", 1, 1, 9, 9))
    with pytest.raises(ValueError, match="instances has no rows"):
        cut_instances([IMAGE], truth[:0])
    with pytest.raises(ValueError, match="'size' parameter of cut_instances must be"):
        cut_instances([IMAGE], truth, size=0)
    with pytest.raises(
        ValueError, match="'context' parameter of cut_instances must be"
    ):
        cut_instances([IMAGE], truth, context=0)
    with pytest.raises(ValueError, match="images is a str; pass a list"):
        cut_instances("a.png", truth)
    with pytest.raises(
        ValueError, match=r"images\[0\] is 'a\.png', which is not a file"
    ):
        cut_instances(["a.png"], truth)
    with pytest.raises(ValueError, match=r"images\[1\] has shape \(3,\); pass"):
        cut_instances([IMAGE, [1, 2, 3]], truth)
    with pytest.raises(ValueError, match=r"one data type, but images\[0\] has uint16"):
        cut_instances([IMAGE, IMAGE.astype(float)], truth)
    with pytest.raises(ValueError, match="one shape of a pixel"):
        cut_instances([IMAGE, np.ones((20, 40, 4), np.uint16)], truth)


def test_crowds_are_not_cut_out():
    truth = table_of((0, "coin", 12, 3, 20, 11), (0, "coins", 0, 0, 40, 20))
    X, y = cut_instances([IMAGE], truth.assign(iscrowd=[0, 1]), size=8)
    assert len(X) == 1
    assert y.tolist() == ["coin"]
