"""Types and checks that all annotation formats share.

A format is a module with an `AnnotationFormat`, which names its reader and its writer,
and an entry in `FORMATS` (`_formats.py`).
"""

import math
import os
import stat
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, CROWD_COLUMN, INSTANCE_COLUMNS
from .._tables.values import as_labels

# Floats represent all integers up to it, and coordinates are computed with floats.
MAX_NUMBER = 2**53


class AnnotatedObject(NamedTuple):
    """An object in an image.

    Attributes
    ----------
    label : str
        An integer in COCO files whose categories are named by integers.
    box : tuple of float
        ``x_min, y_min, x_max, y_max``, half-open.
    score : float or None
        For writers; None if the table has no scores.
    is_crowd : bool
        Whether this is a region of many objects.
    """

    label: Any
    box: tuple[float, float, float, float]
    score: float | None = None
    is_crowd: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its objects, as a reader gives them.

    Attributes
    ----------
    file_name : str
        The name in the annotation file, with any folders; empty if it has none.
    size : tuple of int or None
        (height, width); None if the annotation file does not give it.
    objects : list of AnnotatedObject
    path : Path or None
        The image; None if it has to be looked up by `file_name`.
    is_relative : bool
        Whether boxes are shares of the image's width and height instead of pixels.
    may_lack_angles : bool
        Whether the tool that wrote the file drops the angles of rotated boxes.
    """

    file_name: str
    size: tuple[int, int] | None
    objects: list[AnnotatedObject]
    path: Path | None = None
    is_relative: bool = False
    may_lack_angles: bool = False


@dataclass(frozen=True)
class ImageToWrite:
    """An image and its objects, as a writer takes them.

    Attributes
    ----------
    file_name : str
        The path relative to the folder that holds all images, with ``/``.
    path : Path
        Absolute.
    size : tuple of int
        (height, width).
    objects : list of AnnotatedObject
    """

    file_name: str
    path: Path
    size: tuple[int, int]
    objects: list[AnnotatedObject]

    @property
    def name(self) -> str:
        """The file name without folders."""
        return self.path.name


@dataclass(frozen=True)
class Source:
    """The file that a reader reads, and what the user asked for.

    Attributes
    ----------
    file : Path
    folder : Path
        The folder that the user passed, or that of the file.
    images : Path or None
        Folder of the images, if the user passed one.
    subset : str or None
        Part of the data set; None for all of it.
    """

    file: Path
    folder: Path
    images: Path | None = None
    subset: str | None = None

    @property
    def name(self) -> str:
        """The file in messages."""
        return repr(str(self.file))


@dataclass(frozen=True)
class AnnotationFormat:
    """A format of annotation files.

    Attributes
    ----------
    name : str
        The value of the parameter `format`.
    title : str
        The name in messages.
    suffixes : tuple of str
        Suffixes of its files, which decide how their content is parsed.
    recognises : callable
        From parsed content to whether it is in this format.
    read : callable
        From parsed content and its `Source` to the images.
    write : callable
        From images and the path that the user passed to the text of each file.
    writes_folder : bool
        Whether that path is a folder.
    has_subsets : bool
        Whether the reader uses `Source.subset`.
    has_crowds : bool
        Whether the writer takes regions of many objects.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Any], bool]
    read: Callable[[Any, Source], list[AnnotatedImage]]
    write: Callable[[list[ImageToWrite], Path], dict[Path, str]]
    writes_folder: bool = False
    has_subsets: bool = False
    has_crowds: bool = False


def finite_number(value: Any, key: str, where: str) -> float:
    """A number, or the text of one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    # NaN makes the comparison false.
    if not abs(number) <= MAX_NUMBER:
        raise ValueError(
            f"{where} has {key}={value!r:.50}; it should be a finite number."
        )
    return number


def image_size(height: Any, width: Any) -> tuple[int, int] | None:
    """A size as (height, width); None unless both are positive, as tools write 0."""
    try:
        size = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def label_text(label: Any, where: str) -> str:
    """A label without surrounding blanks."""
    text = label.strip() if isinstance(label, str) else ""
    if not text:
        raise ValueError(f"{where} has no label; give it one, or delete it.")
    return text


def bounding_box(
    points: Iterable[tuple[float, float]],
) -> tuple[float, float, float, float]:
    """The box around some points (x, y)."""
    x, y = zip(*points, strict=True)
    return min(x), min(y), max(x), max(y)


def rotated_box(
    corner: tuple[float, float],
    size: tuple[float, float],
    degrees: float,
    centre: tuple[float, float],
) -> tuple[float, float, float, float]:
    """The box around a box that is rotated clockwise about a point.

    Parameters
    ----------
    corner : (float, float)
        x and y of its upper left corner.
    size : (float, float)
        Its width and height, in the same unit along both axes.
    degrees : float
    centre : (float, float)
        x and y of the fixed point.
    """
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [
        (
            corner[0] + right * size[0] - centre[0],
            corner[1] + down * size[1] - centre[1],
        )
        for right in (0, 1)
        for down in (0, 1)
    ]
    return bounding_box(
        (centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos)
        for x, y in corners
    )


def box_around_rotated(
    box: tuple[float, float, float, float], degrees: float
) -> tuple[float, float, float, float]:
    """The box around a box that is rotated clockwise about its centre, as in CVAT."""
    if degrees % 360 == 0:
        return box
    x_min, y_min, x_max, y_max = box
    centre = (x_min + x_max) / 2, (y_min + y_max) / 2
    return rotated_box((x_min, y_min), (x_max - x_min, y_max - y_min), degrees, centre)


def files_by_stem(
    images: list[ImageToWrite], folder: Path, suffix: str
) -> dict[Path, ImageToWrite]:
    """A file for each image, named after it."""
    files: dict[Path, ImageToWrite] = {}
    for image in images:
        file = folder / f"{image.path.stem}{suffix}"
        if file in files:
            raise ValueError(
                f"Images {files[file].file_name!r} and {image.file_name!r} would both "
                f"be annotated in {str(file)!r}; rename one of them, or write them "
                "into separate folders."
            )
        files[file] = image
    return files


def read_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    """The content of a regular file; `name` is its name in messages."""
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{name} is not a file; pass the path of a file.")
    return Path(path).read_bytes()


def instances_table(rows: list[tuple], *, has_scores: bool, name: str) -> pd.DataFrame:
    """A table of rows ``image, label, x_min, y_min, x_max, y_max, iscrowd``.

    With scores, ``score, heat`` come before the box. Without crowds, the last column is
    left out. Messages call the file `name`.
    """
    columns = INSTANCE_COLUMNS if has_scores else ("image", "label", *BOX_COLUMNS)
    table = pd.DataFrame(rows, columns=[*columns, CROWD_COLUMN])
    if not table[CROWD_COLUMN].any():
        table = table.drop(columns=CROWD_COLUMN)
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
