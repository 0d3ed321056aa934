"""Instances of large images, against those of an image that is searched whole."""

from copy import deepcopy

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from sklearn import config_context
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer
from sklearn_similar.datasets import load_mnist_sample, make_scenes

DIGITS = load_mnist_sample()
EXACT = ["image", "label", "x_min", "y_min", "x_max", "y_max"]


@pytest.fixture
def small_tiles():
    """Images of more than 100 x 100 pixels are large."""
    with config_context(working_memory=100**2 / 1024):
        yield


def scene(seed, in_colour):
    """Digits of many sizes; one is larger than a tile."""
    images, _ = make_scenes(
        DIGITS.X_test,
        DIGITS.y_test,
        n_scenes=1,
        size=(420, 510),
        n_instances=8,
        scale=(0.7, 4),
        random_state=seed,
    )
    image = images[0]
    large = np.kron(DIGITS.X_test[seed], np.ones((9, 9), np.uint8))
    image[90:342, 100:352] = np.maximum(image[90:342, 100:352], large)
    if in_colour:
        image = np.stack([image, np.roll(image, 3, 0), 255 - image // 2], axis=-1)
    return image


def both(localizer, X, request, **params):
    """Tables without and with tiles."""
    known = {name: getattr(localizer, name) for name in params}
    localizer.set_params(**params)
    whole = localizer.localize(X)
    request.getfixturevalue("small_tiles")
    tiled = localizer.localize(X)
    localizer.set_params(**known)
    return whole, tiled


@pytest.mark.parametrize("in_colour", [False, True])
@pytest.mark.parametrize("polarity", ["bright", "both"])
def test_tiles_find_what_is_found_in_the_whole(
    fitted_localizer, request, in_colour, polarity
):
    X = [scene(seed, in_colour) for seed in range(3)]
    whole, tiled = both(fitted_localizer, X, request, polarity=polarity)
    assert (whole["x_max"] - whole["x_min"]).max() > 60
    assert len(whole) > 8
    key = [*EXACT]
    whole, tiled = (
        table.sort_values(key, ignore_index=True) for table in (whole, tiled)
    )
    assert_frame_equal(tiled[EXACT], whole[EXACT])
    # Crops are sampled at positions that are rounded in the whole image.
    assert np.abs(tiled["score"] - whole["score"]).max() < 0.02
    np.testing.assert_allclose(tiled["heat"], whole["heat"], atol=1e-5)


@pytest.mark.parametrize(
    "params", [{"proposals": "heat"}, {"scales": (0.5, 1.0)}, {"proposals": "grey"}]
)
def test_all_ways_of_searching_are_open_to_large_images(
    fitted_localizer, request, params
):
    whole, tiled = both(fitted_localizer, [scene(0, False)], request, **params)
    assert len(whole)
    assert_frame_equal(tiled[EXACT], whole[EXACT])


def test_tiles_find_darker_regions_where_images_fill_their_frame(request):
    # With one class, whatever is proposed is an instance.
    cut_outs = np.random.RandomState(0).randint(100, 200, (9, 28, 28)).astype(np.uint8)
    y = np.zeros(9, int)
    any_region = FrozenEstimator(DummyClassifier().fit(cut_outs, y))
    localizer = InstanceLocalizer(any_region, proposals="grey").fit(cut_outs, y)
    assert localizer.crop_specification_.fills_frame
    X = [255 - scene(0, False)]
    whole, tiled = both(localizer, X, request)
    assert len(whole) > 3
    assert_frame_equal(tiled[EXACT], whole[EXACT])


def test_large_and_small_images_come_in_order(fitted_localizer, small_tiles):
    small, large = scene(1, False)[:90, :90], scene(2, False)
    X = [small, large, small, large]
    found = fitted_localizer.localize(X)
    for index, image in enumerate(X):
        own = found[found["image"] == index].reset_index(drop=True)
        alone = fitted_localizer.localize([image]).assign(image=index)
        assert_frame_equal(own[EXACT], alone[EXACT])


def test_a_stored_image_is_read_tile_by_tile(fitted_localizer, small_tiles):
    image = scene(0, False)
    most = 0

    class Stored:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, window):
            nonlocal most
            part = image[window]
            most = max(most, part.size)
            return part

    found = fitted_localizer.localize([Stored()])
    assert_frame_equal(found, fitted_localizer.localize([image]))
    assert 0 < most <= 300**2


def test_memory_that_runs_out_says_which_image_and_what_to_do(
    fitted_localizer, small_tiles
):
    def out_of_memory(image):
        if image.shape == (420, 510):
            raise MemoryError
        return []

    localizer = deepcopy(fitted_localizer).set_params(proposals=out_of_memory)
    small, large = np.zeros((50, 60), np.uint8), scene(0, False)
    with pytest.raises(
        MemoryError, match=r"Image 1 of X, 420x510 pixels.*cut the image into parts"
    ):
        localizer.localize([small, large])
