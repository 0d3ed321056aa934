"""Time to measure what each filter of LeNet is worth, four ways.

    tox -e benchmark-ablation            (about 3 minutes on 2 cores)
    tox -e benchmark-ablation -- --quick

All take the same trained LeNet and the same 10,000 test images of MNIST (uint8, as
they are loaded), and all but the first end with the increase of the log loss without
each of the 16 filters of the last convolution:

- predict_proba: one pass, without importances, for scale;
- fit_importance: ours, which also measures the error rate, the same for each class, and
  the scale of the heat;
- whole network per filter: a plain loop that sets a filter's responses to zero in a
  hook and runs the network, for one filter after another;
- captum: LayerFeatureAblation with a layer mask that makes a channel one feature, on
  the log loss of each image.

The plain loop and captum turn the images to one float tensor in the memory format that
ours has (channels last, the faster one on CPUs) and run in inference mode. They use the
batch size (and captum the perturbations_per_eval) that is fastest on 2,000 of the
images; ours has its defaults. The ways take turns, and the figures are medians: of the
seconds, and of the ratios of a round.
"""

from functools import partial

import numpy as np
import torch
from _common import (
    fastest,
    interleave,
    load_mnist,
    median_ratio,
    parse_arguments,
    report,
)
from captum.attr import LayerFeatureAblation
from sklearn.model_selection import ParameterGrid
from torch.nn import functional as F

from sklearn_similar import SimilarNetClassifier

LOOP = "whole network per filter"
CAPTUM = "captum LayerFeatureAblation"
BATCH_SIZES = (100, 300, 1000)
PERTURBATIONS = (1, 4, 16)
N_FOR_SETTINGS = 2000


def as_tensors(X, y):
    """Images n x 1 x height x width from 0 to 1, channels last, and their classes."""
    pixels = torch.from_numpy(X)[..., None].permute(0, 3, 1, 2)
    return pixels.float().div_(255), torch.from_numpy(y)


def total_log_loss(network, images, labels, batch_size):
    """Sum of the log loss over all images."""
    total = 0.0
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        loss = F.cross_entropy(network(images[batch]), labels[batch], reduction="none")
        total += loss.double().sum().item()
    return total


@torch.inference_mode()
def whole_network_per_filter(network, layer, X, y, batch_size):
    """Increases of the log loss, with the network run once more for each filter."""
    images, labels = as_tensors(X, y)
    baseline = total_log_loss(network, images, labels, batch_size)
    n_filters = network.features.conv2.out_channels
    increases = np.empty(n_filters)
    for index in range(n_filters):

        def silence(_module, _inputs, output, index=index):
            # The output is new in each pass, so it can be overwritten.
            output[:, index] = 0
            return output

        handle = network.get_submodule(layer).register_forward_hook(silence)
        try:
            increases[index] = (
                total_log_loss(network, images, labels, batch_size) - baseline
            )
        finally:
            handle.remove()
    return increases / len(images)


@torch.inference_mode()
def with_captum(network, layer, X, y, batch_size, perturbations_per_eval):
    """Increases of the log loss, from captum's ablation of whole channels."""
    images, labels = as_tensors(X, y)
    n_filters = network.features.conv2.out_channels

    def log_loss(images, labels):
        return F.cross_entropy(network(images), labels, reduction="none")

    ablation = LayerFeatureAblation(log_loss, network.get_submodule(layer))
    mask = torch.arange(n_filters).reshape(1, n_filters, 1, 1)
    increases = torch.zeros(n_filters, dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        # The loss with all filters less the loss without one, at each of its places.
        decreases = ablation.attribute(
            images[batch],
            layer_baselines=0,
            additional_forward_args=(labels[batch],),
            layer_mask=mask,
            perturbations_per_eval=perturbations_per_eval,
        )
        increases -= decreases[:, :, 0, 0].double().sum(dim=0)
    return (increases / len(images)).numpy()


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    n_repeats = 2 if arguments.quick else 7
    model = SimilarNetClassifier(
        max_epochs=1 if arguments.quick else 2,
        validation_fraction=None,
        random_state=0,
    ).fit(mnist.X_train, mnist.y_train)
    X, y = mnist.X_test, mnist.y_test
    network, layer = model.net_.module_, "features.relu2"
    found = {}

    def runs(name, function, grid, X, y):
        def run(**setting):
            found[name] = function(network, layer, X, y, **setting)

        return {
            ", ".join(f"{k} {v}" for k, v in setting.items()): partial(run, **setting)
            for setting in ParameterGrid(grid)
        }

    def ours():
        model.fit_importance(X, y)
        found["fit_importance"] = model.filter_importances_

    settings = {"fit_importance": f"batch_size {model.batch_size}"}
    settings["predict_proba"] = settings["fit_importance"]
    theirs = {
        LOOP: (whole_network_per_filter, {"batch_size": BATCH_SIZES}),
        CAPTUM: (
            with_captum,
            {"batch_size": BATCH_SIZES, "perturbations_per_eval": PERTURBATIONS},
        ),
    }
    for name, (function, grid) in theirs.items():
        few = runs(name, function, grid, X[:N_FOR_SETTINGS], y[:N_FOR_SETTINGS])
        settings[name], least = fastest(few)
        print(f"{name}, seconds for {min(N_FOR_SETTINGS, len(y)):,} images:")
        for setting, seconds in least.items():
            print(f"  {setting}: {seconds:.2f}")
    ways = {"predict_proba": lambda: model.predict_proba(X), "fit_importance": ours}
    for way in ways.values():
        way()
    for name, (function, grid) in theirs.items():
        ways[name] = runs(name, function, grid, X, y)[settings[name]]
    seconds = interleave(ways, n_repeats)
    rows = [
        {
            "way": name,
            "settings": settings[name],
            "seconds": np.median(seconds[name]),
            "x predict_proba": median_ratio(seconds[name], seconds["predict_proba"]),
            "x fit_importance": median_ratio(seconds[name], seconds["fit_importance"]),
            "largest difference": (
                np.abs(found[name] - found["fit_importance"]).max()
                if name in found
                else np.nan
            ),
            "images": len(y),
            "repeats": n_repeats,
        }
        for name in ways
    ]
    print(f"\nlayer {layer}, method {model.ablation_method_!r}")
    report("ablation", rows, arguments.quick)


if __name__ == "__main__":
    main()
