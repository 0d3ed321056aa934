"""Tables may have columns that the package does not know, anywhere and of any type."""

import json

import numpy as np
import pandas as pd
import pytest
from instances import make_detections, make_truth, random_instances
from pandas.testing import assert_frame_equal

from sklearn_similar import InstanceLocalizer, metrics
from sklearn_similar.datasets import dump_coco_file, load_coco_file
from sklearn_similar.display import InstancesDisplay


def with_path(table):
    """The path of each image, merged as the user guide does it."""
    paths = pd.DataFrame({"image": range(9), "path": [f"{i}.png" for i in range(9)]})
    return table.merge(paths, on="image")


def with_lists(table):
    polygons = [[[0, 0], [i, 1]] for i in range(len(table))]
    return table.assign(polygon=pd.Series(polygons, index=table.index, dtype=object))


def with_masks(table):
    masks = pd.Series([np.eye(3)] * len(table), index=table.index, dtype=object)
    table = table.copy()
    table.insert(0, "mask", masks)
    return table


def with_category(table):
    track = pd.Categorical([None, *"ab"] * len(table), categories=["a", "b"])
    return table.assign(track=track[: len(table)])


def with_missing_values(table):
    return table.assign(**{"angle": np.nan, "note": None, "taken": pd.NaT})


def with_names_that_are_not_strings(table):
    table = table.assign(**{"": 1})
    table[3] = 0.5
    table[("a", 1)] = "x"
    return table


def with_repeated_names(table):
    extra = table.assign(path="p", track=1)
    return pd.concat([table, extra[["path", "track"]], extra[["path"]]], axis=1)


def in_another_order(table):
    columns = list(with_path(table).columns)
    return with_path(table)[columns[::-1]]


ALL = [
    with_path,
    with_lists,
    with_masks,
    with_category,
    with_missing_values,
    with_names_that_are_not_strings,
    with_repeated_names,
    in_another_order,
]


@pytest.fixture(params=ALL, ids=lambda change: change.__name__)
def change(request):
    return request.param


@pytest.fixture
def tables():
    return random_instances(0)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.average_precision,
        metrics.count_error,
        metrics.detection_f1_score,
        metrics.detection_precision_score,
        metrics.detection_recall_score,
        metrics.detection_scores,
        metrics.mean_average_precision,
    ],
)
def test_metrics_of_detections_ignore_them(metric, change, tables):
    truth, detections = tables
    # Equal scores are ranked by row, which a merge may reorder.
    detections["score"] = np.random.default_rng(0).permutation(len(detections))
    expected = metric(truth, detections)
    assert metric(change(truth), detections) == expected
    assert metric(truth, change(detections)) == expected
    assert metric(change(truth), change(detections)) == expected


@pytest.mark.parametrize(
    "metric",
    [metrics.max_box_accuracy, metrics.pixel_average_precision, metrics.pointing_game],
)
def test_metrics_of_heatmaps_ignore_them(metric, change):
    maps = np.random.default_rng(0).random((2, 6, 8))
    boxes = make_truth([0, "a", 1, 1, 6, 5], [1, "b", 0, 0, 3, 6])
    assert metric(maps, change(boxes)) == metric(maps, boxes)


def test_box_iou_ignores_them(change, tables):
    boxes = change(tables[0])
    box = boxes[["x_min", "y_min", "x_max", "y_max"]].to_numpy()
    np.testing.assert_array_equal(
        metrics.box_iou(boxes, boxes), metrics.box_iou(box, box)
    )


def test_displays_ignore_them(change):
    truth = make_truth([0, "a", 1, 1, 6, 5], [1, "b", 0, 0, 3, 6])
    detections = make_detections([0, "a", 0.9, 1, 1, 6, 5], [1, "a", 0.8, 0, 0, 3, 6])
    display = InstancesDisplay.from_predictions(
        np.zeros((2, 8, 8)), change(detections), truth=change(truth)
    )
    texts = [text.get_text() for ax in display.axes_ for text in ax.texts]
    assert texts == ["a 0.90", "false a 0.80", "missed b"]


@pytest.mark.parametrize("has_score", [False, True])
def test_coco_files_are_written_without_them(change, has_score, tables, tmp_path):
    table = tables[has_score].sort_values("image", kind="stable")
    for name, content in (("plain", table), ("changed", change(table))):
        dump_coco_file(content, tmp_path / name)
    plain, changed = (
        json.loads((tmp_path / name).read_text()) for name in ("plain", "changed")
    )
    assert changed == plain


class Oracle:
    """Localizes the instances that it is given."""

    def __init__(self, instances):
        self.instances = instances

    def localize(self, X):
        return self.instances


def test_a_scorer_passes_them_on_to_its_metric(change):
    truth = make_truth([0, "a", 1, 1, 6, 5], [1, "b", 0, 0, 3, 6], [2, "b", 0, 0, 1, 1])
    detections = make_detections([0, "a", 0.9, 1, 1, 6, 5], [1, "b", 0.8, 0, 0, 3, 6])
    passed = []

    def metric(y_true, y_pred):
        passed.extend([y_true, y_pred])
        return metrics.detection_f1_score(y_true, y_pred)

    scorer = metrics.LocalizationScorer(change(truth), metric=metric)
    y = pd.Series(["a", "b"], index=[0, 1])
    assert scorer(Oracle(change(detections)), np.zeros((2, 8, 8)), y) == 1.0
    assert_frame_equal(passed[0], change(truth)[:2], check_dtype=False)
    assert_frame_equal(passed[1], change(detections))


def test_a_scorer_joins_tables_of_several_columns():
    rows = make_truth([0, "a", 1, 1, 6, 5], [1, "b", 0, 0, 3, 6])
    entries = [rows[:1].assign(path="p.png"), rows[1:].assign(track=[[1, 2]])]
    passed = []

    def metric(y_true, y_pred):
        passed.append(y_true)
        return 0.5

    scorer = metrics.LocalizationScorer(metric=metric)
    oracle = Oracle(rows.assign(score=1.0))
    scorer.score(oracle, np.zeros((2, 8, 8)), boxes=entries)
    assert passed[0]["path"].tolist()[0] == "p.png"
    assert passed[0]["track"].tolist()[1] == [1, 2]
    twice = pd.concat([entries[0], entries[0]["path"]], axis=1)
    with pytest.raises(ValueError, match="Entry 0 of boxes has the column path twice"):
        scorer.score(oracle, np.zeros((2, 8, 8)), boxes=[twice, entries[1]])


def test_a_localizer_is_scored_by_tables_that_have_them(change):
    truth = make_truth([0, 1, 1, 1, 9, 9], [0, 2, 20, 1, 29, 9])

    class Located(InstanceLocalizer):
        def localize(self, X):
            return truth[:1].assign(score=1.0, heat=1.0)

    score = Located().score([np.zeros((40, 40), np.uint8)], change(truth))
    assert score == pytest.approx(2 / 3)


@pytest.mark.parametrize("column", ["image", "label", "x_min"])
def test_a_needed_column_must_be_there_once(column, change, tables):
    truth, detections = tables
    table = change(truth)
    twice = pd.concat([table, table[column]], axis=1)
    with pytest.raises(ValueError, match=f"y_true has the column {column} twice; drop"):
        metrics.detection_scores(twice, detections)


def test_a_file_comes_back_without_them(tmp_path):
    truth = make_truth([0, "a", 1, 1, 6, 5])
    dump_coco_file(with_path(truth), tmp_path / "coco.json")
    assert_frame_equal(load_coco_file(tmp_path / "coco.json").instances, truth)
