"""Validation of tables of instances, and of arrays of boxes.

Unknown columns are ignored: a table may also hold paths, tracks, masks and the like.
Crowds (`CROWD_COLUMN`) are left out, unless they are asked for.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .boxes import BOX_COLUMNS, CROWD_COLUMN, INSTANCE_COLUMNS
from .values import as_numbers, check_keys, type_text

# Floats beyond it skip whole pixels, and areas of boxes far beyond it may overflow.
_MAX_COORDINATE = 2.0**53


@dataclass(frozen=True)
class Instances:
    """The checked columns of a table of instances.

    Attributes
    ----------
    rows : Index
        Names of the rows, for messages.
    boxes : ndarray of shape (n, 4)
    image, label : Series of shape (n,)
        The label is 0 if labels are not needed.
    score : ndarray of shape (n,)
        0 if scores are not needed.
    is_crowd : ndarray of bool of shape (n,)
        Whether a row is a crowd; all False if crowds are left out.
    """

    rows: pd.Index
    boxes: np.ndarray
    image: pd.Series
    label: pd.Series
    score: np.ndarray
    is_crowd: np.ndarray


def as_instances(
    boxes: Any,
    *,
    name: str,
    needs_label: bool = True,
    needs_score: bool = False,
    one_per_image: bool = False,
    with_crowds: bool = False,
) -> Instances:
    """The checked columns of a table of instances, or of an array of boxes.

    The rows of an array are boxes of one image and one label, by descending score; with
    ``one_per_image``, row i is the only box of image i.
    """
    if isinstance(boxes, pd.DataFrame):
        return check_instances(
            boxes,
            name=name,
            needs_label=needs_label,
            needs_score=needs_score,
            with_crowds=with_crowds,
        )
    coordinates = box_coordinates(boxes, name=name)
    number = pd.Series(np.arange(len(coordinates)))
    return Instances(
        rows=number.index,
        boxes=coordinates,
        image=number if one_per_image else 0 * number,
        label=0 * number,
        score=-number.to_numpy(dtype=np.float64),
        is_crowd=np.zeros(len(number), dtype=bool),
    )


def check_instances(
    table: Any,
    *,
    name: str,
    needs_label: bool = True,
    needs_score: bool = False,
    with_crowds: bool = False,
) -> Instances:
    """The checked columns of a table of instances.

    Parameters
    ----------
    table : DataFrame
        One row for each instance. Columns may be in any order, and unknown columns
        are ignored.
    name : str
        Name of the table in messages.
    needs_label, needs_score : bool
        Whether these columns are needed. Rows with scores are detections, and never
        crowds.
    with_crowds : bool
        Whether the rows of crowds are kept.

    Raises
    ------
    ValueError
        For missing or repeated columns, missing values, labels and images of several
        kinds, and negative extents. The message names the row.
    """
    if not isinstance(table, pd.DataFrame):
        raise ValueError(
            f"{name} is {type_text(table)}; pass a DataFrame of instances with "
            f"the columns {', '.join(INSTANCE_COLUMNS)}."
        )
    needed = ["image", *["label"] * needs_label, *["score"] * needs_score, *BOX_COLUMNS]
    check_columns(table.columns, needed, name=name)
    is_crowd = np.zeros(len(table), dtype=bool)
    if not needs_score:
        is_crowd = crowd_rows(table, name=name)
    if not with_crowds:
        table, is_crowd = table[~is_crowd], is_crowd[~is_crowd]
    score = np.zeros(len(table))
    label = pd.Series(np.zeros(len(table), dtype=np.int64))
    if needs_label:
        label = _keys(table, "label", name=name)
    if needs_score:
        score = float_column(table["score"], name=name)
        bad = ~np.isfinite(score)
        if bad.any():
            raise ValueError(
                f"Row {table.index[bad.argmax()]} of {name} has score="
                f"{score[bad.argmax()]}; give a finite score or drop the row."
            )
    return Instances(
        rows=table.index,
        boxes=box_coordinates(table, name=name),
        image=_keys(table, "image", name=name),
        label=label,
        score=score,
        is_crowd=is_crowd,
    )


def crowd_rows(table: pd.DataFrame, *, name: str) -> np.ndarray:
    """Whether each row of a table is a crowd; missing values are False."""
    if CROWD_COLUMN not in table.columns:
        return np.zeros(len(table), dtype=bool)
    check_columns(table.columns, [CROWD_COLUMN], name=name)
    values = np.nan_to_num(float_column(table[CROWD_COLUMN], name=name), nan=0.0)
    bad = ~np.isin(values, (0, 1))
    if bad.any():
        raise ValueError(
            f"Row {table.index[bad.argmax()]} of {name} has {CROWD_COLUMN}="
            f"{values[bad.argmax()]:g}; give 0 or 1."
        )
    return values == 1


def without_crowds(table: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """The rows of objects."""
    return table[~crowd_rows(table, name=name)]


def is_table(y: Any) -> bool:
    """Whether y is a table of instances, or a list of one for each image."""
    if isinstance(y, pd.DataFrame):
        return y.shape[1] > 1
    is_list = isinstance(y, list | tuple) and len(y) > 0
    return is_list and all(isinstance(of_image, pd.DataFrame) for of_image in y)


def joined_table(y: Any) -> pd.DataFrame:
    """The table of all images, from itself or from a list of one for each image.

    Searches of parameters split images, and can split a list along with them.
    """
    if isinstance(y, pd.DataFrame):
        return y
    tables = [of_image.assign(image=image) for image, of_image in enumerate(y)]
    return pd.concat(tables, ignore_index=True)


def check_columns(columns: pd.Index, needed: Sequence[str], *, name: str) -> None:
    """Raise for needed columns that a table lacks or has twice."""
    if columns.nlevels > 1:
        raise ValueError(
            f"{name} has columns of {columns.nlevels} levels; give each one name: it "
            f"needs {', '.join(needed)}."
        )
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"{name} lacks the column {', '.join(missing)}; "
            f"{_remedy(columns, missing[0])}: it needs {', '.join(needed)}."
        )
    repeated = set(columns[columns.duplicated()])
    for column in needed:
        if column in repeated:
            raise ValueError(f"{name} has the column {column} twice; drop one of them.")


def _remedy(columns: pd.Index, missing: str) -> str:
    """The remedy for a missing column, which may be misspelt."""
    unknown = [
        column
        for column in columns
        if isinstance(column, str) and column not in INSTANCE_COLUMNS
    ]
    close = difflib.get_close_matches(missing, unknown, n=1, cutoff=0.7)
    return f"rename {close[0]!r} to {missing!r}" if close else "add it"


def box_coordinates(boxes: Any, *, name: str) -> np.ndarray:
    """Checked boxes of a DataFrame or an array-like, as float64 (n, 4)."""
    if isinstance(boxes, pd.DataFrame):
        check_columns(boxes.columns, BOX_COLUMNS, name=name)
        rows = boxes.index
        columns = [float_column(boxes[column], name=name) for column in BOX_COLUMNS]
        coordinates = np.stack(columns, axis=1)
    else:
        coordinates = as_numbers(boxes, name).astype(np.float64)
        if coordinates.size == 0 and coordinates.ndim <= 2:
            coordinates = coordinates.reshape(0, 4)
        if coordinates.ndim != 2 or coordinates.shape[1] != 4:
            raise ValueError(
                f"{name} has shape {coordinates.shape}; pass one row x_min, y_min, "
                "x_max, y_max for each box."
            )
        rows = pd.RangeIndex(len(coordinates))
    _check_coordinates(coordinates, rows, name=name)
    return coordinates


def _check_coordinates(coordinates: np.ndarray, rows: pd.Index, *, name: str) -> None:
    """Raise for the first row with non-finite values or a negative extent."""
    # NaN makes the comparison false.
    bad = ~(np.abs(coordinates) <= _MAX_COORDINATE)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"Row {rows[row]} of {name} has {BOX_COLUMNS[column]}="
            f"{coordinates[row, column]:g}; give finite pixel coordinates of at most "
            "2**53, or drop the row."
        )
    bad = coordinates[:, 2:] < coordinates[:, :2]
    if bad.any():
        row, axis = np.argwhere(bad)[0]
        low, high = BOX_COLUMNS[axis], BOX_COLUMNS[axis + 2]
        raise ValueError(
            f"Row {rows[row]} of {name} has a negative extent, {low}="
            f"{coordinates[row, axis]:g} and {high}={coordinates[row, axis + 2]:g}; "
            f"swap them so that {low} <= {high}."
        )


def float_column(column: pd.Series, *, name: str) -> np.ndarray:
    """A column as float64, missing values as NaN."""
    # pandas' extension types become arrays of numbers or of objects.
    values = np.asarray(column)
    if values.dtype.kind == "O":
        values = np.where(column.isna().to_numpy(), np.nan, values)
    try:
        return as_numbers(values, name).astype(np.float64)
    except ValueError as error:
        raise ValueError(
            f"Column {column.name!r} of {name} has dtype {column.dtype}; convert it to "
            "numbers."
        ) from error


def _keys(table: pd.DataFrame, column: str, *, name: str) -> pd.Series:
    return check_keys(
        table[column],
        column,
        column_name=f"Column {column!r} of {name}",
        table_name=name,
    )


def image_numbers(
    instances: Instances, shapes: Sequence[tuple[int, ...]], *, name: str
) -> np.ndarray:
    """The number of each box's image, given the shapes of all images.

    Raises
    ------
    ValueError
        For the first box with an unknown image, or not inside its image.
    """
    numbers = {number: number for number in range(len(shapes))}
    image_of_box = []
    for row, image, box in zip(
        instances.rows, instances.image.tolist(), instances.boxes, strict=True
    ):
        # True is equal to 1.
        number = None if isinstance(image, bool) else numbers.get(image)
        if number is None:
            raise ValueError(
                f"Row {row} of {name} has image={image!s}, which is none of the "
                f"{len(shapes)} images; number the images from 0 in the order in which "
                "they are passed."
            )
        height, width = shapes[number][:2]
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            raise ValueError(
                f"Row {row} of {name} has the box ({', '.join(f'{v:g}' for v in box)}) "
                f"outside its image of height {height} and width {width}; clip it to "
                "the image."
            )
        image_of_box.append(number)
    return np.array(image_of_box, dtype=np.intp)
