"""
Letters on a photographed page
==============================

Letters that Matplotlib's fonts draw are enough to read most of a page that was
photographed at an angle, in a font that was not among them.
"""

# %%
# Letters
# -------
# Small and capital letters of eight fonts, bright on black, each 20 pixels
# high or wide. A capital letter has the label of the small one, as many look
# alike.

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
    """Draw a letter in the middle of 28x28 pixels."""
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
# No page is shown to it, and no background: textures stand in.

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
# The page is one of scikit-image's. Its small letters are 7 pixels high, which
# is about the least that is looked for, so it is enlarged. Ink is dark.

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
# Letters whose boxes share a good part of their heights are of one line. As
# the page is bent, each is compared with the last one on its left.

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
# What is written there:
#
# | Region-based segmentation
# | Let us first determine markers of the coins and the
# | background. These markers are pixels that we can label
# | unambiguously as either object or background. Here,
# | the markers are found at the two extreme parts of the
# | histogram of grey values:
#
# Most of what is missing are the letters i and l: a stroke by itself looks
# like a part of many other letters, and the dot of an i is no part of its
# region. Software that reads text would go on with a dictionary, and would not
# look for letters one by one; the point is that nothing here is made for text.

# %%
# Handwriting
# -----------
# Another of scikit-image's photographs is handwriting, seen at a steep angle.
# Four corners of a line turn it straight. Its letters are t, x, p and s; the
# rest is mathematics, which no letter stands for.

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
# The x is read, and the others are not. Letters of fonts do not teach
# handwriting: to read it, train on letters that were written by hand.
