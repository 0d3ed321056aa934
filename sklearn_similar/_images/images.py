"""Images of any layout as float32 batches, and results in the layout of X.

Pixels stay as they came (8-bit, memory-mapped, ...) until their batch is read, so that
memory is bounded by a batch.
"""

import math
import mmap
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch

from .memory import within_working_memory
from .messages import ImageNames
from .scaling import BY_TYPE, Scaling

# ITU-R BT.601: weights of red, green and blue in perceived brightness.
LUMA = (0.299, 0.587, 0.114)
# A pixel belongs to the object of a training image above this share of the image's
# maximum: anti-aliased rims are below it, faint strokes are above. Boxes of scenes and
# the crops of the localizer fit each other only if both use the same share.
VISIBLE_SHARE = 0.2
# Activations of a network take some hundred bytes a pixel, so that a batch of this
# many pixels (167 images of 28x28) needs about 50 MB. Larger batches are slower on a
# CPU, because they do not fit into its caches.
_BATCH_PIXELS = 2**17
# The same on other devices, where batches hide the cost of starting an operation.
_DEVICE_BATCH_PIXELS = 2**21
# Pixels of a large image that are read at a time.
_PART_PIXELS = 2**21
# Images of a memory map that are read before its pages are released: reading an image
# brings in up to some MB of the file around it.
_MAPPED_BATCH = 32


def batch_slices(n: int, batch_size: int) -> Iterator[slice]:
    """Slices that together are range(n), of batch_size elements except the last.

    scikit-learn's `gen_batches` checks its parameters in every call, which takes a
    share of the time of a small image's heatmap.
    """
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))


def is_lazy(image: Any) -> bool:
    """Whether an image can be read by slices alone (zarr, h5py and the like)."""
    return not isinstance(image, (np.ndarray, torch.Tensor, np.generic)) and all(
        hasattr(image, name) for name in ("shape", "dtype", "__getitem__")
    )


