"""The halo that a tile of an image needs for the activations of the whole image."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from .._compat import is_out_of_memory
from .activations import FeatureMaps, extract_activations
from .forward import first_line, forward_hook

# Sides in pixels of the noise images on which the receptive extent is measured.
_PROBE_SIDES = (64, 128, 256, 512, 1024)
# Largest rounding difference, as a share of the largest activation.
_ROUNDING = 1e-5
# Largest step between tiles that is tried, in strides of the layers.
_MAX_STEPS = 64
# Buffers of the size of the largest feature map that a forward pass holds at a time.
_BUFFERS = 3


@dataclass(frozen=True)
class TileHalo:
    """How to cut an image so that a tile's activations are those of the whole image.

    Attributes
    ----------
    halo : int
        Pixels around a tile on which its activations depend.
    step : int
        Tiles start at multiples of it.
    bytes_per_pixel : float
        Memory that a forward pass needs.
    """

    halo: int
    step: int
    bytes_per_pixel: float


class NotLocalError(ValueError):
    """An activation depends on the whole image, or on its position in the image."""


def find_tile_halo(
    module: nn.Module,
    layers: Sequence[str],
    resolution: str,
    n_channels: int,
    device: str | torch.device,
    memory_format: torch.memory_format,
) -> TileHalo:
    """Measure the halo for a network in evaluation mode, on noise images.

    NaN in one pixel spreads to all activations that depend on it (NaN propagation).
    Tiles are then compared with a whole image, as activations may also depend on
    positions.

    Raises
    ------
    NotLocalError
        If images cannot be cut into tiles.
    """
    generator = torch.Generator().manual_seed(0)

    def activations(images: torch.Tensor) -> list[FeatureMaps]:
        images = images.to(device).contiguous(memory_format=memory_format)
        try:
            return extract_activations(module, layers, images, resolution)
        # A user's network may fail with any exception on images of some sizes.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise NotLocalError(f"it fails on a tile ({first_line(error)})") from error

    def noise(side: int) -> torch.Tensor:
        return torch.rand(1, n_channels, side, side, generator=generator)

    extent = _receptive_extent(activations, noise)
    maps = activations(noise(_PROBE_SIDES[0]))
    strides = [stride for m in maps if not m.is_dense for stride in _strides(m)]
    if any(stride != round(stride) for stride in strides):
        raise NotLocalError("the strides of its layers are not integers")
    # A layer that enlarges maps again hides the strides of poolings before it, which
    # larger steps cover.
    unit = max(map(round, strides), default=1)
    step = unit
    while step <= _MAX_STEPS * unit:
        halo = -(-(extent + step) // step) * step
        images = noise(2 * halo + 4 * step + 1)
        tile = images[..., step:-1, step:-1]
        if _is_same(activations(images), activations(tile), halo, step):
            n_bytes = _bytes_per_pixel(module, activations, noise(_PROBE_SIDES[1]))
            return TileHalo(halo, step, n_bytes)
        step *= 2
    raise NotLocalError("its activations depend on their position in the image")


def _strides(maps: FeatureMaps) -> tuple[float, float]:
    return maps.receptive_field.stride


def _receptive_extent(activations, noise) -> int:
    """Largest distance in pixels between a pixel and an activation that sees it."""
    for side in _PROBE_SIDES:
        images = noise(side)
        images[..., side // 2, side // 2] = torch.nan
        extents = [
            _distance(maps, axis, side // 2)
            for maps in activations(images)
            for axis in (0, 1)
        ]
        extent = max(extents, default=0)
        if extent < torch.inf:
            return int(extent) + 1
    raise NotLocalError("an activation depends on all of the image")


def _distance(maps: FeatureMaps, axis: int, pixel: int) -> float:
    """Distance of the farthest NaN from a pixel along an axis; infinite if all are."""
    stride = 1 if maps.is_dense else _strides(maps)[axis]
    start = 0 if maps.is_dense else maps.receptive_field.start[axis]
    is_nan = maps.activations.isnan().any(dim=1)[0].any(dim=1 - axis)
    if is_nan.all():
        return torch.inf
    if not is_nan.any():
        return 0
    centres = start + stride * is_nan.nonzero()
    return float((centres - pixel).abs().max()) + stride


def _is_same(
    whole: list[FeatureMaps], tile: list[FeatureMaps], halo: int, step: int
) -> bool:
    """Whether activations of a tile, a halo from its border, are those of the whole.

    The tile starts a step after the image, in both directions.
    """
    for in_whole, in_tile in zip(whole, tile, strict=True):
        windows = []
        for axis, stride in enumerate(_strides(in_whole)):
            cell = 1 if in_whole.is_dense else round(stride)
            length = in_tile.activations.shape[2 + axis]
            windows.append((halo // cell, length - halo // cell, step // cell))
        (top, bottom, down), (left, right, across) = windows
        inner = in_tile.activations[..., top:bottom, left:right]
        expected = in_whole.activations[
            ..., down + top : down + bottom, across + left : across + right
        ]
        if expected.shape != inner.shape or not expected.numel():
            return False
        largest = in_whole.activations.abs().max()
        if not (expected - inner).abs().max() <= _ROUNDING * largest:
            return False
    return True


def _bytes_per_pixel(module: nn.Module, activations, images: torch.Tensor) -> float:
    largest = images.numel()

    def measure(_inputs, output) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel())

    with ExitStack() as stack:
        for layer in module.modules():
            stack.enter_context(forward_hook(layer, measure))
        activations(images)
    return _BUFFERS * 4 * largest / images.shape[2:].numel()
