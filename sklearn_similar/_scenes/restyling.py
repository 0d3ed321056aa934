"""Variants of training images: stretched, sheared, with strokes of other widths."""

import numpy as np
from scipy import ndimage

from .lines import draw_lines, is_of_strokes
from .recipe import TrainingSceneRecipe
from .rendering import to_uint8


def restyle(
    image: np.ndarray, recipe: TrainingSceneRecipe, rng: np.random.RandomState
) -> np.ndarray:
    """Stretch and shear an image a little; sometimes redraw, dilate or erode strokes.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels), uint8
    recipe : TrainingSceneRecipe
    rng : RandomState

    Returns
    -------
    ndarray of the shape of `image`, uint8
    """
    variant = image / 255
    changes_strokes = recipe.line_drawing_share + recipe.stroke_width_share > 0
    style = rng.uniform() if changes_strokes else 1.0
    is_line_drawing = style < recipe.line_drawing_share and is_of_strokes(image)
    if is_line_drawing:
        scale = 2 if max(image.shape[:2]) <= recipe.max_enlarged else 1
        variant = draw_lines(variant, scale, 1 + (rng.uniform() < 0.5))
    elif style < recipe.line_drawing_share + recipe.stroke_width_share:
        variant = _with_other_stroke_width(variant, rng)
    variant = _sheared(variant, recipe.shear, recipe.edge_mode, rng)
    if len(variant) > len(image):
        variant = _halved(variant)
    if is_line_drawing:
        # Averaging left lines fainter than strokes.
        variant = variant * (image.max() / 255 / max(variant.max(), 1e-6))
    restyled = to_uint8(variant)
    # Thin strokes can vanish.
    return restyled if restyled.max() >= image.max() / 2 else image


def _with_other_stroke_width(
    image: np.ndarray, rng: np.random.RandomState
) -> np.ndarray:
    """An image of twice the size, dilated or eroded by two or three pixels."""
    change = ndimage.grey_dilation if rng.uniform() < 0.5 else ndimage.grey_erosion
    channel_axes = (1,) * (image.ndim - 2)
    enlarged = ndimage.zoom(image, (2, 2, *channel_axes), order=1)
    return change(enlarged, (*rng.randint(2, 4, size=2), *channel_axes))


def _sheared(
    image: np.ndarray, shear: float, edge_mode: str, rng: np.random.RandomState
) -> np.ndarray:
    """An image under a random linear map around its centre."""
    matrix = np.eye(image.ndim)
    matrix[:2, :2] += rng.uniform(-shear, shear, size=(2, 2))
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset = np.zeros(image.ndim)
    offset[:2] = centre - matrix[:2, :2] @ centre
    return ndimage.affine_transform(image, matrix, offset, order=1, mode=edge_mode)


def _halved(image: np.ndarray) -> np.ndarray:
    """An image of half the size, by averaging 2 x 2 pixels."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image.reshape(height, 2, width, 2, *image.shape[2:]).mean(axis=(1, 3))
