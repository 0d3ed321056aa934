"""How far the activations of a network reach, so that images can be cut into tiles."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from .._compat import is_out_of_memory
from .activations import FeatureMaps, extract_activations
from .forward import first_line
from .hooks import forward_hook

# Sides of images, in pixels, on which the reach of an activation is looked for.
_PROBE_SIDES = (64, 128, 256, 512, 1024)
# Largest difference, as a share of the largest activation, that counts as rounding.
_ROUNDING = 1e-5
# Largest step between tiles, in strides of the layers.
_MAX_STEPS = 64
# Buffers of the size of the largest feature map that a forward pass has at a time.
_BUFFERS = 3


@dataclass(frozen=True)
class Locality:
    """What it takes for the activations in a tile to be those of the whole image.

    Attributes
    ----------
    halo : int
        Pixels around a tile that its activations depend on.
    step : int
        Tiles begin at multiples of it.
    bytes_per_pixel : float
        Memory that a forward pass needs.
    """

    halo: int
    step: int
    bytes_per_pixel: float


class NotLocalError(ValueError):
    """An activation depends on all of the image, or on where in it it is."""


def find_locality(
    module: nn.Module,
    layers: Sequence[str],
    resolution: str,
    n_channels: int,
    device: str | torch.device,
    memory_format: torch.memory_format,
) -> Locality:
    """Measure the locality of a network, in evaluation mode, on images of noise.

    A pixel that is no number makes all activations that depend on it none either. That
    tiles are right is then tried, as positions, say, are no property of the pixels.

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
        # Networks of others fail in many ways, on images of some sizes.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise NotLocalError(f"it fails on a tile ({first_line(error)})") from error

    def noise(side: int) -> torch.Tensor:
        return torch.rand(1, n_channels, side, side, generator=generator)

    reach = _reach(activations, noise)
    maps = activations(noise(_PROBE_SIDES[0]))
    strides = [stride for m in maps if not m.is_dense for stride in _strides(m)]
    if any(stride != round(stride) for stride in strides):
        raise NotLocalError("its layers have no whole strides")
    # Poolings before a layer that enlarges its maps again have strides of their own.
    unit = max(map(round, strides), default=1)
    step = unit
    while step <= _MAX_STEPS * unit:
        halo = -(-(reach + step) // step) * step
        images = noise(2 * halo + 4 * step + 1)
        part = images[..., step:-1, step:-1]
        if _is_same(activations(images), activations(part), halo, step):
            n_bytes = _bytes_per_pixel(module, activations, noise(_PROBE_SIDES[1]))
            return Locality(halo, step, n_bytes)
        step *= 2
    raise NotLocalError("its activations depend on where in the image they are")


def _strides(maps: FeatureMaps) -> tuple[float, float]:
    return maps.receptive_field.stride


def _reach(activations, noise) -> int:
    """Pixels from one that activations may be away from which depend on it."""
    for side in _PROBE_SIDES:
        images = noise(side)
        images[..., side // 2, side // 2] = torch.nan
        reaches = []
        for maps in activations(images):
            is_reached = maps.activations.isnan().any(dim=1)[0]
            for axis in (0, 1):
                stride = 1 if maps.is_dense else _strides(maps)[axis]
                start = 0 if maps.is_dense else maps.receptive_field.start[axis]
                hit = is_reached.any(dim=1 - axis).nonzero()
                if len(hit) == len(is_reached.any(dim=1 - axis)):
                    reaches.append(torch.inf)
                elif len(hit):
                    centre = start + stride * hit
                    reaches.append(float((centre - side // 2).abs().max()) + stride)
        if max(reaches, default=0) < torch.inf:
            return int(max(reaches, default=0)) + 1
    raise NotLocalError("an activation depends on all of the image")


def _is_same(
    whole: list[FeatureMaps], part: list[FeatureMaps], halo: int, step: int
) -> bool:
    """Whether activations of a part, far from the cuts, are those of the whole."""
    for one, other in zip(whole, part, strict=True):
        cell = [1 if one.is_dense else round(stride) for stride in _strides(one)]
        cut = [step // length for length in cell]
        far = [halo // length for length in cell]
        n = [n - f for n, f in zip(other.activations.shape[2:], far, strict=True)]
        b = other.activations[..., far[0] : n[0], far[1] : n[1]]
        a = one.activations[
            ..., cut[0] + far[0] : cut[0] + n[0], cut[1] + far[1] : cut[1] + n[1]
        ]
        largest = one.activations.abs().max()
        if (
            a.shape != b.shape
            or not a.numel()
            or not (a - b).abs().max() <= _ROUNDING * largest
        ):
            return False
    return True


def _bytes_per_pixel(module: nn.Module, activations, images: torch.Tensor) -> float:
    largest = images.numel()

    def note(_inputs, output) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel())

    with ExitStack() as stack:
        for layer in module.modules():
            stack.enter_context(forward_hook(layer, note))
        activations(images)
    return _BUFFERS * 4 * largest / images.shape[2:].numel()
