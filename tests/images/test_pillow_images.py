"""Images of all kinds, read alike as files, as Pillow's images and as arrays."""

import io
import warnings

import numpy as np
import pytest
from image_files import png_bytes, tiff_bytes
from numpy.testing import assert_array_equal

from sklearn_similar._images.files import image_file_size, read_image_file
from sklearn_similar._images.reading import read_image, read_images
from sklearn_similar._images.transparency import Fill

Image = pytest.importorskip("PIL.Image", reason="files are read by Pillow")
ImageSequence = pytest.importorskip("PIL.ImageSequence", reason="files of Pillow")

DEEP_COLOUR = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), np.uint16)
DEEP = DEEP_COLOUR[..., 0].copy()
COLOUR, GREY = (DEEP_COLOUR >> 8).astype(np.uint8), (DEEP >> 8).astype(np.uint8)
# The colours of a palette; the last is transparent in some files.
PALETTE = COLOUR.reshape(-1, 3)[:8] | 128
INDEX = GREY // 32
BITS = GREY > 127
SIGNED = (GREY.astype(np.int16) - 128).astype(np.int8)
FLOAT = DEEP.astype(np.float32) / 65535 - 0.25
# Opaque, transparent and between, in rows.
ALPHA = np.repeat(np.uint8([255, 0, 255, 51, 255]), 7).reshape(5, 7)
BRIGHT = np.maximum(GREY, 180)


def saved(image, format="PNG", **params):
    file = io.BytesIO()
    image.save(file, format, **params)
    return file.getvalue()


def tiff(image, **params):
    return saved(image, "TIFF", **params)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def on(level, pixels, alpha=ALPHA):
    """Pixels on a background of a level, from 0 to 255, in the type of the pixels."""
    white = np.iinfo(pixels.dtype).max
    share = alpha / 255
    if pixels.ndim == 3:
        share = share[..., np.newaxis]
    mixed = share * pixels + (1 - share) * level / 255 * white
    return np.rint(mixed).astype(pixels.dtype)


def with_palette(transparency=None):
    image = Image.fromarray(INDEX).convert("L")
    image.putpalette(PALETTE.tobytes())
    return saved(image) if transparency is None else saved(image, transparency=7)


def turned(pixels, orientation):
    """Pixels such that the orientation of EXIF turns them upright."""
    inverse = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return inverse[orientation](pixels) if orientation > 1 else pixels


