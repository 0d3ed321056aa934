"""Numbers and labels, of any type that may hold them."""

import contextlib
from collections.abc import Hashable, Sequence, Set
from datetime import datetime, timedelta
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from .._images.messages import count, shape_text
from .._images.reading import to_numpy


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Return an array-like as an array of real numbers, of objects as float64."""
    try:
        array = to_numpy(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} is {type_text(values)} that makes no array; pass rows of one "
            "length."
        ) from error
    # None among numbers is a missing one, and strings are none, whatever they hold.
    if array.dtype.kind == "O" and values is not None and not _holds_text(array):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        is_array = array.ndim or hasattr(values, "dtype")
        fact = f"has dtype {array.dtype}" if is_array else f"is {type_text(values)}"
        raise ValueError(f"{name} {fact}; pass numbers, or an array of them.")
    return array


def _holds_text(array: np.ndarray) -> bool:
    return any(isinstance(value, str | bytes) for value in array.flat)


def type_text(value: Any) -> str:
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
            f"{name} is {type_text(values)}; pass an array of shape (n, height, "
            "width) or a list of arrays of shape (height, width)."
        )
    return [as_numbers(value, f"{each} {index}") for index, value in enumerate(values)]


def as_labels(values: Any, name: str, *, n: int) -> pd.Series:
    """Return an array-like of n labels, all of one kind."""
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
        values = pd.Series(values) if is_typed else _objects(list(values))
    if len(values) != n:
        raise ValueError(
            f"{name} holds {count(len(values), 'label')} for {count(n, 'image')}; pass "
            "one for each."
        )
    return check_keys(values, "label", where=name, name=name)


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
    return pd.Series(objects, dtype=object)


def check_keys(column: pd.Series, what: str, *, where: str, name: str) -> pd.Series:
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
            f"Row {column.index[row]} of {name} has {type_text(values[row])} as "
            f"{what}; give a number or a string."
        ) from error
    kinds = _kinds(column)
    if len(kinds) > 1:
        raise ValueError(
            f"{where} holds {' and '.join(kinds)}; convert them to one type."
        )
    array = np.asarray(column)
    return _infer_type(pd.Series(array, dtype=array.dtype))


def _infer_type(values: Any) -> Any:
    """Give a Series or an Index the type of its values, where they have one."""
    try:
        return values.infer_objects()
    except OverflowError:  # pandas before 3: integers that no float can hold
        return values


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
        codes, uniques = factorize(both, sort=True)
    except TypeError:  # no order: that of the rows
        codes, uniques = factorize(both)
    uniques = _infer_type(pd.Index(uniques, dtype=uniques.dtype))
    return codes[: len(a)], codes[len(a) :], uniques


def factorize(values: pd.Series, *, sort: bool = False) -> tuple[np.ndarray, Any]:
    """Number the distinct values of a Series, as `pandas.factorize` does."""
    # pandas before 3 makes an Index of objects, and fails where no float holds them.
    return pd.factorize(
        values.to_numpy() if values.dtype == object else values, sort=sort
    )
