"""Arguments, data, timing, tables and CSV files for all benchmarks."""

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
from _provenance import current_commit, read_results
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
    """Parse the arguments that all benchmarks share; `doc` is the module docstring.

    `choices` are further options of a benchmark and their values; the default of an
    option is all of its values.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few images and repeats, as a smoke test; results go to results/quick",
    )
    parser.add_argument(
        "--data-home",
        type=Path,
        help="folder with MNIST's IDX files "
        "(default: SKLEARN_SIMILAR_DATA, else OpenML)",
    )
    parser.add_argument(
        "--fashion-home",
        type=Path,
        help="folder with Fashion-MNIST's IDX files, for benchmarks that use them "
        "(default: the folder of Debian's package, else OpenML)",
    )
    for name, values in (choices or {}).items():
        parser.add_argument(f"--{name}", nargs="+", choices=values, default=values)
    return parser.parse_args(argv)


def load_mnist(arguments: argparse.Namespace) -> Bunch:
    """All of MNIST; with --quick, 5,000 and 1,000 images without a download."""
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
    """Convert 8-bit grey or colour images to floats, n x channels x height x width."""
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
    """Versions of packages, and numbers of cores and threads."""
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
    """Duration of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleave(
    functions: Mapping[str, Callable[[], object]], n_repeats: int
) -> dict[str, np.ndarray]:
    """Seconds of each function in each of n_repeats rounds; functions take turns.

    A slow phase of the machine then affects all functions alike. Every other round
    runs in reverse order, so that no function always follows the same predecessor.
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
    """Name of the fastest function, and the minimum seconds of each function."""
    seconds = interleave(candidates, n_repeats)
    minimum = {name: float(times.min()) for name, times in seconds.items()}
    return min(minimum, key=minimum.__getitem__), minimum


def median_ratio(seconds: np.ndarray, reference: np.ndarray) -> float:
    """Median of the ratios within each round."""
    return float(np.median(seconds / reference))


def with_slopes(
    rows: Sequence[Mapping[str, object]], by: Sequence[str], count: str
) -> pd.DataFrame:
    """Rows with the slope of the logarithm of "seconds" over that of a count.

    The slope is fitted to the rows with equal values of the columns `by`. It is 1 if
    the time doubles with the count, and 0 if it is constant.
    """
    table = pd.DataFrame(rows)
    for _, group in table.groupby(list(by)):
        logarithms = np.log(group[count]), np.log(group["seconds"])
        table.loc[group.index, "slope"] = np.polyfit(*logarithms, 1)[0]
    return table


def report(
    name: str,
    rows: Sequence[Mapping[str, object]],
    quick: bool,
    results: Path = RESULTS,
    packages: Iterable[str] = (),
    replace_by: str | list[str] | None = None,
) -> Path:
    """Print rows as a table and write them, with machine and commit, to <name>.csv.

    `replace_by` is a column, or several: only rows of the file with the same values in
    them are replaced.
    """
    machine_columns = machine(packages)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, na_rep="", float_format="{:.4g}".format))
    folder = results / "quick" if quick else results
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    table = table.assign(**machine_columns, commit=current_commit())
    if replace_by and path.exists():
        previous = read_results(path)
        columns = [replace_by] if isinstance(replace_by, str) else replace_by
        replaced = pd.MultiIndex.from_frame(table[columns])
        is_replaced = pd.MultiIndex.from_frame(previous[columns]).isin(replaced)
        table = pd.concat([previous[~is_replaced], table], ignore_index=True)
    table.to_csv(path, index=False, float_format="%.6g")
    versions = ", ".join(f"{key} {value}" for key, value in machine_columns.items())
    print(f"\nwritten to {path}; {versions}")
    return path
