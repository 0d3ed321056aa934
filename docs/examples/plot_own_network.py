"""
Explain your trained network
============================

A network that was trained with plain PyTorch can be explained without further
training: wrap it, and compute a heatmap for each of two digits.
"""

# %%
# A network trained with PyTorch
# ------------------------------
# The network classifies a digit anywhere in a photograph. Like most networks,
# it is trained on standardised images.

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from sklearn_similar.datasets import load_mnist_sample, make_scenes

china, flower = load_sample_images().images
digits = load_mnist_sample()
settings = {
    "size": (48, 48),
    "scale": (0.8, 1.2),
    "background_brightness": (0.2, 0.5),
}
X, truth = make_scenes(
    digits.X_train,
    digits.y_train,
    n_scenes=3000,
    n_instances=1,
    background_images=[china],
    random_state=0,
    **settings,
)
y = truth["label"].to_numpy()


def block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()
    )


torch.manual_seed(0)
network = nn.Sequential(
    block(1, 16),
    nn.MaxPool2d(2),
    block(16, 32),
    nn.MaxPool2d(2),
    block(32, 64),
    block(64, 64),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 10),
)
mean, std = X.mean() / 255, X.std() / 255
images = (torch.as_tensor(X)[:, None] / 255 - mean) / std
# On a CPU, channels last is the faster memory format.
images = images.to(memory_format=torch.channels_last)
network.to(memory_format=torch.channels_last)
targets = torch.tensor(y)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for _ in range(10):
    for batch in torch.randperm(2700).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            network(images[batch]), targets[batch]
        )
        loss.backward()
        optimizer.step()

# %%
# Wrap it
# -------
# The standardisation is the first step of the module, so that it applies to
# all images. With ``max_epochs=0``, the weights do not change, and
# ``fit_importance`` measures the filters on images that the network was not
# trained on.

from sklearn_similar import SimilarNetClassifier


class Standardised(nn.Module):
    """A network of standardised images, for images from 0 to 1."""

    def __init__(self, network, mean, std):
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, images):
        return self.network((images - self.mean) / self.std)


module = Standardised(network, float(mean), float(std))
model = SimilarNetClassifier(module, max_epochs=0, validation_fraction=None)
model.fit(X, y).fit_importance(X[2700:], y[2700:])
print(f"{model.score(X[2700:], y[2700:]):.0%} accuracy on held-out scenes;")
print(
    f"layer {model.layer_}, ablated by the strategy {model.ablation_method_!r}"
)

# %%
# "linear" means that the network did not run again for each filter: the
# pooling is followed by a single linear layer, from which the contribution of
# a filter can be subtracted. So the importances of all 64 filters took hardly
# longer than a forward pass.

# %%
# Heatmaps of two digits
# ----------------------
# Each scene shows two digits on a photograph that is not in the training data.
# We compute a heatmap of the first digit and a heatmap of the second digit;
# ``labels`` has a label for each image.

from sklearn_similar.display import HeatmapDisplay

scenes, truth = make_scenes(
    digits.X_test,
    digits.y_test,
    n_scenes=4,
    n_instances=2,
    background_images=[flower],
    random_state=3,
    **settings,
)
first, second = truth["label"].to_numpy().reshape(-1, 2).T
twice = np.concatenate([scenes, scenes])
labels = np.concatenate([first, second])
HeatmapDisplay.from_estimator(model, twice, labels=labels, n_columns=4)

# %%
# A class map combines the heatmap of all classes, which shows the extent of
# objects, with the evidence for the class against the competing classes in the
# image.
#
# Several layers
# --------------
# The last layer has a quarter of the image's resolution. The first layer has
# full resolution but does not distinguish classes. ``layer`` takes both.

both = SimilarNetClassifier(
    module,
    layer=["network.0", model.layer_],
    max_epochs=0,
    validation_fraction=None,
)
both.fit(X, y).fit_importance(X[2700:], y[2700:])
HeatmapDisplay.from_estimator(both, twice, labels=labels, n_columns=4)

# sphinx_gallery_thumbnail_number = 2
