"""Python values as JSON and arrays, and back, with their types.

JSON has no tuples, arrays, NumPy scalars or keys other than strings. These become
objects with the key `_TYPE`, which `decode` looks up in `_DECODERS` and nowhere else.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

_TYPE = "__type__"
_SCALARS: dict[str, Callable[[Any], np.generic]] = {
    scalar.__name__: scalar
    for scalar in (
        *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.str_),
        *(np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float16, np.float32, np.float64),
    )
}
# Dtypes of strings and dates of a fixed length, which are stored as bytes.
_AS_BYTES = re.compile(r"[<>|][USMm]\d+(\[\d*[A-Za-z]{1,2}\])?")
_MAX_CODE_POINT = 0x10FFFF
_MT19937_LENGTH = 624

Arrays = dict[str, np.ndarray]


class CannotHold(Exception):
    """A value that a file cannot hold; the message names its type."""


class Damaged(Exception):
    """JSON and arrays that `encode` does not make; the message says where."""


def encode(value: Any, path: str, arrays: Arrays) -> Any:
    """JSON of a value; its arrays are added to `arrays`, named after the path to them.

    Raises CannotHold if the value, or a part of it, is of an unsupported type.
    """
    kind: type = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return _encode_items(value, path, arrays)
    if kind is tuple:
        return {_TYPE: "tuple", "items": _encode_items(value, path, arrays)}
    if kind is dict:
        return _encode_dict(value, path, arrays)
    if kind is np.ndarray:
        return _encode_array(value, path, arrays)
    if kind is np.random.RandomState:
        return _encode_random_state(value, path, arrays)
    if kind in _SCALARS.values():
        return {_TYPE: "scalar", "dtype": kind.__name__, "value": value.item()}
    if kind is torch.device:
        return {_TYPE: "device", "value": str(value)}
    raise CannotHold(f"a {kind.__module__}.{kind.__qualname__}")


def _encode_items(values: Iterable, path: str, arrays: Arrays) -> list:
    return [encode(item, f"{path}/{i}", arrays) for i, item in enumerate(values)]


def _encode_dict(value: dict, path: str, arrays: Arrays) -> dict:
    if _TYPE not in value and all(type(key) is str for key in value):
        return {key: encode(v, f"{path}/{key}", arrays) for key, v in value.items()}
    return {
        _TYPE: "dict",
        "keys": _encode_items(value, path, arrays),
        "values": _encode_items(value.values(), path, arrays),
    }


def _encode_array(value: np.ndarray, path: str, arrays: Arrays) -> dict:
    if value.dtype.name in _SCALARS:
        return {_TYPE: "array", "name": _add(value, path, arrays)}
    shape = list(value.shape)
    if value.dtype.kind == "O":
        items = _encode_items(value.ravel().tolist(), path, arrays)
        return {_TYPE: "objects", "shape": shape, "items": items}
    if _AS_BYTES.fullmatch(value.dtype.str):
        name = _add(np.frombuffer(value.tobytes(), np.uint8), path, arrays)
        return {_TYPE: "bytes", "name": name, "dtype": value.dtype.str, "shape": shape}
    raise CannotHold(f"an array of the dtype {value.dtype}")


def _encode_random_state(
    value: np.random.RandomState, path: str, arrays: Arrays
) -> dict:
    state: dict[str, Any] = value.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise CannotHold(f"a RandomState of {state['bit_generator']}")
    return {
        _TYPE: "RandomState",
        "name": _add(state["state"]["key"], path, arrays),
        "position": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def _add(array: np.ndarray, path: str, arrays: Arrays) -> str:
    """Add an array to `arrays`; returns its name."""
    name = path
    while name in arrays:
        name += "_"
    arrays[name] = array
    return name


def decode(value: Any, arrays: Arrays) -> Any:
    """The inverse of `encode`; raises Damaged for what `encode` does not make."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if _TYPE not in value:
        return {key: decode(item, arrays) for key, item in value.items()}
    try:
        return _DECODERS[value[_TYPE]](value, arrays)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError):
        kind = str(value[_TYPE])[:40]
        raise Damaged(f"a value of the type {kind!r} is invalid") from None


def _decode_items(items: Any, arrays: Arrays) -> list:
    if not isinstance(items, list):
        raise TypeError
    return decode(items, arrays)


def _decode_dict(value: dict, arrays: Arrays) -> dict:
    keys = _decode_items(value["keys"], arrays)
    return dict(zip(keys, _decode_items(value["values"], arrays), strict=True))


def _decode_scalar(value: dict, arrays: Arrays) -> np.generic:
    scalar = _SCALARS[value["dtype"]](value["value"])
    # NumPy parses strings and rounds numbers.
    if type(scalar.item()) is not type(value["value"]):
        raise TypeError
    return scalar


def _decode_bytes(value: dict, arrays: Arrays) -> np.ndarray:
    content = arrays[value["name"]]
    if content.dtype != np.uint8 or not _AS_BYTES.fullmatch(value["dtype"]):
        raise TypeError
    dtype = np.dtype(value["dtype"])
    if dtype.kind == "U":
        code_points = np.frombuffer(content.tobytes(), f"{dtype.str[0]}u4")
        if code_points.max(initial=0) > _MAX_CODE_POINT:
            raise ValueError
    return np.frombuffer(content.tobytes(), dtype).reshape(value["shape"]).copy()


def _decode_objects(value: dict, arrays: Arrays) -> np.ndarray:
    items = _decode_items(value["items"], arrays)
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(value["shape"])


def _decode_random_state(value: dict, arrays: Arrays) -> np.random.RandomState:
    key, position = arrays[value["name"]], value["position"]
    # With a wrong position, NumPy would read beyond the key; with a key of zeros, it
    # would draw normal numbers forever.
    if key.shape != (_MT19937_LENGTH,) or key.dtype != np.uint32 or not key[1:].any():
        raise ValueError
    if type(position) is not int or not 0 <= position <= _MT19937_LENGTH:
        raise ValueError
    random_state = np.random.RandomState(0)
    gauss = int(value["has_gauss"]), float(value["gauss"])
    random_state.set_state(("MT19937", key, position, *gauss))
    return random_state


_DECODERS: dict[str, Callable[[dict, Arrays], Any]] = {
    "tuple": lambda value, arrays: tuple(_decode_items(value["items"], arrays)),
    "dict": _decode_dict,
    "scalar": _decode_scalar,
    "array": lambda value, arrays: arrays[value["name"]],
    "bytes": _decode_bytes,
    "objects": _decode_objects,
    "device": lambda value, arrays: torch.device(value["value"]),
    "RandomState": _decode_random_state,
}
