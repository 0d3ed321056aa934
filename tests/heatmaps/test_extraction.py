"""Heatmaps before normalisation, and their independence of other images."""

from dataclasses import replace
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, feature_maps, trained

from sklearn_similar import LeNet
from sklearn_similar._heatmaps.class_map import ClassMapState
from sklearn_similar._heatmaps.extraction import (
    ActivationExtractor,
    HeatmapSpecification,
    compute_heatmaps,
)
from sklearn_similar._heatmaps.maps import interpolate_to_pixels, weighted_sum
from sklearn_similar._heatmaps.methods import CLASS_MAPS
from sklearn_similar._heatmaps.methods.contrastive import (
    class_scores,
    competing_shares,
    contrastive_map,
    contrastive_weights,
)
from sklearn_similar._network.forward import eval_mode

CONSTANTS = np.linspace(0.5, 2, N_CLASSES)


def lenet():
    return LeNet(N_CLASSES, (16, 16), 3)


# Network, and its layers from the last one back.
NETWORKS = {
    "LeNet": (lenet, ("features.relu2", "features.relu1")),
    "VGG": (networks.vgg, ("5", "1", "4")),
    "residual": (networks.resnet, ("2", "1")),
    "densely connected": (networks.densenet, ("6", "1")),
    "separable": (networks.separable, ("10", "5")),
    "squeeze and excitation": (networks.squeeze_excitation, ("6", "1")),
}


def draw_images(n_images, size=(16, 16)):
    return torch.rand(n_images, 3, *size, generator=torch.Generator().manual_seed(0))


def maps_of(module, layer, images, resolution="pooled"):
    with eval_mode(module):
        return feature_maps(module, layer, images, resolution)


def specify(module, layers, resolution="pooled", class_map="contrastive"):
    rng = np.random.default_rng(0)
    images = draw_images(1)
    counts = [maps_of(module, name, images).activations.shape[1] for name in layers]
    return HeatmapSpecification(
        layers=tuple(layers),
        filter_weights=tuple(np.linspace(0.1, 1, count) for count in counts),
        class_map=CLASS_MAPS[class_map],
        class_state=ClassMapState(
            log_odds_drops=rng.normal(size=(N_CLASSES, N_CLASSES, counts[-1])),
            score_constants=rng.uniform(0.5, 2, N_CLASSES),
            filter_weights=rng.random((N_CLASSES, counts[-1])),
            normalization_constants=CONSTANTS,
            trained_size=(16, 24),
        ),
        resolution=resolution,
    )


