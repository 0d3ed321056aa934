"""Heatmaps of images, from the activations of a trained network."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .._images.images import Images, release
from .._images.memory import within_working_memory
from .._images.messages import warn_user
from .._images.rasters import (
    Raster,
    explained_memory_error,
    is_large,
)
from .._network.locality import NotLocalError
from .._network.trained import TrainedNetwork, check_finite
from .._progress import with_progress
from .class_probability import Presence
from .extraction import (
    HeatmapSpecification,
    batch_activations,
    compute_heatmaps,
    image_activations,
)
from .maps import normalize_per_image
from .tiles import HeatmapTiles, heatmap_tiles

# Pixels of an image beyond which it is worth a warning that there are no tiles.
_MAX_UNTILED = 2**23


@dataclass(frozen=True, kw_only=True)
class HeatmapModel:
    """A trained network together with all that turns its activations into heatmaps.

    Attributes
    ----------
    network : TrainedNetwork
    specification : HeatmapSpecification
    normalization_constant : float
        Divides heatmaps of all classes.
    class_normalization_constants : ndarray of shape (n_classes,)
        Divide heatmaps of each class; their mean those of several classes.
    """

    network: TrainedNetwork
    specification: HeatmapSpecification
    normalization_constant: float
    class_normalization_constants: np.ndarray

    def heatmaps(
        self,
        images: Images,
        classes: np.ndarray | None,
        normalize: str | None,
        threshold: float | None,
        out: Any = None,
        verbose: int = 0,
    ) -> Any:
        """Heatmaps, height x width each; large images are worked on in tiles.

        Parameters
        ----------
        images : Images
        classes : ndarray of shape (n_images, n_targets) or None
            Classes to draw for each image; None: all of them together.
        normalize : {"validation", "image"} or None
        threshold : float or None
            Values below it become 0. Without normalisation it is a share of the
            normalisation constant.
        out : array or list of arrays, default=None
            Where heatmaps are written, one height x width for each image.
        verbose : int, default=0
            Whether to show progress bars.
        """
        # All classes together have no others to be contrasted with.
        if classes is not None and self.specification.contrastive:
            n_classes = len(self.class_normalization_constants)
            classes = classes if classes.shape[1] < n_classes else None
        constants = np.full(len(images), self.normalization_constant)
        if classes is not None:
            constants = self.class_normalization_constants[classes].mean(axis=1)
        specification = self._specification_for(classes)
        heatmaps = images.empty_heatmaps() if out is None else out
        large = np.array([is_large(pixels) for pixels in images.pixels], bool)
        with self.network.evaluation():
            presence = Presence(self.network, specification)
            for activations in with_progress(
                image_activations(
                    self.network,
                    specification,
                    images,
                    np.flatnonzero(~large) if large.any() else None,
                ),
                "heatmaps",
                int((~large).sum()),
                "image",
                verbose,
                size=lambda activations: len(activations.indices),
            ):
                indices = activations.indices
                heat = compute_heatmaps(
                    activations,
                    specification,
                    None if classes is None else classes[indices],
                    self.class_normalization_constants,
                )
                if classes is not None:
                    heat = presence.darken(heat, activations, classes[indices])
                check_finite(torch.from_numpy(heat), indices, "heat values")
                constant = constants[indices, np.newaxis, np.newaxis].astype(np.float32)
                heat = _normalize(heat, constant, normalize, threshold)
                for index, heatmap in zip(indices, heat, strict=True):
                    heatmaps[index][...] = heatmap
                release(heatmaps)
            for index in with_progress(
                np.flatnonzero(large).tolist(),
                "heatmaps in tiles",
                int(large.sum()),
                "image",
                verbose if large.any() else 0,
            ):
                image = Raster.from_pixels(
                    images.pixels[index], self.network.n_channels
                )
                with explained_memory_error(f"Image {index} of X", image.size):
                    raster = self.raster(
                        image,
                        None if classes is None else classes[[index]],
                        constants[index],
                        normalize,
                        threshold,
                        index,
                    )
                    raster.write(heatmaps[index])
        return heatmaps

    def raster(
        self,
        image: Raster,
        classes: np.ndarray | None,
        constant: float,
        normalize: str | None,
        threshold: float | None,
        index: int = 0,
    ) -> Raster:
        """Heatmap, 1 x height x width, of a large image.

        In evaluation mode; `classes` and `constant` are those of the image, and `index`
        is its position.
        """
        specification = self._specification_for(classes)
        tiles = self._tiles(image.size, specification)
        if tiles is None:
            heat = self._untiled(image, specification, classes)
        else:
            heat = tiles.raster(image, classes)

        def check(values: torch.Tensor) -> torch.Tensor:
            check_finite(values, np.array([index]), "heat values")
            return values

        heat = heat.map(check)
        if normalize == "image":
            low, high = heat.value_range()
            contrast = high - low if high > low else 1.0
            heat = heat.map(lambda values: (values - low) / contrast)
            normalize, constant = None, 1.0
        value = np.float32(constant)
        return heat.map(
            lambda values: torch.from_numpy(
                _normalize(values.numpy(), value, normalize, threshold)
            ),
        )

    def _specification_for(self, classes: np.ndarray | None) -> HeatmapSpecification:
        """Without what is only there for heatmaps of some classes, where it is not."""
        if classes is not None:
            return self.specification
        return replace(self.specification, outline_layer=None, trained_size=None)

    def _tiles(
        self, size: tuple[int, int], specification: HeatmapSpecification
    ) -> HeatmapTiles | None:
        """None, with a warning where that needs much, if there can be no tiles."""
        try:
            return heatmap_tiles(
                self.network, specification, self.class_normalization_constants
            )
        except NotLocalError as reason:
            if math.prod(size) > within_working_memory(_MAX_UNTILED):
                warn_user(
                    f"The heatmap of an image of {size[0]}x{size[1]} pixels is made in "
                    f"one piece, which may need more memory than there is: {reason}, "
                    "so that tiles would differ from it; pass smaller images, or name "
                    "an earlier layer."
                )
            return None

    def _untiled(
        self,
        image: Raster,
        specification: HeatmapSpecification,
        classes: np.ndarray | None,
    ) -> Raster:
        pixels = image.whole()[None]
        batch = pixels.contiguous(memory_format=self.network.memory_format)
        activations = batch_activations(
            self.network, specification, batch.to(self.network.device), np.zeros(1, int)
        )
        heat = compute_heatmaps(
            activations, specification, classes, self.class_normalization_constants
        )
        if classes is not None:
            presence = Presence(self.network, specification)
            heat = presence.darken(heat, activations, classes)
        return Raster.from_tensor(torch.from_numpy(heat))


def _normalize(
    heat: np.ndarray,
    constant: np.ndarray | np.float32,
    normalize: str | None,
    threshold: float | None,
) -> np.ndarray:
    """Normalised heatmaps, 0 below the threshold."""
    if normalize == "validation":
        heat, constant = heat / constant, np.float32(1)
    elif normalize == "image":
        heat, constant = normalize_per_image(heat), np.float32(1)
    return heat if threshold is None else np.where(heat < threshold * constant, 0, heat)
