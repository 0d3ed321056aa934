"""Region proposals as images of the trained size."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .._images.images import batch_slices
from .._images.rasters import Raster, Window, with_halo, work_tile_rows
from .contrast import normalise_contrast
from .crop_specification import CropSpecification
from .proposals import Proposals

# Crops that are recognised together, at least: enough to hide the cost of a call.
_MIN_CROPS = 512
# Crops that are computed together.
_CROPS_AT_ONCE = 1024
# Values of a level around crops that are copied at a time: as many as caches hold, and
# on other devices as many as hide the cost of a call.
_VALUES_AT_ONCE = 2**18
_DEVICE_VALUES_AT_ONCE = 2**25


def crops(
    image: Raster,
    boxes: np.ndarray,
    specification: CropSpecification,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Crop boxes from an image, batch by batch.

    Parameters
    ----------
    image : Raster
        Values in [0, 1].
    boxes : ndarray of shape (n_boxes, 4)
    specification : CropSpecification
    device : torch.device or str
        Where crops are computed.

    Yields
    ------
    rows : ndarray of int
        The boxes of a batch.
    crops : tensor of shape (n_rows, n_channels, height, width)
        In [0, 1], with the size, object extent and contrast of training images.
    """
    factor = downsampling_factor(boxes, specification)
    octave = _octaves(torch.from_numpy(factor).float()).numpy()
    level = image
    for number in range(int(octave.max(initial=-1)) + 1):
        if number:
            level = level.halve().cached()
        rows = np.flatnonzero(octave == number)
        yield from _crops_of_level(
            level, 2.0**number, rows, boxes[rows], specification, device
        )


def crop_boxes(
    image: Raster, boxes: np.ndarray, specification: CropSpecification
) -> torch.Tensor:
    """The crops of all boxes, n x n_channels x height x width, in order."""
    pixel = image.read(slice(0, 1), slice(0, 1))
    cropped = pixel.new_empty(len(boxes), len(pixel), *specification.size)
    for rows, batch in crops(image, boxes, specification):
        cropped[rows] = batch
    return cropped


