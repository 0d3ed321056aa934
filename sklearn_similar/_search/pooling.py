"""Pooling of feature maps in boxes (RoI pooling), exactly and for many boxes at once.

A box is divided into bins, and each bin gets the mean of the feature maps in it, as if
each cell were a rectangle of one value (precise RoI pooling, Jiang et al., 2018). With
integral images, that takes four values a corner whatever the size of the box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .._images.images import batch_slices
from .._images.memory import within_working_memory
from .._network.backbone import FeatureMap

# Values that are pooled at once, at scikit-learn's default working memory.
_VALUES_AT_ONCE = 2**23
# Minimum side of a bin in cells: bins of small boxes overlap rather than being empty.
_MIN_BIN = 0.5


@dataclass(frozen=True, kw_only=True)
class PoolingRecipe:
    """How the content of a box becomes a feature vector.

    Figures were chosen on training photographs of cells and playing cards.

    Attributes
    ----------
    n_bins : int
        Bins along each side of a box.
    context : float
        Side of the box, as a multiple, whose mean is added as one more bin.
    power : float
        Of the generalised mean of details (Radenovic et al., 2018): with 1 it is the
        mean, and the greater, the nearer it is to the maximum.
    """

    n_bins: int = 3
    context: float = 2.0
    power: float = 3.0


class PooledMaps:
    """Feature maps of an image, or of several of one size, to be pooled in boxes.

    Parameters
    ----------
    maps : sequence of FeatureMap
        Of the images, resized by `scale`.
    scale : float
        Working pixels for a pixel of the image.
    origin : (float, float)
        x and y of the maps' image in the image of the boxes.
    recipe : PoolingRecipe
    details : FeatureMap, optional
        Of a layer whose activations distinguish similar classes, wherever in the box
        they are, such as a letter on a card.
    """

    def __init__(
        self,
        maps: Sequence[FeatureMap],
        scale: float,
        origin: tuple[float, float],
        recipe: PoolingRecipe,
        details: FeatureMap | None = None,
    ):
        self._maps = [(*_integral_image(feature.values), feature) for feature in maps]
        self._details = details
        self._scale = scale
        self._origin = np.array(origin, np.float64)
        self._recipe = recipe

    @property
    def n_features(self) -> int:
        """Values for each box without details."""
        n_filters = sum(integral.shape[3] for integral, _, _ in self._maps)
        return n_filters * (self._recipe.n_bins**2 + 1)

    def features(self, boxes: np.ndarray) -> np.ndarray:
        """Feature vectors of boxes, n_boxes x n_features, float32."""
        out = np.empty((len(boxes), self.n_features), np.float32)
        step = max(1, within_working_memory(_VALUES_AT_ONCE) // self.n_features)
        for part in batch_slices(len(boxes), step):
            out[part] = self.pool(boxes[part]).numpy()
        return out

    def features_and_details(self, boxes: np.ndarray) -> np.ndarray:
        """Feature vectors, followed by two means of the details in each box.

        The generalised mean is close to the maximum of a filter in the box. Negative
        activations count as 0.
        """
        features = self.features(boxes)
        if self._details is None:
            return features
        edges = boxes.astype(np.float64).reshape(-1, 2, 2).transpose(0, 2, 1)
        cells = self._to_cells(edges, self._details)
        # The powers take twice the memory of the map, and are not kept.
        values = self._details.values[0].clamp(min=0).permute(1, 2, 0)
        powers = torch.cat([values, values**self._recipe.power], dim=2)
        mean, of_powers = np.split(_box_means(powers, cells[:, 0], cells[:, 1]), 2, 1)
        return np.hstack([features, mean, of_powers ** (1 / self._recipe.power)])

    def pool(self, boxes: np.ndarray, image: np.ndarray | int = 0) -> torch.Tensor:
        """The same as a tensor, with the gradients of the feature maps.

        `image` is the index of the image of each box, or of all boxes.
        """
        boxes = boxes.astype(np.float64)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        steps = np.linspace(-1, 1, self._recipe.n_bins + 1)
        around = np.array([-self._recipe.context, self._recipe.context])
        pooled = []
        for integral, level, feature in self._maps:
            for offsets in (steps, around):
                edges = centre[:, :, np.newaxis] + half[:, :, np.newaxis] * offsets
                cells = self._to_cells(edges, feature)
                means = _bin_means(integral, image, cells[:, 0], cells[:, 1])
                means = means + level[image]
                pooled.append(means.flatten(1))
        return torch.cat(pooled, dim=1)

    def _to_cells(self, edges: np.ndarray, feature: FeatureMap) -> np.ndarray:
        """Edges n x 2 x n_edges (x, y) in cells: cell i covers i to i + 1."""
        stride = np.array(feature.stride[::-1])[:, np.newaxis]
        start = np.array(feature.start[::-1])[:, np.newaxis]
        working = (edges - self._origin[:, np.newaxis]) * self._scale
        # The centre of pixel i is at i + 0.5, and a receptive field is given by pixels.
        return (working - start - 0.5) / stride + 0.5


def _integral_image(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of all cells above and to the left, less their mean, and this mean.

    Sums of positive values would grow with the map, and small bins lose precision.

    Returns
    -------
    sums : tensor of shape (n_images, height + 1, width + 1, n_filters)
    level : tensor of shape (n_images, 1, 1, n_filters)
    """
    values = values.permute(0, 2, 3, 1)
    level = values.mean(dim=(1, 2), keepdim=True)
    sums = (values - level).cumsum(1).cumsum(2)
    return F.pad(sums, (0, 0, 1, 0, 1, 0)), level


