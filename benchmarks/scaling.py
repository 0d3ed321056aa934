"""Scaling of the time of the importances, of a plain loop and of a forward pass.

    tox -e benchmark-scaling             (about 10 minutes on 2 cores)
    tox -e benchmark-scaling -- --quick

Each of four series varies a single count: the number of filters, of validation images,
of linear layers after the filters, or of convolutions after the filters. In the last
series, a normalisation over all filters comes first, so all layers after the filters
run for each filter (strategy "head"). In the remaining series, only the layers after
the first linear layer do (strategy "linear").

Images are digits of the package's sample on noise, 64x64 pixels. Networks have four
convolutions and random weights, which do not affect the time. Three methods take turns,
with batches of 64 images, and the figures are medians:

- predict_proba: a forward pass without importances, for comparison;
- fit_importance: ours, including the tracing of the network and the normalisation
  constants of heatmaps, for which about 128 images pass through the layers up to the
  filters again. These take constant time, so the slope is flatter than that of the
  ablation alone;
- whole network per filter: a plain loop over the filters that sets the activation of a
  filter to zero in a hook and runs the network.

A slope is that of a straight line through the logarithms of time and count: 1 if the
time doubles with the count, 0 if it is constant.
"""

from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from _common import interleave, median_ratio, parse_arguments, report, with_slopes
from _importances import LOOP, whole_network_per_filter
from _networks import NormalizedVGG, SmallVGG
from _scenes import single_scenes
from matplotlib.ticker import NullFormatter, ScalarFormatter
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

LAYER = "features.14"
BATCH_SIZE = 64
N_FILTERS = 64
N_UNITS = 256


class Case(NamedTuple):
    """A network and a number of images; the series varies `count`."""

    series: str
    count: int
    module: type[nn.Module]
    params: dict
    n_images: int


def cases(quick):
    """All cases, series by series."""
    n_images = 8 if quick else 128
    filters = (16, 32) if quick else (16, 32, 64, 128, 256, 512)
    images = (8, 16) if quick else (16, 64, 256, 1024)
    n_linear = (1, 2) if quick else (1, 2, 3, 4, 5)
    n_convolutions = (1, 2) if quick else (1, 2, 4, 8, 16)
    for n in filters:
        yield Case("filters", n, SmallVGG, {"n_filters": n}, n_images)
    for n in images:
        yield Case("validation images", n, SmallVGG, {"n_filters": N_FILTERS}, n)
    for n in n_linear:
        params = {"n_filters": N_FILTERS, "n_hidden": (N_UNITS,) * (n - 1)}
        yield Case("linear layers", n, SmallVGG, params, n_images)
    for n in n_convolutions:
        params = {"n_filters": N_FILTERS, "n_convolutions": n}
        yield Case("convolutions", n, NormalizedVGG, params, n_images)


def rows_of(case, scenes, n_repeats):
    """A row for each method."""
    part = scenes.first(case.n_images)
    X, y = part.images, part.labels
    model = SimilarNetClassifier(
        case.module,
        LAYER,
        max_epochs=0,
        batch_size=BATCH_SIZE,
        validation_fraction=None,
        net_params={f"module__{name}": value for name, value in case.params.items()},
        random_state=0,
    )
    # Fitted on all scenes, so that the number of classes is constant.
    model.fit(scenes.images, scenes.labels).fit_importance(X, y)
    loop = partial(
        whole_network_per_filter,
        model.net_.module_,
        LAYER,
        case.params["n_filters"],
        batch_size=BATCH_SIZE,
    )
    methods = {
        "predict_proba": lambda: model.predict_proba(X),
        "fit_importance": lambda: model.fit_importance(X, y),
        LOOP: lambda: loop(X, y),
    }
    methods["predict_proba"]()
    seconds = interleave(methods, n_repeats)
    return [
        {
            "series": case.series,
            "count": case.count,
            "method": name,
            "seconds": np.median(spent),
            "x predict_proba": median_ratio(spent, seconds["predict_proba"]),
            "filters": case.params["n_filters"],
            "images": case.n_images,
            "strategy": model.ablation_method_ if name == "fit_importance" else "",
            "repeats": n_repeats,
        }
        for name, spent in seconds.items()
    ]


def draw(table, path):
    """Draw a panel for each series with a line for each method."""
    all_series = table.groupby("series", sort=False)
    figure, axes = plt.subplots(
        1, len(all_series), figsize=(3.6 * len(all_series), 4.4), layout="constrained"
    )
    for ax, (series, rows) in zip(axes, all_series, strict=True):
        for method, line in rows.groupby("method", sort=False):
            label = f"{method}, {line['slope'].iloc[0]:.2f}"
            ax.loglog(line["count"], line["seconds"], "o-", label=label)
        counts = sorted(set(rows["count"]))
        ax.set_xticks(counts, labels=counts)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.set(title=series, xlabel="number", ylabel="seconds")
        ax.legend(
            title="method, slope",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            fontsize="small",
            title_fontsize="small",
        )
    figure.savefig(path, dpi=80)
    print(f"picture in {path}")


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    digits = load_mnist_sample()
    all_cases = list(cases(arguments.quick))
    n_scenes = max(case.n_images for case in all_cases)
    scenes = single_scenes(digits.X_train, digits.y_train, max(n_scenes, 100), None, 0)
    rows = []
    for case in all_cases:
        rows_of_case = rows_of(case, scenes, 2 if arguments.quick else 3)
        rows += rows_of_case
        spent = ", ".join(f"{r['method']} {r['seconds']:.3g} s" for r in rows_of_case)
        print(f"{case.series} {case.count}: {spent}", flush=True)
    table = with_slopes(rows, by=["series", "method"], count="count")
    print()
    path = report("scaling", table.to_dict("records"), arguments.quick)
    slopes = table.groupby(["series", "method"], sort=False)["slope"].first().unstack()
    print(f"\nslopes\n{slopes.to_string(float_format='{:.2f}'.format)}\n")
    draw(table, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
