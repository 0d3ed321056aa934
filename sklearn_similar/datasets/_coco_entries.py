"""Entries of COCO's JSON, each of which is checked before it is used."""

import json
import os
import stat
from pathlib import Path
from typing import Any

# Integers beyond it are not all floats, and coordinates are computed with floats.
_LARGEST = 2**53


def read_json(path: str | os.PathLike[str], name: str) -> Any:
    # Opening a pipe would wait for its other end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{name} is not a file.")
    content = Path(path).read_bytes()
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply for a file of COCO's.") from None
    except ValueError as error:
        raise ValueError(f"{name} is no JSON: {error}.") from None


def _refuse_constant(text: str):
    raise ValueError(f"it holds {text}")


def numbered_entries(content: dict, key: str, name: str) -> list[tuple[str, dict]]:
    if not isinstance(content.get(key), list):
        raise ValueError(
            f"{name} has no list of {key}, which a data set of COCO's has."
        )
    return numbered(content[key], f"entry of {key}", name)


def numbered(entries: list, what: str, name: str) -> list[tuple[str, dict]]:
    """Entries with what to call them in messages."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{what.capitalize()} {number} in {name} is no object.")
    return [
        (f"{what.capitalize()} {number} in {name}", entry)
        for number, entry in enumerate(entries)
    ]


def _value(entry: dict, key: str, where: str) -> Any:
    if key not in entry:
        raise ValueError(f"{where} lacks {key!r}.")
    return entry[key]


def identifier(entry: dict, key: str, where: str) -> int | str:
    value = _value(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{where} has {key}={value!r:.50}; it should be an integer.")
    return value


def integer(entry: dict, key: str, where: str) -> int:
    value = identifier(entry, key, where)
    if isinstance(value, str):
        raise ValueError(f"{where} has {key}={value!r:.50}; it should be an integer.")
    return value


def label_of(entry: dict, where: str) -> str | int:
    value = _value(entry, "name", where)
    if not isinstance(value, str | int):
        raise ValueError(f"{where} has name={value!r:.50}; it should be a string.")
    return value


def file_name_of_entry(where: str, entry: dict) -> str | None:
    value = entry.get("file_name")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where} has file_name={value!r:.50}; it should be a string.")
    return value


def number_of_entry(value: Any, what: str, where: str) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= _LARGEST:
        raise ValueError(f"{where} has {what}={value!r:.50}; it should be a number.")
    return value


def check_distinct(values: list, what: str) -> None:
    seen: set = set()
    for value in values:
        if value in seen:
            raise ValueError(
                f"{what} hold {value!r:.50} twice; each should be there once."
            )
        seen.add(value)


def corners_of(entry: dict, where: str) -> tuple:
    box = _value(entry, "bbox", where)
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(
            f"{where} has bbox={box!r:.50}; it should be [x, y, width, height]."
        )
    x, y, width, height = (number_of_entry(value, "bbox", where) for value in box)
    if width < 0 or height < 0:
        raise ValueError(f"{where} has bbox={box!r:.80}, of negative size.")
    return x, y, x + width, y + height
