"""Figures, links and recipes in the documentation."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_similar.datasets import cut_instances

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
        "exact; captum takes {:.1f} s [2] | {:.2f} s for LeNet and 10,000 images [2] |",
        lambda: cells(
            "baselines-importances",
            "seconds",
            **LENET,
            method=["captum LayerFeatureAblation", "fit_importance"],
        ),
    ),
    "time of a heatmap": (
        "README.md",
        "speed",
        "(GradCAM) | {:.1f} (LeNet), {:.1f} (a ResNet) times as long [1] |",
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


def test_links_and_pictures_of_the_readme_work_outside_the_repository():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((.+?)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    files = re.findall(r"sklearn-similar/(?:blob/|tree/)?main/([^)#]+)", text)
    assert [path for path in files if not (ROOT / path).exists()] == []


def test_boxes_from_a_notebook_are_a_table_of_instances():
    widgets = pytest.importorskip("jupyter_bbox_widget", reason="draws the boxes")
    widget = widgets.BBoxWidget(classes=["coin"])
    widget.bboxes = [{"x": 2, "y": 3, "width": 9, "height": 7, "label": "coin"}]
    page = (ROOT / "docs" / "user_guide" / "annotations.rst").read_text("utf-8")
    (recipe,) = re.findall(r"   drawn = .*?\n(?:   .*\n|\n)*?   \)\n", page)
    names = {"widget": widget, "pd": pd}
    exec(textwrap.dedent(recipe), names)
    X, y = cut_instances([np.zeros((20, 20))], names["boxes"], size=8)
    assert X.shape == (1, 8, 8)
    assert list(y) == ["coin"]
    assert names["boxes"].loc[0, ["x_max", "y_max"]].tolist() == [11, 10]
