"""Region proposals as images of the trained size."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F

from .._inputs.batches import batch_slices
from .._inputs.images import to_grey
from .crop_specification import CropSpecification

_CROPS_AT_ONCE = 1024
# Grey levels; crops of less contrast stay fainter.
_LEAST_CONTRAST = 0.06


def to_unit_tensor(images: np.ndarray) -> torch.Tensor:
    """Float tensor n x n_channels x height x width in [0, 1] from uint8 images."""
    tensor = torch.from_numpy(images.astype(np.float32) / 255)
    return tensor[:, np.newaxis] if tensor.ndim == 3 else tensor.movedim(-1, 1)


def crop_boxes(
    pixels: torch.Tensor, boxes: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Boxes as images of the trained size, n x height x width x n_channels.

    Values, as those of `pixels`, n_channels x height x width, are between 0 and 1.
    """
    empty = np.empty((0, len(pixels), *specification.size), np.float32)
    crops = [crops.numpy() for crops in crop_batches(pixels, boxes, specification)]
    return np.concatenate([empty, *crops]).transpose(0, 2, 3, 1)


def crop_batches(
    pixels: torch.Tensor, boxes: np.ndarray, specification: CropSpecification
) -> Iterator[torch.Tensor]:
    """Crops of all boxes, batch by batch, on the device of the pixels."""
    pyramid = [pixels[np.newaxis]]
    for _ in range(int(crop_octaves(boxes, specification).max(initial=0))):
        pyramid.append(
            F.avg_pool2d(pyramid[-1], 2, ceil_mode=True, count_include_pad=False)
        )
    levels = dict(enumerate(pyramid))
    for first in range(0, len(boxes), _CROPS_AT_ONCE):
        yield _crop(levels, boxes[first : first + _CROPS_AT_ONCE], specification)


def crop_windows(boxes: np.ndarray, specification: CropSpecification) -> np.ndarray:
    """What the crops of boxes show: boxes of one shape, around those."""
    factor = _downsampling_factor(boxes, specification)
    half = factor[:, np.newaxis] * np.array(specification.size[::-1]) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([centre - half, centre + half])


def crop_octaves(boxes: np.ndarray, specification: CropSpecification) -> np.ndarray:
    """Number of times that the image is halved before a box is cropped from it.

    A crop has two samples a pixel, and so its level need not be coarser than that.
    """
    factor = torch.from_numpy(_downsampling_factor(boxes, specification)).float()
    return _octaves(factor).numpy()


def _octaves(factor: torch.Tensor) -> torch.Tensor:
    return torch.log2((factor / 2).clamp(min=1)).long()


def crop_reach(specification: CropSpecification) -> int:
    """Pixels of a box's level, from its centre, that its crop depends on at most."""
    # The factor is less than four at a box's own level.
    return 2 * max(specification.size) + 2


