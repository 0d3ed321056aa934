"""Metrics agree with naive loops, with other libraries and with their definitions."""

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score

from sklearn_similar._tables import boxes as boxes_module
from sklearn_similar._tables.checks import check_instances
from sklearn_similar.metrics import _components as components_module
from sklearn_similar.metrics import (
    average_precision,
    box_accuracy_curve,
    box_iou,
    count_error,
    detection_f1_score,
    detection_precision_score,
    detection_recall_score,
    detection_scores,
    max_box_accuracy,
    mean_average_precision,
    pixel_average_precision,
    pointing_game,
)

BOX = ["x_min", "y_min", "x_max", "y_max"]
# The grid of 0.001 steps as Choe et al. write it.
TAUS = np.arange(0, 1, 0.001)


def make_truth(*rows):
    return pd.DataFrame(rows, columns=["image", "label", *BOX])


def make_found(*rows):
    return pd.DataFrame(rows, columns=["image", "label", "score", *BOX])


def random_boxes(rng, n, size=24):
    corner = rng.integers(0, size - 8, (n, 2))
    return np.hstack([corner, corner + rng.integers(3, 9, (n, 2))])


def random_instances(seed, n_images=6, n_labels=3):
    """Truth, and predictions near it with equal scores, doubles, misses, strays."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(10, 30))
    truth = pd.DataFrame(random_boxes(rng, n), columns=BOX)
    truth["image"] = rng.integers(0, n_images, n)
    truth["label"] = rng.integers(0, n_labels, n)
    found = pd.concat([truth.sample(frac=0.8, random_state=seed)] * 2)
    found[BOX] += rng.integers(-1, 2, (len(found), 4))
    stray = pd.DataFrame(random_boxes(rng, 8), columns=BOX)
    stray["image"] = rng.integers(0, n_images + 1, 8)
    stray["label"] = rng.integers(0, n_labels + 1, 8)
    found = pd.concat([found, stray], ignore_index=True)
    found = found.sample(frac=1, random_state=seed)
    found["score"] = rng.integers(0, 12, len(found)) / 12
    return truth, found


def smooth_maps(seed, n, shape=(16, 16), sigma=1.5):
    rng = np.random.default_rng(seed)
    maps = [ndimage.gaussian_filter(rng.random(shape), sigma) for _ in range(n)]
    return [(m - m.min()) / np.ptp(m) for m in maps]


def iou_of_pixels(a, b):
    """Count the pixels of two integer boxes one by one."""
    covered = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (tuple(map(int, a)), tuple(map(int, b)))
    ]
    union = len(covered[0] | covered[1])
    return len(covered[0] & covered[1]) / union if union else 0.0


def naive_matches(truth, found, iou_threshold, match_label=True):
    """Greedy matching as COCO describes it: {index of found: matched}."""
    matched = dict.fromkeys(found.index, False)
    taken = set()
    for i in found.sort_values("score", ascending=False, kind="stable").index:
        best, choice = iou_threshold, None
        for j in truth.index:
            if j in taken or truth.image[j] != found.image[i]:
                continue
            if match_label and truth.label[j] != found.label[i]:
                continue
            iou = iou_of_pixels(truth.loc[j, BOX], found.loc[i, BOX])
            if iou >= best:
                best, choice = iou, j
        if choice is not None:
            taken.add(choice)
            matched[i] = True
    return matched


def naive_average_precision(truth, found, iou_threshold):
    """Average over labels of the mean over 101 recalls of the best precision there."""
    values = []
    for label in sorted(set(truth.label)):
        n = (truth.label == label).sum()
        mine = found[found.label == label]
        matched = naive_matches(truth[truth.label == label], mine, iou_threshold)
        ranked = mine.sort_values("image", kind="stable")
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


def naive_box_accuracy(maps, truth, version, taus=TAUS):
    """One labelling for every map and threshold: (n_iou, n_taus)."""
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
            found = [
                (x.start, y.start, x.stop, y.stop)
                for y, x in (slices[c - 1] for c in chosen)
            ]
            best = max(
                iou_of_pixels(a, b) for a in found for b in true.to_numpy(dtype=int)
            )
            accuracy[:, t] += best >= np.array(ious)
    return accuracy / len(images)


def naive_pixel_average_precision(maps, masks, taus):
    heat = np.concatenate([(m / m.max()).ravel() for m in maps])
    true = np.concatenate([np.ravel(mask).astype(bool) for mask in masks])
    area, recall_before = 0.0, 0.0
    for tau in taus[::-1]:
        predicted = heat >= tau
        recall = (predicted & true).sum() / true.sum()
        if predicted.any():
            area += true[predicted].mean() * (recall - recall_before)
        recall_before = recall
    return area


integer_boxes = hnp.arrays(
    np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 6)
).map(
    lambda a: np.hstack(
        [np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])]
    )
)


class TestBoxIou:
    @given(integer_boxes, integer_boxes)
    @settings(deadline=None)
    def test_equals_the_count_of_pixels(self, a, b):
        expected = [[iou_of_pixels(p, q) for q in b] for p in a]
        np.testing.assert_allclose(
            box_iou(a, b), np.reshape(expected, (len(a), len(b))), rtol=1e-12
        )

    @given(
        hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e6, 1e6)),
        hnp.arrays(np.float64, (4, 2), elements=st.floats(0, 1e6)),
    )
    @settings(deadline=None)
    def test_is_symmetric_and_within_0_and_1(self, corner, extent):
        boxes = np.hstack([corner, corner + extent])
        iou = box_iou(boxes, boxes)
        np.testing.assert_array_equal(iou, iou.T)
        assert ((iou >= 0) & (iou <= 1)).all()
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        np.testing.assert_array_equal(np.diag(iou), (area > 0).astype(float))

    def test_of_nothing_is_an_empty_matrix(self):
        assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
        assert box_iou([[0, 0, 1, 1]], np.empty((0, 4))).shape == (1, 0)

    def test_reads_the_coordinates_of_a_table(self):
        table = make_truth([5, "a", 0, 0, 2, 2])[[*BOX[::-1], "image"]]
        assert box_iou(table, [[0, 0, 2, 1]]) == 0.5

    def test_does_not_depend_on_the_size_of_its_blocks(self, monkeypatch):
        boxes = random_boxes(np.random.default_rng(0), 30)
        whole = box_iou(boxes, boxes[:7])
        monkeypatch.setattr(boxes_module, "_MAX_PAIRS", 10)
        np.testing.assert_array_equal(box_iou(boxes, boxes[:7]), whole)

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ([[0, 0, 1]], r"shape \(1, 3\)"),
            ([0, 0, 1, 1], r"shape \(4,\)"),
            ([[0, 0, 1, 1], [3, 0, 1, 1]], "Row 1 .*negative.*x_min=3 and x_max=1"),
            ([[0, 0, 1, np.nan]], "Row 0 .*y_max=nan"),
            (make_truth([0, 0, 1, 1, 2, 2]).drop(columns="y_max"), "lacks .* y_max"),
            (make_truth([0, 0, 1, 1, 2, 2])[[*BOX, "x_min"]], "column twice, x_min"),
            ([[0, 0, 1, 1], [0, 0, 1]], "boxes_a is a list that makes no array"),
            ([["0", "0", "1", "1"]], "boxes_a has dtype <U1; pass numbers"),
            ([[0, 0, 1, 1 + 2j]], "boxes_a has dtype complex128; pass numbers"),
            ([[0, 0, 1, 10**400]], "boxes_a has dtype object; pass numbers"),
            ([[0, 0, 1e200, 1]], "Row 0 of boxes_a has x_max=1e\\+200"),
            ({"x_min": [0]}, "boxes_a is a dict; pass numbers"),
        ],
    )
    def test_names_what_is_wrong(self, boxes, message):
        with pytest.raises(ValueError, match=message):
            box_iou(boxes, [[0, 0, 1, 1]])


class TestDetection:
    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("match_label", [True, False])
    def test_scores_equal_a_naive_loop(self, seed, match_label):
        truth, found = random_instances(seed)
        matched = sum(naive_matches(truth, found, 0.5, match_label).values())
        scores = detection_scores(truth, found, match_label=match_label)
        assert scores.n_matched == matched
        assert 0 < matched < len(found)
        assert scores.precision == pytest.approx(matched / len(found))
        assert scores.recall == pytest.approx(matched / len(truth))
        assert scores.f1 == pytest.approx(2 * matched / (len(found) + len(truth)))

    def test_thin_scores_are_its_fields(self):
        truth, found = random_instances(0)
        scores = detection_scores(truth, found, iou_threshold=0.7)
        for function, value in [
            (detection_precision_score, scores.precision),
            (detection_recall_score, scores.recall),
            (detection_f1_score, scores.f1),
        ]:
            assert function(truth, found, iou_threshold=0.7) == value

    def test_a_true_box_matches_once_and_the_surest_prediction_has_it(self):
        truth = make_truth([0, 1, 0, 0, 10, 10])
        found = make_found([0, 1, 0.2, 0, 0, 10, 10], [0, 1, 0.9, 0, 0, 10, 9])
        assert detection_scores(truth, found)[:2] == (0.5, 1.0)
        # At IoU 0.95 the surer one is no match, and the other is free to take it.
        assert detection_scores(truth, found, iou_threshold=0.95).n_matched == 1
        assert average_precision(truth, found, iou_threshold=0.95) == pytest.approx(0.5)

    def test_images_and_labels_are_kept_apart(self):
        truth = make_truth(["a", "x", 0, 0, 4, 4])
        for image, label, expected in [("a", "x", 1), ("b", "x", 0), ("a", "y", 0)]:
            found = make_found([image, label, 1.0, 0, 0, 4, 4])
            assert detection_scores(truth, found).n_matched == expected
        assert detection_scores(truth, found, match_label=False).n_matched == 1
        unlabelled = [table.drop(columns="label") for table in (truth, found)]
        assert detection_scores(*unlabelled, match_label=False).n_matched == 1

    def test_an_iou_of_exactly_the_threshold_matches(self):
        for box, threshold in [([0, 0, 4, 4], 1.0), ([0, 0, 4, 2], 0.5)]:
            assert (
                detection_f1_score([[0, 0, 4, 4]], [box], iou_threshold=threshold) == 1
            )

    def test_tables_of_any_index_and_dtype_are_accepted(self):
        truth, found = random_instances(3)
        expected = detection_scores(truth, found)
        names = {image: f"page {image}" for image in range(9)}
        for table in (truth, found):
            table.index = np.arange(len(table)) + 100
            table["image"] = table["image"].map(names).astype("category")
            table["label"] = table["label"].astype("float32")
            table[BOX] = table[BOX].astype("Int64")
        assert detection_scores(truth, found) == expected

    @pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
    def test_undefined_shares_follow_zero_division(self, value):
        some = make_found([0, 1, 0.5, 0, 0, 4, 4])
        none = make_found()

        def scores(truth, found):
            return detection_scores(truth, found, zero_division=value)[:3]

        np.testing.assert_equal(scores(none, none), (value,) * 3)
        np.testing.assert_equal(scores(some, none), (value, 0.0, 0.0))
        np.testing.assert_equal(scores(none, some), (0.0, value, 0.0))
        for metric in (average_precision, mean_average_precision):
            np.testing.assert_equal(metric(none, some, zero_division=value), value)
            assert metric(some, none, zero_division=value) == 0.0

    def test_an_undefined_share_warns_by_default(self):
        with pytest.warns(UndefinedMetricWarning, match="Precision is undefined"):
            assert detection_precision_score([[0, 0, 4, 4]], []) == 0.0
        with pytest.warns(UndefinedMetricWarning, match="without true instances"):
            assert mean_average_precision([], [[0, 0, 4, 4]]) == 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert detection_recall_score([[0, 0, 4, 4]], []) == 0.0

    def test_labels_of_two_kinds_are_refused(self):
        truth = make_truth([0, "3", 0, 0, 4, 4])
        found = make_found([0, 3, 1.0, 0, 0, 4, 4])
        with pytest.raises(ValueError, match=r"'label' holds strings .* convert one"):
            detection_scores(truth, found)

    @pytest.mark.parametrize("iou_threshold", [0, 1.1, "half"])
    def test_an_impossible_threshold_is_refused(self, iou_threshold):
        with pytest.raises(ValueError, match="'iou_threshold' parameter"):
            detection_scores([], [], iou_threshold=iou_threshold)

    def test_memory_blocks_do_not_change_the_result(self, monkeypatch):
        truth, found = random_instances(5)
        expected = detection_scores(truth, found), mean_average_precision(truth, found)
        monkeypatch.setattr(boxes_module, "_MAX_PAIRS", 3)
        assert detection_scores(truth, found) == expected[0]
        assert mean_average_precision(truth, found) == expected[1]

    @given(st.integers(0, 10_000), st.floats(0.05, 1.0))
    @settings(deadline=None, max_examples=30)
    def test_properties_of_matching(self, seed, threshold):
        truth, found = random_instances(seed)
        scores = detection_scores(truth, found, iou_threshold=threshold)
        assert scores.n_matched <= min(scores.n_true, scores.n_predicted)
        assert scores.f1 <= max(scores.precision, scores.recall)
        itself = truth.assign(score=1.0)
        assert detection_f1_score(truth, itself, iou_threshold=threshold) == 1.0
        # The order of images and true rows is no matter; that of equal scores is.
        found["score"] = np.random.default_rng(seed).permutation(len(found))
        shuffled = found.sample(frac=1, random_state=seed)
        assert detection_scores(truth, found) == detection_scores(truth, shuffled)

    @given(st.integers(0, 10_000), st.floats(0.05, 1.0))
    @settings(deadline=None, max_examples=30)
    def test_order_of_rows_and_names_of_images_do_not_matter(self, seed, threshold):
        truth, found = random_instances(seed)
        rng = np.random.default_rng(seed)
        # Equal scores are ranked by row, so there are none.
        found["score"] = rng.permutation(len(found))
        new_names = dict(enumerate(rng.permutation(100)[:9]))
        others = [
            table.sample(frac=1, random_state=seed).replace({"image": new_names})
            for table in (truth, found)
        ]
        for metric in (detection_scores, average_precision):
            expected = metric(truth, found, iou_threshold=threshold)
            assert metric(*others, iou_threshold=threshold) == pytest.approx(expected)

    @given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.integers(2, 4))
    @settings(deadline=None, max_examples=30)
    def test_no_true_box_is_used_twice(self, seed, threshold, n):
        truth, found = random_instances(seed)
        scores = detection_scores(truth, found, iou_threshold=threshold)
        assert scores.n_matched <= scores.n_true
        # The same predictions again find what is left, and what is found stays found.
        again = pd.concat([found] * n)
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
    def test_what_can_never_be_equal_is_refused(self, column, true, predicted, message):
        truth = make_truth([0, 0, 0, 0, 4, 4]).assign(**{column: [true]})
        found = make_found([0, 0, 1.0, 0, 0, 4, 4]).assign(**{column: [predicted]})
        for metric in (detection_f1_score, average_precision):
            with pytest.raises(ValueError, match=f"'{column}' holds .*{message}"):
                metric(truth, found)
        # An empty table holds nothing that could differ.
        assert detection_f1_score(truth, found[:0]) == 0.0

    def test_large_labels_of_two_types_are_not_rounded(self):
        # A float is the common type of both, and cannot tell these apart.
        truth = make_truth([0, 2**62 + 1, 0, 0, 4, 4]).astype({"label": "uint64"})
        found = make_found([0, 2**62, 1.0, 0, 0, 4, 4]).astype({"label": "int64"})
        assert detection_f1_score(truth, found) == 0.0

    def test_labels_beyond_every_float_are_told_apart(self):
        truth = make_truth([0, 0, 0, 0, 4, 4]).assign(
            label=pd.Series([10**400], dtype=object)
        )
        for label, score in [(10**400, 1.0), (10**400 + 1, 0.0)]:
            found = make_found([0, 0, 1.0, 0, 0, 4, 4])
            found["label"] = pd.Series([label], dtype=object)
            assert detection_f1_score(truth, found) == score


class TestAveragePrecision:
    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
    def test_equals_a_naive_loop(self, seed, iou_threshold):
        truth, found = random_instances(seed)
        expected = naive_average_precision(truth, found, iou_threshold)
        actual = average_precision(truth, found, iou_threshold=iou_threshold)
        assert actual == pytest.approx(expected, rel=1e-12)
        assert 0 < actual < 1

    def test_map_is_the_mean_over_the_thresholds_of_coco(self):
        truth, found = random_instances(1)
        each = [
            average_precision(truth, found, iou_threshold=t)
            for t in np.linspace(0.5, 0.95, 10)
        ]
        assert mean_average_precision(truth, found) == pytest.approx(np.mean(each))
        two = mean_average_precision(truth, found, iou_thresholds=[0.5, 0.75])
        assert two == pytest.approx((each[0] + each[5]) / 2)

    @pytest.mark.parametrize("seed", range(12))
    @pytest.mark.parametrize("max_detections", [None, 1, 2])
    def test_equals_pycocotools(self, seed, max_detections):
        reason = "pycocotools is not installed; the naive loop still checks the metric"
        pytest.importorskip("pycocotools", reason=reason)
        truth, found = random_instances(seed)
        # All labels that occur; COCO itself leaves out those without truth.
        precision = coco_precision(truth, found, max_detections or 10_000)
        per_label = precision[precision.min(axis=(1, 2)) >= 0].mean(axis=2)
        labels = sorted(set(truth.label))
        for t, iou_threshold in enumerate(np.linspace(0.5, 0.95, 10)):
            actual = average_precision(
                truth,
                found,
                iou_threshold=iou_threshold,
                average=None,
                max_detections=max_detections,
            )
            assert actual.index.tolist() == labels
            # COCO adds 2e-16 to the number of predictions against division by 0.
            np.testing.assert_allclose(actual, per_label[:, t], rtol=1e-12)
        actual = mean_average_precision(truth, found, max_detections=max_detections)
        assert actual == pytest.approx(per_label.mean(), rel=1e-12)

    def test_max_detections_keeps_the_surest_of_each_image_and_label(self):
        truth = make_truth([0, 1, 0, 0, 4, 4], [0, 2, 0, 0, 4, 4], [1, 1, 0, 0, 4, 4])
        good = truth.assign(score=0.1)
        bad = truth.assign(score=0.9, x_min=20, x_max=24)
        found = pd.concat([good, bad])
        assert average_precision(truth, found, max_detections=1) == 0.0
        assert average_precision(truth, found, max_detections=2) == pytest.approx(0.5)
        good["score"] = 0.95
        found = pd.concat([bad, good])
        assert average_precision(truth, found, max_detections=1) == pytest.approx(1.0)

    @pytest.mark.parametrize("thresholds", [[], [0.0], [0.5, 1.5], [np.nan]])
    def test_impossible_thresholds_are_refused(self, thresholds):
        with pytest.raises(ValueError, match="iou_thresholds is"):
            mean_average_precision([], [], iou_thresholds=thresholds)


def coco_precision(truth, found, max_detections):
    """Precision of COCO's own evaluation, (n_labels, n_thresholds, 101)."""
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
                "iscrowd": 0,
                "score": float(getattr(row, "score", 0.0)),
            }

    images = sorted(set(truth.image) | set(found.image))
    labels = sorted(set(truth.label) | set(found.label))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": int(i), "width": 100, "height": 100} for i in images],
            "categories": [{"id": int(label)} for label in labels],
            "annotations": list(entries(truth)),
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(list(entries(found))), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.transpose(evaluation.eval["precision"][..., 0, 0], (2, 0, 1))


