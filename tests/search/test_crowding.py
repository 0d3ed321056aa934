"""The warning of detections that are suspiciously many and small."""

import warnings

import numpy as np
import pytest
import torch
from search_cases import detections

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crowding import CrowdingCheck


def search(n_detections, side, megapixels=0.5, n_images=2, training_side=28):
    """Pass images and detections through a check, as a search does."""
    specification = CropSpecification(size=(20, training_side), fills_frame=True)
    check = CrowdingCheck(specification)
    width = int(megapixels * 1e6 / n_images / 500)
    groups = [[Raster.from_tensor(torch.zeros(1, 500, width))]] * n_images
    boxes = np.tile([0, 0, side, side / 2], (n_detections // n_images, 1))
    of_image = detections(boxes, np.ones(len(boxes)))
    searched = (of_image for _ in check.images(groups))
    return list(check.detections(searched))


def test_many_small_detections_warn_with_the_figures_and_the_remedies():
    message = (
        r"^60 detections in 0\.5 megapixels, half of them at most 30 pixels long.*"
        r"background_images=.*min_size=.*boxes"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        passed = search(60, 30)
    assert len(caught) == 1
    assert sum(map(len, passed)) == 60


@pytest.mark.parametrize(
    "params",
    [
        # Too few, or not dense.
        {"n_detections": 40, "side": 10, "megapixels": 0.1},
        {"n_detections": 60, "side": 10, "megapixels": 2},
        # As large as objects that were reduced for training.
        {"n_detections": 100, "side": 50},
        {"n_detections": 100, "side": 35, "training_side": 22},
        {"n_detections": 0, "side": 10},
    ],
)
def test_few_or_large_detections_do_not_warn(params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(**params)
