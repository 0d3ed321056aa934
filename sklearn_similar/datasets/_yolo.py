"""YOLO: a text file for each image, and a file with the names of the labels.

That file is ``data.yaml`` (Ultralytics, Roboflow, CVAT) or ``classes.txt`` (labelImg,
Label Studio). A line is ``index x_centre y_centre width height``, or ``index x y x y x
y ...`` for a polygon, in shares of the image's width and height.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .._images.messages import count
from ._annotations import (
    AnnotatedImage,
    AnnotatedObject,
    AnnotationFormat,
    ImageToWrite,
    Source,
    bounding_box,
    finite_number,
    label_text,
)
from ._image_lookup import ImageLookup, image_files, name_key, uploaded_names
from ._parsing import parse_file, parse_lines

CLASSES = "classes.txt"
# Label Studio's file about its export.
NOTES = "notes.json"
# Keys of data.yaml by subset; tools disagree about the second.
_SUBSETS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
# Tools round up to 1 % beyond the border.
_TOLERANCE = 0.01


def is_yolo(content: Any) -> bool:
    """Whether a YAML file, or the lines of classes.txt, are in this format."""
    return isinstance(content, list) or (
        isinstance(content, dict) and "names" in content
    )


def read_yolo(content: dict | list, source: Source) -> list[AnnotatedImage]:
    """The images of a data set; those without a text file have no objects."""
    data: dict = content if isinstance(content, dict) else {"names": content}
    names = _names(data["names"], source)
    paths = _image_paths(data, source)
    labels = _Labels(source)
    files = {path: labels.find(path) for path in paths}
    _check_one_file_each(files)
    if not any(files.values()):
        raise ValueError(
            f"{source.name} belongs to {count(len(paths), 'image')}, such as "
            f"{str(paths[0])!r}, but none has a file of labels; put them into a folder "
            "labels next to the folder images."
        )
    if source.images is None:
        _check_no_image_is_missing(files)
    elif source.subset is None:
        labels.check_all_used(files.values(), source.images)
    # Values after the box are the key points of a pose.
    has_poses = "kpt_shape" in data
    is_of_label_studio = _is_of_label_studio(source)
    return [
        AnnotatedImage(
            file_name=path.name,
            size=None,
            objects=[] if file is None else list(_objects(file, names, has_poses)),
            path=path,
            is_relative=True,
            may_lack_angles=is_of_label_studio and _has_upright_boxes(file),
        )
        for path, file in files.items()
    ]


def _is_of_label_studio(source: Source) -> bool:
    """Whether Label Studio wrote the files."""
    notes = source.file.with_name(NOTES)
    if not notes.is_file():
        return False
    try:
        content = parse_file(notes)
    except ValueError:
        return False  # notes of the user
    info = content.get("info") if isinstance(content, dict) else None
    return isinstance(info, dict) and info.get("contributor") == "Label Studio"


def _has_upright_boxes(file: Path | None) -> bool:
    """Whether a text file of Label Studio has boxes, whose angles it drops.

    In its format of oriented boxes, objects are polygons.
    """
    if file is None:
        return False
    lines = parse_lines(file.read_bytes(), repr(str(file)))
    return any(line and len(line.split()) < 7 for line in lines)


def _names(names: Any, source: Source) -> dict[int, str]:
    """The label of each index."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise ValueError(
            f"{source.name} has names that are not a list of labels, or a mapping from "
            "numbers to labels."
        )
    labels = {}
    for key, label in names.items():
        if not str(key).isdecimal():
            raise ValueError(
                f"{source.name} has the key {key!r:.50} in names; number the labels "
                "from 0."
            )
        labels[int(key)] = label_text(label, f"Label {key} of {source.name}")
    return labels


def _image_paths(data: dict, source: Source) -> list[Path]:
    folder = source.file.parent
    if source.subset is None and source.images is not None:
        return _images_in(source.images)
    subsets = [source.subset] if source.subset else list(_SUBSETS)
    entries = [data[k] for s in subsets for k in _SUBSETS[s] if data.get(k)]
    if source.subset and not entries:
        raise ValueError(
            f"{source.name} names no images for the subset {source.subset!r}; pass "
            "another subset, or None for all images."
        )
    if not entries:
        return _images_in(_counterpart(folder, "labels", "images") or folder)
    root = data.get("path")
    roots = [folder / root, folder] if root and isinstance(root, str) else [folder]
    paths = []
    for entry in entries:
        for text in entry if isinstance(entry, list) else [entry]:
            paths += _images_of_entry(str(text), roots, source)
    return paths


