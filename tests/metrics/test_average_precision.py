"""Average precision equals a naive loop and pycocotools."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from instances import (
    BOX,
    make_truth,
    naive_matches,
    random_instances,
)

from sklearn_similar.metrics import (
    average_precision,
    detection_scores,
    mean_average_precision,
)


def naive_average_precision(truth, detections, iou_threshold):
    """Average over labels of the mean over 101 recalls of the best precision there."""
    values = []
    for label in sorted(set(truth.label)):
        n = (truth.label == label).sum()
        of_label = detections[detections.label == label]
        matched = naive_matches(truth[truth.label == label], of_label, iou_threshold)
        ranked = of_label.sort_values("image", kind="stable")
        ranked = ranked.sort_values("score", ascending=False, kind="stable")
        points, hits = [], 0
        for place, i in enumerate(ranked.index, start=1):
            hits += matched[i]
            points.append((hits / n, hits / place))
        values.append(
            np.mean(
                [
                    max((p for r, p in points if r >= recall), default=0.0)
                    for recall in np.linspace(0, 1, 101)
                ]
            )
        )
    return np.mean(values)


def coco_precision(truth, detections, max_detections):
    """Precision by pycocotools, (n_labels, n_thresholds, 101)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entries(table):
        for number, row in enumerate(table.itertuples(), start=1):
            width, height = row.x_max - row.x_min, row.y_max - row.y_min
            yield {
                "id": number,
                "image_id": int(row.image),
                "category_id": int(row.label),
                "bbox": [float(v) for v in (row.x_min, row.y_min, width, height)],
                "area": float(width * height),
                "iscrowd": int(getattr(row, "iscrowd", 0)),
                "score": float(getattr(row, "score", 0.0)),
            }

    images = sorted(set(truth.image) | set(detections.image))
    labels = sorted(set(truth.label) | set(detections.label))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": int(i), "width": 100, "height": 100} for i in images],
            "categories": [{"id": int(label)} for label in labels],
            "annotations": list(entries(truth)),
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(list(entries(detections))), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.transpose(evaluation.eval["precision"][..., 0, 0], (2, 0, 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
def test_equals_a_naive_loop(seed, iou_threshold):
    truth, detections = random_instances(seed)
    expected = naive_average_precision(truth, detections, iou_threshold)
    actual = average_precision(truth, detections, iou_threshold=iou_threshold)
    assert actual == pytest.approx(expected, rel=1e-12)
    assert 0 < actual < 1


def test_mean_average_precision_is_the_mean_over_the_thresholds_of_coco():
    truth, detections = random_instances(1)
    each = [
        average_precision(truth, detections, iou_threshold=t)
        for t in np.linspace(0.5, 0.95, 10)
    ]
    assert mean_average_precision(truth, detections) == pytest.approx(np.mean(each))
    two = mean_average_precision(truth, detections, iou_thresholds=[0.5, 0.75])
    assert two == pytest.approx((each[0] + each[5]) / 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("max_detections", [None, 1, 2])
def test_equals_pycocotools(seed, max_detections):
    reason = "pycocotools is not installed; the naive loop still checks the metric"
    pytest.importorskip("pycocotools", reason=reason)
    truth, detections = random_instances(seed)
    # All labels that occur; COCO itself leaves out those without truth.
    precision = coco_precision(truth, detections, max_detections or 10_000)
    per_label = precision[precision.min(axis=(1, 2)) >= 0].mean(axis=2)
    labels = sorted(set(truth.label))
    for t, iou_threshold in enumerate(np.linspace(0.5, 0.95, 10)):
        actual = average_precision(
            truth,
            detections,
            iou_threshold=iou_threshold,
            average=None,
            max_detections=max_detections,
        )
        assert actual.index.tolist() == labels
        # COCO adds 2e-16 to the number of predictions against division by 0.
        np.testing.assert_allclose(actual, per_label[:, t], rtol=1e-12)
    actual = mean_average_precision(truth, detections, max_detections=max_detections)
    assert actual == pytest.approx(per_label.mean(), rel=1e-12)


def test_max_detections_selects_the_highest_scores_of_each_image_and_label():
    truth = make_truth([0, 1, 0, 0, 4, 4], [0, 2, 0, 0, 4, 4], [1, 1, 0, 0, 4, 4])
    good = truth.assign(score=0.1)
    bad = truth.assign(score=0.9, x_min=20, x_max=24)
    detections = pd.concat([good, bad])
    assert average_precision(truth, detections, max_detections=1) == 0.0
    assert average_precision(truth, detections, max_detections=2) == pytest.approx(0.5)
    good["score"] = 0.95
    detections = pd.concat([bad, good])
    assert average_precision(truth, detections, max_detections=1) == pytest.approx(1.0)


@pytest.mark.parametrize("thresholds", [[], [0.0], [0.5, 1.5], [np.nan]])
def test_impossible_thresholds_are_refused(thresholds):
    with pytest.raises(ValueError, match="iou_thresholds is"):
        mean_average_precision([], [], iou_thresholds=thresholds)


@pytest.mark.parametrize("seed", range(6))
def test_detections_in_crowds_are_ignored_as_by_pycocotools(seed):
    pytest.importorskip("pycocotools", reason="needs COCO's code")
    truth, detections = random_instances(seed)
    # Crowds of every size, some of which hold true instances.
    truth["iscrowd"] = np.random.default_rng(seed).random(len(truth)) < 0.4
    crowds = truth.iscrowd
    truth.loc[crowds, ["x_max", "y_max"]] += 4
    precision = coco_precision(truth, detections, 10_000)
    per_label = precision[precision.min(axis=(1, 2)) >= 0].mean(axis=2)
    actual = mean_average_precision(truth, detections)
    assert actual == pytest.approx(per_label.mean(), rel=1e-12)
    assert actual != mean_average_precision(truth[~crowds], detections)
    assert actual != mean_average_precision(truth.drop(columns="iscrowd"), detections)


def test_a_crowd_is_neither_found_nor_missed():
    truth = make_truth([0, 1, 0, 0, 4, 4], [0, 1, 20, 0, 60, 40])
    truth["iscrowd"] = [0, 1]
    found = truth.assign(score=0.5, iscrowd=0)
    found.loc[1, BOX] = [30, 10, 34, 14]
    assert average_precision(truth, found) == 1.0
    scores = detection_scores(truth, found)
    assert scores[3:] == (1, 1, 1)
    # In another image or of another label, or half outside, it is false.
    for change in ({"image": 1}, {"label": 2}, {"x_min": 10, "x_max": 26}):
        other = found.copy()
        other.loc[1, list(change)] = list(change.values())
        assert detection_scores(truth, other)[3:] == (1, 2, 1)


def one_tie():
    truth = make_truth([0, 1, 0, 0, 4, 4], [1, 1, 0, 0, 4, 4])
    found = truth.assign(score=0.5)
    found.loc[0, ["x_min", "x_max"]] = [20, 24]
    return truth, found


def test_ties_may_be_resolved_without_the_order_of_images():
    truth, found = one_tie()
    swapped = [table.assign(image=1 - table.image) for table in (truth, found)]
    by_order = [average_precision(truth, found), average_precision(*swapped)]
    np.testing.assert_allclose(sorted(by_order), [25.5 / 101, 51 / 101])
    for tables in ((truth, found), swapped):
        worst = average_precision(*tables, ties="worst")
        assert worst == pytest.approx(min(by_order))


@pytest.mark.parametrize("seed", range(4))
def test_worst_ties_depend_on_no_order(seed):
    truth, found = random_instances(seed)
    found["score"] = found["score"].round(1)
    rng = np.random.default_rng(seed)
    worst = mean_average_precision(truth, found, ties="worst", max_detections=2)
    images = np.arange(truth.image.max() + found.image.max() + 1)
    for _ in range(20):
        number = rng.permutation(images)
        tables = [
            table.assign(image=number[table.image]).sample(frac=1, random_state=rng)
            for table in (truth, found)
        ]
        again = mean_average_precision(*tables, ties="worst", max_detections=2)
        assert again == pytest.approx(worst, rel=1e-12)


def test_without_ties_both_are_equal():
    truth, found = random_instances(0)
    found["score"] = np.random.default_rng(0).random(len(found))
    for metric in (average_precision, mean_average_precision):
        assert metric(truth, found, ties="worst") == metric(truth, found)
