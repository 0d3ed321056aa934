"""Windows of images, and images that are read by windows alone."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn import config_context
from torch.nn import functional as F

from sklearn_similar._images.images import LazyPixels
from sklearn_similar._images.rasters import Raster, explained_memory_error, with_halo
from sklearn_similar._images.reading import read_images
from sklearn_similar._images.value_range import value_ranges


class Stored:
    """An image on some disk, which notes how many pixels are read at once."""

    def __init__(self, values):
        self._values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.most = self.total = 0

    def __getitem__(self, window):
        part = self._values[window]
        self.most = max(self.most, part.size)
        self.total += part.size
        return part


def test_halved_windows_are_those_of_the_halved_image():
    image = torch.rand(2, 41, 37)
    raster = Raster.from_tensor(image).halve().halve()
    expected = image[None]
    for _ in range(2):
        expected = F.avg_pool2d(expected, 2, ceil_mode=True, count_include_pad=False)
    assert raster.size == (11, 10)
    with config_context(working_memory=64 / 1024):
        window = raster.read(slice(3, 11), slice(0, 10))
    assert_array_equal(window, expected[0, :, 3:11])


def test_halving_reads_no_more_than_a_tile_at_once():
    largest = 0

    def read(rows, columns):
        nonlocal largest
        largest = max(
            largest, (rows.stop - rows.start) * (columns.stop - columns.start)
        )
        return torch.zeros(1, rows.stop - rows.start, columns.stop - columns.start)

    level = Raster((320, 320), read)
    for _ in range(3):
        level = level.halve()
    with config_context(working_memory=400 / 1024):
        level.read(slice(0, 40), slice(0, 40))
    assert largest <= 400


def test_a_halo_ends_at_the_image_and_begins_at_a_multiple():
    outer, inner = with_halo((slice(16, 24), slice(0, 8)), 5, (26, 40), 4)
    assert outer == (slice(8, 26), slice(0, 13))
    assert inner == (slice(8, 16), slice(0, 8))


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_what_has_a_shape_a_type_and_slices_is_an_image(shape):
    values = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    (pixels,) = read_images([Stored(values)]).pixels
    assert isinstance(pixels, LazyPixels)
    window = slice(3, 9), slice(5, 50)
    expected = values[window].reshape(6, 35, -1)
    assert_array_equal(pixels[window], expected)
    assert_array_equal(np.asarray(pixels), values.reshape(30, 40, -1))


def test_the_range_of_values_is_found_part_by_part():
    values = np.random.RandomState(0).uniform(size=(60, 20))
    stored = Stored(values)
    with config_context(working_memory=200 / 2048):
        ((low, high),) = value_ranges(read_images([stored])).values()
    assert (low, high) == (values.min(), values.max())
    assert stored.most <= 200


def test_no_more_is_read_of_integers_than_tells_their_range():
    stored = Stored(np.tile(np.array([0, 255], np.uint8), (60, 10)))
    with config_context(working_memory=200 / 2048):
        value_ranges(read_images([stored]))
    assert stored.total == 200


def test_memory_that_runs_out_says_which_image_and_what_to_do():
    with (
        pytest.raises(MemoryError, match=r"Image 3 of X, 900x1200 pixels.*pass out="),
        explained_memory_error("Image 3 of X", (900, 1200)),
    ):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 10 bytes")
