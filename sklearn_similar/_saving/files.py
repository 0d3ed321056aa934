"""Files that are written as a whole or not at all."""

import os
import secrets
from pathlib import Path


def check_can_write(path: Path) -> None:
    """Raise before anything is computed that could not be written."""
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; pass the name of a file.")
    if not path.parent.is_dir():
        raise ValueError(
            f"The folder {str(path.parent)!r} does not exist; make it, or write to "
            "another."
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"The folder {str(path.parent)!r} cannot be written to.")


def write_atomically(
    path: str | os.PathLike[str], content: bytes | bytearray | memoryview
) -> None:
    """Write a file, or leave what is there as it is; links are kept."""
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        # Nothing is left of a file that an error or an interrupt kept from completion.
        temporary.unlink(missing_ok=True)
