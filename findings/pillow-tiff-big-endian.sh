#!/usr/bin/env bash
# Pillow swaps the bytes of compressed big-endian TIFF samples that libtiff has already swapped.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6, Python 3.11, on a little-endian machine.
# Behaviour: signed 16-bit, 32-bit and float images in big-endian order with deflate compression
#   are opened without an error or a warning, and their values are wrong: 1 of int32 is 16777216,
#   and 1.0 of float32 is 4.6e-41. Unsigned 16-bit images, little-endian files and files without
#   compression are right.
# Expected: the values that were written, or an error.
# Who is hurt: microscopy, elevation models and other measurements, of which compressed copies are
#   kept (ImageJ, for one, writes big-endian files). Float images turn into numbers next to 0,
#   which a viewer shows as black and a network takes for an empty image.
# Fails if any of these combinations changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cat > "$folder/read.py" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

for dtype in ("uint16", "int16", "int32", "float32"):
    written = np.array([[1, 2], [3, 1000]], dtype)
    for order, name in (("<", "little-endian"), (">", "big-endian")):
        for compression in (None, "zlib"):
            path = f"{sys.argv[1]}/image.tif"
            tifffile.imwrite(path, written, byteorder=order, compression=compression)
            with Image.open(path) as image:
                values = np.asarray(image)
            assert np.array_equal(tifffile.imread(path), written)
            is_right = np.array_equal(values, written)
            result = "right" if is_right else values.ravel()[:2].tolist()
            print(dtype, name, compression or "uncompressed", result)
PYTHON
"$folder/env/bin/python" "$folder/read.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
uint16 little-endian uncompressed right
uint16 little-endian zlib right
uint16 big-endian uncompressed right
uint16 big-endian zlib right
int16 little-endian uncompressed right
int16 little-endian zlib right
int16 big-endian uncompressed right
int16 big-endian zlib [256, 512]
int32 little-endian uncompressed right
int32 little-endian zlib right
int32 big-endian uncompressed right
int32 big-endian zlib [16777216, 33554432]
float32 little-endian uncompressed right
float32 little-endian zlib right
float32 big-endian uncompressed right
float32 big-endian zlib [4.600602988224807e-41, 8.96831017167883e-44]
SEEN
