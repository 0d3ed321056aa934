"""Every accepted kind of input as float32 batches, and results in the layout X had.

Pixels are kept as they came (8-bit, memory-mapped, ...) until their batch is read, so
that memory stays bounded by a batch.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import assert_all_finite, check_array, gen_batches

# ITU-R BT.601: what the eye makes of red, green and blue.
_LUMA = (0.299, 0.587, 0.114)
# Activations of a network take some hundred bytes a pixel, so that a batch of this
# many pixels (334 images of 28x28) needs about 100 MB.
_MAX_PIXELS = 2**18


@dataclass(frozen=True)
class Images:
    """Images of one or of several sizes, read batch by batch.

    Attributes
    ----------
    pixels : ndarray of shape (n_images, height, width, n_channels) or list of \
            ndarray of shape (height, width, n_channels)
        Views of what the user passed.
    layout : {"rows", "images", "list"}
        How the user passed them, and how heatmaps go back.
    """

    pixels: np.ndarray | list[np.ndarray]
    layout: str

    def __len__(self) -> int:
        return len(self.pixels)

    def by_size(self) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """Each height and width among the images, and the indices of those images."""
        if isinstance(self.pixels, np.ndarray):
            yield self.pixels.shape[1:3], np.arange(len(self))
            return
        sizes = [pixels.shape[:2] for pixels in self.pixels]
        for size in dict.fromkeys(sizes):
            yield size, np.flatnonzero([size == other for other in sizes])

    def select(self, indices: np.ndarray) -> np.ndarray:
        """The pixels, n x height x width x n_channels, of images of one size."""
        if isinstance(self.pixels, np.ndarray):
            return self.pixels[indices]
        return np.stack([self.pixels[index] for index in indices])

    def batches(
        self, batch_size: int, n_channels: int, among: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Indices of images of one size, and these images as a float32 tensor.

        Parameters
        ----------
        batch_size : int
            Most images in a batch; fewer, where they are large.
        n_channels : int
            Channels of the tensors; colour is made grey for one channel.
        among : ndarray of int, optional
            The images to read; all by default.
        """
        for (height, width), members in self.by_size():
            if among is not None:
                members = among
            n_at_once = max(1, min(batch_size, _MAX_PIXELS // (height * width)))
            for batch in gen_batches(len(members), n_at_once):
                yield members[batch], to_tensor(self.select(members[batch]), n_channels)
                release(self.pixels)

    def empty_heatmaps(self) -> np.ndarray | list[np.ndarray]:
        """Room for one heatmap, height x width, of each image."""
        if isinstance(self.pixels, np.ndarray):
            return np.empty(self.pixels.shape[:3], dtype=np.float32)
        return [np.empty(pixels.shape[:2], np.float32) for pixels in self.pixels]

    def in_layout(self, heatmaps: list[np.ndarray] | np.ndarray):
        """Heatmaps, height x width each, in the layout the images came in."""
        if self.layout == "rows":
            return np.reshape(heatmaps, (len(self), -1))
        return list(heatmaps) if self.layout == "list" else heatmaps


def to_tensor(pixels: np.ndarray, n_channels: int) -> torch.Tensor:
    """Float32 N x C x H x W from pixels N x H x W x C; integers are scaled to [0, 1]."""
    scale = pixel_scale(pixels.dtype)
    if pixels.dtype == np.uint8:
        tensor = torch.from_numpy(np.ascontiguousarray(pixels)).float()
    else:
        tensor = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    if scale != 1:
        tensor = tensor * scale
    if tensor.shape[3] == 3 and n_channels == 1:
        tensor = (tensor @ tensor.new_tensor(_LUMA)).unsqueeze(3)
    return tensor.permute(0, 3, 1, 2).contiguous()


def pixel_scale(dtype: np.dtype) -> float:
    """What pixels are multiplied with: integers are 8 bits deep, uint16 is 16."""
    if dtype == np.uint16:
        return 1 / 65535
    return 1 / 255 if np.issubdtype(dtype, np.integer) else 1.0


def release(array) -> None:
    """Take read pages of a memory-mapped array off this process's memory.

    The pages stay in the system's cache. Private maps are left alone: what was
    written to them exists nowhere else.
    """
    while isinstance(array, np.ndarray):
        shared = isinstance(array, np.memmap) and array.mode in ("r", "r+")
        array = array.base
        if shared and isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.madvise(mmap.MADV_DONTNEED)


def is_list_of_images(X) -> bool:
    """Whether X is a list of images rather than of rows."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(X[0]) >= 2


def is_images(X) -> bool:
    """Whether X holds images rather than rows."""
    return is_list_of_images(X) or getattr(X, "ndim", 2) > 2


def as_rows(X):
    """Images flattened to rows (a view where possible), everything else as it is."""
    if is_list_of_images(X):
        X = _stack(X)
    elif is_images(X):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim in (3, 4):
        return X.reshape(len(X), int(np.prod(X.shape[1:])))
    if isinstance(X, np.ndarray) and X.ndim > 4:
        raise ValueError(
            f"X has {X.ndim} dimensions; pass rows (n, n_features), grey images "
            "(n, height, width) or colour images (n, height, width, n_channels)."
        )
    return X


def _stack(X) -> np.ndarray:
    images = [np.asarray(image) for image in X]
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            raise ValueError(
                f"X holds images of several sizes (image 0: {shape_text(images[0].shape)}"
                f", image {index}: {shape_text(image.shape)}); fit and predict want one "
                "size, transform, heatmap and localize take any."
            )
    return np.stack(images)


def check_finite(rows: np.ndarray) -> None:
    """Raise scikit-learn's ValueError for NaN or infinity, reading batch by batch."""
    if not np.issubdtype(rows.dtype, np.floating):
        return
    for batch in gen_batches(len(rows), max(1, _MAX_PIXELS // max(1, rows.shape[1]))):
        assert_all_finite(rows[batch], input_name="X")
        release(rows)


def infer_image_shape(X, n_features: int, image_shape) -> tuple[int, ...]:
    """Shape of one image: that of X, the one asked for, or a square, or one row."""
    found = tuple(np.shape(X[0])) if is_images(X) else None
    if image_shape is None:
        side = round(n_features**0.5)
        row = (side, side) if side**2 == n_features else (1, n_features)
        return found or row
    image_shape = _check_image_shape(image_shape)
    if found is not None and found != image_shape:
        raise ValueError(
            f"image_shape is {shape_text(image_shape)}, but the images in X are "
            f"{shape_text(found)}; leave image_shape=None for images."
        )
    if np.prod(image_shape) != n_features:
        raise ValueError(
            f"image_shape {shape_text(image_shape)} has {np.prod(image_shape)} values, "
            f"but the rows of X have {n_features}; make them agree."
        )
    return image_shape


def _check_image_shape(image_shape) -> tuple[int, ...]:
    lengths = np.asarray(image_shape)
    if (
        lengths.shape not in ((2,), (3,))
        or lengths.dtype.kind != "i"
        or any(lengths < 1)
    ):
        raise ValueError(
            f"image_shape is {image_shape!r}; pass (height, width) or (height, width, "
            "n_channels), all positive integers."
        )
    return tuple(int(length) for length in lengths)


def check_any_size(X, channels: int) -> Images:
    """Images of any size, which the rest of the estimator can rely upon.

    Parameters
    ----------
    X : ndarray of shape (n, h, w) or (n, h, w, c), or list of images
        No rows: these have the trained size and go another way.
    channels : int
        That the network was trained with; colour is made grey for one channel.

    Raises
    ------
    ValueError
        If an image is empty, not numeric, not finite, or has other channels; the
        message names the image of a list.
    """
    if not is_list_of_images(X):
        X = np.asarray(X)
        check_array(as_rows(X), dtype="numeric", ensure_all_finite=False)
        check_finite(as_rows(X))
        _check_channels(X.shape[1:], channels, "The images in X")
        return Images(X if X.ndim == 4 else X[..., np.newaxis], "images")
    images = []
    for index, image in enumerate(X):
        image = np.asarray(image)
        name = f"Image {index} of X"
        if image.ndim not in (2, 3) or image.size == 0:
            raise ValueError(
                f"{name} has shape {image.shape}; pass (height, width) or (height, "
                "width, channels), none of them 0."
            )
        try:
            check_array(image.reshape(1, -1), dtype="numeric", input_name="image")
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} cannot be used: {error}") from error
        _check_channels(image.shape, channels, name)
        images.append(image if image.ndim == 3 else image[..., np.newaxis])
    return Images(images, "list")


def _check_channels(shape: tuple[int, ...], channels: int, name: str) -> None:
    found = shape[2] if len(shape) == 3 else 1
    if found != channels and not (found == 3 and channels == 1):
        hint = " (channels come last)" if shape[0] == channels else ""
        raise ValueError(
            f"{name} have shape {shape_text(shape)} and so {found} channels, but the "
            f"network was trained with {channels}; pass such images{hint}."
        )


def n_channels(image_shape: tuple[int, ...]) -> int:
    """Channels of images of a shape with or without them."""
    return image_shape[2] if len(image_shape) == 3 else 1


def shape_text(shape) -> str:
    """A shape as people write it: 28x28."""
    return "x".join(str(length) for length in shape)
