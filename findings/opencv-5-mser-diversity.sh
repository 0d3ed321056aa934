#!/usr/bin/env bash
# OpenCV 5's MSER with default parameters proposes no region for discs on a plain background.
#
# Versions: opencv-python-headless 5.0.0.93 and 4.13.0.92, NumPy 2.4.6, Python 3.11.
# Behaviour: MSER_create() of OpenCV 4 finds each of 24 bright discs, sharp or blurred, and OpenCV
#   5 none. The parameters and their defaults are the same. With min_diversity=0, both return the
#   same regions. On photographs, OpenCV 5 returns some regions, but few.
# Expected: the regions of OpenCV 4. A minimum diversity removes regions that resemble a region
#   around them, and must leave one of them.
# Who is hurt: text detection and counting of cells or particles with MSER. After the upgrade an
#   image yields no or few proposals, as if it were empty.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/detect.py" <<'PYTHON'
import cv2
import numpy as np

y, x = np.mgrid[:240, :320]
discs = np.full((240, 320), 40, np.uint8)
for row in range(4):
    for column in range(6):
        discs[(y - 30 - 60 * row) ** 2 + (x - 28 - 52 * column) ** 2 <= 15**2] = 160
for name, image in (("sharp", discs), ("blurred", cv2.GaussianBlur(discs, (0, 0), 1.5))):
    for options in ({}, {"min_diversity": 0}):
        _, boxes = cv2.MSER_create(**options).detectRegions(image)
        boxes = np.asarray(boxes).reshape(-1, 4).tolist()
        centres = {(2 * x + w, 2 * y + h) for x, y, w, h in boxes}
        print(cv2.__version__, name, options, len(boxes), "regions of", len(centres), "discs")
PYTHON
for version in 4.13.0.92 5.0.0.93; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q opencv-python-headless==$version numpy==2.4.6
    "$folder/$version/bin/python" "$folder/detect.py"
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
4.13.0 sharp {} 24 regions of 24 discs
4.13.0 sharp {'min_diversity': 0} 24 regions of 24 discs
4.13.0 blurred {} 240 regions of 24 discs
4.13.0 blurred {'min_diversity': 0} 240 regions of 24 discs
5.0.0 sharp {} 0 regions of 0 discs
5.0.0 sharp {'min_diversity': 0} 24 regions of 24 discs
5.0.0 blurred {} 0 regions of 0 discs
5.0.0 blurred {'min_diversity': 0} 240 regions of 24 discs
SEEN
