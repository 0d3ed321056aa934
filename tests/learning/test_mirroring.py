"""Whether mirror images show the labels that photographs show."""

import numpy as np
import pytest

from sklearn_similar._learning.mirroring import mirroring_helps

N = 60
LABELS = np.tile([0, 1, -1], N // 3)
IMAGES = np.arange(N) // 6
IS_MIRRORED = np.repeat([False, True], N)


def make_features(labels, seed):
    """Noise, with a feature that is high for each label."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(len(labels), 12))
    for column, label in enumerate((-1, 0, 1)):
        X[labels == label, column] += 2
    return X


def helps(mirrored, images=IMAGES, labels=LABELS):
    X = np.concatenate([make_features(labels, 0), mirrored])
    return mirroring_helps(X, np.tile(labels, 2), np.tile(images, 2), IS_MIRRORED)


def test_more_examples_of_the_same_labels_help():
    assert helps(make_features(LABELS, 1))


def test_mirror_images_that_show_another_label_do_not_help():
    # The mirror image of an arrow to the left shows an arrow to the right.
    shown = np.select([LABELS == 0, LABELS == 1], [1, 0], -1)
    assert not helps(make_features(shown, 1))


@pytest.mark.parametrize(
    "case", [{"images": np.zeros(N, int)}, {"labels": np.zeros(N, int)}]
)
def test_without_a_comparison_mirror_images_are_left_out(case):
    assert not helps(make_features(LABELS, 1), **case)
