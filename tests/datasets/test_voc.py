"""Pascal VOC's files are read as half-open boxes."""

import numpy as np
import pytest
from annotated_images import BOX, make_image, rows_of, voc_object, voc_text, write

from sklearn_similar.datasets import load_annotations


@pytest.fixture
def folder(tmp_path):
    make_image(tmp_path / "a.png")
    return tmp_path


def test_pixels_are_numbered_from_1_and_the_last_belongs_to_the_box(folder):
    write(folder / "a.xml", voc_text("a.png", voc_object("coin", 11, 6, 30, 20)))
    paths, instances = load_annotations(folder)
    assert paths == [folder / "a.png"]
    assert rows_of(instances) == [(0, "coin", 10, 5, 30, 20)]


def test_a_box_of_the_whole_image_touches_all_borders(folder):
    write(folder / "a.xml", voc_text("a.png", voc_object("coin", 1, 1, 40, 20)))
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 0, 0, 40, 20)]


def test_files_that_number_pixels_from_0_are_clipped(folder):
    write(folder / "a.xml", voc_text("a.png", voc_object("coin", 0, 0, 41, 21)))
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 0, 0, 40, 20)]


def test_a_box_of_one_pixel_has_an_area(folder):
    write(folder / "a.xml", voc_text("a.png", voc_object("dot", 7, 7, 7, 7)))
    assert rows_of(load_annotations(folder)[1]) == [(0, "dot", 6, 6, 7, 7)]


def test_difficult_objects_are_kept(folder):
    objects = voc_object("coin", 1, 1, 2, 2, difficult=1)
    write(folder / "a.xml", voc_text("a.png", objects))
    assert len(load_annotations(folder)[1]) == 1


def test_parts_of_objects_are_not_objects(folder):
    part = "<part><name>rim</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    text = voc_object("coin", 1, 1, 9, 9).replace("</object>", part)
    write(folder / "a.xml", voc_text("a.png", text))
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 0, 0, 9, 9)]


def test_sizes_of_0_are_unknown(folder):
    text = voc_text("a.png", voc_object("coin", 1, 1, 99, 9), width=0, height=0)
    write(folder / "a.xml", text)
    assert rows_of(load_annotations(folder)[1]) == [(0, "coin", 0, 0, 40, 9)]


def test_images_in_the_folders_of_the_challenge_are_found(tmp_path):
    image = make_image(tmp_path / "VOC" / "JPEGImages" / "1.jpg")
    text = voc_text("1.jpg", voc_object("coin", 1, 1, 9, 9))
    write(tmp_path / "VOC" / "Annotations" / "1.xml", text)
    for path in ("VOC", "VOC/Annotations", "VOC/Annotations/1.xml"):
        paths, instances = load_annotations(tmp_path / path)
        assert [p.resolve() for p in paths] == [image]
        assert len(instances) == 1


@pytest.mark.parametrize("file_name", ["renamed.png", "a", ""])
def test_an_image_may_be_called_like_its_file(folder, file_name):
    write(folder / "a.xml", voc_text(file_name, voc_object("coin", 1, 1, 9, 9)))
    assert load_annotations(folder)[0] == [folder / "a.png"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xmin>1<", "<xmin>one<", r"Object 1 of '.*a\.xml' has xmin='one'; it should"),
        ("<xmin>1<", "<xmin>nan<", "has xmin='nan'; it should be a finite number"),
        ("<xmin>1</xmin>", "", "has xmin=None; it should be a finite number"),
        ("<name>coin<", "<name> <", "Object 1 of .* has no label; give it one"),
        ("<xmin>1<", "<xmin>12<", "has a box of negative size in the image 'a.png'"),
        ("bndbox", "robndbox", "Object 1 of .* has no bndbox"),
        ("</annotation>", "", "is not valid XML: no element found: line"),
    ],
)
def test_each_damage_is_named(folder, old, new, message):
    text = voc_text("a.png", voc_object("coin", 1, 1, 9, 9))
    write(folder / "a.xml", text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_annotations(folder)


def test_a_box_that_cvat_rotated_becomes_the_box_around_it(folder):
    angle = "<attributes><attribute><name>rotation</name><value>90.0</value>"
    angle += "</attribute></attributes></object>"
    text = voc_object("coin", 11, 6, 18, 9).replace("</object>", angle)
    write(folder / "a.xml", voc_text("a.png", text))
    found = load_annotations(folder)[1][BOX]
    np.testing.assert_allclose(found, [[12, 3, 16, 11]])


def test_label_studio_may_have_dropped_angles(folder):
    make_image(folder / "b.png")
    owner = "<owner><name>Label Studio</name></owner></annotation>"
    for name in "ab":
        text = voc_text(f"{name}.png", voc_object("coin", 1, 1, 9, 9))
        write(folder / f"{name}.xml", text.replace("</annotation>", owner))
    with pytest.warns(UserWarning, match=r"exported 2 images .* drops the angles"):
        load_annotations(folder)
