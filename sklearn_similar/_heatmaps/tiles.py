"""Heatmaps of large images, tile by tile, equal to those of the whole image."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from .._images.rasters import Raster, Window, tile_rows, tile_side, tiles, with_halo
from .._network.activations import FeatureMaps
from .._network.tile_halo import TileHalo
from .class_map import ImageActivations
from .extraction import ActivationExtractor, compute_heatmaps


@dataclass(frozen=True, kw_only=True)
class HeatmapTiles:
    """A network and a specification whose heatmaps can be made of tiles.

    Attributes
    ----------
    extractor : ActivationExtractor
        Of a network in evaluation mode, whenever heat is computed.
    locality : TileHalo
    """

    extractor: ActivationExtractor
    locality: TileHalo

    @property
    def halo(self) -> int:
        """Pixels around a tile that its heat depends on."""
        specification = self.extractor.specification
        halo = specification.class_map.halo(specification.class_state)
        return self.locality.halo + self.locality.step + halo

    @property
    def side(self) -> int:
        """Side of the tiles that fit into the working memory."""
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

        @cache
        def whole_image_means() -> torch.Tensor:
            return self._mean_activations(image)

        def compute(window: Window) -> torch.Tensor:
            activations, inner = self._activations(image, window, self.halo)
            heat = compute_heatmaps(
                replace(activations, whole_image_means=whole_image_means),
                self.extractor.specification,
                classes,
            )
            return torch.from_numpy(heat[:, *inner])

        def read(rows: slice, columns: slice) -> torch.Tensor:
            bands = [
                torch.cat([compute(tile) for tile in band], dim=2)
                for band in tile_rows((rows, columns), self.side)
            ]
            return torch.cat(bands, dim=1)

        return Raster(image.size, read)

    def _activations(
        self, image: Raster, window: Window, halo: int
    ) -> tuple[ImageActivations, Window]:
        """Activations around a window, and where in their image it lies."""
        outer, inner = with_halo(window, halo, image.size, self.locality.step)
        network = self.extractor.network
        batch = network.as_input(image.read(*outer)[None])
        activations = self.extractor.extract(batch.to(network.device), np.zeros(1, int))
        return activations, inner

    def _mean_activations(self, image: Raster) -> torch.Tensor:
        """Means of the last layer's positive activations, from those of all tiles."""
        total, count = torch.zeros((), dtype=torch.float64), 0
        for window in tiles(image.size, self.side):
            activations, inner = self._activations(image, window, self.locality.halo)
            cells = _cells(activations.feature_maps[-1], inner, window, image.size)
            total = cells.relu().sum(dim=(2, 3), dtype=torch.float64) + total
            count += cells.shape[2:].numel()
        return (total / count).float()


def _cells(
    maps: FeatureMaps, inner: Window, window: Window, size: tuple[int, int]
) -> torch.Tensor:
    """Activations of the cells that begin in a window, each in one tile of an image."""
    parts = []
    for axis, (part, place, length) in enumerate(zip(inner, window, size, strict=True)):
        stride = 1 if maps.is_dense else round(maps.receptive_field.stride[axis])
        # The last tile includes cells that padding adds beyond the image.
        stop = None if place.stop == length else -(-part.stop // stride)
        parts.append(slice(-(-part.start // stride), stop))
    return maps.activations[..., parts[0], parts[1]]
