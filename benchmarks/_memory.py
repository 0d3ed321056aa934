"""Memory of a function, measured in a separate process."""

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def peak_growth(build, X, labels):
    """Growth in MiB of the peak memory of a new process, from one image to all images.

    Parameters
    ----------
    build : callable
        Returns the function of images and labels; pickled and called in the new
        process. A first call with one image excludes one-time loading.
    X, labels : ndarray
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_growth, build, X, labels).result()


def _growth(build, X, labels):
    function = build()
    function(X[:1], labels[:1])
    forget_peak()
    before = peak_memory()
    function(X, labels)
    return (peak_memory() - before) / 2**20


def forget_peak():
    """On Linux, reset the peak memory to the current memory."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_memory():
    """Peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, the peak of getrusage includes that of the parent process.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