def _images_of_entry(text: str, roots: list[Path], source: Source) -> list[Path]:
    """The images in a folder or in a list of files that data.yaml names."""
    # Roboflow writes ../train/images for a folder next to the file.
    plain = text.replace("\\", "/")
    while plain.startswith("../"):
        plain = plain[3:]
    candidates = [root / name for name in (text, plain) for root in roots]
    lists = [path for path in candidates if path.is_file()]
    if lists:
        return _listed_images(lists[0], roots, source.images)
    if source.images is not None:
        candidates = [source.images / plain, source.images]
    folders = [path for path in candidates if path.is_dir()]
    if not folders:
        raise ValueError(
            f"{source.name} names the images {text!r}, which do not exist next to it; "
            "pass images, their folder, or a subset whose images exist."
        )
    return _images_in(folders[0])


def _images_in(folder: Path) -> list[Path]:
    images = image_files(folder)
    if not images:
        raise ValueError(f"{str(folder)!r} holds no images; pass images, their folder.")
    return images


def _listed_images(file: Path, roots: list[Path], images: Path | None) -> list[Path]:
    """The images in a list of paths, which start at its folder or at a root."""
    lookup = ImageLookup(images, file.parent)
    paths = []
    for line in filter(None, parse_lines(file.read_bytes(), repr(str(file)))):
        below = [] if images else [root / line for root in roots]
        image = next((path for path in below if path.is_file()), None)
        image = image or lookup.find(line, file, use_stem=False)
        if image is None:
            raise ValueError(
                f"{str(file)!r} lists the image {line!r}, which does not exist; remove "
                "it from the list, or pass images, the folder of the images."
            )
        paths.append(image)
    return paths


def _counterpart(path: Path, old: str, new: str) -> Path | None:
    """A path with another name of its last folder that is called `old`."""
    parts = path.parts
    for index in reversed(range(len(parts))):
        if parts[index] == old:
            return Path(*parts[:index], new, *parts[index + 1 :])
    return None


class _Labels:
    """Files of labels: in ``labels`` instead of ``images``, or next to the images.

    If the user passed a folder of images, also those next to data.yaml.
    """

    def __init__(self, source: Source):
        self._by_stem: dict[str, list[Path]] = {}
        if source.images is not None:
            for file in sorted(source.file.parent.rglob("*.txt")):
                for stem in uploaded_names(file.stem):
                    self._by_stem.setdefault(stem, []).append(file)

    def find(self, image: Path) -> Path | None:
        """The file of an image; None if it has none."""
        folder = _counterpart(image.parent, "images", "labels")
        folders = [image.parent] if folder is None else [folder, image.parent]
        for folder in folders:
            file = folder / f"{image.stem}.txt"
            if file.is_file():
                return file
        files = self._by_stem.get(name_key(image.stem), [])
        if len(files) > 1:
            raise ValueError(
                f"{str(files[0])!r} and {str(files[1])!r} may both belong to the image "
                f"{str(image)!r}; pass a subset, or move the images next to the labels."
            )
        return files[0] if files else None

    def check_all_used(self, used: Iterable[Path | None], images: Path) -> None:
        """Raise for a file in a folder ``labels`` that belongs to no image."""
        rest = {file for files in self._by_stem.values() for file in files} - set(used)
        for file in sorted(rest):
            if "labels" in file.parent.parts and file.name != CLASSES:
                raise ValueError(
                    f"{str(file)!r} has no image in {str(images)!r}; add the image, or "
                    "delete the file."
                )


def _check_one_file_each(files: dict[Path, Path | None]) -> None:
    images: dict[Path, Path] = {}
    for image, file in files.items():
        if file is not None and images.setdefault(file, image) != image:
            raise ValueError(
                f"{str(file)!r} belongs to both {str(images[file])!r} and "
                f"{str(image)!r}, which have the same name; rename one of them."
            )


def _check_no_image_is_missing(files: dict[Path, Path | None]) -> None:
    """Raise for a file in a folder ``labels`` without an image in ``images``."""
    folders = {
        file.parent: image.parent
        for image, file in files.items()
        if file is not None and file.parent != image.parent
    }
    for label_folder, image_folder in folders.items():
        stems = {path.stem for path in image_folder.iterdir()}
        for file in sorted(label_folder.glob("*.txt")):
            if file.name != CLASSES and file.stem not in stems:
                raise ValueError(
                    f"{str(file)!r} has no image in {str(image_folder)!r}; add the "
                    "image, or delete the file."
                )


