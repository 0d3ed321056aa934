"""
Faces, cut out of photographs
=============================

Seventy faces, each with what is around it, are enough to find more than half
of other faces on other photographs, and little else. Crops need no black
ground.
"""

# %%
# Faces
# -----
# scikit-image has a hundred of "Labeled Faces in the Wild", of 25x25 pixels.
# Seventy are trained on, with their mirror images; thirty are for the test.

import numpy as np
from skimage.data import lfw_subset

faces = np.rint(255 * lfw_subset()[:100]).astype(np.uint8)
X = np.concatenate([faces[:70], faces[:70, :, ::-1]])
y = ["face"] * len(X)

# %%
# Train
# -----
# ``fit`` sees that the faces fill their frame, and pastes them into scenes as
# they are. These photographs show none:

from skimage.data import chelsea, coins
from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(
    n_instance_crops=3000,
    n_background_crops=3000,
    n_mining_rounds=0,
    random_state=0,
)
china, flower = load_sample_images().images
localizer.fit(X, y, background_images=[china, flower, chelsea(), coins()])
print("They fill their frame:", localizer.crop_specification_.fills_frame)

# %%
# Find
# ----
# The other faces, as ovals on other photographs. ``masks`` says what of an
# image is seen.

from skimage.data import brick, camera, coffee, rocket

from sklearn_similar.datasets import make_scenes
from sklearn_similar.display import InstancesDisplay
from sklearn_similar.metrics import detection_scores

row, column = np.mgrid[:25, :25] - 12
oval = np.hypot(row / 12.5, column / 10.5) < 1
scenes, truth = make_scenes(
    faces[70:],
    ["face"] * 30,
    masks=[oval] * 30,
    n_scenes=20,
    n_instances=(1, 3),
    scale=(1, 2.5),
    background_images=[brick(), camera(), coffee(), rocket()],
    background_brightness=1,
    random_state=0,
)
instances = localizer.localize(scenes)
InstancesDisplay.from_predictions(
    scenes[:6],
    instances[instances["image"] < 6],
    truth=truth[truth["image"] < 6],
)

# %%
# What is found is mostly a face; many are missed. A face has no edge all
# around: where hair or chin are as light as the photograph behind, no region
# is proposed. And seventy faces are few.

print(detection_scores(truth, instances))
