"""The commands of ``python -m sklearn_similar``."""

import argparse
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import __version__
from ._images.files import (
    ImageFiles,
    find_image_files,
    find_labelled_files,
    import_pillow,
    read_crops,
)
from ._images.messages import count, shape_text
from ._images.transparency import fill_for
from ._localizer import InstanceLocalizer
from ._network.pretrained import PRETRAINED
from ._saving.files import check_can_write, write_all
from ._saving.persistence import load, save
from ._search.detections import detections_table
from .datasets._dump_annotations import annotation_texts
from .datasets._formats import FORMATS
from .datasets._load_annotations import load_annotations
from .report._contents import report_contents
from .report._report import render

_PROGRAM = "python -m sklearn_similar"
_TRAINING_PARAMETERS = (
    "n_instance_crops",
    "n_background_crops",
    "n_mining_rounds",
    "rotation",
    "backbone",
)
# Options of train that act on crops alone, and on photographs alone; None by default.
_OF_CROPS = ("dark", "size", "n_instance_crops", "n_background_crops", "rotation")
_OF_PHOTOGRAPHS = ("backbone", "partial")
_OK, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code.

    Wrong usage raises `SystemExit` with the code 2. Errors that a user can correct are
    one line on stderr, with the code 1.
    """
    options = _parser().parse_args(arguments)
    try:
        with _warnings_as_lines():
            import_pillow(f"{_PROGRAM} {options.command}")
            options.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except MemoryError:
        return _fail("out of memory")
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _fail(str(error) or type(error).__name__)
    return _OK


def _fail(message: str) -> int:
    print(f"error: {_one_line(message)}", file=sys.stderr)
    return _FAILED


def _one_line(text: str) -> str:
    # Names of files may contain line breaks and bytes that no encoding can represent.
    return " ".join(text.split()).encode(errors="backslashreplace").decode()


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print each warning once, as one line on stderr."""
    printed = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = _one_line(str(message))
        if text not in printed:
            printed.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        # Otherwise, a warning is shown once for each place in the code.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _integer(minimum: int, limit: float, text: str) -> int:
    if not text.isdecimal() or not minimum <= int(text) < limit:
        below = "" if math.isinf(limit) else f" and < {limit:.0f}"
        raise argparse.ArgumentTypeError(
            f"{text!r} must be an integer >= {minimum}{below}"
        )
    return int(text)


_POSITIVE = partial(_integer, 1, math.inf)
_NOT_NEGATIVE = partial(_integer, 0, math.inf)
_SEED = partial(_integer, 0, 2**32)
_METAVARS: dict[Any, str] = {Path: "PATH", float: "X"}
# Names, types and help texts of the options that take a value.
_TRAIN_OPTIONS = (
    ("--annotations", Path, "file or folder with the boxes of objects in photographs"),
    ("--background", Path, "folder of images without instances"),
    ("--size", _POSITIVE, "scale crops to N x N (default: 28 if their sizes differ)"),
    ("--n-instance-crops", _POSITIVE, "maximum number of crops (default: by data)"),
    ("--n-background-crops", _POSITIVE, "maximum number of crops (default: by data)"),
    ("--n-mining-rounds", _NOT_NEGATIVE, "rounds of hard-negative mining (default: 2)"),
    ("--rotation", float, "maximum rotation of instances in degrees (default: 10)"),
    ("--random-state", _SEED, "seed"),
)
_LOCALIZE_OPTIONS = (
    ("--report", Path, "HTML page to write, with pictures"),
    ("--score-threshold", float, "minimum score, from 0 to 1 (default: the model's)"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Detect and recognise instances in images, learnt from crops.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="learn from a folder of crops for each label, or from boxes",
        description="Learn to find instances from crops, a folder for each label; or "
        "with --annotations, from boxes in photographs.",
    )
    train.set_defaults(run=_train, usage_error=train.error)
    train.add_argument(
        "images",
        type=Path,
        help="folder with a folder of crops for each label, or folder of photographs",
    )
    train.add_argument("model", type=Path, help="file to write, such as m.safetensors")
    train.add_argument(
        "--dark",
        action="store_true",
        default=None,
        help="instances are dark on light, in crops and images",
    )
    train.add_argument(
        "--partial",
        action="store_true",
        default=None,
        help="some objects in the photographs have no boxes",
    )
    train.add_argument(
        "--backbone",
        choices=sorted(PRETRAINED),
        help="pretrained network (default: a small network learns the photographs)",
    )
    train.add_argument("-v", "--verbose", action="store_true", help="show progress")

    localize = commands.add_parser(
        "localize",
        help="find instances in a folder of images",
        description="Find instances in images and write a table of them.",
    )
    localize.set_defaults(run=_localize)
    localize.add_argument("model", type=Path, help="file that train or save wrote")
    localize.add_argument("images", type=Path, help="folder of images, or one image")
    localize.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="CSV file to write"
    )
    localize.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="write a file for an annotation tool to --out in place of a CSV "
        "file; voc, yolo and labelme write a folder",
    )
    for command, options in ((train, _TRAIN_OPTIONS), (localize, _LOCALIZE_OPTIONS)):
        for name, kind, text in options:
            metavar = _METAVARS.get(kind, "N")
            command.add_argument(name, type=kind, metavar=metavar, help=text)
    return parser