def crop_at(
    level: torch.Tensor,
    octave: int,
    boxes: np.ndarray,
    specification: CropSpecification,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Crops of boxes from an image that was halved so many times, and which of them."""
    for part in batch_slices(len(boxes), _CROPS_AT_ONCE):
        yield part, _crop({octave: level[np.newaxis]}, boxes[part], specification)


def _downsampling_factor(
    boxes: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Pixels of the image in one pixel of each box's crop."""
    size = boxes[:, 2:] - boxes[:, :2]
    factors = size / np.array(specification.size[::-1])
    return factors.max(axis=1) / specification.object_extent


def _crop(
    pyramid: Mapping[int, torch.Tensor],
    boxes: np.ndarray,
    specification: CropSpecification,
) -> torch.Tensor:
    """Crops in which the object of a box looks like a training image.

    The object has the extent that it has there, and the crop is contrast-normalised:
    the median around the edge of the box becomes 0, the greatest value in the box 1. Of
    training images that fill their frame, no value stands for the background, and the
    least in the box becomes 0. This is done after resampling, which leaves thin strokes
    fainter than they were.
    """
    height, width = specification.size
    first = next(iter(pyramid.values()))
    n_channels, device = first.shape[1], first.device
    factor = torch.from_numpy(_downsampling_factor(boxes, specification))
    factor = factor.to(device, torch.float32)
    box = torch.from_numpy(boxes).to(device, torch.float64)
    x = _positions(box[:, 0], box[:, 2], factor, width)
    y = _positions(box[:, 1], box[:, 3], factor, height)
    octave = _octaves(factor)
    crops = first.new_empty(len(boxes), n_channels, height, width)
    for number in octave.unique().tolist():
        rows = (octave == number).nonzero().flatten()
        crops[rows] = _sample(pyramid[number], x[rows], y[rows], 2.0**number)
    inside = _inside(x, y, box, factor)
    black, white = _contrast(crops, inside, specification.fills_frame)
    return crops.sub_(black).div_(white - black).clamp_(0, 1)


def _inside(x, y, box, factor) -> torch.Tensor:
    """Pixels of the crops in their boxes, n x height x width.

    The object's smoothed rim reaches half a pixel of the crop beyond the box.
    """
    slack = factor[:, None] / 2
    hits = []
    for axis, position in enumerate((x, y)):
        centre = position.unflatten(1, (-1, 2)).mean(dim=2)
        hits.append(
            (centre > box[:, axis, None] - slack)
            & (centre < box[:, axis + 2, None] + slack)
        )
    return hits[1][:, :, None] & hits[0][:, None, :]


def _contrast(
    crops: torch.Tensor, inside: torch.Tensor, fills_frame: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey levels of background, or darkest, and brightest part of each crop's box."""
    if fills_frame:
        black = crops.amin(dim=1).masked_fill(~inside, 1).flatten(1).amin(dim=1)
    else:
        deep = 1 - F.max_pool2d(F.pad(1 - inside.float(), (1, 1, 1, 1), value=1), 3, 1)
        rim = inside & (deep == 0)
        levels = to_grey(crops).masked_fill(~rim, torch.nan)
        black = levels.flatten(1).nanmedian(dim=1).values
    brightest = crops.amax(dim=1).masked_fill(~inside, 0).flatten(1).amax(dim=1)
    shape = (-1, 1, 1, 1)
    white = brightest.view(shape)
    return torch.minimum(black.view(shape), white - _LEAST_CONTRAST), white


def _positions(low, high, factor, n_pixels: int) -> torch.Tensor:
    """Positions of a crop's samples along one axis, two for each of its pixels."""
    samples = torch.arange(2 * n_pixels, dtype=torch.float64, device=low.device)
    steps = (samples + 0.5) / 2 - n_pixels / 2
    return (low + high)[:, None] / 2 + factor[:, None] * steps


def _sample(level: torch.Tensor, x, y, scale: float) -> torch.Tensor:
    """Crops of a level of the pyramid, means of 2 x 2 bilinear samples.

    Outside the image, the values of its rim continue. Positions are in double
    precision: far from the origin, those of single precision would give crops that
    depend on the size of the image, or of the tile that they are sampled from.
    """
    rows, below, down = _neighbours(y / scale - 0.5, level.shape[2])
    columns, beside, right = _neighbours(x / scale - 0.5, level.shape[3])
    down, right = down[:, :, None], right[:, None, :]

    def at(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return level[0][:, row[:, :, None], column[:, None, :]]

    upper = torch.lerp(at(rows, columns), at(rows, beside), right)
    lower = torch.lerp(at(below, columns), at(below, beside), right)
    return F.avg_pool2d(torch.lerp(upper, lower, down).transpose(0, 1), 2)


def _neighbours(position: torch.Tensor, length: int) -> tuple[torch.Tensor, ...]:
    """Pixels before and after positions along an axis, and the share of the second."""
    position = position.clamp(0, length - 1)
    before = position.floor()
    after = (before + 1).clamp(max=length - 1)
    return before.long(), after.long(), (position - before).float()
