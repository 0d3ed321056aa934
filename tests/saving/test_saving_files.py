"""Files are written completely or not at all."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sklearn_similar._saving import files
from sklearn_similar._saving.files import check_can_write, write_all, write_atomically


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    return path


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "")])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_an_error_leaves_the_old_file_and_no_other(path, monkeypatch, function, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_reported(path, monkeypatch):
    full = open("/dev/full", "wb")  # noqa: SIM115
    monkeypatch.setattr(Path, "open", lambda self, mode: full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, bytes(10**5))
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_folder_is_reported(path):
    with pytest.raises(FileNotFoundError):
        write_atomically(path.with_name("missing") / "file", b"new")


def test_several_files_are_all_written_or_none(path):
    other = path.with_name("other")
    with pytest.raises(FileNotFoundError):
        write_all({path: b"new", path.with_name("missing") / "file": b"new"})
    assert path.read_bytes() == b"old"
    write_all({path: b"new", other: b"other"})
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"other")
    assert sorted(os.listdir(path.parent)) == ["file", "other"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "")])
def test_none_of_several_files_is_in_place_if_a_later_one_fails(
    path, monkeypatch, error
):
    n_written = iter(range(9))

    def fail_later(descriptor):
        if next(n_written) > 0:
            raise error

    monkeypatch.setattr(os, "fsync", fail_later)
    with pytest.raises(type(error)):
        write_all({path: b"new", path.with_name("other"): b"new"})
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def raising(number):
    """A function that sends a signal to this process."""
    return lambda *args: signal.raise_signal(number)


@pytest.fixture
def _interrupts():
    """Ctrl-C interrupts, which a shell may have switched off for its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_ctrl_c_takes_effect_when_files_are_in_place(path, monkeypatch, function):
    before = signal.getsignal(signal.SIGINT)
    original = getattr(os, function)
    sends = raising(signal.SIGINT)
    monkeypatch.setattr(os, function, lambda *args: [sends(), original(*args)][1])
    with pytest.raises(KeyboardInterrupt):
        write_all({path: b"new", path.with_name("other"): b"new"})
    assert path.read_bytes() == b"new"
    assert sorted(os.listdir(path.parent)) == ["file", "other"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM between processes")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_process_leaves_no_temporary_file(path, name):
    # The module alone, as importing the package takes seconds.
    code = f"""
import importlib.util, os, signal
spec = importlib.util.spec_from_file_location("files", {files.__file__!r})
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
# The shell that runs the tests may ignore it.
signal.signal(signal.{name}, signal.SIG_DFL)
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.{name})
files.write_atomically({str(path)!r}, b"new")
print("goes on")
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == -getattr(signal, name), process.stderr
    assert process.stdout == b""
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == [path.name]


def test_files_are_written_in_other_threads(path):
    with ThreadPoolExecutor() as pool:
        pool.submit(write_atomically, path, b"new").result()
    assert path.read_bytes() == b"new"


def test_permissions_are_those_of_other_new_files(path):
    other = path.with_name("other")
    other.write_bytes(b"")
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_paths_that_cannot_be_written_to_are_refused_beforehand(path):
    check_can_write(path)
    with pytest.raises(ValueError, match="is a folder; pass the name of a file"):
        check_can_write(path.parent)
    with pytest.raises(ValueError, match="does not exist; create it"):
        check_can_write(path.with_name("missing") / "file")
