"""Heatmaps of views: when they are computed, at which scales, and their maxima."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.heat import Heatmaps, maximum_in_boxes
from sklearn_similar._search.proposals import Proposals

GENERATOR = torch.Generator().manual_seed(0)
VIEWS = torch.rand(3, 1, 30, 40, generator=GENERATOR)


class Identity:
    """Heatmaps that are the views, and a record of the sizes that were asked for."""

    def __init__(self):
        self.sizes = []

    def __call__(self, views, in_windows=False):
        self.sizes += [view.size for view in views]
        return views


def heatmaps_of(make, scales=(1.0,)):
    views = [Raster.from_tensor(view) for view in VIEWS]
    return Heatmaps(views, make, scales, 0.15)


def test_a_heatmap_is_computed_once_and_only_if_it_is_asked_for():
    make = Identity()
    heatmaps = heatmaps_of(make)
    assert len(make.sizes) == 0
    proposals = Proposals.from_boxes([[3, 4, 9, 10], [0, 0, 5, 5]], view=[2, 0])
    heat = heatmaps.maximum_in(proposals)
    expected = [VIEWS[2][0, 4:10, 3:9].max(), VIEWS[0][0, :5, :5].max()]
    assert_allclose(heat, expected)
    assert len(make.sizes) == 2
    numbers = [1, 2]
    for heatmap, number in zip(heatmaps.of(numbers), numbers, strict=True):
        assert torch.equal(heatmap.whole(), VIEWS[number])
    assert len(make.sizes) == 3


def test_of_several_scales_the_maximum_is_taken():
    def make(views, in_windows=False):
        # Views of half the size are hotter on their left.
        heats = [torch.full((1, *view.size), 0.5) for view in views]
        for heat in heats:
            if heat.shape[2] == 20:
                heat[:, :, :10], heat[:, :, 10:] = 0.9, 0.1
        return [Raster.from_tensor(heat) for heat in heats]

    (heatmap,) = heatmaps_of(make, (1.0, 0.5)).of([0])
    assert heatmap.size == (30, 40)
    assert_allclose(heatmap.whole()[0, :, :15], 0.9, atol=1e-6)
    assert_allclose(heatmap.whole()[0, :, 25:], 0.5, atol=1e-6)


def test_a_view_has_at_least_a_pixel_at_any_scale():
    make = Identity()
    heatmaps_of(make, (0.01,)).of([0])
    assert make.sizes == [(1, 1)]


def test_few_boxes_of_large_views_need_windows_only():
    rng = np.random.RandomState(0)
    values = torch.from_numpy(rng.rand(1, 400, 500).astype(np.float32))
    windows = []

    def read(rows, columns):
        windows.append((rows, columns))
        return values[:, rows, columns]

    heatmaps = Heatmaps(
        [Raster((400, 500), read)], lambda views, in_windows=False: views, (1.0,), 0.15
    )
    boxes = np.array(
        [[3, 4, 9.5, 10], [5.5, 2, 90, 30], [495, 395, 500, 400], [70, 60, 80, 70]]
    )
    heat = heatmaps.maximum_in(Proposals.from_boxes(boxes))
    expected = [
        values[0, int(y0) : -int(-y1 // 1), int(x0) : -int(-x1 // 1)].max()
        for x0, y0, x1, y1 in boxes
    ]
    assert_allclose(heat, expected)
    n_read = sum(
        (part.stop - part.start) * (other.stop - other.start) for part, other in windows
    )
    assert n_read < 0.2 * 400 * 500
    # Where most of a view is in boxes, all of it is computed.
    windows.clear()
    heatmaps.maximum_in(Proposals.from_boxes([[0, 0, 400, 380]]))
    assert windows == [(slice(0, 400), slice(0, 500))]


@pytest.mark.parametrize("working_memory", [1024, 8**2 / 1024])
def test_pixels_that_a_box_cuts_count(working_memory):
    heat = np.zeros((30, 40), np.float32)
    heat[10, 20] = 1
    boxes = np.array(
        [
            [20.9, 10.9, 25, 15],
            [15, 5, 20.1, 10.1],
            [21, 10, 25, 15],
            [15, 5, 20, 11],
            [0, 0, 40, 30],
        ]
    )
    with config_context(working_memory=working_memory):
        maxima = maximum_in_boxes(
            Raster.from_tensor(torch.from_numpy(heat)[None]), boxes
        )
    assert_array_equal(maxima, [1, 1, 0, 0, 1])
