"""Activations of a network's layers, and where they lie on the image."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .._compat import is_out_of_memory
from .forward import at_least_single, first_line, has_foreign_hooks, output_hook
from .receptive_field import ReceptiveField, receptive_field, track_receptive_field


class FeatureMaps(NamedTuple):
    """Activations of a layer's filters, and where they lie on the image.

    Attributes
    ----------
    activations : tensor of shape (n_images, n_filters, height, width)
    receptive_field : ReceptiveField
    is_dense : bool
        Whether there is an activation for every pixel.
    """

    activations: torch.Tensor
    receptive_field: ReceptiveField
    is_dense: bool


class KnownField(NamedTuple):
    """Receptive fields of a feature map of some height and width."""

    field: ReceptiveField
    size: tuple[int, ...]


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
        try:
            with suppress(_LastLayerReached), ExitStack() as stack:
                if known is None:
                    stack.enter_context(track_receptive_field(self.is_dense, size))
                for layer in self.layers:
                    record = partial(self._record, layer, known)
                    stack.enter_context(output_hook(self.module, layer, record))
                self.module(self.images)
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

    def _record(self, layer: str, known, output: torch.Tensor) -> None:
        is_last = self.activations.keys() | {layer} == set(self.layers)
        stops = is_last and self.stops_early
        field = known[layer].field if known else receptive_field(output)
        # Later layers could overwrite the activations in place.
        activations = at_least_single(output if stops else output.clone())
        self.activations[layer] = activations
        self.fields[layer] = KnownField(field, activations.shape[2:])
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
            shape = self.fields[layer].size
            if self.is_dense and shape != size:
                raise ValueError(
                    f"The activations of layer {layer!r} for images of {size[0]}x"
                    f"{size[1]} pixels are {shape[0]}x{shape[1]} even without strides, "
                    "as the network resizes them itself; pass resolution='pooled'."
                )
        return [
            FeatureMaps(
                self.activations[layer], self.fields[layer].field, self.is_dense
            )
            for layer in self.layers
        ]
