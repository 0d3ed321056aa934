"""Pixels of Pillow's images, opened from a file here or passed by a user.

Each image is read upright, with all the bits and the signs of its file, and is left as
it is.
"""

import os
import sys
from typing import Any

import numpy as np

from .messages import warn_user
from .transparency import OPAQUE, Fill, without_alpha

# EXIF's tag of the orientation, and its first value for which width and height swap.
_ORIENTATION, _FIRST_ON_ITS_SIDE = 274, 5
# Photographs of telephones, which hold a second image as a preview or for depth.
_FORMATS_WITH_PREVIEWS = ("MPO",)
# TIFF's tags of width, height, bits, photometric interpretation, planes and format.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _FORMAT = 256, 257, 258, 262, 284, 339
_MIN_IS_WHITE, _SEPARATE, _UNSIGNED, _SIGNED = 0, 2, 1, 2
_GREY_WITH_ALPHA = ("LA", "La")
_COLOUR_WITH_ALPHA = ("PA", "RGBA", "RGBa")
_COLOUR = ("RGB", "RGBX", "P", "CMYK", "YCbCr", "HSV", "LAB")
_MODES_OF_8_BITS = ("L", *_GREY_WITH_ALPHA, *_COLOUR_WITH_ALPHA, *_COLOUR)
_DEEP_MODES = ("RGB", "RGBA")
_DEEP_RAWMODES = tuple(f"{name};16" for name in ("R", "RGB", "RGBX", "RGBA"))
# Pillow reads the first byte of two: in the other order of bytes, the second one.
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_ADVICE = "read it with a library for its kind, such as tifffile, and pass the array"


def is_pillow_image(X: Any) -> bool:
    """Whether X is an image of Pillow's, which is not imported to tell."""
    return "PIL.Image" in sys.modules and isinstance(X, sys.modules["PIL.Image"].Image)


def read_pillow_image(image: Any, name: str, fill: Fill = OPAQUE) -> np.ndarray:
    """Read an image upright.

    Parameters
    ----------
    image : PIL.Image.Image
        Its file, if it has been opened and not yet loaded, is read anew.
    name : str
        What messages call it.
    fill : Fill
        What stands behind transparent pixels.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, 3)
        uint8 or uint16; grey images also int8, int16, int32, uint32 or float32.

    Raises
    ------
    ValueError
        If the image cannot be read, is one of several in its file, or has pixels of
        another kind.
    """
    try:
        n_images = n_pages(image)
        if n_images == 1:
            _check_loaded(image, name)
            pixels = _upright(*_oriented_pixels(_fresh(image), name))
    except (MemoryError, _RefusedError):
        raise
    # Decoders raise errors of any type for damaged files.
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {error}.") from error
    if n_images > 1:
        raise ValueError(
            f"{name} holds {n_images} images; save each in a file by itself, or pass "
            "the pages one by one, page.copy() for page in "
            "PIL.ImageSequence.Iterator(image)."
        )
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    opaque = without_alpha(pixels, fill, name)
    return opaque if opaque.shape[2] == 3 else opaque[..., 0]


