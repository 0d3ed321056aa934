"""What the axes of a tensor hold: images, filters, rows and columns of a feature map.

Convolutional networks keep feature maps as N x C x H x W, transformers as N x H x W x
C, as tokens, N x (H W) x C, or in windows. Which axis is which cannot be told from a
shape. It follows from what has been done since the images: an axis is a product of
factors, which reshaping joins and splits, and permuting moves.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

IMAGE, FILTER, ROW, COLUMN, UNKNOWN = "image", "filter", "row", "column", "unknown"
PLACES = (ROW, COLUMN)


class Factor(NamedTuple):
    """A factor of an axis.

    Attributes
    ----------
    kind : {"image", "filter", "row", "column", "unknown"}
    size : int
    step : int
        Distance of neighbours, in rows or columns of the feature map that was split.
    shift : int
        By how many places rows or columns have been rolled.
    """

    kind: str
    size: int
    step: int = 1
    shift: int = 0


class Axis(NamedTuple):
    """An axis of a tensor: the product of its factors, the slowest first.

    Attributes
    ----------
    factors : tuple of Factor
        None for an axis of length 1.
    n_before, n_after : int
        Additional positions, such as class tokens, before and after the product.
    """

    factors: tuple[Factor, ...] = ()
    n_before: int = 0
    n_after: int = 0

    @property
    def n_places(self) -> int:
        """Length of the product."""
        return math.prod(factor.size for factor in self.factors)

    @property
    def length(self) -> int:
        """Number of positions."""
        return self.n_before + self.n_places + self.n_after

    @property
    def is_plain(self) -> bool:
        """Whether there are no additional positions."""
        return self.n_before == self.n_after == 0

    def has(self, *kinds: str) -> bool:
        """Whether a factor is of one of some kinds."""
        return any(factor.kind in kinds for factor in self.factors)

    def is_only(self, kind: str) -> bool:
        """Whether the axis is one factor of this kind, and nothing else."""
        return self.is_plain and [f.kind for f in self.factors] == [kind]


Axes = tuple[Axis, ...]


def axis_of(kind: str, size: int) -> Axis:
    """An axis of one factor."""
    return Axis((Factor(kind, size),))


def map_axes(shape: Sequence[int], before: Axes | None = None) -> Axes:
    """Axes of a new feature map, n_images x n_filters x height x width.

    Parameters
    ----------
    shape : (int, int, int, int)
    before : tuple of Axis, optional
        Axes of the map from which a convolution or a pooling has made it: its images
        can be windows, and its rows and columns something else.
    """
    kinds = (IMAGE, FILTER, ROW, COLUMN)
    axes = [axis_of(kind, size) for kind, size in zip(kinds, shape, strict=True)]
    if before is not None and len(before) == 4:
        for position in (0, 2, 3):
            axis = before[position]
            if axis.is_only(kinds[position]):
                continue
            is_same = axis.length == shape[position]
            axes[position] = axis if is_same else axis_of(UNKNOWN, shape[position])
    return tuple(axes)


def has_places(axes: Axes | None) -> bool:
    """Whether rows and columns of a feature map are among the axes."""
    return axes is not None and all(
        any(axis.has(kind) for axis in axes) for kind in PLACES
    )


def place_dims(axes: Axes | None) -> tuple[int, int] | None:
    """Positions of the axes of rows and of columns, if each is an axis of its own."""
    if axes is None:
        return None
    dims = [[d for d, axis in enumerate(axes) if axis.is_only(k)] for k in PLACES]
    is_single = all(len(of_kind) == 1 for of_kind in dims)
    return (dims[0][0], dims[1][0]) if is_single else None


def place_steps(axes: Axes | None) -> tuple[int, int]:
    """Smallest steps of rows and of columns: what lay between is in the filters now."""
    factors = [f for axis in axes or () for f in axis.factors if f.size > 1]
    rows, columns = (
        min((f.step for f in factors if f.kind == kind), default=1) for kind in PLACES
    )
    return rows, columns


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes | None:
    """Axes after a reshaping; None if factors cannot be told apart any more."""
    # Axes with additional positions cannot be split.
    todo = [
        item for axis in axes for item in (axis.factors if axis.is_plain else (axis,))
    ][::-1]
    result = []
    for length in shape:
        items = _take(todo, length)
        axis = None if items is None else _product(items)
        if axis is None:
            return None
        result.append(axis)
    return tuple(result) if all(_length(item) <= 1 for item in todo) else None


def _take(todo: list[Factor | Axis], length: int) -> list[Factor | Axis] | None:
    """Take items off the end of a list, up to a length; None if they do not fit it."""
    items: list[Factor | Axis] = []
    missing = length
    while todo and (missing > 1 or (not items and _length(todo[-1]) == 1)):
        item = todo.pop()
        if missing % _length(item) == 0:
            missing //= _length(item)
            items.append(item)
        elif isinstance(item, Factor) and item.size % missing == 0:
            inner = item.size // missing
            items.append(item._replace(size=missing, step=item.step * inner))
            todo.append(item._replace(size=inner))
            missing = 1
        else:
            return None
    return items if missing <= 1 else None


def _product(items: Sequence[Factor | Axis]) -> Axis | None:
    """The axis of factors, or of an axis with additional positions; None for both."""
    whole = [item for item in items if isinstance(item, Axis)]
    factors = [item for item in items if isinstance(item, Factor)]
    if not whole:
        return Axis(_joined(factors))
    is_alone = len(whole) == 1 and all(factor.size == 1 for factor in factors)
    return whole[0] if is_alone else None


def _length(item: Factor | Axis) -> int:
    return item.size if isinstance(item, Factor) else item.length


def _joined(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Factors with those joined that are parts of the same rows, columns or filters."""
    joined: list[Factor] = []
    for factor in factors:
        if joined and joined[-1].kind == factor.kind:
            last = joined[-1]
            is_filter = factor.kind == FILTER
            fits = last.step == factor.step * factor.size and last.shift == factor.shift
            if is_filter or (fits and factor.kind in PLACES):
                joined[-1] = factor._replace(size=last.size * factor.size)
                continue
        joined.append(factor)
    return tuple(joined)


