"""The heat that counts as 1, against medians over images one by one."""

from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, trained

from sklearn_similar._evidence import Evidence, presence
from sklearn_similar._feature_maps import evaluating, feature_maps
from sklearn_similar._recipe import Recipe, raw_heatmaps
from sklearn_similar._scales import class_heat_scales, evidence_scales, heat_scale

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
    ((_, heat),) = raw_heatmaps(seen.module, batches, seen.recipe, targets)
    return heat.max()


def test_the_heat_scale_is_the_median_peak(seen):
    expected = np.median([peak(seen, index) for index in ALL])
    found = heat_scale(seen.module, seen.batches(), seen.recipe)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("with_evidence", [False, True])
def test_the_scale_of_a_class_is_the_median_peak_on_its_images(seen, with_evidence):
    if not with_evidence:
        seen.recipe = seen.recipe._replace(evidence=None)
    found = class_heat_scales(
        seen.module, seen.batches(), seen.y, N_CLASSES, seen.recipe
    )
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
    found = evidence_scales(
        seen.module,
        seen.batches(),
        seen.y,
        LAYERS[-1],
        resolution,
        seen.recipe.evidence,
    )
    for label in range(N_CLASSES):
        # For a class without images, in all images.
        own = [index for index in ALL if seen.y[index] == label] or list(ALL)
        maps = feature_maps(seen.module, LAYERS[-1], seen.images[own], resolution)
        values = presence(maps, seen.recipe.evidence)[:, label].numpy()
        assert found[label] == pytest.approx(np.median(values), rel=1e-4)


def test_where_nothing_responds_scales_are_1(seen):
    seen.images.zero_()
    torch.nn.init.constant_(seen.module[4].bias, -1e3)
    assert heat_scale(seen.module, seen.batches(), seen.recipe) == 1
    found = class_heat_scales(
        seen.module, seen.batches(), seen.y, N_CLASSES, seen.recipe
    )
    assert found.tolist() == [1] * N_CLASSES
    found = evidence_scales(
        seen.module, seen.batches(), seen.y, LAYERS[-1], "pooled", seen.recipe.evidence
    )
    assert found.tolist() == [1] * N_CLASSES
