"""Small pictures of images and of heatmaps, as text that a page can hold."""

import base64
import io

import numpy as np

from ..display._drawing import picture

# Pixels on the longer side of a picture, of which the first that fits is taken.
_SIDES = (360, 240, 180, 128, 96, 64)
# Bytes of all pictures of a page, before they become text.
_BYTES_OF_PAGE = 15_000_000
# Smaller images are kept bit for bit.
_MAX_LOSSLESS = 64
_JPEG_QUALITY = 80
# Levels of heat: few enough for small files.
_N_LEVELS = 32
# Yellow, orange and red, and how much they cover.
_HEAT_COLOURS = np.array([[255, 237, 160], [254, 178, 76], [240, 59, 32], [189, 0, 38]])
_MAX_COVER = 0.8


def encode(
    image: np.ndarray, heat: np.ndarray | None, max_heat: float, n_images: int
) -> tuple[str, str | None]:
    """Data URIs of an image and of its heatmap, small enough for so many images.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
    heat : ndarray of shape (height, width) or None
    max_heat : float
        The heat that has the strongest colour.
    n_images : int
        Images that share the page.
    """
    from PIL import Image

    full = Image.fromarray(np.rint(picture(image) * 255).astype(np.uint8))
    most = _BYTES_OF_PAGE / n_images
    for side in _SIDES:
        small = full.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        encoded = _encode_image(small)
        covering = None if heat is None else _encode_heat(heat, max_heat, small.size)
        if len(encoded[1]) + len(covering or b"") <= most:
            break
    return _uri(*encoded), None if covering is None else _uri("png", covering)


def _encode_image(image) -> tuple[str, bytes]:
    stream = io.BytesIO()
    if max(image.size) <= _MAX_LOSSLESS:
        image.save(stream, "png", optimize=True)
        return "png", stream.getvalue()
    image.save(stream, "jpeg", quality=_JPEG_QUALITY, optimize=True)
    return "jpeg", stream.getvalue()


def _encode_heat(heat: np.ndarray, max_heat: float, size: tuple[int, int]) -> bytes:
    """A heatmap as colours that cover the more, the hotter it is."""
    from PIL import Image

    scaled = Image.fromarray(heat.astype(np.float32) / np.float32(max_heat))
    scaled = scaled.resize(size, Image.Resampling.BILINEAR)
    share = np.clip(np.asarray(scaled), 0, 1)
    levels = Image.fromarray(np.rint(share * (_N_LEVELS - 1)).astype(np.uint8))
    levels = levels.convert("P")
    position = np.linspace(0, 1, _N_LEVELS)
    anchors = np.linspace(0, 1, len(_HEAT_COLOURS))
    colours = [np.interp(position, anchors, channel) for channel in _HEAT_COLOURS.T]
    levels.putpalette(np.rint(colours).astype(np.uint8).T.tobytes())
    cover = np.rint(position * _MAX_COVER * 255).astype(np.uint8)
    stream = io.BytesIO()
    levels.save(stream, "png", optimize=True, transparency=cover.tobytes())
    return stream.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