def n_pages(image: Any) -> int:
    """Number of images in the file of an image; previews do not count."""
    if image.format in _FORMATS_WITH_PREVIEWS:
        return 1
    return getattr(image, "n_frames", 1)


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width of an image of a file once it is upright."""
    width, height = image.size
    # Pillow loads a PNG to read its EXIF: the user's stays as it is.
    if _fresh(image).getexif().get(_ORIENTATION, 1) < _FIRST_ON_ITS_SIDE:
        return height, width
    # Some versions of Pillow have exchanged the sides of TIFF already.
    return _tag(image, _WIDTH) or width, _tag(image, _HEIGHT) or height


def is_grey(image: Any) -> bool:
    """Whether an image has no colours, by its mode."""
    is_grey_file = _rawmodes(image)[0] == "LA;16B"
    return is_grey_file or (image.mode[0] in "1LIF" and image.mode != "LAB")


def is_deep(image: Any) -> bool:
    """Whether an image that is not loaded has more than 8 bits a channel."""
    return image.mode not in ("1", *_MODES_OF_8_BITS) or _is_deep_colour(image)


class _RefusedError(ValueError):
    """An image of a kind that is not read."""


def _check_loaded(image: Any, name: str) -> None:
    """Warn or raise for a loaded image that is not what its file holds."""
    filename = getattr(image, "filename", "")
    if _tiles(image) or not filename or not os.path.isfile(filename):
        return
    with sys.modules["PIL.Image"].open(filename) as in_file:
        if _is_deep_colour(in_file):
            _warn_of_lost_bits(name, "pass its path, or the image before it is loaded")
        is_misread = _is_misread(in_file)
        is_on_its_side = in_file.getexif().get(_ORIENTATION, 1) >= _FIRST_ON_ITS_SIDE
    is_mapped = image.format == "TIFF" and getattr(image, "map", None)
    if is_misread or (is_on_its_side and is_mapped):
        raise _RefusedError(
            f"{name} is a TIFF of a kind that Pillow garbles; pass its path, or the "
            "image before it is loaded."
        )


def _fresh(image: Any) -> Any:
    """The image, opened once more if it has not been loaded from its file.

    Its pixels are then not kept in memory by the user's image. Opened from a stream,
    Pillow does not map the file, which garbles uncompressed TIFF on its side.
    """
    stream = getattr(image, "fp", None)
    if not _tiles(image) or stream is None:
        return image
    again = sys.modules["PIL.Image"].open(stream)
    is_same = (again.size, again.mode) == (image.size, image.mode)
    return again if is_same else image


def _oriented_pixels(image: Any, name: str) -> tuple[np.ndarray, int]:
    """Pixels, with alpha as the last of 2 or 4 channels, and EXIF's orientation."""
    rawmodes = _rawmodes(image)
    if _is_deep_colour(image):
        image, pixels = _deep_pixels(image, rawmodes, name)
    else:
        if _is_misread(image):
            image = _loaded(image, rawmodes)
        image.load()
        pixels = _pixels(image, name)
    pixels = _with_key_as_alpha(pixels, image, rawmodes[0])
    return pixels, image.getexif().get(_ORIENTATION, 1)


def _tiles(image: Any) -> list[Any]:
    """The parts of a file that Pillow has still to decode; none of a loaded image.

    Pillow does not document them. In a form that is not known, nothing would tell what
    Pillow mistakes, so that the image is refused.
    """
    if not hasattr(image, "fp"):
        return []
    tiles = getattr(image, "tile", None)
    if not isinstance(tiles, list) or not all(map(_is_tile, tiles)):
        raise _RefusedError(
            f"The file of a {type(image).__name__} cannot be read safely with Pillow "
            f"{sys.modules['PIL'].__version__}, which is not known; read it with "
            "another library or an older Pillow, and pass the array."
        )
    return tiles


def _is_tile(tile: Any) -> bool:
    """Whether this is (decoder, extents, offset, layout or (layout, ...))."""
    is_tuple = isinstance(tile, tuple) and len(tile) == 4
    return is_tuple and isinstance(tile[0], str)


def _rawmodes(image: Any) -> list[str]:
    """True layout of the pixels in each part of a file, in Pillow's words.

    One empty text if the image is already loaded.
    """
    return [_true_rawmode(tile, image) for tile in _tiles(image)] or [""]


def _true_rawmode(tile: Any, image: Any) -> str:
    rawmode = _rawmode(tile)
    # libtiff gives numbers in the order of bytes of the machine.
    if tile[0] == "libtiff" and rawmode in _NATIVE:
        return _NATIVE[rawmode]
    # Pillow takes separate planes of 16 bits for planes of 8.
    if tile[0] == "raw" and len(rawmode) == 1 and _tag(image, _BITS) == 16:
        return rawmode + (";16L" if image.tag_v2.prefix == b"II" else ";16B")
    return rawmode


def _rawmode(tile: Any) -> str:
    args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    return str(args[0]) if args else ""


def _is_misread(image: Any) -> bool:
    """Whether Pillow mistakes the layout of the pixels in a file."""
    return any(_rawmode(tile) != _true_rawmode(tile, image) for tile in _tiles(image))


def _deep_pixels(image: Any, rawmodes: list[str], name: str) -> tuple[Any, np.ndarray]:
    """The loaded image, and its colour or grey with alpha in 16 bits.

    In 8 bits with a warning where Pillow cannot read more.
    """
    rawmode = rawmodes[0]
    if rawmode == "LA;16B" and image.mode == "RGBA":
        loaded = _loaded(image, ["RGBA"])
        return loaded, np.array(loaded).view(">u2").astype(np.uint16)
    high = _loaded(image, rawmodes)
    is_whole = image.tile[0][0] != "libtiff" or _tag(image, _PLANES) != _SEPARATE
    # Of premultiplied colour, "RGBa;16L", the low bytes alone mean nothing.
    has_order = rawmode[:-1] in _DEEP_RAWMODES
    if image.mode not in _DEEP_MODES or not (is_whole and has_order):
        _warn_of_lost_bits(name)
        return high, _pixels(high, name)
    low = _loaded(image, [r[:-1] + _OTHER_ORDER[r[-1]] for r in rawmodes])
    return high, np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)


