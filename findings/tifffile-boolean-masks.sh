#!/usr/bin/env bash
# A boolean mask that tifffile writes is its own negative in every other reader.
#
# Versions: tifffile 2026.3.3, Pillow 13.0.0, opencv-python-headless 4.13.0.92, NumPy 2.4.6,
#   Python 3.11.
# Behaviour: imwrite of a boolean array stores True as the bit 1 with the photometric
#   interpretation 0 (white is zero), by which 1 is black. imread returns the bits, so that a round
#   trip with tifffile is right; readers that follow the tag show the object black on white. The
#   same mask as uint8 is written with black as zero, and all readers agree.
# Expected: black is zero for boolean arrays too, or an inversion in reading.
# Who is hurt: segmentation masks and ground truth that pass from one library to another. Scores
#   against a negative are low but not zero, where objects fill half of the image.
# Fails if a reader or the tag changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q tifffile==2026.3.3 pillow==13.0.0 \
    opencv-python-headless==4.13.0.92 numpy==2.4.6
cat > "$folder/masks.py" <<'PYTHON'
import sys

import cv2
import numpy as np
import tifffile
from PIL import Image

# 32 pixels of an object.
mask = np.zeros((16, 16), bool)
mask[4:8, 4:12] = True
for name, written in (("bool", mask), ("uint8", mask.astype(np.uint8) * 255)):
    path = f"{sys.argv[1]}/{name}.tif"
    tifffile.imwrite(path, written)
    with tifffile.TiffFile(path) as tiff:
        print(f"{name}: photometric", tiff.pages[0].photometric.name)
    readers = {
        "tifffile": tifffile.imread(path),
        "Pillow": np.asarray(Image.open(path)),
        "OpenCV": cv2.imread(path, cv2.IMREAD_UNCHANGED),
    }
    for reader, pixels in readers.items():
        n_white = np.count_nonzero(pixels)
        print(f"{name}: {n_white} of 256 pixels are white in {reader}")
PYTHON
"$folder/env/bin/python" "$folder/masks.py" "$folder" 2>&1 | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
bool: photometric MINISWHITE
bool: 32 of 256 pixels are white in tifffile
bool: 224 of 256 pixels are white in Pillow
bool: 224 of 256 pixels are white in OpenCV
uint8: photometric MINISBLACK
uint8: 32 of 256 pixels are white in tifffile
uint8: 32 of 256 pixels are white in Pillow
uint8: 32 of 256 pixels are white in OpenCV
SEEN
