"""What each command does with its options; it returns a line about the result."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ._images.files import (
    ImageFiles,
    find_image_files,
    find_labelled_files,
    read_crops,
)
from ._images.messages import count, shape_text
from ._images.scaling import Scaling
from ._images.transparency import fill_for
from ._localizer import InstanceLocalizer
from ._saving.files import check_can_write, write_all
from ._saving.persistence import load, save
from ._search.detections import detections_table
from .datasets._dump_annotations import annotation_texts
from .datasets._load_annotations import load_annotations
from .report._contents import report_contents
from .report._report import render

_TRAINING_PARAMETERS = (
    "n_instance_crops",
    "n_background_crops",
    "n_mining_rounds",
    "rotation",
    "backbone",
    "value_range",
)
_SEARCH_PARAMETERS = (
    "score_threshold",
    "nms_threshold",
    "min_size",
    "max_size",
    "polarity",
    "n_jobs",
)
# Options of train that act on crops alone, and on photographs alone; None by default.
_OF_CROPS = ("dark", "size", "n_instance_crops", "n_background_crops", "rotation")
_OF_PHOTOGRAPHS = ("backbone", "partial", "subset")
# What localize writes in a format, if no name is given.
_SUFFIXES = {None: ".csv", "coco": ".json", "label_studio": ".json", "cvat": ".xml"}


def train(options: argparse.Namespace) -> str:
    """Fit a localizer and save it."""
    of_crops = options.annotations is None
    for name in _OF_PHOTOGRAPHS if of_crops else _OF_CROPS:
        if getattr(options, name) is not None:
            fact = "needs" if of_crops else "has no effect with"
            options.usage_error(f"--{name.replace('_', '-')} {fact} --annotations")
    model = _path_to_write(options.model, "model.safetensors", "a name for the model")
    check_can_write(model)
    _check_not_read([model], [options.images, options.annotations])
    background = None
    if options.background is not None:
        background = ImageFiles(find_image_files(options.background))
    localizer = InstanceLocalizer(
        polarity="dark" if options.dark else "bright",
        annotation="partial" if options.partial else "complete",
        crop_size=options.size,
        random_state=options.random_state,
        verbose=_verbose(options),
        **_given(options, _TRAINING_PARAMETERS),
    )
    read = _read_crops if of_crops else _read_photographs
    X, y = read(options)
    localizer.fit(X, y, background).set_params(verbose=0)
    save(localizer, model)
    return f"wrote {model}"


def _read_crops(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Crops of one size, and their labels."""
    files, labels = _labelled_files(options.images)
    scaling = Scaling.given(options.value_range)
    crops, are_scaled = read_crops(
        files, options.size, is_dark=bool(options.dark), scaling=scaling
    )
    print(
        f"learning {count(len(set(labels)), 'label')} from "
        f"{count(len(crops), 'crop')} of "
        f"{shape_text(crops.shape[1:3])} pixels{' (scaled)' if are_scaled else ''}",
        flush=True,
    )
    return crops, labels


def _labelled_files(folder: Path) -> tuple[list[Path], np.ndarray]:
    """The images in the class folders of a folder, and their labels."""
    by_label = dict(find_labelled_files(folder))
    files = [file for members in by_label.values() for file in members]
    labels = np.repeat(list(by_label), [len(members) for members in by_label.values()])
    return files, labels


def _read_photographs(options: argparse.Namespace) -> tuple[list[Path], pd.DataFrame]:
    """The paths of photographs, and the table of their objects."""
    paths, instances = load_annotations(
        options.annotations, options.images, subset=options.subset
    )
    print(
        f"learning {count(instances['label'].nunique(), 'label')} from "
        f"{count(len(instances), 'object')} in {count(len(paths), 'photograph')}",
        flush=True,
    )
    return paths, instances


def localize(options: argparse.Namespace) -> str:
    """Search images, and write the table and a report."""
    localizer = _load_localizer(options.model)
    _set_parameters(localizer, options)
    default = f"instances{_SUFFIXES.get(options.format, '')}"
    options.out = _path_to_write(options.out, default, "--out")
    paths = _image_paths(options.images)
    # Raises before the search if the results could not be written.
    files = _table_files(options, paths, detections_table([], localizer.classes_))
    if options.report is not None:
        check_can_write(options.report)
        if options.report.resolve() in {file.resolve() for file in files}:
            raise ValueError(
                f"--out and --report would both write {str(options.report)!r}; pass "
                "two names."
            )
    reports = [] if options.report is None else [options.report]
    _check_not_read([*files, *reports], [options.model, *paths])
    instances = localizer.localize(paths)
    localizer.set_params(verbose=0)
    files = _table_files(options, paths, instances)
    written = [options.out]
    if options.report is not None:
        names = _names(options.images, paths)
        files[options.report] = _page(localizer, paths, names, None, instances)
        written.append(options.report)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    write_all(files)
    return (
        f"found {count(len(instances), 'instance')} in {count(len(paths), 'image')}; "
        f"wrote {' and '.join(map(str, written))}"
    )


