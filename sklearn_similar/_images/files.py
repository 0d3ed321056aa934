"""Images from files, read by Pillow when they are needed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .images import n_channels
from .messages import count, warn_user

SUFFIXES = frozenset(
    [
        *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm"),
        *(".tif", ".tiff", ".webp"),
    ]
)
_MODES_WITH_ALPHA = ("LA", "PA", "La", "RGBA", "RGBa")
_COLOUR_MODES = ("RGB", "RGBX", "P", "CMYK", "YCbCr", "HSV", "LAB")
# EXIF's tag of the orientation, and its first value for which width and height swap.
_ORIENTATION, _FIRST_ON_ITS_SIDE = 274, 5
# Photographs of telephones, which hold a second image as a preview or for depth.
_FORMATS_WITH_PREVIEWS = ("MPO",)


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
    channels : int
        1 or 3: grey images get three equal channels for an estimator of colour.
    """

    paths: list[Path]
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFiles(self.paths[index], self.channels)
        pixels = read_image_file(self.paths[index])
        return in_colour(pixels) if self.channels == 3 else pixels


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


def read_image_file(path: Path, blank: int = 0) -> np.ndarray:
    """Read an image upright, grey or colour, with 8 or 16 bits.

    Parameters
    ----------
    path : Path
    blank : int
        Grey level behind transparent pixels, from 0 for black to 255 for white.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, 3) of uint8 or uint16

    Raises
    ------
    ValueError
        If the file does not hold one image of these kinds; the message names it.
    """
    name = repr(str(path))
    return _pixels(_decode(path, name), name, blank)


def image_file_size(path: Path) -> tuple[int, int]:
    """Height and width of an upright image, without reading its pixels.

    Raises
    ------
    ValueError
        If the file cannot be read as an image.
    """
    pillow = import_pillow("Reading images")
    try:
        with pillow.open(path) as image:
            width, height = image.size
            is_on_its_side = image.getexif().get(_ORIENTATION, 1) >= _FIRST_ON_ITS_SIDE
    except MemoryError:
        raise
    # Decoders raise errors of any type for damaged files.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be read as an image.") from error
    return (width, height) if is_on_its_side else (height, width)


def _decode(path: Path, name: str) -> Any:
    """The only image of a file, upright, as Pillow's."""
    pillow = import_pillow("Reading images")
    from PIL import ImageOps

    try:
        with pillow.open(path) as image:
            n_images = getattr(image, "n_frames", 1)
            if image.format in _FORMATS_WITH_PREVIEWS:
                n_images = 1
            if n_images == 1:
                upright = ImageOps.exif_transpose(image)
                upright.load()
                return upright
    except pillow.UnidentifiedImageError:
        raise ValueError(f"{name} cannot be read as an image.") from None
    except MemoryError:
        raise
    # Decoders raise errors of any type for damaged files.
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {error}.") from error
    raise ValueError(f"{name} holds {n_images} images; save each in a file by itself.")


def _pixels(image: Any, name: str, blank: int) -> np.ndarray:
    """The pixels of Pillow's image, transparent ones on a blank background."""
    mode = image.mode
    if mode in _MODES_WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        background = image.copy()
        background.paste((blank, blank, blank, 255), (0, 0, *image.size))
        background.alpha_composite(image)
        is_grey = mode in ("LA", "La", "L")
        return np.asarray(background.convert("L" if is_grey else "RGB"))
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if mode in _COLOUR_MODES:
        return np.asarray(image.convert("RGB"))
    # Older versions of Pillow read files of 16 bits as 32.
    if mode.startswith("I;16") or (mode == "I" and image.format in (None, "PNG")):
        return np.asarray(image).astype(np.uint16)
    raise ValueError(
        f"{name} has pixels of Pillow's mode {mode!r}; save it as grey or colour of 8 "
        "bits, or grey of 16."
    )


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
    images = [read_image_file(file, blank=255 if is_dark else 0) for file in files]
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
