"""Layers of a network: finding them, and extracting their activations."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .._compat import is_out_of_memory
from .forward import at_least_single
from .hooks import forward_hook, has_hooks_of_others, output_hook
from .isolation import undone_at_end
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


# By the paths of layers and the height and width of images, a field for each layer.
KnownFields = dict[tuple, dict[str, KnownField]]


class _LayerReached(BaseException):
    """All activations are known; the rest of the network need not run.

    A network that catches every `Exception` does not catch it.
    """


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients; each submodule's mode is restored."""
    in_training = [child for child in module.modules() if child.training]

    def restore():
        for child in in_training:
            child.training = True

    # Inference mode is faster by little, and marks tensors that a network keeps.
    with undone_at_end(restore), torch.no_grad():
        if in_training:
            module.eval()
        yield module


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
        Whether the rest of the network is run as well.
    known_fields : dict, default=None
        Receptive fields of earlier calls, which take as long to track as a small
        network takes to run; changed in place. Where feature maps have another size
        than then, they are tracked again.

    Raises
    ------
    ValueError
        If the network cannot take images of this size at this resolution.
    """
    is_dense = resolution == "dense"
    reached: dict[str, FeatureMaps] = {}
    key = (*layers, *images.shape[2:])
    known = None
    if known_fields is not None and not is_dense:
        known = known_fields.get(key)

    def note(layer, output):
        field = known[layer].field if known else receptive_field(output)
        # A network with hooks has to finish: they could fill a store that it empties.
        is_last = len(reached) == len(layers) - 1
        is_end = is_last and not to_end and not has_hooks_of_others(module)
        # Later layers could overwrite the activations in place.
        activations = at_least_single(output if is_end else output.clone())
        reached[layer] = FeatureMaps(activations, field, is_dense)
        if is_end:
            raise _LayerReached

    height, width = images.shape[2:]
    try:
        with ExitStack() as stack:
            if known is None:
                stack.enter_context(track_receptive_field(is_dense, (height, width)))
            for layer in layers:
                stack.enter_context(output_hook(module, layer, partial(note, layer)))
            module(images)
    except _LayerReached:
        pass
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # Layers that come later may fail; their output is not needed.
        if len(reached) < len(layers):
            raise ValueError(
                f"The network cannot take images of {height}x{width} pixels "
                f"(resolution={resolution!r}): {str(error).splitlines()[0]}"
            ) from error
    for layer in layers:
        if layer not in reached:
            raise ValueError(
                f"The network does not run layer {layer!r} for images of "
                f"{height}x{width} pixels; name another layer."
            )
        shape = reached[layer].activations.shape[2:]
        if is_dense and shape != images.shape[2:]:
            raise ValueError(
                f"The activations of layer {layer!r} for images of {height}x{width} "
                f"pixels are {shape[0]}x{shape[1]} even without strides, as the "
                "network resizes them itself; pass resolution='pooled'."
            )
    found = {
        layer: KnownField(maps.receptive_field, maps.activations.shape[2:])
        for layer, maps in reached.items()
    }
    if known_fields is not None and not is_dense:
        if known is not None and found != known:
            del known_fields[key]
            return extract_activations(
                module, layers, images, resolution, to_end, known_fields
            )
        known_fields[key] = found
    return [reached[layer] for layer in layers]


def find_layers(
    module: nn.Module, layer: str | Sequence[str] | None, images: torch.Tensor
) -> str | list[str]:
    """The path of the layer, or those of several, checked; see `find_layer`."""
    if layer is None or isinstance(layer, str):
        return find_layer(module, layer, images)
    is_named = all(isinstance(name, str) for name in layer)
    if not layer or not is_named or len(set(layer)) < len(layer):
        raise ValueError(
            f"layer is {layer!r}; pass the path of a layer, or a list of different "
            "ones."
        )
    return [find_layer(module, name, images) for name in layer]


def find_layer(module: nn.Module, layer: str | None, images: torch.Tensor) -> str:
    """The path of the layer, checked; None finds the last convolutional block.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str or None
        The path that the user asked for.
    images : tensor of shape (n_images, n_channels, height, width)
        Images on which the network is run once, to inspect the layer's output.

    Raises
    ------
    ValueError
        If the layer does not exist or has no N x n_filters x height x width output.
    """
    if layer is None:
        return _last_convolutional_block(module, images)
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        close = get_close_matches(layer, names, n=1)
        raise ValueError(
            f"layer {layer!r} is not in the network"
            + (f"; did you mean {close[0]!r}?" if close else "")
            + f" It has {', '.join(names)}."
        )
    outputs: list[torch.Tensor] = []
    with output_hook(module, layer, outputs.append):
        module(images.clone())
    if len(outputs) != 1:
        raise ValueError(
            f"layer {layer!r} runs {len(outputs)} times in a forward pass; name a "
            "layer that runs once."
        )
    if not isinstance(outputs[0], torch.Tensor) or outputs[0].ndim != 4:
        shape = tuple(getattr(outputs[0], "shape", ())) or type(outputs[0]).__name__
        raise ValueError(
            f"layer {layer!r} gives {shape}, not n_images x n_filters x height x "
            "width; name a convolutional layer."
        )
    return layer


def _last_convolutional_block(module: nn.Module, images: torch.Tensor) -> str:
    """The last feature map that is made by convolutions and not by a pooling.

    A block is one unit (a residual block includes its skip connection), as is a
    convolution with the normalisation and activation that follow it.
    """
    outputs = _outputs(module, images)
    runs = Counter(output.name for output in outputs)
    largest = max((output.n_places for output in outputs), default=0)
    # Convolutions on globally pooled maps (squeeze-and-excitation) locate nothing.
    maps = [o for o in outputs if o.n_places > 1 or largest == 1]
    pooled = {
        output.tensor
        for before, output in zip([None, *maps][:-1], maps, strict=True)
        # A block that is smaller than what its last part gives ends in a pooling.
        if output.is_pooling
        or (output.is_block and before and before.n_places > output.n_places)
    }
    found = [o for o in maps if o.tensor not in pooled and runs[o.name] == 1]
    if not found or not any(isinstance(m, nn.Conv2d) for m in module.modules()):
        raise ValueError(
            "The network has no two-dimensional convolution that runs once in a "
            "forward pass; pass layer, the path of a layer with N x n_filters x height "
            "x width output."
        )
    # A block and its last part return the same tensor; the part is ablated exactly.
    return next(o.name for o in found if o.tensor == found[-1].tensor)


def find_first_block(module: nn.Module, layer: str, images: torch.Tensor) -> str | None:
    """The first feature map of a network, with normalisation and activation.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str
        Path of the layer that heatmaps are made from.
    images : tensor of shape (n_images, n_channels, height, width)

    Returns
    -------
    str or None
        None if `layer` belongs to this first block itself.
    """
    outputs = _outputs(module, images)
    runs = Counter(output.name for output in outputs)
    block: list[_Output] = []
    for output in outputs:
        if output.is_block or (not block and not output.is_convolution):
            continue
        if block and (output.is_convolution or output.n_places != block[-1].n_places):
            break
        block.append(output)
    # The layer can be the block itself, which returns what its last part does.
    inside = {output.tensor for output in outputs if output.name == layer}
    if any(o.tensor in inside or runs[o.name] > 1 for o in block):
        return None
    return block[-1].name if block else None


class _Output(NamedTuple):
    """The output of a submodule in a forward pass.

    Attributes
    ----------
    name : str
        Path of the submodule.
    tensor : (int, int)
        Identity of the tensor and of the last write to it.
    n_places : int
        Height times width.
    is_block : bool
        Whether the submodule has parts with convolutions.
    is_pooling : bool
        Whether the submodule has none and changes the size, or takes maxima or means.
    is_convolution : bool
    """

    name: str
    tensor: tuple[int, int]
    n_places: int
    is_block: bool
    is_pooling: bool
    is_convolution: bool


def _outputs(module: nn.Module, images: torch.Tensor) -> list[_Output]:
    """Outputs N x n_filters x height x width of all submodules, in order."""
    outputs: list[_Output] = []
    # References keep a new tensor from taking the identity of a freed one.
    held: list[torch.Tensor] = []

    def note(name: str, child: nn.Module, inputs, output) -> None:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            return
        tensor = (id(output), output._version)
        parts = list(child.children())
        # A part that passes its input on as it is (dropout) makes no map.
        if not parts and any(tensor == before.tensor for before in outputs):
            return
        held.append(output)
        is_block = any(isinstance(m, nn.Conv2d) for p in parts for m in p.modules())
        is_pooling = (
            not is_block
            and not isinstance(child, nn.Conv2d)
            and (
                type(child).__module__ == nn.MaxPool2d.__module__
                or any(
                    isinstance(given, torch.Tensor)
                    and given.shape[2:] != output.shape[2:]
                    for given in inputs
                )
            )
        )
        n_places = output.shape[2:].numel()
        outputs.append(
            _Output(
                name=name,
                tensor=tensor,
                n_places=n_places,
                is_block=is_block,
                is_pooling=is_pooling,
                is_convolution=isinstance(child, nn.Conv2d),
            )
        )

    with ExitStack() as stack:
        for name, child in module.named_modules():
            if name:
                stack.enter_context(forward_hook(child, partial(note, name, child)))
        module(images.clone())
    return outputs
