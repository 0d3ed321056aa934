"""CVAT's XML for images, version 1.1."""

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .._images.messages import count, warn_user
from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
    bounding_box,
    box_around_rotated,
    finite_number,
    image_size,
    label_text,
)

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_OTHER_SHAPES = ("polyline", "points", "ellipse", "cuboid", "skeleton")


def is_cvat(content: Any) -> bool:
    """Whether an XML file is in this format."""
    return content.tag == "annotations"


def read_cvat(root: ElementTree.Element, source: Source) -> list[AnnotatedImage]:
    """The images of a file; shapes that are not boxes, polygons or masks are left out.

    A rotated box becomes the box around it.
    """
    if root.find("track") is not None:
        raise ValueError(
            f"{source.name} holds tracks of a video; export it from CVAT as 'CVAT for "
            "images 1.1'."
        )
    n_others: Counter[str] = Counter()
    images = []
    for element in root.findall("image"):
        name = element.get("name", "")
        where = f"Image {name!r:.80} of {source.name}"
        objects = [
            AnnotatedObject(label_text(shape.get("label"), where), _box(shape, where))
            for shape in element
            if shape.tag in _BOXES
        ]
        n_others.update(shape.tag for shape in element if shape.tag in _OTHER_SHAPES)
        size = image_size(element.get("height"), element.get("width"))
        images.append(AnnotatedImage(name, size, objects))
    if n_others:
        warn_user(
            f"{count(n_others.total(), 'shape')} of {source.name} left out, as "
            f"{', '.join(sorted(n_others))} are not read; boxes, polygons and masks "
            "are."
        )
    return images


def _box(shape: ElementTree.Element, where: str) -> tuple[float, float, float, float]:
    return _BOXES[shape.tag](shape, where)


def _rectangle(shape: ElementTree.Element, where: str):
    x_min, y_min, x_max, y_max = (
        finite_number(shape.get(key), key, where) for key in _CORNERS
    )
    degrees = finite_number(shape.get("rotation", "0"), "rotation", where)
    return box_around_rotated((x_min, y_min, x_max, y_max), degrees)


def _polygon(shape: ElementTree.Element, where: str):
    points = [point.split(",") for point in shape.get("points", "").split(";")]
    if not all(len(point) == 2 for point in points):
        raise ValueError(f"{where} has a polygon whose points are not x,y;x,y;...")
    return bounding_box(
        (finite_number(x, "points", where), finite_number(y, "points", where))
        for x, y in points
    )


def _mask(shape: ElementTree.Element, where: str):
    left, top, width, height = (
        finite_number(shape.get(key), key, where)
        for key in ("left", "top", "width", "height")
    )
    return left, top, left + width, top + height


_BOXES = {"box": _rectangle, "polygon": _polygon, "mask": _mask}


def write_cvat(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """One file of boxes."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "size").text = str(len(images))
    ElementTree.SubElement(task, "mode").text = "annotation"
    labels = ElementTree.SubElement(task, "labels")
    for label in sorted(
        {instance.label for image in images for instance in image.objects}
    ):
        element = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(element, "name").text = label
        ElementTree.SubElement(element, "attributes")
    for number, image in enumerate(images):
        height, width = image.size
        element = ElementTree.SubElement(
            root,
            "image",
            id=str(number),
            name=image.file_name,
            width=str(width),
            height=str(height),
        )
        for instance in image.objects:
            box = ElementTree.SubElement(
                element, "box", label=instance.label, source="auto", occluded="0"
            )
            for key, value in zip(_CORNERS, instance.box, strict=True):
                box.set(key, repr(value))
            box.set("z_order", "0")
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return {path: f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'}


CVAT = AnnotationFormat(
    name="cvat",
    title="CVAT",
    suffixes=(".xml",),
    recognises=is_cvat,
    read=read_cvat,
    write=write_cvat,
)
