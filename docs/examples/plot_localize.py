"""
Where is which digit?
=====================

Handwritten digits were noted on photographs. This example trains a recogniser on single
digits, each alone in its image, and finds the digits on a photograph that training has
not seen. No box is drawn by hand, and no second network is trained.
"""

# %%
# What training lacks
# -------------------
# Single digits are not enough. The network has never seen what is *not* a digit, such
# as a twig, the edge of a roof or half a digit, and would call each of them one.
#
# ``make_training_crops`` adds it. It places the digits on photographs, noise and black,
# looks for bright parts just as ``localize`` will, and cuts them out. What shows a
# digit as a whole has its label; everything else has the label -1 for background.

from sklearn.datasets import load_sample_images

from sklearn_similar import make_training_crops
from sklearn_similar.datasets import load_mnist_sample

china, flower = load_sample_images().images
X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
X_train, y_train = make_training_crops(
    X,
    y,
    background=-1,
    photographs=[flower],
    n_instances=4000,
    n_background=4000,
    random_state=0,
)
print(f"{len(X)} digits given, {(y_train != -1).sum() - len(X)} cut out again")
print(f"{(y_train == -1).sum()} images of background")

# %%
# Some of the background. Several would pass for a 1 or a 0 at first sight.

import matplotlib.pyplot as plt
import numpy as np

background = X_train[y_train == -1]
chosen = background[np.linspace(0, len(background) - 1, 36).astype(int)]
_, axes = plt.subplots(3, 12, figsize=(8, 2.2), layout="constrained")
for ax, image in zip(axes.flat, chosen, strict=True):
    ax.imshow(image, cmap="gray")
    ax.axis("off")

# %%
# Train
# -----
# ``background=-1`` says that instances of -1 are not to be reported. The learning rate
# is higher at first than the default and falls faster.

from sklearn_similar import SimilarNetClassifier

model = SimilarNetClassifier(
    background=-1, lr=2e-3, lr_decay=2e-3, batch_size=50, max_epochs=5, random_state=0
).fit(X_train, y_train)
print(f"{model.score(X_test, y_test):.1%} of the test digits are recognised")

# %%
# Localise
# --------
# Test digits on the other photograph, half as large to three times as large as in
# training.

from sklearn_similar.datasets import make_scenes

scenes, truth = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(300, 480),
    n_instances=14,
    scale=(0.6, 3),
    ground=[china],
    random_state=1,
)
found = model.localize(scenes)
print(found.round(2).to_string())

# %%
# One row is one digit: what it is, how sure the network is of it, its box in pixels.


def draw(scene, found, ax):
    """Draw boxes with their labels."""
    ax.imshow(scene, cmap="gray", vmin=0, vmax=255)
    for row in found.itertuples():
        corner = row.x_min - 0.5, row.y_min - 0.5
        width, height = row.x_max - row.x_min, row.y_max - row.y_min
        ax.add_patch(plt.Rectangle(corner, width, height, fill=False, color="tomato"))
        ax.annotate(row.label, corner, color="tomato", va="bottom")
    ax.axis("off")


_, ax = plt.subplots(figsize=(8, 5), layout="constrained")
draw(scenes[0], found, ax)

# %%
# Where the digits are is known here, so the result can be scored. A box counts if it
# has the right label and overlaps a true one by half (intersection over union).

from sklearn_similar.metrics import detection_scores

print(detection_scores(truth, found))

# %%
# Dark on light
# -------------
# Pen on paper is dark on light. ``polarity="dark"`` looks at the negative, ``"both"``
# at the image and its negative. Nothing is trained again.

pages, _ = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(160, 400),
    n_instances=(25, 40),
    scale=(0.7, 1.5),
    polarity="dark",
    random_state=2,
)
_, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
draw(pages[0], model.set_params(polarity="dark").localize(pages), ax)

# %%
# What background is worth
# ------------------------
# The same digits without background, and the photograph without any digit:

shown = y_train != -1
without = SimilarNetClassifier(
    lr=2e-3, lr_decay=2e-3, batch_size=50, max_epochs=5, random_state=0
).fit(X_train[shown], y_train[shown])
model.set_params(polarity="bright")

_, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
grey = np.uint8(china.mean(axis=2))
for ax, estimator, title in zip(
    axes, (model, without), ("with background", "without"), strict=True
):
    false = estimator.localize([china])
    draw(grey, false, ax)
    ax.set_title(f"{title}: {len(false)} false")

# %%
# :doc:`../user_guide/localization` tells how it works, what its parameters do, and what
# it cannot do.
