"""Annotations are recognised, matched with their images and checked."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from annotated_images import BOX, make_image, rows_of, voc_object, voc_text, write

from sklearn_similar.datasets import load_annotations
from sklearn_similar.datasets._formats import FORMATS

PHOTOGRAPHS = "photographs"
COIN = voc_object("coin", 11, 6, 30, 15)
BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>"""
EXTERNAL = """<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&a;</name></object></annotation>"""


def voc(folder, name="a", file_name=None, **size):
    text = voc_text(file_name or f"{name}.png", COIN, **size)
    return write(folder / f"{name}.xml", text)


def coco(folder, *images, **content):
    """A COCO file with a coin in each image, of any name."""
    ids = range(1, len(images) + 1)
    entries = [
        {"id": i, "file_name": name} for i, name in zip(ids, images, strict=True)
    ]
    objects = [{"image_id": i, "category_id": 1, "bbox": [10, 5, 20, 10]} for i in ids]
    categories = [{"id": 1, "name": "coin"}]
    data = {"images": entries, "annotations": objects, "categories": categories}
    return write(folder / "coco.json", json.dumps(data | content))


def test_a_coco_file_is_read_with_its_images(tmp_path):
    images = [make_image(tmp_path / f"{name}.png") for name in "ab"]
    path = coco(tmp_path, "b.png", "a.png")
    for one in (tmp_path, path, str(path)):
        paths, instances = load_annotations(one)
        assert paths == images[::-1]
        assert rows_of(instances) == [(i, "coin", 10, 5, 30, 15) for i in (0, 1)]


def test_crowds_of_coco_have_a_column(tmp_path):
    make_image(tmp_path / "a.png")
    crowd = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 1}
    coco(tmp_path, "a.png", annotations=[crowd])
    paths, instances = load_annotations(tmp_path)
    assert len(paths) == 1
    assert instances["iscrowd"].tolist() == [True]
    crowd["iscrowd"] = 0
    coco(tmp_path, "a.png", annotations=[crowd])
    assert "iscrowd" not in load_annotations(tmp_path)[1]


def test_two_categories_of_coco_may_have_one_name(tmp_path):
    make_image(tmp_path / "a.png")
    names = [{"id": 0, "name": "coin"}, {"id": 1, "name": "coin"}]
    coco(tmp_path, "a.png", categories=names)
    assert load_annotations(tmp_path)[1]["label"].tolist() == ["coin"]


def test_results_of_coco_are_referred_to_the_other_function(tmp_path):
    result = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}
    path = write(tmp_path / "results.json", json.dumps([result]))
    with pytest.raises(ValueError, match=r"results of COCO.*load_coco_file"):
        load_annotations(path)


def test_a_table_without_objects_has_its_columns(tmp_path):
    make_image(tmp_path / "a.png")
    coco(tmp_path, "a.png", annotations=[])
    paths, instances = load_annotations(tmp_path)
    assert len(paths) == 1
    assert list(instances.columns) == ["image", "label", *BOX]
    assert instances["image"].dtype == np.int64
    assert (instances[BOX].dtypes == np.float64).all()


def test_files_of_subfolders_are_read_together(tmp_path):
    for part in ("train", "valid"):
        make_image(tmp_path / part / f"{part}.png")
        coco(tmp_path / part, f"{part}.png")
    paths, instances = load_annotations(tmp_path)
    assert [path.name for path in paths] == ["train.png", "valid.png"]
    assert instances["image"].tolist() == [0, 1]


def test_hidden_files_are_ignored(tmp_path):
    make_image(tmp_path / "a.png")
    make_image(tmp_path / ".thumbnails" / "a.png")
    voc(tmp_path)
    write(tmp_path / ".cache" / "broken.xml", "<")
    assert load_annotations(tmp_path)[0] == [tmp_path / "a.png"]


