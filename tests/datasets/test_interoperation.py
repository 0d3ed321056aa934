"""Tables in other libraries, and back; the code of the guide's page, run for real."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_similar.datasets import (
    from_napari,
    from_supervision,
    to_napari,
    to_supervision,
)

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "interoperation.rst"
COLUMNS = ["image", "label", "score", "x_min", "y_min", "x_max", "y_max"]


@pytest.fixture
def table():
    rows = [
        [0, "b", 0.9, 1.0, 2.0, 11.0, 8.0],
        [2, "a", 0.5, 30.0, 20.0, 40.0, 44.0],
        [0, "a", 0.75, 5.0, 5.0, 25.0, 30.0],
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def code_with(words):
    """The code of the guide's page in which some words are."""
    blocks = re.findall(
        r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text("utf-8")
    )
    (block,) = [block for block in blocks if words in block]
    return re.sub(r"^   ", "", block, flags=re.MULTILINE)


def sorted_rows(table):
    return table.sort_values(["image", "x_min"]).reset_index(drop=True)


def test_detections_of_supervision_and_back(table):
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    found = to_supervision(table, 4)
    assert [len(of_image) for of_image in found] == [2, 0, 1, 0]
    assert all(isinstance(of_image, sv.Detections) for of_image in found)
    assert found[0].xyxy.tolist() == table.loc[[0, 2], COLUMNS[3:]].to_numpy().tolist()
    assert found[0].class_id.tolist() == [1, 0]
    assert found[0].data["class_name"].tolist() == ["b", "a"]
    back = from_supervision(found)
    assert_frame_equal(
        sorted_rows(back)[COLUMNS], sorted_rows(table), check_dtype=False
    )
    numbered = table.assign(label=[7, 3, 3])
    back = from_supervision(to_supervision(numbered, classes=[3, 5, 7]), [3, 5, 7])
    assert sorted_rows(back)["label"].tolist() == [7, 3, 3]
    plain = from_supervision(to_supervision(table.drop(columns="score")))
    assert plain.columns.tolist() == ["image", *COLUMNS[1:2], *COLUMNS[3:]]
    assert len(from_supervision(to_supervision(table[:0], 2))) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_guide_draws_tracks_and_counts(table):
    pytest.importorskip("supervision", reason="supervision is not installed")
    frames = [np.zeros((80, 80, 3), np.uint8)] * 3
    moving = pd.concat(
        [
            table[:1].assign(image=n, x_min=1 + n, x_max=21 + n, y_max=30)
            for n in range(3)
        ]
    )
    localizer = SimpleNamespace(classes_=np.array(["a", "b"]))
    names = {"frames": frames, "instances": moving, "localizer": localizer}
    exec(code_with("BoxAnnotator"), names)
    assert names["drawn"].any()
    assert names["n_inside"] == [1, 1, 1]
    pytest.importorskip("trackers", reason="trackers is not installed")
    exec(code_with("ByteTrackTracker"), names)
    # An object is confirmed in its second frame.
    assert names["tracks"]["track"].tolist() == [-1, 0, 0]
    assert names["tracks"]["label"].tolist() == ["b"] * 3


