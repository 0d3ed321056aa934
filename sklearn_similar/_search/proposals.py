"""Region proposals: extremal regions of an image, or hot regions of a heatmap.

Regions are connected at several thresholds (a component tree). One threshold is not
enough: some instances are bright and some faint, and the strokes of neighbours touch at
low thresholds.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from .._images.max_tree import ComponentTree, MergedComponents, component_tree
from .._tables.boxes import paired_iou
from .channels import Channel, grey_channel, shared_channels, smooth_channel

REGION = np.dtype(
    [
        ("box", np.float32, (4,)),
        ("threshold", np.float32),
        ("last_threshold", np.float32),
        ("peak", np.float32),
        ("parent", np.int64),
        # Flat index of the first pixel; thresholds at which it begins and ends to be.
        ("first", np.int64),
        ("birth", np.uint16),
        ("death", np.uint16),
    ]
)
# `downsampling`: the image's pixels in one of the channel's, from which a box comes.
PROPOSAL = np.dtype([("box", np.float32, (4,)), ("downsampling", np.int64)])


class Stability(NamedTuple):
    """What regions are proposed, in grey levels between 0 and 1.

    Attributes
    ----------
    min_range : float
        Least range of thresholds over which a region keeps its box.
    min_contrast : float
        Least difference between a region's peak and its threshold.
    """

    min_range: float
    min_contrast: float

    @classmethod
    def of_channel(cls, downsampling: int) -> "Stability":
        """Where a channel is smaller and smoothed, less of it is noise."""
        return _OF_FULL_SIZE if downsampling == 1 else _OF_SMALLER


# Smaller regions, in pixels, cannot be recognised.
_MIN_SIDE = 7
# Chosen on scenes of training digits and clothes.
_OF_FULL_SIZE = Stability(min_range=0.05, min_contrast=0.1)
_OF_SMALLER = Stability(min_range=0.03, min_contrast=0.06)
# IoU of boxes that are like each other.
STABLE_IOU = 0.6
_DUPLICATE_IOU = 0.8
# Share of the way from background to peak above which a pixel is foreground.
_FOREGROUND_SHARE = 0.35
_N_SAMPLES = 32
_REGIONS_AT_ONCE = 4096
# Axis along which a region is cut: how many parts, and its least length in parts of its
# other side. Things stand beside each other more often than on top.
_CUTS = ((0, ((2, 0.8), (3, 1.2))), (1, ((2, 2.0),)))
# Share of a box's width and height by which the corners of like boxes differ at most.
_DUPLICATE_SHIFT = 0.1


def propose(
    image: torch.Tensor,
    negatives: tuple[bool, ...],
    proposals: str | Callable[[np.ndarray], Any],
    n_thresholds: int,
    any_contrast: bool = False,
) -> list[np.ndarray]:
    """Region proposals, as `InstanceLocalizer` names them.

    Parameters
    ----------
    image : tensor of shape (n_channels, height, width)
        Values between 0 and 1.
    negatives : tuple of bool
        Whether instances are brighter in the image, or in its negative.
    proposals : {"image", "grey"} or callable
    n_thresholds : int
    any_contrast : bool
        Whether regions that are darker than what is around them are proposed as well,
        in the image and in its negative.

    Returns
    -------
    list of structured ndarray of dtype `PROPOSAL`
        For each of `negatives`.
    """
    if callable(proposals):
        return [as_proposals(_called(proposals, image))] * len(negatives)
    contrasts = (False, True) if any_contrast else negatives
    views = [1 - image if is_negative else image for is_negative in contrasts]
    channels = [own_channels(view, proposals) for view in views]
    found = [_in_channels(own, n_thresholds) for own in channels]
    shared = np.empty(0, PROPOSAL)
    if proposals == "image":
        shared = _in_channels(shared_channels(image), n_thresholds)
    size = image.shape[1], image.shape[2]
    if any_contrast:
        return [joined([*found, shared], size)] * len(negatives)
    return [joined([own, shared], size) for own in found]


def joined(channels: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Proposals of several channels of an image of a height and width."""
    return distinct(inside_image(np.concatenate(channels), size))


