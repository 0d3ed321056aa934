"""Which boxes of region proposals are looked at."""

import numpy as np
import pytest
import torch

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.proposals import as_proposals
from sklearn_similar._search.recognizer import Recognizer, recognize

PIXELS = torch.from_numpy(np.random.RandomState(0).rand(1, 60, 60).astype(np.float32))
# Twice as wide as high: halves and thirds of it are looked at.
BOX = (10, 20, 30, 30)
PARTS = {
    *((10, 20, 20, 30), (20, 20, 30, 30)),
    *((10, 20, 17, 30), (16, 20, 24, 30), (23, 20, 30, 30)),
}


class Unsure:
    """Takes all for an instance with one probability."""

    def __init__(self, probability):
        self.probability = probability

    def predict_proba(self, X):
        return np.tile([self.probability, 1 - self.probability], (len(X), 1))


def looked_at(move, probability, boxes=(BOX,), view=PIXELS):
    recognizer = Recognizer(
        estimator=Unsure(probability),
        image_format=ImageFormat(
            specification=CropSpecification(size=(28, 28)),
            dtype=np.dtype(np.uint8),
            layout="grey",
        ),
        columns=np.arange(1),
        box_regression=move,
    )
    found = as_proposals(np.array(boxes, np.float32).reshape(-1, 4))
    (seen,) = recognize([view], [found], recognizer)
    return sorted(map(tuple, seen.proposals["box"].astype(int).tolist()))


def shifted(box, by=3):
    return tuple(coordinate + by for coordinate in box)


def shift(crops, boxes):
    return boxes + 3


@pytest.mark.parametrize("view", [PIXELS, Raster.from_tensor(PIXELS)])
def test_what_may_be_an_instance_is_looked_at_closer(view):
    moved = {shifted(box) for box in (BOX, *PARTS)}
    assert looked_at(shift, 0.02, view=view) == sorted({BOX} | moved)


def test_what_is_surely_background_is_looked_at_once():
    assert looked_at(shift, 0.005) == [shifted(BOX)]


def test_what_is_moved_to_one_box_is_looked_at_once():
    def move(crops, boxes):
        return np.tile([5.0, 5, 25, 35], (len(boxes), 1))

    others = BOX, (30, 5, 40, 50)
    assert looked_at(move, 0.005, others) == [(5, 5, 25, 35)]
    assert looked_at(move, 0.02, others) == sorted([(5, 5, 25, 35), *others])


def test_a_box_that_would_be_moved_to_nothing_stays():
    assert looked_at(lambda crops, boxes: 0 * boxes, 0.005) == [BOX]


def test_without_box_regression_proposals_are_looked_at_as_they_are():
    assert looked_at(None, 0.9) == [BOX]


def test_where_nothing_is_proposed_nothing_is_looked_at():
    assert looked_at(shift, 0.9, boxes=()) == looked_at(None, 0.9, boxes=()) == []
