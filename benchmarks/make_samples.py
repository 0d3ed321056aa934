"""Make the sample of MNIST or Fashion-MNIST that ships with the package.

    python benchmarks/make_samples.py {mnist,fashion_mnist} FOLDER [OUTPUT]

FOLDER contains the four IDX files, gzipped or not. The sample is deterministic. The
sample of MNIST has 500 training digits and 100 test digits of each class, the sample of
Fashion-MNIST 300 and 50 images. They are evenly spaced: MNIST is partly sorted by
writer and by difficulty (the first half of its test set is easier), so its first digits
would be a biased sample.
"""

import argparse
from pathlib import Path

import numpy as np

from sklearn_similar.datasets import fetch_mnist

FOLDER = Path(__file__).parents[1] / "sklearn_similar/datasets/data"
# Training and test images of each class.
SIZES = {"mnist": (500, 100), "fashion_mnist": (300, 50)}


def evenly_spaced(labels, n_per_class):
    """Return the sorted indices of `n_per_class` images of each class."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    selected = [c[np.arange(n_per_class) * len(c) // n_per_class] for c in classes]
    return np.sort(np.concatenate(selected))


def make_sample(folder, output, n_train_per_class, n_test_per_class):
    """Write the sample of the IDX files in `folder` to `output`."""
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
    parser.add_argument("name", choices=SIZES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    arguments = parser.parse_args()
    output = arguments.output or FOLDER / f"{arguments.name}_sample.npz"
    make_sample(arguments.folder, output, *SIZES[arguments.name])
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
