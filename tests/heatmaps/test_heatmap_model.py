"""Heatmaps in tiles, against those of whole images; arrays of the user as output."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from torch import nn

from sklearn_similar import SimilarNetClassifier, SmallCNN

LARGE = (213, 201)


@pytest.fixture
def small_tiles():
    """Images of more than 80 x 80 pixels are large."""
    with config_context(working_memory=80**2 / 1024):
        yield


@pytest.fixture
def page(digits):
    """Digits on noise, and some across the borders of tiles."""
    rng = np.random.RandomState(0)
    image = rng.randint(0, 100, LARGE).astype(np.uint8)
    for row, digit in zip(range(3, 185, 40), digits.X, strict=False):
        for left in range(2, 170, 60):
            image[row : row + 28, left : left + 28] = digit
    return image


@pytest.fixture(scope="module")
def networks(digits, quick):
    X, y = digits.X, digits.y
    two_layers = ["features.relu2", "features.relu3"]
    return {
        "LeNet": quick().fit(X, y),
        "SmallCNN": quick(module=SmallCNN).fit(X, y),
        "two layers": quick(module=SmallCNN, layer=two_layers).fit(X, y),
        "class weights": quick(class_heatmap="softmax").fit(X, y),
    }


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", ["LeNet", "SmallCNN", "two layers", "class weights"])
@pytest.mark.parametrize("target", [None, 3, [1, 2]])
def test_tiles_give_the_heatmap_of_the_whole_image(
    networks, page, name, resolution, target
):
    model = networks[name].set_params(resolution=resolution)
    for normalize in ("validation", "image"):
        model.set_params(normalize=normalize)
        (whole,) = model.heatmap([page], target)
        with config_context(working_memory=80**2 / 1024):
            (tiled,) = model.heatmap([page], target)
        # Near zero, the root in the mean of two layers enlarges what is rounded.
        power = 2 if name == "two layers" else 1
        scale = max(1, whole.max())
        actual, expected = (tiled / scale) ** power, (whole / scale) ** power
        assert_allclose(actual, expected, rtol=0, atol=power * 1e-5)


def test_a_stored_image_is_read_by_tiles_into_a_stored_heatmap(
    networks, page, small_tiles, tmp_path
):
    model = networks["LeNet"].set_params(resolution="pooled", normalize="validation")

    class Stored:
        shape, dtype, most = page.shape, page.dtype, 0

        def __getitem__(self, window):
            part = page[window]
            Stored.most = max(Stored.most, part.size)
            return part

    expected = model.transform([page])
    out = np.memmap(tmp_path / "heat", np.float32, "w+", shape=LARGE)
    found = model.transform([Stored()], out=[out])
    assert found[0] is out
    assert_array_equal(out, expected[0])


def test_memory_maps_of_images_go_into_memory_maps_of_heatmaps(
    fitted, digits, tmp_path
):
    rows = digits.X_test.reshape(len(digits.X_test), -1)
    for X in (digits.X_test, rows):
        out = np.memmap(tmp_path / "heat", np.float32, "w+", shape=X.shape)
        assert fitted.transform(X, out=out) is out
        assert_array_equal(out, fitted.transform(X))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((3, 28, 27), np.float32), "out is an array of 3x28x27"),
        (np.empty((3, 28, 28), np.uint8), "out has dtype uint8"),
        ([np.empty((28, 28))] * 3, "out is a list"),
    ],
)
def test_output_of_another_shape_or_type_is_refused(fitted, digits, out, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fitted.transform(digits.X_test[:3], out=out)


class Squeezed(nn.Module):
    """Every activation depends on the whole image."""

    def __init__(self, n_classes=10):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.linear = nn.Linear(4, n_classes)

    def forward(self, images):
        maps = self.conv(images).relu()
        maps = self.last(maps * maps.mean(dim=(2, 3), keepdim=True).sigmoid()).relu()
        return self.linear(maps.mean(dim=(2, 3)))


def test_a_network_that_sees_the_whole_image_gets_it_with_a_warning(digits, page):
    model = SimilarNetClassifier(Squeezed, "last", max_epochs=1, random_state=0)
    model.fit(digits.X, digits.y)
    (whole,) = model.heatmap([page])
    with (
        config_context(working_memory=1),
        pytest.warns(UserWarning, match="213x201 pixels is made in one piece.*all of"),
    ):
        (untiled,) = model.heatmap([page])
    assert_array_equal(untiled, whole)
