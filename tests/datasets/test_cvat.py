"""CVAT's shapes are read as boxes."""

import math

import numpy as np
import pytest
from annotated_images import BOX, make_image, rows_of, write

from sklearn_similar.datasets import load_annotations


def cvat(folder, *shapes):
    return write(
        folder / "annotations.xml",
        f"""<?xml version="1.0" encoding="utf-8"?>
        <annotations><version>1.1</version><meta><task><name>x</name></task></meta>
        <image id="0" name="deep/a.png" width="40" height="20">{"".join(shapes)}</image>
        <image id="1" name="b.png" width="40" height="20"></image></annotations>""",
    )


def box(corners, **attributes):
    values = dict(zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)) | attributes
    text = " ".join(f"{key}='{value}'" for key, value in values.items())
    return f"<box label='coin' {text}/>"


@pytest.fixture
def folder(tmp_path):
    make_image(tmp_path / "images" / "deep" / "a.png")
    make_image(tmp_path / "images" / "b.png")
    return tmp_path


def test_images_without_boxes_stay_in_the_list(folder):
    path = cvat(folder, box((10.5, 5, 30, 15)))
    for one in (folder, path):
        paths, instances = load_annotations(one)
        images = folder / "images"
        assert paths == [images / "deep" / "a.png", images / "b.png"]
        assert rows_of(instances) == [(0, "coin", 10.5, 5, 30, 15)]


@pytest.mark.parametrize(
    "shape",
    [
        "<polygon label='coin' points='10,7;20,5;30.0,15'/>",
        "<mask label='coin' left='10' top='5' width='20' height='10' rle='1'/>",
    ],
)
def test_polygons_and_masks_become_boxes(folder, shape):
    cvat(folder, shape)
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 10, 5, 30, 15)]


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 181.5, 359])
def test_a_rotated_box_becomes_the_box_around_it(folder, degrees):
    # Width and height of a rectangle that is rotated about its centre (20, 10).
    sin, cos = (abs(f(math.radians(degrees))) for f in (math.sin, math.cos))
    half = np.array([10 * cos + 4 * sin, 10 * sin + 4 * cos]) / 2
    cvat(folder, box((15, 8, 25, 12), rotation=degrees))
    found = load_annotations(folder)[1][BOX].to_numpy().reshape(2, 2)
    np.testing.assert_allclose(found - (20, 10), [-half, half])


def test_other_shapes_are_left_out_with_a_warning(folder):
    cvat(folder, "<points label='x' points='1,1'/>", "<ellipse label='x' cx='1'/>")
    with pytest.warns(
        UserWarning, match=r"2 shapes .* as ellipse, points are not read"
    ):
        assert len(load_annotations(folder)[1]) == 0


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (box((1, 2, "inf", 4)), r"Image 'deep/a\.png' of '.*\.xml' has xbr='inf'"),
        ("<box label='coin'/>", "has xtl=None; it should be a finite number"),
        ("<box/>", "has no label"),
        ("<polygon label='x' points='1,2,3'/>", "has a polygon whose points are not x"),
        ("</image><track/><image>", "holds tracks of a video; export it from CVAT as"),
    ],
)
def test_each_damage_is_named(folder, shape, message):
    cvat(folder, shape)
    with pytest.raises(ValueError, match=message):
        load_annotations(folder)
