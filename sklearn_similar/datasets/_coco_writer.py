"""Writer of COCO's JSON, by the conventions of pycocotools."""

import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._images.messages import count
from .._saving.files import check_can_write, write_atomically
from .._tables.boxes import BOX_COLUMNS
from .._tables.checks import check_columns, check_instances, float_column
from .._tables.values import has_length, type_text
from ._annotations import check_distinct


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

    A table without scores is written as a data set for ``pycocotools.coco.COCO``, and a
    table with scores as a list of results for its ``loadRes``.

    Parameters
    ----------
    instances : DataFrame
        True instances, ``image, label, x_min, y_min, x_max, y_max``, or the result of
        `localize`. Images are numbered from 0. True instances may have a column
        ``iscrowd``. Columns of other names are not written.
    path : str or path-like
        The file. An existing file is replaced when the new one is complete.
    image_ids : sequence of int or str, default=None
        Id of each image; None: its number in the table.
    file_names : sequence of str, default=None
        File name of each image, for a data set.
    image_shapes : sequence of tuple, default=None
        (height, width) of each image, for a data set; further lengths are ignored.
    category_ids : dict of label to int, default=None
        Id of each label, such as those that `load_coco_file` returns for the data set;
        None: from 1, in the order of the sorted labels.

    Raises
    ------
    ValueError
        If the table, or the parameters of its images and labels, cannot be used.
    OSError
        If the file cannot be written; an existing file is unchanged.

    See Also
    --------
    load_coco_file : The inverse.

    Notes
    -----
    COCO's boxes are ``[x, y, width, height]``. Annotations are numbered from 1, as
    pycocotools treats an id of 0 as missing. Labels may be strings, integers or
    booleans, and are read back unchanged; so are boxes of whole pixels. Other boxes are
    read back up to rounding. ``heat`` is written too, although it is not a
    key of COCO.

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
    checked = check_instances(
        instances, name="instances", needs_score=has_score, with_crowds=True
    )
    numbers = _image_numbers(checked.image)
    images = _image_entries(numbers, image_ids, file_names, image_shapes)
    labels = [_plain_label(label) for label in checked.label]
    known_ids = _category_ids(labels, category_ids)
    annotations: list[dict[str, Any]] = [
        {
            "image_id": images[number]["id"],
            "category_id": known_ids[label],
            "bbox": box,
        }
        for number, label, box in zip(
            numbers, labels, _coco_boxes(instances, checked.boxes), strict=True
        )
    ]
    content: Any = annotations
    if has_score:
        for annotation, score in zip(annotations, checked.score, strict=True):
            annotation["score"] = float(score)
        if "heat" in instances:
            _add_heat(annotations, instances)
    else:
        _complete_annotations(annotations, checked.is_crowd)
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": n, "name": label} for label, n in known_ids.items()],
        }
    write_atomically(path, json.dumps(content, allow_nan=False).encode())


def _complete_annotations(
    annotations: list[dict[str, Any]], is_crowd: Iterable[bool]
) -> None:
    """Add what annotations of a data set have and results do not."""
    for number, (annotation, crowd) in enumerate(
        zip(annotations, is_crowd, strict=True), 1
    ):
        width, height = annotation["bbox"][2:]
        annotation |= {"id": number, "area": width * height, "iscrowd": int(crowd)}


def _add_heat(annotations: list[dict[str, Any]], instances: pd.DataFrame) -> None:
    check_columns(instances.columns, ["heat"], name="instances")
    heat = float_column(instances["heat"], name="instances")
    for annotation, value in zip(annotations, heat, strict=True):
        if np.isfinite(value):
            annotation["heat"] = float(value)


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


def _image_entries(numbers, image_ids, file_names, image_shapes) -> list[dict]:
    """COCO's entries of the images; the last ones may have no instance."""
    n_images = _n_images(
        numbers,
        {
            "image_ids": image_ids,
            "file_names": file_names,
            "image_shapes": image_shapes,
        },
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


def _n_images(numbers: list[int], given: dict[str, Any]) -> int:
    """Number of images, by the table or by the lists that describe the images."""
    lengths = {}
    for name, values in given.items():
        if values is not None:
            if isinstance(values, str | bytes) or not has_length(values):
                raise ValueError(f"{name} is {type_text(values)}; pass a list.")
            lengths[name] = len(values)
    if len(set(lengths.values())) > 1:
        texts = " and ".join(f"{name} {n}" for name, n in lengths.items())
        raise ValueError(f"Lengths differ: {texts}; pass one value for each image.")
    n_numbered = max(numbers, default=-1) + 1
    n_images = next(iter(lengths.values()), n_numbered)
    if n_images < n_numbered:
        raise ValueError(
            f"instances has image={n_numbered - 1}, but {next(iter(lengths))} has "
            f"{count(n_images, 'value')}; pass one for each image."
        )
    return n_images


def _plain(values: Iterable) -> list:
    """Values as types of Python, without those of NumPy."""
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _plain_label(label: Hashable) -> str | int:
    (plain,) = _plain([label])
    if not isinstance(plain, str | int):
        raise ValueError(
            f"instances has the label {label!r}, {type_text(label)}, which JSON cannot "
            "represent; convert labels to strings."
        )
    return plain


def _category_ids(labels: list, category_ids: Mapping | None) -> dict:
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
    """Corner and size, integers if the columns hold integers."""
    values = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    if all(instances[column].dtype.kind in "iu" for column in BOX_COLUMNS):
        return values.astype(np.int64).tolist()
    return values.tolist()
