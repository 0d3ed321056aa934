"""
Correct boxes instead of drawing them
=====================================

A detector that was trained on a few photographs proposes boxes in more
photographs. Only its errors have to be corrected.
"""

# %%
# Photographs
# -----------
# Scenes stand in for photographs here, so that all boxes are known: digits
# from 0 to 3 on parts of two photographs. Four scenes are the photographs that
# a person has annotated. Twelve are new photographs, whose boxes will be
# corrected, and twenty are for the test.

from sklearn.datasets import load_sample_images

from sklearn_similar.datasets import load_mnist_sample, make_scenes

X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
is_chosen, is_test = y_train < 4, y_test < 4
china, flower = load_sample_images().images


def make_photographs(X, y, n, random_state):
    return make_scenes(
        X,
        y,
        n_scenes=n,
        scale=(1, 2),
        background_images=[china[..., 1], flower[..., 1]],
        background_brightness=0.5,
        random_state=random_state,
    )


X_train, y_train = X_train[is_chosen], y_train[is_chosen]
photographs, boxes = make_photographs(X_train, y_train, 4, 0)
new, new_truth = make_photographs(X_train, y_train, 12, 1)
test, test_truth = make_photographs(X_test[is_test], y_test[is_test], 20, 2)

# %%
# The first round
# ---------------

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(
    backbone="efficientnet_lite0", random_state=0
).fit(photographs, boxes)
print(f"{len(boxes)} boxes: F1 {localizer.score(test, test_truth):.2f}")

# %%
# Detect, and correct
# -------------------
# A low ``score_threshold`` gives more boxes to delete, and fewer to draw.
# False detections are dotted, missed objects have thick lines, and a wrong
# label counts as both.

from sklearn_similar.display import InstancesDisplay
from sklearn_similar.metrics import detection_scores

detections = localizer.set_params(score_threshold=0.3).localize(new)
InstancesDisplay.from_predictions(
    new[:4],
    detections[detections["image"] < 4],
    truth=new_truth[new_truth["image"] < 4],
)

# %%
scores = detection_scores(new_truth, detections)
print(f"{scores.n_matched} of {scores.n_true} objects need no correction")
print(f"{scores.n_predicted - scores.n_matched} false boxes or labels")

# %%
# ``dump_annotations`` writes the detections for an annotation tool, and
# ``load_annotations`` reads the corrected boxes: see
# :doc:`../user_guide/annotations`. Here, the true boxes stand in for them.
# Their column ``image`` continues that of the first photographs.

import pandas as pd

corrected = new_truth.assign(image=new_truth["image"] + len(photographs))

# %%
# The second round
# ----------------
# ``fit`` starts anew, with all photographs.

localizer.set_params(score_threshold=0.5)
all_boxes = pd.concat([boxes, corrected])
localizer.fit([*photographs, *new], all_boxes)
print(f"{len(all_boxes)} boxes: F1 {localizer.score(test, test_truth):.2f}")

# %%
# More rounds pay as long as the score on the test photographs rises. Keep
# these out of the training.
#
# Count
# -----
# The numbers of detections and of true objects in the test photographs:

from sklearn_similar.metrics import count_error

detections = localizer.localize(test)
print(f"Mean error of the count: {count_error(test_truth, detections):.2f}")
pd.DataFrame(
    {
        "true": test_truth["label"].value_counts(),
        "detected": detections["label"].value_counts(),
    }
)
