"""Every kind of input as float32 batches, read from memory or from files."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.utils import gen_batches

from sklearn_similar._images.images import (
    Images,
    LazyPixels,
    batch_slices,
    n_at_once,
    release,
    to_grey,
    to_tensor,
)
from sklearn_similar._images.reading import read_images
from sklearn_similar._images.scaling import white_level


def mixed_images():
    """Images of two sizes, three types and one or three channels."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (5, 4), dtype=np.uint8),
        rng.random((5, 4)),
        rng.integers(0, 256, (5, 4), dtype=np.uint8),
        rng.random((7, 3)).astype(np.float32),
        rng.random((5, 4, 3)),
        rng.integers(0, 65536, (5, 4), dtype=np.uint16),
    ]


@pytest.mark.parametrize(
    ("dtype", "level"),
    [
        ("uint8", 255),
        ("int64", 255),
        (">i4", 255),
        ("uint16", 65535),
        (">u2", 65535),
        ("bool", 1),
        ("float16", 1),
        ("float64", 1),
    ],
)
def test_integers_are_divided_by_white_and_floats_kept(dtype, level):
    assert white_level(np.dtype(dtype)) == level
    values = np.array([0, 1, 1 if level == 1 else 200]).astype(dtype)
    tensor = to_tensor(values.reshape(3, 1, 1, 1), 1)
    assert tensor.dtype == torch.float32
    expected = (values.astype(np.float64) / level).astype(np.float32)
    np.testing.assert_array_equal(tensor.numpy().ravel(), expected)


def test_every_byte_equals_its_float_exactly():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_tensor(values, 1), to_tensor(values / 255, 1))


