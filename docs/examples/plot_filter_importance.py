"""
Which filters matter
====================

A filter is important if the classifier gets worse without it. This example looks at
these importances, removes filters for good to see the accuracy that is left, and
weights the filters by a function of its own.
"""

# %%
# Importances
# -----------
# ``fit`` measures the importances on held-out digits that it does not train on.
# Each is the increase of the log loss when the filter's activation is replaced by zero.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import FilterImportanceDisplay

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
FilterImportanceDisplay.from_estimator(model)

# %%
# Removing filters
# ----------------
# To silence a filter of the last convolution it is enough to set its weights and its
# bias to zero. We do this to one filter after another and predict the test digits each
# time: from the most important filter down, from the least important up, and, to have
# something to compare with, in ten random orders.

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import torch


def accuracies_without(filters):
    """Accuracy on the test digits, with one more of the filters gone each time."""
    weakened = deepcopy(model)
    convolution = weakened.net_.module_.features.conv2
    scores = [weakened.score(X_test, y_test)]
    for index in filters:
        with torch.no_grad():
            convolution.weight[index] = 0
            convolution.bias[index] = 0
        scores.append(weakened.score(X_test, y_test))
    return scores


order = np.argsort(model.filter_importances_)
rng = np.random.default_rng(0)
at_random = [accuracies_without(rng.permutation(order)) for _ in range(10)]

_, ax = plt.subplots()
ax.plot(accuracies_without(order), "o-", label="least important first")
ax.plot(np.mean(at_random, axis=0), "--", color="grey", label="random, mean of 10")
ax.plot(accuracies_without(order[::-1]), "o-", label="most important first")
ax.axhline(0.1, color="grey", linestyle=":", label="guessing")
ax.set(xlabel="filters removed", ylabel="accuracy on the test digits")
ax.legend()

# %%
# The least important filters can go at little cost, and the most important ones cost
# more than random ones. But each importance was measured with all other filters in
# place. When most of them are gone, it says little about those that are left.
#
# Which filter for which digit
# ----------------------------
# Importances can be measured for each class alone. A filter can do much for one digit
# and nothing for the others, or even harm (below zero). With
# ``class_heatmap="linear"``, these are the weights of the heatmap of a class.

FilterImportanceDisplay.from_estimator(model, by_class=True)

# %%
# A weighting of your own
# -----------------------
# ``weighting`` takes a function from the importances of a layer's filters to their
# weights in the heatmap. This one leaves out the less important half, and squares the
# importances of the others. ``fit_importance`` applies it without training again; here
# every second test digit is a validation image, and the heatmaps are of others. The
# default, below for comparison, shows the whole of a digit, and sharper weightings the
# parts that the classifier relies on.

from sklearn_similar.display import HeatmapDisplay


def better_half(importances):
    """Squared importances of the filters above the median."""
    weights = np.maximum(importances - np.median(importances), 0) ** 2
    return weights if weights.any() else np.ones_like(importances)


digits = X_test[::100]
for weighting in (better_half, "softmax"):
    model.set_params(weighting=weighting)
    model.fit_importance(X_test[1::2], y_test[1::2])
    HeatmapDisplay.from_estimator(model, digits)
