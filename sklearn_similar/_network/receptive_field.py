"""Where on the image the responses of a layer lie, and responses at every pixel."""

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from .._compat import pair, tree_leaves

_POOLS = frozenset((F.max_pool2d, torch.max_pool2d, F.avg_pool2d))
_RESIZERS = frozenset(
    (
        F.adaptive_avg_pool2d,
        F.adaptive_max_pool2d,
        F.conv_transpose2d,
        F.interpolate,
        F.pixel_shuffle,
        F.pixel_unshuffle,
    )
)


class Geometry(NamedTuple):
    """Grid of a feature map: cell (r, c) is centred at offset + stride * (r, c).

    Attributes
    ----------
    stride, offset : (float, float)
        In pixels of the image, vertical and horizontal.
    margin : (int, int)
        Rows and columns that a dense map has more than the image.
    """

    stride: tuple[float, float] = (1, 1)
    offset: tuple[float, float] = (0.0, 0.0)
    margin: tuple[int, int] = (0, 0)

    def after(self, kernel, stride, padding, dilation) -> "Geometry":
        """The grid after a sliding window, all arguments pairs."""
        return Geometry(
            _each(lambda own, step: own * step, self.stride, stride),
            _each(
                lambda start, own, length, spread, pad: (
                    start + own * (spread * (length - 1) / 2 - pad)
                ),
                self.offset,
                self.stride,
                kernel,
                dilation,
                padding,
            ),
        )