def _objects(
    file: Path, names: dict[int, str], has_poses: bool
) -> Iterator[AnnotatedObject]:
    name = repr(str(file))
    for number, line in enumerate(parse_lines(file.read_bytes(), name), 1):
        if not line:
            continue
        where = f"Line {number} of {name}"
        index, *values = (finite_number(v, "a value", where) for v in line.split())
        if index not in names:
            raise ValueError(
                f"{where} has the label {index:g}, which is not in the names of the "
                "labels; correct the line, or add the name."
            )
        yield AnnotatedObject(
            names[int(index)], _box(values[:4] if has_poses else values, where)
        )


def _box(values: list[float], where: str) -> tuple[float, float, float, float]:
    is_polygon = len(values) >= 6 and len(values) % 2 == 0
    # A fifth value is the score of a detection.
    if len(values) not in (4, 5) and not is_polygon:
        raise ValueError(
            f"{where} has {len(values) + 1} values; it should have five, a label, "
            "x_centre, y_centre, width and height, or the corners of a polygon."
        )
    shares = values if is_polygon else values[:4]
    if not -_TOLERANCE <= min(shares) <= max(shares) <= 1 + _TOLERANCE:
        raise ValueError(
            f"{where} has coordinates from {min(shares):g} to {max(shares):g}; divide "
            "them by the width or the height of the image."
        )
    if is_polygon:
        return bounding_box(zip(values[::2], values[1::2], strict=True))
    x, y, width, height = shares
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def write_yolo(images: list[ImageToWrite], path: Path) -> dict[Path, str]:
    """A file of labels for each image, data.yaml and classes.txt.

    The labels of images in the folder ``images`` lie in a folder ``labels`` with the
    same subfolders; those of other images below `path` lie next to the image.
    """
    labels = sorted({instance.label for image in images for instance in image.objects})
    numbers = {label: number for number, label in enumerate(labels)}
    files: dict[Path, ImageToWrite] = {}
    for image in images:
        file = _label_file(image, path)
        if file in files:
            raise ValueError(
                f"Images {files[file].file_name!r} and {image.file_name!r} would both "
                f"be annotated in {str(file)!r}; rename one of them."
            )
        files[file] = image
    texts = {
        file: "".join(
            _line(instance, numbers, image.size) for instance in image.objects
        )
        for file, image in files.items()
    }
    # JSON's strings are strings of YAML, too.
    names = "".join(
        f"  {number}: {json.dumps(label, ensure_ascii=False)}\n"
        for label, number in numbers.items()
    )
    has_folder = any((path / "labels") in file.parents for file in files)
    folder = "images" if has_folder else "."
    # Without a path, folders start at the file; "path: ." would be that of the process.
    head = f"train: {folder}\nval: {folder}\n"
    texts[path / "data.yaml"] = head + (f"names:\n{names}" if names else "names: []\n")
    texts[path / CLASSES] = "".join(f"{label}\n" for label in labels)
    return texts


def _label_file(image: ImageToWrite, path: Path) -> Path:
    folder = Path(os.path.abspath(path))
    if image.path.is_relative_to(folder / "images"):
        relative = "labels" / image.path.relative_to(folder / "images")
    elif image.path.is_relative_to(folder):
        relative = image.path.relative_to(folder)
    else:
        relative = Path("labels", image.name)
    return (path / relative).with_suffix(".txt")


def _line(
    instance: AnnotatedObject, numbers: dict[str, int], size: tuple[int, int]
) -> str:
    height, width = size
    x_min, y_min, x_max, y_max = instance.box
    shares = (
        (x_min + x_max) / 2 / width,
        (y_min + y_max) / 2 / height,
        (x_max - x_min) / width,
        (y_max - y_min) / height,
    )
    return (
        " ".join([str(numbers[instance.label]), *(f"{v:.10f}" for v in shares)]) + "\n"
    )


YOLO = AnnotationFormat(
    name="yolo",
    title="YOLO",
    suffixes=(".yaml", ".yml", ".txt"),
    recognises=is_yolo,
    read=read_yolo,
    write=write_yolo,
    writes_folder=True,
    has_subsets=True,
)
