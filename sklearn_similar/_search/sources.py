"""Sources of region proposals.

A source is a function with an entry in `PROPOSAL_SOURCES`. Its signature is that of
`propose`. The fit of a localizer, with mining and calibration, uses the source that
`localize` uses, but has no heatmaps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .._images.images import to_grey
from .._images.rasters import Raster, Window, with_halo, work_tile_rows
from .channels import Channel, grey_channel, shared_channels, smooth_channel
from .heat import Heatmaps
from .proposals import Proposals
from .regions import StableRegions, heat_regions
from .settings import ProposalSettings
from .views import Views
from .windows import sliding_windows

# Pixels around a tile on which its channels depend, twice those at half the size.
_CHANNEL_HALO = 8

ProposalSource = Callable[[Views, ProposalSettings, Heatmaps | None], Proposals]
# From an image in [0, 1] to some channels.
MakeChannels = Callable[[torch.Tensor], list[Channel]]


def propose(
    views: Views, settings: ProposalSettings, heatmaps: Heatmaps | None = None
) -> Proposals:
    """Propose boxes in some views.

    Parameters
    ----------
    views : Views
    settings : ProposalSettings
    heatmaps : Heatmaps, default=None
        Of the views, for the sources that use them.
    """
    source = settings.source
    if callable(source):
        return _boxes_of_function(views, source)
    return PROPOSAL_SOURCES[source](views, settings, heatmaps)


def image_regions(
    views: Views, settings: ProposalSettings, heatmaps: Heatmaps | None = None
) -> Proposals:
    """Stable extremal regions of grey levels, edges and colours."""
    return _stable_regions(
        views,
        settings,
        of_view=lambda pixels: [grey_channel(pixels), smooth_channel(pixels)],
        of_all=shared_channels,
    )


def grey_regions(
    views: Views, settings: ProposalSettings, heatmaps: Heatmaps | None = None
) -> Proposals:
    """Stable extremal regions of grey levels."""
    return _stable_regions(
        views,
        settings,
        of_view=lambda pixels: [grey_channel(pixels)],
        of_all=lambda pixels: [],
    )


def regions_of_heatmaps(
    views: Views, settings: ProposalSettings, heatmaps: Heatmaps | None = None
) -> Proposals:
    """Connected regions of heatmaps, tightened around bright pixels.

    Before there are any heatmaps, as in `fit`, those of `image_regions`.
    """
    if heatmaps is None:
        return image_regions(views, settings)
    heat = heatmaps.of(range(len(views)))
    return Proposals.concatenate(
        Proposals.from_boxes(
            heat_regions(
                heat[view].whole()[0].numpy(),
                to_grey(views.rasters[view].whole()).numpy(),
                heatmaps.threshold,
                settings.n_thresholds,
                settings.regions,
            ),
            view,
        )
        for view in range(len(views))
    )


def windows(
    views: Views, settings: ProposalSettings, heatmaps: Heatmaps | None = None
) -> Proposals:
    """Windows of the sizes of the training objects, all over the image."""
    sizes = np.array(settings.window_sizes)
    return Proposals.concatenate(
        Proposals.from_boxes(sliding_windows(view.size, sizes), number)
        for number, view in enumerate(views.rasters)
    )


PROPOSAL_SOURCES: dict[str, ProposalSource] = {
    "image": image_regions,
    "grey": grey_regions,
    "heat": regions_of_heatmaps,
    "windows": windows,
}


def _stable_regions(
    views: Views,
    settings: ProposalSettings,
    *,
    of_view: MakeChannels,
    of_all: MakeChannels,
) -> Proposals:
    """Regions of the channels of each view, of those that all views share, and images.

    A region that reaches all four edges of an image cannot be told from the background.
    An object that fills the image is therefore proposed as the whole image.
    """
    parts = []
    n_views = len(views.negatives)
    for image_index, image in enumerate(views.images):
        shared = _regions_of_image(image, of_all, settings)
        whole = _whole_image(image, settings)
        regions = {
            is_negative: _regions_of_image(
                image, _of_contrast(of_view, is_negative), settings
            )
            for is_negative in views.contrasts
        }
        for position, is_negative in enumerate(views.negatives):
            contrasts = views.contrasts if views.any_contrast else (is_negative,)
            boxes = [*(regions[contrast] for contrast in contrasts), shared, whole]
            view = image_index * n_views + position
            parts.append(Proposals.concatenate(boxes).in_view(view))
    return Proposals.concatenate(parts).clip(views.sizes).distinct()


def _whole_image(image: Raster, settings: ProposalSettings) -> Proposals:
    """The box of an image, unless it is plain or too small to be recognised."""
    height, width = image.size
    box = np.array([[0, 0, width, height]], np.float32)
    recipe = settings.regions
    is_proposed = settings.whole_images and bool(recipe.is_large_enough(box)[0])
    if is_proposed:
        levels = [
            (pixels.amin(dim=(1, 2)), pixels.amax(dim=(1, 2)))
            for row in work_tile_rows(image.size)
            for pixels in (image.read(*window) for window in row)
        ]
        low, high = (torch.stack(values) for values in zip(*levels, strict=True))
        contrast = (high.amax(dim=0) - low.amin(dim=0)).max().item()
        is_proposed = contrast >= recipe.min_contrast
    return Proposals.from_boxes(box[:is_proposed])


def _of_contrast(channels: MakeChannels, is_negative: bool) -> MakeChannels:
    return lambda pixels: channels(1 - pixels if is_negative else pixels)


def _regions_of_image(
    image: Raster, channels: MakeChannels, settings: ProposalSettings
) -> Proposals:
    """Stable regions of some channels of an image, read tile by tile."""
    trees: list[StableRegions] = []
    factors: list[int] = []
    for row in work_tile_rows(image.size, multiple=2):
        tiles = [_channels_of_tile(image, window, channels) for window in row]
        if not trees:
            factors = [channel.downsampling for channel in tiles[0]]
            trees = [_empty_tree(image.size, n, settings) for n in factors]
        for number, tree in enumerate(trees):
            tree.add_row([tile[number].values for tile in tiles])
    return Proposals.concatenate(
        Proposals.from_boxes(tree.boxes() * np.float32(factor), coarseness=factor)
        for tree, factor in zip(trees, factors, strict=True)
    )


def _channels_of_tile(
    image: Raster, window: Window, channels: MakeChannels
) -> list[Channel]:
    outer, inner = with_halo(window, _CHANNEL_HALO, image.size, multiple=2)
    return [channel.crop(inner) for channel in channels(image.read(*outer))]


def _empty_tree(
    size: tuple[int, int], downsampling: int, settings: ProposalSettings
) -> StableRegions:
    """Regions of a channel of an image of a size, before any tile."""
    height, width = (-(-length // downsampling) for length in size)
    recipe = settings.regions.for_channel(downsampling)
    return StableRegions((height, width), settings.n_thresholds, recipe)


def _boxes_of_function(
    views: Views, function: Callable[[np.ndarray], Any]
) -> Proposals:
    """Boxes that a user's function proposes for each image, clipped to it."""
    boxes = [_checked_boxes(function, image.whole()) for image in views.images]
    return Proposals.concatenate(
        Proposals.from_boxes(boxes[views.image_of(view)], view)
        for view in range(len(views))
    )


def _checked_boxes(
    function: Callable[[np.ndarray], Any], image: torch.Tensor
) -> np.ndarray:
    n_channels, height, width = image.shape
    # A copy, as the user's function may change it.
    pixels = image.permute(1, 2, 0).numpy().copy()
    boxes = np.asarray(function(pixels[..., 0] if n_channels == 1 else pixels))
    if boxes.size == 0:
        return np.empty((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(
            "proposals must return finite boxes x_min, y_min, x_max, y_max, of the "
            f"shape (n_boxes, 4); got {boxes.dtype} of the shape {boxes.shape}."
        )
    clipped = boxes.astype(np.float32).clip(0, [width, height, width, height])
    is_empty = ~(clipped[:, 2:] - clipped[:, :2] >= 1).all(axis=1)
    if is_empty.any():
        raise ValueError(
            f"proposals returned the box {boxes[is_empty][0].tolist()}, which holds "
            f"no pixel of an image of {width} x {height}; boxes are x_min, y_min, "
            "x_max, y_max in pixels."
        )
    return clipped