class track_geometry(TorchFunctionMode):  # noqa: N801, used as a context manager
    """Context that knows the grid of every tensor, and can make it as fine as pixels.

    Parameters
    ----------
    dense : bool
        Whether every convolution and pooling is made at stride 1, what follows a
        stride being dilated by it instead. The responses at the positions that the
        strides would have kept are then the same as without, away from the border.
    size : (int, int)
        Height and width of the images.

    Notes
    -----
    In dense mode a tensor keeps the image's height and width: windows reach over the
    border as far as needed, where convolutions see zeros and poolings nothing. Index
    (r, c) of a dense response belongs to the pixel (r, c) + offset. A map of another
    size, which the network has made in a way that is not followed here, raises a
    RuntimeError where it is next convolved or pooled.
    """

    def __init__(self, dense: bool, size: tuple[int, int]):
        super().__init__()
        self.dense = dense
        self.size = tuple(size)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return self._conv2d(*args, **kwargs)
        if func in _POOLS:
            return self._pool2d(func, *args, **kwargs)
        if func is F.pad:
            return self._pad(*args, **kwargs)
        if func is torch.Tensor.__getitem__ and _is_window(*args):
            return self._slice(*args)
        output = func(*args, **kwargs)
        grid = _widest((*args, *kwargs.values()))
        if func in _RESIZERS and self._is_resized(args[0], output):
            ratio = _each(lambda a, b: a / b, args[0].shape[2:], output.shape[2:])
            grid = grid.after(ratio, ratio, (0, 0), (1, 1))
        return _mark(output, grid)

    def _conv2d(
        self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
    ):
        kernel, stride, dilation = weight.shape[2:], pair(stride), pair(dilation)
        if padding == "same":
            # With an even kernel, the odd one of the zeros goes to the far side.
            near = _each(lambda d, k: d * (k - 1) // 2, dilation, kernel)
        else:
            near = (0, 0) if padding == "valid" else pair(padding)
        grid = geometry(input).after(kernel, stride, near, dilation)
        if self.dense and not self._is_global(input):
            step = geometry(input).stride
            dilation = _each(lambda d, own: d * own, dilation, step)
            input, padding = self._keep_size(input, kernel, near, dilation, 0.0)
            stride = 1
        output = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
        return _mark(output, grid)

    def _pool2d(self, func, input, kernel_size, stride=None, padding=0, *args, **other):
        kernel, near = pair(kernel_size), pair(padding)
        is_mean = func is F.avg_pool2d
        dilation = (1, 1)
        if not is_mean:
            dilation = pair(args[0] if args else other.get("dilation", 1))
        grid = geometry(input).after(
            kernel, pair(stride) if stride else kernel, near, dilation
        )
        step = geometry(input).stride
        # A kernel that covers all of a map after strides was given by the map's size,
        # but for those of tiny images.
        covers = kernel[0] > 3 < kernel[1] and max(step) > 1
        covers = covers and tuple(kernel) == tuple(input.shape[2:])
        if not self.dense or covers or self._is_global(input):
            output = func(input, kernel_size, stride, padding, *args, **other)
            return _mark(output, geometry(input) if self._is_global(output) else grid)
        dilation = _each(lambda d, own: d * own, dilation, step)
        if not is_mean:
            input, padding = self._keep_size(input, kernel, near, dilation, -torch.inf)
            return _mark(_sliding_maximum(input, kernel, dilation), grid)
        divisor = args[2] if len(args) > 2 else other.get("divisor_override")
        n_channels = input.shape[1]
        window = input.new_full(
            (n_channels, 1, *kernel), 1 / (divisor or kernel[0] * kernel[1])
        )
        input, padding = self._keep_size(input, kernel, near, dilation, 0.0)
        output = F.conv2d(input, window, None, 1, padding, dilation, n_channels)
        return _mark(output, grid)

    def _pad(self, input, pad, *args, **kwargs):
        grid = geometry(input)
        if input.ndim != 4:
            return _mark(F.pad(input, pad, *args, **kwargs), grid)
        left, right, top, bottom, *others = [*pad, 0, 0][: max(4, len(pad))]
        near, far = (top, left), (bottom, right)
        offset = _each(
            lambda start, own, n: start - own * n, grid.offset, grid.stride, near
        )
        grid = grid._replace(offset=offset)
        if self.dense:
            near, far = (
                _each(lambda own, n: own * n, grid.stride, side) for side in (near, far)
            )
            margin = _each(lambda own, a, b: own + a + b, grid.margin, near, far)
            grid = grid._replace(margin=margin)
            pad = [near[1], far[1], near[0], far[0], *others]
        return _mark(F.pad(input, pad, *args, **kwargs), grid)

    def _slice(self, input, index):
        starts = tuple(part.start or 0 for part in index[-2:])
        steps = tuple(part.step or 1 for part in index[-2:])
        before = tuple(-start for start in starts)
        grid = geometry(input).after((1, 1), steps, before, (1, 1))
        if self.dense:
            input, _ = self._keep_size(input, (1, 1), before, (1, 1), 0.0)
            index = (*index[:-2], slice(None), slice(None))
        return _mark(input[index], grid)

    def _is_global(self, tensor) -> bool:
        # What follows a global pooling (squeeze-and-excitation) has no pixels any more.
        return tuple(tensor.shape[2:]) == (1, 1) != self.size

    def _is_resized(self, input, output) -> bool:
        return output.shape[2:] != input.shape[2:] and not self._is_global(output)

    def _keep_size(self, input, kernel, near, dilation, value):
        """Pad so that a window at stride 1 gives one output for each pixel."""
        grid = geometry(input)
        expected = _each(lambda n, margin: n + margin, self.size, grid.margin)
        if tuple(input.shape[2:]) != expected:
            raise RuntimeError(
                f"it has made a map of {input.shape[2]}x{input.shape[3]} by other "
                "means than convolutions and poolings; pass resolution='pooled'."
            )
        near = _each(lambda n, own: n * own, near, grid.stride)
        far = _each(
            lambda spread, length, n, margin: spread * (length - 1) - n - margin,
            dilation,
            kernel,
            near,
            grid.margin,
        )
        if near == far and value == 0 and min(near) >= 0:
            return input, near
        return F.pad(input, (near[1], far[1], near[0], far[0]), value=value), 0


def geometry(tensor: torch.Tensor) -> Geometry:
    """The grid of a tensor that was computed inside `track_geometry`."""
    return getattr(tensor, "_similarnet_geometry", Geometry())


def _mark(output, grid: Geometry):
    if grid == Geometry():
        return output
    for tensor in _leaves((output,)):
        if isinstance(tensor, torch.Tensor):
            tensor._similarnet_geometry = grid  # type: ignore[attr-defined]
    return output


def _widest(values: tuple) -> Geometry:
    # Weights are no maps, and have no grid.
    grids = [geometry(value) for value in _leaves(values)]
    found = [grid for grid in grids if grid != Geometry()]
    return max(found, key=lambda grid: grid.stride, default=Geometry())


def _leaves(values: tuple):
    """The values, and those in containers among them."""
    is_flat = not any(isinstance(value, tuple | list | dict) for value in values)
    # Walking a tree takes longer than many an operation on a small map.
    return values if is_flat else tree_leaves(values)


def _is_window(input, index) -> bool:
    """Whether indexing cuts or strides over rows and columns of feature maps."""
    return (
        input.ndim == 4
        and isinstance(index, tuple)
        and (len(index) == 4 or (len(index) == 3 and index[0] is Ellipsis))
        and all(isinstance(part, slice) for part in index[-2:])
        and any(part != slice(None) for part in index[-2:])
        and all((part.start or 0) >= 0 for part in index[-2:])
    )


def _sliding_maximum(input, kernel, dilation) -> torch.Tensor:
    # Many times faster than max_pool2d, which looks at each window by itself.
    for axis, length, spread in zip((2, 3), kernel, dilation, strict=True):
        n_windows = input.shape[axis] - spread * (length - 1)
        shifted = [input.narrow(axis, spread * i, n_windows) for i in range(length)]
        input = reduce(torch.maximum, shifted)
    return input


def _each(function, *pairs) -> tuple:
    """The function of the vertical and of the horizontal values."""
    return tuple(function(*values) for values in zip(*pairs, strict=True))