RGB = Image.fromarray(COLOUR)
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257
# Name: the bytes of a file, and its pixels.
KINDS = {
    "PNG, grey, 1 bit": (png_bytes(BITS, n_bits=1), BITS * np.uint8(255)),
    "PNG, grey, 2 bits": (png_bytes(GREY >> 6, n_bits=2), (GREY >> 6) * 85),
    "PNG, grey, 4 bits": (png_bytes(GREY >> 4, n_bits=4), (GREY >> 4) * 17),
    "PNG, grey, 8 bits": (png_bytes(GREY, n_bits=8), GREY),
    "PNG, grey, 16 bits": (png_bytes(DEEP, n_bits=16), DEEP),
    "PNG, colour, 8 bits": (png_bytes(COLOUR, n_bits=8), COLOUR),
    "PNG, colour, 16 bits": (png_bytes(DEEP_COLOUR, n_bits=16), DEEP_COLOUR),
    "PNG, palette": (with_palette(), PALETTE[INDEX]),
    "PNG, palette, a transparent colour": (
        with_palette(7),
        np.where(INDEX[..., np.newaxis] == 7, np.uint8(0), PALETTE[INDEX]),
    ),
    "PNG, grey with alpha": (
        png_bytes(np.dstack([BRIGHT, ALPHA]), n_bits=8),
        on(0, BRIGHT),
    ),
    "PNG, grey with alpha, 16 bits": (
        png_bytes(np.dstack([DEEP | 32768, DEEP_ALPHA]), n_bits=16),
        on(0, DEEP | 32768),
    ),
    "PNG, colour with alpha": (
        png_bytes(np.dstack([COLOUR | 128, ALPHA]), n_bits=8),
        on(0, COLOUR | 128),
    ),
    "PNG, colour with alpha, 16 bits": (
        png_bytes(np.dstack([DEEP_COLOUR | 32768, DEEP_ALPHA]), n_bits=16),
        on(0, DEEP_COLOUR | 32768),
    ),
    "PNG, a transparent grey level": (
        png_bytes(BRIGHT, n_bits=8, transparent=(180,)),
        np.where(BRIGHT == 180, 0, BRIGHT),
    ),
    "PNG, a transparent grey level of 4 bits": (
        png_bytes(np.maximum(GREY >> 4, 9), n_bits=4, transparent=(9,)),
        np.where(GREY >> 4 <= 9, 0, (GREY >> 4) * 17),
    ),
    "PNG, a transparent grey level of 16 bits": (
        png_bytes(np.maximum(DEEP, 40000), n_bits=16, transparent=(40000,)),
        np.where(DEEP <= 40000, 0, DEEP),
    ),
    "PNG, a transparent colour": (
        png_bytes(COLOUR | 128, n_bits=8, transparent=tuple(COLOUR[0, 0] | 128)),
        on(0, COLOUR | 128, np.where(np.arange(35).reshape(5, 7), 255, 0)),
    ),
    "PNG, a transparent colour of 16 bits": (
        png_bytes(
            DEEP_COLOUR | 32768,
            n_bits=16,
            transparent=tuple(DEEP_COLOUR[0, 0] | 32768),
        ),
        on(0, DEEP_COLOUR | 32768, np.where(np.arange(35).reshape(5, 7), 255, 0)),
    ),
    "PGM, 16 bits": (b"P5 7 5 65535\n" + DEEP.astype(">u2").tobytes(), DEEP),
    "PPM, 8 bits": (b"P6 7 5 255\n" + COLOUR.tobytes(), COLOUR),
    "BMP": (saved(RGB, "BMP"), COLOUR),
    "WebP, lossless": (saved(RGB, "WEBP", lossless=True), COLOUR),
    "TIFF, 1 bit": (tiff(Image.fromarray(BITS)), BITS * np.uint8(255)),
    "TIFF, 1 bit, CCITT group 4": (
        tiff(Image.fromarray(BITS), compression="group4"),
        BITS * np.uint8(255),
    ),
    "TIFF, grey, 8 bits": (tiff_bytes(GREY), GREY),
    "TIFF, grey, 8 bits, white is 0": (tiff_bytes(GREY, photometric=0), 255 - GREY),
    "TIFF, grey, 16 bits": (tiff_bytes(DEEP), DEEP),
    "TIFF, grey, 16 bits, big-endian": (tiff_bytes(DEEP, order=">"), DEEP),
    "TIFF, grey, 16 bits, white is 0": (
        tiff_bytes(DEEP, photometric=0),
        65535 - DEEP,
    ),
    "TIFF, grey, 16 bits, white is 0, deflated": (
        tiff_bytes(DEEP, photometric=0, is_deflated=True),
        65535 - DEEP,
    ),
    "TIFF, int8": (tiff_bytes(SIGNED), SIGNED),
    "TIFF, int16": (tiff_bytes(SIGNED * np.int16(99)), SIGNED * np.int16(99)),
    "TIFF, int16, big-endian, deflated": (
        tiff_bytes(SIGNED * np.int16(99), order=">", is_deflated=True),
        SIGNED * np.int16(99),
    ),
    "TIFF, int32, big-endian, deflated": (
        tiff_bytes(SIGNED * np.int32(99999), order=">", is_deflated=True),
        SIGNED * np.int32(99999),
    ),
    "TIFF, uint32": (tiff_bytes(DEEP * np.uint32(65537)), DEEP * np.uint32(65537)),
    "TIFF, float32": (tiff_bytes(FLOAT), FLOAT),
    "TIFF, float32, big-endian": (tiff_bytes(FLOAT, order=">"), FLOAT),
    "TIFF, float32, big-endian, deflated": (
        tiff_bytes(FLOAT, order=">", is_deflated=True),
        FLOAT,
    ),
    "TIFF, colour": (tiff_bytes(COLOUR), COLOUR),
    "TIFF, colour, separate planes": (tiff_bytes(COLOUR, planes=2), COLOUR),
    "TIFF, colour, 16 bits": (tiff_bytes(DEEP_COLOUR), DEEP_COLOUR),
    "TIFF, colour, 16 bits, big-endian": (
        tiff_bytes(DEEP_COLOUR, order=">"),
        DEEP_COLOUR,
    ),
    "TIFF, colour, 16 bits, deflated": (
        tiff_bytes(DEEP_COLOUR, is_deflated=True),
        DEEP_COLOUR,
    ),
    "TIFF, colour, 16 bits, separate planes": (
        tiff_bytes(DEEP_COLOUR, planes=2, order=">"),
        DEEP_COLOUR,
    ),
    "TIFF, colour with alpha, 16 bits": (
        tiff_bytes(np.dstack([DEEP_COLOUR | 32768, DEEP_ALPHA]), alpha=2),
        on(0, DEEP_COLOUR | 32768),
    ),
    "TIFF, LZW": (tiff(RGB, compression="tiff_lzw"), COLOUR),
    "TIFF, PackBits": (tiff(RGB, compression="packbits"), COLOUR),
    **{
        f"TIFF, {name}, orientation {orientation}": (
            tiff_bytes(turned(pixels, orientation), orientation=orientation),
            pixels,
        )
        for name, pixels in [
            ("grey", GREY),
            ("grey, 16 bits", DEEP),
            ("colour", COLOUR),
            ("colour, 16 bits", DEEP_COLOUR),
        ]
        for orientation in range(1, 9)
    },
    **{
        f"PNG, orientation {orientation}": (
            saved(
                Image.fromarray(np.ascontiguousarray(turned(COLOUR, orientation))),
                exif=exif(orientation),
            ),
            COLOUR,
        )
        for orientation in range(1, 9)
    },
}
# Modes of Pillow whose colours other libraries convert otherwise.
CONVERTED = {
    "JPEG": saved(RGB, "JPEG"),
    "JPEG, grey": saved(RGB.convert("L"), "JPEG"),
    "JPEG, CMYK": saved(RGB.convert("CMYK"), "JPEG"),
    "GIF": saved(RGB, "GIF"),
    "TIFF, CMYK": tiff(RGB.convert("CMYK")),
    "TIFF, YCbCr": tiff(RGB.convert("YCbCr")),
    "TIFF, CIELAB": tiff(RGB.convert("LAB")),
    "TIFF, palette": tiff(RGB.convert("P")),
}
PAGES = {"save_all": True, "append_images": [RGB.rotate(180)]}
# Name: the bytes of a file, and why it is refused.
REFUSED = {
    "TIFF, two pages": (tiff(RGB, **PAGES), "holds 2 images; save each in a file by"),
    "GIF, two pages": (saved(RGB, "GIF", **PAGES), "holds 2 images; save each in a"),
    "TIFF, floats, white is 0": (
        tiff_bytes(FLOAT, photometric=0),
        "is a TIFF of floats in which the smallest value is white; read it with",
    ),
    "PNG, cut": (png_bytes(GREY, n_bits=8)[:-30], "cannot be read as an image: "),
}


