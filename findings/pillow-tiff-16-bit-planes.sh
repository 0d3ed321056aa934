#!/usr/bin/env bash
# Pillow reads a 16-bit colour TIFF with separate planes as if its samples had 8 bits.
#
# Versions: Pillow 13.0.0, tifffile 2026.3.3, NumPy 2.4.6, Python 3.11.
# Behaviour: an uncompressed RGB image of uint16 whose planes are stored one after the other
#   (PlanarConfiguration 2) is opened as RGB without an error. Low and high bytes of the samples
#   become pixels in turn, so that the left half of the image is seen twice as wide, with stripes,
#   and the right half not at all. The same image with interleaved samples, or with compression, is
#   reduced to its high bytes.
# Expected: the high bytes in both cases, as Pillow has no mode for 16-bit colour.
# Who is hurt: scanners, cameras and microscopes that write planes; the picture has the right size
#   and plausible colours, so that nobody looks twice in a folder of thousands.
# Fails if any of these cases changes.
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

written = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000
print("high bytes of the first row, red:", (written[0, :, 0] >> 8).tolist())
for planes in ("contig", "separate"):
    for compression in (None, "zlib"):
        path = f"{sys.argv[1]}/image.tif"
        tifffile.imwrite(
            path,
            written if planes == "contig" else written.transpose(2, 0, 1),
            byteorder="<",
            photometric="rgb",
            planarconfig=planes,
            compression=compression,
        )
        with Image.open(path) as image:
            row = np.asarray(image)[0, :, 0].tolist()
        print(planes, compression or "uncompressed", image.mode, row)
PYTHON
"$folder/env/bin/python" "$folder/read.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
high bytes of the first row, red: [0, 11, 23, 35, 46]
contig uncompressed RGB [0, 11, 23, 35, 46]
contig zlib RGB [0, 11, 23, 35, 46]
separate uncompressed RGB [0, 0, 184, 11, 112]
separate zlib RGB [0, 11, 23, 35, 46]
SEEN
