"""Columns of numbers and of labels, of any type that may hold them."""

import contextlib
from collections.abc import Hashable, Sequence, Set
from datetime import datetime, timedelta
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from .._images.messages import count, shape_text, type_text
from .._images.pillow_images import is_pillow_image
from .._images.reading import check_not_masked, to_numpy


def as_numbers(values: Any, name: str) -> np.ndarray:
    """An array-like as an array of real numbers; objects become float64."""
    if is_pillow_image(values):
        return to_numpy(values, name)
    check_not_masked(values, name)
    try:
        array = to_numpy(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} is {type_text(values)} that makes no array; pass rows of one "
            "length."
        ) from error
    # None is a missing number, but a string is not a number even if it looks like one.
    if array.dtype.kind == "O" and values is not None and not _has_text(array):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        is_array = array.ndim or hasattr(values, "dtype")
        fact = f"has dtype {array.dtype}" if is_array else f"is {type_text(values)}"
        raise ValueError(f"{name} {fact}; pass numbers, or an array of them.")
    return array


def _has_text(array: np.ndarray) -> bool:
    return any(isinstance(value, str | bytes) for value in array.flat)


def each_array(values: Any, name: str, item: str) -> list[np.ndarray]:
    """An array-like, or a sequence of array-likes, as a list of arrays of numbers.

    Messages call entry 0 `item` 0.
    """
    is_array = hasattr(values, "__array__") and not isinstance(values, pd.Series)
    if is_array and not isinstance(values, pd.DataFrame):
        values = to_numpy(values, name)
    is_sequence = isinstance(values, Sequence | pd.Series) and not isinstance(
        values, str | bytes
    )
    if not is_sequence and not (isinstance(values, np.ndarray) and values.ndim):
        raise ValueError(
            f"{name} is {type_text(values)}; pass an array of shape (n, height, "
            "width) or a list of arrays of shape (height, width)."
        )
    return [as_numbers(value, f"{item} {index}") for index, value in enumerate(values)]


def as_labels(values: Any, name: str, *, n: int) -> pd.Series:
    """An array-like of n labels, all of one kind, as a Series."""
    if isinstance(values, str | bytes | dict | Set) or not has_length(values):
        raise ValueError(
            f"{name} is {type_text(values)}; pass one label for each image."
        )
    if isinstance(values, np.ndarray) and values.dtype.names:
        raise ValueError(
            f"{name} has the fields {', '.join(values.dtype.names)}; pass one label "
            "for each image."
        )
    if not isinstance(values, pd.Series):
        shape = getattr(values, "shape", (len(values),))
        if len(shape) != 1:
            raise ValueError(
                f"{name} has shape {shape_text(shape)}; pass one label for each image."
            )
        is_typed = hasattr(values, "dtype") and hasattr(values, "shape")
        values = pd.Series(values) if is_typed else _series_of_objects(list(values))
    if len(values) != n:
        raise ValueError(
            f"{name} holds {count(len(values), 'label')} for {count(n, 'image')}; pass "
            "one for each."
        )
    return check_keys(values, "label", column_name=name, table_name=name)


def has_length(values: Any) -> bool:
    """Whether `len` works, which sparse matrices and 0-d arrays refuse."""
    try:
        len(values)
    except TypeError:
        return False
    return True


def _series_of_objects(values: list) -> pd.Series:
    """A Series of the values as they are; pandas would unpack arrays and tuples."""
    objects = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        objects[index] = value
    return pd.Series(objects, dtype=object)


def check_keys(
    column: pd.Series, noun: str, *, column_name: str, table_name: str
) -> pd.Series:
    """A column of images or labels, if all are present, hashable and of one kind.

    The result has an index from 0 and the type of the values, as categories of one
    table differ from those of another. Messages call a value `noun`.
    """
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Row {column.index[missing.argmax()]} of {table_name} has no {noun}; fill "
            "it in or drop the row."
        )
    values = column.tolist()
    for row, value in enumerate(values):
        try:
            hash(value)
        except TypeError as error:
            raise ValueError(
                f"Row {column.index[row]} of {table_name} has {type_text(value)} as "
                f"{noun}; give a number or a string."
            ) from error
    kinds = _kinds(column)
    if len(kinds) > 1:
        raise ValueError(
            f"{column_name} holds {' and '.join(kinds)}; convert them to one type."
        )
    array = np.asarray(column)
    return infer_type(pd.Series(array, dtype=array.dtype))


def infer_type(values: Any) -> Any:
    """A Series or an Index of objects in the type of its values, if they have one."""
    try:
        return values.infer_objects()
    except OverflowError:  # pandas before 3: integers that no float can hold
        return values


def _kinds(column: pd.Series) -> list[str]:
    """Names of the kinds of values in a column; values of two kinds are never equal."""
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
    a: pd.Series, b: pd.Series, column: str, *, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray, pd.Index]:
    """Codes of the values of two columns, equal for equal values, and unique values.

    The values are in ascending order if they have one. Messages call the columns
    `column` of the tables `names`.

    Raises
    ------
    ValueError
        If the values of one column can never be equal to those of the other.
    """
    kinds = [_kinds(a), _kinds(b)]
    if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
        raise ValueError(
            f"Column {column!r} holds {kinds[0][0]} in {names[0]} and {kinds[1][0]} in "
            f"{names[1]}, so that none would match; convert one of them."
        )
    columns = [values for values in (a, b) if len(values)] or [a, b]
    if columns[0].dtype != columns[-1].dtype:
        # A common type may not hold them: uint64 and int64 have floats in common.
        columns = [values.astype(object) for values in columns]
    both = pd.concat(columns)
    try:
        codes, uniques = factorize(both, sort=True)
    except TypeError:  # values without an order
        codes, uniques = factorize(both)
    uniques = infer_type(pd.Index(uniques, dtype=uniques.dtype))
    return codes[: len(a)], codes[len(a) :], uniques


def factorize(values: pd.Series, *, sort: bool = False) -> tuple[np.ndarray, Any]:
    """Number the distinct values of a Series, as `pandas.factorize` does."""
    # pandas before 3 infers a type for objects, and fails for integers beyond floats.
    return pd.factorize(
        values.to_numpy() if values.dtype == object else values, sort=sort
    )
