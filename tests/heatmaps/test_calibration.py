"""Normalisation constants, against medians over images one by one."""

from dataclasses import replace
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, as_images, as_network, feature_maps, trained
from sklearn import config_context

from sklearn_similar._heatmaps.calibration import CachedActivations, calibrate
from sklearn_similar._heatmaps.class_map import ClassMapState
from sklearn_similar._heatmaps.extraction import (
    ActivationExtractor,
    HeatmapSpecification,
    compute_heatmaps,
)
from sklearn_similar._heatmaps.methods import CLASS_MAPS
from sklearn_similar._heatmaps.methods.contrastive import (
    class_scores,
    contrastive_weights,
)
from sklearn_similar._network.forward import eval_mode

LAYERS = ("1", "5")
ALL = np.arange(3, 20)


@pytest.fixture
def setting():
    """A network in evaluation mode, images of three classes, and a specification."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((20, 3, 16, 16)).astype(np.float32))
    images *= torch.linspace(0.2, 3, 20)[:, None, None, None]
    drops = rng.normal(size=(N_CLASSES, N_CLASSES, 8))
    specification = HeatmapSpecification(
        layers=LAYERS,
        filter_weights=(rng.random(6), rng.random(8)),
        class_map=CLASS_MAPS["contrastive"],
        class_state=ClassMapState(
            filter_weights=rng.random((N_CLASSES, 8)),
            log_odds_drops=drops,
            trained_size=(16, 16),
        ),
        resolution="pooled",
    )
    with eval_mode(trained(networks.vgg)) as module:
        yield SimpleNamespace(
            network=as_network(module),
            images=images,
            y=np.array([0, 1, 1, 3] * 5),
            specification=specification,
        )


def measure(setting, indices=ALL, background=None):
    return calibrate(
        setting.network,
        setting.specification,
        as_images(setting.images),
        indices,
        setting.y,
        background,
    )


def maximum(setting, index, specification, target=None):
    image = as_images(setting.images[index : index + 1])
    extractor = ActivationExtractor(setting.network, specification, for_classes=True)
    (alone,) = extractor.batches(image)
    classes = None if target is None else np.array([[target]])
    return compute_heatmaps(alone, specification, classes).max()


def scores(setting, indices, label, resolution="pooled"):
    module = setting.network.module
    maps = feature_maps(module, LAYERS[-1], setting.images[indices], resolution)
    weights = contrastive_weights(setting.specification.class_state)
    means = maps.activations.relu().mean(dim=(2, 3))
    return class_scores(means, weights)[:, label].numpy()


def test_the_normalization_constant_is_the_median_maximum_on_the_foreground(setting):
    foreground = [index for index in ALL if setting.y[index] != 3]
    expected = np.median(
        [maximum(setting, index, setting.specification) for index in foreground]
    )
    result = measure(setting, background=3).normalization_constant
    assert result == pytest.approx(expected, rel=1e-5)
    assert result != pytest.approx(measure(setting).normalization_constant, rel=1e-3)


def test_background_alone_gives_a_constant_too(setting):
    indices = np.flatnonzero(setting.y == 1)
    expected = measure(setting, indices).normalization_constant
    result = measure(setting, indices, background=1)
    assert result.normalization_constant == expected


@pytest.mark.parametrize("name", ["linear", "contrastive"])
def test_the_constant_of_a_class_is_the_median_maximum_on_its_images(setting, name):
    setting.specification = replace(setting.specification, class_map=CLASS_MAPS[name])
    result = measure(setting)
    state = replace(
        setting.specification.class_state, score_constants=result.class_score_constants
    )
    specification = replace(setting.specification, class_state=state)
    expected = {
        label: np.median(
            [
                maximum(setting, index, specification, label)
                for index in ALL
                if setting.y[index] == label
            ]
        )
        for label in (0, 1, 3)
    }
    # A class without images has the median of the other constants.
    expected[2] = np.median(list(expected.values()))
    for label, constant in expected.items():
        actual = result.class_normalization_constants[label]
        assert actual == pytest.approx(constant, rel=1e-5)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
def test_the_score_constant_of_a_class_is_the_median_score_on_its_images(
    setting, resolution
):
    setting.specification = replace(setting.specification, resolution=resolution)
    result = measure(setting).class_score_constants
    for label in range(N_CLASSES):
        # For a class without images, on all images.
        indices = [index for index in ALL if setting.y[index] == label] or list(ALL)
        expected = np.median(scores(setting, indices, label, resolution))
        assert result[label] == pytest.approx(expected, rel=1e-4)


def test_class_maps_without_scores_have_no_score_constants(setting):
    class_map = CLASS_MAPS["linear"]
    setting.specification = replace(setting.specification, class_map=class_map)
    assert measure(setting).class_score_constants is None


def test_without_activations_constants_are_1(setting):
    setting.images.zero_()
    torch.nn.init.constant_(setting.network.module[4].bias, -1e3)
    result = measure(setting)
    assert result.normalization_constant == 1
    assert result.class_normalization_constants.tolist() == [1] * N_CLASSES
    assert result.class_score_constants.tolist() == [1] * N_CLASSES


@pytest.mark.parametrize(("working_memory", "n_extractions"), [(1024, 1), (0.1, 3)])
def test_activations_are_cached_while_they_fit_into_the_working_memory(
    setting, working_memory, n_extractions
):
    runs = []
    setting.network.module.register_forward_pre_hook(
        lambda _module, inputs: runs.append(len(inputs[0]))
    )
    extractor = ActivationExtractor(
        setting.network, setting.specification, for_classes=True
    )
    references = CachedActivations(extractor, as_images(setting.images), ALL)
    with config_context(working_memory=working_memory):
        for _ in range(3):
            result = np.concatenate([part.indices for part in references])
            np.testing.assert_array_equal(result, ALL)
    assert sum(runs) == n_extractions * len(ALL)
