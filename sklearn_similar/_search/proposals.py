"""Region proposals: extremal regions of an image's channels, or a user's boxes."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from .channels import Channel, grey_channel, shared_channels, smooth_channel
from .regions import DEFAULT_RECIPE, stable_regions

# `downsampling`: the image's pixels in one of the channel's, from which a box comes.
PROPOSAL = np.dtype([("box", np.float32, (4,)), ("downsampling", np.int64)])
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
                is_large_enough = DEFAULT_RECIPE.is_large_enough(part["box"])
                found.append(part[is_large_enough])
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
        recipe = DEFAULT_RECIPE.for_channel(downsampling)
        boxes = stable_regions(values, n_thresholds, recipe)
        found.append(as_proposals(boxes, downsampling))
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