@pytest.mark.parametrize(
    "name",
    [
        "a b.png",
        "C:\\Users\\somebody\\photographs\\a b.png",
        "photographs/a b.png",
        "/home/somebody/a b.png",
        "a%20b.png",
        "https://example.org/a%20b.png?size=full",
        "/data/upload/1/0a1b2c3d-a_b.png",
        "A B.PNG",
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_names_of_other_machines_are_understood(tmp_path, name, elsewhere):
    folder = tmp_path / ("elsewhere" if elsewhere else "set")
    image = make_image(folder / "deep" / "a b.png")
    path = coco(tmp_path / "set", name)
    paths, _ = load_annotations(path, folder if elsewhere else None)
    assert paths == [image]


def test_names_are_read_literally_first(tmp_path):
    for name in ("a%20b.png", "a b.png", "0a1b2c3d-c.png", "c.png"):
        make_image(tmp_path / name)
    coco(tmp_path, "a%20b.png", "0a1b2c3d-c.png")
    names = [path.name for path in load_annotations(tmp_path)[0]]
    assert names == ["a%20b.png", "0a1b2c3d-c.png"]


def test_images_are_looked_for_only_in_the_folder_that_is_passed(tmp_path):
    small = make_image(tmp_path / "set" / "a.png", 4, 2)
    full = make_image(tmp_path / "full" / "a.png")
    path = coco(tmp_path / "set", str(small))
    assert load_annotations(path, tmp_path / "full")[0] == [full]


def test_folders_tell_images_of_one_name_apart(tmp_path):
    for part in ("train", "test"):
        make_image(tmp_path / "images" / part / "a.png")
    coco(tmp_path, "test/a.png", "train/a.png")
    names = [path.parent.name for path in load_annotations(tmp_path)[0]]
    assert names == ["test", "train"]
    coco(tmp_path, "a.png")
    with pytest.raises(
        ValueError, match=r"'a\.png', and both .*test.* and .*train.* may"
    ):
        load_annotations(tmp_path)


def test_missing_images_are_counted(tmp_path):
    make_image(tmp_path / "a.png")
    coco(tmp_path, "a.png", "b.png", "c.png")
    message = (
        r"coco\.json' annotates the image 'b\.png', which .* \(2 missing images in"
    )
    with pytest.raises(ValueError, match=message):
        load_annotations(tmp_path)


def test_an_image_that_is_annotated_twice_is_refused(tmp_path):
    make_image(tmp_path / "a.png")
    voc(tmp_path)
    voc(tmp_path, "b", "a.png")
    with pytest.raises(
        ValueError, match=r"a\.png' is annotated twice, in .*a\.xml' and"
    ):
        load_annotations(tmp_path)
    (tmp_path / "a.xml").unlink()
    (tmp_path / "b.xml").unlink()
    coco(tmp_path, "a.png", "deep/a.png")
    with pytest.raises(
        ValueError, match=r"twice, in '.*coco\.json' and in '.*coco\.js"
    ):
        load_annotations(tmp_path)


def test_boxes_without_area_are_left_out_with_one_warning(tmp_path):
    boxes = [[10, 5, 0, 10], [50, 5, 10, 10], [10, 5, 20, 10], [-9, 0, 9, 9]]
    objects = [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes]
    make_image(tmp_path / "a.png")
    coco(tmp_path, "a.png", annotations=objects)
    with pytest.warns(UserWarning, match="3 objects left out, as the box") as caught:
        instances = load_annotations(tmp_path)[1]
    assert len(caught) == 1
    assert "coco.json', in the image 'a.png'" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert rows_of(instances) == [(0, "coin", 10, 5, 30, 15)]


def test_boxes_are_clipped_to_the_image(tmp_path):
    objects = [{"image_id": 1, "category_id": 1, "bbox": [-5, 15, 100, 100]}]
    make_image(tmp_path / "a.png")
    coco(tmp_path, "a.png", annotations=objects)
    assert rows_of(load_annotations(tmp_path)[1]) == [(0, "coin", 0, 15, 40, 20)]


def test_images_of_another_size_than_annotated_are_refused(tmp_path):
    make_image(tmp_path / "a.png", 80, 40)
    voc(tmp_path)
    message = r"is 80 pixels wide and 40 high, but .* 40 wide and 20 high; pass images"
    with pytest.raises(ValueError, match=message):
        load_annotations(tmp_path)


def test_images_are_measured_upright(tmp_path):
    # Stored lying, 20 x 40, and turned to 40 x 20 when it is read.
    make_image(tmp_path / "a.png", 20, 40, orientation=8)
    voc(tmp_path)
    assert len(load_annotations(tmp_path)[0]) == 1
    voc(tmp_path, width=20, height=40)
    with pytest.raises(ValueError, match="on its side, so turn the file by 90 degrees"):
        load_annotations(tmp_path)


@pytest.mark.parametrize("text", [BOMB, EXTERNAL])
def test_document_types_are_refused_before_their_entities_are_read(tmp_path, text):
    write(tmp_path / "a.xml", text)
    with pytest.raises(ValueError, match=r"a\.xml' has a DOCTYPE, .* not read; remove"):
        load_annotations(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "<annotation>", r"a\.xml' is not valid XML: no element found"),
        ("a.xml", "", "is not valid XML"),
        (
            "a.xml",
            "<?xml version='1.0' encoding='x'?><a/>",
            "is not valid XML: unknown",
        ),
        ("a.json", "{", r"a\.json' is not valid JSON: Expecting"),
        ("a.json", '{"images": NaN}', "is not valid JSON: it holds NaN"),
        ("a.json", "[" * 100_000, "is nested too deeply"),
    ],
)
def test_malformed_files_are_named(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    for one in (tmp_path, path):
        with pytest.raises(ValueError, match=message):
            load_annotations(one)


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"images": []}', "[[1]]"])
def test_other_files_are_refused(tmp_path, text):
    path = write(tmp_path / "a.json", text)
    with pytest.raises(
        ValueError, match=r"a\.json' is not in a known format \(COCO, Pa"
    ):
        load_annotations(path)
    with pytest.raises(ValueError, match="holds no annotations in a known format"):
        load_annotations(tmp_path)


