"""Label Studio's export is read in pixels."""

import json
import math

import numpy as np
import pytest
from annotated_images import BOX, make_image, rows_of, write

from sklearn_similar.datasets import load_annotations


def rectangle(x=25, y=25, width=50, height=50, rotation=0, label="coin", **region):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": "r1",
        "type": "rectanglelabels",
        "original_width": 40,
        "original_height": 20,
        "value": value | {"rectanglelabels": [label]},
    } | region


def task(*regions, image="a.png", key="annotations", **entry):
    return {"data": {"image": image}, key: [{"result": list(regions)} | entry]}


def export(folder, *tasks):
    return write(folder / "export.json", json.dumps(list(tasks)))


@pytest.fixture
def folder(tmp_path):
    make_image(tmp_path / "a.png")
    make_image(tmp_path / "b.png")
    return tmp_path


def test_percentages_become_pixels(folder):
    path = export(folder, task(rectangle()), task(image="b.png"))
    for one in (folder, path):
        paths, instances = load_annotations(one)
        assert paths == [folder / "a.png", folder / "b.png"]
        assert rows_of(instances) == [(0, "coin", 10, 5, 30, 15)]


@pytest.mark.parametrize("degrees", [30, 90, 270, -45])
def test_rotation_is_in_pixels_about_the_upper_left_corner(tmp_path, degrees):
    make_image(tmp_path / "a.png", 400, 200)
    # A box of 40 x 20 pixels, rotated about the pixel (200, 100).
    region = rectangle(50, 50, 10, 10, degrees)
    export(tmp_path, task(region | {"original_width": 400, "original_height": 200}))
    turn = np.exp(1j * math.radians(degrees))
    corners = 200 + 100j + np.array([0, 40, 40 + 20j, 20j]) * turn
    expected = [
        *(corners.real.min(), corners.imag.min()),
        *(corners.real.max(), corners.imag.max()),
    ]
    found = load_annotations(tmp_path)[1][BOX].to_numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_polygon_becomes_a_box(folder):
    value = {"points": [[25, 50], [50, 25], [75, 75]], "polygonlabels": ["coin"]}
    export(folder, task({"type": "polygonlabels", "value": value}))
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 10, 5, 30, 15)]


def test_rectangles_with_separate_labels_are_read_once(folder):
    value = {"x": 25, "y": 25, "width": 50, "height": 50}
    plain = {"id": "1", "type": "rectangle", "value": value}
    labelled = {"id": "1", "type": "labels", "value": value | {"labels": ["coin"]}}
    export(folder, task(plain, labelled))
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 10, 5, 30, 15)]


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/1/0a1b2c3d-a.png",
        "/data/local-files/?d=photographs/a.png",
        "/data/local-files/?d=photographs%2Fa.png",
        "https://example.org/files/a.png?token=x",
        "s3://bucket/deep/a.png",
    ],
)
def test_addresses_of_images_are_understood(folder, image):
    export(folder, task(image=image))
    assert load_annotations(folder)[0] == [folder / "a.png"]


def test_names_are_recognised_that_an_upload_changed(tmp_path):
    image = make_image(tmp_path / "IMG (1) ä.png")
    export(tmp_path, task(image="/data/upload/7/0a1b2c3d-IMG_1_%C3%A4.png"))
    assert load_annotations(tmp_path)[0] == [image]


def test_the_image_may_have_another_key(folder):
    changed = task(rectangle())
    changed["data"] = {"title": "a coin", "photo": "a.png"}
    export(folder, changed)
    assert load_annotations(folder)[0] == [folder / "a.png"]
    changed["data"]["mask"] = "b.png"
    export(folder, changed)
    with pytest.raises(ValueError, match=r"Task 0 of .* names 2 images in its data"):
        load_annotations(folder)


def entry(label, **entry):
    return {"result": [rectangle(label=label)]} | entry


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        (
            [entry("old", updated_at="2024-01-01"), entry("new", updated_at="2025")],
            "new",
        ),
        ([entry("new", updated_at="2025"), entry("old", updated_at="2024")], "new"),
        ([entry("first"), entry("last")], "last"),
        ([entry("truth", ground_truth=True), entry("other", updated_at="9")], "truth"),
        ([entry("valid"), entry("skipped", was_cancelled=True)], "valid"),
    ],
)
def test_one_of_several_annotations_is_read(folder, annotations, label):
    export(folder, {"data": {"image": "a.png"}, "annotations": annotations})
    assert load_annotations(folder)[1]["label"].tolist() == [label]


def test_predictions_are_read_only_if_nothing_is_annotated(folder):
    predicted = task(rectangle(label="guess"), image="b.png", key="predictions")
    export(folder, predicted)
    assert load_annotations(folder)[1]["label"].tolist() == ["guess"]
    export(folder, predicted, task(rectangle()))
    with pytest.warns(UserWarning, match="1 task of .* have not been annotated"):
        paths, instances = load_annotations(folder)
    assert paths == [folder / "a.png"]
    assert instances["label"].tolist() == ["coin"]


def test_other_regions_are_left_out_with_a_warning(folder):
    brush = {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["coin"]}}
    choice = {"type": "choices", "value": {"choices": ["sharp"]}}
    bare = {"id": "2", "type": "rectangle", "value": {"x": 1}}
    export(folder, task(brush, choice, bare))
    with pytest.warns(UserWarning, match=r"2 regions .* brushlabels, rectangle are no"):
        assert len(load_annotations(folder)[1]) == 0


def test_a_rotated_box_needs_the_size_of_its_image(folder):
    region = rectangle(rotation=10)
    del region["original_width"]
    export(folder, task(region))
    with pytest.raises(ValueError, match="a rotated box, but not the original_width"):
        load_annotations(folder)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (task(rectangle(x=None)), r"Task 0 of '.*\.json' has x=None; it should be"),
        (task(rectangle(label=5)), "has no label"),
        (task(rectangle(image_rotation=90)), "an image that was rotated in Label St"),
        (task(5), "has a result that is not a list of objects"),
        (
            {"data": {"image": "a.png"}, "annotations": [7]},
            "annotations that are not a",
        ),
        ({"data": {"image": "a.png"}}, "holds neither annotations nor predictions"),
        ({"data": {"text": "x"}}, "names 0 images in its data"),
    ],
)
def test_each_damage_is_named(folder, made, message):
    export(folder, made)
    with pytest.raises(ValueError, match=message):
        load_annotations(folder)


def test_a_task_without_data_is_refused(folder):
    export(folder, task(rectangle()), {"annotations": []})
    with pytest.raises(ValueError, match=r"Task 1 of .* has no data"):
        load_annotations(folder)


def test_a_rectangle_without_a_label_is_left_out_with_a_warning(folder):
    region = rectangle()
    region["value"]["rectanglelabels"] = []
    path = export(folder, task(rectangle(id="r2"), region))
    with pytest.warns(UserWarning, match="1 region of .* left out, as rectanglelabels"):
        _, instances = load_annotations(path, folder)
    assert len(instances) == 1
