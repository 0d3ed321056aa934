"""The recogniser of pooled features: tiles, moves and recognition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from painted_photographs import seeded_module, tiny_backbone
from sklearn import config_context
from torch import nn

from sklearn_similar._images.rasters import Raster
from sklearn_similar._network.backbone import Backbone
from sklearn_similar._search.linear_regression import (
    LinearBoxRegression,
    PredictedOverlap,
)
from sklearn_similar._search.pooled_recognizer import (
    FeatureSpecification,
    PooledRecognizer,
    resize,
)
from sklearn_similar._search.proposals import Proposals
from sklearn_similar._search.settings import SizeRange
from sklearn_similar._search.windows import sliding_windows

SIZES = np.array([[28.0, 28.0]])


def make_recognizer(scale=1.0, make=tiny_backbone, **parts):
    return PooledRecognizer(
        backbone=Backbone.of(seeded_module(make)),
        specification=FeatureSpecification(
            scale=scale, window_sizes=((28.0, 28.0),), object_sides=(28.0, 28.0, 28.0)
        ),
        **parts,
    )


def raster(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Raster.from_tensor(torch.rand(3, *size, generator=generator))


def features_of(recognizer, view, boxes):
    """Features of boxes, tile by tile, and the number of tiles."""
    n_tiles, features = 0, None
    for maps, rows in recognizer.pooled_tiles(view, boxes):
        n_tiles += 1
        if features is None:
            features = np.full((len(boxes), maps.n_features), np.nan, np.float32)
        assert np.isnan(features[rows]).all()
        features[rows] = maps.features(boxes[rows])
    return features, n_tiles


def odd_backbone():
    """Padding that is cut on one side, and poolings, as many networks have."""
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(3, 6, 3, 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 5, 2, padding=2),
    )


@pytest.mark.parametrize(
    ("scale", "size"), [(1.0, (100, 210)), (0.5, (130, 350)), (0.75, (150, 260))]
)
@pytest.mark.parametrize("make", [tiny_backbone, odd_backbone])
def test_tiles_have_the_features_of_the_whole_image(scale, size, make):
    recognizer, view = make_recognizer(scale, make), raster(size)
    boxes = sliding_windows(size, SIZES)
    whole, n_tiles = features_of(recognizer, view, boxes)
    assert n_tiles == 1
    with config_context(working_memory=2):
        tiled, n_tiles = features_of(recognizer, view, boxes)
    assert n_tiles > 1
    assert_allclose(tiled, whole, atol=1e-4)


def test_each_tile_reads_its_surroundings_alone():
    size, largest = (64, 900), 0
    image = raster(size)

    def read(rows, columns):
        nonlocal largest
        largest = max(
            largest, (rows.stop - rows.start) * (columns.stop - columns.start)
        )
        return image.read(rows, columns)

    view = Raster(size, read)
    with config_context(working_memory=2):
        features_of(make_recognizer(), view, sliding_windows(size, SIZES))
    assert 0 < largest <= 64 * 400


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (63, 64), (40, 40)])
@pytest.mark.parametrize("scale", [1 / 16, 0.5, 2.0])
def test_images_of_any_size_have_features(size, scale):
    boxes = sliding_windows(size, SIZES)
    features, _ = features_of(make_recognizer(scale), raster(size), boxes)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("scale", [1 / 16, 3 / 16, 0.5, 0.75, 1.0, 1.5])
def test_pixels_stay_where_they_are_when_an_image_is_resized(scale):
    # A ramp: the resized image has the value of its position.
    x = (torch.arange(640.0) + 0.5).expand(1, 160, 640)
    resized = resize(x, scale)[0, 0]
    expected = (np.arange(len(resized)) + 0.5) / scale
    # Away from the borders, where fewer pixels are averaged.
    inside = (expected > 3 / scale) & (expected < 640 - 3 / scale)
    assert inside.sum() > 30
    assert_allclose(resized[inside], expected[inside], atol=0.02)


def test_small_images_are_extended_by_their_last_pixels():
    image = torch.rand(3, 10, 70)
    extended = resize(image, 1.0)
    assert extended.shape == (3, 64, 70)
    assert_array_equal(extended[:, :10], image)
    assert_array_equal(extended[:, 40], image[:, 9])
    assert resize(image, 0.5).shape == (3, 64, 64)


def shift(x=0.0, y=0.0, width=0.0, height=0.0, n_features=320):
    """A regression that moves any box by the same offsets."""
    return LinearBoxRegression(
        np.zeros((n_features, 4), np.float32),
        np.array([x, y, width, height], np.float32),
    )


class ByLeftEdge:
    """Takes features for probabilities by their first value."""

    def predict_proba(self, features):
        share = np.clip(features[:, :1] * 0 + 0.7, 0, 1)
        return np.hstack([1 - share, share])


@pytest.fixture
def maps():
    recognizer, view = make_recognizer(), raster((160, 160))
    ((maps, _),) = recognizer.pooled_tiles(view, np.empty((0, 4)))
    return maps


def test_boxes_are_moved_by_each_regression_in_turn(maps):
    boxes = np.array([[40.0, 40, 60, 80]])
    regressions = (shift(x=0.5), shift(height=np.log(0.5)))
    recognizer = make_recognizer(regressions=regressions)
    assert recognizer.moves_boxes
    moved = recognizer.moved(maps, boxes, (160, 160))
    assert_allclose(moved, [[50, 50, 70, 70]], rtol=1e-5)


def test_of_near_duplicates_the_surest_is_kept_whatever_its_area():
    boxes = np.array([[0, 0, 40, 40], [5, 5, 35, 35]], np.float32)
    found = make_recognizer().scored(
        Proposals.from_boxes(boxes), np.array([[0.8], [0.85]]), np.zeros(2)
    )
    distinct = make_recognizer().suppress(found, 0.3)
    assert_allclose(distinct.probability, [0.85])


def test_moved_boxes_are_clipped_and_none_is_empty(maps):
    recognizer = make_recognizer(regressions=(shift(x=1.0),))
    boxes = np.array([[120.0, 40, 150, 80], [150, 40, 160, 80]])
    moved = recognizer.moved(maps, boxes, (160, 160))
    # The second would be outside, and stays.
    assert_allclose(moved, [[150, 40, 160, 80], [150, 40, 160, 80]][: len(moved)])
    assert (moved[:, 2:] > moved[:, :2]).all()


def test_boxes_that_show_no_object_are_dropped(maps):
    weight = np.zeros(320, np.float32)
    boxes = sliding_windows((160, 160), SIZES)
    everything = PredictedOverlap(weight, 0.5, 0.4)
    nothing = replace(everything, threshold=0.6)
    assert len(make_recognizer(overlap=everything).moved(maps, boxes, (160, 160)))
    recognizer = make_recognizer(
        overlap=nothing, estimator=ByLeftEdge(), columns=np.array([1])
    )
    assert len(recognizer.moved(maps, boxes, (160, 160))) == 0
    result = recognizer.recognise_in(maps, Proposals.from_boxes(boxes), (160, 160))
    assert len(result) == 0


def test_near_duplicates_are_recognised_once(maps):
    boxes = np.array([[40.0, 40, 70, 70], [40.5, 40, 70, 70.5], [90, 40, 120, 70]])
    recognizer = make_recognizer(estimator=ByLeftEdge(), columns=np.array([1]))
    moved = recognizer.moved(maps, boxes, (160, 160))
    assert_array_equal(moved, boxes[[0, 2]])


def test_classes_are_columns_of_the_classifier(maps):
    class Fixed:
        def predict_proba(self, features):
            return np.tile([0.5, 0.2, 0.3], (len(features), 1))

    boxes = Proposals.from_boxes(np.array([[40.0, 40, 70, 70]]), 3)
    for columns, label, probability, objectness in (
        ([1, 2], 1, 0.3, 0.5),
        ([2, 0], 1, 0.5, 0.8),
        # The classifier does not know the first class.
        ([-1, 1], 1, 0.2, 0.2),
    ):
        recognizer = make_recognizer(estimator=Fixed(), columns=np.array(columns))
        result = recognizer.recognise_in(maps, boxes, (160, 160))
        assert_array_equal(result.label, [label])
        assert_allclose(result.probability, [probability])
        assert_allclose(result.objectness, [objectness])
        assert_array_equal(result.proposals.view, [3])


def test_proposals_are_recognised_in_their_view():
    recognizer = make_recognizer(estimator=ByLeftEdge(), columns=np.array([1]))
    views = recognizer.views([raster((160, 160)), raster((90, 130))], "both")
    assert len(views) == 2
    proposals = Proposals.concatenate(
        Proposals.from_boxes(sliding_windows(view.size, SIZES), number)
        for number, view in enumerate(views.rasters)
    )
    result = recognizer.recognise(views, proposals, SizeRange())
    n_views = [(proposals.view == number).sum() for number in (0, 1)]
    assert [(result.proposals.view == number).sum() for number in (0, 1)] == n_views
    nothing = recognizer.recognise(views, proposals.select(slice(0)), SizeRange())
    assert len(nothing) == 0
