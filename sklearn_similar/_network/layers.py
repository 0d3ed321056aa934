"""The layers of a network: those that the user names, and the default ones."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import nn

from .forward import output_hook
from .layer_outputs import LayerOutput, layer_outputs

# Largest rounding difference between scores, as a share of the largest change.
_ROUNDING = 1e-4


def find_layers(
    module: nn.Module, layer: str | Sequence[str] | None, images: torch.Tensor
) -> str | list[str]:
    """The checked path of a layer, or paths of several layers; see `find_layer`."""
    if layer is None or isinstance(layer, str):
        return find_layer(module, layer, images)
    is_named = all(isinstance(name, str) for name in layer)
    if not layer or not is_named or len(set(layer)) < len(layer):
        raise ValueError(
            f"layer is {layer!r}; pass the path of a layer, or a list of different "
            "paths."
        )
    return [find_layer(module, name, images) for name in layer]


def find_layer(module: nn.Module, layer: str | None, images: torch.Tensor) -> str:
    """The checked path of a layer; None finds the last convolutional block.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str or None
        The path that the user asked for.
    images : tensor of shape (n_images, n_channels, height, width)
        The network is run on them once, to inspect the layer's output.

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
    outputs = layer_outputs(module, images, layer)
    runs = [output for output in outputs if output.name == layer]
    if len(runs) != 1:
        raise ValueError(
            f"layer {layer!r} runs {len(runs)} times in a forward pass; name a "
            "layer that runs once."
        )
    if runs[0].layout is None:
        raise _no_feature_maps(runs[0], outputs)
    return layer


def _no_feature_maps(layer: LayerOutput, outputs: Sequence[LayerOutput]) -> ValueError:
    """The error for a layer without feature maps, which names one that has some."""
    n_runs = Counter(output.name for output in outputs)
    usable = [o for o in outputs if o.layout is not None and n_runs[o.name] == 1]
    position = outputs.index(layer)
    # A block ends after its parts.
    later = [o for o in usable if outputs.index(o) > position]
    nearest = [*later[:1], *usable[-1:]]
    remedy = f", such as {nearest[0].name!r}" if nearest else ""
    reason = "not n_images x n_filters x height x width"
    if isinstance(layer.shape, tuple) and len(layer.shape) > 2:
        reason = (
            "and which axis of it holds the filters of the places of an image is not "
            "known"
        )
    return ValueError(
        f"layer {layer.name!r} gives {layer.shape}, {reason}; name a convolutional "
        f"layer, or a block with feature maps{remedy}."
    )


def _last_convolutional_block(module: nn.Module, images: torch.Tensor) -> str:
    """Path of the last feature map that a convolution and not a pooling has made.

    A block is one unit (a residual block includes its skip connection), as is a
    convolution with the normalisation and activation that follow it. Linear layers that
    are applied at each place of a map, as in transformers, count as convolutions.
    Class scores at each place, which are only averaged then, are not features.
    """
    outputs = layer_outputs(module, images)
    n_runs = Counter(output.name for output in outputs)
    with_maps = [
        o for o in outputs if o.layout and not (o.is_unchanged or o.is_attention)
    ]
    largest = max((output.n_places for output in with_maps), default=0)
    # Convolutions on globally pooled maps (squeeze-and-excitation) locate nothing.
    maps = [o for o in with_maps if o.n_places > 1 or largest == 1]
    pooled = _pooled_tensors(maps)
    candidates = [o for o in maps if o.tensor not in pooled and n_runs[o.name] == 1]
    if not candidates or not any(output.is_convolution for output in with_maps):
        raise ValueError(
            "The network has no two-dimensional convolution that runs once in a "
            "forward pass; pass layer, the path of a layer with N x n_filters x height "
            "x width output."
        )
    last = next(
        (
            output
            for output in reversed(candidates)
            if not _is_query(output, outputs)
            and not _are_class_scores(module, output, images)
        ),
        candidates[-1],
    )
    _check_places_are_known(last, outputs)
    # A block and its last part return the same tensor; the part is ablated exactly.
    return next(o.name for o in candidates if o.tensor == last.tensor)


