"""A synthetic scene, the images it is made of, and figures common to all kinds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike

# Maximum share of a scene's side that an instance may take.
MAX_INSTANCE_SHARE = 0.6
# More instances than this in a scene, of images of a few pixels, teach nothing new.
MAX_INSTANCES = 200


@dataclass(frozen=True)
class Scene:
    """A synthetic image and the instances in it.

    Attributes
    ----------
    pixels : tensor of shape (n_channels, height, width)
        float32 in [0, 1].
    boxes : ndarray of shape (n_instances, 4)
        x_min, y_min, x_max and y_max in pixels, half-open, float64.
    labels : ndarray of int of shape (n_instances,)
        Row of the image that each instance shows; -1 for a look-alike that is not an
        instance.
    """

    pixels: torch.Tensor
    boxes: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_levels(
        cls,
        levels: np.ndarray,
        boxes: ArrayLike = (),
        labels: ArrayLike = (),
    ) -> Self:
        """The scene of an image with levels from 0 to 255, channels last if any."""
        channels = np.atleast_3d(levels).transpose(2, 0, 1)
        pixels = torch.from_numpy(np.ascontiguousarray(channels, np.float32))
        return cls(
            pixels.clamp(0, 255) / 255,
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(labels, int),
        )

    def rounded(self, n_levels: int) -> Self:
        """The scene with so many grey levels above black, as an image of few bits."""
        return replace(self, pixels=(self.pixels * n_levels).round() / n_levels)

    def negative(self) -> Self:
        """The scene in the wrong polarity, in which nothing is an instance."""
        return replace(
            self, pixels=1 - self.pixels, labels=np.full_like(self.labels, -1)
        )


@dataclass(frozen=True)
class SceneImages:
    """Images that scenes are made of.

    Attributes
    ----------
    instances : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        One object each, uint8; bright on black, unless there are masks.
    backgrounds : sequence of ndarray
        Images without instances, of any sizes, uint8.
    masks : ndarray of shape (n, height, width), or None
        Opacity of the instances' pixels, uint8. None: they are as opaque as bright.
    """

    instances: np.ndarray
    backgrounds: Sequence[np.ndarray] = ()
    masks: np.ndarray | None = None

    @property
    def side(self) -> int:
        """Maximum of the instances' height and width in pixels."""
        return max(self.instances.shape[1:3])

    @property
    def n_channels(self) -> int | None:
        """Channels of the instances; None if they have no such axis."""
        return self.instances.shape[3] if self.instances.ndim == 4 else None


@dataclass(frozen=True, kw_only=True)
class KindRecipe:
    """Figures that all kinds of training scenes have.

    Attributes
    ----------
    share : float
        Scenes for each training crop of an instance that is asked for. With the
        instances of a scene, it decides how much of the training a kind takes.
    side : int
        Height and width of a scene in pixels.
    negative_every : int, default=0
        Every so many scenes, a scene is followed by its negative; 0 for never.
    image_side : int, default=28
        Side of the images for which `share` and `side` are meant, that of MNIST.
    max_growth : float, default=3.0
        Maximum factor of a scene's side for larger images. Sides grow with the square
        root of the images' side, so that scenes of images of 252 pixels (9 x 28) and
        more hold fewer instances but no more pixels.
    """

    share: float
    side: int
    negative_every: int = 0
    image_side: int = 28
    max_growth: float = 3.0

    def suits(self, images: np.ndarray) -> bool:
        """Whether scenes of this kind can be made of these images."""
        del images
        return True

    def adapted_to(self, image_side: int, rotation: float) -> Self:
        """The recipe for images of a side, rotated by at most an angle in degrees."""
        del rotation
        return replace(
            self,
            side=round(self._growth(image_side) * self.side),
            share=self.share / self._density(image_side),
        )

    def n_scenes(self, n_instances: int) -> int:
        """Number of scenes where so many instances are asked for, without negatives."""
        return max(1, round(self.share * n_instances))

    def n_negatives(self, n_scenes: int) -> int:
        """Number of negatives of so many scenes."""
        return -(-n_scenes // self.negative_every) if self.negative_every else 0

    def _growth(self, image_side: int) -> float:
        """Factor of a scene's side."""
        return min(max(1, image_side / self.image_side) ** 0.5, self.max_growth)

    def _density(self, image_side: int) -> float:
        """Factor of the number of instances in a scene."""
        growth = image_side / self.image_side
        return min(1, (self._growth(image_side) / growth) ** 2)


def scale_within(scale: tuple[float, float], maximum: float) -> tuple[float, float]:
    """A range of scales, clipped to a maximum; it never becomes a single scale."""
    return min(scale[0], maximum / 2), min(scale[1], maximum)
