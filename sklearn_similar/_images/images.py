"""Every accepted kind of input as float32 batches, and results in the layout X had.

Pixels are kept as they came (8-bit, memory-mapped, ...) until their batch is read, so
that memory stays bounded by a batch.
"""

import math
import mmap
import sys
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch

from .batches import batch_slices
from .lazy import LazyPixels, is_lazy
from .position import image_name

# ITU-R BT.601: weights of red, green and blue in perceived brightness.
LUMA = (0.299, 0.587, 0.114)
# A pixel belongs to the object of a training image above this share of the image's
# maximum: anti-aliased rims are below it, faint strokes are above. Boxes of scenes and
# the crops of the localizer fit each other only if both use the same share.
VISIBLE_SHARE = 0.2
# Activations of a network take some hundred bytes a pixel, so that a batch of this
# many pixels (167 images of 28x28) needs about 50 MB. More are slower on a CPU, as they
# do not fit into its caches.
_MAX_PIXELS = 2**17
# The same on other devices, where batches hide the cost of starting an operation.
_MAX_DEVICE_PIXELS = 2**21
# Pixels of a large image that are looked at together.
_MAX_PART = 2**21
# Reading an image brings in up to some MB around it of the file that it is in.
_MAX_MAPPED = 32


@dataclass(frozen=True)
class Images:
    """Images of one or of several sizes, read batch by batch.

    Attributes
    ----------
    pixels : ndarray of shape (n_images, height, width, n_channels) or list of \
            ndarray or LazyPixels of shape (height, width, n_channels)
        Views of what the user passed.
    layout : {"rows", "images", "list"}
        How the user passed them, and how heatmaps go back.
    """

    pixels: Any
    layout: str

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels of the first image."""
        return self.pixels[0].dtype

    def group_by_shape(self) -> Iterator[np.ndarray]:
        """Indices of images that fit into one array: of one shape and one type."""
        if isinstance(self.pixels, np.ndarray):
            yield np.arange(len(self))
            return
        members = defaultdict(list)
        for index, pixels in enumerate(self.pixels):
            members[pixels.shape, pixels.dtype].append(index)
        yield from map(np.array, members.values())

    def select(self, indices: np.ndarray) -> np.ndarray:
        """The pixels, n x height x width x n_channels, of images of one shape."""
        if not isinstance(self.pixels, np.ndarray):
            chosen = np.stack([np.asarray(self.pixels[index]) for index in indices])
            for index in indices:
                release(self.pixels[index])
            return chosen
        if _shared_map(self.pixels) is None:
            return self.pixels[indices]
        chosen = np.empty((len(indices), *self.pixels.shape[1:]), self.pixels.dtype)
        for part in batch_slices(len(indices), _MAX_MAPPED):
            chosen[part] = self.pixels[indices[part]]
            release(self.pixels)
        return chosen

    def batches(
        self,
        batch_size: int,
        n_channels: int,
        indices: np.ndarray | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        device: str | torch.device = "cpu",
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Indices of images of one shape, and these images as a float32 tensor.

        Parameters
        ----------
        batch_size : int
            Most images in a batch; fewer, where they are large.
        n_channels : int
            Channels of the tensors; colour is made grey for one channel.
        indices : ndarray of int, optional
            The images to read, in this order; all by default.
        memory_format : {torch.contiguous_format, torch.channels_last}
        device : str or torch.device
            Where the tensors are.
        """
        for members in self.group_by_shape():
            most = min(batch_size, n_at_once(self.pixels[members[0]], device))
            if indices is not None:
                members = indices[np.isin(indices, members)]
                if len(members) == 0:
                    continue
            for batch in batch_slices(len(members), most):
                pixels = self.select(members[batch])
                tensor = to_tensor(pixels, n_channels, memory_format, device)
                yield members[batch], tensor

    def views(
        self, skipped: Container[np.dtype] = ()
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Parts of the pixels, n x height x width x n_channels, and their first index.

        A part is used before the next one is asked for. Images of the types in
        `skipped`, which may change meanwhile, are not read.
        """
        if isinstance(self.pixels, np.ndarray) and n_at_once(self.pixels[0]) > 1:
            for batch in batch_slices(len(self), n_at_once(self.pixels[0])):
                yield batch.start, self.pixels[batch]
                release(self.pixels)
            return
        for index, pixels in enumerate(self.pixels):
            height, width = pixels.shape[:2]
            for rows in batch_slices(height, max(1, _MAX_PART // width)):
                if pixels.dtype in skipped:
                    break
                yield index, pixels[rows, :][np.newaxis]
                release(pixels)

    def empty_heatmaps(self) -> np.ndarray | list[np.ndarray]:
        """Room for one heatmap, height x width, of each image."""
        if isinstance(self.pixels, np.ndarray):
            return np.empty(self.pixels.shape[:3], dtype=np.float32)
        return [np.empty(pixels.shape[:2], np.float32) for pixels in self.pixels]

    def in_layout(self, heatmaps: np.ndarray | list[np.ndarray]):
        """Heatmaps, height x width each, in the layout the images came in."""
        if self.layout == "rows":
            return np.reshape(heatmaps, (len(self), -1))
        return list(heatmaps) if self.layout == "list" else heatmaps


def n_at_once(pixels: Any, device: str | torch.device = "cpu") -> int:
    """How many images like this one are read together."""
    is_cpu = torch.device(device).type == "cpu"
    most = _MAX_PIXELS if is_cpu else _MAX_DEVICE_PIXELS
    return max(1, most // math.prod(pixels.shape[:2]))


def to_tensor(
    pixels: np.ndarray,
    n_channels: int,
    memory_format: torch.memory_format = torch.contiguous_format,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Float32 N x C x H x W from pixels N x H x W x C, integers scaled to [0, 1]."""
    if not pixels.flags.writeable:
        # PyTorch warns that it could write to it.
        pixels = pixels.copy()
    # By way of one axis: the strides of axes of length 1, which mean nothing, would
    # make PyTorch choose other kernels.
    flat = np.ravel(pixels)
    if pixels.dtype != np.uint8:
        flat = flat.astype(np.float32, copy=False)
    # Bytes go to the device as they are, a quarter of the floats.
    tensor = torch.from_numpy(flat).to(device).float().view(pixels.shape)
    level = white_level(pixels.dtype)
    if level != 1:
        # A quotient is what users get who divide by 255, a product differs by rounding.
        tensor = tensor / level
    if tensor.shape[3] == 3 and n_channels == 1:
        tensor = to_grey(tensor.permute(0, 3, 1, 2)).unsqueeze(3)
    return in_memory_format(tensor.permute(0, 3, 1, 2), memory_format)


def in_memory_format(
    images: torch.Tensor, memory_format: torch.memory_format
) -> torch.Tensor:
    """Images n x n_channels x height x width, in a memory format without doubt.

    The strides of an axis of length 1 mean nothing, but PyTorch chooses kernels by
    them.
    """
    if memory_format == torch.channels_last:
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    if images.shape[1] == 1:
        return images.reshape(len(images), 1, *images.shape[2:])
    return images.contiguous()


def from_tensor(images: torch.Tensor, dtype: np.dtype, layout: str) -> np.ndarray:
    """Images N x C x H x W as the user's: of a type, and rows or images.

    The inverse of `to_tensor`: integers, which that scaled to [0, 1], are rounded.

    Parameters
    ----------
    images : tensor of shape (n_images, n_channels, height, width)
    dtype : dtype
    layout : {"rows", "grey", "colour"}
        (n, height * width * n_channels), (n, height, width) or (n, height, width,
        n_channels).
    """
    values = images.permute(0, 2, 3, 1)
    if dtype.kind in "iub":
        values = (values * white_level(dtype)).round()
    pixels = values.numpy(force=True).astype(dtype)
    if layout == "rows":
        return pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
    return pixels[..., 0] if layout == "grey" else pixels


def to_grey(images: torch.Tensor) -> torch.Tensor:
    """One channel, (..., H, W), from (..., C, H, W): luma of three, mean of others."""
    n_channels = images.shape[-3]
    shares = LUMA if n_channels == 3 else (1 / n_channels,) * n_channels
    channels = images.unbind(-3)
    # One operation after another, so that a pixel's rounding does not depend on where
    # in the image, or in a tile of it, it is.
    return reduce(torch.add, [s * c for s, c in zip(shares, channels, strict=True)])


def white_level(dtype: np.dtype) -> int:
    """The value that counts as 1: integers are 8 bits deep, unsigned 16-bit ones 16."""
    if dtype.kind == "u" and dtype.itemsize == 2:
        return 65535
    return 255 if dtype.kind in "iu" else 1


def release(array) -> None:
    """Take read pages of a memory-mapped array off this process's memory.

    The pages stay in the system's cache.
    """
    shared = _shared_map(array)
    if shared is not None:
        shared.madvise(mmap.MADV_DONTNEED)


def _shared_map(array) -> mmap.mmap | None:
    """The map of a file that an array is a view of, if its pages can be released.

    Private maps are left alone: what was written to them exists nowhere else.
    """
    is_shared = False
    while isinstance(array, np.ndarray):
        is_shared = isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+")
        array = array.base
    can_release = is_shared and hasattr(mmap, "MADV_DONTNEED")
    return array if can_release and isinstance(array, mmap.mmap) else None


def is_list_of_images(X) -> bool:
    """Whether X is a list of images rather than of rows."""
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return False
    # What has a shape is not read to know how many dimensions it has.
    shape = getattr(X[0], "shape", None)
    return (np.ndim(X[0]) if shape is None else len(shape)) >= 2


def is_images(X) -> bool:
    """Whether X holds images rather than rows."""
    return is_list_of_images(X) or getattr(X, "ndim", 2) > 2


def is_dask(X) -> bool:
    """Whether X is a collection of Dask, which is not imported to find out."""
    return "dask" in sys.modules and hasattr(X, "__dask_graph__")


def to_numpy(X) -> np.ndarray:
    """An array from what is like one; a tensor may be on a GPU or require gradients."""
    if is_dask(X):
        raise ValueError(
            f"X is of the type {type(X).__module__}.{type(X).__qualname__}; predict, "
            "predict_proba, transform and localize take dask.array and dask.bag, and "
            "anything else X.compute(), if it fits into memory."
        )
    return X.numpy(force=True) if isinstance(X, torch.Tensor) else np.asarray(X)


def read_images(X, trained: tuple[int, ...] | None = None) -> Images:
    """Images of any size, which the rest of the package can rely upon.

    Parameters
    ----------
    X : array-like of shape (n, h, w) or (n, h, w, c), or list of images
        As `is_images` tells them from rows.
    trained : tuple, optional
        Shape of an image that the network was trained with; others have as many
        channels, or three that can be made one.

    Raises
    ------
    ValueError
        If an image is empty, not numeric, or has other channels; the message names
        it. Values are not read; see `value_ranges`.
    """
    channels = None if trained is None else n_channels(trained)
    if is_list_of_images(X):
        images = []
        for index, image in enumerate(X):
            name = f"{image_name(index)} of X"
            pixels = image if is_lazy(image) else to_numpy(image)
            pixels = _with_channels(pixels, name, channels)
            images.append(pixels)
        return Images(images, "list")
    X = to_numpy(X)
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape} and so no images; pass at least one.")
    if X.ndim > 4:
        raise ValueError(
            f"X has {X.ndim} dimensions; pass grey images (n, height, width) or colour "
            "images (n, height, width, n_channels)."
        )
    if X.ndim == 3 and X.shape[2] in (3, 4) and trained and X.shape[2] != trained[1]:
        raise ValueError(
            f"X has shape {shape_text(X.shape)}; pass [X] for one colour image, "
            f"or X[..., np.newaxis] for grey images {X.shape[2]} pixels wide."
        )
    # The first image stands for all, which have its shape and type.
    _with_channels(X[0], "Each image of X", channels)
    return Images(X if X.ndim == 4 else X[..., np.newaxis], "images")


