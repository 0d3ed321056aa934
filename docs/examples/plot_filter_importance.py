"""
Which filters matter
====================

A filter is important if the classifier gets worse without it. This example
looks at these importances, removes filters for good to see what accuracy is
left, and lets the importances decide what a heatmap shows.
"""

# %%
# Importances
# -----------
# ``fit`` measures the importances on held-out digits that it does not train
# on. Each is the increase of the log loss when the filter's activation is
# replaced by zero.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import FilterImportanceDisplay

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
FilterImportanceDisplay.from_estimator(model)

# %%
# Removing filters
# ----------------
# To silence a filter of the last convolution it is enough to set its weights
# and its bias to zero. We take away the four, then the eight, most and least
# important filters, and as many at random, ten times.

from copy import deepcopy

import numpy as np
import pandas as pd
import torch


def accuracy_without(filters):
    """Accuracy on the test digits."""
    weakened = deepcopy(model)
    convolution = weakened.net_.module_.features.conv2
    with torch.no_grad():
        convolution.weight[filters.copy()] = 0
        convolution.bias[filters.copy()] = 0
    return weakened.score(X_test, y_test)


order = np.argsort(model.filter_importances_)
rng = np.random.default_rng(0)
rows = {}
for n in (0, 4, 8):
    at_random = [
        accuracy_without(rng.permutation(order)[:n]) for _ in range(10)
    ]
    rows[n] = {
        "least important": accuracy_without(order[:n]),
        "random": np.mean(at_random),
        "most important": accuracy_without(order[::-1][:n]),
    }
pd.DataFrame(rows).T.rename_axis("filters removed").round(2)

# %%
# The least important filters can go at little cost, and the most important
# ones cost more than random ones. But each importance was measured with all
# other filters in place: when many of them are gone, it says less about those
# left.
#
# Which filter for which digit
# ----------------------------
# Importances can be measured for each class alone. A filter can do much for
# one digit and nothing for the others, or even harm (below zero).

FilterImportanceDisplay.from_estimator(model, by_class=True)

# %%
# Weightings
# ----------
# The importances become weights in the heatmap. The default is a softmax at a
# temperature of 1. As importances are small numbers, its weights are nearly
# the same for all filters, so that the heat covers the whole of a digit.
# ``weighting="linear"`` takes the importances themselves, and a function of
# them can do anything else: ``best_two`` trusts two filters alone. The more a
# weighting concentrates, the more the heat shrinks to the strokes that decide.
# ``fit_importance`` applies a weighting without training again.

from sklearn_similar.display import HeatmapDisplay


def best_two(importances):
    """Equal weights for the two most important filters."""
    return (importances >= np.sort(importances)[-2]).astype(float)


digits, labels = X_test[::125], y_test[::125]
weights = {}
for weighting in ("softmax", "linear", best_two):
    model.set_params(weighting=weighting)
    model.fit_importance(X_test[1::2], y_test[1::2])
    HeatmapDisplay.from_estimator(model, digits, y=labels)
    name = getattr(weighting, "__name__", weighting)
    weights[name] = np.sort(model.filter_weights_)[::-1]

# %%
# From top to bottom: softmax, linear, the best two. Their weights, from the
# filter with the greatest down:

pd.DataFrame(weights).T.iloc[:, :8].round(3)

# sphinx_gallery_thumbnail_number = 4
