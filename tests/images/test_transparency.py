"""Alpha channels: what stands behind transparent pixels, and what seems to be alpha."""

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from image_files import png_bytes
from sklearn import config_context
from sklearn.dummy import DummyClassifier

from sklearn_similar import InstanceLocalizer
from sklearn_similar._images import validation
from sklearn_similar._images.files import ImageFiles, read_crops
from sklearn_similar._images.images import LazyPixels
from sklearn_similar._images.photographs import read_photographs
from sklearn_similar._images.reading import (
    read_image,
    read_images,
    to_numpy,
    uint8_image_list,
)
from sklearn_similar._images.scaling import BY_TYPE, Scaling
from sklearn_similar._images.transparency import (
    Fill,
    LazyOpaquePixels,
    fill_for,
    has_alpha,
    without_alpha,
)
from sklearn_similar.datasets import cut_instances

ALPHA = np.zeros((6, 8))
ALPHA[2:4, 2:6] = 1


def cut_out(level, dtype=np.uint8, n_channels=3, hidden=0.0):
    """An object of a level from 0 to 1 on transparent pixels, which hide another."""
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    colour = np.where(ALPHA, level, hidden)
    channels = [colour] * n_channels + [ALPHA]
    return np.round(np.stack(channels, axis=2) * white, 6).astype(dtype)