def test_pixels_end_up_at_their_channel_row_and_column():
    pixels = np.random.default_rng(0).random((2, 4, 5, 3)).astype(np.float32)
    tensor = to_tensor(pixels, 3)
    assert tensor.is_contiguous()
    for n, row, column, channel in np.ndindex(pixels.shape):
        assert tensor[n, channel, row, column] == pixels[n, row, column, channel]


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(4, 40, 1, 1), (4, 1, 40, 1), (1, 7, 1, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_strides_are_the_same_for_every_order_in_memory(format, shape, dtype):
    # PyTorch chooses kernels by strides, and they round differently.
    pixels = np.ones(shape, dtype)
    strides = to_tensor(pixels, shape[3], format).stride()
    every = np.arange(len(pixels))
    for order in itertools.permutations(range(4)):
        back = np.argsort(order)
        other = np.ascontiguousarray(pixels.transpose(order)).transpose(back)[every]
        assert to_tensor(other, shape[3], format).stride() == strides


def test_colour_becomes_grey_by_luma_for_one_channel_only():
    red, green, blue = np.eye(3)
    pixels = np.stack([red, green, blue, np.ones(3)]).reshape(4, 1, 1, 3)
    grey = to_tensor(pixels, 1).numpy().ravel()
    np.testing.assert_allclose(grey, [0.299, 0.587, 0.114, 1], rtol=1e-6)
    assert to_tensor(pixels, 3).shape == (4, 3, 1, 1)


@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_other_channels_are_averaged(n_channels):
    images = torch.rand(2, n_channels, 3, 4)
    torch.testing.assert_close(to_grey(images), images.mean(dim=1))
    torch.testing.assert_close(to_grey(images[0]), images[0].mean(dim=0))


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches_cover_each_image_once_and_equal_the_image_alone(batch_size):
    images = read_images(mixed_images(), trained=(5, 4))
    seen = []
    for indices, batch in images.batches(batch_size, 1):
        assert len(indices) == len(batch) <= batch_size
        for index, tensor in zip(indices, batch, strict=True):
            alone = read_images([mixed_images()[index]], trained=(5, 4))
            ((_, expected),) = alone.batches(1, 1)
            torch.testing.assert_close(tensor, expected[0], rtol=0, atol=0)
        seen.extend(indices)
    assert sorted(seen) == list(range(6))


def test_batches_of_some_images_leave_the_others_out():
    images = read_images(mixed_images(), trained=(5, 4))
    among = np.array([5, 0, 3])
    seen = [index for indices, _ in images.batches(2, 1, among) for index in indices]
    assert sorted(seen) == [0, 3, 5]


@pytest.mark.parametrize("as_user", [np.asarray, list])
def test_batches_keep_the_order_that_they_are_asked_for(as_user):
    pixels, asked = as_user(np.zeros((9, 5, 4, 1), np.uint8)), np.array([7, 2, 8, 0])
    found = [
        list(indices) for indices, _ in Images(pixels, "list").batches(3, 1, asked)
    ]
    assert found == [[7, 2, 8], [0]]


def test_large_images_come_in_smaller_batches():
    images = read_images(np.zeros((4, 600, 600), dtype=np.uint8))
    assert [len(batch) for _, batch in images.batches(4, 1)] == [1, 1, 1, 1]


def test_many_sizes_are_grouped_in_one_pass():
    images = read_images([np.zeros((1, width)) for width in range(1, 300)] * 2)
    groups = list(images.group_by_shape())
    assert len(groups) == 299
    for width, members in enumerate(groups, start=1):
        assert members.tolist() == [width - 1, width - 1 + 299]


def test_heatmaps_go_back_in_the_layout_of_the_images():
    pixels = np.zeros((2, 3, 4, 1))
    heat = np.arange(24.0).reshape(2, 3, 4)
    assert Images(pixels, "images").in_layout(heat) is heat
    rows = Images(pixels, "rows").in_layout(heat)
    np.testing.assert_array_equal(rows, heat.reshape(2, 12))
    as_list = Images(pixels, "list").in_layout(heat)
    assert isinstance(as_list, list)
    np.testing.assert_array_equal(as_list, heat)


def test_room_for_heatmaps_has_the_sizes_of_the_images():
    room = read_images(mixed_images()).empty_heatmaps()
    assert [heat.shape for heat in room] == [
        image.shape[:2] for image in mixed_images()
    ]
    assert all(heat.dtype == np.float32 for heat in room)


class TestMemoryMaps:
    @pytest.fixture
    def values(self):
        return np.random.default_rng(0).integers(0, 256, (50, 6, 5), dtype=np.uint8)

    @pytest.fixture(params=["load", "memmap", "slice", "list", "copy on write"])
    def mapped(self, request, tmp_path, values):
        np.save(tmp_path / "X.npy", values)
        values.tofile(tmp_path / "X.dat")
        if request.param == "memmap":
            path = tmp_path / "X.dat"
            return np.memmap(path, np.uint8, mode="r", shape=values.shape)
        mode = "c" if request.param == "copy on write" else "r"
        X = np.load(tmp_path / "X.npy", mmap_mode=mode)
        if request.param == "slice":
            return np.asarray(X)[:, :, ::1]
        return list(X) if request.param == "list" else X

    def test_are_read_like_arrays_in_any_order(self, mapped, values):
        images = read_images(mapped)
        order = np.random.default_rng(1).permutation(len(values))
        np.testing.assert_array_equal(images.select(order)[..., 0], values[order])
        for indices, batch in images.batches(7, 1):
            np.testing.assert_array_equal(
                batch, to_tensor(values[indices][..., np.newaxis], 1)
            )

    def test_what_was_written_to_a_private_map_stays(self, tmp_path, values):
        np.save(tmp_path / "X.npy", values)
        X = np.load(tmp_path / "X.npy", mmap_mode="c")
        X[0] = 7
        release(X)
        assert (X[0] == 7).all()

    def test_what_was_written_to_a_shared_map_stays(self, tmp_path, values):
        np.save(tmp_path / "X.npy", values)
        X = np.load(tmp_path / "X.npy", mmap_mode="r+")
        X[0] = 7
        release(X[:3])
        assert (X[0] == 7).all()


def test_batches_have_a_bounded_number_of_pixels():
    images = read_images(np.zeros((40, 100, 100), dtype=np.uint8))
    sizes = [math.prod(batch.shape) for _, batch in images.batches(40, 1)]
    assert sum(sizes) == 40 * 100 * 100
    assert max(sizes) <= 2**18


def test_batches_follow_the_working_memory():
    pixels = np.zeros((100, 100, 1), np.uint8)
    assert n_at_once(pixels.shape) == 13
    with config_context(working_memory=512):
        assert n_at_once(pixels.shape) == 6
        assert n_at_once(pixels.shape, "cuda") == 104
    with config_context(working_memory=1):
        assert n_at_once(pixels.shape) == 1
    # Larger batches would not fit into the caches of a CPU.
    with config_context(working_memory=4096):
        assert n_at_once(pixels.shape) == 13
        assert n_at_once(pixels.shape, "cuda") == 838


@pytest.mark.parametrize("as_user", [np.asarray, list])
def test_views_cover_all_pixels_and_stop_at_skipped_types(as_user):
    pixels = np.arange(4 * 30 * 10).reshape(4, 30, 10, 1)
    images = Images(as_user(pixels), "images")
    with config_context(working_memory=50 / 2048):
        parts = list(images.views())
        assert max(part.size for _, part in parts) == 50
        together = np.concatenate([part.ravel() for _, part in parts])
        np.testing.assert_array_equal(together, pixels.ravel())
        assert [index for index, _ in parts] == np.repeat(range(4), 6).tolist()
    skipped, n_read = set(), 0
    for _ in images.views(skipped):
        skipped.add(pixels.dtype)
        n_read += 1
    assert n_read == 1


class TestLazyPixels:
    class Stored:
        """What zarr and h5py have: a shape, a dtype and slices."""

        def __init__(self, values):
            self.values, self.shape, self.dtype = values, values.shape, values.dtype

        def __getitem__(self, window):
            return self.values[window]

    @pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
    def test_windows_have_a_channel_axis(self, shape):
        values = np.random.default_rng(0).random(shape)
        pixels = LazyPixels(self.Stored(values))
        expected = values.reshape(9, 7, -1)
        assert pixels.shape == expected.shape
        np.testing.assert_array_equal(pixels[2:5, 1:], expected[2:5, 1:])
        np.testing.assert_array_equal(np.asarray(pixels), expected)


@pytest.mark.parametrize("n", [1, 6, 7])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 8])
def test_slices_are_those_of_scikit_learn(n, batch_size):
    assert list(batch_slices(n, batch_size)) == list(gen_batches(n, batch_size))


def test_nothing_has_no_slices():
    assert list(batch_slices(0, 5)) == []