@pytest.fixture
def store(tmp_path):
    def stored(content):
        # Pillow knows a file by its content.
        path = tmp_path / "image"
        path.write_bytes(content)
        return path

    return stored


def read_object(image):
    return read_image(image, "Image 0 of X", fill=Fill())


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_read_alike_as_path_object_and_array(store, name):
    content, expected = KINDS[name]
    path = store(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image_file(path)
        image = Image.open(path)
        from_object = read_object(image)
    assert read.dtype == expected.dtype
    assert_array_equal(read, expected)
    assert image_file_size(path) == expected.shape[:2]
    from_array = read_object(expected)
    assert from_object.dtype == from_array.dtype
    assert_array_equal(from_object, from_array)
    # The user's image is as it was, and its own pixels can still be loaded.
    image.load()


@pytest.mark.parametrize("name", CONVERTED)
def test_colours_of_other_modes_are_read_as_pillow_converts_them(store, name):
    path = store(CONVERTED[name])
    with Image.open(path) as image:
        mode = "L" if image.mode == "L" else "RGB"
        try:
            expected = np.asarray(image.convert(mode))
        except OSError as error:
            pytest.skip(f"this version of Pillow cannot read its own file: {error}")
    assert_array_equal(read_image_file(path), expected)
    from_object = read_object(Image.open(path))
    assert_array_equal(from_object.reshape(expected.shape), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_alike_as_path_and_object(store, name):
    content, reason = REFUSED[name]
    path = store(content)
    with pytest.raises(ValueError, match=reason) as as_path:
        read_image_file(path)
    with pytest.raises(ValueError, match=reason) as as_object:
        read_object(Image.open(path))
    as_text = str(as_path.value).replace(repr(str(path)), "Image 0 of X")
    assert as_text == str(as_object.value)


@pytest.mark.parametrize(
    "pixels",
    [DEEP.astype(np.float64), DEEP.astype(np.uint64), np.dstack([DEEP, DEEP_ALPHA])],
)
def test_kinds_that_pillow_does_not_know_are_refused_with_a_remedy(store, pixels):
    path = store(tiff_bytes(pixels, alpha=2 if pixels.ndim == 3 else None))
    with pytest.raises(ValueError, match=r"a TIFF of a kind .* with tifffile\.imread"):
        read_image_file(path)


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "RGBX",
        "RGBa",
        "LA",
        "La",
        "PA",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
    ],
)
def test_pillow_images_of_every_mode_look_alike(mode):
    source = RGB.convert("RGBA") if mode == "RGBa" else RGB
    source = RGB.convert("LA") if mode in ("La", "PA") else source
    image = source.convert(mode)
    is_grey = mode in ("1", "L", "LA", "La")
    via = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(mode, image.mode)
    expected = np.asarray(image.convert(via).convert("L" if is_grey else "RGB"))
    read = read_object(image)
    assert read.shape == (5, 7, 1 if is_grey else 3)
    assert_array_equal(read.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("mode", "pixels"),
    [
        ("I", SIGNED.astype(np.int32) * 999),
        ("F", FLOAT),
        ("I;16", DEEP),
        ("I;16B", DEEP),
    ],
)
def test_numbers_of_pillow_keep_their_type(mode, pixels):
    order = ">u2" if mode == "I;16B" else pixels.dtype
    image = Image.frombytes(mode, (7, 5), pixels.astype(order).tobytes())
    read = read_object(image)
    assert read.dtype == pixels.dtype
    assert_array_equal(read[..., 0], pixels)


