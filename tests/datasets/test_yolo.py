"""YOLO's files are read in the folders in which tools write them."""

import pytest
from annotated_images import make_image, rows_of, write

from sklearn_similar.datasets import load_annotations

NAMES = "names: [coin, key]\n"


@pytest.fixture(autouse=True)
def _yaml():
    pytest.importorskip("yaml", reason="data.yaml needs PyYAML")


def one_image(folder, line="1 0.5 0.5 0.25 0.5", names=NAMES):
    """A data set of one image of 40 x 20 with a line of labels."""
    image = make_image(folder / "images" / "a.png")
    write(folder / "labels" / "a.txt", line)
    write(folder / "data.yaml", f"train: images\n{names}")
    return image


def test_boxes_are_scaled_to_pixels(tmp_path):
    image = one_image(tmp_path)
    for path in (tmp_path, tmp_path / "data.yaml"):
        paths, instances = load_annotations(path)
        assert paths == [image]
        assert rows_of(instances) == [(0, "key", 15, 5, 25, 15)]


def test_boxes_are_scaled_to_an_upright_image(tmp_path):
    image = one_image(tmp_path).with_suffix(".jpg")
    (tmp_path / "images" / "a.png").unlink()
    make_image(image, 20, 40, orientation=6)
    assert rows_of(load_annotations(tmp_path)[1]) == [(0, "key", 15, 5, 25, 15)]


@pytest.mark.parametrize(
    ("entry", "image", "label"),
    [
        ("images/train", "images/train/a.png", "labels/train/a.txt"),
        ("train/images", "train/images/a.png", "train/labels/a.txt"),
        ("../train/images", "train/images/a.png", "train/labels/a.txt"),
        ("./images", "images/deep/a.png", "labels/deep/a.txt"),
        ("images", "images/images/a.png", "images/labels/a.txt"),
        ("[images/train]", "images/train/a.png", "labels/train/a.txt"),
        ("photographs", "photographs/a.png", "photographs/a.txt"),
        ("images", "images/a.png", "images/a.txt"),
    ],
)
def test_labels_are_found_in_each_layout(tmp_path, entry, image, label):
    image = make_image(tmp_path / image)
    write(tmp_path / label, "0 0.5 0.5 0.25 0.5")
    write(tmp_path / "data.yaml", f"train: {entry}\nval:\n{NAMES}")
    paths, instances = load_annotations(tmp_path)
    assert [path.resolve() for path in paths] == [image]
    assert rows_of(instances) == [(0, "coin", 15, 5, 25, 15)]


@pytest.mark.parametrize("root", [".", "elsewhere", "/not/on/this/machine"])
def test_the_root_of_another_machine_is_replaced(tmp_path, root):
    image = one_image(tmp_path)
    write(tmp_path / "data.yaml", f"path: {root}\ntrain: images\n{NAMES}")
    assert load_annotations(tmp_path)[0] == [image]


@pytest.mark.parametrize("line", ["./images/a.png", "images/a.png"])
def test_lists_of_images_are_read(tmp_path, line):
    image = one_image(tmp_path)
    make_image(tmp_path / "images" / "b.png")
    write(tmp_path / "train.txt", f"{line}\n")
    write(tmp_path / "data.yaml", f"train: train.txt\n{NAMES}")
    assert load_annotations(tmp_path)[0] == [image]
    elsewhere = make_image(tmp_path / "moved" / "a.png")
    make_image(tmp_path / "moved" / "b.png")
    paths, _ = load_annotations(tmp_path, tmp_path / "moved", subset="train")
    assert paths == [elsewhere]


def test_a_subset_is_chosen_and_no_image_is_read_twice(tmp_path):
    first = one_image(tmp_path)
    second = make_image(tmp_path / "other" / "b.png")
    write(tmp_path / "data.yaml", f"train: images\nval: images\ntest: other\n{NAMES}")
    assert load_annotations(tmp_path)[0] == [first, second]
    assert load_annotations(tmp_path, subset="val")[0] == [first]
    with pytest.raises(
        ValueError, match=r"belongs to 1 image, such as '.*b\.png', but none"
    ):
        load_annotations(tmp_path, subset="test")


