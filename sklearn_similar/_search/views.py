"""Views: images as they are searched, in [0, 1], and their negatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._images.rasters import Raster

# Whether the negative of an image is searched, for each polarity.
NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}


@dataclass(frozen=True)
class Views:
    """Each of some images as it is, or as its negative, or both.

    Attributes
    ----------
    images : sequence of Raster
        Values in [0, 1].
    negatives : tuple of bool
        For each view of an image, whether it is the negative.
    any_contrast : bool
        Whether objects may be brighter or darker than their surroundings in a view.
    """

    images: Sequence[Raster]
    negatives: tuple[bool, ...] = (False,)
    any_contrast: bool = False

    @cached_property
    def rasters(self) -> list[Raster]:
        """The views, image by image."""
        return [
            image.map(lambda pixels: 1 - pixels).cached() if is_negative else image
            for image in self.images
            for is_negative in self.negatives
        ]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Height and width of each view."""
        sizes = [image.size for image in self.images]
        return np.repeat(np.reshape(sizes, (-1, 2)), len(self.negatives), axis=0)

    @property
    def contrasts(self) -> tuple[bool, ...]:
        """For each contrast in which regions are proposed, whether it is negative."""
        return (False, True) if self.any_contrast else self.negatives

    def __len__(self) -> int:
        return len(self.images) * len(self.negatives)

    def image_of(self, view: Any) -> Any:
        """Index of the image that a view, or each of several, shows."""
        return view // len(self.negatives)
