"""
Your own trained network
========================

A network that was trained elsewhere, by plain PyTorch, needs no other training
to be looked into: wrap it, and ask it which of two digits is where.
"""

# %%
# A network, trained elsewhere
# ----------------------------
# It looks for one digit anywhere in a photograph. It was trained on
# standardised images, as most are.

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
# Channels last is the memory format that is faster on a CPU.
images = images.to(memory_format=torch.channels_last)
network.to(memory_format=torch.channels_last)
labels = torch.tensor(y)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for _ in range(10):
    for batch in torch.randperm(2700).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            network(images[batch]), labels[batch]
        )
        loss.backward()
        optimizer.step()

# %%
# Wrap it
# -------
# The normalisation goes into the module, in front, so that it cannot be
# forgotten. ``max_epochs=0`` takes the weights as they are, and
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
print(f"{model.score(X[2700:], y[2700:]):.0%} of other scenes are recognised;")
print(
    f"layer {model.layer_}, ablated by the strategy {model.ablation_method_!r}"
)

# %%
# "linear" means that no part of the network had to run again for a filter:
# after the pooling comes one linear layer, and what a filter adds to it can be
# taken off. So the importances of all 64 filters took hardly longer than one
# pass over the images.

# %%
# Which of the two?
# -----------------
# Two digits on a photograph that the network has not seen. Where is the first,
# where the second? ``labels`` has one label for each image.

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
asked = np.concatenate([first, second])
HeatmapDisplay.from_estimator(model, twice, labels=asked, n_columns=4)

# %%
# A map joins two things: the heat of all classes, which shows how far an
# object reaches, and the evidence for one class against the other classes in
# the image, which tells whose it is.
#
# Several layers
# --------------
# The last layer sees at a quarter of the resolution. The first one sees every
# pixel, but does not know what matters. ``layer`` takes both.

both = SimilarNetClassifier(
    module,
    layer=["network.0", model.layer_],
    max_epochs=0,
    validation_fraction=None,
)
both.fit(X, y).fit_importance(X[2700:], y[2700:])
HeatmapDisplay.from_estimator(both, twice, labels=asked, n_columns=4)

# sphinx_gallery_thumbnail_number = 2
