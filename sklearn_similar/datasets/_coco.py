"""Tables of instances in COCO's JSON, by the conventions of pycocotools."""

import json
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._images.messages import count, warn_user
from .._saving.files import check_can_write, write_atomically
from .._tables.boxes import BOX_COLUMNS
from ..metrics._checks import check_instances
from ..metrics._values import as_labels, has_length, type_text
from ._coco_entries import (
    check_distinct,
    corners_of,
    file_name_of_entry,
    identifier,
    integer,
    label_of,
    number_of_entry,
    numbered,
    numbered_entries,
    read_json,
)


class CocoFile(NamedTuple):
    """What a file of COCO's holds.

    Attributes
    ----------
    instances : DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, and ``score`` and ``heat`` where
        the file has them. Images are numbered from 0 in the order of `image_ids`.
    image_ids : list of int or str
        The file's own names of the images.
    file_names : list of str or None
        Those of the images; None where the file has none.
    category_ids : dict
        The file's number of each label.
    """

    instances: pd.DataFrame
    image_ids: list
    file_names: list
    category_ids: dict


def dump_coco_file(
    instances: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    image_ids: Sequence | None = None,
    file_names: Sequence[str] | None = None,
    image_shapes: Sequence[tuple[int, ...]] | None = None,
    category_ids: Mapping | None = None,
) -> None:
    """Write a table of instances as COCO's JSON.

    A table without scores becomes a data set, as ``pycocotools.coco.COCO`` reads it; a
    table with scores becomes a list of results, as its ``loadRes`` reads it.

    Parameters
    ----------
    instances : DataFrame
        True instances, ``image, label, x_min, y_min, x_max, y_max``, or those that
        `localize` returns. Images are numbered from 0.
    path : str or path-like
        The file. One that exists is replaced when the new one is complete.
    image_ids : sequence of int or str, default=None
        COCO's name of each image; None: its number in the table.
    file_names : sequence of str, default=None
        File of each image, for a data set.
    image_shapes : sequence of tuple, default=None
        (height, width) of each image, more is ignored; for a data set.
    category_ids : dict of label to int, default=None
        COCO's number of each label, such as those that `load_coco_file` returns for the
        truth; None: from 1, in the order of the sorted labels.

    Raises
    ------
    ValueError
        If the table or what is said of its images and labels cannot be used.
    OSError
        If the file cannot be written; one that existed is as before.

    See Also
    --------
    load_coco_file : The inverse.

    Notes
    -----
    A box is ``[x, y, width, height]``, with the corner and the size of ours, whose
    maximum is the first pixel outside. Annotations are numbered from 1, as pycocotools
    takes 0 for none. Labels may be strings, integers or booleans, and come back as they
    were; so do boxes of whole pixels, others up to the rounding of a difference, and
    ``heat``, which is not one of COCO's keys.

    Examples
    --------
    >>> import os, tempfile
    >>> import pandas as pd
    >>> from sklearn_similar.datasets import dump_coco_file, load_coco_file
    >>> truth = pd.DataFrame(
    ...     [[0, "coin", 10, 5, 30, 25], [2, "key", 0, 0, 8, 20]],
    ...     columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "truth.json")
    ...     dump_coco_file(truth, path)
    ...     coco = load_coco_file(path)
    >>> coco.category_ids
    {'coin': 1, 'key': 2}
    >>> coco.instances.equals(truth)
    True
    """
    path = Path(path)
    check_can_write(path)
    has_score = isinstance(instances, pd.DataFrame) and "score" in instances
    checked = check_instances(instances, name="instances", needs_score=has_score)
    numbers = _image_numbers(checked.image)
    images = _described_images(numbers, image_ids, file_names, image_shapes)
    labels = [_plain_label(label) for label in checked.label]
    known = _numbered_labels(labels, category_ids)
    annotations = [
        {
            "image_id": images[number]["id"],
            "category_id": known[label],
            "bbox": box,
        }
        for number, label, box in zip(
            numbers, labels, _coco_boxes(instances, checked.boxes), strict=True
        )
    ]
    if has_score:
        for annotation, score in zip(annotations, checked.score, strict=True):
            annotation["score"] = float(score)
        for annotation, heat in zip(
            annotations, instances.get("heat", ()), strict=False
        ):
            if math.isfinite(heat):
                annotation["heat"] = float(heat)
        content: Any = annotations
    else:
        for number, annotation in enumerate(annotations, 1):
            width, height = annotation["bbox"][2:]
            annotation |= {"id": number, "area": width * height, "iscrowd": 0}
        categories = [{"id": n, "name": label} for label, n in known.items()]
        content = {
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }
    write_atomically(path, json.dumps(content, allow_nan=False).encode())