class LazyPixels:
    """An image height x width x n_channels that is not in memory: windows are read.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
        Anything with a shape, a dtype and slices.
    """

    def __init__(self, image: Any):
        self._image = image
        shape = tuple(image.shape)
        self.shape = shape if len(shape) == 3 else (*shape, 1)
        self.dtype = np.dtype(image.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        height, width = (
            len(range(*part.indices(length)))
            for part, length in zip(window, self.shape[:2], strict=True)
        )
        pixels = np.asarray(self._image[window])
        return pixels.reshape(height, width, self.shape[2])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:, :], dtype=dtype)


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
    names : ImageNames
        What messages call them.
    scaling : Scaling
        Which values become 0 and 1.
    """

    pixels: Any
    layout: str
    names: ImageNames = field(default_factory=ImageNames)
    scaling: Scaling = BY_TYPE

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels of the first image."""
        return self.pixels[0].dtype

    def group_by_shape(self) -> Iterator[np.ndarray]:
        """Indices of images of the same shape and type, group by group."""
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
        for part in batch_slices(len(indices), _MAPPED_BATCH):
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
            Maximum number of images in a batch; large images come in smaller ones.
        n_channels : int
            Channels of the tensors; see `to_tensor`.
        indices : ndarray of int, optional
            The images to read, in this order; all by default.
        memory_format : {torch.contiguous_format, torch.channels_last}
        device : str or torch.device
            Where the tensors are.
        """
        for members in self.group_by_shape():
            n_images = min(batch_size, n_at_once(self.pixels[members[0]].shape, device))
            if indices is not None:
                members = indices[np.isin(indices, members)]
                if len(members) == 0:
                    continue
            for batch in batch_slices(len(members), n_images):
                indices_of_batch = members[batch]
                yield (
                    indices_of_batch,
                    self.tensor(indices_of_batch, n_channels, memory_format, device),
                )

    def tensor(
        self,
        indices: np.ndarray,
        n_channels: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        device: str | torch.device = "cpu",
    ) -> torch.Tensor:
        """Images of one shape as a float32 tensor; see `to_tensor`."""
        pixels = self.select(indices)
        return to_tensor(pixels, n_channels, memory_format, device, self.scaling)

    def views(
        self, skipped: Container[np.dtype] = ()
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Parts of the pixels, n x height x width x n_channels, and their first index.

        A part is used before the next one is read. Images of the types in `skipped`,
        to which the caller may add meanwhile, are not read.
        """
        n_images = n_at_once(self.pixels[0].shape)
        if isinstance(self.pixels, np.ndarray) and n_images > 1:
            for batch in batch_slices(len(self), n_images):
                if self.dtype in skipped:
                    return
                yield batch.start, self.pixels[batch]
                release(self.pixels)
            return
        part_pixels = within_working_memory(_PART_PIXELS)
        for index, pixels in enumerate(self.pixels):
            height, width = pixels.shape[:2]
            for rows in batch_slices(height, max(1, part_pixels // width)):
                if pixels.dtype in skipped:
                    break
                yield index, pixels[rows, :][np.newaxis]
                release(pixels)

    def empty_heatmaps(self) -> np.ndarray | list[np.ndarray]:
        """Empty arrays for the heatmaps of the images, height x width each."""
        if isinstance(self.pixels, np.ndarray):
            return np.empty(self.pixels.shape[:3], dtype=np.float32)
        return [np.empty(pixels.shape[:2], np.float32) for pixels in self.pixels]

    def in_layout(self, heatmaps: np.ndarray | list[np.ndarray]):
        """Heatmaps, height x width each, in the layout the images came in."""
        if self.layout == "rows":
            return np.reshape(heatmaps, (len(self), -1))
        return list(heatmaps) if self.layout == "list" else heatmaps


def n_at_once(size: Sequence[int], device: str | torch.device = "cpu") -> int:
    """How many images of a height and width are read together.

    The number follows scikit-learn's `working_memory`; on a CPU, more than the default
    would not make larger batches faster.
    """
    if torch.device(device).type == "cpu":
        n_pixels = min(_BATCH_PIXELS, within_working_memory(_BATCH_PIXELS))
    else:
        n_pixels = within_working_memory(_DEVICE_BATCH_PIXELS)
    return max(1, n_pixels // math.prod(size[:2]))


def to_tensor(
    pixels: np.ndarray,
    n_channels: int,
    memory_format: torch.memory_format = torch.contiguous_format,
    device: str | torch.device = "cpu",
    scaling: Scaling = BY_TYPE,
) -> torch.Tensor:
    """Float32 N x C x H x W from pixels N x H x W x C, scaled.

    Colour is made grey for one channel, and grey is repeated for three.
    """
    if not pixels.flags.writeable:
        # PyTorch warns about arrays that it must not write to.
        pixels = pixels.copy()
    # Flattened first: the strides of axes of length 1, which are arbitrary, would make
    # PyTorch choose other kernels.
    flat = np.ravel(pixels)
    if pixels.dtype != np.uint8:
        flat = flat.astype(np.float32, copy=False)
    # Bytes go to the device as they are, a quarter of the floats.
    tensor = torch.from_numpy(flat).to(device).float().view(pixels.shape)
    tensor = scaling.scale(tensor, pixels.dtype)
    if tensor.shape[3] == 3 and n_channels == 1:
        tensor = to_grey(tensor.permute(0, 3, 1, 2)).unsqueeze(3)
    elif tensor.shape[3] == 1 and n_channels == 3:
        tensor = tensor.expand(-1, -1, -1, 3)
    return in_memory_format(tensor.permute(0, 3, 1, 2), memory_format)


def in_memory_format(
    images: torch.Tensor, memory_format: torch.memory_format
) -> torch.Tensor:
    """Images n x n_channels x height x width, unambiguously in a memory format.

    PyTorch chooses kernels by the strides, which mean nothing along an axis of length
    1. By way of a single axis, they are those of the memory format.
    """
    if memory_format == torch.channels_last:
        pixels = images.permute(0, 2, 3, 1)
        return pixels.reshape(-1).view(pixels.shape).permute(0, 3, 1, 2)
    return images.reshape(-1).view(images.shape)


def from_tensor(
    images: torch.Tensor, dtype: np.dtype, layout: str, scaling: Scaling = BY_TYPE
) -> np.ndarray:
    """Images N x C x H x W in the type and the layout of the user's images.

    The inverse of `to_tensor`; integers are rounded.

    Parameters
    ----------
    images : tensor of shape (n_images, n_channels, height, width)
    dtype : dtype
    layout : {"rows", "grey", "colour"}
        (n, height * width * n_channels), (n, height, width) or (n, height, width,
        n_channels).
    scaling : Scaling
    """
    values = images.permute(0, 2, 3, 1).numpy(force=True)
    if dtype.kind in "iu":
        # In double precision, as float32 rounds the maximum of 32 bits up.
        limits = np.iinfo(dtype)
        values = scaling.unscale(values.astype(np.float64), dtype)
        values = values.clip(limits.min, limits.max)
    else:
        values = scaling.unscale(values, dtype)
    pixels = values.astype(dtype)
    if layout == "rows":
        return pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
    return pixels[..., 0] if layout == "grey" else pixels


def to_grey(images: torch.Tensor) -> torch.Tensor:
    """Grey (..., H, W) from (..., C, H, W): the luma of 3 channels, else the mean."""
    n_channels = images.shape[-3]
    shares = LUMA if n_channels == 3 else (1 / n_channels,) * n_channels
    channels = images.unbind(-3)
    # Added channel by channel, so that the rounding of a pixel does not depend on its
    # position in the image or in a tile.
    return reduce(torch.add, [s * c for s, c in zip(shares, channels, strict=True)])


def release(array) -> None:
    """Release the pages of a memory-mapped array that this process has read.

    They stay in the system's cache.
    """
    shared = _shared_map(array)
    if shared is not None:
        shared.madvise(mmap.MADV_DONTNEED)


def _shared_map(array) -> mmap.mmap | None:
    """The map of a file that an array is a view of, if its pages can be released.

    Those of private maps cannot: what was written to them is stored nowhere else.
    """
    is_shared = False
    while isinstance(array, np.ndarray):
        is_shared = isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+")
        array = array.base
    can_release = is_shared and hasattr(mmap, "MADV_DONTNEED")
    return array if can_release and isinstance(array, mmap.mmap) else None


def n_channels(shape: tuple[int, ...]) -> int:
    """Channels of an image of a shape with or without them."""
    return shape[2] if len(shape) == 3 else 1
