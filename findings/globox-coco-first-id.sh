#!/usr/bin/env bash
# Perfect detections score 1 or .25 on a COCO file of globox, as its first annotation has id 0.
#
# Versions: globox 2.9.0, pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0, NumPy 2.4.6,
#   Python 3.11.
# Behaviour: AnnotationSet.save_coco(auto_ids=True) counts annotations from 0. pycocotools and
#   faster-coco-eval store the id of the annotation that a detection matched, and take 0 for "no
#   match": the first object is missed, and its detection false. faster-coco-eval warns, pycocotools
#   does not; hotcoco and globox count the match. With ids from 1 all agree.
# Expected: an average precision of 1 from each, for detections that are the annotations.
# Who is hurt: everybody with few objects of a class, where one match is a large share; the figure
#   also depends on the order of the file. Label Studio's COCO export counts from 0, too.
# Fails if any of these figures changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q globox==2.9.0 pycocotools==2.0.11 faster-coco-eval==1.8.0 \
    hotcoco==1.3.0 numpy==2.4.6
cat > "$folder/evaluate.py" <<'PYTHON'
import contextlib
import copy
import io
import json
import sys
import warnings
from pathlib import Path

import faster_coco_eval
import globox
import hotcoco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def boxes(**score):
    return [
        globox.BoundingBox(label="cell", xmin=x, ymin=x, xmax=x + 50, ymax=x + 50, **score)
        for x in (10, 100)
    ]


def average_precision(coco, evaluator, truth):
    detections = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for annotation in truth["annotations"]
    ]
    path.write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        ground = coco(str(path))
        evaluation = evaluator(ground, ground.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return f"{evaluation.stats[0]:.2f}"


warnings.simplefilter("ignore")
path = Path(sys.argv[1]) / "annotations.json"
true, found = (
    globox.AnnotationSet([globox.Annotation("a.png", (200, 200), boxes(**score))])
    for score in ({}, {"confidence": 0.9})
)
evaluator = globox.COCOEvaluator(ground_truths=true, predictions=found)
print("globox's own evaluation", f"{evaluator.ap():.2f}")
true.save_coco(path, auto_ids=True)
written = json.loads(path.read_text())
for first_id in (0, 1):
    truth = copy.deepcopy(written)
    for annotation in truth["annotations"]:
        annotation["id"] += first_id
    print("ids", [annotation["id"] for annotation in truth["annotations"]])
    for name, coco, evaluator in (
        ("pycocotools", COCO, COCOeval),
        ("faster-coco-eval", faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
        ("hotcoco", hotcoco.COCO, hotcoco.COCOeval),
    ):
        print(" ", name, average_precision(coco, evaluator, truth))
PYTHON
"$folder/env/bin/python" "$folder/evaluate.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
globox's own evaluation 1.00
ids [0, 1]
  pycocotools 0.25
  faster-coco-eval 0.25
  hotcoco 1.00
ids [1, 2]
  pycocotools 1.00
  faster-coco-eval 1.00
  hotcoco 1.00
SEEN
