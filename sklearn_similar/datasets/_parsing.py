"""Parsers of annotation files, by the suffix of the file.

Files may come from strangers: XML with a document type, which may define entities that
expand without limit or read other files, is refused, and YAML makes no objects.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ._annotations import read_bytes


def parse_file(file: Path) -> Any:
    """The content of a file of any suffix in `PARSERS`."""
    name = repr(str(file))
    return PARSERS[file.suffix.lower()](read_bytes(file, name), name)


def parse_json(content: bytes, name: str) -> Any:
    """Objects and lists; NaN and infinity are refused."""

    def refuse(constant: str):
        raise ValueError(f"it holds {constant}")

    try:
        return json.loads(content, parse_constant=refuse)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON: {error}.") from None


class _HasDoctype(Exception):
    pass


class _Builder(ElementTree.TreeBuilder):
    """Ends at a document type, before its entities are read."""

    def doctype(self, name, public_id, system_id):
        raise _HasDoctype


def parse_xml(content: bytes, name: str) -> ElementTree.Element:
    """The root element."""
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(content)
        return parser.close()
    except _HasDoctype:
        raise ValueError(
            f"{name} has a DOCTYPE, which may define entities and is not read; remove "
            "it if you trust the file."
        ) from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{name} is not valid XML: {error}.") from None


def parse_yaml(content: bytes, name: str) -> Any:
    """Dicts, lists and strings: a label ``no`` or ``10`` stays a string."""
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f"Reading {name} needs PyYAML, which is not installed: pip install pyyaml"
        ) from error
    try:
        # The safe loader would make a boolean of the label "no". The base loader makes
        # nothing but dicts, lists and strings.
        return yaml.load(content, Loader=yaml.BaseLoader)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{name} is not valid YAML: {text}.") from None


def parse_lines(content: bytes, name: str) -> list[str]:
    """Lines without surrounding blanks; empty ones at the end are left out."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not text in UTF-8: {error}.") from None
    return [line.strip() for line in text.rstrip().splitlines()]


PARSERS: dict[str, Callable[[bytes, str], Any]] = {
    ".json": parse_json,
    ".xml": parse_xml,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".txt": parse_lines,
}
