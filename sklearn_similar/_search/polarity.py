"""Whether objects are brighter or darker than their surroundings."""

from dataclasses import dataclass

import numpy as np
import torch

from .._images.images import to_grey
from .._images.messages import warn_user
from .crop_specification import CropSpecification, border_mask


@dataclass(frozen=True, kw_only=True)
class DarkOnLightRecipe:
    """When an image counts as a dark object on a light background.

    Most of its border is about as light as the border's light part, nothing is lighter,
    and something is much darker. Tightly cropped objects reach the border, and
    photographs that fill the image rarely have so plain a border. Chosen on digits as
    they are, cropped, dimmed and noisy, and on photographs.

    Attributes
    ----------
    quantile : float
        Of the border's grey levels, for its light part.
    min_level : float
        Minimum grey level of the light part.
    tolerance : float
        Difference of grey levels that are about as light.
    min_border_share : float
        Minimum share of the border that is about as light as its light part.
    min_contrast : float
        Minimum difference of grey levels of what is much darker.
    min_area : float
        Minimum share of the image that is much darker, and that is lighter.
    """

    quantile: float = 0.75
    min_level: float = 0.5
    tolerance: float = 0.1
    min_border_share: float = 0.5
    min_contrast: float = 0.25
    min_area: float = 0.02


_RECIPE = DarkOnLightRecipe()


def warn_if_dark_on_light(
    images: torch.Tensor, specification: CropSpecification
) -> None:
    """Warn if most of the training images, n x c x h x w, are dark on light."""
    grey = to_grey(specification.to_unit(images)).numpy()
    n_dark = int(are_dark_on_light(grey).sum())
    if n_dark > len(grey) / 2:
        warn_user(
            f"{n_dark} of {len(grey)} sampled images are dark on light, and are used "
            "as they are; bright objects on black are detected more reliably: pass "
            "the negative, 255 - X for 8-bit images, 1 - X for floats up to 1, and "
            "polarity='dark' for images like these.",
        )


def are_dark_on_light(
    images: np.ndarray, recipe: DarkOnLightRecipe = _RECIPE
) -> np.ndarray:
    """Whether each image, n x height x width in [0, 1], is a dark object on light."""
    border = images[:, border_mask(images.shape[1:])]
    level = np.quantile(border, recipe.quantile, axis=1)
    is_plain = np.abs(border - level[:, np.newaxis]) <= recipe.tolerance
    above = images - level[:, np.newaxis, np.newaxis]
    return (
        (level >= recipe.min_level)
        & (is_plain.mean(axis=1) >= recipe.min_border_share)
        & ((above < -recipe.min_contrast).mean(axis=(1, 2)) >= recipe.min_area)
        & ((above > recipe.tolerance).mean(axis=(1, 2)) < recipe.min_area)
    )
