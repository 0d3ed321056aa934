"""Writer of annotations in the formats of annotation tools."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .._images.files import image_file_size
from .._images.messages import count, warn_user
from .._saving.files import check_can_write, write_all
from .._tables.checks import check_instances, image_numbers
from .._tables.values import type_text
from ._annotations import AnnotatedObject, AnnotationFormat, ImageToWrite
from ._formats import format_of_name


def dump_annotations(
    path: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    instances: pd.DataFrame,
    *,
    format: str,
    overwrite: bool = False,
) -> None:
    """Write boxes for an annotation tool, in which they can be corrected.

    Parameters
    ----------
    path : str or path-like
        A file for COCO, CVAT and Label Studio. A folder for Pascal VOC, YOLO and
        LabelMe, which have a file for each image; it is created if it does not exist,
        and may be the folder of the images.
    images : list of str or path-like
        The paths of all images, including those without objects. They are not copied.
    instances : DataFrame
        True instances, ``image, label, x_min, y_min, x_max, y_max``, or the result of
        `localize`. ``image`` is the position in `images`. Rows of true instances whose
        column ``iscrowd`` is True are written to COCO only. Columns of other names are
        not written.
    format : {"coco", "voc", "yolo", "labelme", "cvat", "label_studio"}
        The format.
    overwrite : bool, default=False
        Whether existing files may be replaced.

    Raises
    ------
    FileExistsError
        If a file exists and `overwrite` is False. Nothing is written then.
    ValueError
        If an image, a label or a box cannot be used, or two images have the same name.
    OSError
        If a file cannot be written.

    See Also
    --------
    load_annotations : The inverse.
    dump_coco_file : COCO files for pycocotools, without images.

    Notes
    -----
    Labels are written as text. Boxes keep their fractions of a pixel, except that
    Pascal VOC's are rounded to whole pixels. Scores are written to COCO, in the key
    ``score`` of each annotation, and to Label Studio; other formats have no place for
    them.

    Tools find the images as follows.

    - COCO, CVAT: by the path relative to the folder that holds all of `images`.
    - Pascal VOC: by the name of the file. In labelImg, open the folder of the images
      and choose `path` as the folder for saving.
    - YOLO: in the folder ``images`` next to ``labels``, or next to the text files if
      they are elsewhere in `path`. Copy other images to ``images``, or pass their
      folder to `load_annotations`.
    - LabelMe: by the path relative to the JSON file.
    - Label Studio: as local files. Its document root is the folder above the one that
      holds all of `images`. The boxes are predictions for the controls
      ``<Image name="image" value="$image"/>`` and
      ``<RectangleLabels name="label" toName="image">``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from PIL import Image
    >>> from sklearn_similar.datasets import dump_annotations, load_annotations
    >>> detections = pd.DataFrame(
    ...     [[0, "coin", 0.9, 15, 5, 25, 15]],
    ...     columns=["image", "label", "score", "x_min", "y_min", "x_max", "y_max"],
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Path(folder) / "desk.png"
    ...     Image.new("RGB", (40, 20)).save(image)
    ...     dump_annotations(folder, [image], detections, format="voc")
    ...     paths, instances = load_annotations(folder)
    >>> instances
       image label  x_min  y_min  x_max  y_max
    0      0  coin   15.0    5.0   25.0   15.0
    """
    texts = annotation_texts(
        path, images, instances, format=format, overwrite=overwrite
    )
    for file in texts:
        file.parent.mkdir(parents=True, exist_ok=True)
    write_all({file: text.encode() for file, text in texts.items()})


def annotation_texts(
    path: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    instances: pd.DataFrame,
    *,
    format: str,
    overwrite: bool = False,
) -> dict[Path, str]:
    """The text of each file that `dump_annotations` writes, after all checks."""
    known = format_of_name(format)
    target = Path(path)
    _check_target(target, known)
    texts = known.write(_images_to_write(images, instances, known), target)
    existing = [file for file in texts if file.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{str(existing[0])!r} exists already; pass another path, or "
            "overwrite=True to replace it."
        )
    return texts


def _check_target(target: Path, known: AnnotationFormat) -> None:
    if known.writes_folder:
        if target.exists() and not target.is_dir():
            raise ValueError(
                f"{str(target)!r} is a file, but {known.title} needs a folder; pass "
                "one."
            )
        return
    check_can_write(target)
    if target.suffix.lower() not in known.suffixes:
        raise ValueError(
            f"{str(target)!r} does not end in {known.suffixes[0]}, as files of "
            f"{known.title} do; add it."
        )


def _images_to_write(
    images: Sequence[str | os.PathLike[str]],
    instances: pd.DataFrame,
    known: AnnotationFormat,
) -> list[ImageToWrite]:
    paths = _image_paths(images)
    sizes = [image_file_size(path) for path in paths]
    has_score = isinstance(instances, pd.DataFrame) and "score" in instances
    checked = check_instances(
        instances,
        name="instances",
        needs_score=has_score,
        with_crowds=known.has_crowds,
    )
    n_crowds = len(instances) - len(checked.boxes)
    if n_crowds:
        warn_user(
            f"{count(n_crowds, 'crowd')} of instances left out, as {known.title} "
            "has no place for them."
        )
    numbers = image_numbers(checked, sizes, name="instances")
    objects: list[list[AnnotatedObject]] = [[] for _ in paths]
    for row, number, label, box, score, is_crowd in zip(
        checked.rows,
        numbers,
        checked.label,
        checked.boxes.tolist(),
        checked.score.tolist(),
        checked.is_crowd.tolist(),
        strict=True,
    ):
        _check_can_write_object(row, label, box)
        value = score if has_score else None
        objects[number].append(AnnotatedObject(str(label), tuple(box), value, is_crowd))
    folder = _common_folder(paths)
    return [
        ImageToWrite(path.relative_to(folder).as_posix(), path, size, of_image)
        for path, size, of_image in zip(paths, sizes, objects, strict=True)
    ]


def _check_can_write_object(row: Any, label: Any, box: list[float]) -> None:
    """Raise ValueError for a label or a box that annotation tools could not read."""
    text = str(label)
    if not text.isprintable() or text != text.strip() or not text:
        raise ValueError(
            f"Row {row} of instances has the label {label!r:.50}, which cannot be "
            "written; use printable text without blanks around it."
        )
    if box[2] == box[0] or box[3] == box[1]:
        raise ValueError(
            f"Row {row} of instances has a box without area; drop the row."
        )


def _image_paths(images: Sequence[str | os.PathLike[str]]) -> list[Path]:
    is_list = isinstance(images, list | tuple)
    if not is_list or not all(isinstance(path, str | os.PathLike) for path in images):
        raise ValueError(
            f"images is {type_text(images)}; pass a list of the paths of the images."
        )
    if not images:
        raise ValueError("images is empty; pass the path of at least one image.")
    # Absolute, but not resolved: a link has the name under which it is annotated.
    paths = [Path(os.path.abspath(path)) for path in images]
    known: dict[Path, int] = {}
    for index, path in enumerate(paths):
        if not path.is_file():
            raise ValueError(
                f"images[{index}] is {str(path)!r}, which is not a file; pass paths of "
                "images."
            )
        first = known.setdefault(path.resolve(), index)
        if first != index:
            raise ValueError(
                f"images[{first}] and images[{index}] are both {str(path)!r}; pass "
                "each image once."
            )
    return paths


def _common_folder(paths: list[Path]) -> Path:
    """The folder that holds all images."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:
        raise ValueError(
            "images are on several drives; move them into one folder."
        ) from None
