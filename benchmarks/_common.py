"""Shared by the benchmarks: arguments, data, timing, tables and CSV files."""

import argparse
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import skorch
import torch
from sklearn.utils import Bunch

from sklearn_similar.datasets import fetch_mnist, load_mnist_sample

RESULTS = Path(__file__).parent / "results"
# Parameters of `SimilarNetClassifier` for the training in the SIMILARnet paper.
PAPER_RECIPE = {
    "lr": 0.001,
    "lr_decay": 1e-5,
    "batch_size": 300,
    "net_params": {"criterion__label_smoothing": 0.0},
}


def parse_arguments(
    doc: str,
    argv: Sequence[str] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> argparse.Namespace:
    """Arguments that every benchmark takes; `doc` is its module docstring.

    `choices` are options of one benchmark: what each of them chooses from, all of it by
    default.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few images and repeats, to see that it runs; results go to results/quick",
    )
    parser.add_argument(
        "--data-home",
        type=Path,
        help="folder with MNIST's IDX files (SKLEARN_SIMILAR_DATA, else OpenML)",
    )
    parser.add_argument(
        "--fashion-home",
        type=Path,
        help="folder with Fashion-MNIST's IDX files, for the benchmarks that use it "
        "(the folder of Debian's package, else OpenML)",
    )
    for name, values in (choices or {}).items():
        parser.add_argument(f"--{name}", nargs="+", choices=values, default=values)
    return parser.parse_args(argv)


def load_mnist(arguments: argparse.Namespace) -> Bunch:
    """All of MNIST; for --quick 5,000 and 1,000 images, without a download."""
    if not arguments.quick:
        return fetch_mnist(arguments.data_home)
    if not arguments.data_home and not os.environ.get("SKLEARN_SIMILAR_DATA"):
        return load_mnist_sample()
    return first_images(fetch_mnist(arguments.data_home))


def first_images(images: Bunch, n_train: int = 5_000, n_test: int = 1_000) -> Bunch:
    """The first training and test images of a data set, and their labels."""
    sizes = {"train": n_train, "test": n_test}
    return Bunch(
        **{
            f"{values}_{part}": images[f"{values}_{part}"][:size]
            for part, size in sizes.items()
            for values in ("X", "y")
        }
    )


def as_tensors(X: np.ndarray, channels_last: bool = True) -> torch.Tensor:
    """Grey or colour images of 8 bits as floats n x channels x height x width."""
    images = torch.from_numpy(X if X.ndim == 4 else X[..., None]).permute(0, 3, 1, 2)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(torch.float32, memory_format=layout).div_(255)


def version(package: str) -> str:
    """Version of an installed package, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def machine(packages: Iterable[str] = ()) -> dict[str, str | int]:
    """Versions and processors, without which a figure says little."""
    try:
        n_cores = len(os.sched_getaffinity(0))
    except AttributeError:
        n_cores = os.cpu_count() or 1
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
        **{package: version(package) for package in packages},
        "cores": n_cores,
        "torch threads": torch.get_num_threads(),
    }


def seconds_of(function: Callable[[], object]) -> float:
    """Time that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleave(
    functions: Mapping[str, Callable[[], object]], n_repeats: int
) -> dict[str, np.ndarray]:
    """Seconds of each function, n_repeats of them, taken in turns.

    A machine that is slow for a while then slows down all of them. Every other
    round goes backwards, so that none always runs after the same one.
    """
    names = list(functions)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(n_repeats):
        for name in names if repeat % 2 == 0 else reversed(names):
            seconds[name].append(seconds_of(functions[name]))
    return {name: np.array(seconds[name]) for name in names}


def fastest(
    candidates: Mapping[str, Callable[[], object]], n_repeats: int = 2
) -> tuple[str, dict[str, float]]:
    """Name of the fastest function, and the least seconds that each took."""
    seconds = interleave(candidates, n_repeats)
    least = {name: float(times.min()) for name, times in seconds.items()}
    return min(least, key=least.__getitem__), least


def median_ratio(seconds: np.ndarray, reference: np.ndarray) -> float:
    """Median over the rounds of the ratio within a round."""
    return float(np.median(seconds / reference))


def report(
    name: str,
    rows: Sequence[Mapping[str, object]],
    quick: bool,
    results: Path = RESULTS,
    packages: Iterable[str] = (),
    keep_other: str | None = None,
) -> Path:
    """Print rows as a table and write them, with the machine, to <name>.csv.

    `keep_other` is a column: rows that the file has for other values of it remain.
    """
    found = machine(packages)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, na_rep="", float_format="{:.4g}".format))
    folder = results / "quick" if quick else results
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    table = table.assign(**found)
    if keep_other and path.exists():
        before = pd.read_csv(path)
        others = before[~before[keep_other].isin(table[keep_other])]
        table = pd.concat([others, table], ignore_index=True)
    table.to_csv(path, index=False, float_format="%.6g")
    print(f"\nwritten to {path}; {', '.join(f'{k} {v}' for k, v in found.items())}")
    return path
