"""A warning of detections that are suspiciously many and small.

A localizer that learnt from crops of photographs alone knows the background of its
synthetic scenes, but not that of the photographs.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .._images.messages import warn_user
from .._images.rasters import Raster
from .crop_specification import CropSpecification
from .detections import Detections


@dataclass(frozen=True, kw_only=True)
class CrowdingRecipe:
    """When detections are suspiciously many and small.

    The size of the objects in photographs is not known. But crops are usually reduced
    to the size of training images, so that objects are larger than these. With eight
    crops of playing cards of 160 pixels, reduced to 28, there were 220 detections per
    megapixel with a median of 34 pixels, nearly all of them false; blood cells, of
    which there are up to 200 per megapixel, have 50 pixels.

    Attributes
    ----------
    min_detections : int
        Minimum number of detections; fewer are looked through quickly.
    min_density : float
        Minimum number of detections per megapixel.
    max_size : float
        Maximum of the median longer side of the detections, as a multiple of the longer
        side of the training images.
    """

    min_detections: int = 50
    min_density: float = 100.0
    max_size: float = 1.5


class CrowdingCheck:
    """Counts pixels and detections of a search, and warns after its last image.

    Parameters
    ----------
    specification : CropSpecification
        Of the training images.
    recipe : CrowdingRecipe
    """

    def __init__(
        self,
        specification: CropSpecification,
        recipe: CrowdingRecipe = CrowdingRecipe(),
    ):
        self._training_side = max(specification.size)
        self._recipe = recipe
        self._n_pixels = 0
        self._sides = [np.empty(0)]

    def images(self, groups: Iterable[list[Raster]]) -> Iterator[list[Raster]]:
        """The images, whose pixels are counted."""
        for group in groups:
            self._n_pixels += sum(math.prod(image.size) for image in group)
            yield group

    def detections(self, detections: Iterable[Detections]) -> Iterator[Detections]:
        """The detections of each image; warns after the last."""
        for of_image in detections:
            self._sides.append(of_image.proposals.longer_side())
            yield of_image
        self._warn(np.concatenate(self._sides))

    def _warn(self, sides: np.ndarray) -> None:
        recipe, megapixels = self._recipe, self._n_pixels / 1e6
        if len(sides) < max(recipe.min_detections, recipe.min_density * megapixels):
            return
        median = np.median(sides)
        if median > recipe.max_size * self._training_side:
            return
        warn_user(
            f"{len(sides)} detections in {megapixels:.2g} megapixels, half of them at "
            f"most {median:.0f} pixels long, are suspiciously many and small. The "
            "localizer was fitted on crops of photographs without background_images, "
            "and many of the detections may be false: fit with background_images=, "
            "photographs without objects, set min_size= to the size of the smallest "
            "objects in pixels, or fit on photographs with boxes instead of crops."
        )