def _is_deep_colour(image: Any) -> bool:
    """Whether Pillow drops bits of an image that is not loaded."""
    if image.mode not in _MODES_OF_8_BITS or not _tiles(image):
        return False
    args = image.tile[0][3]
    is_deep_ppm = image.format == "PPM" and isinstance(args, tuple) and args[-1] > 255
    return is_deep_ppm or ";16" in _rawmodes(image)[0]


def _warn_of_lost_bits(name: str, advice: str = _ADVICE) -> None:
    warn_user(
        f"{name} has more than 8 bits a channel, of which 8 are read; {advice}, if you "
        "need them all."
    )


def _loaded(image: Any, rawmodes: list[str]) -> Any:
    """The image, loaded anew from its file as if it had other layouts of pixels."""
    again = sys.modules["PIL.Image"].open(image.fp)
    again.tile = [
        _with_rawmode(tile, rawmode)
        for tile, rawmode in zip(again.tile, rawmodes, strict=True)
    ]
    again.load()
    # Some versions exchange height and width as they turn an image on its side.
    if again.mode != image.mode or sorted(again.size) != sorted(image.size):
        raise _RefusedError(
            f"A file of the layout {rawmodes[0]!r} cannot be read safely with Pillow "
            f"{sys.modules['PIL'].__version__}; {_ADVICE}."
        )
    return again


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    args = (rawmode, *tile[3][1:]) if isinstance(tile[3], tuple) else rawmode
    # Parts are plain tuples in older versions of Pillow.
    if hasattr(tile, "_replace"):
        return tile._replace(args=args)
    return (*tile[:3], args)


def _pixels(image: Any, name: str) -> np.ndarray:
    """Pixels of a loaded image, with alpha as the last of 2 or 4 channels."""
    mode = image.mode
    if mode in _GREY_WITH_ALPHA:
        return np.asarray(image.convert("LA"))
    palette = image.palette.mode if mode == "P" else ""
    if mode in _COLOUR_WITH_ALPHA or palette.endswith("A"):
        return np.asarray(image.convert("RGBA"))
    if mode == "P" and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    if mode in _COLOUR:
        return np.asarray(image.convert("RGB"))
    if mode == "1":
        return np.asarray(image.convert("L"))
    if mode in ("L", "I", "F") or mode.startswith("I;16"):
        return _grey(np.asarray(image), image, name)
    raise _RefusedError(
        f"{name} has pixels of Pillow's mode {mode!r}; convert it to grey or RGB."
    )


def _grey(pixels: np.ndarray, image: Any, name: str) -> np.ndarray:
    """Grey pixels in the type that they have in their file."""
    bits, kind = _tag(image, _BITS), _tag(image, _FORMAT)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return pixels.astype(np.uint16)
    if image.mode == "L" and kind == _SIGNED:
        return pixels.view(np.int8)
    if image.mode == "I" and kind == _UNSIGNED:
        return pixels.view(np.uint32)
    if image.mode == "I" and bits == 16:
        return pixels.astype(np.int16)
    is_negative = _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE
    if image.mode == "F" and is_negative:
        raise _RefusedError(
            f"{name} is a TIFF of floats in which the smallest value is white; "
            f"{_ADVICE}, with black as the smallest."
        )
    if image.mode.startswith("I;16"):
        return (65535 - pixels if is_negative else pixels).astype(np.uint16)
    return pixels


def _tag(image: Any, tag: int) -> Any:
    """The value of a tag of TIFF, of the first channel; None for other images."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    value = tags.get(tag, _UNSIGNED if tag == _FORMAT else None)
    return value[0] if isinstance(value, tuple) else value


def _with_key_as_alpha(pixels: np.ndarray, image: Any, rawmode: str) -> np.ndarray:
    """Pixels with alpha, if one grey level or colour of the image is transparent."""
    key = image.info.get("transparency")
    n_channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if key is None or isinstance(key, bytes) or n_channels not in (1, 3):
        return pixels
    white = 65535 if pixels.dtype == np.uint16 else 255
    # Pillow spreads 2 and 4 bits over 8, but not the key.
    key = np.atleast_1d(key) * {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    if len(key) != n_channels:
        return pixels
    if pixels.dtype == np.uint8 and key.max() > white:
        key = key >> 8
    colours = pixels.reshape(*pixels.shape[:2], n_channels)
    alpha = np.where((colours == key).all(axis=2), 0, white).astype(pixels.dtype)
    return np.dstack([pixels, alpha])


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels turned as EXIF's orientation says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
