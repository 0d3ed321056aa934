"""Validation of what metrics get: numbers, labels, tables of instances."""

import contextlib
import difflib
from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from .._boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._inputs.images import count, shape_text, to_numpy

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


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Return an array-like as an array of real numbers, of objects as float64."""
    try:
        array = to_numpy(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} is {_a(values)} that makes no array; pass rows of one length."
        ) from error
    # None among numbers is a missing one, and strings are none, whatever they hold.
    if array.dtype.kind == "O" and values is not None and not _holds_text(array):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        is_array = array.ndim or hasattr(values, "dtype")
        found = f"has dtype {array.dtype}" if is_array else f"is {_a(values)}"
        raise ValueError(f"{name} {found}; pass numbers, or an array of them.")
    return array


def _holds_text(array: np.ndarray) -> bool:
    return any(isinstance(value, str | bytes) for value in array.flat)


def _a(value: Any) -> str:
    """The type of a value with its article."""
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def each_array(values: Any, name: str, each: str) -> list[np.ndarray]:
    """Return an array-like, or a sequence of them, as a list of arrays of numbers.

    Messages call them `name` together, and the first of them `each` 0.
    """
    is_array = hasattr(values, "__array__") and not isinstance(values, pd.Series)
    if is_array and not isinstance(values, pd.DataFrame):
        values = to_numpy(values)
    is_sequence = isinstance(values, Sequence | pd.Series) and not isinstance(
        values, str | bytes
    )
    if not is_sequence and not (isinstance(values, np.ndarray) and values.ndim):
        raise ValueError(
            f"{name} is {_a(values)}; pass an array of shape (n, height, "
            "width) or a list of arrays of shape (height, width)."
        )
    return [as_numbers(value, f"{each} {index}") for index, value in enumerate(values)]


def as_labels(values: Any, name: str, *, n: int) -> pd.Series:
    """Return an array-like of n labels, all of one kind."""
    if isinstance(values, str | bytes | dict | Set) or not has_length(values):
        raise ValueError(f"{name} is {_a(values)}; pass one label for each image.")
    if not isinstance(values, pd.Series):
        shape = getattr(values, "shape", (len(values),))
        if len(shape) != 1:
            raise ValueError(
                f"{name} has shape {shape_text(shape)}; pass one label for each image."
            )
        values = _objects(list(values))
    if len(values) != n:
        raise ValueError(
            f"{name} holds {count(len(values), 'label')} for {count(n, 'image')}; pass "
            "one for each."
        )
    return _check_keys(values, "label", where=name, name=name)


def has_length(values: Any) -> bool:
    """Whether `len` takes it: sparse matrices and arrays without axes only seem so."""
    try:
        len(values)
    except TypeError:
        return False
    return True


def _objects(values: list) -> pd.Series:
    """A Series of the values as they are: pandas would unpack arrays and tuples."""
    objects = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        objects[index] = value
    return pd.Series(objects)


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
            f"{name} is {_a(table)}; pass a DataFrame of instances with "
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
        value = coordinates[row, column]
        wanted = "whole numbers of pixels" if np.isfinite(value) else "finite numbers"
        raise ValueError(
            f"Row {rows[row]} of {name} has {BOX_COLUMNS[column]}={value:g}; give "
            f"pixel coordinates, which are {wanted}, or drop the row."
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
    return _check_keys(table[column], column, where=where, name=name)


def _check_keys(column: pd.Series, what: str, *, where: str, name: str) -> pd.Series:
    """Return images or labels, which must be there, hashable and of one kind.

    An index from 0 and the type of the values themselves: categories of one table are
    not those of the other.
    """
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Row {column.index[missing.argmax()]} of {name} has no {what}; fill it in "
            "or drop the row."
        )
    values = column.tolist()
    try:
        set(values)
    except TypeError as error:
        row = next(row for row, value in enumerate(values) if not _is_hashable(value))
        raise ValueError(
            f"Row {column.index[row]} of {name} has {_a(values[row])} as {what}; give "
            "a number or a string."
        ) from error
    kinds = _kinds(column)
    if len(kinds) > 1:
        raise ValueError(
            f"{where} holds {' and '.join(kinds)}; convert them to one type."
        )
    return pd.Series(np.asarray(column)).infer_objects()


def _is_hashable(value: Any) -> bool:
    # A tuple is an instance of Hashable whatever it holds.
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _kinds(column: pd.Series) -> list[str]:
    """Names of the kinds of values in a column; those of one kind may be equal."""
    examples = {type(value): value for value in column.tolist()}
    return sorted({_kind(value) for value in examples.values()})


def _kind(value: Hashable) -> str:
    if isinstance(value, bool | np.bool_):
        return "booleans"
    if isinstance(value, Number):
        return "numbers"
    if isinstance(value, str):
        return "strings"
    if isinstance(value, datetime):
        return "timestamps" if value.tzinfo is None else "timestamps with a time zone"
    if isinstance(value, timedelta):
        return "durations"
    return f"objects of type {type(value).__name__}"


def shared_codes(
    a: pd.Series, b: pd.Series, what: str, *, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray, pd.Index]:
    """Give equal values of two columns the same number, in ascending order.

    Raises
    ------
    ValueError
        If the values of one can never be equal to those of the other.
    """
    kinds = [_kinds(a), _kinds(b)]
    if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
        raise ValueError(
            f"Column {what!r} holds {kinds[0][0]} in {names[0]} and {kinds[1][0]} in "
            f"{names[1]}, so that none would match; convert one of them."
        )
    columns = [column for column in (a, b) if len(column)] or [a, b]
    if columns[0].dtype != columns[-1].dtype:
        # A common type may not hold them: uint64 and int64 have floats in common.
        columns = [column.astype(object) for column in columns]
    both = pd.concat(columns)
    try:
        codes, uniques = pd.factorize(both, sort=True)
    except TypeError:  # no order: that of the rows
        codes, uniques = pd.factorize(both)
    return codes[: len(a)], codes[len(a) :], pd.Index(uniques).infer_objects()
