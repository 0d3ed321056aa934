"""Label Studio's JSON export, and tasks with predictions for its import."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .._images.files import SUFFIXES
from .._images.messages import count, warn_user
from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
    bounding_box,
    finite_number,
    image_size,
    label_text,
    rotated_box,
)

# Where Label Studio serves files of its machine.
_LOCAL_FILES = "/data/local-files/?d="
_SHAPES = ("rectangle", "polygon", "rectanglelabels", "polygonlabels")
_BOX = {"x", "y", "width", "height"}


def is_label_studio(content: Any) -> bool:
    """Whether a JSON file is in this format."""
    return isinstance(content, list) and any(
        isinstance(task, dict) and isinstance(task.get("data"), dict)
        for task in content
    )


def read_label_studio(content: list, source: Source) -> list[AnnotatedImage]:
    """The images of a file, with the last annotation of each.

    Predictions are read if no task has been annotated. Else, tasks that have not been
    annotated are left out with a warning.
    """
    tasks = [_Task(task, number, source) for number, task in enumerate(content)]
    are_annotated = any(task.annotations for task in tasks)
    n_others: Counter[str] = Counter()
    images = []
    for task in tasks:
        results = task.annotations if are_annotated else task.predictions
        if results:
            images.append(_image(task, _last(results), n_others))
    if not images:
        raise ValueError(
            f"{source.name} holds neither annotations nor predictions; annotate some "
            "images first."
        )
    if len(images) < len(tasks):
        n_left_out = len(tasks) - len(images)
        noun = "annotated" if are_annotated else "predicted"
        warn_user(
            f"{count(n_left_out, 'task')} of {source.name} left out, as they have not "
            f"been {noun}."
        )
    if n_others:
        warn_user(
            f"{count(n_others.total(), 'region')} of {source.name} left out, as "
            f"{', '.join(sorted(n_others))} are not read; labelled rectangles and "
            "polygons are."
        )
    return images


class _Task:
    """A task, its name in messages and its image."""

    def __init__(self, task: Any, number: int, source: Source):
        self.where = f"Task {number} of {source.name}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise ValueError(f"{self.where} has no data; export it as JSON again.")
        self.annotations = [
            entry
            for entry in _entries(task, "annotations", self.where)
            if not entry.get("was_cancelled")
        ]
        self.predictions = _entries(task, "predictions", self.where)
        self.file_name = _file_name(data, self.where)


def _entries(task: dict, key: str, where: str) -> list[dict]:
    entries = task.get(key) or []
    # Exports without details list numbers.
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ValueError(
            f"{where} has {key} that are not a list of objects; export it as JSON."
        )
    return entries


def _file_name(data: dict, where: str) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if "image" in texts:
        return texts["image"]
    names = [
        text
        for text in texts.values()
        if Path(text.split("?d=")[-1].split("?")[0]).suffix.lower() in SUFFIXES
    ]
    if len(names) != 1:
        raise ValueError(
            f"{where} names {count(len(names), 'image')} in its data; name one, with "
            "the key 'image'."
        )
    return names[0]


def _last(results: list[dict]) -> dict:
    """The ground truth if there is one, else the last change."""

    def rank(number: int) -> tuple[bool, str, int]:
        result = results[number]
        changed = str(result.get("updated_at") or "")
        return bool(result.get("ground_truth")), changed, number

    return results[max(range(len(results)), key=rank)]


def _image(task: _Task, entry: dict, n_others: Counter) -> AnnotatedImage:
    regions = entry.get("result") or []
    if not isinstance(regions, list) or not all(isinstance(r, dict) for r in regions):
        raise ValueError(f"{task.where} has a result that is not a list of objects.")
    objects = []
    size = None
    labelled = {str(region.get("id")) for region in regions if _labels(region)}
    for region in regions:
        labels = _labels(region)
        if not labels or not _has_box(region["value"]):
            # A labelled rectangle may have a second region without its labels.
            is_shape = region.get("type") in _SHAPES
            if labels or (is_shape and str(region.get("id")) not in labelled):
                n_others[str(region["type"])] += 1
            continue
        size = image_size(region.get("original_height"), region.get("original_width"))
        box = _box(region, size, task.where)
        objects += [AnnotatedObject(label_text(t, task.where), box) for t in labels]
    return AnnotatedImage(task.file_name, size, objects, is_relative=True)


def _labels(region: dict) -> list:
    kind, value = region.get("type"), region.get("value")
    labels = value.get(kind) if isinstance(value, dict) else None
    is_labelled = isinstance(kind, str) and kind.endswith("labels")
    return labels if is_labelled and isinstance(labels, list) else []


def _has_box(value: dict) -> bool:
    return set(value) >= _BOX or isinstance(value.get("points"), list)


def _box(region: dict, size: tuple[int, int] | None, where: str):
    """The box of a region, as shares of the image's width and height."""
    value = region["value"]
    if finite_number(region.get("image_rotation") or 0, "image_rotation", where) % 360:
        raise ValueError(
            f"{where} has an image that was rotated in Label Studio, which is not "
            "read; rotate its file instead, and annotate it again."
        )
    if isinstance(value.get("points"), list):
        return _around_points(value["points"], where)
    x, y, width, height = (
        finite_number(value[key], key, where) / 100
        for key in ("x", "y", "width", "height")
    )
    degrees = finite_number(value.get("rotation") or 0, "rotation", where)
    if degrees % 360 == 0:
        return x, y, x + width, y + height
    if size is None:
        raise ValueError(
            f"{where} has a rotated box, but not the original_width and "
            "original_height of its image; add them."
        )
    # Angles are those of pixels, not of shares.
    full_height, full_width = size
    corner = x * full_width, y * full_height
    x_min, y_min, x_max, y_max = rotated_box(
        corner, (width * full_width, height * full_height), degrees, corner
    )
    return (
        x_min / full_width,
        y_min / full_height,
        x_max / full_width,
        y_max / full_height,
    )


