"""Training crops must be bright on black; a warning of the contrary."""

import re
import warnings

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, make_training_crops
from sklearn_similar._search.polarity import are_dark_on_light
from sklearn_similar.datasets import load_mnist_sample

DIGITS = load_mnist_sample().X_train[::10] / 255
FEW = {"n_instances": 20, "n_background": 20, "random_state": 0}


def tight(images):
    """Images cut to what is visible and resized to the old size."""
    cut = []
    for image in images:
        box = ndimage.find_objects((image > 0.2).astype(int))[0]
        zoom = np.divide(image.shape, image[box].shape)
        cut.append(ndimage.zoom(image[box], zoom, order=1))
    return np.array(cut)


def photographs():
    """Patches that photographs fill."""
    patches = []
    for photograph in load_sample_images().images:
        grey = photograph.mean(axis=2) / 255
        patches += [
            grey[y : y + 64, x : x + 64]
            for y in range(0, 360, 40)
            for x in range(0, 570, 40)
        ]
    return np.array(patches)


@pytest.mark.parametrize(
    "images",
    [
        DIGITS,
        tight(DIGITS),
        0.8 * DIGITS,
        np.clip(DIGITS + np.random.default_rng(0).normal(0, 0.05, DIGITS.shape), 0, 1),
        load_digits().images / 16,
    ],
    ids=["digits", "tight", "grey", "noisy", "8x8"],
)
def test_dark_objects_on_light_are_told_from_bright_ones_on_black(images):
    assert are_dark_on_light(images).mean() < 0.01
    assert are_dark_on_light(1 - images).mean() > 0.9


def test_photographs_that_fill_the_image_are_neither():
    images = photographs()
    assert are_dark_on_light(images).mean() < 0.2
    assert are_dark_on_light(1 - images).mean() < 0.2


def test_images_without_contrast_are_not_dark_on_light():
    for level in (0.0, 0.6, 1.0):
        assert not are_dark_on_light(np.full((3, 9, 9), level)).any()
    assert not are_dark_on_light(0.6 + 0.4 * DIGITS).any()


@pytest.mark.usefixtures("small_scenes")
@pytest.mark.parametrize("invert", [lambda X: 255 - X, lambda X: 1 - X / 255])
def test_training_crops_of_dark_objects_are_warned_of_once(digits, quick, invert):
    X = invert(digits.X)
    trained = quick().fit(X, digits.y)
    for fit in (
        lambda: make_training_crops(X, digits.y, background=-1, **FEW),
        lambda: InstanceLocalizer(
            quick(),
            n_instance_crops=20,
            n_background_crops=20,
            n_mining_rounds=0,
            random_state=0,
        ).fit(X, digits.y),
        lambda: InstanceLocalizer(FrozenEstimator(trained)).fit(X, digits.y),
    ):
        with pytest.warns(UserWarning, match="dark on light") as caught:
            fit()
        (message,) = [
            str(warning.message)
            for warning in caught
            if warning.category is not ConvergenceWarning
        ]
        # A tenth may be held out.
        assert re.match(r"(\d+) of \1 sampled images are dark on light, and", message)
        assert "pass the negative, 255 - X for 8-bit images, 1 - X" in message


@pytest.mark.usefixtures("small_scenes")
def test_most_images_decide(digits):
    mixed = np.concatenate([255 - digits.X[:40], digits.X[40:100]])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*dark on light")
        make_training_crops(mixed, digits.y[:100], background=-1, **FEW)
