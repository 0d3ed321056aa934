"""Activations of a network's layers, and where they lie on the image."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .._compat import is_out_of_memory
from .attention import HeadOutputs, feature_maps_of
from .forward import (
    at_least_single,
    first_line,
    forward_hook,
    has_foreign_hooks,
    output_hook,
)
from .layout import CHANNELS_FIRST, Layout, layout_of
from .receptive_field import (
    ReceptiveField,
    keep_marks,
    mark_images,
    receptive_field,
    track_receptive_field,
)


class FeatureMaps(NamedTuple):
    """Activations of a layer's filters, and where they lie on the image.

    Attributes
    ----------
    activations : tensor of shape (n_images, n_filters, height, width)
    receptive_field : ReceptiveField
    is_dense : bool
        Whether there is an activation for every pixel.
    layout : Layout
        How the layer's output holds them.
    """

    activations: torch.Tensor
    receptive_field: ReceptiveField
    is_dense: bool
    layout: Layout = CHANNELS_FIRST


class KnownField(NamedTuple):
    """Receptive fields of a feature map, and how the layer's output holds it."""

    field: ReceptiveField
    layout: Layout


# For each combination of layers and image size, the receptive fields of each layer.
KnownFields = dict[tuple, dict[str, KnownField]]


def extract_activations(
    module: nn.Module,
    layers: Sequence[str],
    images: torch.Tensor,
    resolution: str,
    to_end: bool = False,
    known_fields: KnownFields | None = None,
) -> list[FeatureMaps]:
    """Run a network up to the last of some layers.

    Parameters
    ----------
    module : torch.nn.Module
    layers : sequence of str
        Their `named_modules` paths.
    images : tensor of shape (n_images, n_channels, height, width)
    resolution : {"dense", "pooled"}
    to_end : bool, default=False
        Whether to run the rest of the network as well.
    known_fields : dict, default=None
        Cache of receptive fields at the resolution "pooled", changed in place:
        tracking them takes as long as running a small network.

    Raises
    ------
    ValueError
        If the network cannot take images of this size at this resolution.
    """
    if known_fields is None or resolution == "dense":
        known_fields = {}
    key = (*layers, *images.shape[2:])
    known = known_fields.get(key)
    recorded = _RecordedPass(module, layers, images, resolution, to_end)
    recorded.run(known)
    if known is not None and recorded.fields != known:
        # The network gives feature maps of another size than it did.
        recorded = _RecordedPass(module, layers, images, resolution, to_end)
        recorded.run(None)
    feature_maps = recorded.feature_maps()
    known_fields[key] = recorded.fields
    return feature_maps


class _LastLayerReached(BaseException):
    """All activations are recorded; the rest of the network need not run.

    A network that catches every `Exception` does not catch it.
    """


class _RecordedPass:
    """A forward pass in which the activations of some layers are recorded.

    Attributes
    ----------
    activations : dict of str to tensor
    fields : dict of str to KnownField
        Both by the paths of the layers.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str],
        images: torch.Tensor,
        resolution: str,
        to_end: bool,
    ):
        self.module = module
        self.layers = layers
        self.images = images
        self.resolution = resolution
        self.is_dense = resolution == "dense"
        # A network with hooks has to finish: they could fill a store that it empties.
        self.stops_early = not to_end and not has_foreign_hooks(module)
        self.activations: dict[str, torch.Tensor] = {}
        self.fields: dict[str, KnownField] = {}

    def run(self, known: dict[str, KnownField] | None) -> None:
        """Run the network, tracking receptive fields unless they are known."""
        size = self.images.shape[2], self.images.shape[3]
        images = self.images
        try:
            with suppress(_LastLayerReached), ExitStack() as stack:
                if known is None:
                    images = stack.enter_context(
                        tracked(self.module, self.images, self.is_dense)
                    )
                for layer in self.layers:
                    record = partial(self._record, layer, known)
                    stack.enter_context(output_hook(self.module, layer, record))
                self.module(images)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # Layers after the recorded ones may fail; their output is not needed.
            if len(self.activations) < len(self.layers):
                raise ValueError(
                    f"The network cannot take images of {size[0]}x{size[1]} pixels "
                    f"(resolution={self.resolution!r}): "
                    f"{first_line(error)}."
                ) from error

    def _record(self, layer: str, known, output: torch.Tensor | HeadOutputs) -> None:
        tensor = output.tensor if isinstance(output, HeadOutputs) else output
        is_last = self.activations.keys() | {layer} == set(self.layers)
        stops = is_last and self.stops_early
        if known is None:
            layout = layout_of(tensor)
            if layout is None:
                raise unknown_layout(layer, tensor)
            self.fields[layer] = KnownField(receptive_field(tensor), layout)
        elif known[layer].layout.fits(tensor):
            self.fields[layer] = known[layer]
        else:
            # It has to be found out again.
            self.fields[layer] = known[layer]._replace(layout=CHANNELS_FIRST)
        maps = feature_maps_of(output, self.fields[layer].layout)
        # Later layers could overwrite the activations in place.
        self.activations[layer] = at_least_single(maps if stops else maps.clone())
        if stops:
            raise _LastLayerReached

    def feature_maps(self) -> list[FeatureMaps]:
        """What was recorded, in the order of the layers.

        Raises
        ------
        ValueError
            If the network did not run a layer, or gave dense maps of another size than
            the images'.
        """
        size = self.images.shape[2:]
        for layer in self.layers:
            if layer not in self.fields:
                raise ValueError(
                    f"The network does not run layer {layer!r} for images of "
                    f"{size[0]}x{size[1]} pixels; name another layer."
                )
            shape = self.activations[layer].shape[2:]
            if self.is_dense and not self.fields[layer].layout.is_channels_first:
                raise ValueError(
                    f"The network cuts images into patches before layer {layer!r}, so "
                    "that there are no activations at every pixel; pass "
                    "resolution='pooled'."
                )
            if self.is_dense and shape != size:
                raise ValueError(
                    f"The activations of layer {layer!r} for images of {size[0]}x"
                    f"{size[1]} pixels are {shape[0]}x{shape[1]} even without strides, "
                    "as the network resizes them itself; pass resolution='pooled'."
                )
        return [
            FeatureMaps(
                self.activations[layer],
                self.fields[layer].field,
                self.is_dense,
                self.fields[layer].layout,
            )
            for layer in self.layers
        ]


@contextmanager
def tracked(
    module: nn.Module, images: torch.Tensor, dense: bool = False
) -> Iterator[torch.Tensor]:
    """Track receptive fields and axes in a block; yields the images to be passed."""
    size = images.shape[2], images.shape[3]
    with ExitStack() as stack:
        for child in module.modules():
            stack.enter_context(forward_hook(child, keep_marks))
        marked = mark_images(images)
        stack.enter_context(track_receptive_field(dense, size))
        yield marked


def unknown_layout(layer: str, output) -> ValueError:
    """The error for a layer whose output holds no feature maps, or not known where."""
    shape = tuple(getattr(output, "shape", ())) or type(output).__name__
    return ValueError(
        f"layer {layer!r} gives {shape}, in which it is not known which axis holds the "
        "filters and which the places of the image; name the block that the layer is "
        "part of, or a convolutional layer."
    )