class TestCountError:
    def test_is_the_mean_absolute_difference_of_counts(self):
        rng = np.random.default_rng(0)
        truth, found = random_instances(0)
        expected = np.mean(
            [
                abs((truth.image == image).sum() - (found.image == image).sum())
                for image in set(truth.image) | set(found.image)
            ]
        )
        assert count_error(truth, found) == pytest.approx(expected)
        assert (
            count_error(truth, truth.sample(frac=1, random_state=rng.integers(9))) == 0
        )

    def test_counts_empty_images_when_told_how_many_there_are(self):
        truth = make_truth([0, 1, 0, 0, 4, 4], [2, 1, 0, 0, 4, 4])
        assert count_error(truth, make_found()) == 1.0
        assert count_error(truth, make_found(), n_images=4) == 0.5
        assert count_error(make_truth(), make_found()) == 0.0
        with pytest.raises(ValueError, match=r"n_images=1 but .* 2 images"):
            count_error(truth, truth, n_images=1)


class TestBoxAccuracy:
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("sigma", [0.5, 1.5])
    def test_equals_a_labelling_for_every_threshold(self, version, sigma):
        rng = np.random.default_rng(0)
        maps = smooth_maps(1, 4, (12, 15), sigma)
        truth = pd.DataFrame(random_boxes(rng, 6, 12), columns=BOX)
        truth.loc[6] = [1, 1, 13, 12]
        truth["image"] = [0, 1, 2, 3, 0, 2, 2]
        curve = box_accuracy_curve(maps, truth, version=version)
        expected = naive_box_accuracy(maps, truth, version)
        np.testing.assert_array_equal(curve.thresholds, TAUS)
        np.testing.assert_allclose(curve.accuracies, expected, rtol=1e-12)
        assert expected.max() > 0
        value = max_box_accuracy(maps, truth, version=version)
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
    @settings(deadline=None, max_examples=150)
    def test_equals_it_on_plateaus_ties_and_empty_maps(self, maps, version, n, random):
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

    def test_one_threshold_serves_all_images(self):
        # Each map has its box at one level only: the first at high, the second at low.
        high, low = np.zeros((2, 10, 10))
        high[0:9, 0:9], high[2:5, 2:5] = 0.5, 1.0
        low[2:5, 2:5], low[3, 3] = 0.5, 1.0
        boxes = np.tile([2, 2, 5, 5], (2, 1))
        assert max_box_accuracy([high], boxes[:1]) == 1.0
        assert max_box_accuracy([low], boxes[1:]) == 1.0
        assert max_box_accuracy([high, low], boxes) == 0.5

    def test_version_2_has_a_threshold_for_each_iou(self):
        curve = box_accuracy_curve(
            [np.array([[0.1, 0.6, 1.0, 1.0, 0.6, 0.1]])], [[0, 0, 4, 1]]
        )
        np.testing.assert_array_equal(curve.iou_thresholds, [0.3, 0.5, 0.7])
        assert curve.accuracies.max(axis=1).tolist() == [1.0, 1.0, 0.0]

    @given(st.integers(0, 10_000), st.floats(0.3, 3))
    @settings(deadline=None, max_examples=20)
    def test_no_stricter_iou_localises_more(self, seed, sigma):
        maps = smooth_maps(seed, 4, sigma=sigma)
        boxes = random_boxes(np.random.default_rng(seed), 4, 16)
        accuracies = box_accuracy_curve(maps, boxes).accuracies
        assert (np.diff(accuracies, axis=0) <= 0).all()

    def test_version_1_looks_at_the_largest_component_alone(self):
        heatmap = np.zeros((8, 8))
        heatmap[0:2, 0:2] = heatmap[4:8, 4:8] = 1.0
        assert max_box_accuracy([heatmap], [[0, 0, 2, 2]], version=1) == 0.0
        assert max_box_accuracy([heatmap], [[4, 4, 8, 8]], version=1) == 1.0
        assert max_box_accuracy([heatmap], [[0, 0, 2, 2]], version=2) == 1.0

    def test_diagonal_pixels_are_connected(self):
        assert max_box_accuracy([np.eye(6)], [[0, 0, 6, 6]]) == 1.0

    def test_pixels_at_the_threshold_are_not_above_it(self):
        heatmap = np.array([[1.0, 1.0, 0.5, 0.5]])
        curve = box_accuracy_curve([heatmap], [[0, 0, 2, 1]], n_thresholds=2)
        assert curve.accuracies[2].tolist() == [0.0, 1.0]

    @pytest.mark.parametrize("version", [1, 2])
    def test_scale_and_batches_do_not_matter(self, version, monkeypatch):
        maps = np.array(smooth_maps(3, 6))
        boxes = random_boxes(np.random.default_rng(1), 6, 16)
        expected = box_accuracy_curve(maps, boxes, version=version).accuracies
        monkeypatch.setattr(components_module, "_MAX_PIXELS", 600)
        actual = box_accuracy_curve(list(maps * 64), boxes, version=version).accuracies
        np.testing.assert_array_equal(actual, expected)

    def test_images_without_a_true_box_are_left_out(self):
        truth = pd.DataFrame([[1, 0, 0, 6, 6]], columns=["image", *BOX])
        assert max_box_accuracy([np.ones((9, 9)), np.eye(6)], truth) == 1.0


