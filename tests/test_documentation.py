"""Figures in the documentation are those of the tables that benchmarks have written."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def cells(name, column, **where):
    """Figures of a column, in the order of the last of the values that choose rows."""
    table = pd.read_csv(ROOT / "benchmarks" / "results" / f"{name}.csv")
    *fixed, (key, values) = [(key.replace("_", " "), where[key]) for key in where]
    for other, value in fixed:
        table = table[table[other] == value]
    return list(table.set_index(key).loc[values, column])


LENET = {"setup": "LeNet, MNIST digits"}
ON_BLACK = {
    "scenes": "black, 1 digit, bright, 0.8-2",
    "method": ["default", "without background"],
}
FIGURES = {
    "time of the importances beside other methods": (
        "docs/comparison.rst",
        "running the whole network takes {:.1f} times as long as ours and captum "
        "{:.1f} times; a loop that keeps the activations and runs only what follows "
        "them, {:.1f} times",
        lambda: cells(
            "ablation",
            "x fit_importance",
            method=[
                "whole network per filter",
                "captum LayerFeatureAblation",
                "head per filter",
            ],
        ),
    ),
    "time of the importances": (
        "README.md",
        "importances of all 16 filters of LeNet, 10,000 images | {:.2f} s | {:.1f} s |",
        lambda: cells(
            "baselines-importances",
            "seconds",
            **LENET,
            method=["fit_importance", "captum LayerFeatureAblation"],
        ),
    ),
    "time of a heatmap": (
        "README.md",
        "LeNet; a ResNet | {:.1f}; {:.1f} |",
        lambda: cells(
            "speed",
            "ratio",
            beside="torchcam GradCAM",
            what=[
                "heatmap of a label, LeNet, 1 image",
                "heatmap of a label, SmallResNet, 1 image",
            ],
        ),
    ),
    "time of training": (
        "docs/install.rst",
        "trains on all 60,000 digits of MNIST in {:.0f} seconds",
        lambda: cells(
            "accuracy",
            "seconds",
            recipe="defaults",
            digit="all",
            training_images=[60_000],
        ),
    ),
    "heatmaps of networks with and without background": (
        "docs/user_guide/localization.rst",
        "MaxBoxAccV2 is {:.2f} with it and {:.2f} without, and the peak lies in the "
        "box in {:.0f} and {:.0f} % of the images",
        lambda: [
            *cells("localization", "MaxBoxAccV2", **ON_BLACK),
            *(100 * share for share in cells("localization", "pointing", **ON_BLACK)),
        ],
    ),
}


@pytest.mark.parametrize(("page", "sentence", "figures"), FIGURES.values(), ids=FIGURES)
def test_figures_are_those_of_the_benchmark(page, sentence, figures):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert sentence.format(*figures()) in text
