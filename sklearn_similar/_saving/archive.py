"""Arrays and JSON in one safetensors file with a checksum.

The file is written atomically, and verified before anything in it is used.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .files import write_atomically

# Name of our text in the metadata of the safetensors header.
_KEY = "sklearn_similar"
# Stands in the file where the checksum goes while the checksum is computed.
_NO_CHECKSUM = b"0" * 64
# The JSON and the safetensors parser raise these for damaged files.
_ERRORS = (safetensors.SafetensorError, KeyError, TypeError, ValueError, OverflowError)


def write_archive(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Any,
    max_header: int = 100_000_000,
) -> None:
    """Write arrays and metadata that `json` can write; safetensors limits the header.

    Raises ValueError if the file cannot hold them, and OSError if it cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise ValueError(
                f"The array {name!r} has the dtype {array.dtype}, which the file "
                "cannot hold; it holds booleans and real numbers of up to 64 bits."
            )
    contiguous = {
        name: np.asarray(array, array.dtype.newbyteorder("="), order="C")
        for name, array in arrays.items()
    }
    try:
        text = json.dumps(
            {"sha256": _NO_CHECKSUM.decode(), "metadata": metadata},
            separators=(",", ":"),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The metadata cannot be written as JSON: {error}") from error
    content = bytearray(safetensors.numpy.save(contiguous, metadata={_KEY: text}))
    header_size = int.from_bytes(content[:8], "little")
    if header_size > max_header:
        raise ValueError(
            f"The metadata take {header_size} bytes, but the file holds at most "
            f"{max_header}."
        )
    position = content.index(_NO_CHECKSUM)
    checksum = _sha256(content, position).encode()
    content[position : position + len(checksum)] = checksum
    write_atomically(path, content)


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Any]:
    """Read writable arrays and metadata; no code in the file is executed or imported.

    Raises ValueError if the file is damaged or was not written by `write_archive`. The
    memory needed is twice that of the arrays and up to thirty times that of the header.
    """
    name = repr(os.fspath(path))
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{name} cannot be read: it is not a file.")
    content = Path(path).read_bytes()
    try:
        # Refuses offsets that overlap, leave gaps or do not fit the shapes.
        arrays = safetensors.numpy.load(content)
        header_size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + header_size])
        record = json.loads(header["__metadata__"][_KEY])
        checksum, metadata = str(record["sha256"]), record["metadata"]
        position = content.find(checksum.encode())
    except (*_ERRORS, RecursionError) as error:
        raise ValueError(
            f"{name} cannot be read: it was not written by sklearn_similar, or is "
            f"truncated or damaged ({type(error).__name__}: {error!s:.100})."
        ) from None
    if _sha256(content, position) != checksum:
        raise ValueError(
            f"{name} cannot be read: its checksum is wrong; it is truncated or damaged."
        )
    for key, array in arrays.items():
        is_number = array.dtype.kind in "biuf"
        is_boolean = array.dtype.kind == "b"
        if not is_number or (is_boolean and array.view(np.uint8).max(initial=0) > 1):
            raise ValueError(
                f"{name} cannot be read: the array {key!r:.100} holds neither booleans "
                "nor real numbers."
            )
        arrays[key] = array if array.flags.writeable else array.copy()
    return arrays, metadata


def _sha256(content: bytes | bytearray, position: int) -> str:
    """Checksum of a file, computed with zeros in place of the checksum in it."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:position])
    digest.update(_NO_CHECKSUM)
    digest.update(view[position + len(_NO_CHECKSUM) :])
    return digest.hexdigest()