def load_coco_file(
    path: str | os.PathLike[str],
    *,
    image_ids: Sequence | None = None,
    category_ids: Mapping | None = None,
) -> CocoFile:
    """Read the instances in a file of COCO's JSON.

    Parameters
    ----------
    path : str or path-like
        A data set with images, annotations and categories, or a list of results.
    image_ids : sequence of int or str, default=None
        Names of the images in the order in which the table numbers them. None: the
        order of the data set. Results need them.
    category_ids : dict of label to int, default=None
        The number of each label. Results need them, and data sets have their own.

    Returns
    -------
    CocoFile
        The table of instances, and the names that the file has for images and labels.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not in COCO's format, the message names the entry; or if results lack
        `image_ids` or `category_ids`.

    Warns
    -----
    UserWarning
        If regions that are marked as crowds, which are no instances, are left out.

    See Also
    --------
    dump_coco_file : The inverse.
    """
    name = repr(os.fspath(path))
    content = read_json(path, name)
    if isinstance(content, dict):
        images = numbered_entries(content, "images", name)
        categories = numbered_entries(content, "categories", name)
        annotations = numbered_entries(content, "annotations", name)
        found_ids = [identifier(entry, "id", where) for where, entry in images]
        labels = {
            integer(entry, "id", where): label_of(entry, where)
            for where, entry in categories
        }
        check_distinct(found_ids, f"The images of {name}")
        check_distinct(
            [entry["id"] for _, entry in categories], f"The categories of {name}"
        )
        check_distinct(list(labels.values()), f"The names of categories of {name}")
        file_name_of = {
            entry["id"]: file_name_of_entry(where, entry) for where, entry in images
        }
    elif isinstance(content, list):
        if image_ids is None or category_ids is None:
            raise ValueError(
                f"{name} holds results, which do not say which images and labels there "
                "are; pass image_ids and category_ids, such as those of the file of "
                "the truth."
            )
        annotations = numbered(content, "result", name)
        found_ids = list(image_ids)
        labels = {number: label for label, number in category_ids.items()}
        file_name_of = {}
    else:
        raise ValueError(
            f"{name} holds {type_text(content)}; COCO's files hold an object with "
            "images, annotations and categories, or a list of results."
        )
    ordered = found_ids if image_ids is None else list(image_ids)
    check_distinct(ordered, "image_ids")
    table = _table(annotations, {key: n for n, key in enumerate(ordered)}, labels, name)
    return CocoFile(
        instances=table,
        image_ids=ordered,
        file_names=[file_name_of.get(key) for key in ordered],
        category_ids={label: number for number, label in labels.items()},
    )


def _image_numbers(image: pd.Series) -> list[int]:
    numbers = image.tolist()
    for row, number in enumerate(numbers):
        is_integer = isinstance(number, int) and not isinstance(number, bool)
        if not is_integer or number < 0:
            raise ValueError(
                f"Row {row} of instances has image={number!r}; number the images from "
                "0, and pass image_ids or file_names for their names."
            )
    return numbers