def test_other_files_next_to_annotations_are_left_out_with_a_warning(tmp_path):
    make_image(tmp_path / "a.png")
    voc(tmp_path)
    write(tmp_path / "settings.json", "{}")
    with pytest.warns(
        UserWarning, match=r"1 file in .*; the first is '.*settings\.json"
    ):
        assert len(load_annotations(tmp_path)[1]) == 1


def test_mixed_formats_need_a_choice(tmp_path):
    make_image(tmp_path / "a.png")
    voc(tmp_path)
    coco(tmp_path, "a.png")
    message = (
        r"several formats: COCO in .*coco\.json' and Pascal VOC in .*a\.xml'|VOC in"
    )
    with pytest.raises(ValueError, match=message):
        load_annotations(tmp_path)
    for name in ("voc", "coco"):
        assert len(load_annotations(tmp_path, format=name)[0]) == 1
    with pytest.raises(ValueError, match="holds no annotations in the format LabelMe"):
        load_annotations(tmp_path, format="labelme")


def test_parameters_are_checked(tmp_path):
    make_image(tmp_path / "a.png")
    path = voc(tmp_path)
    with pytest.raises(ValueError, match="format is 'VOC'; pass one of 'coco', 'voc'"):
        load_annotations(path, format="VOC")
    with pytest.raises(ValueError, match="Pascal VOC, which has no subsets"):
        load_annotations(path, subset="train")
    with pytest.raises(FileNotFoundError, match=r"path is '.*nowhere', which does not"):
        load_annotations(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"images is '.*nowhere', which does not"
    ):
        load_annotations(path, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="which is not a folder; pass the folder of"):
        load_annotations(path, path)


def test_damaged_images_are_named(tmp_path):
    write(tmp_path / "a.png", "no image")
    voc(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png' cannot be read as an image"):
        load_annotations(tmp_path)


def test_a_missing_yaml_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    write(tmp_path / "data.yaml", "names: [a]")
    message = r"needs PyYAML.*pip install pyyaml"
    with pytest.raises(ImportError, match=message):
        load_annotations(tmp_path)


def test_each_format_is_named_in_the_documentation():
    for function in (load_annotations,):
        for known in FORMATS.values():
            assert known.title in function.__doc__
            assert f'"{known.name}"' in function.__doc__


# Of the folders: images, objects, labels.
COUNTS = {
    "blood_cells/train": (80, 1062, 3),
    "playing_cards/test": (35, 76, 6),
    "everyday": (72, 484, 69),
}


@pytest.mark.parametrize("folder", COUNTS)
def test_published_data_sets_are_read(folder):
    home = os.environ.get("SKLEARN_SIMILAR_DATA")
    path = Path(home or ".") / PHOTOGRAPHS / folder
    if not home or not path.is_dir():
        pytest.skip("SKLEARN_SIMILAR_DATA has no folder of photographs")
    if folder == "everyday":
        pytest.importorskip("yaml", reason="data.yaml needs PyYAML")
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    paths, instances = load_annotations(path)
    counts = len(paths), len(instances), instances["label"].nunique()
    assert counts == COUNTS[folder]
    boxes = instances[BOX].to_numpy()
    sizes = np.array([pillow.open(path).size for path in paths])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= sizes[instances["image"]]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
