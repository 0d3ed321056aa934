"""Files that were changed by accident or on purpose, each from a seed."""

import copy
import hashlib
import json
import random
import sys
import tracemalloc
from contextlib import contextmanager

# Names of Python's audit events in which code is executed or loaded.
_CODE = ("compile", "exec", "marshal.loads", "os.exec", "os.fork", "os.system")
_CODE += ("ctypes.dlopen", "pickle.find_class", "subprocess.Popen")
_VALUES = (
    *(None, True, -1, 0, 1, 7, 10**9, 2**63, 10**30, 0.5, -1e308, float("nan")),
    *("", "x", "cuda:99", "meta", "O", "V8", "<U9", "__class__", "os.system", "\ud800"),
    *([], [[]], [1, 2], ["x"], {}, {"x": 1}),
    {"__type__": "array", "name": "nothing"},
    {"__type__": "os.system", "items": ["true"]},
    {"__type__": ["tuple"], "items": []},
    {"__type__": "tuple", "items": "xyz"},
    {"__type__": "tuple", "items": [10**6, 10**6, 10**6]},
    {"__type__": "dict", "keys": [[]], "values": [1]},
    {"__type__": "scalar", "dtype": "float32", "value": "1"},
    {"__type__": "bytes", "name": "classes_", "dtype": "O", "shape": [1]},
    {"__type__": "bytes", "name": "classes_", "dtype": "<U999999999", "shape": [0]},
    {"__type__": "objects", "items": [1], "shape": [10**9, 10**9]},
    {"__type__": "device", "value": "nowhere"},
    {"__type__": "RandomState", "name": "classes_", "position": 10**6},
    {"network": "LeNet"},
    {"network": "os.system"},
    {"module__in_channels": 10**9},
    {"callbacks": ["x"], "criterion": "os.system"},
    {"optimizer": "x", 'train_split"': 1, "compile": "x"},
)


def split(content):
    """Header and data of a file."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def metadata_of(header):
    return json.loads(header["__metadata__"]["sklearn_similar"])["metadata"]


def seal(header, data, metadata=None, **dumps):
    """Return a file of a header, data and metadata with a valid checksum."""
    metadata = metadata_of(header) if metadata is None else metadata
    text = json.dumps({"sha256": "0" * 64, "metadata": metadata}, **dumps)
    header = header | {"__metadata__": {"sklearn_similar": text}}
    encoded = json.dumps(header).encode()
    content = len(encoded).to_bytes(8, "little") + encoded + data
    digest = hashlib.sha256(content).hexdigest().encode()
    return content.replace(b"0" * 64, digest, 1)


def damaged(content, seed):
    """Return a file damaged as by a disk or a network, and the kind of damage."""
    rng = random.Random(seed)
    kind = rng.choice(["truncated", "bit flips", "overwritten", "inserted", "removed"])
    at = rng.randrange(len(content))
    length = min(rng.choice([1, 2, 8, 100]), len(content) - at)
    if kind == "truncated":
        return content[:at], kind
    if kind == "inserted":
        return content[:at] + rng.randbytes(length) + content[at:], kind
    if kind == "removed":
        return content[:at] + content[at + length :], kind
    changed = bytearray(content)
    if kind == "overwritten":
        changed[at : at + length] = rng.randbytes(length)
    else:
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(changed), kind


def forged(content, seed):
    """Return a file with edited fields and a valid checksum, and the kind of edit."""
    rng = random.Random(seed)
    header, data = split(content)
    metadata = metadata_of(header)
    kind = rng.choice(["field", "field", "field", "array"])
    for _ in range(rng.choice([1, 1, 2, 4])):
        if kind == "array":
            _edit_array(header, rng)
        else:
            _edit_field(metadata, rng)
    return seal(header, data, metadata), kind


def _edit_array(header, rng):
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry = header[name]
    other = header[rng.choice(names)]
    edit = rng.choice(["shape", "dtype", "data_offsets", "remove", "rename", "swap"])
    if edit == "remove":
        del header[name]
    elif edit == "rename":
        header[name + "_"] = header.pop(name)
    elif edit == "swap":
        key = rng.choice(["shape", "dtype", "data_offsets"])
        entry[key], other[key] = other[key], entry[key]
    elif edit == "dtype":
        entry["dtype"] = rng.choice(["F64", "F32", "I64", "U8", "BOOL", "BF16", "C64"])
    else:
        values = [*entry[edit]]
        change = rng.choice([-(10**9), -1, 1, 2**31, 2**62, 2**64])
        at = rng.randrange(len(values) + 1)
        values[at : at + 1] = [(values[at] if at < len(values) else 0) + change]
        entry[edit] = values


def _edit_field(metadata, rng):
    """Replace, remove or add one value at a random level of the tree."""
    node = metadata
    while True:
        keys = list(node if isinstance(node, dict) else range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        is_branch = isinstance(node[key], (dict, list)) and node[key]
        if not is_branch or rng.random() < 0.1:
            break
        node = node[key]
    edit = rng.choice(["replace", "replace", "replace", "remove", "sibling", "rename"])
    if edit == "replace":
        node[key] = copy.deepcopy(rng.choice(_VALUES))
    elif edit == "sibling":
        node[key] = copy.deepcopy(node[rng.choice(keys)])
    elif edit == "remove":
        del node[key]
    elif isinstance(node, dict):
        node[rng.choice([f"{key}_", "fit", "__class__", "net_"])] = node.pop(key)


class Peak:
    """Peak memory of Python and NumPy inside the context, in bytes."""

    def __enter__(self):
        tracemalloc.start()
        return self

    def __exit__(self, *exception):
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


_watched = []


def _watch(event, args):
    if _watched and event in _CODE:
        _watched[-1].append(f"{event} {str(args)[:200]}")


sys.addaudithook(_watch)


@contextmanager
def code_that_runs():
    """Collect the audit events of executed and loaded code, as a list of texts."""
    _watched.append([])
    try:
        yield _watched[-1]
    finally:
        _watched.pop()
