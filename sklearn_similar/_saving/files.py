"""Writing files atomically."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Content = bytes | bytearray | memoryview

# Signals that end a process; Windows lacks the last.
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


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
    """Write several files; all are complete before the first of them is replaced.

    Signals that end the process take effect afterwards.
    """
    temporaries: dict[Path, Path] = {}
    with _deferred_signals():
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
            # Errors leave no incomplete files behind.
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Deliver signals after the block; only the main thread can defer them."""
    received: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # A handler that was not installed by Python cannot be restored.
    handlers = {n: handler for n, handler in handlers.items() if handler is not None}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(received):
            signal.raise_signal(number)
