"""
Which filters matter
====================

A filter is important if the classifier gets worse without it. This example looks at these
importances, then takes filters away for good and sees what accuracy is left.
"""

# %%
# Importances
# -----------
# ``fit`` measures the importances on digits that it has not trained on. ``fit_importance``
# measures them again on digits of our choice.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import FilterImportanceDisplay

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
FilterImportanceDisplay.from_estimator(model)

# %%
# Taking filters away
# -------------------
# Blocking a filter means that its response becomes zero.
# For a filter of the last convolution it is enough to set its weights and its bias to
# zero. We do this to filter after filter, once beginning with the most important and once
# with the least important, and predict the test digits each time.

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
_, ax = plt.subplots()
ax.plot(accuracies_without(order[::-1]), "o-", label="most important first")
ax.plot(accuracies_without(order), "o-", label="least important first")
ax.axhline(0.1, color="grey", linestyle=":", label="guessing")
ax.set(xlabel="filters taken away", ylabel="accuracy on the test digits")
ax.legend()

# %%
# The order makes the difference: the least important filters can go at little cost, the
# most important ones cannot.
#
# Which filter for which digit
# ----------------------------
# Importances can be measured for each class alone. A filter can do much for one digit and
# nothing for the others, or even harm (below zero). These are the importances behind
# ``heatmap(X, target=...)``.

importances = model.class_importances_
largest = np.abs(importances).max()
_, ax = plt.subplots()
image = ax.imshow(importances, cmap="RdBu_r", vmin=-largest, vmax=largest)
ax.set(xlabel="filter", ylabel="digit", yticks=range(10), yticklabels=model.classes_)
plt.colorbar(image, ax=ax, label="increase of the log loss", shrink=0.7)
