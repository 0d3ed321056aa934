"""
Which filters matter
====================

A filter is important if the classifier gets worse without it. This example
shows the importances, removes filters permanently to measure the effect on
test images, and uses the importances as weights in heatmaps.
"""

# %%
# Importances
# -----------
# ``fit`` measures the importances on held-out digits. The importance of a
# filter is the increase of the log loss if its activation is replaced by zero.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import FilterImportanceDisplay

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
FilterImportanceDisplay.from_estimator(model)

# %%
# Removing a filter
# -----------------
# To verify the importances, we remove each filter of the last convolution
# permanently, by setting its weights and its bias to zero. We then measure the
# loss on the test digits, which were not used for the importances.

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
# The most important filter also causes the largest increase on the test
# digits. The remaining filters agree less: both measurements depend on a few
# misclassified digits. Thousands of held-out images, as in all of MNIST, are
# more reliable than 500. And each importance is measured with all other
# filters present: if several filters are removed, it says less about the
# remaining filters.
#
# Importances for each digit
# --------------------------
# Importances can be measured separately for each class. A filter can be
# important for one digit and useless for the remaining digits, or even harmful
# (below zero).

FilterImportanceDisplay.from_estimator(model, by_class=True)

# %%
# Weightings
# ----------
# The importances determine the weights in the heatmap. The default is a
# softmax at a temperature of 1. Importances are small numbers, so the weights
# are nearly uniform, and the heatmap covers the whole digit.
# ``weighting="linear"`` uses the importances directly. A function of the
# importances is a custom weighting: ``best_two`` uses only two filters. The
# more concentrated the weights, the more the heatmap shrinks to the decisive
# strokes. ``fit_importance`` applies a weighting without further training.

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
# From top to bottom: softmax, linear, the best two filters. Their weights, in
# descending order:

pd.DataFrame(weights).T.iloc[:, :8].round(3)

# sphinx_gallery_thumbnail_number = 2
