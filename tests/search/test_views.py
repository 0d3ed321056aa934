"""Views: images and their negatives."""

import numpy as np
import pytest
import torch

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.views import NEGATIVES, Views

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = [torch.rand(1, *size, generator=GENERATOR) for size in ((4, 6), (9, 5))]


def views_of(polarity, **kwargs):
    rasters = [Raster.from_tensor(image) for image in IMAGES]
    return Views(rasters, NEGATIVES[polarity], **kwargs)


@pytest.mark.parametrize(
    ("polarity", "expected"),
    [
        ("bright", [IMAGES[0], IMAGES[1]]),
        ("dark", [1 - IMAGES[0], 1 - IMAGES[1]]),
        ("both", [IMAGES[0], 1 - IMAGES[0], IMAGES[1], 1 - IMAGES[1]]),
    ],
)
def test_a_polarity_decides_which_views_are_searched(polarity, expected):
    views = views_of(polarity)
    assert len(views) == len(views.rasters) == len(expected)
    for raster, pixels in zip(views.rasters, expected, strict=True):
        assert torch.equal(raster.whole(), pixels)
    assert views.sizes.tolist() == [list(pixels.shape[1:]) for pixels in expected]


def test_each_view_shows_one_image():
    numbers = np.arange(4)
    assert views_of("both").image_of(numbers).tolist() == [0, 0, 1, 1]
    assert views_of("dark").image_of(numbers).tolist() == [0, 1, 2, 3]


def test_objects_of_any_contrast_are_searched_in_both_contrasts():
    assert views_of("bright").contrasts == (False,)
    assert views_of("dark").contrasts == (True,)
    assert views_of("bright", any_contrast=True).contrasts == (False, True)


def test_without_images_there_are_no_views():
    views = Views([], NEGATIVES["both"])
    assert len(views) == len(views.rasters) == 0
    assert views.sizes.shape == (0, 2)
