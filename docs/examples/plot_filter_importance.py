"""
Which filters matter
====================

A filter is important if the classifier gets worse without it. This example
looks at these importances, removes filters for good to see what that does on
other images, and lets the importances decide what a heatmap shows.
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
# Removing a filter
# -----------------
# Are the numbers true? To silence a filter of the last convolution for good,
# it is enough to set its weights and its bias to zero. We do this to each
# filter and measure the loss on the test digits, which had no part in the
# importances.

from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss


def loss_without(filters):
    """Log loss on the test digits."""
    weakened = deepcopy(model)
    convolution = weakened.net_.module_.features.conv2
    with torch.no_grad():
        convolution.weight[filters] = 0
        convolution.bias[filters] = 0
    return log_loss(y_test, weakened.predict_proba(X_test))


loss = loss_without([])
table = pd.DataFrame({"importance": model.filter_importances_})
table["on the test digits"] = [loss_without([i]) - loss for i in table.index]
print(f"correlation {table.corr().iloc[0, 1]:.2f}")
table.sort_values("importance", ascending=False).round(4)

# %%
# The filter with the greatest importance is missed most on the test digits,
# too. Of the others, some that looked needless are missed, and the other way
# round: both figures rest on few misread digits. Held-out images in their
# thousands, as in all of MNIST, tell more than 500. And each importance is
# measured with all other filters in place: when several are gone, it says less
# about those that are left.
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

# sphinx_gallery_thumbnail_number = 2
