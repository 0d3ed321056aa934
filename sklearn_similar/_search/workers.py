"""The search of many images, by one worker or by several."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._images.images import Images, release, to_tensor
from .._images.messages import ImageNames
from .._images.rasters import Raster, explained_memory_error, is_large
from .._nested import ranges_are_checked
from .._network.threads import limited_threads, same_threads_later, usable_threads
from .._progress import without_progress
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
    names: ImageNames,
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
    names : ImageNames
        What notes of errors call the images.
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        for group, image_names in _named(groups, names):
            yield from _search_group(group, image_names, recognizer, settings)
        return
    n_threads = max(1, torch.get_num_threads() // n_workers)
    tasks = (
        delayed(_search_limited)(n_threads, group, image_names, recognizer, settings)
        for group, image_names in _until_error(_named(groups, names))
    )
    parallel = Parallel(n_jobs=n_jobs, prefer="processes", return_as="generator")
    with same_threads_later(), closing(parallel(tasks)) as results:
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
    groups: Iterable[Group], names: ImageNames
) -> Iterator[tuple[Group, list[str]]]:
    """Each group, and the names of its images."""
    first = 0
    for group in groups:
        n_images = 1 if isinstance(group, Raster) else len(group)
        indices = range(first, first + n_images)
        yield group, [names.with_noun("image").name(index) for index in indices]
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
        stack.enter_context(ranges_are_checked(" of the crops"))
        stack.enter_context(without_progress())
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