def _around_points(points: list, where: str) -> tuple[float, float, float, float]:
    if not points or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError(f"{where} has a polygon whose points are not [x, y].")
    return bounding_box(
        (finite_number(x, "x", where) / 100, finite_number(y, "y", where) / 100)
        for x, y in points
    )


def write_label_studio(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """Tasks with predictions, for images that Label Studio serves from its machine."""
    tasks = [_task(image, number) for number, image in enumerate(images, 1)]
    return {path: json.dumps(tasks, indent=1, ensure_ascii=False)}


def _task(image: ImageToWrite, number: int) -> dict:
    """A task for the control ``label`` of an image ``image``."""
    height, width = image.size
    results = []
    for index, instance in enumerate(image.objects):
        x_min, y_min, x_max, y_max = instance.box
        result = {
            "id": f"{number}-{index}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x_min / width,
                "y": 100 * y_min / height,
                "width": 100 * (x_max - x_min) / width,
                "height": 100 * (y_max - y_min) / height,
                "rotation": 0,
                "rectanglelabels": [instance.label],
            },
        }
        if instance.score is not None:
            result["score"] = instance.score
        results.append(result)
    prediction: dict[str, Any] = {"model_version": "sklearn_similar", "result": results}
    scores = [
        instance.score for instance in image.objects if instance.score is not None
    ]
    if scores:
        # Label Studio sorts tasks by it: the least confident detection decides.
        prediction["score"] = min(scores)
    # Its document root must be a folder above the images.
    parents = Path(image.file_name).parts
    folder = image.path.parents[len(parents) - 1].name
    return {
        "data": {"image": f"{_LOCAL_FILES}{quote(f'{folder}/{image.file_name}')}"},
        "predictions": [prediction],
    }


LABEL_STUDIO = AnnotationFormat(
    name="label_studio",
    title="Label Studio",
    suffixes=(".json",),
    recognises=is_label_studio,
    read=read_label_studio,
    write=write_label_studio,
)
