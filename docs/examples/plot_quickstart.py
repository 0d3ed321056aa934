"""
The first heatmap
=================

Train a classifier on labelled digits and compute heatmaps. This takes five
lines of code, without boxes or masks.
"""

# %%
# Train and transform
# -------------------
# 5,000 handwritten training digits ship with the package. ``fit`` trains the
# network, holds out a tenth of the digits, and measures the importance of each
# filter on the held-out digits.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
heatmaps = model.transform(X_test)

print(f"{model.score(X_test, y_test):.1%} of the test digits are recognised")
print("images", X_test.shape, "-> heatmaps", heatmaps.shape)

# %%
# The heatmaps have a value for each pixel. A value of 1 is the median maximum
# on held-out digits. The titles are the predicted labels.

from sklearn_similar.display import HeatmapDisplay

digits = X_test[:1000:100]
predicted = model.predict(digits)
HeatmapDisplay.from_estimator(model, digits, y=predicted)

# %%
# A larger image
# --------------
# The network was trained on 28x28 pixels, but heatmaps can have any size. This
# is a page with twelve digits; the training data does not contain such pages.

from sklearn_similar.datasets import make_scenes

scenes, truth = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(120, 240),
    n_instances=12,
    random_state=0,
)
HeatmapDisplay.from_estimator(model, scenes)

# %%
# Heatmaps of a class
# -------------------
# The heatmap of a class shows the evidence for it against the competing
# classes in the image. These are heatmaps of a page of ones and threes, first
# for the class 3, then for the class 1.

import numpy as np

is_1_or_3 = np.isin(y_test, [1, 3])
scenes, truth = make_scenes(
    X_test[is_1_or_3],
    y_test[is_1_or_3],
    n_scenes=1,
    size=(80, 240),
    n_instances=10,
    random_state=0,
)
HeatmapDisplay.from_estimator(model, scenes, target=3)
HeatmapDisplay.from_estimator(model, scenes, target=1)

# %%
# The maximum moves to the class, but the remaining digits do not vanish. LeNet
# has sixteen filters for ten digits, and each filter responds to strokes that
# several digits share; they hardly distinguish a 3 from a 5. To recognise a
# digit, use ``predict``. To detect digits, use ``InstanceLocalizer``
# (:doc:`plot_coins`).
