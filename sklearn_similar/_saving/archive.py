"""Arrays and JSON in one file, written as a whole and checked before it is used."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .files import write_atomically

# Name of our text in the file's header, and the placeholder that the checksum, computed
# with it in place, is then written over.
_KEY = "sklearn_similar"
_NO_CHECKSUM = b"0" * 64
# The format's own limit; a longer header is neither written nor read.
_MAX_HEADER = 100_000_000
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def write_archive(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Any
) -> None:
    """Write arrays and metadata to a file, or leave what is there as it is.

    Parameters
    ----------
    path : str or path-like
        The file; one that exists is replaced when the new one is complete.
    arrays : dict of str to ndarray
        Numbers or booleans.
    metadata : object
        A value that `json` can write, which turns tuples into lists and keys into
        strings.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If an array or the metadata cannot be held by the file.
    """
    content = memoryview(_to_bytes(arrays, metadata))
    write_atomically(path, content)


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Any]:
    """Read what `write_archive` wrote; nothing in the file is executed or imported.

    Memory is in proportion to the size of the file: twice that of the arrays, and up to
    thirty times that of a header of nothing but brackets.

    Returns
    -------
    arrays : dict of str to ndarray
        Writable.
    metadata : object

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or not one that `write_archive` wrote.
    """
    content = _read_bytes(path)
    try:
        return _from_bytes(content)
    except _Damaged as error:
        raise ValueError(f"{os.fspath(path)!r} cannot be read: {error}.") from None


class _Damaged(Exception):
    """The message says what is wrong with a file."""


def _to_bytes(arrays: Mapping[str, np.ndarray], metadata: Any) -> bytearray:
    contiguous = {}
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("=")
        if dtype not in _DTYPES.values():
            raise ValueError(
                f"The array {name!r} has the dtype {array.dtype}, which the file "
                "cannot hold; it holds booleans and real numbers of up to 64 bits."
            )
        contiguous[name] = np.asarray(array, dtype=dtype, order="C")
    try:
        text = json.dumps(
            {"sha256": _NO_CHECKSUM.decode(), "metadata": metadata},
            separators=(",", ":"),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The metadata cannot be written as JSON: {error}") from error
    content = bytearray(safetensors.numpy.save(contiguous, metadata={_KEY: text}))
    header_size = int.from_bytes(content[:8], "little")
    if header_size > _MAX_HEADER:
        raise ValueError(
            f"The metadata take {header_size} bytes, but the file holds at most "
            f"{_MAX_HEADER}."
        )
    position = content.index(_NO_CHECKSUM)
    checksum = hashlib.sha256(content).hexdigest().encode()
    content[position : position + len(checksum)] = checksum
    return content


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{os.fspath(path)!r} cannot be read: it is not a file.")
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        return stream.read(size)


def _from_bytes(content: bytes) -> tuple[dict[str, np.ndarray], Any]:
    text = _our_text(content)
    record = _parse(text)
    if not isinstance(record, dict) or record.keys() != {"sha256", "metadata"}:
        raise _Damaged("its metadata are not those that sklearn_similar writes")
    _check_sum(content, record["sha256"])
    return _arrays(content), record["metadata"]


def _our_text(content: bytes) -> str:
    """The text in the header of a file."""
    if not content:
        raise _Damaged("it is empty")
    header_size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or content[8:9] != b"{":
        raise _Damaged("it is no file that sklearn_similar wrote")
    if header_size > min(len(content) - 8, _MAX_HEADER):
        raise _Damaged(
            f"its header should take {header_size} bytes, but {len(content) - 8} are "
            "there; it is truncated or damaged"
        )
    try:
        text = content[8 : 8 + header_size].decode()
    except UnicodeDecodeError:
        raise _Damaged("its header is not UTF-8; it is damaged") from None
    header = _parse(text)
    ours = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(ours, dict) or not isinstance(ours.get(_KEY), str):
        raise _Damaged("it is no file that sklearn_similar wrote")
    return ours[_KEY]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _Damaged("its header is no JSON; it is damaged") from None


def _check_sum(content: bytes, expected: Any) -> None:
    """Raise unless the SHA-256 of all the file but the checksum is the expected one."""
    is_checksum = isinstance(expected, str) and re.fullmatch("[0-9a-f]{64}", expected)
    position = content.find(expected.encode()) if is_checksum else 0
    found = hashlib.sha256(memoryview(content)[:position])
    found.update(_NO_CHECKSUM)
    found.update(memoryview(content)[position + len(_NO_CHECKSUM) :])
    if found.hexdigest() != expected:
        raise _Damaged("its checksum is wrong; it is truncated or damaged")


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    try:
        # Refuses offsets that overlap, leave holes or do not fit the shapes.
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise _Damaged(f"its arrays are damaged ({error!s:.100})") from None
    arrays = {}
    for name, entry in entries:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise _Damaged(f"an array has the dtype {entry['dtype']}")
        if dtype.kind == "b" and entry["data"].translate(None, b"\0\1"):
            raise _Damaged(f"the booleans of {name!r:.100} are not 0 and 1")
        try:
            array = np.frombuffer(entry["data"], dtype.newbyteorder("<"))
            array = array.reshape(entry["shape"]).astype(dtype, copy=False)
        except (ValueError, OverflowError):
            shape = str(entry["shape"])
            raise _Damaged(f"an array has the shape {shape:.100}") from None
        arrays[name] = array if array.flags.writeable else array.copy()
    return arrays
