"""Make the sample of MNIST that ships with the package, from MNIST's IDX files.

    python benchmarks/make_mnist_sample.py FOLDER [OUTPUT]

FOLDER holds the four IDX files, gzipped or not. The same files give the same sample.
The sample has 500 training digits and 100 test digits of each class, taken at even
spacing: MNIST is sorted in part by writer and by difficulty (the first half of its test
set is the easier one), so the first digits alone would be a biased sample.
"""

import argparse
from pathlib import Path

import numpy as np

from sklearn_similar.datasets import fetch_mnist

OUTPUT = (
    Path(__file__).parents[1] / "sklearn_similar/datasets/data" / "mnist_sample.npz"
)


def evenly_spaced(labels, n_per_class):
    """Return the sorted positions of `n_per_class` members of each class."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen = [m[np.arange(n_per_class) * len(m) // n_per_class] for m in members]
    return np.sort(np.concatenate(chosen))


def make_sample(folder, output, n_train_per_class=500, n_test_per_class=100):
    """Write the sample of the MNIST files in `folder` to `output`."""
    X_train, X_test, y_train, y_test = fetch_mnist(folder, return_X_y=True)
    train = evenly_spaced(y_train, n_train_per_class)
    test = evenly_spaced(y_test, n_test_per_class)
    np.savez_compressed(
        output,
        data=np.concatenate([X_train[train], X_test[test]]),
        target=np.concatenate([y_train[train], y_test[test]]),
        n_train=np.int64(len(train)),
    )


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=OUTPUT)
    arguments = parser.parse_args()
    make_sample(arguments.folder, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
