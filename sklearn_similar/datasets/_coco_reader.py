"""Reader of COCO's JSON, by the conventions of pycocotools."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._images.messages import count, warn_user
from .._tables.values import type_text
from ._annotations import (
    MAX_NUMBER,
    box_around_rotated,
    check_distinct,
    instances_table,
    read_bytes,
)
from ._parsing import parse_json

# Whether a region is a crowd, by its key "iscrowd"; some tools write texts.
_CROWD = dict.fromkeys(("0", "0.0", "false", "none", ""), False)
_CROWD |= dict.fromkeys(("1", "1.0", "true"), True)


class CocoFile(NamedTuple):
    """Instances, images and labels of a COCO file.

    Attributes
    ----------
    instances : DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, and ``score`` and ``heat`` if the
        file has them. Images are numbered from 0 in the order of `image_ids`. If there
        are regions of many objects, the column ``iscrowd`` is True for them; metrics
        ignore the detections that they cover, as COCO does.
    image_ids : list of int or str
        The id of each image in the file.
    file_names : list of str or None
        The file name of each image; None if the file has none.
    category_ids : dict
        The id of each label in the file.
    """

    instances: pd.DataFrame
    image_ids: list
    file_names: list
    category_ids: dict


@dataclass(frozen=True)
class CocoContent:
    """The content of a COCO file.

    Attributes
    ----------
    instances, image_ids, file_names, category_ids
        As in `CocoFile`.
    image_sizes : list of tuple of int or None
        (height, width) of each image; None if it is not given.
    """

    instances: pd.DataFrame
    image_ids: list
    file_names: list
    image_sizes: list
    category_ids: dict


def load_coco_file(
    path: str | os.PathLike[str],
    *,
    image_ids: Sequence | None = None,
    category_ids: Mapping | None = None,
) -> CocoFile:
    """Read the instances in a COCO file.

    Parameters
    ----------
    path : str or path-like
        A data set with images, annotations and categories, or a list of results.
    image_ids : sequence of int or str, default=None
        Ids of the images in the order in which the table numbers them. None: the order
        of the data set. Required for results.
    category_ids : dict of label to int, default=None
        The id of each label. Required for results; ignored for data sets.

    Returns
    -------
    CocoFile
        The table of instances, and the ids of images and labels in the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is not in COCO's format; the message names the entry. If results are
        read without `image_ids` or `category_ids`.

    Warns
    -----
    UserWarning
        If Label Studio wrote the file and may have distorted rotated rectangles.

    See Also
    --------
    dump_coco_file : The inverse.
    """
    annotations = read_coco(path, image_ids=image_ids, category_ids=category_ids)
    return CocoFile(
        instances=annotations.instances,
        image_ids=annotations.image_ids,
        file_names=annotations.file_names,
        category_ids=annotations.category_ids,
    )


def read_coco(
    path: str | os.PathLike[str],
    *,
    image_ids: Sequence | None = None,
    category_ids: Mapping | None = None,
) -> CocoContent:
    """Read a COCO file; parameters and errors are those of `load_coco_file`."""
    name = repr(os.fspath(path))
    content = parse_json(read_bytes(path, name), name)
    return coco_of_content(
        content, name, image_ids=image_ids, category_ids=category_ids
    )


def coco_of_content(
    content: Any,
    name: str,
    *,
    image_ids: Sequence | None = None,
    category_ids: Mapping | None = None,
    unique_names: bool = True,
) -> CocoContent:
    """Check the parsed content of a COCO file, which messages call `name`.

    Without `unique_names`, two categories with annotations may have one name.
    """
    if isinstance(content, dict):
        images = _images(content, name)
        entries = _entries(content, "annotations", name)
        labels = _labels(content, entries, name, unique_names)
        _warn_of_label_studio(content, images, entries, name)
    elif isinstance(content, list):
        if image_ids is None or category_ids is None:
            raise ValueError(
                f"{name} holds results, which have neither images nor labels; pass "
                "image_ids and category_ids, such as those of the data set."
            )
        images = {image_id: {} for image_id in image_ids}
        labels = {number: label for label, number in category_ids.items()}
        entries = _named_entries(content, "Result", name)
    else:
        raise ValueError(
            f"{name} holds {type_text(content)}; COCO's files hold an object with "
            "images, annotations and categories, or a list of results."
        )
    ordered = list(images if image_ids is None else image_ids)
    check_distinct(ordered, "image_ids")
    return CocoContent(
        instances=_instances(
            entries, ordered, labels, name, are_results=isinstance(content, list)
        ),
        image_ids=ordered,
        file_names=[images.get(key, {}).get("file_name") for key in ordered],
        image_sizes=[_size(images.get(key, {})) for key in ordered],
        category_ids={label: number for number, label in labels.items()},
    )


def _entries(content: dict, key: str, name: str) -> list[tuple[str, dict]]:
    if not isinstance(content.get(key), list):
        raise ValueError(f"{name} has no list of {key}, which a COCO data set has.")
    return _named_entries(content[key], f"Entry of {key}", name)


def _named_entries(entries: list, noun: str, name: str) -> list[tuple[str, dict]]:
    """Entries with their names in messages."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{noun} {number} in {name} is not an object.")
    return [(f"{noun} {n} in {name}", entry) for n, entry in enumerate(entries)]


def _images(content: dict, name: str) -> dict[int | str, dict]:
    """The entry of each image id."""
    entries = _entries(content, "images", name)
    ids = [_identifier(entry, "id", where) for where, entry in entries]
    check_distinct(ids, f"The images of {name}")
    for where, entry in entries:
        file_name = entry.get("file_name")
        if file_name is not None and not isinstance(file_name, str):
            raise _bad(where, "file_name", file_name, "a string")
    return dict(zip(ids, (entry for _, entry in entries), strict=True))


