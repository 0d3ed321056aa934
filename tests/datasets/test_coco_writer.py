"""Tables are written as COCO's JSON, which pycocotools reads."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_similar.datasets import dump_coco_file, load_coco_file
from sklearn_similar.metrics import average_precision

TRUTH = pd.DataFrame(
    [
        [2, "key", 0, 0, 8, 20],
        [0, "coin", 10, 5, 30, 25],
        [0, "key", 3, 4, 5, 6],
    ],
    columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
)
DETECTIONS = TRUTH.assign(score=[0.9, 0.8, 0.7], heat=[1.5, np.nan, 0.25])[
    ["image", "label", "score", "heat", "x_min", "y_min", "x_max", "y_max"]
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coco.json"


def test_truth_is_a_data_set_by_the_conventions_of_coco(path):
    dump_coco_file(
        TRUTH,
        path,
        image_ids=[7, 8, 9, 10],
        file_names=["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        image_shapes=[(30, 40)] * 3 + [(50, 60, 3)],
    )
    content = json.loads(path.read_text())
    assert content["images"][0] == {
        "id": 7,
        "file_name": "a.jpg",
        "height": 30,
        "width": 40,
    }
    assert content["images"][3]["width"] == 60
    assert content["categories"] == [
        {"id": 1, "name": "coin"},
        {"id": 2, "name": "key"},
    ]
    assert content["annotations"][0] == {
        "id": 1,
        "image_id": 9,
        "category_id": 2,
        "bbox": [0, 0, 8, 20],
        "area": 160,
        "iscrowd": 0,
    }
    assert content["annotations"][1]["bbox"] == [10, 5, 20, 20]
    coco = load_coco_file(path)
    assert_frame_equal(coco.instances, TRUTH)
    assert coco.image_ids == [7, 8, 9, 10]
    assert coco.file_names == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert coco.category_ids == {"coin": 1, "key": 2}


def test_detections_are_results_with_the_ids_of_the_truth(path):
    ids, categories = ["x", "y", "z"], {"key": 30, "coin": 10, "other": 20}
    dump_coco_file(DETECTIONS, path, image_ids=ids, category_ids=categories)
    content = json.loads(path.read_text())
    assert content[0] == {
        "image_id": "z",
        "category_id": 30,
        "bbox": [0, 0, 8, 20],
        "score": 0.9,
        "heat": 1.5,
    }
    assert "heat" not in content[1]
    coco = load_coco_file(path, image_ids=ids, category_ids=categories)
    assert_frame_equal(coco.instances, DETECTIONS)
    # Other ids would give other numbers of images and labels.
    for given in ({}, {"image_ids": ids}, {"category_ids": categories}):
        with pytest.raises(
            ValueError, match="pass image_ids and category_ids, such as"
        ):
            load_coco_file(path, **given)


@pytest.mark.parametrize("labels", [[3, 1, 1], [True, False, True]])
def test_labels_keep_their_type(path, labels):
    categories = {label: n for n, label in enumerate(sorted(set(labels)), 1)}
    for table in (TRUTH, DETECTIONS):
        dump_coco_file(table.assign(label=labels), path)
        loaded = load_coco_file(path, image_ids=range(3), category_ids=categories)
        assert_frame_equal(loaded.instances, table.assign(label=labels))


@pytest.mark.parametrize("unit", [1, 0.125, 1e-3 / 3])
def test_boxes_are_read_back(path, unit):
    corners = np.random.default_rng(0).integers(0, 100_000, (200, 4)) * unit
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]])
    table = pd.DataFrame(boxes, columns=TRUTH.columns[2:])
    table.insert(0, "label", "a")
    table.insert(0, "image", 0)
    dump_coco_file(table, path)
    loaded = load_coco_file(path).instances
    is_exact = unit != 1e-3 / 3  # neither a whole number nor a power of two
    assert_frame_equal(loaded, table, check_exact=is_exact, rtol=1e-15)


def test_empty_tables_can_be_written(path):
    for table in (TRUTH[:0], DETECTIONS[:0]):
        dump_coco_file(table, path)
        loaded = load_coco_file(path, image_ids=[], category_ids={}).instances
        assert len(loaded) == 0
        assert set(TRUTH.columns) <= set(loaded.columns)


def test_pycocotools_reads_both_files_and_gives_the_same_scores(path, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 80, (60, 2))
    truth = pd.DataFrame(
        np.hstack([corner, corner + rng.integers(5, 20, (60, 2))]),
        columns=["x_min", "y_min", "x_max", "y_max"],
    )
    truth.insert(0, "label", rng.choice(["a", "b"], 60))
    truth.insert(0, "image", np.sort(rng.integers(0, 6, 60)))
    detections = truth.sample(40, random_state=0).assign(score=rng.random(40))
    detections["x_max"] += rng.integers(0, 9, 40)
    dump_coco_file(truth, path)
    dump_coco_file(detections, tmp_path / "detections.json")
    reference = coco.COCO(path)
    results = reference.loadRes(os.fspath(tmp_path / "detections.json"))
    assert len(results.getAnnIds()) == 40
    evaluation = cocoeval.COCOeval(reference, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert average_precision(truth, detections) == pytest.approx(evaluation.stats[1])
    assert 0.1 < evaluation.stats[1] < 0.9


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        ({"image": "a"}, {}, "image='a'; number the images from 0"),
        ({"image": -1}, {}, "image=-1; number the images from 0"),
        ({"label": 0.5}, {}, "label 0.5, .* convert labels to strings"),
        ({}, {"image_ids": [1]}, "has image=2, but image_ids has 1 value"),
        ({}, {"image_ids": [1, 1, 2]}, "image_ids hold 1 twice"),
        ({}, {"image_ids": [1, 2, 0.5]}, "image_ids holds 0.5; pass integers"),
        ({}, {"image_ids": "abc"}, "image_ids is a str"),
        ({}, {"image_ids": [1, 2, 3], "file_names": ["a"]}, "Lengths differ"),
        ({}, {"category_ids": {"key": 1}}, "category_ids lacks the label 'coin'"),
        ({}, {"category_ids": {"key": 1, "coin": 1}}, "category_ids hold 1 twice"),
        ({}, {"category_ids": {"key": 1, "coin": "2"}}, "has '2' for 'coin'; pass int"),
        ({}, {"category_ids": ["key"]}, "category_ids is a list; pass a dict"),
    ],
)
def test_an_error_leaves_the_old_file(path, change, params, message):
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        dump_coco_file(TRUTH.assign(**change), path, **params)
    assert path.read_text() == "old"


def test_heat_must_be_numbers(path):
    with pytest.raises(ValueError, match="Column 'heat' of instances has dtype"):
        dump_coco_file(DETECTIONS.assign(heat="hot"), path)
    twice = pd.concat([DETECTIONS, DETECTIONS["heat"]], axis=1)
    with pytest.raises(ValueError, match="instances has the column heat twice"):
        dump_coco_file(twice, path)
