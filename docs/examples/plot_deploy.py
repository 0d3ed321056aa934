"""
Saving and deploying
====================

A fitted estimator is saved to a file that contains no code. A program on
another machine loads it, or the command line uses it without any program.
"""

# %%
# Train and save
# --------------
# The localizer is that of :doc:`plot_coins`, with fewer training crops.

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from skimage.data import coins

from sklearn_similar import InstanceLocalizer, save

photograph = Image.fromarray(coins())
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
localizer = InstanceLocalizer(
    n_instance_crops=500,
    n_background_crops=500,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(crops, ["coin"] * len(crops))

folder = TemporaryDirectory()
path = Path(folder.name) / "coins.safetensors"
save(localizer, path)
print(f"{path.name}: {os.path.getsize(path) / 1024:.0f} KiB")

# %%
# Load
# ----
# Loading does not run code from the file, and a damaged file is refused. The
# loaded estimator gives the same table, bit for bit on the same machine.

from sklearn_similar import load
from sklearn_similar.display import InstancesDisplay

loaded = load(path)
instances = loaded.localize([photograph])
print(instances.equals(localizer.localize([photograph])))
InstancesDisplay.from_predictions([photograph], instances)

# %%
# The code of your own network is not in the file: pass it with ``load(path,
# MyNetwork)``. For a file that only you write and read, pickle and joblib
# work, too; loading a pickle runs code. See
# :doc:`../user_guide/persistence`.
#
# Without Python code
# -------------------
# The command line reads the same file, searches a folder of images, and writes
# a table and a report for a browser. Here, the folder contains a single
# photograph.

import subprocess
import sys

images = Path(folder.name) / "photographs"
images.mkdir()
photograph.save(images / "pompeii.png")
command = "-m sklearn_similar localize coins.safetensors photographs"
options = "--out instances.csv --report report.html"
run = subprocess.run(
    [sys.executable, *command.split(), *options.split()],
    cwd=folder.name,
    capture_output=True,
    text=True,
    check=True,
)
print(run.stdout)

# %%
# The table:

import pandas as pd

table = pd.read_csv(Path(folder.name) / "instances.csv")
folder.cleanup()
table.head().round(2)

# %%
# :doc:`../user_guide/command_line` describes ``train`` and ``localize``, and
# :doc:`../user_guide/report` describes the report.

# sphinx_gallery_thumbnail_number = 1
