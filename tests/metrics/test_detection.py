"""Precision, recall and F1 equal naive loops."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    make_detections,
    naive_matches,
    random_instances,
)
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_similar.metrics import (
    average_precision,
    detection_f1_score,
    detection_precision_score,
    detection_recall_score,
    detection_scores,
    mean_average_precision,
)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("match_label", [True, False])
def test_scores_equal_a_naive_loop(seed, match_label):
    truth, detections = random_instances(seed)
    matched = sum(naive_matches(truth, detections, 0.5, match_label).values())
    scores = detection_scores(truth, detections, match_label=match_label)
    assert scores.n_matched == matched
    assert 0 < matched < len(detections)
    assert scores.precision == pytest.approx(matched / len(detections))
    assert scores.recall == pytest.approx(matched / len(truth))
    assert scores.f1 == pytest.approx(2 * matched / (len(detections) + len(truth)))


def test_single_scores_are_its_fields():
    truth, detections = random_instances(0)
    scores = detection_scores(truth, detections, iou_threshold=0.7)
    for function, value in [
        (detection_precision_score, scores.precision),
        (detection_recall_score, scores.recall),
        (detection_f1_score, scores.f1),
    ]:
        assert function(truth, detections, iou_threshold=0.7) == value


def test_an_iou_of_exactly_the_threshold_matches():
    for box, threshold in [([0, 0, 4, 4], 1.0), ([0, 0, 4, 2], 0.5)]:
        assert detection_f1_score([[0, 0, 4, 4]], [box], iou_threshold=threshold) == 1


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_undefined_shares_follow_zero_division(value):
    some = make_detections([0, 1, 0.5, 0, 0, 4, 4])
    none = make_detections()

    def scores(truth, detections):
        return detection_scores(truth, detections, zero_division=value)[:3]

    np.testing.assert_equal(scores(none, none), (value,) * 3)
    np.testing.assert_equal(scores(some, none), (value, 0.0, 0.0))
    np.testing.assert_equal(scores(none, some), (0.0, value, 0.0))
    for metric in (average_precision, mean_average_precision):
        np.testing.assert_equal(metric(none, some, zero_division=value), value)
        assert metric(some, none, zero_division=value) == 0.0


def test_an_undefined_share_warns_by_default():
    with pytest.warns(UndefinedMetricWarning, match="Precision is undefined"):
        assert detection_precision_score([[0, 0, 4, 4]], []) == 0.0
    with pytest.warns(UndefinedMetricWarning, match="without true instances"):
        assert mean_average_precision([], [[0, 0, 4, 4]]) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert detection_recall_score([[0, 0, 4, 4]], []) == 0.0


@pytest.mark.parametrize("iou_threshold", [0, 1.1, "half"])
def test_an_impossible_threshold_is_refused(iou_threshold):
    with pytest.raises(ValueError, match="'iou_threshold' parameter"):
        detection_scores([], [], iou_threshold=iou_threshold)


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(max_examples=15)
def test_properties_of_matching(seed, threshold):
    truth, detections = random_instances(seed)
    scores = detection_scores(truth, detections, iou_threshold=threshold)
    assert scores.n_matched <= min(scores.n_true, scores.n_predicted)
    assert scores.f1 <= max(scores.precision, scores.recall)
    perfect = truth.assign(score=1.0)
    assert detection_f1_score(truth, perfect, iou_threshold=threshold) == 1.0
    # Only the order of detections of equal score matters.
    detections["score"] = np.random.default_rng(seed).permutation(len(detections))
    shuffled = detections.sample(frac=1, random_state=seed)
    assert detection_scores(truth, detections) == detection_scores(truth, shuffled)