def _described_images(numbers, image_ids, file_names, image_shapes) -> list[dict]:
    """COCO's entries of images, of which those at the end may have no instance."""
    given = {
        "image_ids": image_ids,
        "file_names": file_names,
        "image_shapes": image_shapes,
    }
    lengths = {}
    for name, values in given.items():
        if values is not None:
            if isinstance(values, str | bytes) or not has_length(values):
                raise ValueError(f"{name} is {type_text(values)}; pass a list.")
            lengths[name] = len(values)
    if len(set(lengths.values())) > 1:
        texts = " and ".join(f"{name} {n}" for name, n in lengths.items())
        raise ValueError(f"Lengths differ: {texts}; pass one value for each image.")
    least = max(numbers, default=-1) + 1
    n_images = next(iter(lengths.values()), least)
    if n_images < least:
        raise ValueError(
            f"instances has image={least - 1}, but {next(iter(lengths))} has "
            f"{count(n_images, 'value')}; pass one for each image."
        )
    ids = list(range(n_images)) if image_ids is None else _plain(image_ids)
    for key in ids:
        if isinstance(key, bool) or not isinstance(key, int | str):
            raise ValueError(f"image_ids holds {key!r}; pass integers or strings.")
    check_distinct(ids, "image_ids")
    images = [{"id": key} for key in ids]
    for entry, file_name in zip(images, file_names or (), strict=False):
        if file_name is not None:
            entry["file_name"] = str(file_name)
    for entry, shape in zip(images, image_shapes or (), strict=False):
        entry["height"], entry["width"] = (int(length) for length in shape[:2])
    return images


def _plain(values: Iterable) -> list:
    """Values as Python's own types."""
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _plain_label(label: Hashable) -> str | int:
    (plain,) = _plain([label])
    if not isinstance(plain, str | int):
        raise ValueError(
            f"instances has the label {label!r}, {type_text(label)}, which JSON does "
            "not hold; convert labels to strings."
        )
    return plain


def _numbered_labels(labels: list, category_ids: Mapping | None) -> dict:
    if category_ids is None:
        return {label: number for number, label in enumerate(sorted(set(labels)), 1)}
    if not isinstance(category_ids, Mapping):
        raise ValueError(
            f"category_ids is {type_text(category_ids)}; pass a dict of labels and "
            "numbers."
        )
    known = dict(zip(_plain(category_ids), _plain(category_ids.values()), strict=True))
    for label, number in known.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(
                f"category_ids has {number!r} for {label!r}; pass integers."
            )
    check_distinct(list(known.values()), "category_ids")
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(
            f"category_ids lacks the label {unknown[0]!r} of instances; add it."
        )
    return known


def _coco_boxes(instances: pd.DataFrame, boxes: np.ndarray) -> list[list]:
    """Corner and size, of integers where the columns hold integers."""
    values = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    if all(instances[column].dtype.kind in "iu" for column in BOX_COLUMNS):
        return values.astype(np.int64).tolist()
    return values.tolist()


def _table(
    annotations: list[tuple[str, dict]],
    number_of: dict,
    labels: dict,
    name: str,
) -> pd.DataFrame:
    """The table of instances; those of crowds are left out with a warning."""
    rows = []
    n_crowds = 0
    has_scores = {"score" in entry for _, entry in annotations}
    if len(has_scores) > 1:
        raise ValueError(f"Some annotations in {name} have a score and some have none.")
    for where, entry in annotations:
        if entry.get("iscrowd"):
            n_crowds += 1
            continue
        image = identifier(entry, "image_id", where)
        category = integer(entry, "category_id", where)
        if image not in number_of:
            raise ValueError(f"{where} has image_id={image!r:.50}, which is no image.")
        if category not in labels:
            raise ValueError(
                f"{where} has category_id={category!r:.50}, which is no category."
            )
        row = [number_of[image], labels[category], *corners_of(entry, where)]
        if has_scores == {True}:
            row.append(number_of_entry(entry["score"], "score", where))
            heat = entry.get("heat")
            row.append(np.nan if heat is None else number_of_entry(heat, "heat", where))
        rows.append(row)
    if n_crowds:
        warn_user(
            f"{count(n_crowds, 'region')} of {name} that are marked as crowds are left "
            "out, as crowds are no instances.",
        )
    columns = [
        "image",
        "label",
        *BOX_COLUMNS,
        *["score", "heat"] * (has_scores == {True}),
    ]
    table = pd.DataFrame(rows, columns=columns)
    if not rows:
        table = table.astype({name: np.int64 for name in ("image", *BOX_COLUMNS)})
    as_labels(table["label"], f"The labels of {name}", n=len(table))
    if has_scores == {True}:
        table = table[["image", "label", "score", "heat", *BOX_COLUMNS]]
        return table.astype({"score": np.float64, "heat": np.float64})
    return table
