"""Annotations are written as the tools read them, and read back unchanged."""

import json
import os
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from annotated_images import BOX, make_image, rows_of, table_of
from hostile_files import damaged
from pandas.testing import assert_frame_equal

from sklearn_similar.datasets import dump_annotations, load_annotations
from sklearn_similar.datasets._formats import FORMATS

TRUTH = table_of(
    (0, "coin", 10, 5, 30, 15),
    (0, "Schlüssel <&\"'>: 1", 0, 0, 40, 20),
    (2, "no", 1, 2, 3, 4),
)
TRUTH[BOX] = TRUTH[BOX].astype(float)


@pytest.fixture
def images(tmp_path):
    return [make_image(tmp_path / "images" / f"{name}.png") for name in "abc"]


def target(folder, name):
    """A path to write to, next to the images."""
    known = FORMATS[name]
    return folder if known.writes_folder else folder / f"x{known.suffixes[0]}"


@pytest.fixture(params=FORMATS)
def name(request):
    if request.param == "yolo":
        pytest.importorskip("yaml", reason="data.yaml needs PyYAML")
    return request.param


def test_what_is_written_is_read_back(tmp_path, images, name):
    path = target(tmp_path, name)
    dump_annotations(path, images, TRUTH, format=name)
    for one in (path, tmp_path):
        paths, instances = load_annotations(one)
        assert [p.resolve() for p in paths] == images
        assert_frame_equal(instances, TRUTH)


@pytest.mark.parametrize("seed", range(3))
def test_fractions_of_pixels_are_read_back(tmp_path, name, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 3000, (4, 2))
    images = [
        make_image(tmp_path / f"{i}.png", *map(int, size))
        for i, size in enumerate(sizes)
    ]
    number = np.sort(rng.integers(0, 4, 20))
    shares = np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4)
    truth = table_of(
        *((i, f"l{i}", *box) for i, box in zip(number, shares, strict=True))
    )
    truth[BOX] *= np.tile(sizes, 2)[number]
    dump_annotations(target(tmp_path, name), images, truth, format=name)
    paths, instances = load_annotations(tmp_path)
    assert paths == images
    if name != "voc":
        assert_frame_equal(instances, truth, rtol=0, atol=2e-6)
    else:
        assert instances["label"].tolist() == truth["label"].tolist()
        difference = (instances[BOX] - truth[BOX]).abs().to_numpy()
        # A box less than a pixel wide gets a whole one.
        assert difference.max() <= 1
        assert (instances[BOX] % 1 == 0).all(axis=None)


def test_images_without_objects_are_read_back(tmp_path, images, name):
    dump_annotations(target(tmp_path, name), images, TRUTH[:0], format=name)
    paths, instances = load_annotations(tmp_path)
    assert len(paths) == 3
    assert len(instances) == 0


def test_images_in_several_folders_are_told_apart(tmp_path, name):
    parts = ("train", "test")
    images = [make_image(tmp_path / "images" / part / "a.png") for part in parts]
    truth = table_of((0, "coin", 1, 1, 9, 9), (1, "key", 2, 2, 8, 8))
    path = target(tmp_path, name)
    if name in ("voc", "labelme"):
        with pytest.raises(ValueError, match=r"'train/a\.png' and 'test/a\.png' would"):
            dump_annotations(path, images, truth, format=name)
        return
    dump_annotations(path, images, truth, format=name)
    paths, instances = load_annotations(tmp_path)
    folders = [path.parent.name for path in paths]
    labels = dict(zip(instances["image"], instances["label"], strict=True))
    assert {folders[i]: label for i, label in labels.items()} == {
        "train": "coin",
        "test": "key",
    }


@pytest.mark.parametrize("place", ["next to the images", "elsewhere"])
def test_labels_of_yolo_lie_where_they_are_found(tmp_path, place):
    pytest.importorskip("yaml", reason="data.yaml needs PyYAML")
    image = make_image(tmp_path / "photographs" / "a.png")
    truth = table_of((0, "coin", 1.0, 1.0, 9.0, 9.0))
    if place == "elsewhere":
        path, images, file = tmp_path / "set", image.parent, "labels/a.txt"
    else:
        path, images, file = image.parent, None, "a.txt"
    dump_annotations(path, [image], truth, format="yolo")
    assert (path / file).is_file()
    paths, instances = load_annotations(path, images)
    assert paths == [image]
    assert_frame_equal(instances, truth)


