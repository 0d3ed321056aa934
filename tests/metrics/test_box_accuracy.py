"""MaxBoxAcc equals one labelling for each threshold."""

import numpy as np
import pandas as pd
import pytest
from heat import smooth_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from instances import (
    BOX,
    iou_of_pixels,
    random_boxes,
)
from scipy import ndimage

from sklearn_similar.metrics import (
    box_accuracy_curve,
    max_box_accuracy,
)


def naive_box_accuracy(maps, truth, version, taus):
    """One labelling for each heatmap and threshold: (n_iou, n_taus)."""
    ious = [0.5] if version == 1 else [0.3, 0.5, 0.7]
    accuracy = np.zeros((len(ious), len(taus)))
    images = sorted(set(truth.image))
    for image in images:
        heatmap, true = maps[image], truth.loc[truth.image == image, BOX]
        for t, tau in enumerate(taus):
            label, n = ndimage.label(heatmap > tau * heatmap.max(), np.ones((3, 3)))
            if heatmap.max() <= 0 or n == 0:
                continue
            chosen = range(1, n + 1)
            if version == 1:
                chosen = [1 + np.argmax(np.bincount(label.ravel())[1:])]
            slices = ndimage.find_objects(label)
            detections = [
                (x.start, y.start, x.stop, y.stop)
                for y, x in (slices[c - 1] for c in chosen)
            ]
            best = max(
                iou_of_pixels(a, b)
                for a in detections
                for b in true.to_numpy(dtype=int)
            )
            accuracy[:, t] += best >= np.array(ious)
    return accuracy / len(images)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_equals_a_labelling_for_each_threshold(version, sigma):
    rng = np.random.default_rng(0)
    maps = smooth_maps(1, 4, (12, 15), sigma)
    truth = pd.DataFrame(random_boxes(rng, 6, 12), columns=BOX)
    truth.loc[6] = [1, 1, 13, 12]
    truth["image"] = [0, 1, 2, 3, 0, 2, 2]
    curve = box_accuracy_curve(maps, truth, version=version, n_thresholds=150)
    expected = naive_box_accuracy(maps, truth, version, curve.thresholds)
    np.testing.assert_allclose(curve.accuracies, expected, rtol=1e-12)
    assert expected.max() > 0
    value = max_box_accuracy(maps, truth, version=version, n_thresholds=150)
    assert value == pytest.approx(expected.max(axis=1).mean())


@given(
    st.lists(
        hnp.arrays(
            np.int64,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
            elements=st.integers(-1, 5),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 2]),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_equals_it_on_plateaus_ties_and_maps_without_heat(maps, version, n, random):
    truth = pd.DataFrame(
        [
            [i, x, y, random.randint(x + 1, w), random.randint(y + 1, h)]
            for i, (h, w) in enumerate(m.shape for m in maps)
            for _ in range(random.randint(1, 2))
            for x, y in [(random.randrange(w), random.randrange(h))]
        ],
        columns=["image", *BOX],
    )
    curve = box_accuracy_curve(maps, truth, version=version, n_thresholds=n)
    expected = naive_box_accuracy(maps, truth, version, curve.thresholds)
    np.testing.assert_allclose(curve.accuracies, expected, rtol=1e-12)


def test_one_threshold_serves_all_images():
    # Each map has its box at one level only: the first at high, the second at low.
    high, low = np.zeros((2, 10, 10))
    high[0:9, 0:9], high[2:5, 2:5] = 0.5, 1.0
    low[2:5, 2:5], low[3, 3] = 0.5, 1.0
    boxes = np.tile([2, 2, 5, 5], (2, 1))
    assert max_box_accuracy([high], boxes[:1]) == 1.0
    assert max_box_accuracy([low], boxes[1:]) == 1.0
    assert max_box_accuracy([high, low], boxes) == 0.5


def test_version_2_has_a_threshold_for_each_iou():
    curve = box_accuracy_curve(
        [np.array([[0.1, 0.6, 1.0, 1.0, 0.6, 0.1]])], [[0, 0, 4, 1]]
    )
    np.testing.assert_array_equal(curve.iou_thresholds, [0.3, 0.5, 0.7])
    assert curve.accuracies.max(axis=1).tolist() == [1.0, 1.0, 0.0]


@given(st.integers(0, 10_000), st.floats(0.3, 3))
@settings(max_examples=20)
def test_a_higher_iou_threshold_localises_no_more_images(seed, sigma):
    maps = smooth_maps(seed, 4, sigma=sigma)
    boxes = random_boxes(np.random.default_rng(seed), 4, 16)
    accuracies = box_accuracy_curve(maps, boxes).accuracies
    assert (np.diff(accuracies, axis=0) <= 0).all()


def test_version_1_uses_only_the_largest_component():
    heatmap = np.zeros((8, 8))
    heatmap[0:2, 0:2] = heatmap[4:8, 4:8] = 1.0
    assert max_box_accuracy([heatmap], [[0, 0, 2, 2]], version=1) == 0.0
    assert max_box_accuracy([heatmap], [[4, 4, 8, 8]], version=1) == 1.0
    assert max_box_accuracy([heatmap], [[0, 0, 2, 2]], version=2) == 1.0


def test_diagonal_pixels_are_connected():
    assert max_box_accuracy([np.eye(6)], [[0, 0, 6, 6]]) == 1.0


def test_pixels_at_the_threshold_are_not_above_it():
    heatmap = np.array([[1.0, 1.0, 0.5, 0.5]])
    curve = box_accuracy_curve([heatmap], [[0, 0, 2, 1]], n_thresholds=2)
    assert curve.accuracies[2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("version", [1, 2])
def test_the_scale_of_a_heatmap_does_not_matter(version):
    maps = np.array(smooth_maps(3, 6))
    boxes = random_boxes(np.random.default_rng(1), 6, 16)
    expected = box_accuracy_curve(maps, boxes, version=version).accuracies
    actual = box_accuracy_curve(list(maps * 64), boxes, version=version).accuracies
    np.testing.assert_array_equal(actual, expected)


def test_images_without_a_true_box_are_ignored():
    truth = pd.DataFrame([[1, 0, 0, 6, 6]], columns=["image", *BOX])
    assert max_box_accuracy([np.ones((9, 9)), np.eye(6)], truth) == 1.0


def test_default_thresholds_are_those_of_choe_et_al():
    curve = box_accuracy_curve([np.eye(3)], [[0, 0, 3, 3]])
    np.testing.assert_array_equal(curve.thresholds, np.arange(0, 1, 0.001))
