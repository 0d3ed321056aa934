"""Heatmaps of the views that are searched, computed when they are asked for."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from .._images.rasters import Raster, work_tile_rows
from .proposals import Proposals

# From views in [0, 1] to their heatmaps, 1 x height x width.
MakeHeatmaps = Callable[[list[Raster]], Sequence[Raster]]


class Heatmaps:
    """Heatmaps of views, each computed at most once.

    Parameters
    ----------
    views : sequence of Raster
    make : callable
        Makes heatmaps of some views.
    scales : sequence of float
        Factors by which a view is resized; the maximum over the scales is used.
    threshold : float
        Minimum heat of a detection, and of regions of a heatmap.
    """

    def __init__(
        self,
        views: Sequence[Raster],
        make: MakeHeatmaps,
        scales: Sequence[float],
        threshold: float,
    ):
        self.threshold = threshold
        self._views = views
        self._make = make
        self._scales = scales
        self._heatmaps: dict[int, Raster] = {}

    def of(self, indices: Sequence[int]) -> list[Raster]:
        """Heatmaps of the views at some indices."""
        missing = [index for index in indices if index not in self._heatmaps]
        if missing:
            heatmaps = self._at_scales([self._views[index] for index in missing])
            self._heatmaps.update(zip(missing, heatmaps, strict=True))
        return [self._heatmaps[index] for index in indices]

    def maximum_in(self, proposals: Proposals) -> np.ndarray:
        """Maximum heat in the box of each proposal, float64.

        Few views have any boxes when this is asked for; others need no heatmap.
        """
        numbers = np.unique(proposals.view).tolist()
        heat = np.empty(len(proposals))
        for number, heatmap in zip(numbers, self.of(numbers), strict=True):
            rows = np.flatnonzero(proposals.view == number)
            heat[rows] = maximum_in_boxes(heatmap, proposals.boxes[rows])
        return heat

    def _at_scales(self, views: list[Raster]) -> Sequence[Raster]:
        if tuple(self._scales) == (1.0,):
            return self._make(views)
        images = [view.whole() for view in views]
        maxima = [np.full(image.shape[1:], -np.inf, np.float32) for image in images]
        for scale in self._scales:
            resized = [
                resize(image, [max(1, round(n * scale)) for n in image.shape[1:]])
                for image in images
            ]
            heatmaps = self._make([Raster.from_tensor(image) for image in resized])
            for maximum, heat in zip(maxima, heatmaps, strict=True):
                full = resize(heat.whole(), maximum.shape)
                np.maximum(maximum, full[0].numpy(), out=maximum)
        return [Raster.from_tensor(torch.from_numpy(heat)[None]) for heat in maxima]


def resize(pixels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """An image n_channels x height x width, resized to a height and width."""
    if tuple(pixels.shape[1:]) == tuple(size):
        return pixels
    resized = F.interpolate(pixels[None], list(size), mode="bilinear", antialias=True)
    return resized[0]


def maximum_in_boxes(heat: Raster, boxes: np.ndarray) -> np.ndarray:
    """Maximum heat in each box, n_boxes, float64; pixels that it cuts count."""
    corners = np.hstack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])]).astype(int)
    maximum = np.full(len(corners), -np.inf)
    for row in work_tile_rows(heat.size, multiple=2):
        for rows, columns in row:
            meets_rows = (corners[:, 1] < rows.stop) & (corners[:, 3] > rows.start)
            meets_columns = corners[:, 0] < columns.stop
            meets_columns &= corners[:, 2] > columns.start
            inside = np.flatnonzero(meets_rows & meets_columns)
            if len(inside) == 0:
                continue
            values = heat.read(rows, columns)[0].numpy()
            origin = np.array([columns.start, rows.start])
            for index in inside:
                x0, y0 = (corners[index, :2] - origin).clip(0)
                x1, y1 = corners[index, 2:] - origin
                in_box = values[y0:y1, x0:x1].max()
                maximum[index] = max(maximum[index], in_box)
    return maximum
