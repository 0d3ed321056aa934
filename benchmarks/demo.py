"""Learn coins from nine crops, find all of them, and look at heatmaps of digits.

    tox -e demo
    tox -e demo -- --output FOLDER

Prints the table of the coins that are found in a photograph, writes their picture and
a report to look through in a browser, and pictures of heatmaps. Takes less than a
minute on 2 cores. README.md and the home page show two of the pictures:

    tox -e demo && cp demo_output/found.png demo_output/heatmaps.png docs/_static/
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

# Left, top and side, in pixels, of nine coins in the left half of the photograph.
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


def find_coins(folder):
    """Learn from nine coins and find all; yield the path of each picture."""
    photograph = Image.fromarray(coins())
    crops = [
        photograph.crop((x, y, x + s, y + s)).resize((28, 28)) for x, y, s in BOXES
    ]
    print(f"Learning what a coin is from {len(crops)} crops ...", flush=True)
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
    print(f"and finding {len(instances)} coins in the photograph {seconds:.2f} s:\n")
    print(instances.to_string(index=False, float_format="{:.2f}".format), "\n")
    display = InstancesDisplay.from_predictions([photograph], instances)
    yield (
        save(display, folder / "found.png"),
        "the photograph with what was found in it",
    )
    path = folder / "report.html"
    write_report(localizer, [photograph], path, image_names=["coins"])
    yield path, "a report to look through in a browser"


def look_at_digits(folder):
    """Learn digits; yield pictures of their heat and of the filters' importances."""
    X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
    print(f"\nLearning the digits from {len(y_train):,} of them ...", flush=True)
    start = time.perf_counter()
    model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
    print(f"... and weighing the filters took {time.perf_counter() - start:.0f} s.")
    print(
        f"{model.score(X_test, y_test):.1%} of {len(y_test):,} others are recognised."
    )
    digits = [np.flatnonzero(y_test == label)[0] for label in model.classes_]
    display = HeatmapDisplay.from_estimator(model, X_test[digits], y=y_test[digits])
    yield save(display, folder / "heatmaps.png"), "a digit of each class and its heat"
    display = FilterImportanceDisplay.from_estimator(model)
    path = save(display, folder / "filter_importances.png")
    yield path, "how much worse it gets without each filter"


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
    # Pictures go to files, also where there is a screen.
    matplotlib.use("Agg")
    written = [*find_coins(folder), *look_at_digits(folder)]
    print(f"\nIn {folder.resolve()}:\n")
    for path, meaning in written:
        print(f"  {path.name}: {meaning}")


if __name__ == "__main__":
    main()
