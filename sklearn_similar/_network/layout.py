"""Layouts of layers' outputs: where filters, rows and columns are in them."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from .axes import COLUMN, FILTER, IMAGE, ROW, UNKNOWN, Axes, Factor, axes_of


@dataclass(frozen=True)
class Layout:
    """How the output of a layer holds feature maps; as N x C x H x W by default.

    Attributes
    ----------
    filter_axis : int
        The axis of the output along which the filters are.
    lengths : tuple of int
        Lengths of the factors of all axes; -1 for the images.
    order : tuple of int
        Order of these factors in which they are n_images x n_filters x height x width.
    grid : (int, int)
        Height and width of the feature maps.
    shape : tuple of int
        Lengths of the output's axes, except those with images, which are -1.
    tokens : (int, int, int) or None
        The axis that has tokens without a place (class tokens) besides those of the
        maps, its first token with a place, and their number.
    shift : (int, int)
        By how many places rows and columns have been rolled.
    """

    filter_axis: int = 1
    lengths: tuple[int, ...] = (-1, -1, -1, -1)
    order: tuple[int, ...] = (0, 1, 2, 3)
    grid: tuple[int, int] = (-1, -1)
    shape: tuple[int, ...] = (-1, -1, -1, -1)
    tokens: tuple[int, int, int] | None = None
    shift: tuple[int, int] = (0, 0)

    @property
    def is_channels_first(self) -> bool:
        """Whether the output is n_images x n_filters x height x width."""
        is_map = len(self.shape) == 4 and self.tokens is None and not any(self.shift)
        return is_map and self.order == (0, 1, 2, 3)

    def fits(self, output: torch.Tensor) -> bool:
        """Whether an output has this layout's shape, for any number of images."""
        return output.ndim == len(self.shape) and all(
            length in (-1, size)
            for length, size in zip(self.shape, output.shape, strict=True)
        )

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """The feature maps in an output, n_images x n_filters x height x width."""
        if self.is_channels_first:
            return output
        if self.tokens is not None:
            output = output.narrow(*self.tokens)
        factors = output.reshape(self.lengths).permute(self.order)
        maps = factors.reshape(len(factors), factors.shape[1], *self.grid)
        if any(self.shift):
            return maps.roll([-places for places in self.shift], dims=(2, 3))
        return maps

    def with_filters(self, n_filters: int) -> "Layout":
        """The layout of an output of the same form with other filters."""
        if self.is_channels_first:
            return self
        lengths, shape = list(self.lengths), list(self.shape)
        lengths[self.order[1]] = shape[self.filter_axis] = n_filters
        return replace(self, lengths=tuple(lengths), shape=tuple(shape))

    def along_filters(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the filters, in a shape that the output can be compared with."""
        return values.reshape(-1, *[1] * (len(self.shape) - 1 - self.filter_axis))


CHANNELS_FIRST = Layout()


def layout_of(output) -> Layout | None:
    """The layout of a tensor that was computed inside `track_receptive_field`.

    None if it does not hold feature maps, or it is not known where.
    """
    axes = axes_of(output)
    return None if axes is None else _layout(axes)


def _layout(axes: Axes) -> Layout | None:
    factors = [factor for axis in axes for factor in axis.factors]
    positions: dict[str, list[int]] = {
        kind: [i for i, factor in enumerate(factors) if factor.kind == kind]
        for kind in (IMAGE, FILTER, ROW, COLUMN)
    }
    if any(f.kind == UNKNOWN and f.size > 1 for f in factors):
        return None
    if len(positions[IMAGE]) != 1 or len(positions[FILTER]) != 1:
        return None
    filter_axes = [i for i, axis in enumerate(axes) if axis.is_only(FILTER)]
    with_more = [i for i, axis in enumerate(axes) if not axis.is_plain]
    if not filter_axes or len(with_more) > 1:
        return None
    # The largest steps first.
    rows, columns = (
        sorted(positions[kind], key=lambda i: -factors[i].step)
        for kind in (ROW, COLUMN)
    )
    if not all(_is_whole([factors[i] for i in parts]) for parts in (rows, columns)):
        return None
    order = [*positions[IMAGE], *positions[FILTER], *rows, *columns]
    order += [i for i in range(len(factors)) if i not in order]
    height, width = (
        math.prod(factors[i].size for i in parts) for parts in (rows, columns)
    )
    down, right = (max(factors[i].shift for i in parts) for parts in (rows, columns))
    return Layout(
        filter_axis=filter_axes[0],
        lengths=tuple(-1 if f.kind == IMAGE else f.size for f in factors),
        order=tuple(order),
        grid=(height, width),
        shape=tuple(-1 if axis.has(IMAGE) else axis.length for axis in axes),
        tokens=next(((i, axes[i].n_before, axes[i].n_places) for i in with_more), None),
        shift=(down, right),
    )


def _is_whole(parts: list[Factor]) -> bool:
    """Whether factors, the largest steps first, are all rows (or columns) of a map."""
    if not parts:
        return False
    parts = [part for part in parts if part.size > 1]
    return len({part.shift for part in parts}) < 2 and all(
        outer.step == inner.step * inner.size for outer, inner in pairwise(parts)
    )
