"""Heatmaps in tiles and as rasters, against those of whole images."""

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from torch import nn

from sklearn_similar import SimilarNetClassifier, SmallCNN
from sklearn_similar._images.rasters import Raster

LARGE = (121, 107)


def small_tiles():
    """Images of more than 48 x 48 pixels are large."""
    return config_context(working_memory=48**2 / 1024)


@pytest.fixture(scope="module")
def page(digits):
    """Digits on noise, and some across the borders of tiles."""
    rng = np.random.RandomState(0)
    image = rng.randint(0, 100, LARGE).astype(np.uint8)
    for row, digit in zip(range(3, 93, 40), digits.X, strict=False):
        for left in range(2, 79, 45):
            image[row : row + 28, left : left + 28] = digit
    return image


@pytest.fixture(scope="module")
def models(digits, quick):
    two_layers = ["features.relu2", "features.relu3"]
    return {
        "LeNet": quick(class_heatmap="contrastive").fit(digits.X, digits.y),
        "two layers": quick(module=SmallCNN, layer=two_layers).fit(digits.X, digits.y),
        "class weights": quick(class_heatmap="softmax").fit(digits.X, digits.y),
        "outlined": quick().fit(digits.X, digits.y),
    }


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", ["LeNet", "two layers", "class weights"])
@pytest.mark.parametrize(
    ("target", "normalize"),
    [(None, "validation"), (3, "image"), ([1, 2], "validation")],
)
def test_tiles_give_the_heatmap_of_the_whole_image(
    models, page, name, resolution, target, normalize
):
    model = models[name].set_params(resolution=resolution, normalize=normalize)
    (whole,) = model.heatmap([page], target)
    with small_tiles():
        (tiled,) = model.heatmap([page], target)
    # Near zero, the root in the mean of two layers enlarges rounding.
    power = 2 if name == "two layers" else 1
    scale = max(1, whole.max())
    actual, expected = (tiled / scale) ** power, (whole / scale) ** power
    assert_allclose(actual, expected, rtol=0, atol=power * 1e-5)


@pytest.mark.parametrize("name", ["LeNet", "two layers"])
def test_a_window_of_a_small_image_is_computed_without_the_rest(models, page, name):
    model = models[name].set_params(resolution="pooled", normalize="validation")
    image = Raster.from_tensor(torch.from_numpy(page / np.float32(255))[None])
    n_read = []

    def read(rows, columns):
        n_read.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return image.read(rows, columns)

    (whole,) = model._heatmap_rasters([image])
    (part,) = model._heatmap_rasters([Raster(image.size, read)], in_windows=True)
    window = slice(5, 30), slice(80, 107)
    expected, actual = (heat.read(*window).numpy() for heat in (whole, part))
    power = 2 if name == "two layers" else 1
    scale = max(1, expected.max())
    assert_allclose(
        (actual / scale) ** power, (expected / scale) ** power, atol=power * 1e-5
    )
    assert sum(n_read) < page.size


def test_heat_that_depends_on_the_whole_image_is_not_tiled(models, page):
    model = models["outlined"].set_params(normalize="image")
    image = page[:60, :60]
    (whole,) = model.heatmap([image], 3)
    with small_tiles():
        (untiled,) = model.heatmap([image], 3)
    assert_allclose(untiled, whole, rtol=1e-4, atol=1e-5)


def test_large_and_small_images_can_be_mixed(models, page):
    model = models["LeNet"].set_params(resolution="pooled", normalize="validation")
    images = [page, page[:30, :40], page[20:, 5:], page[30:60, :40]]
    with small_tiles():
        together = model.heatmap(images, labels=[1, 2, 3, 4])
        for image, label, heat in zip(images, range(1, 5), together, strict=True):
            (alone,) = model.heatmap([image], label)
            assert_allclose(heat, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "normalize"),
    [("LeNet", "validation"), ("LeNet", "image"), ("LeNet", None), ("outlined", None)],
)
def test_rasters_have_the_heat_of_the_images(models, page, name, normalize):
    model = models[name].set_params(resolution="pooled", normalize=normalize)
    images = [page[:70, :60], page[:30, :40], page[40:, 50:], page[30:60, :40]]
    rasters = [
        Raster.from_tensor(torch.from_numpy(image / np.float32(255))[None])
        for image in images
    ]
    labels = np.array([[1], [2], [3], [4]])
    for classes in (None, labels):
        with small_tiles():
            heatmaps = model._heatmap_model().rasters(rasters, classes)
            whole = [heat.whole() for heat in heatmaps]
            window = heatmaps[0].read(slice(50, 60), slice(7, 50))
            given = None if classes is None else labels[:, 0]
            expected = model.heatmap(images, labels=given)
        for heat, other in zip(whole, expected, strict=True):
            assert_allclose(heat[0], other, rtol=1e-4, atol=1e-5)
        assert_allclose(window[0], expected[0][50:60, 7:50], rtol=1e-4, atol=1e-5)


def test_rasters_are_computed_when_they_are_read_and_small_ones_together(models):
    model = models["LeNet"].set_params(resolution="pooled", normalize="validation")
    reads = []

    def image(index):
        def read(rows, columns):
            reads.append(index)
            return torch.full((1, rows.stop - rows.start, columns.stop), 0.5)

        return Raster((28, 28), read)

    heatmaps = model._heatmap_model().rasters([image(index) for index in range(4)])
    assert reads == []
    heatmaps[2].whole()
    assert reads == [0, 1, 2, 3]
    heatmaps[0].read(slice(3, 5), slice(0, 9))
    assert reads == [0, 1, 2, 3]


def test_rasters_leave_the_network_in_its_mode(models):
    model = models["LeNet"].set_params(resolution="pooled", normalize="validation")
    module = model.net_.module_.train()
    (heat,) = model._heatmap_model().rasters(
        [Raster.from_tensor(torch.rand(1, 28, 28))]
    )
    heat.whole()
    assert module.training
    module.eval()


def test_a_stored_image_is_read_by_tiles_into_a_stored_heatmap(models, page, tmp_path):
    model = models["LeNet"].set_params(resolution="pooled", normalize="validation")

    pages = np.tile(page, (2, 2))

    class Stored:
        shape, dtype = pages.shape, pages.dtype
        # The range of the values is read in full rows.
        n_reads_of_tiles = 0

        def __getitem__(self, window):
            part = pages[window]
            Stored.n_reads_of_tiles += part.shape[1] < pages.shape[1]
            return part

    with small_tiles():
        expected = model.transform([pages])
        out = np.memmap(tmp_path / "heat", np.float32, "w+", shape=pages.shape)
        returned = model.transform([Stored()], out=[out])
    assert returned[0] is out
    assert Stored.n_reads_of_tiles > 1
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


def test_a_network_that_needs_the_whole_image_gets_it_with_a_warning(digits, page):
    model = SimilarNetClassifier(Squeezed, "last", max_epochs=1, random_state=0)
    model.fit(digits.X, digits.y)
    (whole,) = model.heatmap([page])
    with (
        config_context(working_memory=1),
        pytest.warns(UserWarning, match="121x107 pixels is made in one piece.*all of"),
    ):
        (untiled,) = model.heatmap([page])
    assert_array_equal(untiled, whole)
