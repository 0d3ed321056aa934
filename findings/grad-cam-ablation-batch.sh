#!/usr/bin/env bash
# grad-cam's AblationCAM gives filters more weight the later they come in a batch.
#
# Versions: grad-cam 1.5.7, torch 2.13.0, NumPy 2.4.6, Python 3.11.
# Behaviour: where activations can be negative (SiLU, GELU, batch normalisation), a filter is
#   ablated with a value far below the minimum of the batch of activations. Filters are ablated in
#   batches of batch_size, and the minimum includes those that are ablated already, so that the
#   value of the second filter is twice that of the first. So is its weight. Four filters that do
#   the same get the weights 1, 2, 3, 4 in a batch of four, and equal weights one by one. With ReLU
#   the value is 0.
# Expected: a batch size that decides the time, not the explanation.
# Who is hurt: heatmaps of EfficientNet, ConvNeXt and other modern networks: filter 31 counts 32
#   times as much as filter 0 by default. batch_size = 1 is right, and slow.
# Fails if any of these heatmaps changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6 matplotlib==3.11.2 pillow==13.0.0 \
    tqdm==4.70.1 scikit-learn==1.9.1 opencv-python-headless==5.0.0.93
# Without their dependencies: grad-cam asks for torchvision, of which nothing is used here.
"$folder/env/bin/pip" install -q --no-deps grad-cam==1.5.7 ttach==0.0.3
cat > "$folder/explain.py" <<'PYTHON'
import contextlib
import io
import sys
from unittest.mock import MagicMock

for part in ("", ".transforms", ".transforms.functional"):
    sys.modules["torchvision" + part] = MagicMock()

import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn


def heatmap(outside, batch_size):
    """Heatmap of four filters that are 1 in one of five columns, and `outside` elsewhere."""
    layer = nn.Identity()
    network = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    nn.init.ones_(network[3].weight)
    nn.init.zeros_(network[3].bias)
    image = torch.full((1, 4, 5, 5), outside)
    for column in range(4):
        image[0, column, :, column] = 1
    explainer = AblationCAM(network, [layer])
    explainer.batch_size = batch_size
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        (heatmap,) = explainer(image, [ClassifierOutputTarget(0)])
    return [round(float(value), 1) for value in heatmap[0]]


for outside, batch_size in ((0.0, 4), (-0.1, 1), (-0.1, 2), (-0.1, 4)):
    print("outside", outside, "batch size", batch_size, heatmap(outside, batch_size))
PYTHON
"$folder/env/bin/python" "$folder/explain.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
outside 0.0 batch size 4 [1.0, 1.0, 1.0, 1.0, 0.0]
outside -0.1 batch size 1 [1.0, 1.0, 1.0, 1.0, 0.0]
outside -0.1 batch size 2 [0.3, 1.0, 0.3, 1.0, 0.0]
outside -0.1 batch size 4 [0.0, 0.4, 0.7, 1.0, 0.0]
SEEN