def test_scores_are_written_where_there_is_a_place(tmp_path, images):
    found = TRUTH.assign(score=[0.5, 0.25, 1.0], heat=[np.nan, 1, 2], other="x")
    dump_annotations(tmp_path / "c.json", images, found, format="coco")
    coco = json.loads((tmp_path / "c.json").read_text())
    assert [entry["score"] for entry in coco["annotations"]] == [0.5, 0.25, 1.0]
    dump_annotations(tmp_path / "l.json", images, found, format="label_studio")
    (first,) = json.loads((tmp_path / "l.json").read_text())[0]["predictions"]
    assert first["score"] == 0.25
    assert [region["score"] for region in first["result"]] == [0.5, 0.25]


def test_pycocotools_reads_a_data_set(tmp_path, images, capsys):
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    dump_annotations(tmp_path / "c.json", images, TRUTH, format="coco")
    data = coco.COCO(str(tmp_path / "c.json"))
    assert [data.imgs[i]["file_name"] for i in (1, 2, 3)] == ["a.png", "b.png", "c.png"]
    (annotation,) = data.loadAnns(data.getAnnIds(imgIds=[3]))
    assert annotation["bbox"] == [1, 2, 2, 2]
    assert data.loadCats(annotation["category_id"])[0]["name"] == "no"


def test_voc_numbers_pixels_from_1(tmp_path, images):
    dump_annotations(tmp_path, images, TRUTH[:1], format="voc")
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root.findtext("filename") == "a.png"
    assert root.findtext("size/width") == "40"
    box = [
        root.findtext(f"object/bndbox/{k}") for k in ("xmin", "ymin", "xmax", "ymax")
    ]
    assert box == ["11", "6", "30", "15"]


def test_voc_keeps_a_pixel_of_a_narrow_box(tmp_path, images):
    truth = table_of((0, "line", 10.6, 5.2, 10.9, 5.4))
    dump_annotations(tmp_path, images, truth, format="voc")
    assert rows_of(load_annotations(tmp_path)[1]) == [(0, "line", 11, 5, 12, 6)]


def test_label_studio_serves_images_below_its_document_root(tmp_path, images):
    make_image(tmp_path / "images" / "deep" / "ä b.png")
    images = [*images, tmp_path / "images" / "deep" / "ä b.png"]
    dump_annotations(tmp_path / "l.json", images, TRUTH, format="label_studio")
    tasks = json.loads((tmp_path / "l.json").read_text())
    addresses = [task["data"]["image"] for task in tasks]
    assert addresses[0] == "/data/local-files/?d=images/a.png"
    assert addresses[3] == "/data/local-files/?d=images/deep/%C3%A4%20b.png"
    region = tasks[0]["predictions"][0]["result"][0]
    assert (region["from_name"], region["to_name"]) == ("label", "image")
    values = [region["value"][key] for key in ("x", "y", "width", "height")]
    assert values == [25, 25, 50, 50]


def test_labelme_names_the_image_from_its_file(tmp_path, images):
    dump_annotations(tmp_path / "boxes", images, TRUTH, format="labelme")
    content = json.loads((tmp_path / "boxes" / "a.json").read_text(encoding="utf-8"))
    assert content["imagePath"] == "../images/a.png"
    assert content["imageData"] is None
    assert (content["imageHeight"], content["imageWidth"]) == (20, 40)
    assert content["shapes"][0]["points"] == [[10, 5], [30, 15]]


def test_images_are_measured_upright(tmp_path, name):
    image = make_image(tmp_path / "a.png", 20, 40, orientation=6)
    truth = table_of((0, "coin", 1.0, 1.0, 39.0, 19.0))
    dump_annotations(target(tmp_path, name), [image], truth, format=name)
    assert_frame_equal(load_annotations(tmp_path)[1], truth)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_annotated_under_their_names(tmp_path, name):
    (tmp_path / "images").mkdir()
    for link, stored in (("a", "1"), ("b", "2")):
        make_image(tmp_path / "store" / f"{stored}.png")
        (tmp_path / "images" / f"{link}.png").symlink_to(f"../store/{stored}.png")
    images = [tmp_path / "images" / f"{link}.png" for link in "ab"]
    truth = table_of((1, "coin", 1.0, 1.0, 9.0, 9.0))
    dump_annotations(target(tmp_path, name), images, truth, format=name)
    paths, instances = load_annotations(tmp_path, tmp_path / "images")
    assert paths == images
    assert_frame_equal(instances, truth)


