"""Images from files, read by Pillow when they are needed."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .images import n_channels
from .messages import count, warn_user
from .pillow_images import is_grey, read_pillow_image, upright_size
from .transparency import Fill

SUFFIXES = frozenset(
    [
        *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm"),
        *(".tif", ".tiff", ".webp"),
    ]
)
_ADVICE_ON_TIFF = (
    ": it is a TIFF of a kind that Pillow does not read; read it with "
    "tifffile.imread, and pass the array"
)


def import_pillow(caller: str) -> Any:
    """The module PIL.Image."""
    try:
        import PIL.Image
    except ImportError as error:
        raise ImportError(
            f"{caller} needs Pillow, which is not installed: "
            'pip install "sklearn-similar[images]"'
        ) from error
    return PIL.Image


@dataclass(frozen=True)
class ImageFiles(Sequence):
    """A sequence of images, each of which is read from its file when it is indexed.

    Attributes
    ----------
    paths : list of Path
    fill : {"black", "white", "contrast"}
        What stands behind transparent pixels.
    """

    paths: list[Path]
    fill: Fill = "contrast"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFiles(self.paths[index], self.fill)
        return read_image_file(self.paths[index], self.fill)


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """An image with three channels, equal ones if it is grey."""
    return np.repeat(pixels[..., np.newaxis], 3, 2) if pixels.ndim == 2 else pixels


def find_image_files(path: Path) -> list[Path]:
    """The image files in a folder and its subfolders, or the one file itself.

    Hidden files are left out. Files whose names are not those of images are left out
    with a warning.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{str(path)!r} does not exist; pass a folder of images.")
    images: list[Path] = []
    skipped: list[Path] = []
    for file in sorted(path.rglob("*")):
        is_hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not is_hidden:
            (images if file.suffix.lower() in SUFFIXES else skipped).append(file)
    if skipped:
        warn_user(
            f"{count(len(skipped), 'file')} in {str(path)!r} left out, as the names "
            f"are not those of images ({', '.join(sorted(SUFFIXES))}); the first is "
            f"{skipped[0].relative_to(path).as_posix()!r}."
        )
    if not images:
        raise ValueError(
            f"{str(path)!r} holds no images; pass a folder of files such as .jpg and "
            ".png."
        )
    return images


def find_labelled_files(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each label, the name of a class folder in this folder, and its image files."""
    if not folder.is_dir():
        raise ValueError(
            f"{str(folder)!r} is not a folder; pass one that holds a folder of crops "
            "for each label."
        )
    entries = [entry for entry in sorted(folder.iterdir()) if entry.name[0] != "."]
    for entry in entries:
        if entry.is_file() and entry.suffix.lower() in SUFFIXES:
            raise ValueError(
                f"{str(entry)!r} is not in a class folder; put it into one."
            )
    class_folders = [entry for entry in entries if entry.is_dir()]
    if not class_folders:
        raise ValueError(
            f"{str(folder)!r} holds no folders; put the crops of each label into a "
            "folder of its name."
        )
    for class_folder in class_folders:
        yield class_folder.name, find_image_files(class_folder)


def read_image_file(path: Path, fill: Fill = "contrast") -> np.ndarray:
    """Read the only image of a file upright, as `read_pillow_image` does.

    Raises
    ------
    ValueError
        If the file does not hold one image that can be read; the message names it.
    """
    name = repr(str(path))
    with _opened(path) as image:
        return read_pillow_image(image, name, fill)


def image_file_size(path: Path) -> tuple[int, int]:
    """Height and width of an upright image, without reading its pixels.

    Raises
    ------
    ValueError
        If the file cannot be read as an image.
    """
    return image_file_format(path)[0]


def image_file_format(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width of an upright image, and whether it is grey, likewise."""
    with _opened(path) as image:
        return upright_size(image), is_grey(image)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image of a file as Pillow's.

    Pillow gets a stream, as it garbles some files that it opens by their paths.
    """
    pillow = import_pillow("Reading images")
    with ExitStack() as stack:
        try:
            image = pillow.open(stack.enter_context(path.open("rb")))
            stack.enter_context(image)
        except pillow.UnidentifiedImageError:
            advice = _ADVICE_ON_TIFF if _is_tiff(path) else ""
            raise ValueError(
                f"{str(path)!r} cannot be read as an image{advice}."
            ) from None
        except MemoryError:
            raise
        # Decoders raise errors of any type for damaged files.
        except Exception as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as an image: {error}."
            ) from error
        yield image


def _is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF or BigTIFF of either order of bytes."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_crops(
    files: list[Path], size: int | None, *, is_dark: bool
) -> tuple[np.ndarray, bool]:
    """Read crops of one size, bright on black, as a localizer is trained with.

    Parameters
    ----------
    files : list of Path
    size : int or None
        Height and width to which crops are scaled; None: the size of the files if it
        is the same for all, else 28.
    is_dark : bool
        Whether the objects are dark on light, so that crops are inverted.

    Returns
    -------
    crops : ndarray of shape (n, height, width) or (n, height, width, 3)
        Grey if all files are.
    are_scaled : bool
    """
    fill: Fill = "white" if is_dark else "black"
    images = [read_image_file(file, fill) for file in files]
    _check_one_depth(images, files)
    if any(image.ndim == 3 for image in images):
        images = [in_colour(image) for image in images]
    if is_dark:
        images = [np.iinfo(image.dtype).max - image for image in images]
    if size is None and len({image.shape for image in images}) == 1:
        return np.stack(images), False
    side = 28 if size is None else size
    return np.stack([fit_into_square(image, side) for image in images]), True


def _check_one_depth(images: list[np.ndarray], files: list[Path]) -> None:
    if len({image.dtype for image in images}) > 1:
        raise ValueError(
            f"Some crops are 8 bits deep and some 16, such as {str(files[0])!r}, which "
            f"has {8 * images[0].itemsize}; save all with the same depth."
        )


def fit_into_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image, scaled to the sides of a black square and centred in it."""
    from PIL import Image

    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = [max(1, math.floor(length * factor + 0.5)) for length in (width, height)]
    channels = np.moveaxis(np.atleast_3d(pixels), 2, 0).astype(np.float32)
    scaled = np.stack(
        [
            np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BILINEAR))
            for c in channels
        ],
        axis=2,
    )
    square = np.zeros((side, side, n_channels(pixels.shape)), pixels.dtype)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.rint(scaled)
    return square if pixels.ndim == 3 else square[..., 0]