def _warn_of_label_studio(
    content: dict, images: dict, entries: list[tuple[str, dict]], name: str
) -> None:
    """Warn of boxes that Label Studio may have rotated in percent of the image."""
    info = content.get("info")
    if not isinstance(info, dict) or info.get("contributor") != "Label Studio":
        return
    sizes = {key: _size(image) for key, image in images.items()}
    is_square = {key for key, size in sizes.items() if size and size[0] == size[1]}
    # Polygons have a segmentation.
    n_boxes = sum(
        not entry.get("segmentation") and entry.get("image_id") not in is_square
        for _, entry in entries
    )
    if n_boxes:
        warn_user(
            f"{count(n_boxes, 'rectangle')} of {name} may be wrong, as Label Studio's "
            "export to COCO distorts rectangles that were rotated, unless the image is "
            "square. If there are any, export as JSON instead."
        )


def _labels(
    content: dict, annotations: list[tuple[str, dict]], name: str, unique_names: bool
) -> dict[int, str | int]:
    """The label of each category id."""
    entries = _entries(content, "categories", name)
    ids = [_integer(entry, "id", where) for where, entry in entries]
    labels = [_value(entry, "name", where) for where, entry in entries]
    for (where, _), label in zip(entries, labels, strict=True):
        if not isinstance(label, str | int):
            raise _bad(where, "name", label, "a string")
    check_distinct(ids, f"The categories of {name}")
    label_of = dict(zip(ids, labels, strict=True))
    if unique_names:
        label_of = _without_unused_namesakes(label_of, annotations)
        check_distinct(label_of.values(), f"The names of categories of {name}")
    return label_of


def _without_unused_namesakes(
    label_of: dict[int, str | int], annotations: list[tuple[str, dict]]
) -> dict[int, str | int]:
    """Categories without those that only repeat the name of another.

    Roboflow's first category is named after the project, as a class may be, and has no
    annotations.
    """
    used = [entry.get("category_id") for _, entry in annotations]
    # Of categories with one name, the last one that has annotations, or else the last.
    main = {label: number for number, label in label_of.items()}
    main |= {label: number for number, label in label_of.items() if number in used}
    return {
        number: label
        for number, label in label_of.items()
        if number in used or number == main[label]
    }


def _size(image: dict) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


def _instances(
    entries: list[tuple[str, dict]],
    image_ids: list,
    labels: dict,
    name: str,
    *,
    are_results: bool,
) -> pd.DataFrame:
    """The table of instances, with a column of crowds if there are any."""
    n_scores = sum("score" in entry for _, entry in entries)
    if n_scores not in (0, len(entries)):
        raise ValueError(f"Some annotations in {name} have a score and some have none.")
    image_numbers = {image_id: number for number, image_id in enumerate(image_ids)}
    rows = []
    for where, entry in entries:
        image = _identifier(entry, "image_id", where)
        category = _integer(entry, "category_id", where)
        if image not in image_numbers:
            raise ValueError(
                f"{where} has image_id={image!r:.50}, which is not an image."
            )
        if category not in labels:
            raise ValueError(
                f"{where} has category_id={category!r:.50}, which is not a category."
            )
        box = _box(entry, where)
        confidence = _score_and_heat(entry, where) if n_scores else ()
        is_crowd = _is_crowd(entry, where)
        rows.append(
            (image_numbers[image], labels[category], *confidence, *box, is_crowd)
        )
    # A search that found nothing has results, too.
    has_scores = n_scores > 0 or (are_results and not entries)
    return instances_table(rows, has_scores=has_scores, name=name)


def _is_crowd(entry: dict, where: str) -> bool:
    value = entry.get("iscrowd", 0)
    text = str(value).strip().lower()
    if text not in _CROWD:
        raise _bad(where, "iscrowd", value, "0 or 1")
    return _CROWD[text]


def _score_and_heat(entry: dict, where: str) -> tuple[float, float]:
    heat = entry.get("heat")
    return (
        _number(entry["score"], "score", where),
        np.nan if heat is None else _number(heat, "heat", where),
    )


def _box(entry: dict, where: str) -> tuple:
    box = _value(entry, "bbox", where)
    if not isinstance(box, list) or len(box) != 4:
        raise _bad(where, "bbox", box, "[x, y, width, height]")
    x, y, width, height = (_number(value, "bbox", where) for value in box)
    if width < 0 or height < 0:
        raise ValueError(f"{where} has bbox={box!r:.80}, of negative size.")
    attributes = entry.get("attributes")
    # CVAT writes rotated boxes upright, and their angle as an attribute.
    angle = attributes.get("rotation") if isinstance(attributes, dict) else None
    degrees = 0 if angle is None else _number(angle, "rotation", where)
    return box_around_rotated((x, y, x + width, y + height), degrees)


def _value(entry: dict, key: str, where: str) -> Any:
    if key not in entry:
        raise ValueError(f"{where} lacks {key!r}.")
    return entry[key]


def _identifier(entry: dict, key: str, where: str) -> int | str:
    value = _value(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _bad(where, key, value, "an integer")
    return value


def _integer(entry: dict, key: str, where: str) -> int:
    value = _identifier(entry, key, where)
    if isinstance(value, str):
        raise _bad(where, key, value, "an integer")
    return value


def _number(value: Any, key: str, where: str) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= MAX_NUMBER:
        raise _bad(where, key, value, "a number")
    return value


def _bad(where: str, key: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{where} has {key}={value!r:.50}; it should be {expected}.")
