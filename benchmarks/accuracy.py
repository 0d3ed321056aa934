"""Accuracy on MNIST's test set, for each digit, beside the paper's Table 2.

    tox -e benchmark-accuracy            (about 4 minutes on 2 cores)
    tox -e benchmark-accuracy -- --quick

The paper's recipe: LeNet trained on all 60,000 training images, Adam, learning rate
0.001 with decay 0.00001 per update, batches of 300, 10 epochs. These are the defaults,
but for validation_fraction=None, which trains on all images. The table shows how much
of each digit's test images (10,000 in all) is recognised, in percent: mean, standard
deviation, least and greatest over 3 seeds. Nothing is chosen on the test images.
"""

import time

import numpy as np
from _common import load_mnist, parse_arguments, report

from sklearn_similar import SimilarNetClassifier

PAPER = {
    "0": 99.59,
    "1": 99.47,
    "2": 99.90,
    "3": 98.51,
    "4": 99.08,
    "5": 98.32,
    "6": 98.23,
    "7": 98.64,
    "8": 97.43,
    "9": 97.92,
    "all": 98.73,
}


def percentages(y_true, y_predicted) -> dict[str, float]:
    """Percent of the images of each class, and of all, that are recognised."""
    right = np.asarray(y_true) == np.asarray(y_predicted)
    by_class = {str(c): 100 * right[y_true == c].mean() for c in np.unique(y_true)}
    return {**by_class, "all": 100 * right.mean()}


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    seeds, recipe = range(3), {}
    if arguments.quick:
        seeds, recipe = range(2), {"max_epochs": 2, "batch_size": 50}
    found = []
    for seed in seeds:
        start = time.perf_counter()
        model = SimilarNetClassifier(
            validation_fraction=None, random_state=seed, **recipe
        ).fit(mnist.X_train, mnist.y_train)
        seconds = time.perf_counter() - start
        found.append(percentages(mnist.y_test, model.predict(mnist.X_test)))
        print(f"seed {seed}: {found[-1]['all']:.2f} %, trained in {seconds:.0f} s")
    rows = []
    for name in found[0]:
        ours = np.array([result[name] for result in found])
        rows.append(
            {
                "digit": name,
                "paper": PAPER[name],
                "mean": ours.mean().round(3),
                "std": ours.std(ddof=1).round(3),
                "min": ours.min().round(2),
                "max": ours.max().round(2),
                "seeds": len(seeds),
                "training images": len(mnist.y_train),
            }
        )
    print()
    report("accuracy", rows, arguments.quick)


if __name__ == "__main__":
    main()
