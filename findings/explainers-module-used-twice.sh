#!/usr/bin/env bash
# Of a layer that runs twice, grad-cam explains the first run, torchcam and captum the last.
#
# Versions: grad-cam 1.5.7, torchcam 0.5.0, captum 0.9.0, torch 2.13.0, NumPy 2.4.6, Python 3.11.
# Behaviour: a network may use an activation module again, as the residual blocks of torchvision's
#   ResNet do. If it is named as the layer of a GradCAM heatmap, the three libraries return the map
#   of one of its runs, and do not say of which: grad-cam takes the activations of the first,
#   torchcam and captum those of the last. grad-cam's gradients are those of the first run, too.
# Expected: the same run in each library, or an error that names the two.
# Who is hurt: comparisons of explanations, and whoever reads the resolution and depth of a
#   heatmap off the layer's name: maps for the same method, network, layer and image differ. A layer
#   after the module that runs once, such as the whole block, is unambiguous.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6 matplotlib==3.11.2 pillow==13.0.0 \
    tqdm==4.70.1 scikit-learn==1.9.1 opencv-python-headless==5.0.0.93
# Without dependencies: grad-cam and torchcam ask for torchvision, of which nothing is used here.
"$folder/env/bin/pip" install -q --no-deps \
    grad-cam==1.5.7 ttach==0.0.3 torchcam==0.5.0 captum==0.9.0
cat > "$folder/explain.py" <<'PYTHON'
import sys
from unittest.mock import MagicMock

for part in ("", ".transforms", ".transforms.functional"):
    sys.modules["torchvision" + part] = MagicMock()

import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchcam.methods import GradCAM as TorchcamGradCAM


class Network(nn.Module):
    """The same ReLU after two convolutions, and a layer after each of its runs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.after_first, self.after_second = nn.Identity(), nn.Identity()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.after_first(self.relu(self.first(x)))
        x = self.after_second(self.relu(self.second(x)))
        return self.head(x.mean(dim=(2, 3)))


def by_grad_cam(layer):
    with GradCAM(network, [layer]) as explainer:
        return explainer(image, [ClassifierOutputTarget(1)])


def by_torchcam(layer):
    with TorchcamGradCAM(network, layer) as explainer:
        return explainer(1, network(image))[0]


def by_captum(layer):
    return LayerGradCam(network, layer).attribute(image, target=1, relu_attributions=True)


def normalised(heatmap):
    heatmap = np.asarray(torch.as_tensor(heatmap).detach().squeeze(), dtype=float)
    return (heatmap - heatmap.min()) / np.ptp(heatmap)


torch.manual_seed(0)
network, image = Network().eval(), torch.randn(1, 1, 12, 12)
for name, explain in (("grad-cam", by_grad_cam), ("torchcam", by_torchcam), ("captum", by_captum)):
    heatmap = normalised(explain(network.relu))
    for run, layer in (("first", network.after_first), ("last", network.after_second)):
        if np.allclose(heatmap, normalised(explain(layer)), atol=0.01):
            print(name, "explains the", run, "run")
PYTHON
"$folder/env/bin/python" "$folder/explain.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
grad-cam explains the first run
torchcam explains the last run
captum explains the last run
SEEN