def heat_of(module, images, specification, targets=None, parts=None):
    """Heatmaps of images in batches of these indices, in the order of the images."""
    result = {}
    parts = [np.arange(len(images))] if parts is None else parts
    if targets is not None:
        targets = np.broadcast_to(targets, (len(images), np.shape(targets)[-1]))
    network = SimpleNamespace(
        known_fields={},
        module=module,
        batches=lambda images, _: ((part, images[part]) for part in parts),
    )
    with eval_mode(module):
        extractor = ActivationExtractor(network, specification, targets is not None)
        for activations in extractor.batches(images):
            indices = activations.indices
            classes = None if targets is None else targets[indices].copy()
            heat = compute_heatmaps(activations, specification, classes)
            result.update(zip(indices.tolist(), heat, strict=True))
    return np.stack([result[index] for index in range(len(images))])


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("targets", [None, [1], [0, 2]])
def test_an_image_alone_in_a_batch_or_in_any_order_has_the_same_heat(
    name, n_layers, targets, resolution
):
    build, layers = NETWORKS[name]
    module = trained(build)
    size = (16, 16) if targets else (37, 22)
    specification = specify(module, layers[:n_layers][::-1], resolution)
    images = draw_images(7, size)
    together = heat_of(module, images, specification, targets)
    assert together.shape == (7, *size)
    assert together.dtype == np.float32
    assert together.max() > 0
    order = np.array([4, 0, 6, 1, 3, 2, 5])
    for parts in ([order[:3], order[3:]], np.arange(7)[:, np.newaxis]):
        other = heat_of(module, images, specification, targets, parts)
        scale = together.max(axis=(1, 2), keepdims=True)
        # Near zero, the root in the mean of several layers enlarges what is rounded.
        actual, expected = (other / scale) ** n_layers, (together / scale) ** n_layers
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("class_map", ["linear", "contrastive"])
def test_targets_can_differ_between_images(class_map):
    module, images = trained(lenet), draw_images(5)
    layers = ("features.relu1", "features.relu2")
    specification = specify(module, layers, class_map=class_map)
    targets = np.array([[3, 0], [1, 2], [0, 1], [3, 0], [2, 3]])
    parts = [np.array([4, 1]), np.array([0, 3, 2])]
    result = heat_of(module, images, specification, targets, parts)
    for index, of_image in enumerate(targets):
        alone = heat_of(module, images[index : index + 1], specification, of_image)
        np.testing.assert_allclose(result[index], alone[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", NETWORKS)
def test_heat_of_one_layer_is_its_weighted_sum_bit_for_bit(name, resolution):
    build, (layer, *_) = NETWORKS[name]
    module, images = trained(build), draw_images(3)
    specification = specify(module, (layer,), resolution)
    maps = maps_of(module, layer, images, resolution)
    heat = weighted_sum(
        maps, torch.from_numpy(specification.filter_weights[0][None]).float()
    )
    expected = interpolate_to_pixels(heat, maps, (16, 16))[:, 0]
    np.testing.assert_array_equal(heat_of(module, images, specification), expected)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", NETWORKS)
def test_heat_of_several_layers_is_the_geometric_mean_of_theirs(name, resolution):
    build, layers = NETWORKS[name]
    module, images = trained(build), draw_images(3)
    specification = specify(module, layers, resolution)
    single = [
        heat_of(
            module,
            images,
            replace(specification, layers=(layer,), filter_weights=(weights,)),
        )
        for layer, weights in zip(
            specification.layers, specification.filter_weights, strict=True
        )
    ]
    expected = np.prod(single, axis=0) ** (1 / len(layers))
    result = heat_of(module, images, specification)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
    # In any order.
    reordered = replace(
        specification,
        layers=layers[::-1],
        filter_weights=specification.filter_weights[::-1],
    )
    np.testing.assert_allclose(heat_of(module, images, reordered), result, rtol=1e-5)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("targets", [[3], [0, 1]])
def test_heat_of_a_class_is_the_geometric_mean_with_the_contrastive_map(
    n_layers, targets, resolution
):
    module, images = trained(lenet), draw_images(3, (24, 19))
    layers = ("features.relu1", "features.relu2")[-n_layers:]
    specification = specify(module, layers, resolution)
    of_all_classes = heat_of(module, images, specification)
    maps = maps_of(module, "features.relu2", images, resolution)
    weights = contrastive_weights(specification.class_state)
    scores = class_scores(maps.activations.relu().mean(dim=(2, 3)), weights)
    classes = torch.tensor([targets] * 3)
    shares = competing_shares(scores, weights, classes)
    contrast = contrastive_map(maps, weights, classes, shares)
    contrast = interpolate_to_pixels(contrast, maps, (24, 19))[:, 0].numpy()
    assert contrast.max() > 0
    result = heat_of(module, images, specification, targets)
    np.testing.assert_allclose(result, np.sqrt(of_all_classes * contrast), 1e-5, 1e-7)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_weighted_heat_of_classes_has_their_mean_weights_in_the_last_layer(
    n_layers,
):
    module, images = trained(lenet), draw_images(3)
    layers = ("features.relu1", "features.relu2")[-n_layers:]
    specification = specify(module, layers, class_map="linear")
    # Only one factor of the geometric mean has the classes' weights.
    scales = CONSTANTS[[1, 3]] ** n_layers
    shares = specification.class_state.filter_weights[[1, 3]] / scales[:, None]
    mean = shares.mean(axis=0) * scales.mean()
    expected = replace(
        specification, filter_weights=(*specification.filter_weights[:-1], mean)
    )
    np.testing.assert_allclose(
        heat_of(module, images, specification, [1, 3]),
        heat_of(module, images, expected),
        rtol=1e-5,
    )


def test_an_image_without_activations_has_no_heat():
    module, images = trained(networks.vgg), draw_images(2)
    torch.nn.init.constant_(module[4].bias, -1e3)
    specification = specify(module, ("1", "5"))
    for targets in (None, [1]):
        assert not heat_of(module, images, specification, targets).any()