def test_detections_that_do_not_fit_are_refused(table, monkeypatch):
    with pytest.raises(ValueError, match=r"those of one image; pass \[detections\]"):
        from_supervision(SimpleNamespace(xyxy=np.zeros((1, 4))))
    nameless = SimpleNamespace(
        xyxy=np.zeros((1, 4)), class_id=None, data={}, __len__=lambda: 1
    )
    nameless = type("Nameless", (), {**vars(nameless), "__len__": lambda self: 1})()
    with pytest.raises(ValueError, match="image 0 have no class_id and no class_name"):
        from_supervision([nameless])
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace())
    for change, message in (
        ({"n_images": 2}, "image=2; number the images from 0 and below n_images=2"),
        ({"classes": ["b"]}, "label 'a', which is not in classes"),
        (
            {"instances": table.assign(image="a.png")},
            "image='a.png'; number the images",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            to_supervision(**({"instances": table} | change))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="needs supervision, which is not installed"):
        to_supervision(table)


def test_rectangles_begin_at_the_edges_of_pixels(table):
    data, attributes, kind = to_napari(table)
    assert kind == "shapes"
    assert data[0].tolist() == [
        [0, 1.5, 0.5],
        [0, 1.5, 10.5],
        [0, 7.5, 10.5],
        [0, 7.5, 0.5],
    ]
    assert attributes["features"]["label"].tolist() == ["b", "a", "a"]
    data, _, kind = to_napari(table[:1], points=True)
    assert kind == "points"
    assert data.tolist() == [[4.5, 5.5]]
    crowded = table.assign(iscrowd=[True, False, False]).drop(columns="score")
    data, attributes, _ = to_napari(crowded)
    assert len(data) == len(attributes["features"]) == 2
    data, attributes, _ = to_napari(table[:0])
    assert len(data) == len(attributes["features"]) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_layers_of_napari_and_back(table):
    pytest.importorskip("napari.layers", reason="napari is not installed")
    for instances in (table, table[table["image"] == 0]):
        names = {"instances": instances, "image": np.zeros((40, 60))}
        exec(code_with("Layer.create"), names)
        expected = instances.drop(columns="score").reset_index(drop=True)
        assert_frame_equal(names["corrected"], expected, check_dtype=False)
        assert len(names["centres"].data) == len(instances)
        assert names["layer"].features["score"].tolist() == instances["score"].tolist()


@pytest.mark.parametrize(
    ("shape", "label", "message"),
    [
        ([[0, 1, 1], [1, 5, 5]], "a", "Shape 0 lies on several images"),
        ([[0, 0, 1, 1], [0, 0, 5, 5]], "a", "Shape 0 has 4 coordinates"),
        ([[1, 1], [5, 5]], np.nan, "Shape 0 has no label"),
    ],
)
def test_shapes_that_are_no_boxes_are_refused(shape, label, message):
    layer = SimpleNamespace(data=[np.array(shape)])
    layer.features = pd.DataFrame({"label": [label]})
    with pytest.raises(ValueError, match=message):
        from_napari(layer)


def test_shapes_are_clipped_to_the_image():
    layer = SimpleNamespace(data=[np.array([[-3.0, 2.5], [5.5, 20.0]])])
    layer.features = pd.DataFrame({"label": ["a"]})
    clipped = from_napari(layer, image_shape=(8, 10))
    assert clipped[["x_min", "y_min", "x_max", "y_max"]].values.tolist() == [
        [3, 0, 10, 6]
    ]
    message = r"^Shape 0 lies outside the image of 2 x 1 pixels \(height x width\); del"
    with pytest.raises(ValueError, match=message):
        from_napari(layer, image_shape=(2, 1))


@pytest.mark.parametrize("image_shape", [None, (20, 20)])
def test_a_line_inside_the_image_has_no_area(image_shape):
    layer = SimpleNamespace(data=[np.array([[4.0, 2.0], [4.0, 9.0]])])
    layer.features = pd.DataFrame({"label": ["a"]})
    message = "^Shape 0 has no area: its bounding box has height 0 and width 7; delete"
    with pytest.raises(ValueError, match=message):
        from_napari(layer, image_shape=image_shape)


def test_shapes_with_less_than_a_pixel_in_the_image_lie_outside():
    layer = SimpleNamespace(data=[np.array([[-9.0, 2.0], [-0.4, 9.0]])])
    layer.features = pd.DataFrame({"label": ["a"]})
    with pytest.raises(ValueError, match=r"^Shape 0 lies outside the image of 20 x 30"):
        from_napari(layer, image_shape=(20, 30))
    # What is drawn that small is kept.
    layer.data = [np.array([[-0.5, 2.0], [0.0, 9.0]])]
    assert from_napari(layer, image_shape=(20, 30))["y_max"].tolist() == [0.5]


@pytest.mark.parametrize("image_shape", [(20, 20, 3), (20, 0), (20.0, 20.0), 20, "20"])
def test_a_shape_that_is_no_height_and_width_is_refused(image_shape):
    layer = SimpleNamespace(data=[], features=pd.DataFrame({"label": []}))
    with pytest.raises(ValueError, match=r"^image_shape is .*; pass the height and wi"):
        from_napari(layer, image_shape=image_shape)


def test_a_coco_file_has_what_pycocotools_and_fiftyone_read(table, tmp_path):
    coco = pytest.importorskip(
        "pycocotools.coco", reason="pycocotools is not installed"
    )
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    for number in range(3):
        pillow.new("L", (60, 50)).save(tmp_path / f"{number}.png")
    exec(code_with("dump_annotations"), {"folder": tmp_path, "instances": table})
    content = json.loads((tmp_path / "labels.json").read_text("utf-8"))
    assert [image["file_name"] for image in content["images"]] == [
        f"{number}.png" for number in range(3)
    ]
    for annotation in content["annotations"]:
        assert {
            "id",
            "image_id",
            "category_id",
            "bbox",
            "area",
            "iscrowd",
            "score",
        } <= (set(annotation))
    read = coco.COCO(str(tmp_path / "labels.json"))
    assert len(read.getAnnIds()) == 3
    assert sorted(c["name"] for c in read.loadCats(read.getCatIds())) == ["a", "b"]


def test_a_channel_of_an_ome_tiff_is_picked_by_name(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    stack = np.arange(3 * 8 * 10, dtype=np.uint16).reshape(3, 8, 10)
    metadata = {"axes": "CYX", "Channel": {"Name": ["GFP", "DAPI", "phase"]}}
    tifffile.imwrite(tmp_path / "cells.ome.tif", stack, metadata=metadata)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_with("tifffile.TiffFile"), names)
    np.testing.assert_array_equal(names["image"], stack[1])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_channel_of_an_ome_zarr_is_picked_by_name(version, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed")
    stack = np.arange(2 * 3 * 8 * 10, dtype=np.uint16).reshape(2, 3, 1, 8, 10)
    path = tmp_path / "cells.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    array = group.create_array("0", shape=stack.shape, dtype=stack.dtype)
    array[:] = stack
    metadata = {
        "multiscales": [
            {"axes": [{"name": name} for name in "tczyx"], "datasets": [{"path": "0"}]}
        ],
        "omero": {"channels": [{"label": name} for name in ("GFP", "DAPI", "phase")]},
    }
    group.attrs.update(metadata if version == "0.4" else {"ome": metadata})
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_with("zarr.open_group"), names)
    np.testing.assert_array_equal(names["image"], stack[0, 1, 0])
