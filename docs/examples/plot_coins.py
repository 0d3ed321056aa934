"""
Find things in your own photographs
===================================

From a photograph to crops, from crops to a table, from the table to a count:
nine coins out of one half of a photograph are enough to find all 24.
"""

# %%
# The photograph
# --------------
# It is one of scikit-image's: Greek coins from Pompeii, on a ground that is
# lighter at the top left than elsewhere. With a photograph of your own, this
# line would be ``Image.open("coins.jpg").convert("L")``.

from PIL import Image
from skimage.data import coins

photograph = Image.fromarray(coins())

# %%
# Crops
# -----
# Cut out some coins, close to their edges. Here are the left edge, the top
# edge and the side of nine, in pixels, as any image viewer shows them. All
# crops are scaled to one size; 28x28 is enough for most things.
# ``InstanceLocalizer`` expects what is brighter than its background, as these
# coins are; for what is darker, invert crops and pass ``polarity="dark"``.

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
# There is one kind of thing to find, so all labels are the same. What is no
# coin need not be shown: ``fit`` pastes the crops into scenes and learns from
# the scenes' other regions. A thousand crops of each are enough for so simple
# a thing. Mining for mistakes would take longer and is left out.

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
# One row is one coin: its label, its score, the greatest heat in it, and its
# box in pixels. The first five:

instances = localizer.localize([photograph])
instances.head().round(2)

# %%
# A look
# ------

from sklearn_similar.display import InstancesDisplay

InstancesDisplay.from_predictions([photograph], instances)

# %%
# A count
# -------
# The rest is pandas: how many, and how large. Sizes are of the boxes, the mean
# of width and height.

width = instances["x_max"] - instances["x_min"]
height = instances["y_max"] - instances["y_min"]
sizes = (width + height) / 2
print(f"{len(instances)} coins, {sizes.min():.0f} to {sizes.max():.0f} pixels")
sizes.groupby(sizes // 10 * 10).size().rename("coins").to_frame()

# %%
# Nine of the 24 were trained on. The right half of the photograph was not seen
# before:

unseen = instances[instances["x_min"] >= photograph.width / 2]
print(f"{len(unseen)} coins in the right half")

# %%
# Where a photograph has more in it than coins on a table, a few images without
# coins help: ``fit(crops, labels, background_images=...)``. :doc:`plot_icons`
# has several labels and photographs. If too little or too much is found, look
# at :doc:`../user_guide/faq`.