def _pooled_tensors(maps: Sequence[LayerOutput]) -> set[tuple[int, int]]:
    """Tensors that a pooling has made, of layers with feature maps."""
    return {
        output.tensor
        for previous, output in zip([None, *maps][:-1], maps, strict=True)
        # A block that is smaller than the output of its last part ends in a pooling.
        if output.is_pooling
        or (output.is_block and previous and previous.n_places > output.n_places)
    }


def _check_places_are_known(last: LayerOutput, outputs: Sequence[LayerOutput]) -> None:
    """Raise ValueError if layers after the last feature map may hold other maps."""
    for output in outputs[outputs.index(last) :]:
        if output.layout is None and output.has_positions:
            raise ValueError(
                f"After layer {last.name!r}, which axis of the network's layers holds "
                "the filters and which the places of the image is not known (layer "
                f"{output.name!r} gives {output.shape}); name a layer, such as "
                f"layer={last.name!r}, or let the module return feature maps, n_images "
                "x n_filters x height x width, before it pools them."
            )


def _is_query(output: LayerOutput, outputs: Sequence[LayerOutput]) -> bool:
    """Whether a linear layer compares tokens in a part that pools them (attention)."""
    if output.layout is None or output.layout.is_channels_first:
        return False
    part, _, _ = output.name.rpartition(".")
    return output.is_convolution and any(
        other.name == part and other.layout is None for other in outputs
    )


def _are_class_scores(
    module: nn.Module, output: LayerOutput, images: torch.Tensor
) -> bool:
    """Whether each filter of a layer acts on the score of one class alone."""
    layout = output.layout
    scores = module(images.clone())
    if layout is None or scores.ndim != 2 or scores.shape[1] != output.n_filters:
        return False
    for index in {0, output.n_filters - 1}:
        step = torch.zeros(output.n_filters, device=images.device)
        step[index] = 1

        def raise_one(values, step=step):
            return values + layout.along_filters(step).to(values.dtype)

        with output_hook(module, output.name, raise_one):
            change = module(images.clone()) - scores
        elsewhere = change.abs()
        elsewhere[:, index] = 0
        if not change.any() or elsewhere.amax() > _ROUNDING * change.abs().amax():
            return False
    return True


def find_first_block(module: nn.Module, layer: str, images: torch.Tensor) -> str | None:
    """The first feature map of a network, with normalisation and activation.

    Without an activation that is used again, later in the network.

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
        None if `layer` belongs to this first block itself, or is as fine: patches that
        transformers are made of have no outlines.
    """
    outputs = layer_outputs(module, images)
    outputs = [o for o in outputs if o.layout is not None and not o.is_unchanged]
    n_runs = Counter(output.name for output in outputs)
    block = _first_block(outputs)
    # The layer can be a module that returns the output of its last part.
    of_layer = [output for output in outputs if output.name == layer]
    tensors = {output.tensor for output in of_layer}
    if any(output.tensor in tensors for output in block):
        return None
    once = [output for output in block if n_runs[output.name] == 1]
    if not once or block[0] is not once[0]:
        return None
    is_finer = all(once[-1].n_places > output.n_places for output in of_layer)
    of_patches = any(
        output.layout is not None and not output.layout.is_channels_first
        for output in of_layer
    )
    return None if of_patches and not is_finer else once[-1].name


def _first_block(outputs: Sequence[LayerOutput]) -> list[LayerOutput]:
    """The first convolution, and the layers after it that keep its filters and size."""
    block: list[LayerOutput] = []
    for output in outputs:
        # A block returns the output of its last part, or begins another feature map.
        if output.is_block and output.tensor in {part.tensor for part in block}:
            continue
        if not block and not output.is_convolution:
            continue
        mixes = output.is_block or output.is_convolution
        if block and (mixes or output.n_places != block[-1].n_places):
            break
        block.append(output)
    return block
