"""Tables of instances as users have them: of images by number or by name."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .._images.messages import count
from .._images.streams import image_files
from .._tables.checks import check_columns, is_table, joined_table

_NUMBERS = ("score", "heat", "x_min", "y_min", "x_max", "y_max")
# Whether a table numbers the images in the order in which they are passed.
_SAME, _OTHER, _UNKNOWN = "same", "other", "unknown"


def read_tables(instances: Any, truth: Any, images: Any) -> tuple[Any, Any]:
    """Tables of detections and of true instances, as `read_table` reads each.

    Raises
    ------
    ValueError
        If the paths of one show that it numbers the images in another order than they
        are passed, and the other has just numbers, which may be of either order.
    """
    given = {"instances": instances, "truth": truth}
    read = {name: _read(table, images, name) for name, table in given.items()}
    order_of = {order: name for name, (_, order) in read.items()}
    if _UNKNOWN in order_of and _OTHER in order_of:
        raise ValueError(
            f"{order_of[_OTHER]} numbers the images in another order than they are "
            f"passed, as its paths show, and {order_of[_UNKNOWN]} has no paths to tell "
            "its order; pass the images in the order of both tables, or give "
            f"{order_of[_UNKNOWN]} the column 'path', too."
        )
    return read["instances"][0], read["truth"][0]


def read_table(table: Any, images: Any, name: str) -> Any:
    """A table whose images have numbers, from a DataFrame, a list of them or a file.

    Parameters
    ----------
    table : DataFrame, list of DataFrame, path of a CSV file, or anything else
        Anything else is returned as it is, for the checks of tables to refuse it.
    images : Any
        The images as the user passes them.
    name : str
        Name of the table in messages.
    """
    return _read(table, images, name)[0]


def _read(table: Any, images: Any, name: str) -> tuple[Any, str]:
    """What `read_table` returns, and the order in which the table has the images."""
    if isinstance(table, (str, os.PathLike)):
        table = _read_csv(Path(table))
    elif isinstance(table, (list, tuple)) and is_table(table):
        table = joined_table(table)
    if not isinstance(table, pd.DataFrame) or "image" not in table.columns:
        return table, _SAME
    names = table["image"]
    if not isinstance(names, pd.Series) or names.empty:
        return table, _SAME
    files = image_files(images)
    if not _are_texts(names):
        if files is None:
            return table, _UNKNOWN
        return _numbered_by_path(table, files.paths, name)
    if files is None:
        raise ValueError(
            f"{name} names images by their files, such as {names.iloc[0]!r}; pass the "
            "images as a folder or as a list of paths, too."
        )
    is_folder = isinstance(images, (str, os.PathLike)) and Path(images).is_dir()
    known = _number_by_name(names, files.paths, Path(images) if is_folder else None)
    if not known:
        raise ValueError(
            f"{name} names {names.iloc[0]!r}, and none of the "
            f"{count(len(files), 'image')} is named in it; pass the folder or the "
            "files that were searched."
        )
    # Rows of other images are not drawn, so that a part of a folder can be.
    table = table[names.isin(list(known))]
    return table.assign(image=[known[text] for text in table["image"]]), _SAME


def _numbered_by_path(
    table: pd.DataFrame, paths: Sequence[Path], name: str
) -> tuple[pd.DataFrame, str]:
    """The rows of these files, by the column of paths that `localize` adds.

    Without paths, the order in which the table has the images is unknown.
    """
    if "path" not in table.columns:
        return table, _UNKNOWN
    check_columns(table.columns, ["path"], name=name)
    searched = [_real_path(path) for path in table["path"]]
    if not any(searched):
        return table, _UNKNOWN
    given = [os.path.realpath(path) for path in paths]
    number_of = {path: number for number, path in enumerate(given)}
    if number_of.keys().isdisjoint(searched):
        raise ValueError(
            f"{name} has detections of {next(filter(None, searched))!r}, and none of "
            f"{count(len(paths), 'image')}, such as {str(paths[0])!r}; pass the files "
            "that were searched, or drop the column 'path' if these are copies."
        )
    by_number = dict(enumerate(given))
    has_same_order = all(
        path is None or by_number.get(image) == (path if path in number_of else None)
        for image, path in zip(table["image"], searched, strict=True)
    )
    if has_same_order:
        is_given = [path is None or path in number_of for path in searched]
        return table[is_given], _SAME
    if None in searched:
        row = table.index[searched.index(None)]
        raise ValueError(
            f"Row {row} of {name} has no path, and the paths of other rows show that "
            "the images are passed in another order; pass them in that of the table, "
            "or give each row its path."
        )
    for number, path in by_number.items():
        if number != number_of[path] and path in searched:
            raise ValueError(
                f"Images {number} and {number_of[path]} are the same file, "
                f"{str(paths[number])!r}, and {name} has them in another order; pass "
                "each file once, or the images in the order of the table."
            )
    numbers = [number_of[path] for path in searched if path in number_of]
    is_given = [path in number_of for path in searched]
    return table[is_given].assign(image=numbers), _OTHER


def natural_key(text: str) -> list[tuple[int, str]]:
    """Key of an order in which "2" comes before "10"."""
    parts = re.split("([0-9]+)", text)
    return [(int(part), "") if n % 2 else (0, part) for n, part in enumerate(parts)]


def _read_csv(path: Path) -> pd.DataFrame:
    """A file that the command wrote: labels and names are text, whatever they are."""
    return pd.read_csv(
        path,
        dtype={"image": str, "label": str},
        keep_default_na=False,
        na_values={column: [""] for column in _NUMBERS},
        encoding_errors="surrogateescape",
    )


def _real_path(path: Any) -> str | None:
    """The path with links resolved; None if the value is missing or not a path."""
    is_path = isinstance(path, (str, os.PathLike)) and path != ""
    return os.path.realpath(os.fsdecode(path)) if is_path else None


def _are_texts(names: pd.Series) -> bool:
    return all(isinstance(name, str) for name in names)


def _number_by_name(
    names: Iterable[str], paths: Sequence[Path], folder: Path | None
) -> dict[str, int]:
    """The number of each image that is named.

    A folder holds images of these names. Of a list of paths, which may be a part of
    those that were searched, each is called by the longest name with which it ends.
    """
    named = set(names)
    known: dict[str, int] = {}
    for number, path in enumerate(paths):
        if folder is not None:
            ends = [path.relative_to(folder).as_posix()]
        else:
            parts = Path(os.path.abspath(path)).parts
            ends = ["/".join(parts[first:]) for first in range(len(parts))]
        name = next((end for end in ends if end in named), None)
        if name is None:
            continue
        if name in known:
            raise ValueError(
                f"The image {name!r} of the table may be "
                f"{str(paths[known[name]])!r} or {str(path)!r}; pass the folder that "
                "was searched."
            )
        known[name] = number
    return known
