"""COCO's data sets: one JSON file for all images."""

import json
from pathlib import Path
from typing import Any

from .._tables.boxes import BOX_COLUMNS
from .._tables.checks import crowd_rows
from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
)
from ._coco_reader import coco_of_content


def is_coco(content: Any) -> bool:
    """Whether a JSON file is in this format, as a data set or as results."""
    if isinstance(content, dict):
        return {"images", "annotations", "categories"} <= set(content)
    return isinstance(content, list) and any(
        isinstance(entry, dict) and "image_id" in entry for entry in content
    )


def read_coco_images(content: Any, source: Source) -> list[AnnotatedImage]:
    """The images of a data set."""
    if isinstance(content, list):
        raise ValueError(
            f"{source.name} holds results of COCO, which do not name images; read it "
            "with load_coco_file."
        )
    coco = coco_of_content(content, source.name, unique_names=False)
    objects: list[list[AnnotatedObject]] = [[] for _ in coco.image_ids]
    boxes = coco.instances[list(BOX_COLUMNS)].to_numpy(dtype=float).tolist()
    for image, label, box, is_crowd in zip(
        coco.instances["image"],
        coco.instances["label"],
        boxes,
        crowd_rows(coco.instances, name=source.name).tolist(),
        strict=True,
    ):
        objects[image].append(AnnotatedObject(label, tuple(box), is_crowd=is_crowd))
    return [
        AnnotatedImage(file_name or "", size, instances)
        for file_name, size, instances in zip(
            coco.file_names, coco.image_sizes, objects, strict=True
        )
    ]


def write_coco(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """A data set, whose annotations have scores if the objects have."""
    labels = sorted({instance.label for image in images for instance in image.objects})
    category_ids = {label: number for number, label in enumerate(labels, 1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for instance in image.objects:
            x_min, y_min, x_max, y_max = instance.box
            width, height = x_max - x_min, y_max - y_min
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category_ids[instance.label],
                "bbox": [x_min, y_min, width, height],
                "area": width * height,
                "iscrowd": int(instance.is_crowd),
            }
            if instance.score is not None:
                annotation["score"] = instance.score
            annotations.append(annotation)
    content = {
        "images": [
            {
                "id": image_id,
                "file_name": image.file_name,
                "height": image.size[0],
                "width": image.size[1],
            }
            for image_id, image in enumerate(images, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": n, "name": label} for label, n in category_ids.items()],
    }
    return {path: json.dumps(content, allow_nan=False, ensure_ascii=False)}


COCO = AnnotationFormat(
    name="coco",
    title="COCO",
    suffixes=(".json",),
    recognises=is_coco,
    read=read_coco_images,
    write=write_coco,
    has_crowds=True,
)