@pytest.mark.parametrize(
    ("polarity", "level", "behind"),
    [
        ("bright", 0.9, 0),
        ("bright", 0.4, 0),
        ("dark", 0.1, 1),
        ("dark", 0.6, 1),
        ("both", 0.9, 0),
        ("both", 0.1, 1),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_objects_are_visible_for_what_is_searched(
    polarity, level, behind, dtype, n_channels
):
    fill = fill_for(SimpleNamespace(polarity=polarity))
    for hidden in (0.0, 0.5, 1.0):
        image = cut_out(level, dtype, n_channels, hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opaque = without_alpha(image, fill, "a")
        assert opaque.dtype == dtype
        assert opaque.shape == (6, 8, n_channels)
        white = 1 if dtype == np.float32 else np.iinfo(dtype).max
        np.testing.assert_allclose(opaque[ALPHA == 0], behind * white)
        np.testing.assert_array_equal(opaque[ALPHA == 1], image[ALPHA == 1][:, :-1])


def test_an_object_that_cannot_be_seen_is_named():
    message = (
        "a shows nothing: its visible pixels have grey levels from 0.02 to 0.02, and "
        "its transparent pixels are filled with black; pass polarity='dark' or"
    )
    with pytest.warns(UserWarning, match=message):
        without_alpha(cut_out(5 / 255), Fill("black"), "a")
    with pytest.warns(UserWarning, match="filled with white; pass polarity='bright'"):
        without_alpha(cut_out(1.0), Fill("white"), "a")


@pytest.mark.parametrize("alpha", [0, 1])
def test_plain_images_and_empty_ones_do_not_warn(alpha):
    image = np.dstack([np.zeros((4, 4, 3)), np.full((4, 4), alpha)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (without_alpha(image, Fill("black"), "a") == 0).all()


def test_a_large_image_is_the_same_in_parts():
    image = np.random.default_rng(0).integers(0, 256, (50, 20, 4), np.uint8)
    expected = without_alpha(image, Fill(), "a")
    # 64 of the 2^20 pixels at the default working memory of 1024 MiB.
    with config_context(working_memory=64 / 2**10):
        in_parts = without_alpha(image, Fill(), "a")
    np.testing.assert_array_equal(in_parts, expected)


def test_an_image_that_is_not_in_memory_is_read_window_by_window():
    class Stored:
        def __init__(self, values):
            self.shape, self.dtype, self._values = values.shape, values.dtype, values

        def __getitem__(self, window):
            return self._values[window]

    image = cut_out(0.1)
    lazy = read_image(Stored(image), "a", (28, 28), Fill())
    assert isinstance(lazy, LazyOpaquePixels)
    assert isinstance(lazy, LazyPixels)
    assert lazy.shape == (6, 8, 3)
    expected = without_alpha(image, Fill(), "a")
    np.testing.assert_array_equal(lazy[:, :], expected)
    np.testing.assert_array_equal(lazy[1:3, 2:7], expected[1:3, 2:7])


def test_a_band_is_not_taken_for_alpha():
    band = np.random.default_rng(0).integers(0, 200, (6, 8, 4), np.uint8)
    assert not has_alpha(band)
    with pytest.raises(ValueError, match="has shape 6x8x4 and so 4 channels, but the"):
        read_images([band], (28, 28), fill=Fill("black"))
    # A network of four channels takes all four, whatever they are.
    four = cut_out(0.5)
    (pixels,) = read_images([four], (28, 28, 4), fill=Fill("black")).pixels
    assert pixels.shape == (6, 8, 4)


def test_an_array_of_images_loses_alpha_as_a_list_does():
    X = np.stack([cut_out(0.9), cut_out(0.7)])
    for images in (X, list(X)):
        pixels = read_images(images, (28, 28, 3), fill=Fill("black")).pixels
        np.testing.assert_array_equal(
            np.stack(pixels), [without_alpha(x, Fill("black"), "a") for x in X]
        )


# Values of 10 bits; their alpha has the 16 bits of its type.
DARK, BRIGHT, WHITE_OF_10_BITS = 60, 700, 1023


def of_10_bits(level, n_channels=3):
    """An object on transparent pixels, which hide values of 16 bits."""
    colour = np.where(ALPHA, level, 40000)
    return np.stack([colour] * n_channels + [ALPHA * 65535], axis=2).astype(np.uint16)


@pytest.fixture
def doors(tmp_path):
    """Images of 10 bits as arrays, paths and images of Pillow's."""
    pillow = pytest.importorskip("PIL.Image", reason="images in files")
    arrays = [of_10_bits(DARK), of_10_bits(BRIGHT), of_10_bits(DARK, 1)]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, array in zip(paths, arrays, strict=True):
        path.write_bytes(png_bytes(array, n_bits=16))
    opened = [pillow.open(path) for path in paths]
    yield {"arrays": arrays, "paths": paths, "Pillow": opened}
    for image in opened:
        image.close()


@pytest.mark.parametrize("door", ["arrays", "paths", "Pillow"])
def test_white_behind_10_bits_is_that_of_10_bits(doors, door):
    white, black = WHITE_OF_10_BITS, 0
    for level, behind in [
        ("white", (white, white, white)),
        ("contrast", (white, black, white)),
        ("black", (black, black, black)),
    ]:
        photographs = read_photographs(doors[door], 3, fill=Fill(level))
        assert photographs.scaling.ranges["uint16"] == (0, white)
        for raster, value, given in zip(
            photographs, behind, doors["arrays"], strict=True
        ):
            pixels = raster.whole()
            shown = np.where(ALPHA, given[..., 0], value) / white
            np.testing.assert_allclose(pixels[0], shown, atol=1e-6)


def test_white_of_a_fitted_localizer_is_that_of_its_training_images():
    fitted = SimpleNamespace(polarity="dark", scaling_={"uint16": (0.0, 1023.0)})
    (pixels,) = read_images([of_10_bits(DARK)], fill=fill_for(fitted)).pixels
    np.testing.assert_array_equal(pixels[0, 0], [WHITE_OF_10_BITS] * 3)


@pytest.mark.parametrize("is_array", [True, False])
def test_crops_of_10_bits_are_learnt_as_such(is_array):
    X = [of_10_bits(level) for level in range(300, 500, 5)]
    localizer = InstanceLocalizer(
        DummyClassifier(),
        polarity="dark",
        fills_frame=False,
        n_instance_crops=5,
        n_background_crops=5,
        n_mining_rounds=0,
        random_state=0,
    )
    with warnings.catch_warnings():
        # Calibration and box regression need more images.
        warnings.simplefilter("ignore")
        localizer.fit(np.stack(X) if is_array else X, np.arange(40) % 2)
    assert localizer.scaling_ == {"uint16": (0.0, 1023.0)}
    assert localizer.value_range_[1] == 1


def test_a_classifier_learns_images_of_pillow_of_10_bits(doors, quick):
    X = [doors["Pillow"][index] for index in (0, 1) * 10]
    classifier = quick(validation_fraction=None).fit(X, [0, 1] * 10)
    assert classifier.scaling_ == {"uint16": (0.0, 1023.0)}


def test_white_is_not_learnt_from_images_of_pillow_of_weight_0(doors, quick):
    pillow = pytest.importorskip("PIL.Image", reason="images in files")
    X = [doors["Pillow"][index] for index in (0, 1) * 10]
    deep = of_10_bits(DARK)
    deep[..., :3] = 65535
    X[5] = pillow.open(io.BytesIO(png_bytes(deep, n_bits=16)))
    weights = np.ones(20)
    weights[5] = 0
    classifier = quick(validation_fraction=None)
    classifier.fit(X, [0, 1] * 10, sample_weight=weights)
    assert classifier.scaling_ == {"uint16": (0.0, 1023.0)}


def test_white_behind_images_of_pillow_is_that_of_arrays_in_the_list(
    doors, quick, monkeypatch
):
    X = [doors["Pillow"][0]] * 19 + [np.full((6, 8, 3), 65535, "uint16")]
    fills = []

    def spy(x, name="X", fill=None):
        fills.append(fill)
        return to_numpy(x, name, fill)

    monkeypatch.setattr(validation, "to_numpy", spy)
    classifier = quick(validation_fraction=None).fit(X, [0, 1] * 10)
    assert classifier.scaling_ == {"uint16": (0.0, 65535.0)}
    assert {fill.scaling.limits(np.dtype("uint16")) for fill in fills} == {(0, 65535)}


def test_a_refused_image_of_pillow_is_named_by_its_position(quick):
    pillow = pytest.importorskip("PIL.Image", reason="images in files")
    X = [np.zeros((6, 8), "uint8")] * 10
    page, stream = pillow.fromarray(X[0]), io.BytesIO()
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    X[7] = pillow.open(stream)
    with pytest.raises(ValueError, match="Image 7 of X holds 2 images"):
        quick().fit(X, [0, 1] * 5)


@pytest.mark.parametrize("door", ["arrays", "paths", "Pillow"])
def test_crops_that_are_cut_have_the_white_of_all_images(doors, door):
    instances = pd.DataFrame(
        [[index, "a", 0, 0, 8, 6] for index in (0, 1)],
        columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    )
    crops, _ = cut_instances(doors[door][:2], instances, size=8)
    assert crops[0].max() == WHITE_OF_10_BITS
    assert crops[1].min() == 0


@pytest.mark.parametrize("known", [(0, 1023), (0, 4095), None])
def test_background_images_have_the_white_of_training_images(doors, known):
    scaling = Scaling({"uint16": known}) if known else BY_TYPE
    for images in (
        doors["arrays"][:1],
        ImageFiles(doors["paths"][:1]),
        doors["Pillow"][:1],
    ):
        (pixels,) = uint8_image_list(images, "background_images", scaling)
        assert (pixels[ALPHA == 0] == 255).all()
        dark = round(DARK * 255 / (known or (0, 255))[1])
        assert (pixels[ALPHA == 1] == dark).all()


def test_crops_of_the_command_are_inverted_within_their_bits(doors):
    crops, _ = read_crops(doors["paths"][:2], None, is_dark=True)
    assert (crops[0][ALPHA == 0] == 0).all()
    assert (crops[0][ALPHA == 1] == WHITE_OF_10_BITS - DARK).all()


@pytest.mark.parametrize(
    ("dtype", "value_range", "level", "value"),
    [
        ("uint8", (-20, 200), "black", 0),
        ("uint16", (-100, 4000), "black", 0),
        ("uint16", (0, 100_000), "white", 65535),
        ("int16", (0, 100_000), "white", 32767),
        ("uint32", (0, 2**32 - 1), "white", 2**32 - 1),
        ("bool", (-5, 1), "black", 0),
    ],
)
def test_the_fill_is_the_nearest_value_that_the_type_holds(
    dtype, value_range, level, value
):
    opaque = 65535 if dtype == "uint16" else 1 if dtype == "bool" else 255
    image = np.zeros((2, 2, 2), dtype)
    image[0] = 1, opaque
    image[0, 0, 0] = 100
    fill = Fill(level, Scaling({"any": value_range}))
    with warnings.catch_warnings():
        # Whether the visible pixels differ enough from the fill doesn't matter here.
        warnings.simplefilter("ignore")
        pixels = without_alpha(image, fill, "Image 0")
    np.testing.assert_array_equal(pixels[..., 0], [image[0, :, 0], [value, value]])
