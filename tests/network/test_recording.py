"""Recorded activations, against those that are extracted by themselves."""

import networks
import numpy as np
import pytest
import torch
from networks import as_images, as_network, trained

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._heatmaps.calibration import recorded_activations
from sklearn_similar._heatmaps.extraction import (
    HeatmapSpecification,
    image_activations,
)
from sklearn_similar._network.activations import eval_mode
from sklearn_similar._network.recording import ActivationRecorder

LAYERS, OUTLINE = ("5",), "1"
CHOSEN = np.array([1, 4, 5, 11])


def uniform(*shape):
    return np.random.RandomState(0).uniform(size=shape).astype(np.float32)


@pytest.fixture
def network():
    with eval_mode(trained(networks.vgg)) as module:
        yield as_network(module)


@pytest.fixture
def images():
    return torch.from_numpy(uniform(12, 3, 16, 16))


def record(network, images, outline=OUTLINE, chosen=CHOSEN, n_at_once=5):
    recorder = ActivationRecorder(network, LAYERS, outline, chosen)
    for start in range(0, len(images), n_at_once):
        batch = images[start : start + n_at_once]
        with recorder.recording(np.arange(start, start + len(batch)), batch):
            network.module(batch)
    return recorded_activations(recorder, specification(outline))


def specification(outline):
    return HeatmapSpecification(
        layers=LAYERS,
        filter_weights=(),
        class_filter_weights=np.empty(0),
        contrastive=None,
        resolution="pooled",
        outline_layer=outline,
        trained_size=None if outline is None else (16, 16),
    )


def extract(network, images, outline):
    (extracted,) = image_activations(
        network, specification(outline), as_images(images), CHOSEN
    )
    return extracted


@pytest.mark.parametrize("outline", [OUTLINE, None])
def test_recorded_activations_are_those_that_are_extracted(network, images, outline):
    (found,) = record(network, images, outline)
    expected = extract(network, images, outline)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert tuple(found.size) == tuple(expected.size)
    maps, others = (
        [*part.feature_maps, *([part.outline_maps] if outline else [])]
        for part in (found, expected)
    )
    for one, other in zip(maps, others, strict=True):
        torch.testing.assert_close(one.activations, other.activations)
        assert one[1:] == other[1:]
    if outline is None:
        assert found.output is found.outline_maps is expected.output is None
    else:
        torch.testing.assert_close(found.output, expected.output)


def test_many_activations_come_in_parts(network, images, monkeypatch):
    monkeypatch.setattr("sklearn_similar._network.recording._MAX_VALUES", 1)
    parts = record(network, images)
    assert [part.indices.tolist() for part in parts] == [[1], [4], [5], [11]]


def test_what_cannot_be_held_or_was_not_seen_is_not_there(network, images, monkeypatch):
    assert record(network, images[:11]) is None
    assert record(network, images, chosen=CHOSEN[:0]) is None
    monkeypatch.setattr("sklearn_similar._network.recording.MAX_HELD", 4000)
    assert record(network, images) is None


@pytest.mark.filterwarnings("ignore:The network recognises")
def test_constants_are_the_same_without_a_recording(monkeypatch):
    X = uniform(60, 16, 16, 3)
    y = np.arange(60) % networks.N_CLASSES
    settings = {"max_epochs": 0, "validation_fraction": 0.5, "random_state": 0}
    model = SimilarNetClassifier(trained(networks.vgg), **settings).fit(X, y)
    monkeypatch.setattr(ActivationRecorder, "recordings", lambda _: None)
    other = SimilarNetClassifier(trained(networks.vgg), **settings).fit(X, y)
    assert model.outline_layer_ is not None
    for name in (
        "normalization_constant_",
        "class_normalization_constants_",
        "class_score_constants_",
    ):
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), 1e-5)
