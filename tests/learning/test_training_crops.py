"""Training crops for localisation."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_similar import make_training_crops
from sklearn_similar._learning.training_crops import labelled_crops
from sklearn_similar._search.crop_specification import choose_images
from sklearn_similar.datasets import load_mnist_sample

IMAGES, _, LABELS, _ = load_mnist_sample(return_X_y=True)
IMAGES, LABELS = IMAGES[::50], LABELS[::50]


def crops(images=IMAGES, labels=LABELS, **params):
    params = {"n_instances": 300, "n_background": 250, "random_state": 0, **params}
    return make_training_crops(images, labels, background=-1, **params)


@pytest.fixture(scope="module")
def made():
    return crops()


@pytest.fixture
def few_crops(small_recipes):
    """Make crops from few and small scenes."""

    def make(images=IMAGES, labels=LABELS, **params):
        numbers = {"n_instances": 60, "n_background": 50, "random_state": 0} | params
        return labelled_crops(
            images,
            labels,
            numbers.pop("background", -1),
            numbers.pop("background_images", []),
            np.random.RandomState(numbers.pop("random_state")),
            rotation=10.0,
            n_thresholds=31,
            verbose=0,
            choose_recipe=small_recipes,
            **numbers,
        )

    return make


def test_all_images_are_there_among_the_crops(made):
    X, y = made
    given = {
        (image.tobytes(), label) for image, label in zip(IMAGES, LABELS, strict=True)
    }
    found = {(image.tobytes(), label) for image, label in zip(X, y, strict=True)}
    assert given <= found


def test_as_many_crops_of_each_kind_as_asked_for(made):
    X, y = made
    assert X.dtype == np.uint8
    assert X.shape[1:] == (28, 28)
    assert (y == -1).sum() == 250
    n_instances = (y != -1).sum() - len(IMAGES)
    assert n_instances > 150
    assert n_instances <= 300
    assert_array_equal(np.unique(y), range(-1, 10))


def test_crops_of_instances_look_like_images_of_their_label(made):
    X, y = made
    means = [IMAGES[label == LABELS].mean(axis=0).ravel() for label in range(10)]
    shown = np.flatnonzero(y + 1)
    likeness = np.corrcoef(np.vstack([X[shown].reshape(len(shown), -1), means]))
    nearest = likeness[: len(shown), len(shown) :].argmax(axis=1)
    assert (nearest == y[shown]).mean() > 0.5


def test_the_first_blank_image_is_named():
    images = IMAGES.copy()
    images[[5, 9]] = 0
    with pytest.raises(ValueError, match=r"images\[5\] is blank; leave out"):
        make_training_crops(
            images, LABELS, background=-1, n_instances=1, n_background=5
        )


def test_no_crops_of_objects_may_be_asked_for(few_crops):
    _, y = few_crops(n_instances=0)
    assert (y == -1).sum() == 50
    assert len(y) == 50 + len(IMAGES)


def test_the_same_random_state_gives_the_same_crops(few_crops):
    once = few_crops()
    for first, second in zip(once, few_crops(), strict=True):
        assert_array_equal(first, second)
    assert not np.array_equal(once[0], few_crops(random_state=1)[0])


def test_photographs_are_used(few_crops):
    stripes = np.tile(np.repeat(np.uint8([0, 255]), 20), (200, 10))
    with_stripes, _ = few_crops(background_images=[stripes])
    assert with_stripes.shape[1:] == (28, 28)
    assert not np.array_equal(with_stripes, few_crops()[0])


def test_colour_images_give_colour_crops(few_crops):
    colour = np.repeat(IMAGES[..., np.newaxis], 3, axis=3)
    X, _ = few_crops(colour, background_images=[IMAGES[0]])
    assert X.shape[1:] == (28, 28, 3)


def test_every_class_has_a_share_in_the_specification_of_crops():
    # Small discs first, and a few large ones after more images than are looked at.
    indices = choose_images(np.repeat([0, 1], 1100))
    assert len(indices) == 1000
    assert (indices >= 1100).sum() == 500


def test_labels_may_be_strings(few_crops):
    _, y = few_crops(labels=LABELS.astype(str), background="none")
    assert "none" in y


def test_a_background_that_is_a_label_is_refused():
    with pytest.raises(ValueError, match="background is 3, which is one of the labels"):
        make_training_crops(IMAGES, LABELS, background=3)


@pytest.mark.parametrize(
    ("labels", "background"),
    [
        (LABELS, "x"),
        (LABELS, None),
        (LABELS.astype(str), -1),
        (LABELS.astype("M8[D]"), "none"),
    ],
)
def test_a_background_that_would_change_the_type_of_the_labels_is_refused(
    labels, background
):
    message = f"background is {background!r}, but labels are of type {labels.dtype}; "
    with pytest.raises(ValueError, match=re.escape(message)):
        make_training_crops(IMAGES, labels, background=background)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        crops(labels=LABELS[:-1])