def parts_of(proposals: np.ndarray) -> np.ndarray:
    """Parts of the proposals that may show several instances.

    Where instances touch, their strokes are one region. It is cut into equal parts,
    side by side or one on top of the other: whoever looks at a part sees which instance
    it belongs to. Smaller channels have the same objects.
    """
    found = [proposals[:0]]
    proposals = proposals[proposals["downsampling"] == 1]
    for axis, cuts in _CUTS:
        low, other_low, high, other_high = (
            proposals["box"].T[[axis, 1 - axis, axis + 2, 3 - axis]].astype(np.float64)
        )
        for n_parts, least_ratio in cuts:
            is_long = high - low >= least_ratio * (other_high - other_low)
            start, length = low[is_long], (high - low)[is_long]
            for number in range(n_parts):
                part = proposals[is_long]
                part["box"][:, axis] = np.floor(start + length * number / n_parts)
                end = np.ceil(start + length * (number + 1) / n_parts)
                part["box"][:, axis + 2] = end
                found.append(part[is_recognisable(part)])
    return np.concatenate(found)


def own_channels(image: torch.Tensor, proposals: str) -> list[Channel]:
    """Channels in which the negative of an image has other regions."""
    if proposals == "grey":
        return [grey_channel(image)]
    return [grey_channel(image), smooth_channel(image)]


def as_proposals(boxes: np.ndarray, downsampling: int = 1) -> np.ndarray:
    """Boxes, in pixels of a channel, as proposals."""
    found = np.empty(len(boxes), PROPOSAL)
    found["box"], found["downsampling"] = boxes * np.float32(downsampling), downsampling
    return found


