"""What operations do to the axes of tensors: which become what.

Only operations that move, join, split or make axes are listed. All others keep the axes
of a tensor whose shape they keep.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from .axes import (
    FILTER,
    UNKNOWN,
    Axes,
    Axis,
    axes_of,
    axis_of,
    concatenated,
    has_places,
    map_axes,
    mark_axes,
    reshaped,
    rolled,
    sliced,
)

Tensor = torch.Tensor

# They give feature maps, n_images x n_filters x height x width.
_TO_MAPS = frozenset(
    (
        torch.conv2d,
        F.conv_transpose2d,
        F.max_pool2d,
        torch.max_pool2d,
        F.avg_pool2d,
        F.adaptive_avg_pool2d,
        F.adaptive_max_pool2d,
        F.lp_pool2d,
        F.interpolate,
        F.pixel_shuffle,
        F.pixel_unshuffle,
        F.grid_sample,
    )
)
# They take feature maps, and keep their shape.
_OF_MAPS = frozenset(
    (F.batch_norm, torch.batch_norm, F.group_norm, torch.group_norm, F.instance_norm)
)
_PERMUTING = frozenset(
    (
        torch.permute,
        torch.transpose,
        torch.swapaxes,
        torch.swapdims,
        torch.movedim,
        torch.moveaxis,
        torch.t,
        torch.adjoint,
        Tensor.permute,
        Tensor.transpose,
        Tensor.swapaxes,
        Tensor.swapdims,
        Tensor.movedim,
        Tensor.moveaxis,
        Tensor.t,
        Tensor.adjoint,
        Tensor.T.__get__,  # type: ignore[attr-defined]
        Tensor.mT.__get__,  # type: ignore[attr-defined]
    )
)
_RESHAPING = frozenset(
    (
        torch.reshape,
        torch.flatten,
        torch.unflatten,
        torch.squeeze,
        torch.unsqueeze,
        Tensor.reshape,
        Tensor.reshape_as,
        Tensor.view,
        Tensor.view_as,
        Tensor.flatten,
        Tensor.unflatten,
        Tensor.squeeze,
        Tensor.unsqueeze,
    )
)
_SPLITTING = frozenset(
    (
        torch.split,
        torch.chunk,
        torch.tensor_split,
        Tensor.split,
        Tensor.chunk,
        Tensor.tensor_split,
    )
)
_CONCATENATING = frozenset((torch.cat, torch.concat, torch.concatenate))
_MULTIPLYING = frozenset((torch.matmul, Tensor.matmul, Tensor.__matmul__))
# They can keep a shape and yet move values.
_MOVING = frozenset(
    (
        torch.einsum,
        torch.flip,
        torch.fliplr,
        torch.flipud,
        torch.rot90,
        torch.gather,
        torch.index_select,
        torch.take_along_dim,
        torch.sort,
        Tensor.flip,
        Tensor.fliplr,
        Tensor.flipud,
        Tensor.rot90,
        Tensor.gather,
        Tensor.index_select,
        Tensor.take_along_dim,
        Tensor.sort,
    )
)


def track_axes(func: Callable, args: Sequence, kwargs: dict, output) -> None:
    """Mark the output of an operation with its axes, as far as they are known."""
    if isinstance(output, Tensor):
        mark_axes(output, _output_axes(func, args, kwargs, output))
    elif isinstance(output, (tuple, list)):
        _track_several(func, args, kwargs, output)


def _output_axes(func: Callable, args, kwargs: dict, output: Tensor) -> Axes | None:
    if func in _TO_MAPS:
        before = axes_of(args[0]) if args else None
        return map_axes(output.shape, before) if output.ndim == 4 else None
    if func in _CONCATENATING:
        return _after_concatenation(output, *args, **kwargs)
    first = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("input")
    axes = axes_of(first)
    if axes is None and func in _OF_MAPS and output.ndim == 4:
        return map_axes(output.shape)
    if func is torch.conv1d or func is F.conv1d:
        return _after_conv1d(axes, output)
    if func is F.linear or (func in _MULTIPLYING and _is_weight(args)):
        return axes and (*axes[:-1], axis_of(FILTER, output.shape[-1]))
    if axes is None or func in _MOVING:
        return None if func in _MOVING else _shared_axes(args, kwargs, output)
    if func in _PERMUTING:
        return _permuted(func, axes, args[1:], kwargs)
    if func in _RESHAPING:
        return reshaped(axes, output.shape)
    if func is Tensor.__getitem__:
        return _indexed(axes, args[1], output)
    if func is F.pad:
        return _padded(axes, output)
    if func is torch.roll or func is Tensor.roll:
        return _after_roll(axes, *args[1:], **kwargs)
    return _shared_axes(args, kwargs, output)


def _track_several(func: Callable, args, kwargs: dict, outputs) -> None:
    tensors = [value for value in outputs if isinstance(value, Tensor)]
    axes = axes_of(args[0]) if args else None
    if axes is None:
        return
    if func in (torch.unbind, Tensor.unbind):
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        rest = [axis for i, axis in enumerate(axes) if i != dim % len(axes)]
        for tensor in tensors:
            mark_axes(tensor, tuple(rest))
        return
    if func in _SPLITTING:
        dim = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % len(axes)
        start = 0
        for tensor in tensors:
            stop = start + tensor.shape[dim]
            part = sliced(axes[dim], start, stop)
            mark_axes(tensor, (*axes[:dim], part, *axes[dim + 1 :]))
            start = stop
        return
    for tensor in tensors:
        mark_axes(tensor, _shared_axes(args, kwargs, tensor))


def _shared_axes(args, kwargs: dict, output: Tensor) -> Axes | None:
    """The axes of the arguments that have the shape of the output, if they agree."""
    values = [*args, *kwargs.values()]
    for value in values[:]:
        if isinstance(value, (list, tuple)):
            values.extend(value)
    found = {
        axes_of(value)
        for value in values
        if isinstance(value, Tensor) and value.shape == output.shape
    } - {None}
    # What mixes places (attention, a product over tokens) does not know them.
    placed = {axes for axes in found if has_places(axes)}
    chosen = placed or found
    return next(iter(chosen)) if len(chosen) == 1 else None


def _is_weight(args) -> bool:
    return len(args) == 2 and isinstance(args[1], Tensor) and args[1].ndim == 2


def _after_conv1d(axes: Axes | None, output: Tensor) -> Axes | None:
    if axes is None or len(axes) != 3 or output.ndim != 3:
        return None
    last = output.shape[2]
    tokens = sliced(axes[2], 0, last)
    return (axes[0], axis_of(FILTER, output.shape[1]), tokens)


def _after_concatenation(output: Tensor, tensors, dim=0, **kwargs) -> Axes | None:
    dim = kwargs.get("axis", dim) % output.ndim
    known = {axes for axes in map(axes_of, tensors) if axes is not None}
    remaining = {(*axes[:dim], *axes[dim + 1 :]) for axes in known}
    placed = {rest for rest in remaining if has_places(rest)}
    chosen = placed or remaining
    if len(chosen) != 1:
        return None
    (rest,) = chosen
    parts = []
    for tensor in tensors:
        axes = axes_of(tensor)
        parts.append((None if axes is None else axes[dim], tensor.shape[dim]))
    return (*rest[:dim], concatenated(parts), *rest[dim:])


def _permuted(func: Callable, axes: Axes, args, kwargs: dict) -> Axes:
    # The sizes of a tensor without values say where each axis goes.
    probe = torch.empty(tuple(range(1, len(axes) + 1)), device="meta")
    return tuple(axes[size - 1] for size in func(probe, *args, **kwargs).shape)


def _indexed(axes: Axes, index, output: Tensor) -> Axes | None:
    parts = expanded_index(index, len(axes))
    if parts is None:
        return None
    result: list[Axis] = []
    remaining = list(axes)
    for part in parts:
        if part is None:
            result.append(Axis())
            continue
        axis = remaining.pop(0)
        if isinstance(part, int):
            continue
        result.append(sliced(axis, *part.indices(axis.length)))
    return tuple(result)


def expanded_index(index, n_dims: int) -> list[slice | int | None] | None:
    """An index with a part for each axis; None if it is not one of slices and numbers.

    New axes are None.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(
        part is None or part is Ellipsis or type(part) in (int, slice) for part in parts
    ):
        return None
    n_given = sum(part is not None and part is not Ellipsis for part in parts)
    rest = [slice(None)] * (n_dims - n_given)
    if Ellipsis not in parts:
        return [*parts, *rest]
    position = parts.index(Ellipsis)
    return [*parts[:position], *rest, *parts[position + 1 :]]


def _padded(axes: Axes, output: Tensor) -> Axes:
    result = []
    for axis, size in zip(axes, output.shape, strict=True):
        if axis.length == size:
            result.append(axis)
        elif axis.is_plain and len(axis.factors) == 1 and not axis.factors[0].shift:
            result.append(Axis((axis.factors[0]._replace(size=size),)))
        else:
            result.append(axis_of(UNKNOWN, size))
    return tuple(result)


def _after_roll(axes: Axes, shifts, dims=None) -> Axes | None:
    if dims is None:
        return None
    shifts = [shifts] if isinstance(shifts, int) else shifts
    dims = [dims] if isinstance(dims, int) else dims
    for places, dim in zip(shifts, dims, strict=True):
        axes = rolled(axes, dim % len(axes), int(places))
    return axes
