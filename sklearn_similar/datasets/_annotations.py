"""Common parts of the readers of annotation formats.

A format is added as a module with a function from a path to `Annotations`, and a public
function that calls it, such as `load_coco_file`.
"""

import os
import stat
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._tables.values import as_labels


@dataclass(frozen=True)
class Annotations:
    """The instances in a file of annotations, and its images and labels.

    Attributes
    ----------
    instances : DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, and ``score`` and ``heat`` if the
        file has them. Images are numbered from 0 in the order of `image_ids`.
    image_ids : list
        Name of each image in the file.
    file_names : list of str or None
        File of each image; None if it is not given.
    image_sizes : list of tuple of int or None
        (height, width) of each image; None if it is not given.
    category_ids : dict
        Number of each label in the file.
    """

    instances: pd.DataFrame
    image_ids: list
    file_names: list
    image_sizes: list
    category_ids: dict


def read_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    """The content of a regular file; `name` is its name in messages."""
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{name} is not a file; pass the path of a file.")
    return Path(path).read_bytes()


def instances_table(rows: list[tuple], *, has_scores: bool, name: str) -> pd.DataFrame:
    """A table of rows ``image, label, x_min, y_min, x_max, y_max``.

    With scores, ``score, heat`` come before the box. Messages call the file `name`.
    """
    columns = INSTANCE_COLUMNS if has_scores else ("image", "label", *BOX_COLUMNS)
    table = pd.DataFrame(rows, columns=list(columns))
    if not rows:
        table = table.astype({column: np.int64 for column in ("image", *BOX_COLUMNS)})
    if has_scores:
        table = table.astype({"score": np.float64, "heat": np.float64})
    as_labels(table["label"], f"The labels of {name}", n=len(table))
    return table


def check_distinct(values: Iterable[Hashable], name: str) -> None:
    """Raise for the first value that is there twice."""
    known: set = set()
    for value in values:
        if value in known:
            raise ValueError(
                f"{name} hold {value!r:.50} twice; each should be there once."
            )
        known.add(value)
