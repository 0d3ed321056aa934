"""
Detect objects in your photographs
==================================

From a photograph to crops, from crops to a table, from the table to a count:
nine coins from one half of a photograph are enough to detect all 24.
"""

# %%
# The photograph
# --------------
# It ships with scikit-image: Greek coins from Pompeii, on a background that is
# lighter at the top left than elsewhere. For your photograph, use
# ``Image.open("coins.jpg").convert("L")``.

from PIL import Image
from skimage.data import coins

photograph = Image.fromarray(coins())

# %%
# Crops
# -----
# Cut out some coins, tightly. The list has the left edge, the top edge and the
# side of nine coins, in pixels, as an image viewer shows them. All crops are
# scaled to the same size; 28x28 is enough for most objects.
# ``InstanceLocalizer`` expects objects that are brighter than their
# background, like these coins. For darker objects, invert the crops and pass
# ``polarity="dark"``.

boxes = [
    (20, 32, 48),
    (78, 34, 44),
    (132, 28, 48),
    (24, 103, 44),
    (82, 106, 40),
    (132, 106, 44),
    (23, 176, 42),
    (78, 174, 46),
    (132, 176, 44),
]
crops = [
    photograph.crop((x, y, x + side, y + side)).resize((28, 28))
    for x, y, side in boxes
]

# %%
# Train
# -----
# There is a single kind of object, so all labels are the same. Examples of
# background are not needed: ``fit`` pastes the crops into scenes and uses the
# remaining regions of the scenes as background. For such a simple object, a
# thousand crops of coins and of background are enough, and hard-negative
# mining is not needed.
#
# ``fit`` warns that nine crops are too few to hold some out: scores are not
# calibrated, and boxes are those of regions. For coins that differ so clearly
# from their background, neither is needed.

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(
    n_instance_crops=1000,
    n_background_crops=1000,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(crops, ["coin"] * len(crops))

# %%
# A table
# -------
# Each row is a coin: its label, its score, the maximum heatmap value in it,
# and its box in pixels. The first five:

instances = localizer.localize([photograph])
instances.head().round(2)

# %%
# A picture
# ---------

from sklearn_similar.display import InstancesDisplay

InstancesDisplay.from_predictions([photograph], instances)

# %%
# A count
# -------
# pandas gives the number of coins and their sizes, the mean of the width and
# the height of each box.

width = instances["x_max"] - instances["x_min"]
height = instances["y_max"] - instances["y_min"]
sizes = (width + height) / 2
print(f"{len(instances)} coins, {sizes.min():.0f} to {sizes.max():.0f} pixels")
sizes.groupby(sizes // 10 * 10).size().rename("coins").to_frame()

# %%
# Nine of the 24 coins are in the training data. None of them is from the right
# half of the photograph:

right_half = instances[instances["x_min"] >= photograph.width / 2]
print(f"{len(right_half)} coins in the right half")

# %%
# If your photographs show more than coins on a table, a few images without
# coins help: ``fit(crops, labels, background_images=...)``. :doc:`plot_icons`
# has several labels and photographs. :doc:`../user_guide/faq` has remedies for
# missed and false detections.
