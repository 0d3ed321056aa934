"""
The first heatmap
=================

Train a recogniser on labelled digits, then ask it where the digits are. It
takes five lines, and no boxes or masks.
"""

# %%
# Train and look
# --------------
# 5,000 handwritten digits for training ship with the package. ``fit`` trains
# the network, keeps a tenth of the digits aside, and measures on these how
# much each filter of the network matters.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
heatmaps = model.transform(X_test)

print(f"{model.score(X_test, y_test):.1%} of the test digits are recognised")
print("images", X_test.shape, "-> heatmaps", heatmaps.shape)

# %%
# The heatmaps have one value for each pixel. 1 is the peak of a typical digit.
# The titles are the predicted labels.

from sklearn_similar.display import HeatmapDisplay

digits = X_test[:1000:100]
predicted = model.predict(digits)
HeatmapDisplay.from_estimator(model, digits, y=predicted)

# %%
# A larger image
# --------------
# The network was trained on 28x28 pixels, but its heatmaps know no size. Here
# is a page with twelve digits; the network has never seen one like it.

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
# Where are the 3s?
# -----------------
# The heat of one class lies where there is evidence for it against the other
# classes in the image. Here is a page of ones and threes, and the heat for a
# 3, then for a 1.

import numpy as np

chosen = np.isin(y_test, [1, 3])
scenes, truth = make_scenes(
    X_test[chosen],
    y_test[chosen],
    n_scenes=1,
    size=(80, 240),
    n_instances=10,
    random_state=0,
)
HeatmapDisplay.from_estimator(model, scenes, target=3)
HeatmapDisplay.from_estimator(model, scenes, target=1)

# %%
# The heat moves, but it does not vanish elsewhere. LeNet has sixteen filters
# for all ten digits, and each responds to strokes that several digits share; a
# 3 and a 5 can hardly be told apart by them. To recognise a digit, use
# ``predict``; to find digits, as a table, :doc:`plot_coins` shows how.
