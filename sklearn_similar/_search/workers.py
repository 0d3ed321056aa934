"""The search of many images, by one worker or by several."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._images.images import Images, release, to_tensor
from .._images.position import image_name, part_of_images
from .._images.rasters import Raster, explained_memory_error, is_large
from .._images.value_range import ranges_are_checked
from .._network.threads import usable_threads
from .instances import Instances, instances_table
from .localization import Settings, find_instances
from .recognizer import Recognizer

# Images that are searched together, or a large one.
Group = list[torch.Tensor] | Raster


def groups(
    images: Images, n_channels: int, n_pixels: int
) -> Iterator[list[torch.Tensor] | Raster]:
    """Images of any sizes as float32, some of them at a time, or one large one.

    Parameters
    ----------
    images : Images
    n_channels : int
        Channels of the tensors; colour is made grey for one channel.
    n_pixels : int
        Pixels after which no other image joins.
    """
    batch: list[torch.Tensor] = []
    for pixels in images.pixels:
        if is_large(pixels):
            if batch:
                yield batch
                batch = []
            yield Raster.from_pixels(pixels, n_channels)
            continue
        batch.append(to_tensor(np.asarray(pixels)[np.newaxis], n_channels)[0])
        release(pixels)
        if sum(image[0].numel() for image in batch) >= n_pixels:
            yield batch
            batch = []
    if batch:
        yield batch


def search(
    groups: Iterable[Group],
    recognizer: Recognizer,
    settings: Settings,
    n_jobs: int | None,
) -> Iterator[Instances]:
    """The instances of each image, in order, as they are found.

    Parameters
    ----------
    groups : iterable of list of tensor, or Raster
        Images, some at a time, or a large one: one task each.
    recognizer : Recognizer
    settings : Settings
    n_jobs : int or None
        As joblib takes it. Processes, unless `joblib.parallel_config` says otherwise:
        threads wait for each other's Python code (two of them measured 1.04 times as
        fast as one, two processes 1.77 times).
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        for group, names in _named(groups):
            yield from _search_group(group, names, recognizer, settings)
        return
    n_threads = max(1, torch.get_num_threads() // n_workers)
    tasks = (
        delayed(_search_limited)(n_threads, group, names, recognizer, settings)
        for group, names in _until_error(_named(groups))
    )
    parallel = Parallel(n_jobs=n_jobs, prefer="processes", return_as="generator")
    with _own_threads_for_later_ones(), closing(parallel(tasks)) as results:
        for found in results:
            if isinstance(found, Exception):
                raise found
            yield from found


def numbered_tables(
    found: Iterable[Instances], classes: np.ndarray
) -> Iterator[pd.DataFrame]:
    """The table of instances of each image, as they are found."""
    for index, instances in enumerate(found):
        table = instances_table([instances], classes)
        yield table.assign(image=table["image"] + index)


def _named(
    groups: Iterable[Group],
) -> Iterator[tuple[Group, list[str]]]:
    """Each group, and the names of its images."""
    first = 0
    for group in groups:
        n_images = 1 if isinstance(group, Raster) else len(group)
        yield group, [image_name(first + n, "image") for n in range(n_images)]
        first += n_images


def _until_error(groups: Iterator[tuple[Any, list[str]]]):
    """The same, and an error in reading instead of the group that it is about.

    joblib reads ahead in threads of its own, in which an error would be lost.
    """
    try:
        yield from groups
    except Exception as error:
        yield error, []


def _search_limited(n_threads: int, group, *arguments):
    if isinstance(group, Exception):
        return group
    with limited_threads(n_threads):
        return _search_group(group, *arguments)


def _search_group(
    group: Group,
    names: list[str],
    recognizer: Recognizer,
    settings: Settings,
) -> list[Instances]:
    """The instances of some images; an error gets a note that says of which one."""
    # What the estimator says of images, it says of crops.
    with ExitStack() as stack:
        stack.enter_context(usable_threads())
        stack.enter_context(ranges_are_checked())
        stack.enter_context(part_of_images(0, " of the crops"))
        if isinstance(group, Raster):
            name = f"{names[0].capitalize()} of X"
            stack.enter_context(explained_memory_error(name, group.size))
        try:
            return find_instances(group, recognizer, settings)
        except Exception as error:
            whose = _whose(group, names, recognizer, settings)
            error.add_note(f"This is about {whose} of X.")
            raise


def _whose(group: Group, names: list[str], *how) -> str:
    """The first image that raises an error by itself, or all of them."""
    if isinstance(group, Raster) or len(group) == 1:
        return names[0]
    for image, name in zip(group, names, strict=True):
        try:
            find_instances([image], *how)
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
def _own_threads_for_later_ones() -> Iterator[None]:
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
