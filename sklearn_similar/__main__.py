"""The command ``sklearn-similar``, which is also ``python -m sklearn_similar``."""

import argparse
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import __version__
from ._commands import localize, report, train
from ._images.files import import_pillow
from ._network.pretrained import PRETRAINED
from .datasets._formats import FORMATS

_OK, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code.

    Wrong usage raises `SystemExit` with the code 2. Errors that a user can correct are
    one line on stderr, with the code 1.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with _warnings_as_lines():
            import_pillow(f"{parser.prog} {options.command}")
            print(_one_line(options.run(options)))
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
            # Above a progress bar, if there is one.
            tqdm.write(f"warning: {text}", file=sys.stderr)

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
    ("--report", Path, "HTML page to write, too, with pictures"),
    ("--nms-threshold", float, "maximum overlap (IoU) of two detections"),
    ("--n-jobs", int, "number of processes; -1 is one for each core"),
)
# Parameters of the localizer that act in a search; None leaves the model's.
_SEARCH_OPTIONS = (
    ("--score-threshold", float, "minimum score, from 0 to 1 (default: the model's)"),
    ("--min-size", float, "minimum length of the longer side of a box in pixels"),
    ("--max-size", float, "maximum length of the longer side of a box in pixels"),
)
_REPORT_OPTIONS = (
    ("--annotations", Path, "file or folder with the true boxes of the objects"),
)


def _program() -> str:
    """The name by which the command was started."""
    name = Path(sys.argv[0]).stem
    return name if name == "sklearn-similar" else "python -m sklearn_similar"


def _arguments_of_line(arg_line: str) -> list[str]:
    """The argument of a line of a file of arguments; none of a blank line."""
    return [arg_line] if arg_line.strip() else []


def _path(text: str) -> Path:
    """A path of the command line; an empty one would name the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a path is empty")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="Detect and recognise objects in images, learnt from crops or "
        "from boxes.",
        epilog="@FILE stands for the arguments in the lines of a file.",
        fromfile_prefix_chars="@",
    )
    parser.convert_arg_line_to_args = _arguments_of_line  # type: ignore[method-assign]
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_localize(commands)
    _add_report(commands)
    return parser


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="learn from a folder of crops for each label, or from boxes",
        description="Learn to find objects from crops, a folder for each label; or "
        "with --annotations, from boxes in photographs.",
    )
    command.set_defaults(run=train, usage_error=command.error)
    command.add_argument(
        "images",
        type=_path,
        help="folder with a folder of crops for each label, or folder of photographs",
    )
    command.add_argument(
        "model",
        type=_path,
        nargs="?",
        help="file to write (default: model.safetensors, if it does not exist)",
    )
    command.add_argument(
        "--dark",
        action="store_true",
        default=None,
        help="objects are dark on light, in crops and images",
    )
    command.add_argument(
        "--partial",
        action="store_true",
        default=None,
        help="some objects in the photographs have no boxes",
    )
    command.add_argument(
        "--backbone",
        choices=sorted(PRETRAINED),
        help="pretrained network (default: a small network learns the photographs)",
    )
    command.add_argument(
        "--subset",
        choices=("train", "val", "test"),
        help="the part of a YOLO data set to learn from (default: all parts)",
    )
    command.add_argument(
        "--value-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="values of pixels that become 0 and 1 (default: learnt)",
    )
    _add_values(command, _TRAIN_OPTIONS)
    _add_progress(command)


def _add_localize(commands: Any) -> None:
    command = commands.add_parser(
        "localize",
        help="find objects in images",
        description="Find objects in images and write a table of them.",
    )
    command.set_defaults(run=localize)
    _add_model_and_images(command)
    command.add_argument(
        "--out",
        type=_path,
        metavar="PATH",
        help="CSV file to write (default: instances.csv, if it does not exist)",
    )
    command.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="write a file for an annotation tool to --out in place of a CSV "
        "file; voc, yolo and labelme write a folder",
    )
    _add_values(command, _LOCALIZE_OPTIONS)
    _add_search(command)


def _add_report(commands: Any) -> None:
    command = commands.add_parser(
        "report",
        help="write an HTML page with the predictions for images",
        description="Write an HTML page with images and what a model finds in them.",
    )
    command.set_defaults(run=report, usage_error=command.error)
    _add_model_and_images(command)
    command.add_argument(
        "--out",
        type=_path,
        metavar="PATH",
        help="HTML file to write (default: report.html, if it does not exist)",
    )
    command.add_argument(
        "--labelled",
        action="store_true",
        help="for a classifier: images are in a folder for each true label",
    )
    _add_values(command, _REPORT_OPTIONS)
    _add_search(command)


def _add_model_and_images(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=_path, help="file that train or save wrote")
    command.add_argument(
        "images",
        type=_path,
        nargs="+",
        help="folders of images, which are searched with their subfolders, or images",
    )


def _add_search(command: argparse.ArgumentParser) -> None:
    _add_values(command, _SEARCH_OPTIONS)
    command.add_argument(
        "--polarity",
        choices=("bright", "dark", "both"),
        help="whether objects are bright as in training, dark, or either",
    )
    _add_progress(command)


def _add_progress(command: argparse.ArgumentParser) -> None:
    progress = command.add_mutually_exclusive_group()
    progress.add_argument(
        "-v", "--verbose", action="store_true", help="show progress, also in a file"
    )
    progress.add_argument(
        "-q", "--quiet", action="store_true", help="show no progress in a terminal"
    )


def _add_values(command: argparse.ArgumentParser, options: tuple) -> None:
    for name, kind, text in options:
        metavar = _METAVARS.get(kind, "N")
        command.add_argument(name, type=kind, metavar=metavar, help=text)


if __name__ == "__main__":
    sys.exit(main())
