"""Thumbnails of images and heatmaps as data URIs."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..display._drawing import picture

# From yellow to red.
_HEAT_COLOURS = np.array([[255, 237, 160], [254, 178, 76], [240, 59, 32], [189, 0, 38]])


def encode(
    image: np.ndarray,
    heat: np.ndarray | None,
    max_heat: float,
    n_images: int,
    max_bytes: int = 15_000_000,
    sides: Sequence[int] = (1280, 840, 540, 360, 240, 180, 128, 96, 64),
) -> tuple[str, str | None]:
    """Data URIs of an image and its heatmap, small enough for a page of many images.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
    heat : ndarray of shape (height, width) or None
    max_heat : float
        The heat that gets the strongest colour.
    n_images : int
        Number of images on the page.
    max_bytes : int
        Maximum size of all pictures on the page, before base64 encoding.
    sides : sequence of int
        Lengths of the longer side of a picture, the largest of which that fits is used.
    """
    from PIL import Image

    full = Image.fromarray(np.rint(picture(image) * 255).astype(np.uint8))
    for side in _useful_sides(sides, max(full.size), max_bytes / n_images):
        small = full.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        encoded = _encode_image(small)
        overlay = None if heat is None else _encode_heat(heat, max_heat, small)
        if len(encoded[1]) + len(overlay or b"") <= max_bytes / n_images:
            break
    return _uri(*encoded), None if overlay is None else _uri("png", overlay)


def _useful_sides(
    sides: Sequence[int], longest: int, max_bytes: float, min_bytes_per_pixel=0.02
) -> list[int]:
    """Sides that differ for an image, and at which a photograph may be small enough."""
    differing = [min(longest, sides[0]), *(side for side in sides if side < longest)]
    useful = [side for side in differing if side**2 * min_bytes_per_pixel <= max_bytes]
    return list(dict.fromkeys(useful)) or differing[-1:]


def _encode_image(image, max_lossless: int = 64) -> tuple[str, bytes]:
    """The format and the content of a file; small images are compressed losslessly."""
    stream = io.BytesIO()
    if max(image.size) <= max_lossless:
        image.save(stream, "png", optimize=True)
        return "png", stream.getvalue()
    image.save(stream, "jpeg", quality=80, optimize=True)
    return "jpeg", stream.getvalue()


def _encode_heat(
    heat: np.ndarray,
    max_heat: float,
    image: Any,
    n_levels: int = 32,
    max_opacity: float = 0.8,
    max_side: int = 360,
) -> bytes:
    """A heatmap in colours whose opacity grows with the heat; few levels save space.

    It has the size of the image if that is small; browsers enlarge it, as it is smooth.
    """
    from PIL import Image

    factor = min(1.0, max_side / max(image.size))
    width, height = (max(1, round(factor * side)) for side in image.size)
    scaled = Image.fromarray(heat.astype(np.float32) / np.float32(max_heat))
    scaled = scaled.resize((width, height), Image.Resampling.BILINEAR)
    share = np.clip(np.asarray(scaled), 0, 1)
    levels = Image.fromarray(np.rint(share * (n_levels - 1)).astype(np.uint8))
    levels = levels.convert("P")
    position = np.linspace(0, 1, n_levels)
    anchors = np.linspace(0, 1, len(_HEAT_COLOURS))
    colours = [np.interp(position, anchors, channel) for channel in _HEAT_COLOURS.T]
    levels.putpalette(np.rint(colours).astype(np.uint8).T.tobytes())
    opacity = np.rint(position * max_opacity * 255).astype(np.uint8)
    stream = io.BytesIO()
    levels.save(stream, "png", optimize=True, transparency=opacity.tobytes())
    return stream.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