def _bin_means(
    integral: torch.Tensor, image: np.ndarray | int, x: np.ndarray, y: np.ndarray
) -> torch.Tensor:
    """Means in bins between edges x and y, n x n_edges each, in cells.

    Returns
    -------
    tensor of shape (n, n_edges - 1, n_edges - 1, n_filters)
        Rows of bins, from the top.
    """
    height, width = integral.shape[1] - 1, integral.shape[2] - 1
    x, y = _inside(x, width), _inside(y, height)
    column, row = _lower_cells(x, width), _lower_cells(y, height)
    right = (x - column)[:, np.newaxis, :]
    below = (y - row)[:, :, np.newaxis]
    row = row + np.reshape(image, (-1, 1)) * (height + 1)
    first = row[:, :, np.newaxis] * (width + 1) + column[:, np.newaxis, :]
    # Integral images are bilinear between the corners of cells.
    corners = np.stack([first, first + 1, first + width + 1, first + width + 2], -1)
    shares = [
        (1 - below) * (1 - right),
        (1 - below) * right,
        below * (1 - right),
        below * right,
    ]
    sums = F.embedding_bag(
        torch.from_numpy(corners.reshape(-1, 4)),
        integral.reshape(-1, integral.shape[3]),
        per_sample_weights=torch.from_numpy(
            np.stack(shares, -1).reshape(-1, 4).astype(np.float32)
        ),
        mode="sum",
    ).reshape(*first.shape, integral.shape[3])
    of_bins = sums[:, 1:, 1:] - sums[:, :-1, 1:] - sums[:, 1:, :-1] + sums[:, :-1, :-1]
    area = np.diff(y, axis=1)[:, :, np.newaxis] * np.diff(x, axis=1)[:, np.newaxis, :]
    return of_bins / torch.from_numpy(area.astype(np.float32))[..., np.newaxis]


def _box_means(values: torch.Tensor, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Means in boxes between edges x and y, n x 2 each, in cells.

    Cells are weighted by their area in the box. Sums of the cells of each box lose no
    precision where values differ much, and for the boxes of objects take less time than
    an integral image.

    Parameters
    ----------
    values : tensor of shape (height, width, n_filters)
    x, y : ndarray of shape (n, 2)

    Returns
    -------
    ndarray of shape (n, n_filters), float32
    """
    height, width, n_filters = values.shape
    x, y = _inside(x, width), _inside(y, height)
    column, row = np.floor(x[:, 0]).astype(int), np.floor(y[:, 0]).astype(int)
    n_columns = np.ceil(x[:, 1]).astype(int) - column
    n_cells = n_columns * (np.ceil(y[:, 1]).astype(int) - row)
    table = values.reshape(-1, n_filters)
    means = np.empty((len(x), n_filters), np.float32)
    largest = max(n_filters, 8 * n_cells.max(initial=1))
    step = max(1, within_working_memory(_VALUES_AT_ONCE) // int(largest))
    for part in batch_slices(len(x), step):
        n = n_cells[part]
        box = np.repeat(np.arange(part.start, part.start + len(n)), n)
        first = np.cumsum(n) - n
        place = np.arange(n.sum()) - np.repeat(first, n)
        columns = column[box] + place % n_columns[box]
        rows = row[box] + place // n_columns[box]
        share = _share(columns, x[box]) * _share(rows, y[box])
        means[part] = F.embedding_bag(
            torch.from_numpy(rows * width + columns),
            table,
            torch.from_numpy(first),
            per_sample_weights=torch.from_numpy(share.astype(np.float32)),
            mode="sum",
        ).numpy()
    return means


def _share(cells: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of each interval, between edges n x 2, that its cell covers."""
    inside = np.minimum(edges[:, 1], cells + 1) - np.maximum(edges[:, 0], cells)
    return inside / (edges[:, 1] - edges[:, 0])


def _inside(edges: np.ndarray, length: int) -> np.ndarray:
    """Edges in cells, with bins of some width inside a map of a length."""
    n_bins = edges.shape[1] - 1
    middle = (edges[:, :1] + edges[:, -1:]) / 2
    extent = (edges[:, -1:] - edges[:, :1]).clip(1e-6)
    widened = middle + (edges - middle) * (n_bins * _MIN_BIN / extent).clip(1)
    # A bin beyond the border gets the values at the border.
    room = _MIN_BIN * np.arange(n_bins + 1) / max(1, n_bins)
    lowest, highest = room * min(1, length), length - room[::-1] * min(1, length)
    return np.minimum(np.maximum(widened, lowest), highest)


def _lower_cells(edges: np.ndarray, length: int) -> np.ndarray:
    return np.minimum(np.floor(edges), length - 1).astype(np.int64)
