"""
Write a class map
=================

``model.heatmap(X, target=3)`` shows the evidence for a 3. The parameter
``class_heatmap`` selects the method: a name, or an object that you write. This
example writes class activation maps (CAM) and compares them with the default.
(``class_heatmap="cam"`` has them ready for any network.)
"""

# %%
# A network for CAM
# -----------------
# A class activation map needs a network that ends in a global average and a
# linear layer. The weights of the linear layer are the contributions of the
# filters to each class, without any ablation. ``SmallCNN`` has a different
# head, so we define a network.

from torch import nn


class AverageNet(nn.Module):
    """Three convolutions, a global average and a linear layer."""

    def __init__(self, n_classes=10, in_channels=1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.linear = nn.Linear(32, n_classes)

    def forward(self, images):
        return self.linear(self.features(images).mean(dim=(2, 3)))


# %%
# The class map
# -------------
# A subclass of ``ClassMap`` defines the weight of each filter of the last
# layer for each class. ``measurement`` contains the trained network and all
# measurements of ``fit`` on held-out images. We take the positive weights of
# the linear layer, because heatmaps are not negative.

from sklearn_similar import ClassMap


class ClassActivationMap(ClassMap):
    """Activations, weighted by the weights of the linear layer."""

    def filter_weights(self, measurement):
        weights = measurement.network.module.linear.weight
        return weights.detach().cpu().numpy().clip(min=0)


# %%
# Interpolation to pixels, normalisation, categories of several classes and
# images of any size come with the classifier.

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import HeatmapDisplay

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
cam = SimilarNetClassifier(
    AverageNet,
    class_heatmap=ClassActivationMap(),
    max_epochs=6,
    lr=0.01,
    random_state=0,
)
cam.fit(X_train[::2], y_train[::2])
print(f"{cam.score(X_test, y_test):.1%} of the test digits are recognised")

digits = X_test[:1000:100]
HeatmapDisplay.from_estimator(cam, digits, y=cam.predict(digits), target=3)

# %%
# More than weights
# -----------------
# This map is bright wherever the filters of a 3 respond, and digits share
# their strokes. A class map can also override ``heat``, which gets the
# activations of some images, and by default returns their weighted sum. Here,
# the sum of each class is multiplied by its share in the total of all ten
# classes, at every pixel.

import numpy as np
import torch


class ShareOfClass(ClassActivationMap):
    """Class activation maps, weighted by the share of the class."""

    contrasts_classes = True

    def heat(self, activations, classes, state):
        heat = super().heat(activations, classes, state)
        total = torch.zeros_like(heat)
        for label in range(len(state.filter_weights)):
            label = np.full((len(heat), 1), label)
            total += super().heat(activations, label, state)
        return heat * heat / total.clamp(min=1e-12)


# %%
# ``fit_importance`` applies the new map without further training.

cam.set_params(class_heatmap=ShareOfClass())
cam.fit_importance(X_test[1::4], y_test[1::4])
HeatmapDisplay.from_estimator(cam, digits, y=cam.predict(digits), target=3)

# %%
# Which map is better?
# --------------------
# Ten pictures are not a measurement. The pointing game is: on pages with two
# different digits, is the peak of the heatmap in the correct digit? Guessing
# gives 50 %.

from sklearn_similar.datasets import make_scenes
from sklearn_similar.metrics import pointing_game

pages, boxes = make_scenes(
    X_test,
    y_test,
    n_scenes=30,
    size=(48, 72),
    n_instances=(2, 2),
    scale=(0.9, 1.1),
    random_state=0,
)
is_mixed = boxes.groupby("image")["label"].transform("nunique") == 2
boxes = boxes[is_mixed]
labels = boxes["label"].to_numpy()
images = pages[boxes["image"]]
one_each = boxes.assign(image=range(len(boxes)))

class_maps = {
    "class activation map": ClassActivationMap(),
    "share of the class": ShareOfClass(),
    "contrastive": "contrastive",
    "default": "propagated",
}
for name, class_map in class_maps.items():
    cam.set_params(class_heatmap=class_map)
    cam.fit_importance(X_test[1::4], y_test[1::4])
    hits = pointing_game(cam.heatmap(images, labels=labels), one_each)
    print(f"{name:20} {hits:.0%}")

# %%
# Weights of filters alone are not better than guessing here, because all
# digits share their strokes. The default also uses their arrangement: it runs
# the layers after the activations in a sliding window. Measure your class map
# in the same way. A file that :func:`~sklearn_similar.save` writes does not
# contain code, so pass the object to ``load(path, class_heatmap=...)``.
