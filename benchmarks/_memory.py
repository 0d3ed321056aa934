"""Memory that a function needs, measured in a process of its own."""

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def peak_growth(build, X, labels):
    """MiB by which the peak of a new process grows, from one image to all of them.

    Parameters
    ----------
    build : callable
        Pickled; gives, in the new process, the function of images and labels. That is
        first called with one image, so that what is loaded on first use does not count.
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
    """On Linux, let the peak be what is in use now."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_memory():
    """Most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, getrusage begins with the peak of the process that started this one.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
