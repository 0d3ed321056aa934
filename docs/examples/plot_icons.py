"""
Icons in photographs
====================

Few-shot detection: eight icons, with a single example each, are detected and
labelled in photographs.
"""

# %%
# Icons
# -----
# The icons are those of Matplotlib's toolbar. Their alpha channel is bright on
# black, as ``InstanceLocalizer`` requires.

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

names = [
    "back",
    "filesave",
    "forward",
    "help",
    "home",
    "move",
    "subplots",
    "zoom_to_rect",
]
folder = Path(matplotlib.get_data_path()) / "images"
files = [Image.open(folder / f"{name}_large.png") for name in names]
icons = np.stack(
    [
        np.asarray(file.convert("RGBA").getchannel("A").resize((28, 28)))
        for file in files
    ]
)

# %%
# Augmentation
# ------------
# A single example does not show how an icon may vary. We augment each icon
# with twenty variants that are rotated by up to 8 degrees.

from scipy.ndimage import rotate

rng = np.random.default_rng(0)
X = [
    rotate(icon, rng.uniform(-8, 8), reshape=False, order=1)
    for icon in icons
    for _ in range(20)
]
y = np.repeat(names, 20)

# %%
# Train
# -----
# Two photographs are examples of background.

from skimage.data import astronaut, chelsea

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(
    n_instance_crops=2000,
    n_background_crops=2000,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(X, y, background_images=[astronaut(), chelsea()])

# %%
# Detect
# ------
# The scenes show the icons on two further photographs, at 0.8 to 2 times their
# size. The ground truth is known, so the picture marks missed icons and false
# detections.

from skimage.data import coffee, rocket

from sklearn_similar.datasets import make_scenes
from sklearn_similar.display import InstancesDisplay
from sklearn_similar.metrics import detection_scores

scenes, truth = make_scenes(
    icons,
    names,
    n_scenes=2,
    size=(380, 560),
    n_instances=10,
    scale=(0.8, 2),
    background_images=[rocket(), coffee()],
    random_state=0,
)
instances = localizer.localize(scenes)
InstancesDisplay.from_predictions(scenes, instances, truth=truth)

# %%
# The scores, and the number of detections of each icon:

print(detection_scores(truth, instances))
instances["label"].value_counts().to_frame()
