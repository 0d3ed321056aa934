"""
A network of your own
=====================

Any ``torch.nn.Module`` that takes images and returns a score for each class can take
LeNet's place. Here is one with average pooling, which looks for digits anywhere in an
image, and is asked which of two digits is which.
"""

# %%
# Scenes to train on
# ------------------
# One digit each, anywhere on a photograph. The label says which digit, and nothing says
# where.

from sklearn.datasets import load_sample_images

from sklearn_similar.datasets import load_mnist_sample, make_scenes

china, flower = load_sample_images().images
digits = load_mnist_sample()
settings = {"size": (48, 48), "scale": (0.8, 1.2), "background_brightness": (0.2, 0.5)}
X, truth = make_scenes(
    digits.X_train,
    digits.y_train,
    n_scenes=3000,
    n_instances=1,
    background_images=[china],
    random_state=0,
    **settings,
)
y = truth["label"]

# %%
# A module class
# --------------
# Its constructor is told the number of classes and of channels, if it asks for them by
# these names. ``layer`` could name the layer to ablate; by default it is the last
# block with a convolution.

from torch import nn

from sklearn_similar import SimilarNetClassifier


def block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()
    )


class Pooled(nn.Sequential):
    def __init__(self, n_classes, in_channels):
        super().__init__(
            block(in_channels, 16),
            nn.MaxPool2d(2),
            block(16, 32),
            nn.MaxPool2d(2),
            block(32, 64),
            block(64, 64),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, n_classes),
        )


model = SimilarNetClassifier(
    Pooled, batch_size=50, lr=3e-3, lr_decay=5e-3, random_state=0
)
model.fit(X, y)
print(f"layer {model.layer_}, ablated by the strategy {model.ablation_method_!r}")

# %%
# "linear" means that no part of the network had to run again for a filter: after the
# pooling comes one linear layer, and what a filter adds to it can be taken off. So the
# importances of all 64 filters took hardly longer than one pass over the images.

# %%
# Which of the two?
# -----------------
# Two test digits on a photograph that the network has not seen. Where is the first,
# where the second? ``labels`` has one label for each image.

import matplotlib.pyplot as plt

scenes, truth = make_scenes(
    digits.X_test,
    digits.y_test,
    n_scenes=4,
    n_instances=2,
    background_images=[flower],
    random_state=3,
    **settings,
)
pairs = truth["label"].to_numpy().reshape(-1, 2)


def draw(model):
    first, second = (model.heatmap(scenes, labels=labels) for labels in pairs.T)
    _, axes = plt.subplots(3, len(scenes), figsize=(8, 6), layout="constrained")
    for column, (scene, labels) in enumerate(zip(scenes, pairs, strict=True)):
        axes[0, column].imshow(scene, cmap="gray")
        for row, heat, label in zip((1, 2), (first, second), labels, strict=True):
            axes[row, column].imshow(heat[column], cmap="magma", vmin=0)
            axes[row, column].set_title(f"{label}?")
    for ax in axes.flat:
        ax.axis("off")


draw(model)

# %%
# A map joins two things: the heat of all classes, which shows how far an object
# reaches, and the evidence for one class against the other classes in the image, which
# tells whose it is.

# %%
# Several layers
# --------------
# The last layer sees at a quarter of the resolution. The first one sees every pixel,
# but does not know what matters. ``layer`` takes both. The trained network is used as
# it is: ``max_epochs=0`` trains no more. With the same ``random_state``, the same
# images are held out again to measure importances on, none of which it was trained on.

two_layers = SimilarNetClassifier(
    model.net_.module_,
    layer=["0", model.layer_],
    max_epochs=0,
    random_state=0,
)
two_layers.fit(X, y)
draw(two_layers)
