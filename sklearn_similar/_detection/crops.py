"""Region proposals as images of the trained size."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from .crop_specification import CropSpecification

_CROPS_AT_ONCE = 1024


def crop_regions(
    pixels: torch.Tensor, regions: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Regions as images of the trained size, n x height x width x n_channels.

    Values, as those of `pixels`, n_channels x height x width, are between 0 and 1.
    """
    empty = np.empty((0, len(pixels), *specification.size), np.float32)
    crops = [crops.numpy() for crops in crop_batches(pixels, regions, specification)]
    return np.concatenate([empty, *crops]).transpose(0, 2, 3, 1)


def crop_batches(
    pixels: torch.Tensor, regions: np.ndarray, specification: CropSpecification
) -> Iterator[torch.Tensor]:
    """Crops of all regions, batch by batch."""
    pyramid = [pixels[np.newaxis]]
    largest = _downsampling_factor(regions, specification).max(initial=2)
    for _ in range(int(np.log2(largest / 2))):
        pyramid.append(
            F.avg_pool2d(pyramid[-1], 2, ceil_mode=True, count_include_pad=False)
        )
    for first in range(0, len(regions), _CROPS_AT_ONCE):
        yield _crop(pyramid, regions[first : first + _CROPS_AT_ONCE], specification)


def _downsampling_factor(
    regions: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Pixels of the image in one pixel of each region's crop."""
    size = regions["box"][:, 2:] - regions["box"][:, :2]
    factors = size / np.array(specification.size[::-1])
    return factors.max(axis=1) / specification.object_extent


def _crop(
    pyramid: list[torch.Tensor], regions: np.ndarray, specification: CropSpecification
) -> torch.Tensor:
    """Crops in which a region looks like a training image.

    The object has the extent that it has there, the crop is contrast-normalised (the
    region's threshold becomes 0 and its peak 1), and pixels outside the box are 0.
    """
    height, width = specification.size
    factor = torch.from_numpy(_downsampling_factor(regions, specification)).float()
    box = torch.from_numpy(regions["box"].copy()).float()
    x = _positions(box[:, 0], box[:, 2], factor, width)
    y = _positions(box[:, 1], box[:, 3], factor, height)
    # A crop has two samples a pixel, and so its level need not be coarser than that.
    octave = torch.log2((factor / 2).clamp(min=1)).long()
    crops = torch.empty(len(regions), pyramid[0].shape[1], height, width)
    for number in octave.unique().tolist():
        rows = (octave == number).nonzero().flatten()
        crops[rows] = _sample(pyramid[number], x[rows], y[rows], 2.0**number)
    black = torch.from_numpy(regions["threshold"].copy())[:, None, None, None]
    white = torch.from_numpy(regions["peak"].copy())[:, None, None, None]
    crops.sub_(black).div_((white - black).clamp(min=1e-3)).clamp_(0, 1)
    # The object's smoothed rim reaches half a pixel of the crop beyond the box.
    slack = factor[:, None] / 2
    for axis, (position, dim) in enumerate(((x, 2), (y, 3))):
        centre = position.unflatten(1, (-1, 2)).mean(dim=2)
        inside = (centre > box[:, axis, None] - slack) & (
            centre < box[:, axis + 2, None] + slack
        )
        crops *= inside.unsqueeze(1).unsqueeze(dim)
    return crops


def _positions(low, high, factor, n_pixels: int) -> torch.Tensor:
    """Positions of a crop's samples along one axis, two for each of its pixels."""
    steps = (torch.arange(2 * n_pixels) + 0.5) / 2 - n_pixels / 2
    return (low + high)[:, None] / 2 + factor[:, None] * steps


def _sample(level: torch.Tensor, x, y, scale: float) -> torch.Tensor:
    """Crops of a level of the pyramid, means of 2 x 2 bilinear samples.

    Outside the image, the values of its rim continue.
    """
    height, width = level.shape[2:]
    grid = torch.empty(len(x), y.shape[1], x.shape[1], 2)
    grid[..., 0] = (x * (2 / (scale * width)) - 1)[:, None, :]
    grid[..., 1] = (y * (2 / (scale * height)) - 1)[:, :, None]
    sampled = F.grid_sample(
        level, grid.flatten(0, 1)[None], padding_mode="border", align_corners=False
    )
    crops = sampled[0].unflatten(1, (len(x), -1)).transpose(0, 1)
    return F.avg_pool2d(crops, 2)