def test_relative_paths_are_written(tmp_path, images, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = target(tmp_path, name).relative_to(tmp_path)
    dump_annotations(
        path, [f"images/{image.name}" for image in images], TRUTH, format=name
    )
    paths, instances = load_annotations(path)
    assert [p.resolve() for p in paths] == images
    assert_frame_equal(instances, TRUTH)


def test_existing_files_are_not_replaced_by_default(tmp_path, images, name):
    path = target(tmp_path, name)
    dump_annotations(path, images[2:], TRUTH[:0], format=name)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(FileExistsError, match="exists already; pass another path, or"):
        dump_annotations(path, images, TRUTH, format=name)
    assert files == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    dump_annotations(path, images, TRUTH, format=name, overwrite=True)
    assert rows_of(load_annotations(path)[1]) == rows_of(TRUTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": " coin"}, "label ' coin', which cannot be written"),
        ({"label": "a\nb"}, "cannot be written; use printable text"),
        ({"label": ""}, "cannot be written"),
        ({"x_max": 10}, "Row 0 of instances has a box without area"),
        ({"x_max": 99}, "outside its image of height 20 and width 40; clip it"),
        ({"image": 3}, "image=3, which is none of the 3 images"),
        ({"x_max": np.nan}, "x_max=nan; give finite pixel coordinates"),
    ],
)
def test_rows_that_cannot_be_written_are_named(tmp_path, images, name, change, message):
    with pytest.raises(ValueError, match=message):
        dump_annotations(
            target(tmp_path, name), images, TRUTH[:1].assign(**change), format=name
        )
    assert os.listdir(tmp_path) == ["images"]


def test_parameters_are_checked(tmp_path, images):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="format is 'json'; pass one of 'coco', 'voc'"):
        dump_annotations(path, images, TRUTH, format="json")
    with pytest.raises(ValueError, match=r"does not end in \.xml, as files of CVAT do"):
        dump_annotations(path, images, TRUTH, format="cvat")
    with pytest.raises(ValueError, match="does not exist; create it"):
        dump_annotations(tmp_path / "no" / "x.json", images, TRUTH, format="coco")
    with pytest.raises(ValueError, match="is a file, but LabelMe needs a folder"):
        dump_annotations(images[0], images, TRUTH, format="labelme")
    for bad in ("images", np.zeros((1, 9, 9)), [np.zeros((9, 9))]):
        with pytest.raises(ValueError, match=r"images is .*; pass a list of the paths"):
            dump_annotations(path, bad, TRUTH, format="coco")
    with pytest.raises(ValueError, match="images is empty"):
        dump_annotations(path, [], TRUTH, format="coco")
    with pytest.raises(ValueError, match=r"images\[1\] is .*, which is not a file"):
        dump_annotations(path, [images[0], tmp_path], TRUTH, format="coco")
    with pytest.raises(ValueError, match=r"images\[0\] and images\[3\] are both"):
        dump_annotations(path, [*images, images[0]], TRUTH, format="coco")


def test_damaged_files_are_read_or_refused_with_a_reason(tmp_path, images, name):
    path = target(tmp_path, name)
    dump_annotations(path, images, TRUTH, format=name)
    contents = {
        file: file.read_bytes()
        for file in sorted(tmp_path.rglob("*"))
        if file.is_file() and file not in images and file.stat().st_size
    }
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for seed in range(150):
            file = list(contents)[seed % len(contents)]
            file.write_bytes(damaged(contents[file], seed)[0])
            try:
                load_annotations(path)
            except ValueError as error:
                messages.append(str(error))
            file.write_bytes(contents[file])
    assert len(messages) > 30
    assert max(map(len, messages)) < 1000


def test_each_format_is_named_in_the_documentation():
    for known in FORMATS.values():
        assert known.title in dump_annotations.__doc__
        assert f'"{known.name}"' in dump_annotations.__doc__


def test_crowds_are_written_to_coco_and_left_out_elsewhere(tmp_path, images, name):
    truth = TRUTH.assign(iscrowd=[False, True, False])
    path = target(tmp_path, name)
    if name == "coco":
        dump_annotations(path, images, truth, format=name)
        assert_frame_equal(load_annotations(path)[1], truth)
        return
    with pytest.warns(UserWarning, match="1 crowd of instances left out"):
        dump_annotations(path, images, truth, format=name)
    expected = truth[~truth["iscrowd"]].drop(columns="iscrowd")
    assert_frame_equal(load_annotations(path)[1], expected.reset_index(drop=True))
