"""LabelMe's shapes are read as boxes."""

import json

import pytest
from annotated_images import make_image, rows_of, write

from sklearn_similar.datasets import load_annotations


def labelme(folder, *shapes, image_path="a.png", size=(20, 40)):
    content = {
        "version": "5.5.0",
        "shapes": list(shapes),
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    return write(folder / "a.json", json.dumps(content))


def shape(kind, *points, label="coin"):
    return {"label": label, "points": list(points), "shape_type": kind}


@pytest.fixture
def folder(tmp_path):
    make_image(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    ("made", "box"),
    [
        (shape("rectangle", [10, 5], [30, 15.5]), (10, 5, 30, 15.5)),
        (shape("rectangle", [30, 15], [10, 5]), (10, 5, 30, 15)),
        (shape("rectangle", [10, 5], [30, 5], [30, 15], [10, 15]), (10, 5, 30, 15)),
        (shape("polygon", [10, 7], [20, 5], [30, 15]), (10, 5, 30, 15)),
        (shape(None, [10, 7], [20, 5], [30, 15]), (10, 5, 30, 15)),
        (shape("circle", [20, 10], [23, 14]), (15, 5, 25, 15)),
        (shape("mask", [10, 5], [29, 14]), (10, 5, 30, 15)),
        (shape("rectangle", [-3, -2], [99, 15]), (0, 0, 40, 15)),
    ],
)
def test_shapes_become_boxes(folder, made, box):
    path = labelme(folder, made)
    for one in (folder, path):
        paths, instances = load_annotations(one)
        assert paths == [folder / "a.png"]
        assert rows_of(instances) == [(0, "coin", *box)]


def test_points_and_lines_are_left_out_with_a_warning(folder):
    shapes = shape("point", [1, 1]), shape("line", [1, 1], [5, 5])
    labelme(folder, *shapes)
    with pytest.warns(UserWarning, match=r"2 shapes of '.*a\.json' left out"):
        paths, instances = load_annotations(folder)
    assert len(paths) == 1
    assert len(instances) == 0


def test_the_path_of_the_image_starts_at_the_file(tmp_path):
    image = make_image(tmp_path / "photographs" / "a.png")
    labelme(tmp_path / "boxes", image_path="..\\photographs\\a.png")
    paths, _ = load_annotations(tmp_path / "boxes")
    assert [path.resolve() for path in paths] == [image]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            shape("rectangle", [1, 1], [5, 5], label=""),
            r"Shape 0 of '.*a\.json' has no",
        ),
        (shape("rectangle", [1, 1], [5]), "has points that are not a list of"),
        (shape("rectangle", [1, "x"], [5, 5]), "has y='x'; it should be a finite"),
        (shape("rectangle", [1, 10**400], [5, 5]), "it should be a finite number"),
        (5, "has shapes that are not a list of objects"),
    ],
)
def test_each_damage_is_named(folder, made, message):
    labelme(folder, made)
    with pytest.raises(ValueError, match=message):
        load_annotations(folder)