class TestPixelAveragePrecision:
    @pytest.mark.parametrize("seed", range(4))
    def test_equals_a_naive_loop(self, seed):
        maps = smooth_maps(seed, 3, (9, 14))
        masks = [
            np.random.default_rng(seed + i).random((9, 14)) < 0.3 for i in range(3)
        ]
        expected = naive_pixel_average_precision(maps, masks, np.append(TAUS, 1.0))
        actual = pixel_average_precision(maps, masks)
        assert actual == pytest.approx(expected, rel=1e-9)
        assert pixel_average_precision([m * 7 for m in maps], masks) == pytest.approx(
            actual, abs=2e-3
        )

    @given(
        hnp.arrays(np.int64, (2, 4, 5), elements=st.integers(0, 64)),
        hnp.arrays(bool, (2, 4, 5)),
    )
    @settings(deadline=None)
    def test_equals_scikit_learn_where_heat_lies_on_the_grid(self, heat, masks):
        masks[0, 0, 0] = True
        heat = heat / 64
        actual = pixel_average_precision(heat, masks, n_thresholds=64, normalize=False)
        expected = average_precision_score(masks.ravel(), heat.ravel())
        assert actual == pytest.approx(expected)

    def test_boxes_are_drawn_as_masks(self):
        maps = smooth_maps(0, 2, (9, 14))
        boxes = pd.DataFrame(
            [[0, 2, 1, 6, 5], [0, 5, 3, 9, 9], [1, 0, 0, 14, 2]],
            columns=["image", *BOX],
        )
        masks = np.zeros((2, 9, 14), dtype=int)
        masks[0, 1:5, 2:6] = masks[0, 3:9, 5:9] = masks[1, 0:2, 0:14] = 1
        expected = pixel_average_precision(maps, masks)
        assert pixel_average_precision(maps, boxes) == expected
        single = pixel_average_precision(maps, boxes[BOX].to_numpy()[[0, 2]])
        assert single == pixel_average_precision(maps, boxes.iloc[[0, 2]])

    def test_a_dark_map_stays_dark_without_normalisation(self):
        maps = np.stack([np.eye(4), np.fliplr(np.eye(4)) * 0.1])
        masks = np.stack([np.eye(4), np.zeros((4, 4))])
        assert pixel_average_precision(maps, masks) == pytest.approx(0.5)
        assert pixel_average_precision(maps, masks, normalize=False) == 1.0

    def test_a_map_without_heat_predicts_every_pixel_at_once(self):
        masks = np.zeros((1, 2, 4))
        masks[0, 0, 0] = 1
        for heat in (0.0, -1.0):
            maps = np.full((1, 2, 4), heat)
            assert pixel_average_precision(maps, masks) == pytest.approx(1 / 8)

    @pytest.mark.parametrize(
        ("masks", "message"),
        [
            (np.zeros((1, 4, 4)), "1 entries for 2 heatmaps"),
            (np.zeros((2, 4, 5)), r"Mask 0 has shape \(4, 5\)"),
            (np.full((2, 4, 4), 0.5), "Mask 0 has values other"),
            (np.zeros((2, 4, 4)), "no true pixel"),
        ],
    )
    def test_names_what_is_wrong_with_masks(self, masks, message):
        with pytest.raises(ValueError, match=message):
            pixel_average_precision(np.ones((2, 4, 4)), masks)


