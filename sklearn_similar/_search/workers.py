"""The search of many images, by one worker or by several."""

import math
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._images.images import Images
from .._images.position import image_name
from .._images.rasters import Raster, explained_memory_error, is_large
from .._network.threads import usable_threads
from .detections import Detections, detections_table
from .recognizer import Recognizer, SearchSettings


def groups(
    parts: Iterable[Images], n_channels: int, n_pixels: int
) -> Iterator[list[Raster]]:
    """Images that are searched together: some small ones, or a large one.

    Parameters
    ----------
    parts : iterable of Images
    n_channels : int
        Channels of the rasters; colour is made grey for one channel.
    n_pixels : int
        Pixels after which no other image joins.
    """
    group: list[Raster] = []
    for images in parts:
        for pixels in images.pixels:
            if is_large(pixels):
                if group:
                    yield group
                    group = []
                yield [Raster.from_pixels(pixels, n_channels)]
                continue
            group.append(Raster.from_pixels(pixels, n_channels).cached())
            if sum(math.prod(image.size) for image in group) >= n_pixels:
                yield group
                group = []
        if group:
            yield group
            group = []


def search(
    groups: Iterable[list[Raster]],
    recognizer: Recognizer,
    settings: SearchSettings,
    n_jobs: int | None,
) -> Iterator[Detections]:
    """Search images; yields the detections of each image, in order.

    Parameters
    ----------
    groups : iterable of list of Raster
        Images that are searched together, one task each.
    recognizer : Recognizer
    settings : SearchSettings
    n_jobs : int or None
        As joblib takes it. Processes, unless `joblib.parallel_config` says otherwise:
        threads wait for each other's Python code (two of them measured 1.04 times as
        fast as one, two processes 1.77 times).
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        for group, first in _numbered(groups):
            yield from _search_group(group, first, recognizer, settings)
        return
    n_threads = max(1, torch.get_num_threads() // n_workers)
    tasks = (
        delayed(_search_limited)(n_threads, group, first, recognizer, settings)
        for group, first in _until_error(_numbered(groups))
    )
    parallel = Parallel(n_jobs=n_jobs, prefer="processes", return_as="generator")
    with _threads_for_later_threads(), closing(parallel(tasks)) as results:
        for detections in results:
            if isinstance(detections, Exception):
                raise detections
            yield from detections


def numbered_tables(
    detections: Iterable[Detections], classes: np.ndarray
) -> Iterator[pd.DataFrame]:
    """The table of the detections in each image, as soon as it is searched."""
    for index, of_image in enumerate(detections):
        table = detections_table([of_image], classes)
        yield table.assign(image=table["image"] + index)


def _numbered(groups: Iterable[list[Raster]]) -> Iterator[tuple[list[Raster], int]]:
    """Each group, and the position of its first image."""
    first = 0
    for group in groups:
        yield group, first
        first += len(group)


def _until_error(groups: Iterator[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
    """The groups, and in place of a group that cannot be read, the error.

    joblib reads ahead in threads of its own, in which an error would be lost.
    """
    try:
        yield from groups
    except Exception as error:
        yield error, 0


def _search_limited(n_threads: int, group, *arguments):
    if isinstance(group, Exception):
        return group
    with limited_threads(n_threads):
        return _search_group(group, *arguments)


def _search_group(
    group: list[Raster], first: int, recognizer: Recognizer, settings: SearchSettings
) -> list[Detections]:
    """The detections of some images; a note of an error names the image."""
    names = [image_name(first + number, "image") for number in range(len(group))]
    subject = f"{names[0].capitalize()} of X"
    with usable_threads(), explained_memory_error(subject, group[0].size):
        try:
            return recognizer.detect(group, settings).detections
        except Exception as error:
            culprit = _culprit(group, names, recognizer, settings)
            error.add_note(f"This is about {culprit} of X.")
            raise


def _culprit(
    group: list[Raster],
    names: list[str],
    recognizer: Recognizer,
    settings: SearchSettings,
) -> str:
    """The first image that raises an error by itself, or all of them."""
    if len(group) == 1:
        return names[0]
    for image, name in zip(group, names, strict=True):
        try:
            recognizer.detect([image], settings)
        except Exception:
            return name
    return f"{names[0]} to {names[-1]}"


class _Limits:
    """The number of threads that PyTorch had before it was limited, and by how many."""

    lock = threading.Lock()
    n_active = 0
    n_before = 1


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """At most so many threads of PyTorch for this thread.

    The number belongs to a thread, and the last one that was set also to threads that
    begin later. So whoever leaves sets the one from before the first came.
    """
    # A thread that has not asked yet would take the number over later.
    n_before = torch.get_num_threads()
    with _Limits.lock:
        if _Limits.n_active == 0:
            _Limits.n_before = n_before
        _Limits.n_active += 1
        torch.set_num_threads(min(n_threads, _Limits.n_before))
    try:
        yield
    finally:
        with _Limits.lock:
            torch.set_num_threads(_Limits.n_before)
            _Limits.n_active -= 1


@contextmanager
def _threads_for_later_threads() -> Iterator[None]:
    """Threads that begin afterwards have as many threads of PyTorch as this one.

    After an error or an interrupt, workers that are threads finish what they search,
    and the number to which they are limited would be that of threads begun meanwhile.
    """
    try:
        yield
    finally:
        with _Limits.lock:
            torch.set_num_threads(torch.get_num_threads())


if hasattr(os, "register_at_fork"):

    def _forget_limits() -> None:
        """A forked process has none of the threads that would leave."""
        _Limits.lock, _Limits.n_active = threading.Lock(), 0

    os.register_at_fork(after_in_child=_forget_limits)