def _train(options: argparse.Namespace) -> None:
    of_crops = options.annotations is None
    for name in _OF_PHOTOGRAPHS if of_crops else _OF_CROPS:
        if getattr(options, name) is not None:
            fact = "needs" if of_crops else "has no effect with"
            options.usage_error(f"--{name.replace('_', '-')} {fact} --annotations")
    check_can_write(options.model)
    background = None
    if options.background is not None:
        background = list(ImageFiles(find_image_files(options.background)))
    given = {
        name: getattr(options, name)
        for name in _TRAINING_PARAMETERS
        if getattr(options, name) is not None
    }
    localizer = InstanceLocalizer(
        polarity="dark" if options.dark else "bright",
        annotation="partial" if options.partial else "complete",
        crop_size=options.size,
        random_state=options.random_state,
        verbose=int(options.verbose),
        **given,
    )
    read = _read_crops if of_crops else _read_photographs
    X, y = read(options)
    localizer.fit(X, y, background).set_params(verbose=0)
    save(localizer, options.model)
    print(f"wrote {options.model}")


def _read_crops(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Crops of one size, and their labels."""
    by_label = dict(find_labelled_files(options.images))
    files = [file for members in by_label.values() for file in members]
    labels = np.repeat(list(by_label), [len(members) for members in by_label.values()])
    crops, are_scaled = read_crops(files, options.size, is_dark=bool(options.dark))
    print(
        f"learning {count(len(by_label), 'label')} from {count(len(crops), 'crop')} of "
        f"{shape_text(crops.shape[1:3])} pixels{' (scaled)' if are_scaled else ''}",
        flush=True,
    )
    return crops, labels


def _read_photographs(options: argparse.Namespace) -> tuple[list[Path], pd.DataFrame]:
    """The paths of photographs, and the table of their objects."""
    paths, instances = load_annotations(options.annotations, options.images)
    print(
        f"learning {count(instances['label'].nunique(), 'label')} from "
        f"{count(len(instances), 'object')} in {count(len(paths), 'photograph')}",
        flush=True,
    )
    return paths, instances


def _localize(options: argparse.Namespace) -> None:
    localizer = _load_localizer(options.model)
    if options.score_threshold is not None:
        localizer.set_params(score_threshold=options.score_threshold)
    paths = find_image_files(options.images)
    # Raises before the search if the results could not be written.
    files = _table_files(options, paths, detections_table([], localizer.classes_))
    if options.report is not None:
        check_can_write(options.report)
        if options.report.resolve() in {file.resolve() for file in files}:
            raise ValueError(
                f"--out and --report would both write {str(options.report)!r}; pass "
                "two names."
            )
    instances = localizer.localize(paths)
    files = _table_files(options, paths, instances)
    written = [options.out]
    if options.report is not None:
        images = ImageFiles(paths, fill_for(localizer))
        names = _names(options, paths)
        contents = report_contents(localizer, images, None, names, instances)
        files[options.report] = render(contents)
        written.append(options.report)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    write_all(files)
    print(
        f"found {count(len(instances), 'instance')} in {count(len(paths), 'image')}; "
        f"wrote {' and '.join(map(str, written))}"
    )


def _load_localizer(model: Path) -> InstanceLocalizer:
    localizer = load(model)
    if not isinstance(localizer, InstanceLocalizer):
        raise ValueError(
            f"{str(model)!r} holds a {type(localizer).__name__}; pass a file "
            "of an InstanceLocalizer, as train writes it."
        )
    return localizer


def _names(options: argparse.Namespace, paths: list[Path]) -> list[str]:
    """The paths of images relative to the folder that is searched."""
    folder = options.images if options.images.is_dir() else options.images.parent
    return [path.relative_to(folder).as_posix() for path in paths]


def _table_files(
    options: argparse.Namespace, paths: list[Path], instances: pd.DataFrame
) -> dict[Any, bytes]:
    """The content of each file of detections, after checks that it can be written."""
    if options.format is None:
        check_can_write(options.out)
        return {options.out: _csv(instances, _names(options, paths))}
    try:
        texts = annotation_texts(options.out, paths, instances, format=options.format)
    except FileExistsError as error:
        # Boxes may have been corrected in it.
        file, _, _ = str(error).partition(";")
        raise ValueError(f"{file}; remove it, or pass another --out.") from error
    return {file: text.encode() for file, text in texts.items()}


def _csv(instances: pd.DataFrame, names: list[str]) -> bytes:
    named = instances.assign(image=[names[number] for number in instances["image"]])
    text = named.to_csv(index=False, lineterminator="\n")
    # Names of files that are not in UTF-8 keep their bytes.
    return text.encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    sys.exit(main())
