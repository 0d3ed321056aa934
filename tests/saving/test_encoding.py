"""Values keep their types as JSON and arrays; other values are refused."""

import json

import numpy as np
import pytest
import torch

from sklearn_similar._saving.encoding import CannotHold, Damaged, decode, encode


@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, 1, 0.1, "é"],
        (1, (2, [3])),
        {"a": {"b": (1,)}},
        {1: "a", (2, 3): "b", "__type__": "c"},
        np.float32(0.1),
        np.bool_(True),
        torch.device("cpu"),
    ],
    ids=str,
)
def test_values_come_back_with_their_types(value):
    arrays = {}
    decoded = decode(json.loads(json.dumps(encode(value, "x", arrays))), arrays)
    assert type(decoded) is type(value)
    assert decoded == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array(["a", "éé"]),
        np.array([b"a", b"bc"]),
        np.array(["2020-01-01", "NaT"], "M8[s]"),
        np.array([[1, "a"], [None, (2,)]], dtype=object),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_come_back_with_their_types(array):
    arrays = {}
    decoded = decode(json.loads(json.dumps(encode(array, "x", arrays))), arrays)
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


def test_arrays_are_named_after_their_paths():
    arrays = {"x/1": np.zeros(1)}
    encode([0, np.ones(2), {"a": np.ones(3)}], "x", arrays)
    assert list(arrays) == ["x/1", "x/1_", "x/2/a"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"a builtins\.set"),
        ([print], r"a builtins\.builtin_function"),
        (np.zeros(1, complex), "an array of the dtype complex128"),
        (np.zeros(1, [("a", int)]), "an array of the dtype"),
    ],
)
def test_other_values_are_refused(value, message):
    with pytest.raises(CannotHold, match=message):
        encode(value, "x", {})


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "os.system", "items": ["true"]},
        {"__type__": ["tuple"], "items": []},
        {"__type__": "tuple", "items": "xyz"},
        {"__type__": "dict", "keys": [[]], "values": [1]},
        {"__type__": "array", "name": "missing"},
        {"__type__": "scalar", "dtype": "float32", "value": "1"},
        {"__type__": "bytes", "name": "x", "dtype": "O", "shape": [1]},
        {"__type__": "bytes", "name": "x", "dtype": "<U1", "shape": [1]},
        {"__type__": "objects", "items": [1], "shape": [10**9, 10**9]},
        {"__type__": "device", "value": "nowhere"},
        {"__type__": "RandomState", "name": "x", "position": 0},
    ],
    ids=lambda value: str(value["__type__"]),
)
def test_other_json_is_refused(value):
    # No character has this code.
    with pytest.raises(Damaged, match="is invalid"):
        decode(value, {"x": np.full(4, 255, np.uint8)})
