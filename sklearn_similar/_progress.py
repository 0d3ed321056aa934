"""Progress bars that cost nothing where none is shown."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def with_progress(
    items: Iterable[T], description: str, total: int, unit: str, verbose: int
) -> Iterable[T]:
    """The items, with a progress bar if `verbose`.

    A disabled bar of tqdm would start its monitoring thread all the same.
    """
    if not verbose:
        return items
    return tqdm(items, desc=description, total=total, unit=unit)