class TestPointingGame:
    def test_equals_a_naive_loop(self):
        maps = smooth_maps(5, 12, (9, 14))
        rng = np.random.default_rng(0)
        boxes = pd.DataFrame(random_boxes(rng, 24, 9), columns=BOX)
        boxes["x_min"], boxes["image"] = 0, np.repeat(np.arange(12), 2)
        boxes["label"] = rng.integers(0, 2, 24)
        boxes.loc[boxes.image == 3, "label"] = 2
        labels = rng.integers(0, 2, 12)
        for tolerance in (0, 1, 2.5):
            hits, own = [], []
            for i, heatmap in enumerate(maps):
                y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
                inside = (
                    (boxes.x_min - tolerance <= x + 0.5)
                    & (x + 0.5 < boxes.x_max + tolerance)
                    & (boxes.y_min - tolerance <= y + 0.5)
                    & (y + 0.5 < boxes.y_max + tolerance)
                )
                hits.append(inside[boxes.image == i].any())
                mine = (boxes.image == i) & (boxes.label == labels[i])
                own += [inside[mine].any()] if mine.any() else []
            actual = pointing_game(maps, boxes, tolerance=tolerance)
            assert actual == pytest.approx(np.mean(hits))
            assert 0 < actual < 1
            actual = pointing_game(maps, boxes, labels, tolerance=tolerance)
            assert actual == pytest.approx(np.mean(own))

    @given(st.integers(0, 10_000), st.lists(st.floats(0, 20), min_size=2))
    @settings(deadline=None, max_examples=20)
    def test_no_larger_tolerance_hits_less(self, seed, tolerances):
        maps = smooth_maps(seed, 4)
        boxes = random_boxes(np.random.default_rng(seed), 4, 16)
        shares = [pointing_game(maps, boxes, tolerance=t) for t in sorted(tolerances)]
        assert (np.diff(shares) >= 0).all()

    def test_equal_peaks_count_by_their_share(self):
        assert pointing_game(np.ones((1, 4, 4)), [[0, 0, 2, 2]]) == 0.25
        assert pointing_game([[[1, 0, 1, 0]]], [[0, 0, 2, 1]]) == 0.5

    @pytest.mark.parametrize(
        "labels",
        [
            ["a", "b"],
            np.array(["a", "b"]),
            pd.Series(["a", "b"], index=[7, 7]),
            pd.Categorical(["a", "b"]),
            np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
            pd.date_range("2020", periods=2, tz="UTC"),
            [("a", 1), ("b", 1)],
        ],
        ids=lambda labels: type(labels).__name__,
    )
    def test_labels_of_any_type_are_matched(self, labels):
        boxes = pd.DataFrame(
            [[0, 0, 0, 1, 1], [1, 2, 2, 3, 3]], columns=["image", *BOX]
        )
        boxes["label"] = list(pd.Series(labels))
        maps = np.stack([np.eye(3)[:1].T @ np.eye(3)[:1], np.eye(3)])
        assert pointing_game(maps, boxes, labels) == pytest.approx(2 / 3)
        with pytest.raises(ValueError, match="no box of any image and label"):
            pointing_game(maps, boxes, labels[::-1])

    def test_labels_must_fit(self):
        boxes = pd.DataFrame([[0, "a", 0, 0, 2, 2]], columns=["image", "label", *BOX])
        with pytest.raises(ValueError, match=r"labels holds 2 labels for 1 image;"):
            pointing_game(np.ones((1, 4, 4)), boxes, ["a", "b"])
        with pytest.raises(ValueError, match="no box of any image and label"):
            pointing_game(np.ones((1, 4, 4)), boxes, ["b"])
        with pytest.raises(ValueError, match="lacks the column label"):
            pointing_game(np.ones((1, 4, 4)), boxes.drop(columns="label"), ["a"])


