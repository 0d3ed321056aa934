#!/usr/bin/env bash
# Four exports of the same rotated rectangle from Label Studio lie at three different places.
#
# Versions: label-studio-sdk 2.1.2, Python 3.11.
# Behaviour: Label Studio stores position and size in percent of the image, and an angle. Its
#   converter turns the corners in pixels for oriented YOLO, which is right; it turns them in
#   percent for COCO, which is right in square images only; and it leaves the angle out for Pascal
#   VOC and YOLO. No export warns.
# Expected: oriented corners where the format has them, and elsewhere the box around them.
# Who is hurt: whoever draws rotated rectangles on photographs, which are hardly ever square, and
#   exports them for a trainer. The boxes have plausible sizes, and lie next to the objects.
# Fails if any of these boxes changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q label-studio-sdk==2.1.2
cat > "$folder/export.py" <<'PYTHON'
import json
import logging
import math
import re
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter
from PIL import Image

WIDTH, HEIGHT = 400, 200
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="ship"/></RectangleLabels></View>"""
folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images/a.png")
rectangle = {"x": 50, "y": 25, "width": 25, "height": 20, "rotation": 30}
result = {
    "id": "r1",
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "original_width": WIDTH,
    "original_height": HEIGHT,
    "value": {**rectangle, "rectanglelabels": ["ship"]},
}
task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": [result]}]}
(folder / "tasks.json").write_text(json.dumps([task]))


def export(name):
    out = folder / name
    converter = Converter(CONFIG, str(folder), download_resources=False)
    converter.convert(str(folder / "tasks.json"), str(out), name, is_dir=False)
    return out


def around(corners):
    x, y = zip(*corners, strict=True)
    return [round(value) for value in (min(x), min(y), max(x), max(y))]


def read_coco(out):
    x, y, width, height = json.loads((out / "result.json").read_text())["annotations"][0]["bbox"]
    return around([(x, y), (x + width, y + height)])


def read_voc(out):
    text = next(out.glob("Annotations/*.xml")).read_text()
    return [int(re.search(f"<{key}>(.*?)</", text)[1]) for key in ("xmin", "ymin", "xmax", "ymax")]


def read_yolo(out):
    _, *values = map(float, next(out.glob("labels/*.txt")).read_text().split())
    if len(values) == 8:
        corners = zip(values[::2], values[1::2], strict=True)
        return around([(x * WIDTH, y * HEIGHT) for x, y in corners])
    x, y, width, height = values
    left, top = (x - width / 2) * WIDTH, (y - height / 2) * HEIGHT
    return around([(left, top), (left + width * WIDTH, top + height * HEIGHT)])


logging.disable()
x, y, width, height = 200, 50, 100, 40  # the rectangle in pixels, turned about its first corner
cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
sides = (0, 0), (width, 0), (width, height), (0, height)
print("drawn", around([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in sides]))
for name, read in (
    ("YOLO_OBB", read_yolo),
    ("COCO", read_coco),
    ("VOC", read_voc),
    ("YOLO", read_yolo),
):
    print(name, read(export(name)))
PYTHON
"$folder/env/bin/python" "$folder/export.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
drawn [180, 50, 287, 135]
YOLO_OBB [180, 50, 287, 135]
COCO [160, 50, 287, 110]
VOC [200, 50, 300, 90]
YOLO [200, 50, 300, 90]
SEEN
