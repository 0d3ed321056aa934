"""The search of many images, by one worker or by several."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import pandas as pd
import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._images.images import Images
from .._images.messages import ImageNames
from .._images.rasters import (
    Raster,
    explained_memory_error,
    is_large,
    max_tile_pixels,
)
from .._images.streams import pixels_at_once
from .._network.isolation import restores_torch_state
from .._network.threads import limited_threads, same_threads_later, usable_threads
from .detections import Detections
from .recognizer import Recognizer
from .settings import SearchSettings


def groups(parts: Iterable[Images], n_channels: int) -> Iterator[list[Raster]]:
    """Images that are searched together: some small ones, or a large one.

    Parameters
    ----------
    parts : iterable of Images
    n_channels : int
        Channels of the rasters; colour is made grey for one channel.
    """
    n_pixels = pixels_at_once()
    group: list[Raster] = []
    for images in parts:
        for pixels in images.pixels:
            image = Raster.from_pixels(pixels, n_channels, images.scaling)
            if is_large(pixels):
                if group:
                    yield group
                    group = []
                yield [image]
                continue
            group.append(image.cached())
            if sum(math.prod(member.size) for member in group) >= n_pixels:
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
    names: ImageNames,
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
        fast as one, two processes 1.77 times). There are no more of them than groups.
    names : ImageNames
        What notes of errors call the images.
    """
    names = names.with_noun("image")
    n_workers = effective_n_jobs(n_jobs)
    named_groups = _until_error(_named(groups, names))
    if n_workers > 1:
        first = list(itertools.islice(named_groups, n_workers))
        n_workers = max(1, len(first))
        named_groups = _joined(first, named_groups)
    if n_workers == 1:
        for group, names_of_group in named_groups:
            if isinstance(group, Exception):
                raise group
            yield from _search_group(group, names_of_group, recognizer, settings)
        return
    n_threads = max(1, torch.get_num_threads() // n_workers)
    tasks = (
        delayed(_search_limited)(n_threads, group, names_of_group, recognizer, settings)
        for group, names_of_group in named_groups
    )
    parallel = Parallel(n_jobs=n_workers, prefer="processes", return_as="generator")
    with same_threads_later(), closing(parallel(tasks)) as results:
        for detections in results:
            if isinstance(detections, Exception):
                raise detections
            yield from detections


def numbered_tables(
    detections: Iterable[Detections],
    to_table: Callable[[list[Detections]], pd.DataFrame],
) -> Iterator[pd.DataFrame]:
    """The table of the detections in each image, as soon as it is searched."""
    for index, of_image in enumerate(detections):
        table = to_table([of_image])
        yield table.assign(image=table["image"] + index)


def _named(
    groups: Iterable[list[Raster]], names: ImageNames
) -> Iterator[tuple[list[Raster], ImageNames]]:
    """Each group, and the names of its images."""
    for group in groups:
        yield group, names
        names = names.after(len(group))


def _joined(first: list, rest: Iterator) -> Iterator:
    """The items of both; those of the list are not kept."""
    while first:
        yield first.pop(0)
    yield from rest


def _until_error(groups: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The groups, and in place of a group that cannot be read, the error.

    joblib reads ahead in threads of its own, in which an error would be lost.
    """
    try:
        yield from groups
    except Exception as error:
        yield error, None


def _search_limited(n_threads: int, group, *arguments):
    if isinstance(group, Exception):
        return group
    with limited_threads(n_threads):
        return _search_group(group, *arguments)


@restores_torch_state
def _search_group(
    group: list[Raster],
    names: ImageNames,
    recognizer: Recognizer,
    settings: SearchSettings,
) -> list[Detections]:
    """The detections of some images; a note of an error names the image."""
    with usable_threads(), _explained_if_large(group, names):
        try:
            return recognizer.detect(group, settings).detections
        except Exception as error:
            culprit = _culprit(group, names, recognizer, settings)
            error.add_note(f"This is about {culprit} of X.")
            raise


def _explained_if_large(
    group: list[Raster], names: ImageNames
) -> AbstractContextManager[None]:
    """Say what to do if memory runs out, where that is due to a large image."""
    (size, *others) = [image.size for image in group]
    if others or math.prod(size) <= max_tile_pixels():
        return nullcontext()
    return explained_memory_error(f"{names.with_noun('Image').name(0)} of X", size)


def _culprit(
    group: list[Raster],
    names: ImageNames,
    recognizer: Recognizer,
    settings: SearchSettings,
) -> str:
    """The first image that raises an error by itself, or all of them."""
    last = len(group) - 1
    if last == 0:
        return names.name(0)
    for number, image in enumerate(group):
        try:
            recognizer.detect([image], settings)
        except Exception:
            return names.name(number)
    return f"{names.name(0)} to {names.name(last)}"