def report(options: argparse.Namespace) -> str:
    """Write a page with the predictions of a localizer or classifier."""
    out = _path_to_write(options.out, "report.html", "--out")
    check_can_write(out)
    estimator = load(options.model)
    finds_objects = isinstance(estimator, InstanceLocalizer)
    if finds_objects and options.labelled:
        options.usage_error("--labelled is for classifiers; pass --annotations")
    if not finds_objects and options.annotations is not None:
        options.usage_error("--annotations is for localizers; pass --labelled")
    if (options.labelled or options.annotations) and len(options.images) > 1:
        options.usage_error("pass one folder of images, as their truth is given")
    truth: Any = None
    if options.annotations is not None:
        paths, truth = load_annotations(options.annotations, options.images[0])
        truth["label"] = _labels_of_classes(truth["label"], estimator.classes_)
    elif options.labelled:
        paths, labels = _labelled_files(options.images[0])
        truth = _labels_of_classes(labels, estimator.classes_)
    else:
        paths = _image_paths(options.images)
    _check_not_read([out], [options.model, options.annotations, *paths])
    _set_parameters(estimator, options)
    instances = None
    if finds_objects:
        instances = estimator.localize(paths)
        estimator.set_params(verbose=0)
    names = _names(options.images, paths)
    write_all({out: _page(estimator, paths, names, truth, instances)})
    return f"wrote {out}"


def _check_not_read(written: list[Path], read: list[Path | None]) -> None:
    """Raise ValueError for a file that a command would read and write."""
    inputs = {path.resolve() for path in read if path is not None}
    for path in written:
        if path.resolve() in inputs:
            raise ValueError(
                f"{str(path)!r} is read by this command, which would replace it; pass "
                "another name to write."
            )


def _labels_of_classes(labels: Any, classes: np.ndarray) -> list:
    """Text as the labels of a model: numbers, if it was trained with numbers."""
    known = {str(label): label for label in classes.tolist()}
    unknown = sorted({str(label) for label in labels} - set(known))
    are_text = all(isinstance(label, str) for label in known.values())
    if unknown and not are_text:
        raise ValueError(
            f"The label {unknown[0]!r} is not the name of a class of the model: "
            f"{', '.join(known)}."
        )
    return [known.get(label, label) for label in labels]


def _page(
    estimator: Any,
    paths: list[Path],
    names: list[str],
    truth: Any,
    instances: pd.DataFrame | None,
) -> bytes:
    images = ImageFiles(paths, fill_for(estimator))
    return render(report_contents(estimator, images, truth, names, instances))


def _load_localizer(model: Path) -> InstanceLocalizer:
    localizer = load(model)
    if not isinstance(localizer, InstanceLocalizer):
        raise ValueError(
            f"{str(model)!r} holds a {type(localizer).__name__}; pass a file "
            "of an InstanceLocalizer, as train writes it."
        )
    return localizer


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """The options of some names that were given."""
    values = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _set_parameters(estimator: Any, options: argparse.Namespace) -> None:
    """Set what acts in a search; classifiers have none of it."""
    given = _given(options, _SEARCH_PARAMETERS)
    if isinstance(estimator, InstanceLocalizer):
        estimator.set_params(verbose=_verbose(options), **given)
    elif given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        options.usage_error(f"{names}: for localizers only")


def _verbose(options: argparse.Namespace) -> int:
    """1 to show progress: in a terminal, or where it is asked for."""
    return int(options.verbose or (sys.stderr.isatty() and not options.quiet))


def _path_to_write(path: Path | None, default: str, remedy: str) -> Path:
    """A given path, or a default that does not replace a file."""
    if path is not None:
        return path
    if os.path.lexists(default):
        raise ValueError(f"{default!r} exists already; remove it, or pass {remedy}.")
    return Path(default)


def _image_paths(given: list[Path]) -> list[Path]:
    """The images in folders and the images that were given, each of them once."""
    paths = [path for image in given for path in find_image_files(image)]
    return list({os.path.abspath(path): path for path in paths}.values())


def _names(given: list[Path], paths: list[Path]) -> list[str]:
    """The paths of images relative to the folder that holds all that were given."""
    folders = [path if path.is_dir() else path.parent for path in given]
    try:
        folder = os.path.commonpath([os.path.abspath(path) for path in folders])
        names = [os.path.relpath(path, folder) for path in paths]
    except ValueError:
        # On different drives of Windows.
        names = [os.path.abspath(path) for path in paths]
    return [Path(name).as_posix() for name in names]


def _table_files(
    options: argparse.Namespace, paths: list[Path], instances: pd.DataFrame
) -> dict[Any, bytes]:
    """The content of each file of detections, after checks that it can be written."""
    if options.format is None:
        check_can_write(options.out)
        return {options.out: _csv(instances, _names(options.images, paths))}
    try:
        texts = annotation_texts(options.out, paths, instances, format=options.format)
    except FileExistsError as error:
        # Boxes may have been corrected in it.
        file, _, _ = str(error).partition(";")
        raise ValueError(f"{file}; remove it, or pass another --out.") from error
    return {file: text.encode() for file, text in texts.items()}


def _csv(instances: pd.DataFrame, names: list[str]) -> bytes:
    """The table with the names of images in place of their numbers and paths."""
    named = instances.assign(image=[names[number] for number in instances["image"]])
    named = named.drop(columns="path", errors="ignore")
    text = named.to_csv(index=False, lineterminator="\n")
    # Names of files that are not in UTF-8 keep their bytes.
    return text.encode("utf-8", "surrogateescape")
