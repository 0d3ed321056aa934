"""Detect coins with a localizer trained on nine crops, and draw heatmaps of digits.

    tox -e demo
    tox -e demo -- --output FOLDER

Prints the table of the detected coins and writes a picture of them, a report for a
browser, and pictures of heatmaps and filter importances. Takes about a minute on 2
cores.
"""

import argparse
import time
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from skimage.data import coins

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import (
    FilterImportanceDisplay,
    HeatmapDisplay,
    InstancesDisplay,
)
from sklearn_similar.report import write_report

# Left edge, top edge and side of nine coins in the left half of the photograph.
BOXES = [
    (20, 32, 48),
    (78, 34, 44),
    (132, 28, 48),
    (24, 103, 44),
    (82, 106, 40),
    (132, 106, 44),
    (23, 176, 42),
    (78, 174, 46),
    (132, 176, 44),
]


def detect_coins(folder):
    """Train on nine coins and detect all; yield paths and captions."""
    photograph = Image.fromarray(coins())
    crops = [
        photograph.crop((x, y, x + s, y + s)).resize((28, 28)) for x, y, s in BOXES
    ]
    print(f"Training on {len(crops)} crops of coins ...", flush=True)
    start = time.perf_counter()
    localizer = InstanceLocalizer(
        n_instance_crops=1000,
        n_background_crops=1000,
        n_mining_rounds=0,
        random_state=0,
    )
    localizer.fit(crops, ["coin"] * len(crops))
    print(f"... took {time.perf_counter() - start:.0f} s, ", end="")
    start = time.perf_counter()
    instances = localizer.localize([photograph])
    seconds = time.perf_counter() - start
    print(f"detecting {len(instances)} coins in the photograph {seconds:.2f} s:\n")
    print(instances.to_string(index=False, float_format="{:.2f}".format), "\n")
    display = InstancesDisplay.from_predictions([photograph], instances)
    yield (
        save(display, folder / "detections.png"),
        "the photograph with the detections",
    )
    path = folder / "report.html"
    write_report(localizer, [photograph], path, image_names=["coins"])
    yield path, "a report for a browser"


def explain_digits(folder):
    """Train on digits and draw heatmaps and importances; yield paths and captions."""
    X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
    print(f"\nTraining on {len(y_train):,} digits ...", flush=True)
    start = time.perf_counter()
    model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
    print(f"... including importances took {time.perf_counter() - start:.0f} s.")
    print(f"Accuracy on {len(y_test):,} test digits: {model.score(X_test, y_test):.1%}")
    digits = [np.flatnonzero(y_test == label)[0] for label in model.classes_]
    display = HeatmapDisplay.from_estimator(model, X_test[digits], y=y_test[digits])
    yield save(display, folder / "heatmaps.png"), "a heatmap for each class"
    display = FilterImportanceDisplay.from_estimator(model)
    path = save(display, folder / "filter_importances.png")
    yield path, "the increase of the error without each filter"


def save(display, path):
    """Write a picture, and return its path."""
    display.figure_.savefig(path, dpi=120, bbox_inches="tight")
    return path


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output"), help="folder for pictures"
    )
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    # Pictures are written to files, even if there is a display.
    matplotlib.use("Agg")
    written = [*detect_coins(folder), *explain_digits(folder)]
    print(f"\nIn {folder.resolve()}:\n")
    for path, caption in written:
        print(f"  {path.name}: {caption}")


if __name__ == "__main__":
    main()
