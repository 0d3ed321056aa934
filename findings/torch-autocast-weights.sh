#!/usr/bin/env bash
# Weights that are changed inside torch.autocast have no effect: training stands still.
#
# Versions: torch 2.13.0 (CPU, bfloat16), NumPy 2.4.6, Python 3.11.
# Behaviour: autocast keeps the low-precision copy of a weight that requires a gradient until its
#   block ends. Steps of the optimiser, load_state_dict and zeroed filters change the weight, and
#   the network goes on with the copy. Gradients are computed, so that nothing looks wrong but a
#   loss that stays the same. cache_enabled=False, or one block for each forward pass, is right.
# Expected: that a layer computes with its weights. In float32, the same loop is right.
# Who is hurt: who wraps a whole training loop, or an ablation study, in one block: each ablated
#   filter is said to be unimportant. With torch.inference_mode() around it the effect is gone, with
#   torch.no_grad() it is not.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cat > "$folder/train.py" <<'PYTHON'
import torch

X = torch.tensor([[1.0], [2.0]])


def training(**options):
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    losses = []
    with torch.autocast("cpu", dtype=torch.bfloat16, **options):
        for _ in range(3):
            loss = ((layer(X) - X) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(round(loss.item(), 1))
    return losses


def ablation(mode, **options):
    layer = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    image = torch.ones(1, 1, 1, 1)
    with mode(), torch.autocast("cpu", dtype=torch.bfloat16, **options):
        before = layer(image).item()
        layer.weight.zero_()
        return before, layer(image).item()


print("losses, float32", training(enabled=False))
print("losses, autocast", training())
print("losses, autocast without cache", training(cache_enabled=False))
print("before and after ablation, no_grad", ablation(torch.no_grad))
print("before and after ablation, inference_mode", ablation(torch.inference_mode))
print("before and after ablation, without cache", ablation(torch.no_grad, cache_enabled=False))
PYTHON
"$folder/env/bin/python" "$folder/train.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
losses, float32 [2.5, 0.3, 0.0]
losses, autocast [2.5, 2.5, 2.5]
losses, autocast without cache [2.5, 0.3, 0.0]
before and after ablation, no_grad (1.0, 1.0)
before and after ablation, inference_mode (1.0, 0.0)
before and after ablation, without cache (1.0, 0.0)
SEEN