@pytest.mark.parametrize(
    "metric", [max_box_accuracy, pixel_average_precision, pointing_game]
)
@pytest.mark.parametrize(
    ("heatmaps", "boxes", "message"),
    [
        ([], [], "heatmaps is empty"),
        ([[1.0, 2.0]], [[0, 0, 1, 1]], r"Heatmap 0 has shape \(2,\)"),
        ([np.ones((2, 2)), [[np.nan]]], [[0, 0, 1, 1]] * 2, "Heatmap 1 contains NaN"),
        (pd.DataFrame(np.ones((2, 4))), [[0, 0, 1, 1]] * 2, "reshape its rows"),
        (np.ones((2, 3, 3)), [[0, 0, 1, 1]], "1 rows for 2 heatmaps"),
        (
            np.ones((1, 3, 3)),
            [[0, 0, 4, 1]],
            r"Row 0 .*box \(0, 0, 4, 1\) outside .* 3",
        ),
        (np.ones((1, 3, 3)), [[-0.5, 0, 2, 1]], "Row 0 .*outside its image"),
        (np.ones((1, 3, 3)), make_truth([1, 0, 0, 0, 1, 1]), "image=1, which is none"),
        (np.ones((1, 3, 3)), make_truth(), "no box of any image"),
        ({0: np.ones((3, 3))}, [[0, 0, 1, 1]], "heatmaps is a dict; pass an array of"),
        ([[[1, 2], [3]]], [[0, 0, 1, 1]], "Heatmap 0 is a list that makes no array"),
        ([np.full((3, 3), 1j)], [[0, 0, 1, 1]], "Heatmap 0 has dtype complex128; pass"),
        (np.ones((1, 3, 3)), {0: [0, 0, 1, 1]}, "(boxes|masks) is a dict; pass"),
    ],
)
def test_heatmap_metrics_name_what_is_wrong(metric, heatmaps, boxes, message):
    if metric is pixel_average_precision and message.startswith("1 rows"):
        message = "1 (rows|entries) for 2"
    with pytest.raises(ValueError, match=message):
        metric(heatmaps, boxes)


