"""Where on the image the activations of a layer lie, and activations at every pixel."""

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from .._compat import current_function_mode, pair, tree_leaves
from .axes import axes_of, has_places, map_axes, mark_axes, place_dims, place_steps
from .axis_tracking import expanded_index, track_axes

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


class ReceptiveField(NamedTuple):
    """Centres of the receptive fields of a feature map.

    The cell (r, c) is centred on the pixel start + stride * (r, c).

    Attributes
    ----------
    stride, start : (float, float)
        In pixels of the image, vertical and horizontal.
    padding : (int, int)
        Rows and columns that a dense map has in addition to the image's.
    """

    stride: tuple[float, float] = (1, 1)
    start: tuple[float, float] = (0.0, 0.0)
    padding: tuple[int, int] = (0, 0)

    def after(self, kernel, stride, padding, dilation) -> "ReceptiveField":
        """The receptive fields after a sliding window, all arguments pairs."""
        return ReceptiveField(
            _each(lambda jump, step: jump * step, self.stride, stride),
            _each(
                lambda start, jump, length, spacing, pad: (
                    start + jump * (spacing * (length - 1) / 2 - pad)
                ),
                self.start,
                self.stride,
                kernel,
                dilation,
                padding,
            ),
        )


class track_receptive_field(TorchFunctionMode):  # noqa: N801, used as a context manager
    """Context that tracks receptive fields of tensors, and can make maps dense.

    Parameters
    ----------
    dense : bool
        Whether every convolution and pooling runs at stride 1, and later operations
        are dilated by the stride instead. The activations at the positions that the
        strides would have kept are then the same as without, away from the border.
    size : (int, int)
        Height and width of the images.

    Notes
    -----
    In dense mode a tensor keeps the image's height and width: windows reach over the
    border as far as needed, where convolutions see zeros and poolings nothing. Index
    (r, c) of a dense activation belongs to the pixel (r, c) + start. A map of another
    size, made by an operation that is not tracked, raises a RuntimeError where it is
    next convolved or pooled.
    """

    def __init__(self, dense: bool, size: tuple[int, int]):
        super().__init__()
        self.dense = dense
        self.size = tuple(size)

    def __exit__(self, *error):
        # PyTorch has left the mode where an interrupt strikes while it calls it.
        if current_function_mode() is self:
            super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = self._run(func, args, kwargs)
        track_axes(func, args, kwargs, output)
        return output

    def _run(self, func, args, kwargs):
        """Run an operation, and mark its output with its receptive field."""
        if func is torch.conv2d:
            return self._conv2d(*args, **kwargs)
        if func in _POOLS:
            return self._pool2d(func, *args, **kwargs)
        if func is F.pad:
            return self._pad(*args, **kwargs)
        if func is torch.Tensor.__getitem__ and _is_window(*args):
            return self._slice(*args)
        output = func(*args, **kwargs)
        field = _widest((*args, *kwargs.values()), output)
        if func in _RESIZERS and self._is_resized(args[0], output):
            ratio = _each(lambda a, b: a / b, args[0].shape[2:], output.shape[2:])
            field = receptive_field(args[0]).after(ratio, ratio, (0, 0), (1, 1))
        return _mark(output, field)

    def _conv2d(
        self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
    ):
        kernel, stride, dilation = weight.shape[2:], pair(stride), pair(dilation)
        if padding == "same":
            # With an even kernel, the odd zero goes to the far side.
            near = _each(lambda d, k: d * (k - 1) // 2, dilation, kernel)
        else:
            near = (0, 0) if padding == "valid" else pair(padding)
        field = receptive_field(input).after(kernel, stride, near, dilation)
        if self.dense and not self._is_global(input):
            step = receptive_field(input).stride
            dilation = _each(lambda d, jump: d * jump, dilation, step)
            input, padding = self._keep_size(input, kernel, near, dilation, 0.0)
            stride = 1
        output = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
        return _mark(output, field)

    def _pool2d(
        self, pool, input, kernel_size, stride=None, padding=0, *args, **kwargs
    ):
        kernel, near, dilation = pair(kernel_size), pair(padding), (1, 1)
        is_mean = pool is F.avg_pool2d
        if not is_mean:
            dilation = pair(args[0] if args else kwargs.get("dilation", 1))
        before = receptive_field(input)
        field = before.after(kernel, pair(stride) if stride else kernel, near, dilation)
        if not self.dense or self._is_global(input) or _covers_map(kernel, input):
            output = pool(input, kernel_size, stride, padding, *args, **kwargs)
            return _mark(output, before if self._is_global(output) else field)
        dilation = _each(lambda d, jump: d * jump, dilation, before.stride)
        if not is_mean:
            input, _ = self._keep_size(input, kernel, near, dilation, -torch.inf)
            return _mark(_sliding_maximum(input, kernel, dilation), field)
        divisor = args[2] if len(args) > 2 else kwargs.get("divisor_override")
        n_channels = input.shape[1]
        window = input.new_full(
            (n_channels, 1, *kernel), 1 / (divisor or kernel[0] * kernel[1])
        )
        input, padding = self._keep_size(input, kernel, near, dilation, 0.0)
        output = F.conv2d(input, window, None, 1, padding, dilation, n_channels)
        return _mark(output, field)

    def _pad(self, input, pad, *args, **kwargs):
        field = _marked_field(input)
        dims = _map_dims(input)
        if dims is None:
            return _mark(F.pad(input, pad, *args, **kwargs), field)
        if dims != (2, 3):
            # Pairs of padding begin with the last axis.
            near = (_near(pad, input.ndim - 1 - d) for d in dims)
            steps = place_steps(axes_of(input))
            start = _each(
                lambda first, jump, step, n: first - jump * step * n,
                *(field.start, field.stride, steps, tuple(near)),
            )
            field = field._replace(start=start)
            return _mark(F.pad(input, pad, *args, **kwargs), field)
        left, right, top, bottom, *rest = [*pad, 0, 0][: max(4, len(pad))]
        near, far = (top, left), (bottom, right)
        start = _each(
            lambda first, jump, n: first - jump * n, field.start, field.stride, near
        )
        field = field._replace(start=start)
        if self.dense:
            near, far = (
                _each(lambda jump, n: jump * n, field.stride, side)
                for side in (near, far)
            )
            padding = _each(lambda old, n, f: old + n + f, field.padding, near, far)
            field = field._replace(padding=padding)
            pad = [near[1], far[1], near[0], far[0], *rest]
        return _mark(F.pad(input, pad, *args, **kwargs), field)

    def _slice(self, input, index):
        dims = _map_dims(input)
        parts = expanded_index(index, input.ndim)
        starts = tuple(parts[d].start or 0 for d in dims)
        steps = tuple(parts[d].step or 1 for d in dims)
        gaps = place_steps(axes_of(input))
        before = _each(lambda start, gap: -start * gap, starts, gaps)
        field = _marked_field(input).after((1, 1), steps, before, (1, 1))
        if self.dense and dims == (2, 3):
            input, _ = self._keep_size(input, (1, 1), before, (1, 1), 0.0)
            index = (*parts[:2], slice(None), slice(None))
        return _mark(input[index], field)

    def _is_global(self, tensor) -> bool:
        # A global pooling (squeeze-and-excitation) leaves no positions.
        return tuple(tensor.shape[2:]) == (1, 1) != self.size

    def _is_resized(self, input, output) -> bool:
        return output.shape[2:] != input.shape[2:] and not self._is_global(output)

    def _keep_size(self, input, kernel, near, dilation, value):
        """Pad so that a window at stride 1 gives one output for each pixel."""
        field = receptive_field(input)
        expected = _each(lambda n, more: n + more, self.size, field.padding)
        if tuple(input.shape[2:]) != expected:
            raise RuntimeError(
                f"it has made a map of {input.shape[2]}x{input.shape[3]} by an "
                "operation other than convolution or pooling; pass resolution='pooled'."
            )
        near = _each(lambda n, jump: n * jump, near, field.stride)
        far = _each(
            lambda spacing, length, n, more: spacing * (length - 1) - n - more,
            dilation,
            kernel,
            near,
            field.padding,
        )
        if near == far and value == 0 and min(near) >= 0:
            return input, near
        return F.pad(input, (near[1], far[1], near[0], far[0]), value=value), 0


def receptive_field(tensor: torch.Tensor) -> ReceptiveField:
    """Receptive fields of a tensor that was computed inside `track_receptive_field`."""
    field = _marked_field(tensor)
    steps = place_steps(axes_of(tensor))
    # Places between those that are left have become filters.
    return field if steps == (1, 1) else field.after(steps, steps, (0, 0), (1, 1))


def mark_images(images: torch.Tensor) -> torch.Tensor:
    """The same images, as a tensor that knows which axes it has."""
    # A view would have other strides where an axis has the length 1.
    marked = images.as_strided(images.size(), images.stride())
    mark_axes(marked, map_axes(marked.shape))
    return marked


def keep_marks(inputs, output) -> None:
    """Mark the output of operations that PyTorch does not show (`autograd.Function`).

    They are taken for operations on each value if they keep the shape of an input.
    """
    if not isinstance(output, torch.Tensor) or axes_of(output) is not None:
        return
    if _marked_field(output) != ReceptiveField():
        return
    for value in inputs:
        if isinstance(value, torch.Tensor) and value.shape == output.shape:
            _mark(output, _marked_field(value))
            mark_axes(output, axes_of(value))
            return


def _marked_field(tensor: torch.Tensor) -> ReceptiveField:
    return getattr(tensor, "_similarnet_receptive_field", ReceptiveField())


def _mark(output, field: ReceptiveField):
    if field == ReceptiveField():
        return output
    for tensor in _leaves((output,)):
        if isinstance(tensor, torch.Tensor):
            tensor._similarnet_receptive_field = field  # type: ignore[attr-defined]
    return output


def _widest(values: tuple, output) -> ReceptiveField:
    """The field of the largest stride; at the mean place, if there are several.

    A cell of several maps that are put together covers them all. Values without places
    count only where there are no others: attention to a coarser map is one of them.
    """
    # Weights have no receptive field.
    marked = [v for v in _leaves(values) if _marked_field(v) != ReceptiveField()]
    placed = [value for value in marked if has_places(axes_of(value))]
    shape = getattr(output, "shape", None)
    of_shape = [value for value in placed if value.shape == shape]
    fields = {_marked_field(value) for value in of_shape or placed or marked}
    if not fields:
        return ReceptiveField()
    stride = max(field.stride for field in fields)
    widest = [field for field in fields if field.stride == stride]
    if len(widest) == 1:
        return widest[0]
    rows, columns = zip(*(field.start for field in widest), strict=True)
    start = (sum(rows) / len(rows), sum(columns) / len(columns))
    return widest[0]._replace(start=start)


def _leaves(values: tuple):
    """The values, with those inside containers."""
    is_flat = not any(isinstance(value, tuple | list | dict) for value in values)
    # Walking a tree takes longer than most operations on a small map.
    return values if is_flat else tree_leaves(values)


def _map_dims(input) -> tuple[int, int] | None:
    """The axes of rows and columns; of unknown ones, those of N x C x H x W."""
    axes = axes_of(input)
    if axes is None:
        return (2, 3) if input.ndim == 4 else None
    return place_dims(axes)


def _near(pad, position: int) -> int:
    """Padding before an axis, counted from the last one."""
    return pad[2 * position] if 2 * position < len(pad) else 0


def _is_window(input, index) -> bool:
    """Whether indexing cuts or strides over rows and columns of feature maps."""
    dims = _map_dims(input)
    parts = expanded_index(index, input.ndim)
    return (
        dims is not None
        and parts is not None
        and len(parts) == input.ndim
        and any(parts[d] != slice(None) for d in dims)
        and all(
            isinstance(part, slice) and (part.start or 0) >= 0 and (part.step or 1) > 0
            for part in parts
        )
    )


def _covers_map(kernel, input) -> bool:
    """Whether a kernel was chosen to cover all of a map, for a global pooling.

    Small kernels after no stride cover all of tiny images by chance.
    """
    has_strides = max(receptive_field(input).stride) > 1
    is_large = kernel[0] > 3 < kernel[1]
    return has_strides and is_large and tuple(kernel) == tuple(input.shape[2:])


def _sliding_maximum(input, kernel, dilation) -> torch.Tensor:
    # Many times faster than max_pool2d, which scans every window by itself.
    for axis, length, spacing in zip((2, 3), kernel, dilation, strict=True):
        n_windows = input.shape[axis] - spacing * (length - 1)
        shifted = [input.narrow(axis, spacing * i, n_windows) for i in range(length)]
        input = reduce(torch.maximum, shifted)
    return input


def _each(function, *pairs) -> tuple:
    """Apply a function to the vertical and to the horizontal values."""
    return tuple(function(*values) for values in zip(*pairs, strict=True))
