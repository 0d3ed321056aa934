"""Where on the image the responses of a layer lie, and responses at every pixel."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

_POOLS = {F.max_pool2d: "max", F.avg_pool2d: "mean"}


class Geometry(NamedTuple):
    """Grid of a feature map: cell (r, c) is centred at offset + stride * (r, c)."""

    stride: tuple[int, int] = (1, 1)
    offset: tuple[float, float] = (0.0, 0.0)

    def after(self, kernel, stride, padding, dilation) -> "Geometry":
        """The grid after a sliding window, all arguments pairs."""
        return Geometry(
            tuple(own * step for own, step in zip(self.stride, stride, strict=True)),
            tuple(
                start + own * (spread * (length - 1) / 2 - pad)
                for start, own, spread, length, pad in zip(
                    self.offset, self.stride, dilation, kernel, padding, strict=True
                )
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

    Notes
    -----
    In dense mode a tensor keeps the image's height and width: windows reach over the
    border as far as needed, where convolutions see zeros and poolings nothing. Index
    (r, c) of a dense response belongs to the pixel (r, c) + offset.
    """

    def __init__(self, dense: bool):
        super().__init__()
        self.dense = dense

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return self._conv2d(*args, **kwargs)
        if func in _POOLS:
            return self._pool2d(func, *args, **kwargs)
        if self.dense and func is F.pad:
            args = (args[0], self._scale_padding(*args, **kwargs), *args[2:])
            kwargs = {key: kwargs[key] for key in kwargs if key != "pad"}
        return _mark(func(*args, **kwargs), _widest(args))

    def _conv2d(
        self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
    ):
        kernel, stride, dilation = weight.shape[2:], _pair(stride), _pair(dilation)
        if padding == "same":
            # With an even kernel, the odd one of the zeros goes to the far side.
            near = tuple(
                d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)
            )
        else:
            near = (0, 0) if padding == "valid" else _pair(padding)
        grid = geometry(input).after(kernel, stride, near, dilation)
        if self.dense and not _is_global(input):
            step = geometry(input).stride
            dilation = tuple(a * b for a, b in zip(dilation, step, strict=True))
            input, padding = _keep_size(input, kernel, near, step, dilation, 0.0)
            stride = (1, 1)
        output = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
        return _mark(output, grid)

    def _pool2d(
        self, func, input, kernel_size, stride=None, padding=0, *args, **kwargs
    ):
        kernel, padding = _pair(kernel_size), _pair(padding)
        stride = kernel if stride is None or stride == [] else _pair(stride)
        dilation = (1, 1)
        if func is F.max_pool2d:
            dilation = _pair(args[0] if args else kwargs.get("dilation", 1))
        grid = geometry(input).after(kernel, stride, padding, dilation)
        if not self.dense or _is_global(input):
            output = func(input, kernel_size, stride, padding, *args, **kwargs)
            return _mark(output, grid)
        step = geometry(input).stride
        dilation = tuple(a * b for a, b in zip(dilation, step, strict=True))
        if func is F.max_pool2d:
            input, _ = _keep_size(
                input, kernel, padding, step, dilation, -torch.inf, always=True
            )
            return _mark(F.max_pool2d(input, kernel, 1, 0, dilation), grid)
        n_channels = input.shape[1]
        window = input.new_full((n_channels, 1, *kernel), 1 / (kernel[0] * kernel[1]))
        input, padding = _keep_size(input, kernel, padding, step, dilation, 0.0)
        output = F.conv2d(input, window, None, 1, padding, dilation, n_channels)
        return _mark(output, grid)

    def _scale_padding(self, input, pad, *args, **kwargs):
        step = geometry(input).stride if input.ndim == 4 else (1, 1)
        scales = (step[1], step[1], step[0], step[0])
        return [
            length * (scales[index] if index < 4 else 1)
            for index, length in enumerate(pad)
        ]


def geometry(tensor: torch.Tensor) -> Geometry:
    """The grid of a tensor that was computed inside `track_geometry`."""
    return getattr(tensor, "_similarnet_geometry", Geometry())


def _mark(output, grid: Geometry):
    if grid == Geometry():
        return output
    for tensor in output if isinstance(output, (tuple, list)) else (output,):
        if isinstance(tensor, torch.Tensor):
            tensor._similarnet_geometry = grid  # type: ignore[attr-defined]
    return output


def _widest(args) -> Geometry:
    grids = [Geometry()]
    for arg in args:
        if isinstance(arg, torch.Tensor):
            grids.append(geometry(arg))
        elif isinstance(arg, (tuple, list)):
            grids.append(_widest(arg))
    return max(grids, key=lambda grid: grid.stride)


def _is_global(tensor: torch.Tensor) -> bool:
    # What follows a global pooling (squeeze-and-excitation) has no pixels any more.
    return tuple(tensor.shape[2:]) == (1, 1)


def _keep_size(input, kernel, padding, step, dilation, value, always=False):
    """Pad so that a window at stride 1 gives one output for each input position."""
    near = [pad * own for pad, own in zip(padding, step, strict=True)]
    far = [
        spread * (length - 1) - before
        for spread, length, before in zip(dilation, kernel, near, strict=True)
    ]
    if near == far and not always:
        return input, tuple(near)
    pad = (near[1], far[1], near[0], far[0])
    return F.pad(input, pad, value=value), (0, 0)