def crops_of_views(
    views: Sequence[Raster],
    proposals: Proposals,
    specification: CropSpecification,
    device: torch.device | str,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Rows of proposals in several views, and their crops; see `crops`.

    Small batches are joined, as many images have few crops each.
    """
    rows, batches, n_crops = [], [], 0
    for number in np.unique(proposals.view):
        of_view = np.flatnonzero(proposals.view == number)
        boxes = proposals.boxes[of_view]
        for part, cropped in crops(views[number], boxes, specification, device):
            rows.append(of_view[part])
            batches.append(cropped)
            n_crops += len(part)
            if n_crops >= _MIN_CROPS:
                yield np.concatenate(rows), torch.cat(batches)
                rows, batches, n_crops = [], [], 0
    if rows:
        yield np.concatenate(rows), torch.cat(batches)


def crop_windows(boxes: np.ndarray, specification: CropSpecification) -> np.ndarray:
    """The part of the image in each crop: boxes of one aspect ratio."""
    factor = downsampling_factor(boxes, specification)
    half = factor[:, np.newaxis] * np.array(specification.size[::-1]) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([centre - half, centre + half])


def downsampling_factor(
    boxes: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Pixels of the image in one pixel of each box's crop."""
    size = boxes[:, 2:] - boxes[:, :2]
    factors = size / np.array(specification.size[::-1])
    return factors.max(axis=1) / specification.object_extent


def _octaves(factor: torch.Tensor) -> torch.Tensor:
    """Number of times that the image is halved before a box is cropped from it.

    A crop has two samples a pixel, so that no coarser level is needed.
    """
    return torch.log2((factor / 2).clamp(min=1)).long()


def _crops_of_level(
    level: Raster,
    scale: float,
    rows: np.ndarray,
    boxes: np.ndarray,
    specification: CropSpecification,
    device: torch.device | str,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Crops of boxes from an image that was downsampled by a factor, tile by tile.

    A box belongs to the tile that holds its centre.
    """
    if len(rows) == 0:
        return
    # The factor is less than four at a box's level.
    halo = 2 * max(specification.size) + 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / (2 * scale)
    for window in itertools.chain.from_iterable(work_tile_rows(level.size)):
        inside = np.flatnonzero(_is_in_window(centre, window, level.size))
        if len(inside) == 0:
            continue
        outer, _ = with_halo(window, halo, level.size)
        pixels = level.read(*outer).to(device)
        origin = np.array([outer[1].start, outer[0].start] * 2, np.float32)
        shifted = boxes[inside] - np.float32(scale) * origin
        for part in batch_slices(len(inside), _CROPS_AT_ONCE):
            yield rows[inside[part]], _crop(pixels, scale, shifted[part], specification)


def _is_in_window(
    centre: np.ndarray, window: Window, size: tuple[int, int]
) -> np.ndarray:
    """Whether centres (x, y) lie in a window; the last windows have what is beyond."""
    rows, columns = window
    is_inside = np.ones(len(centre), bool)
    for position, part, length in (
        (centre[:, 0], columns, size[1]),
        (centre[:, 1], rows, size[0]),
    ):
        is_last = part.stop == length
        is_inside &= (position >= part.start) & ((position < part.stop) | is_last)
    return is_inside


def _crop(
    level: torch.Tensor,
    scale: float,
    boxes: np.ndarray,
    specification: CropSpecification,
) -> torch.Tensor:
    """Crops in which the object of a box looks like a training image.

    The object has the extent that it has there, and the crop is contrast-normalised:
    the median around the edge of the box becomes 0, in colour that of each channel, and
    the maximum in the box 1. Training images that fill their frame have no background
    value, and the minimum in the box becomes 0. Contrast is normalised after
    resampling, which leaves thin strokes fainter than they were.

    Outside an image, the values of its rim continue. If the box is the whole image,
    they would continue the strokes of an object that fills it, and are black instead.
    """
    height, width = specification.size
    factor = torch.from_numpy(downsampling_factor(boxes, specification))
    factor = factor.to(level.device, torch.float32)
    box = torch.from_numpy(boxes).to(level.device, torch.float64)
    x = _positions(box[:, 0], box[:, 2], factor, width)
    y = _positions(box[:, 1], box[:, 3], factor, height)
    cropped = level.new_empty(len(boxes), len(level), height, width)
    for part, extent in _groups_of_similar_extent(
        factor / scale, level, (height, width)
    ):
        cropped[part] = _sample(level, x[part] / scale, y[part] / scale, extent)
    rows = _inside(y, box[:, 1], box[:, 3], factor)
    columns = _inside(x, box[:, 0], box[:, 2], factor)
    cropped = normalise_contrast(cropped, rows, columns, specification.fills_frame)
    if not specification.fills_frame:
        # Halving may have rounded the lengths up.
        length = scale * torch.tensor(level.shape[:0:-1], device=box.device)
        is_whole = (box[:, :2] < scale) & (box[:, 2:] > length - scale)
        for whole in is_whole.all(dim=1).nonzero()[:, 0].tolist():
            cropped[whole, :, _outside(y[whole], length[1])] = 0
            cropped[whole, :, :, _outside(x[whole], length[0])] = 0
    return cropped


def _outside(position: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Pixels of a crop outside the image along one axis."""
    centre = (position[::2] + position[1::2]) / 2
    return (centre < 0) | (centre > length)


def _inside(position, low, high, factor) -> torch.Tensor:
    """Pixels of the crops in their boxes along one axis, n x n_pixels.

    The object's smoothed rim reaches half a pixel of the crop beyond the box.
    """
    slack = factor[:, None] / 2
    centre = (position[:, ::2] + position[:, 1::2]) / 2
    return (centre > low[:, None] - slack) & (centre < high[:, None] + slack)


def _positions(low, high, factor, n_pixels: int) -> torch.Tensor:
    """Positions of a crop's samples along one axis, two for each of its pixels."""
    samples = torch.arange(2 * n_pixels, dtype=torch.float64, device=low.device)
    steps = (samples + 0.5) / 2 - n_pixels / 2
    return (low + high)[:, None] / 2 + factor[:, None] * steps


def _groups_of_similar_extent(
    distance: torch.Tensor, level: torch.Tensor, size: tuple[int, int]
) -> Iterator[tuple[torch.Tensor, tuple[int, int]]]:
    """Rows of crops, the largest first, and the pixels of a level that each depends on.

    Parameters
    ----------
    distance : tensor of shape (n_crops,)
        Distance of a crop's pixels, in pixels of the level.
    level : tensor of shape (n_channels, height, width)
    size : (int, int)
        Height and width of a crop.
    """
    is_cpu = level.device.type == "cpu"
    max_values = _VALUES_AT_ONCE if is_cpu else _DEVICE_VALUES_AT_ONCE
    rows = distance.argsort(descending=True, stable=True)
    while len(rows):
        greatest = distance[rows[0]].item()
        # A pixel before the first sample, and one after the last.
        height, width = (
            min(math.ceil(greatest * n) + 2, length)
            for n, length in zip(size, level.shape[1:], strict=True)
        )
        at_once = max(1, max_values // (len(level) * height * width))
        yield rows[:at_once], (height, width)
        rows = rows[at_once:]


def _sample(
    level: torch.Tensor, x: torch.Tensor, y: torch.Tensor, extent: tuple[int, int]
) -> torch.Tensor:
    """Crops of a level of the pyramid, means of 2 x 2 bilinear samples.

    Outside the image, the values of its rim continue. Positions are in double
    precision: far from the origin, those of single precision would give crops that
    depend on the size of the image, or of the tile that they are sampled from.

    As samples form a grid, a crop is what surrounds it, multiplied by a matrix along
    each axis. Whole rows of pixels are copied for that, which takes a fraction of the
    time of looking up four neighbours of each sample.
    """
    height, width = extent
    top, down = _weights(y - 0.5, level.shape[1], height)
    left, right = _weights(x - 0.5, level.shape[2], width)
    windows = level.unfold(1, height, 1).unfold(2, width, 1)
    around = windows[:, top, left].transpose(0, 1)
    with torch.autocast(level.device.type, enabled=False):
        return down[:, None] @ around @ right[:, None].mT


def _weights(
    position: torch.Tensor, length: int, extent: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """First pixel of a level that crops depend on along an axis, and all weights.

    The weights are n x n_pixels x extent; two positions in a row make a pixel.
    """
    before, after, share = _linear_weights(position, length)
    first = before[:, :1].clamp(max=length - extent)
    samples = share.new_zeros(*share.shape, extent)
    # At the end of the axis both are one pixel, whose share is that of the first.
    samples.scatter_(2, (after - first)[:, :, None], share[:, :, None])
    samples.scatter_(2, (before - first)[:, :, None], 1 - share[:, :, None])
    return first[:, 0], (samples[:, ::2] + samples[:, 1::2]) / 2


def _linear_weights(position: torch.Tensor, length: int) -> tuple[torch.Tensor, ...]:
    """Pixels before and after positions along an axis, and the share of the second."""
    position = position.clamp(0, length - 1)
    before = position.floor()
    after = (before + 1).clamp(max=length - 1)
    return before.long(), after.long(), (position - before).float()
