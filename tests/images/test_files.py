"""Images from files: every kind of pixel that Pillow reads."""

import numpy as np
import pytest
from image_files import png_bytes

from sklearn_similar._images.files import (
    ImageFiles,
    image_file_format,
    image_file_size,
    read_crops,
    read_image_file,
)
from sklearn_similar._images.transparency import Fill

Image = pytest.importorskip("PIL.Image")

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)


@pytest.fixture
def stored(tmp_path):
    def store(image, name="a.png", **params):
        image.save(tmp_path / name, **params)
        return tmp_path / name

    return store


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.uint16) * 257])
def test_pixels_are_those_of_the_file(stored, pixels):
    read = read_image_file(stored(Image.fromarray(pixels)))
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels)


def test_a_palette_and_black_and_white_are_pixels_like_others(stored):
    palette = Image.fromarray(GREY).convert("P")
    read = read_image_file(stored(palette))
    np.testing.assert_array_equal(read, np.repeat(GREY[..., None], 3, 2))
    bits = Image.fromarray(GREY > 100)
    np.testing.assert_array_equal(read_image_file(stored(bits)), (GREY > 100) * 255)


@pytest.mark.parametrize(("fill", "level"), [("black", 0), ("white", 255)])
def test_what_is_transparent_is_filled_whatever_colour_it_hides(stored, fill, level):
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:, 0] = 0
    for pixels in (COLOUR, GREY):
        image = Image.fromarray(np.dstack([pixels, alpha]))
        read = read_image_file(stored(image), Fill(fill))
        assert (read[:, 0] == level).all()
        assert read.shape == pixels.shape
        np.testing.assert_array_equal(read[:, 1:], pixels[:, 1:])


def test_several_images_in_a_file_are_refused(stored):
    images = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    path = stored(images[0], "a.gif", save_all=True, append_images=images[1:])
    with pytest.raises(ValueError, match=r"a\.gif' holds 2 images; save each"):
        read_image_file(path)


def test_files_are_read_when_they_are_asked_for(stored, tmp_path):
    paths = [stored(Image.fromarray(GREY)), stored(Image.fromarray(COLOUR), "b.png")]
    files = ImageFiles([*paths, tmp_path / "missing.png"])
    assert len(files) == 3
    assert [image.shape for image in files[:2]] == [(3, 4), (3, 4, 3)]
    np.testing.assert_array_equal(files[0], GREY)
    with pytest.raises(ValueError, match=r"missing\.png"):
        files[2]


def test_crops_of_several_sizes_fit_into_a_square_in_the_middle(stored):
    wide, tall = np.full((10, 40), 200, np.uint8), np.full((56, 28), 100, np.uint8)
    paths = [stored(Image.fromarray(p), f"{i}.png") for i, p in enumerate((wide, tall))]
    crops, are_scaled = read_crops(paths, None, is_dark=False)
    assert are_scaled
    assert crops.shape == (2, 28, 28)
    expected = np.zeros((2, 28, 28), np.uint8)
    expected[0, 10:17] = 200
    expected[1, :, 7:21] = 100
    np.testing.assert_array_equal(crops[:, 11:16], expected[:, 11:16])
    assert ((crops > 0) == (expected > 0)).all()


def test_crops_of_one_size_stay_as_they_are_and_dark_ones_become_bright(stored):
    path = stored(Image.fromarray(GREY))
    crops, are_scaled = read_crops([path], None, is_dark=True)
    assert not are_scaled
    np.testing.assert_array_equal(crops, [255 - GREY])
    assert read_crops([path], 8, is_dark=False)[0].shape == (1, 8, 8)


def test_grey_crops_among_colour_are_made_colour_and_depths_do_not_mix(stored):
    paths = [stored(Image.fromarray(GREY)), stored(Image.fromarray(COLOUR), "b.png")]
    crops, _ = read_crops(paths, None, is_dark=False)
    np.testing.assert_array_equal(crops[1], COLOUR)
    np.testing.assert_array_equal(crops[0][..., 2], GREY)
    deep = stored(Image.fromarray(GREY.astype(np.uint16)), "c.png")
    with pytest.raises(ValueError, match=r"a\.png' has pixels of the type uint8"):
        read_crops([paths[0], deep], None, is_dark=False)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_the_size_is_that_of_the_upright_image(stored, orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = stored(Image.fromarray(COLOUR), "a.jpg", exif=exif)
    assert image_file_size(path) == read_image_file(path).shape[:2]


@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "bmp", "webp"])
def test_the_size_is_read_from_any_format(stored, suffix):
    path = stored(Image.fromarray(COLOUR), f"a.{suffix}")
    assert image_file_size(path) == (3, 4)


def test_the_size_needs_no_pixels(stored):
    path = stored(Image.fromarray(np.tile(COLOUR, (50, 50, 1))), "a.bmp")
    path.write_bytes(path.read_bytes()[:200])
    assert image_file_size(path) == (150, 200)


def test_other_files_have_no_size(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"a.png' cannot be read as an image\.$"):
        image_file_size(path)


def test_the_format_of_grey_with_alpha_is_grey_in_any_depth(tmp_path):
    grey = np.dstack([GREY, np.full_like(GREY, 255)])
    for n_bits in (8, 16):
        path = tmp_path / f"{n_bits}.png"
        path.write_bytes(png_bytes(grey.astype(f"u{n_bits // 8}"), n_bits=n_bits))
        assert image_file_format(path) == (GREY.shape, True)
