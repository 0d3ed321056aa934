"""Accuracy on MNIST's test set for each digit, next to the paper's Table 2.

    tox -e benchmark-accuracy            (about 20 minutes on 2 cores)
    tox -e benchmark-accuracy -- --quick

LeNet is trained on all 60,000 training images with the paper's recipe (Adam, learning
rate 0.001 with decay 0.00001 per update, batches of 300, 10 epochs, no label smoothing)
and with the defaults (except validation_fraction=None), and on the first 5,000 images
with the defaults. The table shows the accuracy in percent for each digit on the 10,000
test images: mean, standard deviation, minimum and maximum over 5 seeds; and the mean
seconds of a fit. The defaults were chosen on held-out training images.
"""

import time

import numpy as np
from _common import PAPER_RECIPE, load_mnist, parse_arguments, report

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
    """Accuracy in percent for each class and for all images."""
    is_correct = np.asarray(y_true) == np.asarray(y_predicted)
    by_class = {str(c): 100 * is_correct[y_true == c].mean() for c in np.unique(y_true)}
    return {**by_class, "all": 100 * is_correct.mean()}


def measure(mnist, n_training, params, seeds) -> tuple[list[dict[str, float]], float]:
    """Percentages for each seed, and the mean seconds of a fit."""
    # All digits are represented, because the images are in random order.
    X, y = mnist.X_train[:n_training], mnist.y_train[:n_training]
    accuracies, seconds = [], []
    for seed in seeds:
        start = time.perf_counter()
        model = SimilarNetClassifier(
            validation_fraction=None, random_state=seed, **params
        ).fit(X, y)
        seconds.append(time.perf_counter() - start)
        accuracies.append(percentages(mnist.y_test, model.predict(mnist.X_test)))
        overall = accuracies[-1]["all"]
        print(f"seed {seed}: {overall:.2f} %, trained in {seconds[-1]:.0f} s")
    return accuracies, float(np.mean(seconds))


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    n_images = len(mnist.y_train)
    seeds, quick = range(5), {}
    if arguments.quick:
        seeds, quick = range(2), {"max_epochs": 2}
    setups = [
        ("paper's recipe", n_images, PAPER_RECIPE),
        ("defaults", n_images, {}),
        ("defaults", 5000, {}),
    ]
    rows = []
    for recipe, n_training, params in setups[: 2 if n_images <= 5000 else 3]:
        print(f"{recipe}, {n_training} images")
        accuracies, seconds = measure(mnist, n_training, params | quick, seeds)
        for name in accuracies[0]:
            ours = np.array([by_class[name] for by_class in accuracies])
            rows.append(
                {
                    "recipe": recipe,
                    "training images": n_training,
                    "digit": name,
                    "paper": PAPER[name],
                    "mean": ours.mean().round(3),
                    "std": ours.std(ddof=1).round(3),
                    "min": ours.min().round(2),
                    "max": ours.max().round(2),
                    "seeds": len(seeds),
                    "seconds": round(seconds, 1),
                }
            )
    print()
    report("accuracy", rows, arguments.quick)


if __name__ == "__main__":
    main()
