#!/usr/bin/env bash
# Boxes in the results change COCO's average precision of masks by size, in three evaluators.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0, NumPy 2.4.6, Python 3.11.
# Behaviour: loadRes takes the area of a detection from its box if the first result has the key
#   "bbox", even if masks are evaluated, and from its mask otherwise. Detections of thin objects
#   then belong to another size than the objects: false ones are not counted there, and the average
#   precision of small objects is 1 in place of .5. The value for all sizes does not change.
# Expected: the same figures, as masks are compared in both cases. COCO defines the sizes by the
#   area of the mask.
# Who is hurt: evaluation of cracks, roots, fibres, cables and other thin, slanted objects.
#   Whether a framework writes boxes next to its masks decides which of two networks is better on
#   small objects.
# Fails if any of these figures changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pycocotools==2.0.11 faster-coco-eval==1.8.0 hotcoco==1.3.0 \
    numpy==2.4.6
cat > "$folder/evaluate.py" <<'PYTHON'
import contextlib
import io
import json
import sys

import faster_coco_eval
import hotcoco
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

path = f"{sys.argv[1]}/annotations.json"


def fibre(top):
    pixels = np.zeros((200, 200), np.uint8, order="F")
    for step in range(100):
        pixels[top + step, step : step + 3] = 1
    encoded = coco_mask.encode(pixels)
    mask = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    return {"image_id": 1, "category_id": 1, "segmentation": mask}


def statistics(coco, evaluator, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco(path)
        evaluation = evaluator(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return f"all sizes {evaluation.stats[0]:.2f}, small {evaluation.stats[3]:.2f}"


box = coco_mask.toBbox(fibre(0)["segmentation"]).tolist()
truth = {
    "images": [{"id": 1, "width": 200, "height": 200, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "fibre"}],
    "annotations": [{**fibre(0), "id": 1, "area": 300, "bbox": box, "iscrowd": 0}],
}
with open(path, "w") as stream:
    json.dump(truth, stream)
for name, coco, evaluator in (
    ("pycocotools", COCO, COCOeval),
    ("faster-coco-eval", faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    ("hotcoco", hotcoco.COCO, hotcoco.COCOeval),
):
    for with_boxes in (False, True):
        results = [fibre(100) | {"score": 0.95}, fibre(0) | {"score": 0.9}]  # false, true
        if with_boxes:
            for result in results:
                result["bbox"] = coco_mask.toBbox(result["segmentation"]).tolist()
        kind = "with boxes:" if with_boxes else "masks only:"
        print(name, kind, statistics(coco, evaluator, results))
PYTHON
"$folder/env/bin/python" "$folder/evaluate.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
pycocotools masks only: all sizes 0.50, small 0.50
pycocotools with boxes: all sizes 0.50, small 1.00
faster-coco-eval masks only: all sizes 0.50, small 0.50
faster-coco-eval with boxes: all sizes 0.50, small 1.00
hotcoco masks only: all sizes 0.50, small 0.50
hotcoco with boxes: all sizes 0.50, small 1.00
SEEN
