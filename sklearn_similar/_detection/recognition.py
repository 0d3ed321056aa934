"""From candidate boxes to recognised, de-duplicated instances."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from .boxes import BOX, area, iou
from .crop_specification import CropSpecification
from .proposals import ancestors

COLUMNS = ("image", "label", "score", "heat", *BOX)

_CROPS_AT_ONCE = 1024


class Instances(NamedTuple):
    """Recognised boxes of an image, surest first."""

    boxes: np.ndarray
    label: np.ndarray
    score: np.ndarray
    heat: np.ndarray


def heat_in_boxes(heatmap: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Greatest heat inside each box."""
    corners = np.stack([boxes[name] for name in BOX], axis=1).astype(int)
    return np.array(
        [heatmap[y0:y1, x0:x1].max() for x0, y0, x1, y1 in corners], dtype=np.float64
    )


def crop_hotspots(
    pixels: torch.Tensor, spots: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Hotspots as images of the trained size, n x height x width x n_channels.

    Values, as those of `pixels`, n_channels x height x width, are between 0 and 1.
    """
    empty = np.empty((0, len(pixels), *specification.size), np.float32)
    crops = [crops.numpy() for crops in crop_batches(pixels, spots, specification)]
    return np.concatenate([empty, *crops]).transpose(0, 2, 3, 1)


def crop_batches(
    pixels: torch.Tensor, spots: np.ndarray, specification: CropSpecification
) -> Iterator[torch.Tensor]:
    """Crops of all hotspots, batch by batch."""
    planes = [pixels[np.newaxis]]
    largest = _shrink(spots, specification).max(initial=2)
    for _ in range(int(np.log2(largest / 2))):
        planes.append(
            F.avg_pool2d(planes[-1], 2, ceil_mode=True, count_include_pad=False)
        )
    for first in range(0, len(spots), _CROPS_AT_ONCE):
        yield _crop(planes, spots[first : first + _CROPS_AT_ONCE], specification)


def _shrink(spots: np.ndarray, specification: CropSpecification) -> np.ndarray:
    """Pixels of the image in one pixel of each hotspot's crop."""
    height, width = specification.size
    across = (spots["x_max"] - spots["x_min"]) / width
    down = (spots["y_max"] - spots["y_min"]) / height
    return np.maximum(across, down) / specification.object_extent


def _crop(
    planes: list[torch.Tensor], spots: np.ndarray, specification: CropSpecification
) -> torch.Tensor:
    """Crops in which a hotspot looks like a training image.

    It has the training images' margin, its level is 0 and its peak 1, whatever its
    contrast, and what is outside its box is 0.
    """
    height, width = specification.size
    shrink = torch.from_numpy(_shrink(spots, specification)).float()
    box = {name: torch.from_numpy(spots[name].copy()).float() for name in BOX}
    x = _positions(box["x_min"], box["x_max"], shrink, width)
    y = _positions(box["y_min"], box["y_max"], shrink, height)
    # A crop is sampled twice a pixel, and so a plane need not be coarser than that.
    octave = torch.log2((shrink / 2).clamp(min=1)).long()
    crops = torch.empty(len(spots), planes[0].shape[1], height, width)
    for number in octave.unique().tolist():
        rows = (octave == number).nonzero().flatten()
        crops[rows] = _sample(planes[number], x[rows], y[rows], 2.0**number)
    level = torch.from_numpy(spots["level"].copy())[:, None, None, None]
    peak = torch.from_numpy(spots["peak"].copy())[:, None, None, None]
    crops.sub_(level).div_((peak - level).clamp(min=1e-3)).clamp_(0, 1)
    # Half a pixel of the crop outside the box is still its smoothed rim.
    slack = shrink[:, None] / 2
    for position, low, high, dim in (
        (x, "x_min", "x_max", 2),
        (y, "y_min", "y_max", 3),
    ):
        centre = position.unflatten(1, (-1, 2)).mean(dim=2)
        inside = (centre > box[low][:, None] - slack) & (
            centre < box[high][:, None] + slack
        )
        crops *= inside.unsqueeze(1).unsqueeze(dim)
    return crops


def _positions(low, high, shrink, n_pixels: int) -> torch.Tensor:
    """Where a crop is sampled along one axis, twice in each of its pixels."""
    steps = (torch.arange(2 * n_pixels) + 0.5) / 2 - n_pixels / 2
    return (low + high)[:, None] / 2 + shrink[:, None] * steps


def _sample(plane: torch.Tensor, x, y, scale: float) -> torch.Tensor:
    """Crops of a plane, bilinear, means of 2 x 2 samples; the rim goes on outside."""
    height, width = plane.shape[2:]
    grid = torch.empty(len(x), y.shape[1], x.shape[1], 2)
    grid[..., 0] = (x * (2 / (scale * width)) - 1)[:, None, :]
    grid[..., 1] = (y * (2 / (scale * height)) - 1)[:, :, None]
    sampled = F.grid_sample(
        plane, grid.flatten(0, 1)[None], padding_mode="border", align_corners=False
    )
    crops = sampled[0].unflatten(1, (len(x), -1)).transpose(0, 1)
    return F.avg_pool2d(crops, 2)


def suppress(
    boxes: np.ndarray, rank: np.ndarray, parent: np.ndarray, max_overlap: float
) -> np.ndarray:
    """Greedy non-maximum suppression, in memory linear in the number of boxes.

    Parameters
    ----------
    boxes : structured ndarray
    rank : ndarray of shape (n_boxes,)
        The higher, the sooner kept.
    parent : ndarray of shape (n_boxes,)
        Row of the nearest box of which each is a connected part, -1 for none. What
        holds a kept box, or is a part of it, is dropped whatever their overlap.
    max_overlap : float
        Greatest IoU of two kept boxes.

    Returns
    -------
    kept : ndarray of int
        Rows, by falling rank.
    """
    holders = ancestors(parent)
    alive = np.ones(len(boxes), dtype=bool)
    kept = []
    for best in np.argsort(-rank, kind="stable"):
        if not alive[best]:
            continue
        kept.append(best)
        near = np.flatnonzero(
            alive
            & (boxes["x_min"] < boxes["x_max"][best])
            & (boxes["x_max"] > boxes["x_min"][best])
            & (boxes["y_min"] < boxes["y_max"][best])
            & (boxes["y_max"] > boxes["y_min"][best])
        )
        alive[near[iou(boxes[near], boxes[best]) > max_overlap]] = False
        alive[near[(holders[near] == best).any(axis=1)]] = False
        alive[holders[best][holders[best] >= 0]] = False
        alive[best] = False
    return np.array(kept, dtype=np.int64)


def prefer(score: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Rank of boxes: of equally sure ones, the larger, as a part may look like a whole.

    It is log(score / (1 - score)) + log(area).
    """
    sure = np.clip(score, 1e-6, 1 - 1e-6)
    return np.log(sure / (1 - sure)) + np.log(area(boxes))


def to_frame(found: list[Instances], classes: np.ndarray) -> pd.DataFrame:
    """The table of instances of several images."""
    counts = [len(instances.label) for instances in found]
    label = np.concatenate([np.empty(0, int), *(own.label for own in found)])
    columns = {
        "image": np.repeat(np.arange(len(found)), counts),
        "label": classes[label],
        "score": np.concatenate([np.empty(0), *(own.score for own in found)]),
        "heat": np.concatenate([np.empty(0), *(own.heat for own in found)]),
    }
    for name in BOX:
        sides = [own.boxes[name] for own in found]
        columns[name] = np.concatenate([np.empty(0), *sides]).astype(np.int64)
    return pd.DataFrame(columns, columns=list(COLUMNS))
