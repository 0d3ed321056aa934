"""The detection pipeline: which boxes are recognised."""

import numpy as np
import pytest
import torch
from sklearn import config_context

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.crop_recognizer import CropRecognizer
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.settings import (
    ProposalSettings,
    SearchSettings,
    SizeRange,
)

PIXELS = torch.from_numpy(np.random.RandomState(0).rand(1, 60, 60).astype(np.float32))
ANY_SIZE = SizeRange()
# Twice as wide as high: it is split into halves and thirds.
BOX = (10, 20, 30, 30)
PARTS = {
    *((10, 20, 20, 30), (20, 20, 30, 30)),
    *((10, 20, 17, 30), (16, 20, 24, 30), (23, 20, 30, 30)),
}


class Unsure:
    """Recognises every crop as an object with one probability."""

    def __init__(self, probability):
        self.probability = probability

    def predict_proba(self, X):
        return np.tile([self.probability, 1 - self.probability], (len(X), 1))


def recognised_boxes(move, probability, boxes=(BOX,), sizes=ANY_SIZE):
    """Boxes that are recognised where some are proposed, sorted."""
    boxes = detect(move, probability, boxes, sizes).recognised.proposals.boxes
    return sorted(map(tuple, boxes.astype(int).tolist()))


def detect(move, probability, boxes, sizes):
    specification = CropSpecification(size=(28, 28))
    recognizer = CropRecognizer(
        specification=specification,
        estimator=Unsure(probability),
        image_format=ImageFormat(
            specification=specification,
            n_channels=1,
            dtype=np.dtype(np.uint8),
            layout="grey",
        ),
        columns=np.arange(1),
        box_regression=move,
    )
    settings = SearchSettings(
        proposals=ProposalSettings(source=lambda image: boxes, n_thresholds=15),
        polarity="bright",
        score_threshold=0.5,
        nms_threshold=0.3,
        sizes=sizes,
    )
    return recognizer.detect([Raster.from_tensor(PIXELS)], settings)


def shifted(box, by=3):
    return tuple(coordinate + by for coordinate in box)


def shift(crops, boxes):
    return boxes + 3


@pytest.mark.parametrize("working_memory", [1024, 20**2 / 1024])
def test_a_proposal_that_may_be_an_object_is_split_and_recognised_unmoved(
    working_memory,
):
    moved = {shifted(box) for box in (BOX, *PARTS)}
    with config_context(working_memory=working_memory):
        assert recognised_boxes(shift, 0.02) == sorted({BOX} | moved)


def test_sure_background_is_recognised_once():
    assert recognised_boxes(shift, 0.005) == [shifted(BOX)]


def test_proposals_that_are_moved_to_one_box_are_recognised_once():
    def move(crops, boxes):
        return np.tile([5.0, 5, 25, 35], (len(boxes), 1))

    others = BOX, (30, 5, 40, 50)
    assert recognised_boxes(move, 0.005, others) == [(5, 5, 25, 35)]
    assert recognised_boxes(move, 0.02, others) == sorted([(5, 5, 25, 35), *others])


def test_a_box_that_would_be_moved_to_nothing_stays():
    assert recognised_boxes(lambda crops, boxes: 0 * boxes, 0.005) == [BOX]


def test_without_box_regression_proposals_are_recognised_where_they_are():
    assert recognised_boxes(None, 0.9) == [BOX]


def test_without_proposals_nothing_is_recognised():
    for move in (shift, None):
        assert recognised_boxes(move, 0.9, boxes=()) == []


@pytest.mark.parametrize("probability", [0.005, 0.9])
def test_boxes_of_other_sizes_are_not_recognised(probability):
    small, right, large = (0, 0, 4, 5), (10, 10, 30, 20), (0, 0, 60, 50)
    boxes = small, right, large
    sizes = SizeRange(15, 30)
    assert recognised_boxes(None, probability, boxes, sizes) == [right]
    recognised = recognised_boxes(shift, probability, boxes, sizes)
    sides = {max(box[2] - box[0], box[3] - box[1]) for box in recognised}
    assert min(sides) >= 15
    assert max(sides) <= 30
    assert shifted(right) in recognised


def test_a_proposal_that_is_moved_to_a_size_asked_for_is_recognised():
    def grow(crops, boxes):
        return boxes + np.array([0, 0, 6, 6])

    sizes = SizeRange(24, 40)
    # Of half the size at least: box regression is not asked about smaller proposals.
    boxes = (5, 5, 25, 25), (30, 30, 41, 41)
    assert recognised_boxes(grow, 0.005, boxes, sizes) == [(5, 5, 31, 31)]
    assert recognised_boxes(grow, 0.005, boxes, SizeRange(27, 40)) == []


def test_the_parts_of_a_proposal_that_is_too_large_are_recognised():
    def stay(crops, boxes):
        return boxes

    # Two objects that touch.
    row = (0, 20, 40, 40)
    recognised = recognised_boxes(stay, 0.005, [row], SizeRange(18, 22))
    assert {(0, 20, 20, 40), (20, 20, 40, 40)} <= set(recognised)
    assert row not in recognised


def test_a_mean_box_that_is_too_small_is_no_detection():
    def stay(crops, boxes):
        return boxes

    # Near-duplicates of 32 pixels, whose mean has sides of 30 pixels.
    boxes = (10, 10, 42, 38), (10, 10, 38, 42)
    for minimum, n_detections in ((29, 1), (32, 0)):
        result = detect(stay, 0.9, boxes, SizeRange(minimum, 60))
        assert len(result.recognised) > 0
        assert len(result.detections[0]) == n_detections
