"""Train on digits that ship with the package, look at heatmaps, find digits in a photo.

    tox -e demo
    tox -e demo -- --output FOLDER

Prints the accuracy for each digit on the test part of the sample, the importance of
each filter, and a table of the digits found on a photograph, and writes pictures to
demo_output/ or another folder. Takes about a minute on 2 cores.
"""

import argparse
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.display import (
    FilterImportanceDisplay,
    HeatmapDisplay,
    InstancesDisplay,
)
from sklearn_similar.metrics import detection_scores

TARGETS = (1, 3, 7)


def train(X_train, y_train):
    """Fit, and say how long that took."""
    print(f"Training on {len(y_train):,} digits of MNIST ...", flush=True)
    start = time.perf_counter()
    model = SimilarNetClassifier(random_state=0)
    model.fit(X_train, y_train)
    print(f"... and weighing the filters took {time.perf_counter() - start:.0f} s.\n")
    return model


def accuracy_table(y_true, y_predicted):
    """Images and percent recognised, of each digit and of all."""
    right = pd.Series(y_true == y_predicted).groupby(y_true)
    table = pd.DataFrame({"images": right.size(), "recognised, %": 100 * right.mean()})
    table.loc["all"] = [len(y_true), 100 * np.mean(y_true == y_predicted)]
    return table.astype({"images": int}).rename_axis("digit").reset_index()


def filter_table(model):
    """Errors, importances and weights of the filters, the most important first."""
    table = pd.DataFrame(
        {
            "filter": np.arange(len(model.filter_errors_)),
            "error without it": model.filter_errors_,
            "importance": model.filter_importances_,
            "weight": model.filter_weights_,
        }
    )
    return table.sort_values("importance", ascending=False)


def draw(model, X_test, y_test, folder):
    """Write the pictures, and yield the path of each and what it shows."""
    first = np.array([np.flatnonzero(y_test == digit)[0] for digit in model.classes_])
    scenes, _ = make_scenes(
        X_test, y_test, n_scenes=1, size=(120, 240), n_instances=12, random_state=0
    )
    displays = {
        "heatmaps.png": (
            "a digit of each class and its heat",
            HeatmapDisplay.from_estimator(model, X_test[first], y=y_test[first]),
        ),
        "heatmap_of_a_page.png": (
            "the same on a larger image than it was trained on",
            HeatmapDisplay.from_estimator(model, scenes),
        ),
        "filter_importances.png": (
            "how much worse it gets without each filter",
            FilterImportanceDisplay.from_estimator(model),
        ),
        "filter_importances_by_class.png": (
            "the same for each digit",
            FilterImportanceDisplay.from_estimator(model, by_class=True),
        ),
    }
    for target in TARGETS:
        displays[f"heatmaps_of_{target}.png"] = (
            f"where in each digit the evidence for class {target} is",
            HeatmapDisplay.from_estimator(
                model, X_test[first], y=y_test[first], target=target
            ),
        )
    for name, (meaning, display) in displays.items():
        path = folder / name
        display.figure_.savefig(path, dpi=120)
        yield path, meaning


def find(X_train, y_train, X_test, y_test, folder):
    """Find digits on a photograph, print the table, and return the picture's path."""
    china, flower = load_sample_images().images
    network = SimilarNetClassifier(max_epochs=5)
    localizer = InstanceLocalizer(
        network, n_instance_crops=4000, n_background_crops=4000, random_state=0
    )
    start = time.perf_counter()
    localizer.fit(X_train, y_train, background_images=[flower])
    print(f"\nTraining to find them took {time.perf_counter() - start:.0f} s, ", end="")
    scenes, truth = make_scenes(
        X_test,
        y_test,
        n_scenes=1,
        size=(300, 480),
        n_instances=14,
        scale=(0.6, 3),
        background_images=[china],
        random_state=1,
    )
    start = time.perf_counter()
    instances = localizer.localize(scenes)
    print(f"finding them {time.perf_counter() - start:.2f} s.")
    print(
        f"On {len(truth)} digits on a photograph: {detection_scores(truth, instances)}"
    )
    print(instances.to_string(index=False, float_format="{:.2f}".format))
    path = folder / "instances.png"
    display = InstancesDisplay(scenes, instances).plot()
    display.figure_.savefig(path, dpi=120)
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

    X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
    model = train(X_train, y_train)
    print(f"Accuracy on {len(y_test):,} other digits:\n")
    table = accuracy_table(y_test, model.predict(X_test))
    print(table.to_string(index=False, float_format="{:.1f}".format), "\n")
    print(
        f"Log loss with all filters of {model.layer_}, on the held-out tenth of the "
        f"training digits: {model.baseline_error_:.4f}. Without a filter:\n"
    )
    print(filter_table(model).to_string(index=False, float_format="{:.4f}".format))
    print(f"\nPictures in {folder.resolve()}:\n")
    for path, meaning in draw(model, X_test, y_test, folder):
        print(f"  {path.name}: {meaning}")
    path = find(X_train, y_train, X_test, y_test, folder)
    print(f"\nThe picture of them: {path.resolve()}")


if __name__ == "__main__":
    main()
