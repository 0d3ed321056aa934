"""Heatmaps of the views that are searched, computed when they are asked for."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from .._images.rasters import Raster, Window, max_tile_pixels, work_tile_rows
from .proposals import Proposals

# Side in pixels of the cells of which windows around boxes consist, and the pixels
# around a window that its heat is expected to depend on.
_CELL = 64
_MARGIN = 32
# Maximum share of the views' pixels in such windows, and the minimum number of pixels
# of the views: to learn what a network needs around a window takes as long as the
# heatmap of a small image.
_MAX_SHARE = 0.5
_MIN_PIXELS = 2**17


class MakeHeatmaps(Protocol):
    """From views in [0, 1] to their heatmaps, 1 x height x width."""

    def __call__(
        self, views: list[Raster], in_windows: bool = False
    ) -> Sequence[Raster]: ...


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

        Few views have any boxes when this is asked for; others need no heatmap. Of
        those that have few boxes, it is computed around them alone.
        """
        numbers = np.unique(proposals.view).tolist()
        heat = np.empty(len(proposals))
        rows = {n: np.flatnonzero(proposals.view == n) for n in numbers}
        windows = self._windows({n: proposals.boxes[rows[n]] for n in numbers})
        if windows is None:
            for number, heatmap in zip(numbers, self.of(numbers), strict=True):
                boxes = proposals.boxes[rows[number]]
                heat[rows[number]] = maximum_in_boxes(heatmap, boxes)
            return heat
        heatmaps = self._make([self._views[n] for n in numbers], in_windows=True)
        for number, heatmap in zip(numbers, heatmaps, strict=True):
            for window, inside in windows[number]:
                of_window = rows[number][inside]
                boxes = proposals.boxes[of_window]
                heat[of_window] = _maximum_in_window(heatmap, window, boxes)
        return heat

    def _windows(
        self, boxes: dict[int, np.ndarray]
    ) -> dict[int, list[tuple[Window, np.ndarray]]] | None:
        """Windows around the boxes of each view, and the rows of the boxes in them.

        None if the views are to be computed as a whole, or are large: of these, tiles
        with boxes are computed.
        """
        n_pixels = [math.prod(self._views[number].size) for number in boxes]
        is_computed = any(number in self._heatmaps for number in boxes)
        if (
            is_computed
            or sum(n_pixels) < _MIN_PIXELS
            or max(n_pixels) > max_tile_pixels()
            or tuple(self._scales) != (1.0,)
        ):
            return None
        windows = {
            n: windows_around(of, self._views[n].size) for n, of in boxes.items()
        }
        n_computed = sum(
            math.prod(part.stop - part.start + 2 * _MARGIN for part in window)
            for of_view in windows.values()
            for window, _ in of_view
        )
        return windows if n_computed <= _MAX_SHARE * sum(n_pixels) else None

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


def windows_around(
    boxes: np.ndarray, size: tuple[int, int]
) -> list[tuple[Window, np.ndarray]]:
    """Windows of an image that hold boxes n x 4, and the rows of the boxes in each.

    They consist of cells; boxes that meet neighbouring cells are in one window.
    """
    first = np.floor(boxes[:, 1::-1] / _CELL).astype(int)
    last = np.ceil(boxes[:, :1:-1] / _CELL).astype(int)
    is_met = np.zeros([-(-length // _CELL) for length in size], bool)
    for (top, left), (bottom, right) in zip(first, last, strict=True):
        is_met[top:bottom, left:right] = True
    number, _ = ndimage.label(is_met)
    of_box = number[first[:, 0], first[:, 1]]
    height, width = size
    return [
        (
            (
                slice(_CELL * rows.start, min(_CELL * rows.stop, height)),
                slice(_CELL * columns.start, min(_CELL * columns.stop, width)),
            ),
            np.flatnonzero(of_box == index),
        )
        for index, (rows, columns) in enumerate(ndimage.find_objects(number), start=1)
    ]


def _maximum_in_window(heat: Raster, window: Window, boxes: np.ndarray) -> np.ndarray:
    """Maximum heat in each box, n_boxes, all in a window of the heatmap."""
    rows, columns = window
    part = Raster.from_tensor(heat.read(rows, columns))
    origin = np.array([columns.start, rows.start] * 2)
    return maximum_in_boxes(part, boxes - origin)


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
