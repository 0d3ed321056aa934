#!/usr/bin/env bash
# safetensors 0.8 writes transposed NumPy arrays in the wrong order; safetensors 0.7 does not.
#
# Versions: safetensors 0.8.0 and 0.7.0, NumPy 2.4.6, Python 3.11.
# Behaviour: safetensors.numpy.save and save_file of 0.8.0 copy the memory of an array as it lies,
#   and write the shape next to it. A transposed or Fortran-ordered matrix therefore comes back with
#   the right shape and type, and with its values at other places. There is no error or warning. The
#   docstrings of both versions ask for contiguous arrays, but 0.7.0 makes them contiguous.
# Expected: the values that were saved, as before, or the error that safetensors.torch raises for
#   such tensors.
# Who is hurt: whoever exports weights from PyTorch with .numpy(), where a linear layer was
#   transposed for another framework or a network is in channels-last format, and whoever stores
#   results of LAPACK, which are often in Fortran order. The network runs, and predicts nonsense.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/save.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

path = f"{sys.argv[1]}/weights.safetensors"
weights = np.arange(6, dtype=np.float32).reshape(2, 3)
for name, array in (
    ("as made", weights),
    ("transposed", weights.T),
    ("Fortran order", np.asfortranarray(weights)),
    ("transposed, contiguous", np.ascontiguousarray(weights.T)),
):
    save_file({"weights": array}, path)
    loaded = load_file(path)["weights"]
    result = "right" if np.array_equal(loaded, array) else f"{array.tolist()} is {loaded.tolist()}"
    print(version("safetensors"), name, loaded.shape, result)
PYTHON
for version in 0.7.0 0.8.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q safetensors==$version numpy==2.4.6
    "$folder/$version/bin/python" "$folder/save.py" "$folder"
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
0.7.0 as made (2, 3) right
0.7.0 transposed (3, 2) right
0.7.0 Fortran order (2, 3) right
0.7.0 transposed, contiguous (3, 2) right
0.8.0 as made (2, 3) right
0.8.0 transposed (3, 2) [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] is [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
0.8.0 Fortran order (2, 3) [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] is [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
0.8.0 transposed, contiguous (3, 2) right
SEEN
