"""Greedy matching, of tables with labels and images of any type."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import BOX, make_detections, make_truth, naive_matches, random_instances

from sklearn_similar._tables.matching import count_matches, find_pairs, matched_rows
from sklearn_similar.metrics import (
    average_precision,
    detection_f1_score,
    detection_scores,
    mean_average_precision,
)


def matches(truth, detections, iou_threshold):
    pairs = find_pairs(truth, detections, iou_threshold)
    return matched_rows(pairs, iou_threshold).tolist()


def test_a_true_box_matches_only_the_detection_of_the_highest_score():
    truth = make_truth([0, 1, 0, 0, 10, 10])
    detections = make_detections([0, 1, 0.2, 0, 0, 10, 10], [0, 1, 0.9, 0, 0, 10, 9])
    assert detection_scores(truth, detections)[:2] == (0.5, 1.0)
    assert matches(truth, detections, 0.5) == [-1, 0]
    # The more confident detection does not reach an IoU of 0.95; the second does.
    assert matches(truth, detections, 0.95) == [0, -1]
    assert average_precision(truth, detections, iou_threshold=0.95) == 0.5


def test_only_instances_of_one_image_and_label_match():
    truth = make_truth(["a", "x", 0, 0, 4, 4])
    for image, label, expected in [("a", "x", 1), ("b", "x", 0), ("a", "y", 0)]:
        detections = make_detections([image, label, 1.0, 0, 0, 4, 4])
        assert detection_scores(truth, detections).n_matched == expected
    assert detection_scores(truth, detections, match_label=False).n_matched == 1
    unlabelled = [table.drop(columns="label") for table in (truth, detections)]
    assert detection_scores(*unlabelled, match_label=False).n_matched == 1


def test_tables_of_any_index_and_dtype_are_accepted():
    truth, detections = random_instances(3)
    expected = detection_scores(truth, detections)
    names = {image: f"page {image}" for image in range(9)}
    for table in (truth, detections):
        table.index = np.arange(len(table)) + 100
        table["image"] = table["image"].map(names).astype("category")
        table["label"] = table["label"].astype("float32")
        table[BOX] = table[BOX].astype("Int64")
    assert detection_scores(truth, detections) == expected


def test_labels_of_two_kinds_are_refused():
    truth = make_truth([0, "3", 0, 0, 4, 4])
    detections = make_detections([0, 3, 1.0, 0, 0, 4, 4])
    with pytest.raises(ValueError, match=r"'label' holds strings .* convert one"):
        detection_scores(truth, detections)


def test_blocks_within_working_memory_do_not_change_the_result():
    truth, detections = random_instances(5)
    expected = (
        detection_scores(truth, detections),
        mean_average_precision(truth, detections),
    )
    with sklearn.config_context(working_memory=1024 * 3 / 2**20):  # 3 pairs at a time
        assert detection_scores(truth, detections) == expected[0]
        assert mean_average_precision(truth, detections) == expected[1]


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(max_examples=12)
def test_order_of_rows_and_names_of_images_do_not_matter(seed, threshold):
    truth, detections = random_instances(seed)
    rng = np.random.default_rng(seed)
    # Equal scores are ranked by row, so there are none.
    detections["score"] = rng.permutation(len(detections))
    new_names = dict(enumerate(rng.permutation(100)[:9]))
    changed = [
        table.sample(frac=1, random_state=seed).replace({"image": new_names})
        for table in (truth, detections)
    ]
    for metric in (detection_scores, average_precision):
        expected = metric(truth, detections, iou_threshold=threshold)
        assert metric(*changed, iou_threshold=threshold) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.integers(2, 4))
@settings(max_examples=12)
def test_no_true_box_matches_twice(seed, threshold, n):
    truth, detections = random_instances(seed)
    scores = detection_scores(truth, detections, iou_threshold=threshold)
    assert scores.n_matched <= scores.n_true
    # Repeated detections match remaining true boxes, and lose no match.
    again = pd.concat([detections] * n)
    repeated = detection_scores(truth, again, iou_threshold=threshold)
    assert scores.n_matched <= repeated.n_matched <= scores.n_true
    same = pd.concat([truth.assign(score=1.0)] * n)
    assert detection_scores(truth, same).n_matched == len(truth)


@pytest.mark.parametrize("column", ["label", "image"])
@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ("3", 3, "strings in y_true and numbers in y_pred"),
        (
            pd.Timestamp("2020"),
            "2020",
            "timestamps in y_true and strings in y_pred",
        ),
        (True, 1, "booleans in y_true and numbers in y_pred"),
        (pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC"), "with a time zone"),
        (b"a", "a", "objects of type bytes in y_true and strings in y_pred"),
    ],
)
def test_values_that_can_never_be_equal_are_refused(column, true, predicted, message):
    truth = make_truth([0, 0, 0, 0, 4, 4]).assign(**{column: [true]})
    detections = make_detections([0, 0, 1.0, 0, 0, 4, 4]).assign(
        **{column: [predicted]}
    )
    for metric in (detection_f1_score, average_precision):
        with pytest.raises(ValueError, match=f"'{column}' holds .*{message}"):
            metric(truth, detections)
    # An empty table has no values that could differ.
    assert detection_f1_score(truth, detections[:0]) == 0.0


def test_large_labels_of_two_types_are_not_rounded():
    # A float is the common type of both, and cannot tell these apart.
    truth = make_truth([0, 2**62 + 1, 0, 0, 4, 4]).astype({"label": "uint64"})
    detections = make_detections([0, 2**62, 1.0, 0, 0, 4, 4]).astype({"label": "int64"})
    assert detection_f1_score(truth, detections) == 0.0


def test_integers_beyond_floats_are_distinguished():
    truth = make_truth([0, 0, 0, 0, 4, 4]).assign(
        label=pd.Series([10**400], dtype=object)
    )
    for label, score in [(10**400, 1.0), (10**400 + 1, 0.0)]:
        detections = make_detections([0, 0, 1.0, 0, 0, 4, 4])
        detections["label"] = pd.Series([label], dtype=object)
        assert detection_f1_score(truth, detections) == score


def test_a_detection_matches_the_true_box_of_the_highest_iou_the_last_among_equals():
    truth = make_truth([0, 1, 0, 0, 4, 8], [0, 1, 0, 0, 4, 4], [0, 1, 0, 0, 4, 4])
    detections = make_detections([0, 1, 0.9, 0, 0, 4, 4], [0, 1, 0.8, 0, 0, 4, 4])
    assert matches(truth, detections, 0.5) == [2, 1]
    more = pd.concat([detections, detections.assign(score=0.1)], ignore_index=True)
    assert matches(truth, more, 0.5) == [2, 1, 0, -1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("match_label", [True, False])
def test_counts_equal_a_naive_loop(seed, match_label):
    truth, detections = random_instances(seed)
    counts = count_matches(truth, detections, 0.5, match_label=match_label)
    n_matched = sum(naive_matches(truth, detections, 0.5, match_label).values())
    assert counts == (n_matched, len(detections), len(truth))
    assert counts.precision() == n_matched / len(detections)
    assert counts.recall() == n_matched / len(truth)
    assert counts.f1() == 2 * n_matched / (len(detections) + len(truth))


def test_scores_without_instances_are_0_unless_told_otherwise():
    counts = count_matches([], [])
    assert (counts.precision(), counts.recall(), counts.f1()) == (0.0, 0.0, 0.0)
    assert counts.f1(zero_division=1.0) == 1.0