def sliced(axis: Axis, start: int, stop: int, step: int = 1) -> Axis:
    """An axis from a position up to another one."""
    length = axis.length
    size = len(range(start, stop, step))
    if (start, stop, step) == (0, length, 1):
        return axis
    if not axis.is_plain:
        end = axis.n_before + axis.n_places
        if step == 1 and start <= axis.n_before and stop >= end:
            return Axis(axis.factors, axis.n_before - start, stop - end)
        return axis_of(UNKNOWN, size)
    if len(axis.factors) != 1 or (axis.factors[0].shift and axis.has(*PLACES)):
        return axis_of(UNKNOWN, size)
    return Axis((axis.factors[0]._replace(size=size),))


def rolled(axes: Axes, dim: int, places: int) -> Axes:
    """Axes after the positions of one of them have been rolled."""
    axis, remaining = axes[dim], (*axes[:dim], *axes[dim + 1 :])
    result = axis_of(UNKNOWN, axis.length)
    if axis.is_plain and len(axis.factors) == 1:
        factor = axis.factors[0]
        # Parts of rows or columns are rolled by themselves.
        if not any(other.has(factor.kind) for other in remaining):
            shift = (factor.shift + places) % factor.size
            result = Axis((factor._replace(shift=shift),))
    return (*axes[:dim], result, *axes[dim + 1 :])


def concatenated(parts: Sequence[tuple[Axis | None, int]]) -> Axis:
    """The axis along which tensors have been concatenated.

    Parameters
    ----------
    parts : sequence of (Axis or None, int)
        The axis of each tensor, and its length.
    """
    lengths = [length for _, length in parts]
    total = sum(lengths)
    known = [axis for axis, _ in parts if axis is not None]
    for kind in (FILTER, IMAGE):
        if known and all(axis.is_only(kind) for axis in known):
            return axis_of(kind, total)
    # Tokens without a place next to those that have one.
    placed = [
        (index, axis)
        for index, (axis, _) in enumerate(parts)
        if axis is not None and axis.has(*PLACES)
    ]
    if len(placed) != 1:
        return axis_of(UNKNOWN, total)
    ((index, axis),) = placed
    return Axis(
        axis.factors,
        axis.n_before + sum(lengths[:index]),
        axis.n_after + sum(lengths[index + 1 :]),
    )


def axes_of(tensor) -> Axes | None:
    """Axes of a tensor that was computed inside `track_receptive_field`, if known."""
    axes = getattr(tensor, "_similarnet_axes", None)
    # The tensor can have been changed in place.
    if axes is None or tuple(axis.length for axis in axes) != tuple(tensor.shape):
        return None
    return axes


def mark_axes(tensor: torch.Tensor, axes: Axes | None) -> None:
    """Let a tensor know its axes."""
    if axes is not None:
        tensor._similarnet_axes = axes  # type: ignore[attr-defined]
    elif hasattr(tensor, "_similarnet_axes"):
        del tensor._similarnet_axes
