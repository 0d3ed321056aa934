"""The error of counts."""

import numpy as np
import pytest
from instances import (
    make_detections,
    make_truth,
    random_instances,
)

from sklearn_similar.metrics import (
    count_error,
)


def test_is_the_mean_absolute_difference_of_counts():
    rng = np.random.default_rng(0)
    truth, detections = random_instances(0)
    expected = np.mean(
        [
            abs((truth.image == image).sum() - (detections.image == image).sum())
            for image in set(truth.image) | set(detections.image)
        ]
    )
    assert count_error(truth, detections) == pytest.approx(expected)
    assert count_error(truth, truth.sample(frac=1, random_state=rng.integers(9))) == 0


def test_n_images_counts_images_without_instances():
    truth = make_truth([0, 1, 0, 0, 4, 4], [2, 1, 0, 0, 4, 4])
    assert count_error(truth, make_detections()) == 1.0
    assert count_error(truth, make_detections(), n_images=4) == 0.5
    assert count_error(make_truth(), make_detections()) == 0.0
    with pytest.raises(ValueError, match=r"n_images=1 but .* 2 images"):
        count_error(truth, truth, n_images=1)
