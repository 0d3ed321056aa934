"""Figures in the documentation equal those in the tables of the benchmarks."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted((ROOT / "docs" / "user_guide").glob("*.rst")),
]


def results(name):
    """A table of results; hashes stay strings, as some look like numbers."""
    return pd.read_csv(RESULTS / f"{name}.csv", dtype={"commit": str})


def text_of(page):
    """A page with all whitespace as single spaces."""
    return " ".join(page.read_text(encoding="utf-8").split())


def cells(name, column, **where):
    """Values of a column, in the order of the list given for the last condition.

    Spaces in names of columns are underscores in `where`.
    """
    table = results(name)
    *fixed, (key, values) = [(key.replace("_", " "), where[key]) for key in where]
    for fixed_key, value in fixed:
        table = table[table[fixed_key] == value]
    return list(table.set_index(key).loc[values, column])


LENET = {"setup": "LeNet, MNIST digits"}
ON_BLACK = {
    "scenes": "black, 1 digit, bright, 0.8-2",
    "method": ["default", "without background"],
}
# Rows of the table of results in the guide, and of the benchmark.
LOCALIZATION_ROWS = {
    "digits on black": "digits, black",
    "digits on dimmed photographs": "digits, photographs",
    "digits on photographs without dimming": "digits, photographs, undimmed",
    "digits on dimmed photographs, noise of 20 % of the range": (
        "digits, photographs, noise of 0.2"
    ),
    "digits drawn in lines of a pixel, 28 pixels high": (
        "digits, strokes of 1 pixel, 28 pixels"
    ),
    "digits drawn in lines of a pixel, 56 pixels high": (
        "digits, strokes of 1 pixel, 56 pixels"
    ),
    "digits drawn in lines of a pixel, 112 pixels high": (
        "digits, strokes of 1 pixel, 112 pixels"
    ),
    "touching digits": "digits, touching, overlap 0",
    "digits that overlap by two pixels": "digits, touching, overlap 2",
    "digits rotated by 20 to 30 degrees": "digits, rotated by 20-30 degrees",
    "digits rotated by 30 to 45 degrees": "digits, rotated by 30-45 degrees",
    "digits rotated by 20 to 30 degrees, trained with ``rotation=45``": (
        "digits, rotation=45, rotated by 20-30 degrees"
    ),
    "digits rotated by 30 to 45 degrees, trained with ``rotation=45``": (
        "digits, rotation=45, rotated by 30-45 degrees"
    ),
    "clothes on black": "clothes, black",
    "clothes on dimmed photographs": "clothes, photographs",
    "clothes on photographs without dimming": "clothes, photographs, undimmed",
    "tinted clothes on dimmed colour photographs": "tinted clothes, photographs",
    "tinted clothes on colour photographs without dimming": (
        "tinted clothes, photographs, undimmed"
    ),
}
FIGURES = {
    "time of the importances next to other methods": (
        "docs/comparison.rst",
        "ablation",
        "running the whole network takes {:.1f} times as long as ours and captum "
        "{:.1f} times; a loop that caches the activations and runs only the following "
        "layers takes {:.1f} times as long",
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
        "baselines-importances",
        "importances of all 16 filters of LeNet, 10,000 images [2] | {:.2f} s | "
        "{:.1f} s |",
        lambda: cells(
            "baselines-importances",
            "seconds",
            **LENET,
            method=["fit_importance", "captum LayerFeatureAblation"],
        ),
    ),
    "time of captum's heatmaps": (
        "README.md",
        "baselines-times",
        "[baselines-times.csv](benchmarks/results/baselines-times.csv)",
        list,
    ),
    "time of a heatmap": (
        "README.md",
        "speed",
        "LeNet; a ResNet [3] | {:.1f}; {:.1f} |",
        lambda: cells(
            "speed",
            "ratio",
            reference="torchcam GradCAM",
            task=[
                "heatmap of a label, LeNet, 1 image",
                "heatmap of a label, SmallResNet, 1 image",
            ],
        ),
    ),
    "time of training": (
        "docs/install.rst",
        "accuracy",
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
        "localization",
        "MaxBoxAccV2 is {:.2f} with it and {:.2f} without, and the peak lies in the "
        "box in {:.0f} and {:.0f} % of the images",
        lambda: [
            *cells("localization", "MaxBoxAccV2", **ON_BLACK),
            *(100 * share for share in cells("localization", "pointing", **ON_BLACK)),
        ],
    ),
    **{
        f"F1 of {row}": (
            "docs/user_guide/localization.rst",
            "localization-default",
            f'"{row}", {{:.3f}}, {{:.3f}}',
            lambda scenes=scenes: [
                *cells("localization-default", "F1@0.5", scenes=[scenes]),
                *cells("localization-default", "F1@0.75", scenes=[scenes]),
            ],
        )
        for row, scenes in LOCALIZATION_ROWS.items()
    },
    "false detections": (
        "docs/user_guide/localization.rst",
        "localization-default",
        "there are {:.1f} false detections per megapixel for digits, {:.1f} for "
        "clothes and {:.1f} for tinted clothes",
        lambda: cells(
            "localization-default",
            "false/MP",
            scenes=[
                f"{kind}, photographs without instances"
                for kind in ("digits", "clothes", "tinted clothes")
            ],
        ),
    ),
    "letters of a page": (
        "docs/user_guide/localization.rst",
        "localization-examples",
        "letters of other fonts detects {:.0%} of the letters",
        lambda: cells("localization-examples", "recall", example=["letters of a page"]),
    ),
    "time of several workers": (
        "docs/user_guide/distributed.rst",
        "workers",
        "two processes searched 2,000 images {:.2f} times as fast as a single worker, "
        "two Dask workers {:.2f} times, and two threads {:.2f} times",
        lambda: cells(
            "workers",
            "times as fast",
            backend=["n_jobs=2, processes", "two Dask workers", "n_jobs=2, threads"],
        ),
    ),
    "units of the costs": (
        "docs/user_guide/distributed.rst",
        "workers-units",
        "``benchmarks/results/workers-units.csv``",
        list,
    ),
    "times on a GPU": (
        "docs/user_guide/training.rst",
        "gpu",
        "was {:.0f} times as fast, prediction {:.0f} times, importances {:.0f} times, "
        "and heatmaps {:.0f} to {:.0f} times",
        lambda: cells(
            "gpu",
            "times as fast",
            network="residual network",
            task=[
                "fit, 1 epoch(s)",
                "predict_proba",
                "fit_importance",
                "heatmap of a class",
                "transform",
            ],
        ),
    ),
    "memory of large images": (
        "docs/user_guide/large_images.rst",
        "large",
        "`localize` took {:.1f} GB and `transform` {:.1f} GB",
        lambda: [
            mebibytes / 1024
            for mebibytes in cells(
                "large",
                "peak MiB",
                unit="megapixels",
                size=900,
                method=["localize", "transform"],
            )
        ],
    ),
}


def percent_with_space(text):
    """Percentages as the documentation writes them."""
    return re.sub(r"(\d)%", r"\1 %", text)


@pytest.mark.parametrize(
    ("page", "name", "sentence", "figures"), FIGURES.values(), ids=FIGURES
)
def test_figures_and_their_commit_are_those_of_the_benchmark(
    page, name, sentence, figures
):
    text = text_of(ROOT / page)
    assert percent_with_space(sentence.format(*figures())) in text
    for commit in results(name)["commit"].unique():
        assert f"`{commit}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_quoted_files_exist(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"(?:benchmarks|docs|tests)/[\w./-]+\.\w+", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
