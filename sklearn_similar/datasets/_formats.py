"""The annotation formats, and the files in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._images.messages import count, warn_user
from ._annotations import AnnotationFormat
from ._coco import COCO
from ._cvat import CVAT
from ._image_lookup import visible_files
from ._label_studio import LABEL_STUDIO
from ._labelme import LABELME
from ._parsing import parse_file
from ._voc import VOC
from ._yolo import CLASSES, NOTES, YOLO

FORMATS: dict[str, AnnotationFormat] = {
    known.name: known for known in (COCO, VOC, YOLO, LABELME, CVAT, LABEL_STUDIO)
}


def format_of_name(name: str) -> AnnotationFormat:
    """The format that the parameter `format` names."""
    if not isinstance(name, str) or name not in FORMATS:
        raise ValueError(
            f"format is {name!r}; pass one of {', '.join(map(repr, FORMATS))}."
        )
    return FORMATS[name]


def annotation_files(
    path: Path, known: AnnotationFormat | None
) -> Iterator[tuple[AnnotationFormat, Path, Any]]:
    """The format, the path and the parsed content of each annotation file.

    Parameters
    ----------
    path : Path
        A file, or a folder that is searched with its subfolders.
    known : AnnotationFormat or None
        The format; None: the only one that the content is in.

    Raises
    ------
    ValueError
        If there are no annotations, or those of several formats.
    """
    formats = list(FORMATS.values()) if known is None else [known]
    suffixes = {suffix for candidate in formats for suffix in candidate.suffixes}
    if path.is_dir():
        files = _candidates(path, suffixes)
    else:
        files = [path] if _may_describe(path, suffixes) else []
    first: tuple[AnnotationFormat, Path] | None = None
    unknown = []
    for file in files:
        content = parse_file(file)
        recognised = _recognise(file, content, formats)
        if recognised is None:
            if file.name != NOTES:
                unknown.append(file)
            continue
        if first is not None and recognised is not first[0]:
            raise ValueError(
                f"{str(path)!r} holds annotations in several formats: {first[0].title} "
                f"in {str(first[1])!r} and {recognised.title} in {str(file)!r}; pass "
                "the file or folder of one of them, or format."
            )
        first = first or (recognised, file)
        yield recognised, file, content
    if first is None:
        raise ValueError(_nothing_found(path, known))
    if unknown and known is None:
        warn_user(
            f"{count(len(unknown), 'file')} in {str(path)!r} left out, as the content "
            f"is not annotations; the first is {str(unknown[0])!r}."
        )


def _candidates(folder: Path, suffixes: set[str]) -> list[Path]:
    files = [file for file in visible_files(folder) if _may_describe(file, suffixes)]
    has_yaml = any(file.suffix.lower() in (".yaml", ".yml") for file in files)
    # data.yaml says more than classes.txt.
    return [file for file in files if not (has_yaml and file.name == CLASSES)]


def _may_describe(file: Path, suffixes: set[str]) -> bool:
    """Whether a file may name images or labels; other texts hold boxes alone."""
    suffix = file.suffix.lower()
    return suffix in suffixes and (suffix != ".txt" or file.name == CLASSES)


def _recognise(
    file: Path, content: Any, formats: list[AnnotationFormat]
) -> AnnotationFormat | None:
    suffix = file.suffix.lower()
    for candidate in formats:
        if suffix in candidate.suffixes and candidate.recognises(content):
            return candidate
    return None


def _nothing_found(path: Path, known: AnnotationFormat | None) -> str:
    titles = ", ".join(candidate.title for candidate in FORMATS.values())
    expected = f"the format {known.title}" if known else f"a known format ({titles})"
    folder = path if path.is_dir() else path.parent
    hint = "the folder or file of the annotations"
    if next(folder.glob("**/*.txt"), None) is not None:
        hint += "; for YOLO, one with data.yaml or classes.txt, the names of the labels"
    fact = "holds no annotations" if path.is_dir() else "is not"
    return f"{str(path)!r} {fact} in {expected}; pass {hint}."
