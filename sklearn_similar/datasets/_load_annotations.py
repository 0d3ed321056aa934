"""Reader of annotations in the formats of annotation tools."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._images.files import image_file_size
from .._images.messages import count, warn_user
from .._tables.boxes import BOX_COLUMNS, CROWD_COLUMN
from .._tables.values import as_labels
from ._annotations import AnnotatedImage, Source
from ._formats import annotation_files, format_of_name
from ._image_lookup import ImageLookup


def load_annotations(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    subset: str | None = None,
) -> tuple[list[Path], pd.DataFrame]:
    """Load boxes that were drawn in an annotation tool, and the paths of the images.

    Parameters
    ----------
    path : str or path-like
        A file or a folder, which is searched with its subfolders. The content decides
        about the format: COCO (JSON), Pascal VOC (an XML file for each image), YOLO
        (``data.yaml`` or ``classes.txt``, with a text file for each image), LabelMe (a
        JSON file for each image), CVAT ("CVAT for images 1.1") or Label Studio (JSON).
    images : str or path-like, default=None
        Folder of the images. None: in the folder of the annotations, its subfolders, or
        a folder ``images`` or ``JPEGImages`` next to it. Folders that belong to the
        name of an image in the annotations need not exist.
    format : {"coco", "voc", "yolo", "labelme", "cvat", "label_studio"}, default=None
        Read files of this format alone. None: the only format in the folder.
    subset : {"train", "val", "test"}, default=None
        The images of this part of a YOLO data set. None: the images of all parts.

    Returns
    -------
    paths : list of Path
        The annotated images, as `localize` takes them, including images without
        objects.
    instances : DataFrame
        One row for each object: ``image`` (position in `paths`), ``label``, ``x_min``,
        ``y_min``, ``x_max``, ``y_max`` (pixels, half-open). If a COCO file has regions
        of many objects, the column ``iscrowd`` is True for them.

    Raises
    ------
    FileNotFoundError
        If `path` or `images` does not exist.
    ImportError
        If ``data.yaml`` is to be read without PyYAML, or Pillow is missing; the extra
        ``annotations`` has both.
    ValueError
        If a file is damaged or in no known format, an image is missing, ambiguous, or
        of another size than the annotations say, or a label or number is invalid. The
        message names the file.

    Warns
    -----
    UserWarning
        If boxes without area, shapes without a box or files are left out, or a
        tool may have written rotated boxes without their angles.

    See Also
    --------
    dump_annotations : The inverse.
    load_coco_file : COCO files without their images, and COCO's results.

    Notes
    -----
    Boxes are clipped to the image. Polygons, masks and rotated boxes become the box
    around them. Images are measured upright, as annotation tools display them.

    In Pascal VOC, pixels are numbered from 1 and the last pixel belongs to the box, so
    that x_min is ``xmin - 1`` and x_max is ``xmax``. Files that number pixels from 0
    are read with a box that is a pixel larger, and clipped at the border. Objects
    marked as difficult are read.

    COCO's regions that are marked as crowds are neither objects nor background: `fit`
    does not learn from them, and metrics ignore the detections that they cover.

    In YOLO, an image without a text file has no objects. In other formats, images that
    the annotations do not name are left out, because nothing is known about them.

    If an image was annotated several times in Label Studio, the ground truth is read,
    or else the last annotation. Predictions are read if no image was annotated.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_similar.datasets import load_annotations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     folder = Path(folder)
    ...     Image.new("RGB", (40, 20)).save(folder / "desk.png")
    ...     _ = (folder / "classes.txt").write_text("coin")
    ...     _ = (folder / "desk.txt").write_text("0 0.5 0.5 0.25 0.5")
    ...     paths, instances = load_annotations(folder)
    >>> [path.name for path in paths]
    ['desk.png']
    >>> instances
       image label  x_min  y_min  x_max  y_max
    0      0  coin   15.0    5.0   25.0   15.0
    """
    root = _existing(path, "path")
    image_folder = None if images is None else _existing(images, "images")
    if image_folder is not None and not image_folder.is_dir():
        raise ValueError(
            f"images is {str(image_folder)!r}, which is not a folder; pass the folder "
            "of the images."
        )
    known = None if format is None else format_of_name(format)
    if subset not in (None, "train", "val", "test"):
        raise ValueError(f"subset is {subset!r}; pass 'train', 'val', 'test' or None.")
    folder = root if root.is_dir() else root.parent
    annotated: list[tuple[Source, AnnotatedImage]] = []
    for recognised, file, content in annotation_files(root, known):
        if subset is not None and not recognised.has_subsets:
            raise ValueError(
                f"subset is {subset!r}, but {str(file)!r} is in the format "
                f"{recognised.title}, which has no subsets; pass the folder of one."
            )
        source = Source(file, folder, image_folder, subset)
        annotated += [(source, image) for image in recognised.read(content, source)]
    if not annotated:
        raise ValueError(f"{str(root)!r} names no images; annotate some first.")
    n_without_angles = sum(image.may_lack_angles for _, image in annotated)
    if n_without_angles:
        warn_user(
            f"Label Studio exported {count(n_without_angles, 'image')} of "
            f"{str(root)!r} in a format that drops the angles of rotated rectangles, "
            "whose boxes are wrong here. If there are any, export as JSON instead."
        )
    paths = _find_images(annotated, ImageLookup(image_folder, folder))
    return paths, _table(annotated, paths, repr(str(root)))


def _existing(path: str | os.PathLike[str], name: str) -> Path:
    existing = Path(path)
    if not existing.exists():
        raise FileNotFoundError(f"{name} is {str(existing)!r}, which does not exist.")
    return existing


def _find_images(
    annotated: list[tuple[Source, AnnotatedImage]], lookup: ImageLookup
) -> list[Path]:
    """The path of each image, none of them twice."""
    n_images: dict[Path, int] = {}
    for source, _ in annotated:
        n_images[source.file] = n_images.get(source.file, 0) + 1
    paths, missing = [], []
    first: dict[Path, Source] = {}
    for source, image in annotated:
        path = image.path or lookup.find(
            image.file_name, source.file, use_stem=n_images[source.file] == 1
        )
        if path is None:
            missing.append((source, image))
            continue
        if (resolved := path.resolve()) in first:
            raise ValueError(
                f"The image {str(path)!r} is annotated twice, in "
                f"{first[resolved].name} and in {source.name}; keep one of them."
            )
        first[resolved] = source
        paths.append(path)
    if missing:
        source, image = missing[0]
        raise ValueError(
            f"{source.name} annotates the image {image.file_name!r:.200}, which does "
            f"not exist ({count(len(missing), 'missing image')} in all); pass images, "
            "the folder of the images."
        )
    return paths


def _table(
    annotated: list[tuple[Source, AnnotatedImage]], paths: list[Path], name: str
) -> pd.DataFrame:
    """The table of all objects, in pixels and clipped to their images."""
    numbers: list[int] = []
    labels: list[Any] = []
    crowds: list[bool] = []
    boxes = [np.empty((0, 4))]
    without_area: list[tuple[Source, Path]] = []
    for number, ((source, image), path) in enumerate(
        zip(annotated, paths, strict=True)
    ):
        size = _checked_size(image, path, source)
        if not image.objects:
            continue
        limits = np.tile(size[::-1], 2)
        corners = np.array([instance.box for instance in image.objects], np.float64)
        if image.is_relative:
            # Shares of whole pixels become whole pixels again.
            corners = np.round(corners * limits, 6)
        if (corners[:, 2:] < corners[:, :2]).any():
            raise ValueError(
                f"{source.name} has a box of negative size in the image "
                f"{path.name!r}; swap its corners."
            )
        corners = np.clip(corners, 0, limits)
        with_area = np.flatnonzero((corners[:, 2:] > corners[:, :2]).all(axis=1))
        without_area += [(source, path)] * (len(corners) - len(with_area))
        boxes.append(corners[with_area])
        labels += [image.objects[index].label for index in with_area]
        crowds += [image.objects[index].is_crowd for index in with_area]
        numbers += [number] * len(with_area)
    if without_area:
        source, path = without_area[0]
        warn_user(
            f"{count(len(without_area), 'object')} left out, as the box has no area "
            f"inside the image; the first is in {source.name}, in the image "
            f"{path.name!r}."
        )
    table = pd.DataFrame(np.concatenate(boxes), columns=list(BOX_COLUMNS))
    table.insert(0, "image", np.array(numbers, dtype=np.int64))
    table.insert(1, "label", labels)
    if any(crowds):
        table[CROWD_COLUMN] = crowds
    as_labels(table["label"], f"The labels of {name}", n=len(table))
    return table


def _checked_size(image: AnnotatedImage, path: Path, source: Source) -> tuple[int, int]:
    """(height, width) of the image, which must be that of the annotations."""
    size = image_file_size(path)
    if image.size in (None, size):
        return size
    if image.size == size[::-1]:
        remedy = "it was annotated lying on its side, so turn the file by 90 degrees"
    else:
        remedy = "pass images, the folder of the images that were annotated"
    raise ValueError(
        f"{str(path)!r} is {size[1]} pixels wide and {size[0]} high, but {source.name} "
        f"annotates an image {image.size[1]} wide and {image.size[0]} high; {remedy}."
    )
