"""
A class map of your own
=======================

``model.heatmap(X, target=3)`` shows where a 3 is. How that heatmap is made is
the parameter ``class_heatmap``: a name, or an object of your own. This example
writes class activation maps (CAM), the classic of the field, and compares them
with the default. (With ``class_heatmap="cam"``, any network has them.)
"""

# %%
# A network for CAM
# -----------------
# A class activation map needs a network that ends in a global average and one
# linear layer: the weights of that layer say how much each filter counts for
# each class, without any ablation. ``SmallCNN`` has another head, so here is a
# network that fits.

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
# A subclass of ``ClassMap`` has to answer one question: how much does each
# filter of the last layer count for each class? ``measurement`` has the
# trained network, and all that ``fit`` measured on held-out images. We take
# the positive weights of the linear layer, as heat is not negative.

from sklearn_similar import ClassMap


class ClassActivationMap(ClassMap):
    """Activations, weighted by the weights of the linear layer."""

    def filter_weights(self, measurement):
        weights = measurement.network.module.linear.weight
        return weights.detach().cpu().numpy().clip(min=0)


# %%
# That is all. Interpolation to pixels, normalisation, categories of several
# classes and images of any size come with the classifier.

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
# Such a map lights up wherever the filters of a 3 respond, and digits share
# their strokes. A map can also compute its heat itself: ``heat`` gets the
# activations of some images, and by default sums them with the weights. Here,
# the heat of each class is multiplied by its share in that of all ten, at
# every pixel.

import numpy as np
import torch


class ShareOfClass(ClassActivationMap):
    """Class activation maps, sharp where no other class is as active."""

    contrasts_classes = True

    def heat(self, activations, classes, state):
        heat = super().heat(activations, classes, state)
        total = torch.zeros_like(heat)
        for label in range(len(state.filter_weights)):
            label = np.full((len(heat), 1), label)
            total += super().heat(activations, label, state)
        return heat * heat / total.clamp(min=1e-12)


# %%
# ``fit_importance`` applies it to the network that is trained already.

cam.set_params(class_heatmap=ShareOfClass())
cam.fit_importance(X_test[1::4], y_test[1::4])
HeatmapDisplay.from_estimator(cam, digits, y=cam.predict(digits), target=3)

# %%
# Which map is better?
# --------------------
# A look at ten digits is no measurement. The pointing game is one: on pages
# with two different digits, is the peak of the heatmap in the right one? Half
# would be guessing.

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
# Weights of filters alone do no better than guessing here, as all digits share
# their strokes. The default also knows their arrangement: it runs the layers
# after the activations in a sliding window. Measure a map of your own in the
# same way. A file that :func:`~sklearn_similar.save` writes holds no code, and
# so ``load`` is given the object again: ``load(path, class_heatmap=...)``.
