#!/usr/bin/env bash
# Pillow loses the transparency of grey PNG files of 2 and 4 bits that have a transparent value.
#
# Versions: Pillow 13.0.0, pypng 0.20220715.0, Python 3.11.
# Behaviour: Pillow scales the pixels of 2 and 4 bits to 8 bits (1 becomes 85 or 17), but keeps the
#   transparent value of the file (1). convert("RGBA") compares the two, and finds no transparent
#   pixel. With 1 and 8 bits it is right.
# Expected: the alpha channel that the PNG specification defines, which pypng returns.
# Who is hurt: whoever composes icons, stamps and line art on a background, or masks it: optimisers
#   of PNG files choose few bits and a transparent value for just these pictures.
# Fails if any of these cases changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pillow==13.0.0 pypng==0.20220715.0
cat > "$folder/read.py" <<'PYTHON'
import sys

import png
from PIL import Image

path = f"{sys.argv[1]}/image.png"
for depth in (1, 2, 4, 8):
    values = [0, 1, 2**depth - 1]
    writer = png.Writer(3, 1, greyscale=True, bitdepth=depth, transparent=1)
    with open(path, "wb") as stream:
        writer.write(stream, [values])
    *_, rows, _ = png.Reader(path).asRGBA8()
    expected = list(next(iter(rows)))[3::4]
    with Image.open(path) as image:
        alpha = list(image.convert("RGBA").getchannel("A").tobytes())
    print(depth, "bits:", values, "alpha in Pillow", alpha, "in pypng", expected)
PYTHON
"$folder/env/bin/python" "$folder/read.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
1 bits: [0, 1, 1] alpha in Pillow [255, 0, 0] in pypng [255, 0, 0]
2 bits: [0, 1, 3] alpha in Pillow [255, 255, 255] in pypng [255, 0, 255]
4 bits: [0, 1, 15] alpha in Pillow [255, 255, 255] in pypng [255, 0, 255]
8 bits: [0, 1, 255] alpha in Pillow [255, 0, 255] in pypng [255, 0, 255]
SEEN
