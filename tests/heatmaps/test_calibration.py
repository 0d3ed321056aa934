"""The heat that counts as 1, against medians over images one by one."""

from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, trained

from sklearn_similar._heatmaps.calibration import (
    Kept,
    class_heat_scales,
    evidence_scales,
    heat_scale,
)
from sklearn_similar._heatmaps.class_discriminative import Evidence, presence
from sklearn_similar._heatmaps.computation import Recipe, draw, look
from sklearn_similar._network.activations import evaluating, feature_maps

LAYERS = ("1", "5")
ALL = np.arange(3, 20)


@pytest.fixture
def seen():
    """A network in evaluation mode, images of three classes, a recipe, and batches."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((20, 3, 16, 16)).astype(np.float32))
    images *= torch.linspace(0.2, 3, 20)[:, None, None, None]
    margins = rng.normal(size=(N_CLASSES, N_CLASSES, 8))
    evidence = Evidence(margins, rng.uniform(0.5, 2, N_CLASSES), (2.0, 2.0))
    weights = rng.random(6), rng.random(8)
    of_classes, ones = rng.random((N_CLASSES, 8)), np.ones(N_CLASSES)
    recipe = Recipe(LAYERS, weights, of_classes, ones, evidence, "pooled")

    def batches():
        for indices in np.split(ALL, [2, 7, 15]):
            yield indices, images[indices]

    with evaluating(trained(networks.vgg)) as module:
        yield SimpleNamespace(
            module=module,
            images=images,
            y=np.array([0, 1, 1, 3] * 5),
            recipe=recipe,
            batches=batches,
        )


def peak(seen, index, target=None):
    batches = [(np.zeros(1, int), seen.images[index : index + 1])]
    targets = None if target is None else np.array([[target]])
    (alone,) = look(seen.module, batches, seen.recipe)
    return draw(alone, seen.recipe, targets).max()


def references(seen):
    return look(seen.module, seen.batches(), seen.recipe)


def test_the_heat_scale_is_the_median_peak(seen):
    shown = ALL[::2]
    expected = np.median([peak(seen, index) for index in shown])
    found = heat_scale(references(seen), seen.recipe, shown)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("with_evidence", [False, True])
def test_the_scale_of_a_class_is_the_median_peak_on_its_images(seen, with_evidence):
    if not with_evidence:
        seen.recipe = seen.recipe._replace(evidence=None)
    found = class_heat_scales(references(seen), seen.y, N_CLASSES, seen.recipe)
    expected = {
        label: np.median(
            [peak(seen, index, label) for index in ALL if seen.y[index] == label]
        )
        for label in (0, 1, 3)
    }
    # A class without images has a scale like the others'.
    expected[2] = np.median(list(expected.values()))
    for label, scale in expected.items():
        assert found[label] == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
def test_the_scale_of_evidence_is_the_median_presence_in_a_class_s_images(
    seen, resolution
):
    seen.recipe = seen.recipe._replace(resolution=resolution)
    found = evidence_scales(references(seen), seen.y, seen.recipe.evidence)
    for label in range(N_CLASSES):
        # For a class without images, in all images.
        own = [index for index in ALL if seen.y[index] == label] or list(ALL)
        maps = feature_maps(seen.module, LAYERS[-1], seen.images[own], resolution)
        values = presence(maps, seen.recipe.evidence)[:, label].numpy()
        assert found[label] == pytest.approx(np.median(values), rel=1e-4)


def test_where_nothing_responds_scales_are_1(seen):
    seen.images.zero_()
    torch.nn.init.constant_(seen.module[4].bias, -1e3)
    assert heat_scale(references(seen), seen.recipe, ALL) == 1
    found = class_heat_scales(references(seen), seen.y, N_CLASSES, seen.recipe)
    assert found.tolist() == [1] * N_CLASSES
    found = evidence_scales(references(seen), seen.y, seen.recipe.evidence)
    assert found.tolist() == [1] * N_CLASSES


@pytest.mark.parametrize(("room", "n_looks"), [(2**24, 1), (2000, 3)])
def test_responses_are_kept_for_other_uses_while_there_is_room(
    seen, monkeypatch, room, n_looks
):
    monkeypatch.setattr("sklearn_similar._heatmaps.calibration._MAX_KEPT", room)
    looks = []

    def look_again():
        looks.append(1)
        return references(seen)

    kept = Kept(look_again)
    expected = np.concatenate([part.indices for part in references(seen)])
    for _ in range(3):
        found = np.concatenate([part.indices for part in kept])
        np.testing.assert_array_equal(found, expected)
    assert len(looks) == n_looks
