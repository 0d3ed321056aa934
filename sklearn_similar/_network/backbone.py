"""Backbones: networks whose feature maps show the whole image at once.

The layers from which features are taken are the last of each stride, as the stages of
a feature pyramid (Lin et al., 2017). Where their cells lie on the image follows from
the strides and paddings that the network really has.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from .._compat import is_out_of_memory
from .activations import extract_activations, tracked
from .copying import usable_copy, warn_of_other_precision
from .forward import eval_mode, first_line, forward_hook
from .receptive_field import receptive_field

# Strides of the layers that are chosen, in pixels. Finer layers know little of objects,
# and a cell of coarser ones is as large as many objects.
_STRIDES = (8, 16)
# Side of the image with which layers are looked for: several cells of any stride.
_PROBE_SIDE = 256


@dataclass(frozen=True)
class FeatureMap:
    """Activations of a layer, and where its cells lie on the images.

    Attributes
    ----------
    values : tensor of shape (n_images, n_filters, height, width)
    stride, start : (float, float)
        The cell (r, c) is centred on the pixel start + stride * (r, c).
    """

    values: torch.Tensor
    stride: tuple[float, float]
    start: tuple[float, float]


@dataclass(frozen=True)
class Backbone:
    """A network and the layers from which features are taken.

    Attributes
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layers : tuple of str
        Their `named_modules` paths.
    n_channels : int
        Channels of the images.
    detail_layer : str or None
        Path of the layer that helps to distinguish similar classes.
    """

    module: nn.Module
    layers: tuple[str, ...]
    n_channels: int
    detail_layer: str | None = None

    @classmethod
    def of(
        cls,
        module: nn.Module,
        n_channels: int | None = None,
        layers: Sequence[str] | None = None,
        detail_layer: str | None = None,
    ) -> "Backbone":
        """A copy of a network as a backbone.

        Parameters
        ----------
        module : torch.nn.Module
        n_channels : int, optional
            Channels of the images; by default, those that the network takes.
        layers : sequence of str, optional
            By default, those that `feature_layers` chooses.
        detail_layer : str, optional
            By default, the widest layer if `layers` are not passed, and none otherwise.

        Raises
        ------
        ValueError
            If the network takes no images, or has no layer with these names or with
            feature maps.
        """
        module = usable_copy(module).eval().requires_grad_(False)
        warn_of_other_precision(module, "backbone")
        # Images are float32.
        module.float()
        if n_channels is None:
            n_channels = input_channels(module)
        if layers is None:
            layers = feature_layers(module, n_channels)
            detail_layer = widest_layer(module, layers, n_channels)
        else:
            layers = tuple(layers)
            _check_layers(module, n_channels, layers, "backbone_layers")
            if detail_layer is not None:
                names = (detail_layer,)
                _check_layers(module, n_channels, names, "backbone_detail_layer_")
        return cls(module, layers, n_channels, detail_layer)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        parameter = next(self.module.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def feature_maps(self, pixels: torch.Tensor) -> list[FeatureMap]:
        """Feature maps of one image, n_channels x height x width, in [0, 1]."""
        return self.maps_and_details(pixels)[0]

    def maps_and_details(
        self, pixels: torch.Tensor
    ) -> tuple[list[FeatureMap], FeatureMap | None]:
        """The same, and the feature map of the detail layer, if there is one."""
        images = pixels[None].to(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        layers = self.layers
        if self.detail_layer is not None:
            layers = (*layers, self.detail_layer)
        with eval_mode(self.module):
            activations = extract_activations(self.module, layers, images, "pooled")
        maps = [
            FeatureMap(
                features.activations.float().cpu(),
                features.receptive_field.stride,
                features.receptive_field.start,
            )
            for features in activations
        ]
        details = None if self.detail_layer is None else maps.pop()
        return maps, details


def input_channels(module: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first convolution."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            return child.in_channels
    raise ValueError(
        f"backbone is a {type(module).__name__} without a convolution (torch.nn.Conv2d)"
        "; pass a convolutional network, with weights in place."
    )


def feature_layers(module: nn.Module, n_channels: int) -> tuple[str, ...]:
    """The last layer of stride 8 and of stride 16, or of the strides that there are.

    Blocks count as layers, and count rather than the layers inside them. Layers that
    run several times for an image, as a shared activation, are left out.

    Raises
    ------
    ValueError
        If the network fails for colour images, or has no feature maps.
    """
    outputs = defaultdict(list)
    for output in _outputs(module, n_channels):
        if output.stride[0] == output.stride[1]:
            outputs[output.stride[0]].append(output)
    last = {
        stride: _outermost(of_stride)[-1].name for stride, of_stride in outputs.items()
    }
    chosen: list[float] = [stride for stride in _STRIDES if stride in last]
    if not chosen:
        # The coarsest of finer strides, or else the finest.
        finer = [stride for stride in last if 1 < stride < _STRIDES[0]]
        chosen = [max(finer)] if finer else sorted(last)[:1]
    if not chosen:
        raise ValueError(
            f"backbone is a {type(module).__name__} without feature maps, n_images x "
            "n_filters x height x width; pass a convolutional network."
        )
    return tuple(last[stride] for stride in chosen)


def widest_layer(module: nn.Module, layers: Sequence[str], n_channels: int) -> str:
    """The layer with the most filters among those of the coarsest stride of `layers`.

    Networks reduce the channels between blocks: in mobile networks, the expansion in a
    block has six times as many filters as the block gives. Of several such layers,
    blocks come before the layers inside them, and the last is chosen.
    """
    outputs = _outputs(module, n_channels)
    stride = max(output.stride for output in outputs if output.name in layers)
    with_stride = [output for output in outputs if output.stride == stride]
    most = max(output.n_filters for output in with_stride)
    return _outermost([each for each in with_stride if each.n_filters == most])[-1].name


def mid_level_layers(module: nn.Module, layer: str, n_channels: int) -> tuple[str, ...]:
    """Layers of about half the depth, over whose features evidence can be carried.

    The first is the first block of stride 16, unless `layer` has this stride itself;
    the second is the last layer of stride 8.

    Parameters
    ----------
    module : torch.nn.Module
    layer : str
        Path of the layer that discriminates between classes.
    n_channels : int
        Channels of the images.

    Returns
    -------
    tuple of str
        Empty where `layer` has a stride of less than 16, as its maps are fine anyway,
        where the network has no layer of stride 8 before it, and where it takes images
        of one size alone.
    """
    try:
        outputs = _outputs(module, n_channels)
    except ValueError:
        return ()
    names = [output.name for output in outputs]
    if layer not in names:
        return ()
    stride = min(outputs[names.index(layer)].stride)
    outputs = outputs[: names.index(layer)]
    fine, coarse = (
        [output for output in outputs if output.stride == (length, length)]
        for length in _STRIDES
    )
    if stride < _STRIDES[1] or not fine:
        return ()
    last = _outermost(fine)[-1]
    if stride == _STRIDES[1] or not coarse:
        return (last.name,)
    first = _outermost(coarse)[0]
    # A stage consists of blocks.
    while isinstance(module.get_submodule(first.name), nn.Sequential):
        inside = [o for o in coarse if o.name.startswith(f"{first.name}.")]
        if not inside:
            break
        first = _outermost(inside)[0]
    return first.name, last.name


def _outermost(outputs: "Sequence[_Output]") -> "list[_Output]":
    """The outputs of blocks, or of layers that are in no block."""
    depth = min(output.depth for output in outputs)
    return [output for output in outputs if output.depth == depth]


def _check_layers(
    module: nn.Module, n_channels: int, layers: tuple[str, ...], parameter: str
) -> None:
    """Raise ValueError unless all these layers exist and give feature maps."""
    known = dict(module.named_modules())
    unknown = [name for name in layers if not name or name not in known]
    if unknown or not layers:
        fact = (
            f"has no layer {', '.join(map(repr, unknown))}" if unknown else "needs some"
        )
        raise ValueError(
            f"{parameter} is {list(layers)!r}, but the backbone {fact}; name some "
            "of its named_modules()."
        )
    with_maps = {output.name for output in _outputs(module, n_channels)}
    for name in layers:
        if name not in with_maps:
            raise ValueError(
                f"{parameter} names {name!r}, which does not give one feature map, "
                "n_images x n_filters x height x width, for an image; name layers that "
                "do."
            )


@dataclass(frozen=True)
class _Output:
    """The feature map of a layer.

    Attributes
    ----------
    name : str
        `named_modules` path of the layer.
    stride : (float, float)
    depth : int
        Number of layers that are running when the layer begins.
    n_filters : int
    """

    name: str
    stride: tuple[float, float]
    depth: int
    n_filters: int


def _outputs(module: nn.Module, n_channels: int) -> list[_Output]:
    """The feature maps of layers that run once for an image, in the order they end.

    There are none where only the first convolution has a map, and what follows has
    other outputs: a vision transformer's features are not in the embedding of patches.
    """
    running: list[nn.Module] = []
    n_runs: Counter[str] = Counter()
    found: list[_Output] = []
    others: list[str] = []

    def begin(child: nn.Module, _inputs) -> None:
        running.append(child)

    def end(name: str, _inputs, output) -> None:
        running.pop()
        n_runs[name] += 1
        if not isinstance(output, torch.Tensor) or output.ndim not in (3, 4):
            return
        # The image is square, and so are its maps.
        if output.ndim == 3 or output.shape[2] != output.shape[3]:
            others.append(name)
        elif output.shape[2] > 1:
            stride = receptive_field(output).stride
            found.append(_Output(name, stride, len(running), output.shape[1]))

    images = torch.zeros(1, n_channels, _PROBE_SIDE, _PROBE_SIDE)
    parameter = next(module.parameters(), None)
    images = images if parameter is None else images.to(parameter.device)
    with ExitStack() as stack:
        stack.enter_context(eval_mode(module))
        images = stack.enter_context(tracked(module, images))
        for name, child in module.named_modules():
            if name:
                handle = child.register_forward_pre_hook(begin)
                stack.callback(handle.remove)
                stack.enter_context(forward_hook(child, partial(end, name)))
        try:
            module(images)
        except Exception as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            # Layers after the feature maps may want images of one size.
            if not found:
                raise ValueError(
                    f"The backbone, a {type(module).__name__}, cannot take images of "
                    f"{n_channels} channels and {_PROBE_SIDE}x{_PROBE_SIDE} pixels "
                    f"({type(error).__name__}: {first_line(error)})."
                ) from error
    found = [output for output in found if n_runs[output.name] == 1]
    is_convolution = [
        isinstance(module.get_submodule(output.name), nn.Conv2d) for output in found
    ]
    return [] if others and sum(is_convolution) == 1 else found