def test_tools_call_the_second_subset_differently(tmp_path):
    image = one_image(tmp_path)
    for key in ("val", "valid", "validation"):
        write(tmp_path / "data.yaml", f"{key}: images\n{NAMES}")
        assert load_annotations(tmp_path, subset="val")[0] == [image]


def test_an_unknown_subset_is_refused(tmp_path):
    one_image(tmp_path)
    with pytest.raises(ValueError, match="names no images for the subset 'test'; pass"):
        load_annotations(tmp_path, subset="test")
    with pytest.raises(ValueError, match="subset is 'training'; pass 'train', 'val'"):
        load_annotations(tmp_path, subset="training")


def test_an_image_without_a_file_has_no_objects(tmp_path):
    one_image(tmp_path)
    make_image(tmp_path / "images" / "b.png")
    make_image(tmp_path / "images" / "c.png")
    write(tmp_path / "labels" / "c.txt", "\n")
    paths, instances = load_annotations(tmp_path)
    assert [path.name for path in paths] == ["a.png", "b.png", "c.png"]
    assert instances["image"].tolist() == [0]


def test_images_elsewhere_are_matched_by_name(tmp_path):
    one_image(tmp_path / "set").unlink()
    image = make_image(tmp_path / "photographs" / "a.png")
    paths, instances = load_annotations(tmp_path / "set", tmp_path / "photographs")
    assert paths == [image]
    assert len(instances) == 1
    write(tmp_path / "set" / "labels" / "b.txt", "")
    with pytest.raises(
        ValueError, match=r"b\.txt' has no image in '.*photographs'; ad"
    ):
        load_annotations(tmp_path / "set", tmp_path / "photographs")


def test_labels_of_uploaded_images_are_matched_by_the_name_before(tmp_path):
    image = make_image(tmp_path / "photographs" / "IMG (1).png")
    make_image(tmp_path / "photographs" / "IMG (2).png")
    write(tmp_path / "labels" / "0a1b2c3d-IMG_1.txt", "1 0.5 0.5 0.25 0.5")
    write(tmp_path / "classes.txt", "coin\nkey")
    paths, instances = load_annotations(tmp_path, image.parent)
    assert paths[0] == image
    assert rows_of(instances) == [(0, "key", 15, 5, 25, 15)]


@pytest.mark.parametrize(
    "names",
    ["names: [a, 'no']", "names:\n  0: a\n  1: no", "nc: 2\nnames:\n- a\n- no"],
)
def test_names_are_text_even_if_yaml_has_another_type_for_them(tmp_path, names):
    one_image(tmp_path, names=names)
    assert load_annotations(tmp_path)[1]["label"].tolist() == ["no"]


@pytest.mark.parametrize(
    "line",
    [
        "1 0.5 0.5 0.25 0.5 0.9",
        "1 0.375 0.25 0.625 0.5 0.5 0.75",
        "1.0 0.375 0.25 0.625 0.25 0.625 0.75 0.375 0.75",
    ],
)
def test_scores_are_ignored_and_polygons_become_boxes(tmp_path, line):
    one_image(tmp_path, line)
    assert rows_of(load_annotations(tmp_path)[1]) == [(0, "key", 15, 5, 25, 15)]


def test_key_points_of_poses_are_ignored(tmp_path):
    line = "1 0.5 0.5 0.25 0.5 0.1 0.1 0.9 0.9"
    one_image(tmp_path, line, names=f"kpt_shape: [2, 2]\n{NAMES}")
    assert rows_of(load_annotations(tmp_path)[1]) == [(0, "key", 15, 5, 25, 15)]


