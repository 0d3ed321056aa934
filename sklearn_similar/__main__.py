"""The commands of ``python -m sklearn_similar``."""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ._images.files import (
    ImageFiles,
    find_image_files,
    find_labelled_files,
    import_pillow,
    read_crops,
)
from ._images.images import n_channels
from ._images.messages import count, shape_text
from ._localizer import InstanceLocalizer
from ._saving.files import check_can_write, write_atomically
from ._saving.persistence import load, save
from ._version import __version__
from .report._contents import report_contents
from .report._page import write_page

_PROGRAM = "python -m sklearn_similar"
_ACT_IN_TRAINING = (
    "n_instance_crops",
    "n_background_crops",
    "n_mining_rounds",
    "rotation",
)
_OK, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code.

    Wrong usage ends in `SystemExit` with the code 2. Errors that a user can mend are
    one line on stderr, and the code is 1.
    """
    options = _parser().parse_args(arguments)
    try:
        with _warnings_as_lines():
            import_pillow(f"{_PROGRAM} {options.command}")
            options.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except MemoryError:
        return _fail("memory ran out")
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _fail(str(error) or type(error).__name__)
    return _OK


def _fail(message: str) -> int:
    print(f"error: {_one_line(message)}", file=sys.stderr)
    return _FAILED


def _one_line(text: str) -> str:
    # Names of files may hold line breaks and what no encoding can write.
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
        # Without this entry, a warning is shown once for each place in the code.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Find and recognise instances in images, learnt from crops alone.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="learn from a folder of crops for each label",
        description="Learn to find instances from crops: a folder for each label.",
    )
    train.set_defaults(run=_train)
    train.add_argument("crops", type=Path, help="folder with a folder for each label")
    train.add_argument("model", type=Path, help="file to write, such as m.safetensors")
    train.add_argument(
        "--background",
        type=Path,
        metavar="FOLDER",
        help="images in which there are no instances",
    )
    train.add_argument(
        "--dark",
        action="store_true",
        help="instances are dark on light, in crops and images",
    )
    train.add_argument(
        "--size",
        type=_positive,
        metavar="N",
        help="scale crops to N x N pixels (default: as they are, or 28 if they differ)",
    )
    train.add_argument(
        "--n-instance-crops",
        type=_positive,
        metavar="N",
        help="most crops of instances to train on; fewer are faster (default: 40000)",
    )
    train.add_argument(
        "--n-background-crops",
        type=_positive,
        metavar="N",
        help="most crops of background to train on (default: 30000)",
    )
    train.add_argument(
        "--n-mining-rounds",
        type=_not_negative,
        metavar="N",
        help="searches for what is mistaken for an instance (default: 2)",
    )
    train.add_argument(
        "--rotation",
        type=float,
        metavar="DEGREES",
        help="greatest angle by which instances are turned in training (default: 10)",
    )
    train.add_argument("--random-state", type=_seed, metavar="N", help="seed")
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
        "--report", type=Path, metavar="FILE", help="HTML page to write, with pictures"
    )
    localize.add_argument(
        "--score-threshold",
        type=float,
        metavar="P",
        help="least score of an instance, from 0 to 1 (default: that of the model)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from 0 up")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from 0 to 2**32 - 1")
    return int(text)


def _train(options: argparse.Namespace) -> None:
    check_can_write(options.model)
    by_label = dict(find_labelled_files(options.crops))
    files = [file for members in by_label.values() for file in members]
    labels = np.repeat(list(by_label), [len(members) for members in by_label.values()])
    crops, are_scaled = read_crops(files, options.size, is_dark=options.dark)
    background = None
    if options.background is not None:
        background = list(ImageFiles(find_image_files(options.background), 1))
    made = {
        name: getattr(options, name)
        for name in _ACT_IN_TRAINING
        if getattr(options, name) is not None
    }
    print(
        f"learning {count(len(by_label), 'label')} from {count(len(crops), 'crop')} of "
        f"{shape_text(crops.shape[1:3])} pixels{' (scaled)' if are_scaled else ''}",
        flush=True,
    )
    localizer = InstanceLocalizer(
        polarity="dark" if options.dark else "bright",
        random_state=options.random_state,
        verbose=int(options.verbose),
        **made,
    )
    localizer.fit(crops, labels, background).set_params(verbose=0)
    save(localizer, options.model)
    print(f"wrote {options.model}")


def _localize(options: argparse.Namespace) -> None:
    check_can_write(options.out)
    if options.report is not None:
        check_can_write(options.report)
    localizer = load(options.model)
    if not isinstance(localizer, InstanceLocalizer):
        raise ValueError(
            f"{str(options.model)!r} holds a {type(localizer).__name__}; pass a file "
            "of an InstanceLocalizer, such as train writes."
        )
    if options.score_threshold is not None:
        localizer.set_params(score_threshold=options.score_threshold)
    paths = find_image_files(options.images)
    images = ImageFiles(paths, n_channels(localizer.image_shape_))
    folder = options.images if options.images.is_dir() else options.images.parent
    names = [path.relative_to(folder).as_posix() for path in paths]
    instances = localizer.localize(paths)
    _write_table(instances, names, options.out)
    written = str(options.out)
    if options.report is not None:
        contents = report_contents(localizer, images, None, names, instances)
        write_page(contents, options.report)
        written += f" and {options.report}"
    print(
        f"found {count(len(instances), 'instance')} in {count(len(paths), 'image')}; "
        f"wrote {written}"
    )


def _write_table(instances: pd.DataFrame, names: list[str], path: Path) -> None:
    named = instances.assign(image=[names[number] for number in instances["image"]])
    text = named.to_csv(index=False, lineterminator="\n")
    # A name that is not in UTF-8 is written as it is.
    write_atomically(path, text.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    sys.exit(main())
