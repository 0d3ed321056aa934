"""Writing files atomically."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

Content = bytes | bytearray | memoryview


def check_can_write(path: Path) -> None:
    """Raise ValueError before a long computation whose result could not be written."""
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; pass the name of a file.")
    if not path.parent.is_dir():
        raise ValueError(
            f"The folder {str(path.parent)!r} does not exist; create it, or write to "
            "another folder."
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"The folder {str(path.parent)!r} cannot be written to.")


def write_atomically(path: str | os.PathLike[str], content: Content) -> None:
    """Write a file; after an error, an old file is unchanged. Links are followed."""
    write_all({path: content})


def write_all(contents: Mapping[str | os.PathLike[str], Content]) -> None:
    """Write several files; all are complete before the first of them is replaced."""
    temporaries: dict[Path, Path] = {}
    try:
        for name, content in contents.items():
            path = Path(os.path.realpath(name))
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
            temporaries[path] = temporary
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        # Errors and interrupts leave no incomplete files behind.
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
