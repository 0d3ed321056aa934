"""Pascal VOC: an XML file for each image.

Pixels are numbered from 1 and the last one belongs to the box, so that a half-open box
is ``xmin - 1, ymin - 1, xmax, ymax``. CVAT writes rotated boxes upright, with their
angle as an attribute.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
    box_around_rotated,
    files_by_stem,
    finite_number,
    image_size,
    label_text,
)


def is_voc(content: Any) -> bool:
    """Whether an XML file is in this format."""
    return content.tag == "annotation"


def read_voc(root: ElementTree.Element, source: Source) -> list[AnnotatedImage]:
    """The image of a file."""
    objects = [
        _object(element, f"Object {number} of {source.name}")
        for number, element in enumerate(root.findall("object"), 1)
    ]
    size = image_size(root.findtext("size/height"), root.findtext("size/width"))
    file_name = (root.findtext("filename") or "").strip()
    # Label Studio names itself, and drops the angles of rotated boxes.
    may_lack_angles = bool(objects) and root.findtext("owner/name") == "Label Studio"
    return [AnnotatedImage(file_name, size, objects, may_lack_angles=may_lack_angles)]


def _object(element: ElementTree.Element, where: str) -> AnnotatedObject:
    box = element.find("bndbox")
    if box is None:
        raise ValueError(f"{where} has no bndbox; give it one, or delete it.")
    x_min, y_min, x_max, y_max = (
        finite_number(box.findtext(key), key, where)
        for key in ("xmin", "ymin", "xmax", "ymax")
    )
    label = label_text(element.findtext("name"), where)
    corners = (x_min - 1, y_min - 1, x_max, y_max)
    return AnnotatedObject(label, box_around_rotated(corners, _angle(element, where)))


def _angle(element: ElementTree.Element, where: str) -> float:
    """The angle in degrees that CVAT writes as an attribute; 0 without one."""
    for attribute in element.iterfind("attributes/attribute"):
        if attribute.findtext("name") == "rotation":
            return finite_number(attribute.findtext("value"), "rotation", where)
    return 0.0


def write_voc(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """A file for each image, with boxes of whole pixels."""
    files = files_by_stem(images, path, ".xml")
    return {file: _text(image) for file, image in files.items()}


def _text(image: ImageToWrite) -> str:
    root = ElementTree.Element("annotation")
    for tag, text in [
        ("folder", image.path.parent.name),
        ("filename", image.name),
        ("path", str(image.path)),
    ]:
        ElementTree.SubElement(root, tag).text = text
    size = ElementTree.SubElement(root, "size")
    for tag, length in [("width", image.size[1]), ("height", image.size[0])]:
        ElementTree.SubElement(size, tag).text = str(length)
    ElementTree.SubElement(size, "depth").text = "3"
    ElementTree.SubElement(root, "segmented").text = "0"
    for instance in image.objects:
        element = ElementTree.SubElement(root, "object")
        for tag, text in [
            ("name", instance.label),
            ("pose", "Unspecified"),
            ("truncated", "0"),
            ("difficult", "0"),
        ]:
            ElementTree.SubElement(element, tag).text = text
        box = ElementTree.SubElement(element, "bndbox")
        x_min, y_min, x_max, y_max = (round(value) for value in instance.box)
        for tag, value in [
            ("xmin", x_min + 1),
            ("ymin", y_min + 1),
            # A box less than a pixel wide keeps a pixel.
            ("xmax", max(x_max, x_min + 1)),
            ("ymax", max(y_max, y_min + 1)),
        ]:
            ElementTree.SubElement(box, tag).text = str(value)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode")


VOC = AnnotationFormat(
    name="voc",
    title="Pascal VOC",
    suffixes=(".xml",),
    recognises=is_voc,
    read=read_voc,
    write=write_voc,
    writes_folder=True,
)
