"""Hard negatives, against a recogniser whose mistakes are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_similar._images.rasters import Raster
from sklearn_similar._learning.mining import mine_hard_negatives
from sklearn_similar._learning.recipe import MiningRecipe
from sklearn_similar._search.crop_recognizer import CropRecognizer
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crops import crop_boxes
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.settings import ProposalSettings

SETTINGS = ProposalSettings(source="image", n_thresholds=15)


class Tall:
    """Recognises tall regions as objects, the taller the more probably."""

    def predict_proba(self, X):
        rows = (X > 0.5).any(axis=2).sum(axis=1)
        columns = (X > 0.5).any(axis=1).sum(axis=1)
        score = np.clip(1 - columns / np.maximum(rows, 1), 0, 1)
        return np.stack([1 - score, score], axis=1)


@pytest.fixture
def recognizer():
    specification = CropSpecification(size=(28, 28), object_extent=0.7)
    return CropRecognizer(
        specification=specification,
        estimator=Tall(),
        image_format=ImageFormat(
            specification=specification,
            n_channels=1,
            dtype=np.dtype(np.float32),
            layout="grey",
        ),
        columns=np.array([1]),
    )


def bars(level, background):
    image = np.full((100, 160), background, np.uint8)
    image[20:60, 20:26] = level  # Tall.
    image[20:60, 60:84] = level
    image[80:90, 20:80] = level  # Wide.
    return image


def raster(image):
    return Raster.from_tensor(torch.from_numpy(image.astype(np.float32) / 255)[None])


def mine(recognizer, images, max_crops=100):
    return mine_hard_negatives(
        recognizer,
        images,
        recognizer.image_format,
        SETTINGS,
        MiningRecipe(),
        max_crops,
    )


def widths(crops):
    return (crops > 0.5).any(axis=1).sum(axis=1)


def test_background_that_scores_as_an_object_is_mined_most_probable_first(recognizer):
    found = mine(recognizer, [bars(200, 30)])
    assert found.dtype == np.float32
    assert found.shape[1:] == (28, 28)
    scores = recognizer.estimator.predict_proba(found)[:, 1]
    assert (scores > 0.09).all()
    assert (np.diff(scores) < 1e-6).all()
    assert widths(found).min() < 6
    assert widths(found).max() < 20


def test_dark_regions_are_mined_from_negatives_alone(recognizer):
    dark = mine(recognizer, [bars(30, 200)])
    assert len(dark) < len(mine(recognizer, [255 - bars(30, 200)]))


def test_no_more_than_asked_for_are_mined_and_the_most_probable(recognizer):
    images = [bars(200, 30), bars(30, 200)]
    everything, few = mine(recognizer, images), mine(recognizer, images, 2)
    assert len(everything) > 2
    assert (few == everything[:2]).all()


def test_nothing_is_mined_where_nothing_is_taken_for_an_instance(recognizer):
    found = mine(recognizer, [np.full((50, 60), 99, np.uint8)])
    assert found.shape == (0, 28, 28)


def test_boxes_are_moved_as_in_a_search(recognizer):
    moved = np.array([15.0, 12, 31, 66])
    own = replace(recognizer, box_regression=lambda _, boxes: 0 * boxes + moved)
    found, without = (mine(r, [bars(200, 30)]) for r in (own, recognizer))
    (expected,) = crop_boxes(
        raster(bars(200, 30)), moved[np.newaxis], recognizer.specification
    )
    assert (found == expected.numpy()).all(axis=(1, 2)).any()
    assert not (without == expected.numpy()).all(axis=(1, 2)).any()
