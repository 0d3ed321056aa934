"""Methods to measure importances: loops, captum and ours; their times."""

from copy import deepcopy
from functools import partial

import numpy as np
import torch
from _common import as_tensors, fastest, interleave, median_ratio
from sklearn.model_selection import ParameterGrid
from torch import nn
from torch.nn import functional as F

LOOP = "whole network per filter"
HEAD = "head per filter"
CAPTUM = "captum LayerFeatureAblation"


def total_log_loss(network, images, labels, batch_size):
    """Sum of the log loss over all images."""
    total = 0.0
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        loss = F.cross_entropy(network(images[batch]), labels[batch], reduction="none")
        total += loss.double().sum().item()
    return total


@torch.inference_mode()
def whole_network_per_filter(network, layer, n_filters, X, y, batch_size):
    """Increases of the log loss; the network runs again for each filter."""
    images, labels = as_tensors(X), torch.from_numpy(y)
    baseline = total_log_loss(network, images, labels, batch_size)
    increases = np.empty(n_filters)
    for index in range(n_filters):

        def silence(_module, _inputs, output, index=index):
            # Each pass has a new output tensor, so it can be overwritten.
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
def head_per_filter(network, layer, n_filters, X, y, batch_size):
    """The same for a sequential network, with cached activations of the layer."""
    images, labels = as_tensors(X), torch.from_numpy(y)
    layers = [module for module in network.modules() if not list(module.children())]
    end = layers.index(network.get_submodule(layer)) + 1
    backbone, head = nn.Sequential(*layers[:end]), nn.Sequential(*layers[end:])
    losses = np.zeros(n_filters + 1)
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        activations = backbone(images[batch])
        losses[0] += total_log_loss(head, activations, labels[batch], batch_size)
        for index in range(n_filters):
            activation = activations[:, index].clone()
            activations[:, index] = 0
            losses[index + 1] += total_log_loss(
                head, activations, labels[batch], batch_size
            )
            activations[:, index] = activation
    return (losses[1:] - losses[0]) / len(images)


@torch.inference_mode()
def with_captum(network, layer, n_filters, X, y, batch_size, perturbations_per_eval):
    """Increases of the log loss, with captum's ablation of whole channels."""
    images, labels = as_tensors(X), torch.from_numpy(y)
    increases_of = captum_increases(network, layer, n_filters, perturbations_per_eval)
    increases = torch.zeros(n_filters, dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        increases += increases_of(images[batch], labels[batch]).double().sum(dim=0)
    return (increases / len(images)).numpy()


def captum_increases(network, layer, n_filters, perturbations_per_eval):
    """A function from images and labels to increases, n_images x n_filters."""
    # Some benchmarks and tests import this module without captum.
    from captum.attr import LayerFeatureAblation

    def log_loss(images, labels):
        return F.cross_entropy(network(images), labels, reduction="none")

    ablation = LayerFeatureAblation(log_loss, network.get_submodule(layer))
    mask = torch.arange(n_filters).reshape(1, n_filters, 1, 1)

    def increases(images, labels):
        # The loss with all filters minus the loss without a filter, at each position.
        decreases = ablation.attribute(
            images,
            layer_baselines=0,
            additional_forward_args=(labels,),
            layer_mask=mask,
            perturbations_per_eval=perturbations_per_eval,
        )
        return -decreases[:, :, 0, 0]

    return increases


class Comparison:
    """Times and importances of the methods on the same images.

    Parameters
    ----------
    models : dict of SimilarNetClassifier
        The same network with different parameters that act after training. The first
        model is the reference.
    loop_grid, captum_grid, head_grid : dict
        Grids of settings of the plain loop, of captum and of the better loop, which is
        skipped if its grid is None.
    """

    def __init__(self, models, loop_grid, captum_grid, head_grid=None):
        # Measuring importances must not change the caller's models.
        self.models = deepcopy(models)
        self.first = next(iter(self.models.values()))
        self.baselines = {
            LOOP: (whole_network_per_filter, loop_grid),
            CAPTUM: (with_captum, captum_grid),
        }
        if head_grid:
            self.baselines[HEAD] = (head_per_filter, head_grid)
        self.importances = {}

    def rows(self, X, y, X_few, y_few, n_repeats):
        """Rows of the table; settings of baselines are chosen on the few images."""
        ours = f"batch_size {self.first.batch_size}"
        settings = {"predict_proba": ours, **dict.fromkeys(self.models, ours)}
        methods = {"predict_proba": partial(self.first.predict_proba, X)}
        methods |= {name: partial(self._measure, name, X, y) for name in self.models}
        for method in methods.values():
            method()
        for name in self.baselines:
            settings[name], minimum = fastest(self._runs(name, X_few, y_few))
            print(f"{name}, seconds for {len(y_few):,} images:")
            for setting, spent in minimum.items():
                print(f"  {setting}: {spent:.2f}", flush=True)
            methods[name] = self._runs(name, X, y)[settings[name]]
        seconds = interleave(methods, n_repeats)
        reference = next(iter(self.models))
        return [
            {
                "method": name,
                "settings": settings[name],
                "seconds": np.median(seconds[name]),
                "x predict_proba": median_ratio(
                    seconds[name], seconds["predict_proba"]
                ),
                f"x {reference}": median_ratio(seconds[name], seconds[reference]),
                "largest difference": (
                    np.abs(self.importances[name] - self.importances[reference]).max()
                    if name in self.importances
                    else np.nan
                ),
                "images": len(y),
                "repeats": n_repeats,
            }
            for name in methods
        ]

    def _measure(self, name, X, y):
        model = self.models[name].fit_importance(X, y)
        self.importances[name] = model.filter_importances_

    def _runs(self, name, X, y):
        """A call for each setting of a baseline."""
        function, grid = self.baselines[name]
        network, layer = self.first.net_.module_, self.first.layer_
        n_filters = len(self.first.filter_importances_)

        def run(**setting):
            self.importances[name] = function(
                network, layer, n_filters, X, y, **setting
            )

        return {
            ", ".join(f"{k} {v}" for k, v in setting.items()): partial(run, **setting)
            for setting in ParameterGrid(grid)
        }
