"""Images from files, read by Pillow when they are needed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .crops import crops_of_one_size
from .messages import count, warn_user
from .pillow_images import is_deep, is_grey, read_pillow_image, upright_size
from .scaling import BY_TYPE, Scaling, extremes, learn_scaling
from .transparency import OPAQUE, Fill

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
            f"{caller} needs Pillow, which is not installed: pip install pillow"
        ) from error
    return PIL.Image


@dataclass(frozen=True)
class ImageFiles(Sequence):
    """A sequence of images, each of which is read from its file when it is indexed.

    Attributes
    ----------
    paths : list of Path
    fill : Fill
        What stands behind transparent pixels.
    """

    paths: list[Path]
    fill: Fill = OPAQUE

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFiles(self.paths[index], self.fill)
        return read_image_file(self.paths[index], self.fill)


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


def read_image_file(path: Path, fill: Fill = OPAQUE) -> np.ndarray:
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


def has_8_bits(path: Path) -> bool:
    """Whether a file has at most 8 bits a channel, without reading its pixels."""
    with _opened(path) as image:
        return not is_deep(image)


def learn_file_scaling(paths: list[Path], known: Scaling = BY_TYPE) -> Scaling:
    """The scaling of files, learnt from their visible pixels unless it is known.

    Files of 8 bits are not read.
    """
    deep = [path for path in paths if not has_8_bits(path)]
    if len(deep) < len(paths):
        known = known.with_range_of(np.dtype(np.uint8))
    visible = Fill(None, known)
    return learn_scaling(extremes(read_image_file(p, visible) for p in deep), known)


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
    files: list[Path],
    size: int | None,
    *,
    is_dark: bool,
    scaling: Scaling | None = None,
) -> tuple[np.ndarray, bool]:
    """Read crops of one size, bright on black, as a localizer is trained with.

    Parameters
    ----------
    files : list of Path
    size : int or None
        As for `crops_of_one_size`.
    is_dark : bool
        Whether the objects are dark on light, so that crops are inverted.
    scaling : Scaling, optional
        That of the user; None: learnt from the crops.

    Returns
    -------
    crops : ndarray of shape (n, height, width) or (n, height, width, 3)
        Grey if all files are.
    are_scaled : bool
    """
    if scaling is None:
        scaling = learn_file_scaling(files) if is_dark else BY_TYPE
    fill = Fill("white" if is_dark else "black", scaling)
    images = [read_image_file(file, fill) for file in files]
    _check_one_type(images, files)
    if is_dark:
        images = [
            _negative(image, file, scaling)
            for image, file in zip(images, files, strict=True)
        ]
    return crops_of_one_size(images, size)


def _check_one_type(images: list[np.ndarray], files: list[Path]) -> None:
    for image, file in zip(images, files, strict=True):
        if image.dtype != images[0].dtype:
            raise ValueError(
                f"{str(files[0])!r} has pixels of the type {images[0].dtype}, but "
                f"{str(file)!r} of {image.dtype}; save all crops alike."
            )


def _negative(image: np.ndarray, file: Path, scaling: Scaling) -> np.ndarray:
    is_known = image.dtype in (np.uint8, np.uint16) or scaling.clips(image.dtype)
    if not is_known:
        raise ValueError(
            f"{str(file)!r} has pixels of the type {image.dtype}, for which it is not "
            "known which value is white; pass value_range (--value-range LOW HIGH)."
        )
    low, high = scaling.limits(image.dtype)
    negative = low + high - image.astype(np.float64).clip(low, high)
    return negative.astype(image.dtype)
