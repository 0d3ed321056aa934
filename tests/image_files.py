"""Image files of kinds that Pillow does not write: TIFF and PNG, byte by byte."""

import struct
import zlib

import numpy as np

# TIFF's types of numbers that are used here.
_SHORT, _LONG = 3, 4
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff_bytes(
    pixels: np.ndarray,
    *,
    photometric: int | None = None,
    orientation: int = 1,
    planes: int = 1,
    order: str = "<",
    is_deflated: bool = False,
    alpha: int | None = None,
) -> bytes:
    """A TIFF file of one strip for each plane.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, n_channels)
    photometric : int, optional
        By default, grey where 0 is black (1), or RGB (2).
    orientation : int
        How the pixels are to be turned.
    planes : {1, 2}
        2: the channels follow each other.
    order : {"<", ">"}
        Order of bytes.
    is_deflated : bool
    alpha : {1, 2}, optional
        The last channel is alpha, by which colours are multiplied (1) or not (2).
    """
    height, width = pixels.shape[:2]
    channels = np.atleast_3d(pixels)
    n_channels = channels.shape[2]
    parts = np.moveaxis(channels, 2, 0) if planes == 2 else channels[np.newaxis]
    strips = [part.astype(pixels.dtype.newbyteorder(order)).tobytes() for part in parts]
    if is_deflated:
        strips = [zlib.compress(strip) for strip in strips]
    if photometric is None:
        photometric = 1 if n_channels < 3 else 2
    tags = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [8 * pixels.dtype.itemsize] * n_channels),
        259: (_SHORT, [8 if is_deflated else 1]),
        262: (_SHORT, [photometric]),
        273: (_LONG, [0] * len(strips)),
        274: (_SHORT, [orientation]),
        277: (_SHORT, [n_channels]),
        278: (_LONG, [height]),
        279: (_LONG, [len(strip) for strip in strips]),
        284: (_SHORT, [planes]),
        339: (_SHORT, [_FORMATS[pixels.dtype.kind]] * n_channels),
    }
    if alpha is not None:
        tags[338] = (_SHORT, [alpha])
    first = len(_directory(tags, order))
    tags[273] = (_LONG, [first + sum(map(len, strips[:i])) for i in range(len(strips))])
    return _directory(tags, order) + b"".join(strips)


def _directory(tags: dict[int, tuple[int, list[int]]], order: str) -> bytes:
    """The file before its strips: header, tags, and values that exceed their tags."""
    beyond = 8 + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        letter = {_SHORT: "H", _LONG: "I"}[kind]
        value = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(value) > 4:
            values += value
            value = struct.pack(f"{order}I", beyond + len(values) - len(value))
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        entries += value.ljust(4, b"\0")
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    n_tags = struct.pack(f"{order}H", len(tags))
    return header + n_tags + entries + bytes(4) + values


def png_bytes(
    pixels: np.ndarray, *, n_bits: int, transparent: tuple[int, ...] = ()
) -> bytes:
    """A PNG file.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, n_channels)
        Grey, grey with alpha, RGB or RGBA.
    n_bits : {1, 2, 4, 8, 16}
    transparent : tuple of int, optional
        The grey level or colour that is transparent.
    """
    height, width = pixels.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[np.atleast_3d(pixels).shape[2]]
    rows = pixels.reshape(height, -1)
    if n_bits < 8:
        bits = (rows[..., np.newaxis] >> np.arange(n_bits)[::-1]) & 1
        packed = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        packed = rows.astype(f">u{n_bits // 8}")
    header = struct.pack(">IIBBBBB", width, height, n_bits, kind, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if transparent:
        chunks.append(
            _chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
        )
    data = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks += [_chunk(b"IDAT", zlib.compress(data)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum
