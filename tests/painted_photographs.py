"""Photographs of coloured shapes on texture, with boxes, and tiny backbones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_similar._learning.recipe import learning_recipe

COLUMNS = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
BOX = COLUMNS[2:]
SIDE = 128


def texture(rng, size=(SIDE, SIDE)):
    """A grey-brown texture in [0, 1]."""
    noise = rng.standard_normal((*size, 1)) + 0.3 * rng.standard_normal((*size, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return (0.45 + 0.08 * smooth / smooth.std()).clip(0, 1)


def paint(image, label, x, y, side, colour=None):
    """Paint a red disc or a blue square, and return its box."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    inside = np.ones((side, side), bool)
    if label == "disc":
        inside = np.hypot(rows, columns) <= side / 2
    part = image[y : y + side, x : x + side]
    usual = (0.9, 0.2, 0.15) if label == "disc" else (0.1, 0.25, 0.9)
    part[inside] = usual if colour is None else colour
    return x, y, x + side, y + side


def make_photographs(n, seed=0, n_objects=4, size=(SIDE, SIDE), sides=(25, 32)):
    """Photographs, uint8, with objects in the cells of a grid, and the table."""
    rng = np.random.default_rng(seed)
    images, rows = [], []
    cell = max(sides) + 6
    places = [
        (x, y)
        for x in range(0, size[1] - cell + 1, cell)
        for y in range(0, size[0] - cell + 1, cell)
    ]
    for number in range(n):
        image = texture(rng, size)
        chosen = rng.permutation(len(places))[:n_objects]
        for index, place in enumerate(chosen):
            side = int(rng.integers(*sides))
            x, y = np.array(places[place]) + rng.integers(0, cell - side, 2)
            label = ("disc", "square")[index % 2]
            rows.append((number, label, *paint(image, label, x, y, side)))
        images.append(np.rint(image * 255).astype(np.uint8))
    return images, pd.DataFrame(rows, columns=COLUMNS)


def seeded_module(make, seed=0):
    """A network with the same random weights in every test."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def tiny_backbone(n_channels=3):
    """Strides 2, 4, 8 and 16, in blocks of a convolution and an activation."""
    widths = (n_channels, 8, 12, 16, 16)
    return seeded_module(
        lambda: nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())
                for a, b in pairwise(widths)
            )
        )
    )


def make_head():
    """A classifier of feature vectors that is trained fast."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def small_photograph_recipe(has_context, **changes):
    """The recipe of the fit of a localizer, for few boxes and short training."""
    recipe = learning_recipe(has_context)
    small = {
        "object_side": 27.5,
        "enlarged_side": 27.5,
        "small_object_side": 20,
        "n_window_sizes": 1,
        "n_far": 60,
        "n_jittered": 4,
        "n_near": 4,
        "penalty": 10.0,
        "max_mirrored": 0,
        "min_detailed": 0,
        "backbone": replace(
            recipe.photographs.backbone, max_pixels=3e5, n_epochs=(3, 8)
        ),
    }
    photographs = replace(recipe.photographs, **small | changes)
    return replace(recipe, photographs=photographs)