class TestCheckInstances:
    good = make_found(["a", 1, 0.5, 0, 0, 4, 4], ["b", 2, 0.5, 1, 1, 5, 5])

    def test_accepts_good_tables(self):
        check_instances(self.good, name="t", needs_score=True)
        check_instances(self.good.drop(columns="score"), name="t")
        check_instances(self.good[:0], name="t", needs_score=True)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"xmin": 0}, "unknown column 'xmin'; rename it to 'x_min'"),
            ({"angle": 0}, "unknown column 'angle'; drop it"),
            (
                {"x_max": [4, 0]},
                "Row 1 of t has a negative extent, x_min=1 and x_max=0",
            ),
            ({"y_min": [np.inf, 0]}, "Row 0 of t has y_min=inf"),
            ({"y_min": [0, None]}, "Row 1 of t has y_min=nan"),
            ({"score": [0.1, np.nan]}, "Row 1 of t has score=nan"),
            ({"label": ["x", None]}, "Row 1 of t has no label"),
            ({"image": [None, "b"]}, "Row 0 of t has no image"),
            ({"x_min": ["left", "right"]}, "Column 'x_min' of t has dtype"),
            ({"x_min": ["0", "1"]}, "Column 'x_min' of t has dtype"),
            (
                {"x_min": pd.to_datetime(["2020", "2021"])},
                "Column 'x_min' of t has dtype datetime64",
            ),
            ({"label": [[1], [2]]}, "Row 0 of t has a list as label; give a number"),
            ({"label": [1, "2"]}, "Column 'label' of t holds numbers and strings"),
        ],
    )
    def test_names_the_row_and_what_to_do(self, change, message):
        with pytest.raises(ValueError, match=message) as error:
            check_instances(self.good.assign(**change), name="t", needs_score=True)
        assert str(error.value).count(". ") == 0

    @pytest.mark.parametrize("column", ["image", "label", "score", "x_min"])
    def test_names_missing_columns(self, column):
        with pytest.raises(ValueError, match=f"t lacks the column {column}"):
            check_instances(self.good.drop(columns=column), name="t", needs_score=True)

    def test_refuses_repeated_columns_and_other_things(self):
        twice = pd.concat([self.good, self.good["image"]], axis=1)
        with pytest.raises(ValueError, match="a column twice"):
            check_instances(twice, name="t")
        levels = self.good.set_axis(
            pd.MultiIndex.from_product([self.good.columns, ["v"]]), axis=1
        )
        with pytest.raises(ValueError, match="t has columns of 2 levels; give each"):
            check_instances(levels, name="t")
        with pytest.raises(ValueError, match="t is a list; pass a DataFrame"):
            check_instances([[0, 0, 1, 1]], name="t")

    def test_rows_are_named_by_the_index_of_the_table(self):
        table = self.good.assign(x_max=[4, 0]).set_axis(["p", "q"])
        with pytest.raises(ValueError, match="Row q of t"):
            check_instances(table, name="t")