def _with_channels(image: Any, name: str, channels: int | None) -> Any:
    """One image, height x width x n_channels, of numbers."""
    shape = image.shape
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; pass (height, width) or (height, width, "
            "n_channels), none of them 0."
        )
    check_numeric(image, name)
    found = n_channels(shape)
    if channels is not None and found != channels and (found, channels) != (3, 1):
        hint = "move them to the end" if channels_seem_first(shape) else "convert it"
        raise ValueError(
            f"{name} has shape {shape_text(shape)} and so {count(found, 'channel')}, "
            f"but the network was trained with {channels}; {hint}."
        )
    if not isinstance(image, np.ndarray):
        return LazyPixels(image)
    return image if image.ndim == 3 else image[..., np.newaxis]


def channels_seem_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's shape looks like (n_channels, height, width)."""
    return (
        len(shape) == 3 and shape[0] in (1, 3) and shape[1] > shape[0] and shape[2] > 4
    )


def check_numeric(array: Any, name: str) -> None:
    """Raise ValueError unless an array holds real numbers."""
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {array.dtype}; pass its "
            "real part or its magnitude."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} has dtype {array.dtype}; pass numbers, integers from 0 to 255 or "
            "floats."
        )


def check_one_size(images: Images) -> np.ndarray:
    """The pixels of images of one shape and type, n x height x width x n_channels."""
    if isinstance(images.pixels, np.ndarray):
        return images.pixels
    first = images.pixels[0]
    for index, image in enumerate(images.pixels):
        for name, found, wanted in [
            ("size", _size_text(image), _size_text(first)),
            ("type", image.dtype, first.dtype),
        ]:
            if found != wanted:
                raise ValueError(
                    f"fit wants images of one {name}, but image 0 of X has {wanted} "
                    f"and image {index} {found}; make them the same."
                )
    return np.stack(images.pixels)


def _size_text(pixels: np.ndarray) -> str:
    """The shape of an image, height x width x n_channels, as people write it."""
    return shape_text(pixels.shape[:2] if pixels.shape[2] == 1 else pixels.shape)


def n_channels(shape: tuple[int, ...]) -> int:
    """Channels of an image of a shape with or without them."""
    return shape[2] if len(shape) == 3 else 1


def shape_text(shape) -> str:
    """A shape as people write it: 28x28."""
    return "x".join(str(length) for length in shape)


def count(number: int, noun: str) -> str:
    """A number of things: 1 channel, 2 channels."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