def test_a_palette_with_its_own_alpha_is_transparent():
    image = Image.fromarray(
        np.dstack([COLOUR | 128, np.where(BITS, 255, 0)[..., None]]).astype(np.uint8)
    ).quantize(16)
    assert image.palette.mode == "RGBA"
    read = read_object(image)
    assert (read[~BITS] == 0).all()
    assert (read[BITS] > 0).any()


def test_loaded_images_that_lost_bits_warn_and_garbled_ones_are_refused(store):
    image = Image.open(store(png_bytes(DEEP_COLOUR, n_bits=16)))
    image.load()
    with pytest.warns(UserWarning, match=r"Image 0 .* more than 8 bits .* pass its"):
        assert_array_equal(read_object(image), COLOUR)
    for content in (
        tiff_bytes(turned(GREY, 6), orientation=6),
        tiff_bytes(FLOAT, order=">", is_deflated=True),
        tiff_bytes(DEEP_COLOUR, planes=2),
    ):
        image = Image.open(store(content))
        image.load()
        with pytest.raises(ValueError, match="Image 0 of X is a TIFF of a kind that"):
            read_object(image)


@pytest.mark.parametrize(
    "content",
    [
        b"P6 7 5 65535\n" + DEEP_COLOUR.astype(">u2").tobytes(),
        tiff_bytes(DEEP_COLOUR, planes=2, is_deflated=True),
        tiff_bytes(np.dstack([DEEP_COLOUR, DEEP]), photometric=5),
    ],
)
def test_bits_that_pillow_drops_are_named(store, content):
    with pytest.warns(UserWarning, match="has more than 8 bits a channel, of which 8"):
        assert read_image_file(store(content)).dtype == np.uint8


def test_an_image_that_is_drafted_smaller_stays_so(store):
    path = store(saved(RGB.resize((64, 64)), "JPEG"))
    image = Image.open(path)
    image.draft("RGB", (16, 16))
    assert read_object(image).shape == (*image.size[::-1], 3)


def test_a_closed_image_is_refused(store):
    with Image.open(store(saved(RGB))) as image:
        pass
    with pytest.raises(ValueError, match="Image 0 of X cannot be read as an image: "):
        read_object(image)


def test_a_list_of_images_of_several_modes_is_a_list_of_arrays():
    images = read_images(
        [RGB.convert("P"), RGB.convert("L"), COLOUR], trained=(5, 7, 3)
    )
    assert [image.shape[2] for image in images.pixels] == [3, 1, 3]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_pages_are_read_as_the_refusal_says(tmp_path, dtype):
    pages = np.arange(24).reshape(3, 2, 4).astype(dtype) * 3
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    with Image.open(tmp_path / "stack.tif") as image:
        with pytest.raises(ValueError, match=r"PIL\.ImageSequence\.Iterator\(image\)"):
            read_image(image, "Image 0 of X")
        copies = [page.copy() for page in ImageSequence.Iterator(image)]
    for copy, page in zip(copies, pages, strict=True):
        pixels = read_image(copy, "Page")[..., 0]
        assert pixels.dtype == dtype
        np.testing.assert_array_equal(pixels, page)


@pytest.mark.parametrize("tiles", [None, (), [("zip", (0, 0, 7, 5), "RGB")], ["zip"]])
def test_parts_of_a_file_in_an_unknown_form_are_refused(tiles):
    """Otherwise, a change in Pillow would silently cost bits."""
    with Image.open(io.BytesIO(png_bytes(DEEP_COLOUR, n_bits=16))) as image:
        image.tile = tiles
        with pytest.raises(
            ValueError, match=r"with Pillow .*, which is not known; read"
        ):
            read_image(image, "Image 0 of X")
