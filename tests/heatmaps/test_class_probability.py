"""Class probabilities at each pixel, against crops of the feature maps."""

import networks
import numpy as np
import pytest
import torch
from heat import draw
from networks import N_CLASSES, as_network, feature_maps, trained
from sklearn import config_context

from sklearn_similar import LeNet, SimilarNetClassifier
from sklearn_similar._heatmaps.class_probability import (
    ClassHead,
    probability_at_pixels,
    window_probabilities,
)
from sklearn_similar._network.forward import eval_mode
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import pointing_game

BUILDS = {
    "LeNet": (lambda: LeNet(N_CLASSES, (16, 16), 3), "features.relu2"),
    "VGG": (networks.vgg, "5"),
    "residual": (networks.resnet, "2"),
    "densely connected": (networks.densenet, "6"),
}


def draw_images(n_images, height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n_images, 3, height, width, generator=generator)


@pytest.mark.parametrize("name", BUILDS)
def test_a_window_that_is_all_of_an_image_has_the_networks_probabilities(name):
    build, layer = BUILDS[name]
    images = draw_images(3, 16, 16)
    with eval_mode(trained(build)) as module:
        head = ClassHead.trace(as_network(module), layer, (16, 16))
        maps = feature_maps(module, layer, images)
        windows = window_probabilities(head, maps)
        expected = module(images).softmax(dim=1)
    middle = [length // 2 for length in windows.activations.shape[2:]]
    result = windows.activations[:, :, middle[0], middle[1]]
    torch.testing.assert_close(result, expected)
    field = windows.receptive_field
    centre = [
        start + stride * index
        for start, stride, index in zip(field.start, field.stride, middle, strict=True)
    ]
    # The feature maps of a strided network are not quite in the middle of an image.
    assert np.abs(np.array(centre) - 7.5).max() <= 1


def test_each_window_has_the_probabilities_of_its_part_of_the_map():
    build, layer = BUILDS["LeNet"]
    with eval_mode(trained(build)) as module:
        head = ClassHead.trace(as_network(module), layer, (16, 16))
        maps = feature_maps(module, layer, draw_images(2, 40, 30))
        windows = window_probabilities(head, maps)
        # Windows of 8 places begin 2 places outside, and there is one for each place.
        padded = torch.nn.functional.pad(maps.activations, (2, 2, 2, 2))
        assert windows.activations.shape[2:] == (20 + 4 - 7, 15 + 4 - 7)
        for row, column in ((0, 0), (5, 3), (16, 11)):
            part = padded[:, :, row : row + 8, column : column + 8]
            expected = module.classifier(module.features.pool2(part)).softmax(dim=1)
            result = windows.activations[:, :, row, column]
            torch.testing.assert_close(result, expected)
    stride, start = (np.array(v) for v in windows.receptive_field[:2])
    places = np.array(maps.receptive_field.start)
    np.testing.assert_allclose(start, places + 2 * (3.5 - 2))
    np.testing.assert_allclose(stride, 2)


def test_windows_that_are_run_a_few_at_a_time_give_the_same():
    build, layer = BUILDS["VGG"]
    with eval_mode(trained(build)) as module:
        head = ClassHead.trace(as_network(module), layer, (16, 16))
        maps = feature_maps(module, layer, draw_images(2, 40, 30))
        whole = window_probabilities(head, maps)
        with config_context(working_memory=0.2):
            parts = window_probabilities(head, maps)
    torch.testing.assert_close(parts.activations, whole.activations)


def test_images_smaller_than_the_trained_ones_have_a_window():
    build, layer = BUILDS["LeNet"]
    with eval_mode(trained(build)) as module:
        head = ClassHead.trace(as_network(module), layer, (16, 16))
        maps = feature_maps(module, layer, draw_images(2, 9, 30))
        windows = window_probabilities(head, maps)
    assert windows.activations.shape[2] >= 1
    assert windows.activations.isfinite().all()


def test_networks_that_cannot_be_traced_have_no_head():
    with eval_mode(trained(networks.DataDependent)) as module:
        assert ClassHead.trace(as_network(module), "conv2", (16, 16)) is None


def test_the_probability_of_several_classes_is_the_sum_of_theirs():
    maps, _ = draw(np.random.default_rng(0), shape=(3, 4, 12, 9))
    maps = maps._replace(activations=maps.activations.softmax(dim=1))
    every, one, two, both = (
        probability_at_pixels(maps, np.array([targets] * 3), (24, 27), (3.0, 3.0))
        for targets in ([0, 1, 2, 3], [1], [3], [1, 3])
    )
    np.testing.assert_allclose(every, 1, rtol=1e-5)
    np.testing.assert_allclose(both, one + two, rtol=1e-5)
    assert (one - two).abs().max() > 0.05


@pytest.fixture(scope="module")
def sample():
    return load_mnist_sample()


@pytest.fixture(scope="module")
def lenet(sample):
    model = SimilarNetClassifier(lr=3e-3, batch_size=50, max_epochs=4, random_state=0)
    return model.fit(sample.X_train[::2], sample.y_train[::2])


def test_heatmaps_of_a_digit_are_dark_where_it_is_not(lenet, sample):
    X, y = sample.X_test, sample.y_test
    heat = lenet.heatmap(X, 3).max(axis=(1, 2))
    assert np.median(heat[y == 3]) > 0.7
    assert np.median(heat[y != 3]) < 0.1


def test_heatmaps_tell_two_digits_from_each_other(lenet, sample):
    """Filters respond to strokes, which all digits have; their arrangement decides."""
    scenes, truth = make_scenes(
        sample.X_test,
        sample.y_test,
        n_scenes=60,
        size=(48, 72),
        n_instances=(2, 2),
        scale=(0.9, 1.1),
        random_state=0,
    )
    truth = truth[truth.groupby("image")["label"].transform("nunique") == 2]
    images, labels = scenes[truth["image"]], truth["label"].to_numpy(copy=True)
    boxes = truth.assign(image=np.arange(len(truth)))
    assert pointing_game(lenet.heatmap(images, labels=labels), boxes) > 0.7
    contrastive = SimilarNetClassifier(
        lenet.net_.module_,
        max_epochs=0,
        class_heatmap="contrastive",
        random_state=0,
    ).fit(sample.X_train[::2], sample.y_train[::2])
    assert pointing_game(contrastive.heatmap(images, labels=labels), boxes) < 0.65