@pytest.mark.parametrize("folder", ["", "labels"])
def test_names_may_be_lines_of_classes_txt(tmp_path, folder):
    image = one_image(tmp_path, "0 0.5 0.5 0.25 0.5")
    (tmp_path / "data.yaml").unlink()
    write(tmp_path / "notes.json", "{}")
    write(tmp_path / "other.json", "{}")
    write(tmp_path / folder / "classes.txt", "\ufeffcoin\nkey\n\n")
    with pytest.warns(UserWarning, match=r"1 file in .* left out, .*other\.json"):
        paths, instances = load_annotations(tmp_path)
    assert paths == [image]
    assert instances["label"].tolist() == ["coin"]
    assert load_annotations(tmp_path / folder / "classes.txt")[0] == [image]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "2 0.5 0.5 0.25 0.5",
            r"Line 1 of '.*a\.txt' has the label 2, which is not in",
        ),
        ("0.5 0.5 0.5 0.25 0.5", "has the label 0.5"),
        ("coin 0.5 0.5 0.25 0.5", "has a value='coin'; it should be a finite number"),
        ("\n0 0.5 nan 0.25 0.5", "Line 2 of .* has a value='nan'"),
        ("0 15 5 10 10", "has coordinates from 5 to 15; divide them by the width"),
        ("0 0.5 0.5 -0.25 0.5", "coordinates from -0.25 to 0.5"),
        ("0 0.5 0.5 0.25", "has 4 values; it should have five"),
        ("0 0.5 0.5 0.25 0.5 0.1 0.1 0.1", "has 8 values"),
    ],
)
def test_each_damage_of_a_line_is_named(tmp_path, line, message):
    one_image(tmp_path, line)
    with pytest.raises(ValueError, match=message):
        load_annotations(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", r"data\.yaml' is not valid YAML"),
        ("names: 5", "has names that are not a list of labels"),
        ("names: {x: a}", "has the key 'x' in names; number the labels from 0"),
        ("names: [a, [b]]", "Label 1 of .* has no label"),
        ("names: " + "[" * 5000, "nested too deeply|not valid YAML"),
        (f"train: [nowhere]\n{NAMES}", "names the images 'nowhere', which do not"),
        (f"train: list.txt\n{NAMES}", r"list\.txt' lists the image 'x\.png', which do"),
    ],
)
def test_each_damage_of_data_yaml_is_named(tmp_path, text, message):
    one_image(tmp_path)
    write(tmp_path / "data.yaml", text)
    write(tmp_path / "list.txt", "x.png")
    with pytest.raises(ValueError, match=message):
        load_annotations(tmp_path)


def test_labels_without_an_image_are_refused(tmp_path):
    one_image(tmp_path)
    lost = write(tmp_path / "labels" / "lost.txt", "0 0.5 0.5 0.25 0.5")
    with pytest.raises(ValueError, match=r"lost\.txt' has no image in '.*images'; add"):
        load_annotations(tmp_path)
    lost.unlink()
    make_image(tmp_path / "images" / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.txt' belongs to both .* same name"):
        load_annotations(tmp_path)


def test_images_without_any_labels_are_refused(tmp_path):
    one_image(tmp_path)
    (tmp_path / "labels").rename(tmp_path / "Labels")
    with pytest.raises(ValueError, match=r"belongs to 1 image, .* none has a file of"):
        load_annotations(tmp_path)


def test_labels_without_names_are_refused(tmp_path):
    one_image(tmp_path)
    (tmp_path / "data.yaml").unlink()
    for path in (tmp_path, tmp_path / "labels" / "a.txt"):
        with pytest.raises(ValueError, match=r"for YOLO, one with data\.yaml or class"):
            load_annotations(path)


def test_yaml_makes_no_objects(tmp_path):
    one_image(tmp_path, names="names: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match="which is not in the names"):
        load_annotations(tmp_path)


def label_studio(folder, line):
    """An export of Label Studio with one object."""
    image = make_image(folder / "images" / "a.png")
    write(folder / "labels" / "a.txt", line)
    write(folder / "classes.txt", "coin")
    write(folder / "notes.json", '{"info": {"contributor": "Label Studio"}}')
    return image


def test_label_studio_may_have_dropped_angles(tmp_path):
    label_studio(tmp_path, "0 0.5 0.5 0.25 0.5")
    with pytest.warns(UserWarning, match="exported 1 image of") as caught:
        load_annotations(tmp_path)
    assert len(caught) == 1


def test_label_studio_keeps_angles_of_oriented_boxes(tmp_path, recwarn):
    label_studio(tmp_path, "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5")
    load_annotations(tmp_path)
    assert len(recwarn) == 0
