"""Validation of tables of instances, and of arrays of boxes."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .values import as_numbers, check_keys, type_text

# Above it floats skip whole pixels, and areas of boxes may overflow far above it.
_LARGEST_COORDINATE = 2.0**53


@dataclass(frozen=True)
class Instances:
    """The checked columns of a table of instances.

    Attributes
    ----------
    rows : Index
        Names of the rows, for messages.
    boxes : ndarray of shape (n, 4)
    image, label : Series of shape (n,)
    score : ndarray of shape (n,)
        Like the label, all 0 where it was not asked for.
    """

    rows: pd.Index
    boxes: np.ndarray
    image: pd.Series
    label: pd.Series
    score: np.ndarray


def as_instances(
    boxes: Any,
    *,
    name: str,
    needs_label: bool = True,
    needs_score: bool = False,
    one_per_image: bool = False,
) -> Instances:
    """Return the checked columns of a table of instances, or of an array of boxes.

    The rows of an array are the boxes of one image and one label, by descending score;
    with ``one_per_image``, each is the only box of the image of its number.
    """
    if isinstance(boxes, pd.DataFrame):
        return check_instances(
            boxes, name=name, needs_label=needs_label, needs_score=needs_score
        )
    coordinates = box_coordinates(boxes, name=name)
    number = pd.Series(np.arange(len(coordinates)))
    return Instances(
        rows=number.index,
        boxes=coordinates,
        image=number if one_per_image else 0 * number,
        label=0 * number,
        score=-number.to_numpy(dtype=np.float64),
    )


def check_instances(
    table: Any, *, name: str, needs_label: bool = True, needs_score: bool = False
) -> Instances:
    """Return the checked columns of a table of instances.

    Parameters
    ----------
    table : DataFrame
        Columns of `INSTANCE_COLUMNS`, one row for each instance.
    name : str
        Name of the table in messages.
    needs_label, needs_score : bool
        Whether these columns must be there. Others are not looked at.

    Raises
    ------
    ValueError
        For unknown, repeated or missing columns, missing values, labels and images of
        several kinds, and negative extents. The message names the row.
    """
    if not isinstance(table, pd.DataFrame):
        raise ValueError(
            f"{name} is {type_text(table)}; pass a DataFrame of instances with "
            f"the columns {', '.join(INSTANCE_COLUMNS)}."
        )
    needed = ["image", *["label"] * needs_label, *["score"] * needs_score, *BOX_COLUMNS]
    if table.columns.nlevels == 1:
        _check_known(table.columns, name=name)
    _check_columns(table.columns, needed, name=name)
    score = np.zeros(len(table))
    label = pd.Series(np.zeros(len(table), dtype=np.int64))
    if needs_label:
        label = _read_keys(table, "label", name=name)
    if needs_score:
        score = _as_floats(table["score"], name=name)
        bad = ~np.isfinite(score)
        if bad.any():
            raise ValueError(
                f"Row {table.index[bad.argmax()]} of {name} has score="
                f"{score[bad.argmax()]}; give a finite score or drop the row."
            )
    return Instances(
        rows=table.index,
        boxes=box_coordinates(table, name=name),
        image=_read_keys(table, "image", name=name),
        label=label,
        score=score,
    )


def _check_known(columns: pd.Index, *, name: str) -> None:
    """Raise for the first column that instances do not have."""
    for column in columns:
        if not isinstance(column, str) or column not in INSTANCE_COLUMNS:
            close = difflib.get_close_matches(
                str(column), INSTANCE_COLUMNS, n=1, cutoff=0.7
            )
            hint = f"rename it to {close[0]!r}" if close else "drop it"
            raise ValueError(
                f"{name} has the unknown column {column!r}; {hint}: instances have the "
                f"columns {', '.join(INSTANCE_COLUMNS)}."
            )


def _check_columns(columns: pd.Index, needed: Sequence[str], *, name: str) -> None:
    """Raise for needed columns that are missing or there more than once."""
    if columns.nlevels > 1:
        raise ValueError(
            f"{name} has columns of {columns.nlevels} levels; give each one name: it "
            f"needs {', '.join(needed)}."
        )
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"{name} lacks the column {', '.join(missing)}; it needs "
            f"{', '.join(needed)}."
        )
    twice = columns[columns.duplicated()].intersection(needed)
    if len(twice):
        raise ValueError(f"{name} has a column twice, {twice[0]}; drop one of them.")


def box_coordinates(boxes: Any, *, name: str) -> np.ndarray:
    """Return checked boxes, a DataFrame or an array-like, as float64 (n, 4)."""
    if isinstance(boxes, pd.DataFrame):
        _check_columns(boxes.columns, BOX_COLUMNS, name=name)
        rows = boxes.index
        columns = [_as_floats(boxes[column], name=name) for column in BOX_COLUMNS]
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
    bad = ~(np.abs(coordinates) <= _LARGEST_COORDINATE)
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


def _as_floats(column: pd.Series, *, name: str) -> np.ndarray:
    """Return a column as float64, missing values as NaN."""
    # An array of a column of pandas' own types is one of numbers or of objects.
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


def _read_keys(table: pd.DataFrame, column: str, *, name: str) -> pd.Series:
    where = f"Column {column!r} of {name}"
    return check_keys(table[column], column, where=where, name=name)
