"""
Count blood cells
=================

Boxes in twelve photographs train a detector of three kinds of blood cells,
with a pretrained network. It counts the cells in further photographs.
"""

# %%
# Photographs and boxes
# ---------------------
# The photographs of stained blood come from the BCCD dataset (MIT licence), as
# Pascal VOC files: each photograph has an XML file with its boxes.
# :func:`~sklearn_similar.datasets.load_annotations` returns the paths of the
# photographs and a table with a row for each box. Cells touch each other,
# and many cells in these photographs have no box.

import os
from pathlib import Path

from sklearn_similar.datasets import load_annotations

data = Path(os.environ["SKLEARN_SIMILAR_DATA"])
folder = data / "photographs" / "blood_cells"
photographs, boxes = load_annotations(folder / "train")
photographs, boxes = photographs[:12], boxes[boxes["image"] < 12]
boxes["label"].value_counts()

# %%
# Train
# -----
# The pretrained network processes each photograph once, and a classifier is
# trained on its features in the boxes and around them. Photographs are held
# out in turn to calibrate the scores, so that a score is the probability that
# the detection is right.

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(backbone="efficientnet_lite0", random_state=0)
localizer.fit(photographs, boxes)

# %%
# Detect
# ------
# Two photographs that were not used for training. Detections of true boxes are
# solid, missed boxes are dotted. For speed, the test has twelve photographs.

from sklearn_similar.display import InstancesDisplay

test_photographs, truth = load_annotations(folder / "test")
test_photographs, truth = test_photographs[:12], truth[truth["image"] < 12]
detections = localizer.localize(test_photographs)

two = test_photographs[:2]
InstancesDisplay.from_predictions(
    two, detections[detections["image"] < 2], truth=truth[truth["image"] < 2]
)

# %%
# In all of the test photographs:

from sklearn_similar.metrics import detection_scores

scores = detection_scores(truth, detections)
print(f"precision {scores.precision:.2f}, recall {scores.recall:.2f}")

# %%
# Some of the false detections are cells without a box.
#
# Count
# -----
# :meth:`~sklearn_similar.InstanceLocalizer.count` adds up the scores, and
# gives an interval for each number.

counts = localizer.count(test_photographs)
counts.head(6)

# %%
# Sums over all test photographs, next to the numbers of boxes:

totals = counts.groupby("label")["count"].sum().round(1).to_frame("counted")
totals.assign(boxes=truth["label"].value_counts())

# %%
# The intervals cover the uncertainty of the scores alone. They do not cover
# cells without boxes, so that the numbers of red cells differ by more.
# :doc:`../user_guide/photographs` has the figures for all 80 training
# photographs, and compares them with further methods.
