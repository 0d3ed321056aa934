"""
Heatmaps over digits in five lines
==================================

Train a recogniser on labelled digits, then ask it where the digits are. No boxes and no
masks are needed for that.
"""

# %%
# Train and look
# --------------
# 5,000 handwritten digits ship with the package. ``fit`` trains the network, keeps a part
# of the data aside, and measures on it how much each filter of the network matters.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
model = SimilarNetClassifier(random_state=0).fit(X_train, y_train)
heatmaps = model.transform(X_test)

print(f"{model.score(X_test, y_test):.1%} of the test digits are recognised")
print("images", X_test.shape, "-> heatmaps", heatmaps.shape)

# %%
# The heatmaps have one value for each pixel. 1 is the peak of a typical digit.

from sklearn_similar.display import HeatmapDisplay

HeatmapDisplay.from_estimator(model, X_test[:1000:100])

# %%
# A larger image
# --------------
# The network was trained on 28x28 pixels, but its heatmaps know no size. Here is a page
# with twelve digits at known places; the network has never seen one like it.

from sklearn_similar.datasets import make_scenes

scenes, instances = make_scenes(
    X_test, y_test, n_scenes=1, size=(120, 240), n_instances=12, random_state=0
)
display = HeatmapDisplay.from_estimator(model, scenes)

# %%
# Where is a 3?
# -------------
# For one class the filters are weighed by what they do for that class. The heat moves to
# strokes that make a 3, though other digits share some of them.

HeatmapDisplay.from_estimator(model, scenes, target=3)
