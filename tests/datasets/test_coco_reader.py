"""COCO files are read, or refused with the name of the entry."""

import json

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_similar.datasets import dump_coco_file, load_coco_file
from sklearn_similar.datasets._coco_reader import read_coco
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


def change_first(path, **values):
    """Write TRUTH, with other values of keys of its first annotation."""
    dump_coco_file(TRUTH, path)
    content = json.loads(path.read_text())
    content["annotations"][0] |= values
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("value", [1, True, "1", "true", " True "])
def test_crowds_have_a_column_and_are_written_back(path, value):
    change_first(path, iscrowd=value)
    loaded = load_coco_file(path).instances
    assert_frame_equal(loaded, TRUTH.assign(iscrowd=[True, False, False]))
    dump_coco_file(loaded, path)
    annotations = json.loads(path.read_text())["annotations"]
    assert [entry["iscrowd"] for entry in annotations] == [1, 0, 0]


@pytest.mark.parametrize("value", [0, False, None, 0.0, "0", "false", "False", ""])
def test_no_crowd_is_read_from_a_text_that_says_no(path, value):
    change_first(path, iscrowd=value)
    assert_frame_equal(load_coco_file(path).instances, TRUTH)


@pytest.mark.parametrize("value", [2, "maybe", [1], {}])
def test_an_unknown_mark_of_a_crowd_is_refused(path, value):
    change_first(path, iscrowd=value)
    with pytest.raises(ValueError, match=r"annotations 0 in .* has iscrowd=.* 0 or 1"):
        load_coco_file(path)


def test_a_box_that_cvat_rotated_becomes_the_box_around_it(path):
    change_first(path, bbox=[10, 20, 8, 4], attributes={"rotation": 90.0})
    box = load_coco_file(path).instances.loc[0, ["x_min", "y_min", "x_max", "y_max"]]
    np.testing.assert_allclose(box.astype(float), [12, 18, 16, 26])
    change_first(path, attributes={"occluded": True, "rotation": 0.0})
    assert_frame_equal(load_coco_file(path).instances, TRUTH)
    change_first(path, attributes={"rotation": "x"})
    with pytest.raises(ValueError, match="has rotation='x'; it should be a number"):
        load_coco_file(path)


@pytest.mark.parametrize(("width", "n_rectangles"), [(40, 2), (30, 1)])
def test_label_studio_may_have_distorted_rectangles(path, width, n_rectangles):
    shapes = [(30, width), (30, 30), (30, 40)]
    dump_coco_file(TRUTH, path, image_shapes=shapes)
    content = json.loads(path.read_text())
    content["info"] = {"contributor": "Label Studio"}
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    # A polygon is right.
    content["annotations"][2]["segmentation"] = [[0, 0, 1, 0, 1, 1]]
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=f"^{n_rectangles} rectangle.* export as JSON"):
        load_coco_file(path)


def test_label_studio_is_right_in_square_images(path, recwarn):
    dump_coco_file(TRUTH, path, image_shapes=[(30, 30)] * 3)
    content = json.loads(path.read_text())
    content["info"] = {"contributor": "Label Studio"}
    path.write_text(json.dumps(content))
    load_coco_file(path)
    assert len(recwarn) == 0


def test_results_of_nothing_have_the_columns_of_results(path):
    dump_coco_file(FOUND[:0], path)
    loaded = load_coco_file(path, image_ids=[0], category_ids={"coin": 1}).instances
    assert loaded.columns.tolist() == FOUND.columns.tolist()
    assert loaded.dtypes[["score", "heat"]].tolist() == [float, float]
    assert average_precision(TRUTH, loaded) == 0.0


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_heat_is_written_and_read_as_missing(path, missing):
    found = FOUND.assign(heat=pd.Series([1.5, missing, 0.25], dtype=object))
    dump_coco_file(found, path)
    loaded = load_coco_file(
        path, image_ids=[0, 1, 2], category_ids={"coin": 1, "key": 2}
    ).instances
    assert_frame_equal(loaded, FOUND)


@pytest.mark.parametrize("first", [True, False])
def test_a_category_without_annotations_may_repeat_a_name(path, first):
    # Roboflow's first category is named after the project.
    dump_coco_file(TRUTH, path)
    content = json.loads(path.read_text())
    root = {"id": 0, "name": "coin", "supercategory": "none"}
    categories = content["categories"]
    content["categories"] = [root, *categories] if first else [*categories, root]
    path.write_text(json.dumps(content))
    loaded = load_coco_file(path)
    assert_frame_equal(loaded.instances, TRUTH)
    assert loaded.category_ids == {"coin": 1, "key": 2}


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
        (["annotations", 1], 5, "Entry of annotations 1 in .* is not an object"),
        (["annotations", 1, "bbox"], None, "annotations 1 in .* lacks 'bbox'"),
        (["annotations", 1, "bbox"], [1, 2, 3], r"has bbox=\[1, 2, 3\]; it should be"),
        (["annotations", 1, "bbox", 2], -1, "of negative size"),
        (["annotations", 1, "bbox", 2], "9", "has bbox='9'; it should be a number"),
        (["annotations", 1, "bbox", 2], True, "has bbox=True; it should be a number"),
        (["annotations", 1, "bbox", 2], 10**400, "it should be a number"),
        (["annotations", 1, "image_id"], 99, "image_id=99, which is not an image"),
        (["annotations", 1, "image_id"], [0], r"image_id=\[0\]; it should be an int"),
        (
            ["annotations", 1, "category_id"],
            99,
            "category_id=99, which is not a category",
        ),
        (["annotations", 1, "category_id"], {}, "category_id={}; it should be an int"),
        (["annotations", 1, "score"], 0.5, "have a score and some have none"),
        (["images", 1, "id"], 0, "images of .* hold 0 twice"),
        (["images", 1, "file_name"], 5, "file_name=5; it should be a string"),
        (["categories", 1, "id"], 1, "categories of .* hold 1 twice"),
        (["categories", 1, "name"], "coin", "names of categories .* 'coin' twice"),
        (["annotations", 1, "iscrowd"], "often", "iscrowd='often'; it should be 0 or"),
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
        (b"", "is not valid JSON"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"3", "holds an int; COCO's files hold an object"),
        (b"[3]", "Result 0 in .* is not an object"),
        (b'[{"image_id": 0, "category_id": 1, "bbox": [NaN, 0, 1, 1]}]', "holds NaN"),
        (b"1" * 10_000, "is not valid JSON"),
    ],
)
def test_files_of_another_format_are_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_coco_file(path, image_ids=[0], category_ids={"a": 1})


def test_folders_and_missing_files_are_refused(path):
    with pytest.raises(ValueError, match="is not a file"):
        load_coco_file(path.parent)
    with pytest.raises(FileNotFoundError):
        load_coco_file(path)


def test_sizes_of_images_are_read_if_they_are_valid(path):
    dump_coco_file(TRUTH, path, image_shapes=[(30, 40), (50, 60), (70, 80)])
    content = json.loads(path.read_text())
    content["images"][1]["width"] = -1
    del content["images"][2]["height"]
    path.write_text(json.dumps(content))
    assert read_coco(path).image_sizes == [(30, 40), None, None]
    assert read_coco(path, image_ids=[2, 1, 0]).image_sizes == [None, None, (30, 40)]
