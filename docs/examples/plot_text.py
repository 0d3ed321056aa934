"""
Letters on a photographed page
==============================

A localizer that is trained on letters of Matplotlib's fonts reads most of a
page in another font, photographed at an angle.
"""

# %%
# Letters
# -------
# The training images are lower-case and capital letters of eight fonts, bright
# on black, 20 pixels high or wide. A capital letter has the label of its
# lower-case letter, as many of them look similar.

import string
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

fonts = [
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "cmss10",
    "cmr10",
]
folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def draw(letter, font):
    """Draw a letter in the centre of 28x28 pixels."""
    left, top, right, bottom = font.getbbox(letter)
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), letter, font=font, fill=255)
    image.thumbnail((20, 20))
    tile = Image.new("L", (28, 28))
    tile.paste(image, ((28 - image.width) // 2, (28 - image.height) // 2))
    return np.asarray(tile)


X, y = [], []
for name in fonts:
    font = ImageFont.truetype(folder / f"{name}.ttf", 64)
    for letter in string.ascii_letters:
        X.append(draw(letter, font))
        y.append(letter.lower())

# %%
# Train
# -----
# The training data contains neither pages nor background images; synthetic
# textures are used.

from sklearn_similar import InstanceLocalizer

localizer = InstanceLocalizer(
    n_instance_crops=4000,
    n_background_crops=2000,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(X, y)

# %%
# Read
# ----
# The page ships with scikit-image. Its lower-case letters are 7 pixels high,
# about the minimum size of a region, so the page is enlarged. Ink is dark.

from skimage.data import page

from sklearn_similar.display import InstancesDisplay

photograph = Image.fromarray(page())
photograph = photograph.resize((3 * photograph.width, 3 * photograph.height))
localizer.set_params(polarity="dark")
letters = localizer.localize([photograph])
display = InstancesDisplay.from_predictions([photograph], letters)
display.figure_.set_size_inches(12, 6.5)

# %%
# Lines
# -----
# Letters are on the same line if the vertical overlap of their boxes is large.
# The page is bent, so each letter is compared with the previous letter of a
# line.

lines = []
for letter in letters.sort_values("x_min").itertuples():
    for line in lines:
        last = line[-1]
        shared = min(letter.y_max, last.y_max) - max(letter.y_min, last.y_min)
        heights = letter.y_max - letter.y_min, last.y_max - last.y_min
        if shared > 0.4 * min(heights):
            line.append(letter)
            break
    else:
        lines.append([letter])
for line in sorted(lines, key=lambda line: line[0].y_min):
    print("".join(letter.label for letter in line))

# %%
# The true text:
#
# | Region-based segmentation
# | Let us first determine markers of the coins and the
# | background. These markers are pixels that we can label
# | unambiguously as either object or background. Here,
# | the markers are found at the two extreme parts of the
# | histogram of grey values:
#
# Most of the missing letters are i and l: a single stroke looks like a part of
# many letters, and the dot of an i is a separate region. OCR software would
# use a dictionary and would not detect letters separately; this localizer does
# not have special support for text.

# %%
# Handwriting
# -----------
# Another photograph of scikit-image shows handwriting at a steep angle. The
# four corners of a line define a perspective transform that straightens it.
# Its letters are t, x, p and s; the remaining symbols are mathematics.

from skimage.data import text

corners = (155, 15), (65, 40), (260, 130), (360, 95)
line = Image.fromarray(text()).transform(
    (300, 100),
    Image.Transform.QUAD,
    [coordinate for corner in corners for coordinate in corner],
    Image.Resampling.BICUBIC,
)
written = localizer.localize([line])
display = InstancesDisplay.from_predictions([line], written)
display.figure_.set_size_inches(9, 3.2)

# %%
# Only some of the letters are read. Printed letters are not enough to learn
# handwriting: train on handwritten letters to read it.
