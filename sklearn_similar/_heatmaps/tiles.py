"""Heatmaps of large images, tile by tile, equal to those of the whole image."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from .._images.rasters import Raster, Window, tile_rows, tile_side, tiles, with_halo
from .._network.activations import FeatureMaps, extract_activations
from .._network.locality import Locality, NotLocalError, find_locality
from .._network.trained import TrainedNetwork
from .extraction import HeatmapSpecification, ImageActivations, compute_heatmaps
from .methods.contrastive import (
    ContrastiveWeights,
    class_scores_of,
    shares_of_competing,
)

# Radius of the smoothing of contrastive maps, in standard deviations.
_SMOOTHED = 3


@dataclass(frozen=True, kw_only=True)
class HeatmapTiles:
    """A network and a specification whose heatmaps can be made of tiles.

    Attributes
    ----------
    network : TrainedNetwork
        In evaluation mode, whenever heat is computed.
    specification : HeatmapSpecification
    class_constants : ndarray of shape (n_classes,)
        As in `compute_heatmaps`.
    locality : Locality
    """

    network: TrainedNetwork
    specification: HeatmapSpecification
    class_constants: np.ndarray
    locality: Locality

    @property
    def halo(self) -> int:
        """Pixels around a tile that its heat depends on."""
        halo = self.locality.halo + self.locality.step
        contrastive = self.specification.contrastive
        if contrastive:
            halo += math.ceil(_SMOOTHED * max(contrastive.smoothing)) + 2
        return halo

    @property
    def side(self) -> int:
        """Side of the tiles that fit into the memory budget."""
        locality = self.locality
        return tile_side(locality.bytes_per_pixel, self.halo, locality.step)

    def raster(self, image: Raster, classes: np.ndarray | None = None) -> Raster:
        """Heat of an image, before normalisation, 1 x height x width.

        Parameters
        ----------
        image : Raster
        classes : ndarray of shape (1, n_targets), default=None
            As in `compute_heatmaps`.
        """
        shares = None
        weights = self.specification.contrastive
        if classes is not None and weights:
            shares = self._shares(image, classes, weights)
        compute = partial(self._heat, image, classes, shares)

        def read(rows: slice, columns: slice) -> torch.Tensor:
            bands = [
                torch.cat([compute(part) for part in band], dim=2)
                for band in tile_rows((rows, columns), self.side)
            ]
            return torch.cat(bands, dim=1)

        return Raster(image.size, read)

    def _heat(
        self,
        image: Raster,
        classes: np.ndarray | None,
        shares: torch.Tensor | None,
        window: Window,
    ) -> torch.Tensor:
        activations, inner = self._activations(image, window, self.halo)
        heat = compute_heatmaps(
            activations, self.specification, classes, self.class_constants, shares
        )
        return torch.from_numpy(heat[:, *inner])

    def _activations(
        self, image: Raster, window: Window, halo: int
    ) -> tuple[ImageActivations, Window]:
        """Activations around a window, and where in their image it lies."""
        outer, inner = with_halo(window, halo, image.size, self.locality.step)
        batch = image.read(*outer)[None].contiguous(
            memory_format=self.network.memory_format
        )
        feature_maps = extract_activations(
            self.network.module,
            self.specification.layers,
            batch.to(self.network.device),
            self.specification.resolution,
        )
        return ImageActivations(np.zeros(1, int), feature_maps, batch.shape[2:]), inner

    def _shares(
        self, image: Raster, classes: np.ndarray, weights: ContrastiveWeights
    ) -> torch.Tensor:
        """Weights of the competing classes, from the activations of all tiles."""
        total, count = torch.zeros((), dtype=torch.float64), 0
        for window in tiles(image.size, self.side):
            activations, inner = self._activations(image, window, self.locality.halo)
            own = _cells(activations.feature_maps[-1], inner, window, image.size)
            part = own.relu().sum(dim=(2, 3), dtype=torch.float64)
            total = part + total
            count += own.shape[2:].numel()
        mean = (total / count).float()
        targets = torch.from_numpy(classes).to(mean.device)
        return shares_of_competing(class_scores_of(mean, weights), weights, targets)


def _cells(
    maps: FeatureMaps, inner: Window, window: Window, size: tuple[int, int]
) -> torch.Tensor:
    """Activations of the cells that begin in a window, each in one tile of an image."""
    parts = []
    for axis, (part, place, length) in enumerate(zip(inner, window, size, strict=True)):
        stride = 1 if maps.is_dense else round(maps.receptive_field.stride[axis])
        # The last tile has what padding gives beyond the image.
        stop = None if place.stop == length else -(-part.stop // stride)
        parts.append(slice(-(-part.start // stride), stop))
    return maps.activations[..., parts[0], parts[1]]


def heatmap_tiles(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    class_constants: np.ndarray,
) -> HeatmapTiles:
    """Tiles of a network's heatmaps; NotLocalError if they would differ."""
    if specification.outline_layer or specification.trained_size:
        raise NotLocalError(
            "heatmaps of some classes have outlines, which depend on all of an image, "
            "but for those of class_heatmap='contrastive'"
        )
    locality = find_locality(
        network.module,
        specification.layers,
        specification.resolution,
        network.n_channels,
        network.device,
        network.memory_format,
    )
    return HeatmapTiles(
        network=network,
        specification=specification,
        class_constants=class_constants,
        locality=locality,
    )
