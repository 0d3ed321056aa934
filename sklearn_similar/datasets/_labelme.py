"""LabelMe: a JSON file for each image."""

import json
import math
import os
from pathlib import Path
from typing import Any

from .._images.messages import count, warn_user
from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
    bounding_box,
    files_by_stem,
    finite_number,
    image_size,
    label_text,
)

_POLYGONS = ("rectangle", "polygon", "oriented_rectangle", "rotation")


def is_labelme(content: Any) -> bool:
    """Whether a JSON file is in this format."""
    return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)


def read_labelme(content: dict, source: Source) -> list[AnnotatedImage]:
    """The image of a file; points and lines, which have no box, are left out."""
    shapes, file_name = content["shapes"], content["imagePath"]
    if not isinstance(shapes, list) or not all(isinstance(s, dict) for s in shapes):
        raise ValueError(f"{source.name} has shapes that are not a list of objects.")
    objects = []
    n_others = 0
    for number, shape in enumerate(shapes):
        where = f"Shape {number} of {source.name}"
        box = _box(shape, where)
        if box is None:
            n_others += 1
        else:
            label = label_text(shape.get("label"), where)
            objects.append(AnnotatedObject(label, box))
    if n_others:
        warn_user(
            f"{count(n_others, 'shape')} of {source.name} left out, as points and "
            "lines have no box."
        )
    size = image_size(content.get("imageHeight"), content.get("imageWidth"))
    return [
        AnnotatedImage(file_name if isinstance(file_name, str) else "", size, objects)
    ]


def _box(shape: dict, where: str) -> tuple[float, float, float, float] | None:
    points = _points(shape.get("points"), where)
    # Early versions of LabelMe write no shape_type.
    kind = shape.get("shape_type") or "polygon"
    if kind in _POLYGONS and len(points) >= 2:
        return bounding_box(points)
    if kind == "mask" and len(points) == 2:
        # The first and the last pixel of the mask.
        x_min, y_min, x_max, y_max = bounding_box(points)
        return x_min, y_min, x_max + 1, y_max + 1
    if kind == "circle" and len(points) == 2:
        (x, y), rim = points
        radius = math.dist((x, y), rim)
        return x - radius, y - radius, x + radius, y + radius
    return None


def _points(points: Any, where: str) -> list[tuple[float, float]]:
    pairs = points if isinstance(points, list) else None
    if pairs is None or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise ValueError(f"{where} has points that are not a list of [x, y].")
    return [
        (finite_number(x, "x", where), finite_number(y, "y", where)) for x, y in pairs
    ]


def write_labelme(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """A file for each image, which names the image but does not hold it."""
    files = files_by_stem(images, path, ".json")
    return {file: _text(image, file) for file, image in files.items()}


def _text(image: ImageToWrite, file: Path) -> str:
    try:
        image_path = os.path.relpath(image.path, file.parent)
    except ValueError:  # another drive
        image_path = str(image.path)
    shapes = [
        {
            "label": instance.label,
            "points": [list(instance.box[:2]), list(instance.box[2:])],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {},
        }
        for instance in image.objects
    ]
    content: dict[str, Any] = {
        "version": "5.0.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(image_path).as_posix(),
        "imageData": None,
        "imageHeight": image.size[0],
        "imageWidth": image.size[1],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


LABELME = AnnotationFormat(
    name="labelme",
    title="LabelMe",
    suffixes=(".json",),
    recognises=is_labelme,
    read=read_labelme,
    write=write_labelme,
    writes_folder=True,
)