def inside_image(proposals: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The proposals, in place, cut to an image of a height and width.

    The last pixel of a smaller channel may reach beyond it.
    """
    edge = np.array(size[::-1], np.float32)
    proposals["box"][:, 2:] = np.minimum(proposals["box"][:, 2:], edge)
    return proposals


def _called(proposals: Callable[[np.ndarray], Any], image: torch.Tensor) -> np.ndarray:
    """Boxes that a function of the user proposes, cut to the image."""
    n_channels, height, width = image.shape
    pixels = image.permute(1, 2, 0).numpy()
    found = np.asarray(proposals(pixels[..., 0] if n_channels == 1 else pixels))
    if found.size == 0:
        return np.empty((0, 4), np.float32)
    if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
        raise ValueError(
            "proposals must return finite boxes x_min, y_min, x_max, y_max, of the "
            f"shape (n_boxes, 4), found {found.dtype} of the shape {found.shape}."
        )
    boxes = found.astype(np.float32).clip(0, [width, height, width, height])
    is_empty = ~(boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    if is_empty.any():
        raise ValueError(
            f"proposals returned the box {found[is_empty][0].tolist()}, which holds "
            f"no pixel of an image of {width} x {height}; boxes are x_min, y_min, "
            "x_max, y_max in pixels."
        )
    return boxes


def _in_channels(channels: Iterable[Channel], n_thresholds: int) -> np.ndarray:
    """Extremal regions of channels as proposals, in pixels of the image."""
    found = []
    for values, downsampling in channels:
        stability = Stability.of_channel(downsampling)
        regions = extremal_regions(values, n_thresholds, stability)
        found.append(as_proposals(regions["box"], downsampling))
    return np.concatenate(found)


def distinct(proposals: np.ndarray) -> np.ndarray:
    """The first of all proposals whose boxes are nearly the same."""
    first, _ = groups_of_like(proposals)
    return proposals[first]


def groups_of_like(proposals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of proposals whose boxes are nearly the same.

    Returns
    -------
    first : ndarray of shape (n_groups,)
        First row of each group, in rising order.
    group : ndarray of shape (n_proposals,)
    """
    boxes = proposals["box"]
    octave = np.floor(np.log2(boxes[:, 2:] - boxes[:, :2]))
    cell = np.rint(boxes / np.tile(_DUPLICATE_SHIFT * 2**octave, 2))
    _, first, group = np.unique(
        np.hstack([octave, cell]), axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return first[order], number[group.ravel()]


def unlike(known: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """The distinct ones of the proposals that are like none of some distinct ones."""
    return distinct(np.concatenate([known, proposals]))[len(known) :]


def extremal_regions(
    image: np.ndarray,
    n_thresholds: int,
    stability: Stability = _OF_FULL_SIZE,
) -> np.ndarray:
    """Stable connected regions of an image that are brighter than their surroundings.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        Grey levels between 0 and 1.
    n_thresholds : int
        Thresholds, evenly spaced between 0 and 1.
    stability : Stability

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        `threshold` is the lowest at which the region is connected, `peak` its greatest
        grey level; `parent` is the row of the nearest region that holds this one, -1
        for none.
    """
    regions = connected_regions(image, even_thresholds(n_thresholds))
    until = stable_until(regions)
    found = is_stable(regions, until, image.shape, n_thresholds, stability)
    return select_regions(regions, found)


def even_thresholds(n_thresholds: int) -> np.ndarray:
    """Thresholds evenly spaced between 0 and 1."""
    return np.arange(1, n_thresholds + 1) / (n_thresholds + 1)


def heat_regions(
    heatmap: np.ndarray, image: np.ndarray, threshold: float, n_thresholds: int
) -> np.ndarray:
    """Connected hot regions of a heatmap, their boxes tightened around bright pixels.

    Parameters
    ----------
    heatmap, image : ndarray of shape (height, width)
        Normalised heat, and grey levels between 0 and 1.
    threshold : float
        Lowest threshold of heat.
    n_thresholds : int
        Thresholds, each a fixed factor above the one before, up to 1.

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        As in `extremal_regions`; `threshold` and `peak` are grey levels.
    """
    lowest = max(threshold, 0.01)
    thresholds = lowest ** (1 - np.arange(n_thresholds) / n_thresholds)
    regions = connected_regions(heatmap, thresholds)
    return _tighten(select_regions(regions, ~_is_duplicate(regions)), image)


def connected_regions(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Connected regions (8 neighbours) above each of some rising thresholds.

    A region that is the same at several thresholds is there once.

    Parameters
    ----------
    values : ndarray of shape (height, width)
    thresholds : ndarray of shape (n_thresholds,)

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        In the order of their thresholds, so that parents come before their children;
        `last_threshold` is the highest at which a region is connected.
    """
    thresholds = thresholds.astype(values.dtype)
    levels = levels_of(values, thresholds)
    regions = as_regions(component_tree(levels, values), thresholds)
    order = np.lexsort((regions["first"], regions["death"]))
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    regions = regions[order]
    parent = regions["parent"]
    regions["parent"] = np.where(parent >= 0, row[parent], -1)
    # The parent of a large region is larger: it is never left out.
    return select_regions(regions, is_recognisable(regions))


def levels_of(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of some thresholds each value is above.

    For as few as are usual, comparing all with each takes less than a search for each.
    """
    levels = np.zeros(values.shape, np.uint16)
    for threshold in thresholds:
        levels += values > threshold
    return levels


def as_regions(
    components: ComponentTree | MergedComponents, thresholds: np.ndarray
) -> np.ndarray:
    """Components as structured ndarray of dtype `REGION`, in their order."""
    regions = np.zeros(len(components.birth), REGION)
    for name in ("box", "peak", "parent", "first", "birth", "death"):
        regions[name] = getattr(components, name)
    regions["threshold"] = thresholds[components.death]
    regions["last_threshold"] = thresholds[components.birth - 1]
    return regions


def is_recognisable(regions: np.ndarray) -> np.ndarray:
    sides = regions["box"][:, 2:] - regions["box"][:, :2]
    return sides.max(axis=1, initial=0) >= _MIN_SIDE


def is_stable(
    regions: np.ndarray,
    until: np.ndarray,
    shape,
    n_thresholds: int,
    stability: Stability,
) -> np.ndarray:
    """Whether a region is the first of those that have its box over some thresholds.

    Objects with edges keep their boxes over a long range of thresholds; hills of light
    and shade do not. This is the idea of maximally stable extremal regions (Matas et
    al. 2002); the lowest threshold of a range is used, as there the region holds all of
    a stroke. `until` is as `stable_until` gives it.
    """
    size = regions["box"][:, 2:] - regions["box"][:, :2]
    # There is no range of a single threshold.
    min_range = stability.min_range if n_thresholds > 1 else 0
    return (
        ~_is_duplicate(regions)
        & (until - regions["threshold"] >= min_range)
        & (regions["peak"] - regions["threshold"] >= stability.min_contrast)
        # The background around everything is no instance.
        & (size < shape[::-1]).any(axis=1)
    )


def _is_duplicate(regions: np.ndarray) -> np.ndarray:
    """Whether regions have nearly the boxes of their parents."""
    parent = regions["parent"]
    iou = paired_iou(regions["box"], regions["box"][parent])
    return (parent >= 0) & (iou >= _DUPLICATE_IOU)


def stable_until(regions: np.ndarray) -> np.ndarray:
    """Highest threshold at which some part of each region has a similar box."""
    boxes = regions["box"]
    last = regions["last_threshold"]
    top = last.copy()
    holders = ancestors(regions["parent"])
    for first in range(0, len(regions), _REGIONS_AT_ONCE):
        part, column = np.nonzero(holders[first : first + _REGIONS_AT_ONCE] >= 0)
        rows = first + part
        above = holders[rows, column]
        is_similar = paired_iou(boxes[rows], boxes[above]) >= STABLE_IOU
        np.maximum.at(top, above[is_similar], last[rows[is_similar]])
    return top


def _tighten(regions: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Tighten boxes around pixels that are brighter than the rims of the boxes."""
    tight = regions.copy()
    is_bright = np.zeros(len(regions), dtype=bool)
    for first in range(0, len(regions), _REGIONS_AT_ONCE):
        rows = slice(first, first + _REGIONS_AT_ONCE)
        tight[rows], is_bright[rows] = _foreground(regions[rows], image)
    return select_regions(tight, is_bright)


def _foreground(
    regions: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the foreground in each region's box, and whether there is any."""
    step = (np.arange(_N_SAMPLES) + 0.5) / _N_SAMPLES
    box = regions["box"].astype(np.float32)
    low, high = box[:, :2, np.newaxis], box[:, 2:, np.newaxis]
    x, y = (low + (high - low) * step).astype(np.int64).swapaxes(0, 1)
    inside = image[y[:, :, np.newaxis], x[:, np.newaxis, :]]
    rim = [inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
    background = np.median(np.concatenate(rim, axis=1), axis=1)
    tight = regions.copy()
    tight["peak"] = inside.max(axis=(1, 2))
    contrast = tight["peak"] - background
    tight["threshold"] = background + _FOREGROUND_SHARE * contrast
    mask = inside > tight["threshold"][:, np.newaxis, np.newaxis]
    row = np.arange(len(regions))
    for axis, position in enumerate((x, y)):
        hit = mask.any(axis=1 + axis)
        tight["box"][:, axis] = position[row, hit.argmax(axis=1)]
        last = _N_SAMPLES - 1 - hit[:, ::-1].argmax(axis=1)
        tight["box"][:, axis + 2] = position[row, last] + 1
    return tight, (contrast >= _OF_FULL_SIZE.min_contrast) & is_recognisable(tight)


def select_regions(regions: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Some of the regions; their parents become the nearest selected ones."""
    parent = regions["parent"].copy()
    while (skip := (parent >= 0) & ~keep[parent]).any():
        parent[skip] = regions["parent"][parent[skip]]
    row = np.cumsum(keep) - 1
    selected = regions[keep]
    selected["parent"] = np.where(parent[keep] >= 0, row[parent[keep]], -1)
    return selected


def ancestors(parent: np.ndarray) -> np.ndarray:
    """Rows of all regions that hold each one, n_regions x depth, padded with -1."""
    columns = [parent]
    while (columns[-1] >= 0).any():
        last = columns[-1]
        columns.append(np.where(last >= 0, parent[last], -1))
    return np.stack(columns, axis=1)
