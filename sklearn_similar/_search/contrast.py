"""Contrast normalisation: crops whose background is 0 and whose maximum is 1."""

import torch
from torch.nn import functional as F

from .._images.images import to_grey

# Minimum contrast in grey levels between 0 and 1; crops of less contrast stay fainter.
_MIN_CONTRAST = 0.06
# How many times the darkness of an object as a whole is subtracted from the darkness of
# its channels. With 3, dark objects vanish except some of the purest blues.
_DARKNESS_WEIGHT = 3.0


def normalise_contrast(
    crops: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, fills_frame: bool
) -> torch.Tensor:
    """Normalise the contrast of crops, in place.

    Parameters
    ----------
    crops : tensor of shape (n_crops, n_channels, height, width)
    rows, columns : tensor of bool of shape (n_crops, height) and (n_crops, width)
        Which of them are in a crop's box.
    fills_frame : bool
        Whether the training images have no background value; then the minimum in the
        box becomes 0, and else the median around its edge.
    """
    box = _Box(rows, columns)
    if fills_frame:
        black = box.minimum(crops.amin(dim=1))[:, None]
    elif crops.shape[1] == 1:
        black = box.edge_median(crops)
    else:
        return _normalise_colour(crops, box)
    black = black.view(-1, 1, 1, 1)
    white = box.maximum(crops.amax(dim=1)).view(-1, 1, 1, 1)
    black = torch.minimum(black, white - _MIN_CONTRAST)
    return crops.sub_(black).div_(white - black).clamp_(0, 1)


class _Box:
    """Statistics of the pixels of crops that are in their boxes."""

    def __init__(self, rows: torch.Tensor, columns: torch.Tensor):
        self._inside = rows[:, :, None] & columns[:, None, :]
        interior = _without_ends(rows)[:, :, None] & _without_ends(columns)[:, None, :]
        self._edge = self._inside & ~interior

    def minimum(self, values: torch.Tensor) -> torch.Tensor:
        """Minimum of values n_crops x height x width; at most 1."""
        return values.masked_fill(~self._inside, 1).flatten(1).amin(dim=1)

    def maximum(self, values: torch.Tensor) -> torch.Tensor:
        """Maximum of values n_crops x height x width; at least 0."""
        return values.masked_fill(~self._inside, 0).flatten(1).amax(dim=1)

    def edge_median(self, crops: torch.Tensor) -> torch.Tensor:
        """Median around the edges of the boxes, n_crops x n_channels."""
        levels = crops.masked_fill(~self._edge[:, None], torch.nan)
        return levels.flatten(2).nanmedian(dim=2).values


def _without_ends(inside: torch.Tensor) -> torch.Tensor:
    """Pixels along one axis whose neighbours are inside as well."""
    padded = F.pad(inside, (1, 1))
    return padded[:, :-2] & inside & padded[:, 2:]


def _normalise_colour(crops: torch.Tensor, box: _Box) -> torch.Tensor:
    """Colour crops as differences from the background, with a maximum of 1.

    The background of a channel is the median around the edge of the box. A channel in
    which an object is darker than the background, but only by its colour, counts as if
    it were brighter in it.

    Of held-out tinted clothes in their true boxes, this recognises 70 % on colour
    photographs that are not dimmed, against 53 % with the luma of the background as
    black; on photographs of half their contrast that have the luma of the clothes, 68 %
    against 28 %; on black, 83 % with either. Without the darker channels, it is 2 and
    5 % less.
    """
    change = crops.sub_(box.edge_median(crops)[..., None, None])
    darkness = -to_grey(change).clamp(max=0)[:, None]
    change = torch.maximum(change, -change - _DARKNESS_WEIGHT * darkness)
    white = box.maximum(change.amax(dim=1)).clamp(min=_MIN_CONTRAST)
    return change.div_(white.view(-1, 1, 1, 1)).clamp_(0, 1)
