"""Tables of instances in COCO's JSON, beside pycocotools where it is there."""

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
FOUND = TRUTH.assign(score=[0.9, 0.8, 0.7], heat=[1.5, np.nan, 0.25])[
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


def test_found_instances_are_results_that_name_images_and_labels_as_the_truth(path):
    ids, categories = ["x", "y", "z"], {"key": 30, "coin": 10, "other": 20}
    dump_coco_file(FOUND, path, image_ids=ids, category_ids=categories)
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
    assert_frame_equal(coco.instances, FOUND)
    # Numbers of images and of labels would be other ones.
    for given in ({}, {"image_ids": ids}, {"category_ids": categories}):
        with pytest.raises(
            ValueError, match="pass image_ids and category_ids, such as"
        ):
            load_coco_file(path, **given)


@pytest.mark.parametrize("labels", [[3, 1, 1], [True, False, True]])
def test_labels_keep_their_type(path, labels):
    categories = {label: n for n, label in enumerate(sorted(set(labels)), 1)}
    for table in (TRUTH, FOUND):
        dump_coco_file(table.assign(label=labels), path)
        loaded = load_coco_file(path, image_ids=range(3), category_ids=categories)
        assert_frame_equal(loaded.instances, table.assign(label=labels))


@pytest.mark.parametrize("unit", [1, 0.125, 1e-3 / 3])
def test_boxes_come_back(path, unit):
    corners = np.random.default_rng(0).integers(0, 100_000, (200, 4)) * unit
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]])
    table = pd.DataFrame(boxes, columns=TRUTH.columns[2:])
    table.insert(0, "label", "a")
    table.insert(0, "image", 0)
    dump_coco_file(table, path)
    loaded = load_coco_file(path).instances
    is_exact = unit != 1e-3 / 3  # neither a whole number nor a power of two
    assert_frame_equal(loaded, table, check_exact=is_exact, rtol=1e-15)


def test_tables_without_rows_are_files_too(path):
    for table in (TRUTH[:0], FOUND[:0]):
        dump_coco_file(table, path)
        loaded = load_coco_file(path, image_ids=[], category_ids={}).instances
        assert len(loaded) == 0
        assert set(TRUTH.columns) <= set(loaded.columns)


def test_pycocotools_reads_both_files_and_scores_as_we_do(path, tmp_path, capsys):
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
    found = truth.sample(40, random_state=0).assign(score=rng.random(40))
    found["x_max"] += rng.integers(0, 9, 40)
    dump_coco_file(truth, path)
    dump_coco_file(found, tmp_path / "found.json")
    reference = coco.COCO(path)
    results = reference.loadRes(os.fspath(tmp_path / "found.json"))
    assert len(results.getAnnIds()) == 40
    evaluation = cocoeval.COCOeval(reference, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert average_precision(truth, found) == pytest.approx(evaluation.stats[1])
    assert 0.1 < evaluation.stats[1] < 0.9


def test_crowds_are_left_out_with_a_warning(path):
    dump_coco_file(TRUTH, path)
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"iscrowd": 1, "bbox": None}
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"1 region of .* marked as crowds are left"):
        loaded = load_coco_file(path)
    assert_frame_equal(loaded.instances, TRUTH[1:].reset_index(drop=True))


def changed(content, where, value):
    content = json.loads(json.dumps(content))
    target = content
    for key in where[:-1]:
        target = target[key]
    if value is None:
        del target[where[-1]]
    else:
        target[where[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["images"], None, "has no list of images"),
        (["images"], {}, "has no list of images"),
        (["annotations", 1], 5, "Entry of annotations 1 in .* is no object"),
        (["annotations", 1, "bbox"], None, "annotations 1 in .* lacks 'bbox'"),
        (["annotations", 1, "bbox"], [1, 2, 3], r"has bbox=\[1, 2, 3\]; it should be"),
        (["annotations", 1, "bbox", 2], -1, "of negative size"),
        (["annotations", 1, "bbox", 2], "9", "has bbox='9'; it should be a number"),
        (["annotations", 1, "bbox", 2], True, "has bbox=True; it should be a number"),
        (["annotations", 1, "bbox", 2], 10**400, "it should be a number"),
        (["annotations", 1, "image_id"], 99, "image_id=99, which is no image"),
        (["annotations", 1, "image_id"], [0], r"image_id=\[0\]; it should be an int"),
        (["annotations", 1, "category_id"], 99, "category_id=99, which is no category"),
        (["annotations", 1, "category_id"], {}, "category_id={}; it should be an int"),
        (["annotations", 1, "score"], 0.5, "have a score and some have none"),
        (["images", 1, "id"], 0, "images of .* hold 0 twice"),
        (["images", 1, "file_name"], 5, "file_name=5; it should be a string"),
        (["categories", 1, "id"], 1, "categories of .* hold 1 twice"),
        (["categories", 1, "name"], "coin", "names of categories .* 'coin' twice"),
        (["categories", 1, "name"], 2, "strings and numbers|numbers and strings"),
        (["categories", 1, "name"], [2], "it should be a string"),
    ],
)
def test_each_damage_of_a_data_set_is_named(path, where, value, message):
    dump_coco_file(TRUTH, path)
    path.write_text(changed(json.loads(path.read_text()), where, value))
    with pytest.raises(ValueError, match=message):
        load_coco_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"3", "holds an int; COCO's files hold an object"),
        (b"[3]", "Result 0 in .* is no object"),
        (b'[{"image_id": 0, "category_id": 1, "bbox": [NaN, 0, 1, 1]}]', "holds NaN"),
        (b"1" * 10_000, "is no JSON"),
    ],
)
def test_what_is_no_file_of_coco_s_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_coco_file(path, image_ids=[0], category_ids={"a": 1})


def test_a_folder_is_no_file_and_a_missing_file_is_missing(path):
    with pytest.raises(ValueError, match="is not a file"):
        load_coco_file(path.parent)
    with pytest.raises(FileNotFoundError):
        load_coco_file(path)


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
def test_what_cannot_be_written_leaves_the_old_file(path, change, params, message):
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        dump_coco_file(TRUTH.assign(**change), path, **params)
    assert path.read_text() == "old"
