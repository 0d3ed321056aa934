"""Heatmaps of images, from the activations of a trained network."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from .._images.images import Images, batch_slices, n_at_once, release
from .._images.memory import within_working_memory
from .._images.messages import ImageNames, warn_user
from .._images.rasters import (
    Raster,
    Window,
    explained_memory_error,
    is_large,
    max_tile_pixels,
    tiles,
)
from .._network.tile_halo import NotLocalError
from .._network.trained import TrainedNetwork, check_finite
from .._progress import with_progress
from .class_map import ImageActivations
from .extraction import ActivationExtractor, HeatmapSpecification, compute_heatmaps
from .maps import normalize_per_image, normalize_range, resize
from .tiles import HeatmapTiles

# Pixels of an image above which a warning says that it cannot be tiled, at
# scikit-learn's default working memory.
_MAX_UNTILED = 2**23


class HeatBlock(NamedTuple):
    """Heatmaps of some images of one size, or a part of the heatmap of one image.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
        Positions of the images.
    window : (slice, slice)
        Where in the heatmaps the heat is.
    heat : ndarray of shape (n_images, height, width)
    n_finished : int
        Images whose heatmaps are complete after this block.
    """

    indices: np.ndarray
    window: Window
    heat: np.ndarray
    n_finished: int


@dataclass(frozen=True, kw_only=True)
class HeatmapModel:
    """A trained network together with all that turns its activations into heatmaps.

    Attributes
    ----------
    network : TrainedNetwork
    specification : HeatmapSpecification
        With calibrated constants in the state of its class map: they divide heatmaps of
        a class, and their mean divides those of several.
    normalization_constant : float
        Divides heatmaps of all classes.
    normalize : {"validation", "image"} or None
    names : ImageNames
        What messages call the images.
    image_size : (int, int) or None
        Height and width that images are resized to for the network; None: they are
        taken as they are. Heatmaps have the images' size.
    """

    network: TrainedNetwork
    specification: HeatmapSpecification
    normalization_constant: float
    normalize: str | None
    names: ImageNames = field(default_factory=ImageNames)
    image_size: tuple[int, int] | None = None

    def heatmaps(
        self,
        images: Images,
        classes: np.ndarray | None = None,
        threshold: float | None = None,
        out: Any = None,
        verbose: int = 0,
    ) -> Any:
        """Heatmaps, height x width each; large images are computed in tiles.

        Parameters
        ----------
        images : Images
        classes : ndarray of shape (n_images, n_targets), default=None
            Classes to show for each image; None: all of them together.
        threshold : float, default=None
            Values below it become 0. Without normalisation it is a share of the
            normalisation constant.
        out : array or list of arrays, default=None
            Where heatmaps are written, one height x width for each image.
        verbose : int, default=0
            Whether to show a progress bar.
        """
        heatmaps = images.empty_heatmaps() if out is None else out
        blocks = with_progress(
            self._blocks(images, self._contrasted(classes), threshold),
            "heatmaps",
            len(images),
            "image",
            verbose,
            size=lambda block: block.n_finished,
        )
        with self.network.evaluation():
            for block in blocks:
                for index, heat in zip(block.indices, block.heat, strict=True):
                    heatmaps[index][block.window] = heat
                release(heatmaps[block.indices[-1]])
        return heatmaps

    def rasters(
        self,
        images: Sequence[Raster],
        classes: np.ndarray | None = None,
        *,
        in_windows: bool = False,
    ) -> list[Raster]:
        """Heatmaps as rasters, 1 x height x width, computed when they are read.

        Small images of one size are run together, when one of them is read.

        Parameters
        ----------
        images : sequence of Raster
            Images as the network takes them, float32.
        classes : ndarray of shape (n_images, n_targets), default=None
            Classes to show for each image; None: all of them together.
        in_windows : bool, default=False
            Whether small images are treated as large ones, of which only the windows
            that are read are computed.
        """
        classes = self._contrasted(classes)
        extractor = self._extractor(classes)
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            by_size.setdefault(image.size, []).append(index)
        heatmaps: dict[int, Raster] = {}
        for size, indices in by_size.items():
            if in_windows or math.prod(size) > max_tile_pixels():
                with self.network.evaluation():
                    tiled = self._tiles(extractor, size)
                    if tiled is not None:
                        for index in indices:
                            heat = self._tiled(
                                tiled, images[index], index, classes, None
                            )
                            heatmaps[index] = self._in_evaluation(heat)
                        continue
            max_images = n_at_once(size, self.network.device)
            batch_size = min(max_images, self.network.batch_size)
            for part in batch_slices(len(indices), batch_size):
                batch = np.array(indices[part])
                heatmaps |= self._batch_rasters(extractor, images, batch, classes)
        return [heatmaps[index] for index in range(len(images))]

    def _blocks(
        self, images: Images, classes: np.ndarray | None, threshold: float | None
    ) -> Iterator[HeatBlock]:
        """Compute heatmaps, first those of small images."""
        extractor = self._extractor(classes)
        large = np.array([is_large(pixels) for pixels in images.pixels], bool)
        small_images = np.flatnonzero(~large) if large.any() else None
        for indices, batch in self.network.batches(images, small_images):
            yield from self._whole_blocks(extractor, batch, indices, classes, threshold)
        for index in np.flatnonzero(large).tolist():
            image = Raster.from_pixels(
                images.pixels[index], self.network.n_channels, images.scaling
            )
            with explained_memory_error(f"{self.names.name(index)} of X", image.size):
                # Resized images are small.
                is_resized = self.image_size is not None
                tiled = None if is_resized else self._tiles(extractor, image.size)
                if tiled is None:
                    yield from self._whole_blocks(
                        extractor,
                        self.network.as_input(image.whole()[None]),
                        np.array([index]),
                        classes,
                        threshold,
                    )
                    continue
                heat = self._tiled(tiled, image, index, classes, threshold)
                for window in tiles(image.size, math.isqrt(max_tile_pixels())):
                    is_last = tuple(part.stop for part in window) == image.size
                    values = heat.read(*window).numpy()
                    yield HeatBlock(np.array([index]), window, values, int(is_last))

    def _whole_blocks(
        self,
        extractor: ActivationExtractor,
        batch: torch.Tensor,
        indices: np.ndarray,
        classes: np.ndarray | None,
        threshold: float | None,
    ) -> Iterator[HeatBlock]:
        """Compute heatmaps of images of one size."""
        size, window = batch.shape[2:], (slice(None), slice(None))
        if self.image_size is not None:
            batch = self.network.as_input(resize(batch, self.image_size))
        for activations in extractor.parts(batch, indices):
            heat = self._heat(activations, classes, threshold, size)
            yield HeatBlock(activations.indices, window, heat, len(heat))

    def _batch_rasters(
        self,
        extractor: ActivationExtractor,
        images: Sequence[Raster],
        indices: np.ndarray,
        classes: np.ndarray | None,
    ) -> dict[int, Raster]:
        """Heatmaps of images of one size, all computed when one of them is read."""

        @cache
        def heat() -> torch.Tensor:
            batch = torch.stack([images[index].whole() for index in indices])
            with self.network.evaluation():
                parts = [
                    self._heat(activations, classes, None, activations.size)
                    for activations in extractor.parts(
                        self.network.as_input(batch), indices
                    )
                ]
            return torch.from_numpy(np.concatenate(parts))

        def raster(row: int, size: tuple[int, int]) -> Raster:
            return Raster(
                size, lambda rows, columns: heat()[row : row + 1, rows, columns]
            )

        return {
            index: raster(row, images[index].size)
            for row, index in enumerate(indices.tolist())
        }

    def _in_evaluation(self, heat: Raster) -> Raster:
        """A raster that puts the network into evaluation mode when it is read."""

        def read(rows: slice, columns: slice) -> torch.Tensor:
            with self.network.evaluation():
                return heat.read(rows, columns)

        return Raster(heat.size, read)

    def _heat(
        self,
        activations: ImageActivations,
        classes: np.ndarray | None,
        threshold: float | None,
        size: Sequence[int],
    ) -> np.ndarray:
        """Normalised heatmaps, n_images x height x width, 0 below the threshold."""
        indices = activations.indices
        of_images = None if classes is None else classes[indices]
        heat = compute_heatmaps(activations, self.specification, of_images)
        if heat.shape[1:] != tuple(size):
            heat = resize(torch.from_numpy(heat)[:, None], size)[:, 0].numpy()
        check_finite(torch.from_numpy(heat), indices, "heat values", self.names)
        constants = self._constants(of_images, len(indices))
        if self.normalize == "image":
            heat = normalize_per_image(heat)
        return self._scaled(heat, constants, threshold)

    def _tiled(
        self,
        tiled: HeatmapTiles,
        image: Raster,
        index: int,
        classes: np.ndarray | None,
        threshold: float | None,
    ) -> Raster:
        """Normalised heatmap, 1 x height x width, of a large image."""
        of_image = None if classes is None else classes[[index]]

        def check(values: torch.Tensor) -> torch.Tensor:
            check_finite(values, np.array([index]), "heat values", self.names)
            return values

        heat = tiled.raster(image, of_image).map(check)
        constants = self._constants(of_image, 1)
        limits = None
        if self.normalize == "image":
            limits = np.array(heat.value_range(), np.float32)

        def normalize(values: torch.Tensor) -> torch.Tensor:
            part = values.numpy()
            if limits is not None:
                part = normalize_range(part, *limits)
            return torch.from_numpy(self._scaled(part, constants, threshold))

        return heat.map(normalize)

    def _scaled(
        self, heat: np.ndarray, constants: np.ndarray, threshold: float | None
    ) -> np.ndarray:
        """Heat in units of the constants, where it is normalised by them, and cut."""
        if self.normalize == "validation":
            heat = heat / constants
        if self.normalize is not None:
            constants = np.ones_like(constants)
        if threshold is None:
            return heat
        return np.where(heat < threshold * constants, 0, heat)

    def _constants(self, classes: np.ndarray | None, n_images: int) -> np.ndarray:
        """Normalisation constant of each image, n_images x 1 x 1."""
        constants = np.full(n_images, self.normalization_constant)
        of_classes = self.specification.class_state.normalization_constants
        if classes is not None and of_classes is not None:
            constants = of_classes[classes].mean(axis=1)
        return constants[:, np.newaxis, np.newaxis].astype(np.float32)

    def _contrasted(self, classes: np.ndarray | None) -> np.ndarray | None:
        """None where there are no other classes to contrast the classes with."""
        n_classes = len(self.specification.class_state.filter_weights)
        if classes is None or classes.shape[1] < n_classes:
            return classes
        return None if self.specification.class_map.contrasts_classes else classes

    def _extractor(self, classes: np.ndarray | None) -> ActivationExtractor:
        return ActivationExtractor(
            self.network, self.specification, for_classes=classes is not None
        )

    def _tiles(
        self, extractor: ActivationExtractor, size: tuple[int, int]
    ) -> HeatmapTiles | None:
        """None, with a warning where that takes much memory, if tiles would differ."""
        try:
            return HeatmapTiles(extractor=extractor, locality=extractor.locality)
        except NotLocalError as reason:
            if math.prod(size) > within_working_memory(_MAX_UNTILED):
                warn_user(
                    f"The heatmap of an image of {size[0]}x{size[1]} pixels is made in "
                    f"one piece, which may need more memory than there is: {reason}, "
                    "so that tiles would differ from it; pass smaller images, or name "
                    "an earlier layer."
                )
            return None
