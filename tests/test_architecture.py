"""Rooms of the package import one another in one direction."""

import ast
from pathlib import Path

import pytest

import sklearn_similar

PACKAGE = Path(sklearn_similar.__file__).parent
# A room may import those before it, and what is on its own line.
ORDER = [
    ("_compat",),
    ("_images",),
    ("_tables", "_progress"),
    ("_network",),
    ("_ablation",),
    ("_heatmaps", "_scenes"),
    ("_estimator", "_blockwise"),
    ("_classifier",),
    ("_search",),
    ("_learning",),
    ("_localizer",),
    ("_saving",),
    ("datasets", "metrics"),
    ("display",),
    ("report",),
    ("_commands",),
    ("__main__", "__init__"),
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
PUBLIC = {"datasets", "metrics", "display", "report"}


def module_of(path):
    return path.relative_to(PACKAGE.parent).with_suffix("").parts


def imported_modules(path):
    """Absolute names of the package's modules that a file imports, as parts."""
    here = module_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = here[: len(here) - node.level] if node.level else ()
        target = (*base, *(node.module.split(".") if node.module else ()))
        if target[:1] != ("sklearn_similar",):
            continue
        for alias in node.names:
            yield (*target, alias.name)


def room_of(parts):
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(module_of(p)[1:]))
def test_a_module_imports_no_room_after_its_own(path):
    own = room_of(module_of(path))
    for parts in imported_modules(path):
        room = room_of(parts)
        # Only the version comes from the package itself.
        if parts == ("sklearn_similar", "__version__"):
            continue
        assert RANK[room] <= RANK[own], f"{own} imports {'.'.join(parts)}"
        assert (
            own in PUBLIC | {"_commands", "__main__", "__init__"} or room not in PUBLIC
        )


def test_the_classifier_needs_no_search_no_scenes_and_no_data_sets():
    pending, reached = [PACKAGE / "_classifier.py"], set()
    while pending:
        path = pending.pop()
        if path in reached or not path.exists():
            continue
        reached.add(path)
        for parts in imported_modules(path):
            for length in (len(parts), len(parts) - 1):
                module = PACKAGE.parent.joinpath(*parts[:length])
                if length > 1:
                    pending += [module.with_suffix(".py"), module / "__init__.py"]
    rooms = {room_of(module_of(path)) for path in reached}
    assert not rooms & {"_search", "_learning", "_scenes", "_localizer", *PUBLIC}
