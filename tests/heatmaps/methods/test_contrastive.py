"""Contrastive maps of classes, against loops over images and classes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sklearn_similar._heatmaps.methods.contrastive import (
    ContrastiveWeights,
    class_scores,
    competing_shares,
    contrastive_map,
    mean_log_odds_drops,
    signed_weights,
    smoothing_for,
)
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import ReceptiveField

N_CLASSES = 4


def draw_maps(rng, shape=(3, 5, 7, 6), stride=(4, 3), dense=False):
    activations = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    return FeatureMaps(activations, ReceptiveField(stride, (1.5, 1.0)), dense)


def as_weights(drops, constants, smoothing):
    return ContrastiveWeights(
        log_odds_drops=drops, smoothing=smoothing, score_constants=constants
    )


def draw_weights(rng, n_competing=N_CLASSES, n_filters=5, smoothing=(5.0, 8.0)):
    drops = rng.normal(size=(N_CLASSES, n_competing, n_filters))
    if n_competing == N_CLASSES:
        drops[np.diag_indices(N_CLASSES)] = 0
    return as_weights(drops, rng.uniform(0.5, 2, N_CLASSES), smoothing)


def map_of(maps, contrast, targets):
    """Contrastive maps of the same targets in all images."""
    same = torch.tensor(targets).expand(len(maps.activations), -1)
    return contrastive_maps(maps, contrast, same)


def contrastive_maps(maps, contrast, targets):
    """Contrastive maps against the classes that have scores in the images."""
    shares = competing_shares(scores_of(maps, contrast), contrast, targets)
    return contrastive_map(maps, contrast, targets, shares)


def scores_of(maps, contrast):
    return class_scores(maps.activations.relu().mean(dim=(2, 3)), contrast)


def silent(maps):
    return maps._replace(activations=-maps.activations.abs())


def discount(positive, negative):
    """Positive contributions times the square of their share in all."""
    total = positive + negative
    return positive * (positive / total) ** 2 if total > 0 else 0.0


def naive_sums(activations, weights):
    """Contributions for a class and against it, discounted."""
    positive, negative = 0.0, 0.0
    for response, weight in zip(activations, weights, strict=True):
        if weight > 0:
            positive = positive + weight * response
        else:
            negative = negative - weight * response
    zeros = np.zeros(activations.shape[1:])
    return positive + zeros, negative + zeros


def positive_responses(maps, image):
    return np.maximum(maps.activations[image].numpy().astype(float), 0)


def naive_map(maps, image, weights, smoothing):
    sigma = [
        smoothing[axis]
        if maps.is_dense
        else smoothing[axis] / maps.receptive_field.stride[axis]
        for axis in (0, 1)
    ]
    radius = [math.ceil(3 * deviation) for deviation in sigma]
    positive, negative = (
        gaussian_filter(heat, sigma, mode="nearest", radius=radius)
        for heat in naive_sums(positive_responses(maps, image), weights)
    )
    return np.vectorize(discount)(positive, negative)


def naive_class_scores(maps, contrast):
    result = np.zeros((len(maps.activations), N_CLASSES))
    for image, label in np.ndindex(result.shape):
        drops = contrast.log_odds_drops[label]
        if len(drops) == N_CLASSES:
            drops = [drops[k] for k in range(N_CLASSES) if k != label]
        means = positive_responses(maps, image).mean(axis=(1, 2))
        sums = naive_sums(means, np.mean(drops, axis=0))
        result[image, label] = discount(*sums) / contrast.score_constants[label]
    return result


def naive_contrastive_map(maps, contrast, targets):
    scores = naive_class_scores(maps, contrast) ** 2
    competing = [k for k in range(N_CLASSES) if k not in targets]
    result = []
    for image in range(len(maps.activations)):
        of_targets = []
        for label in targets:
            drops = contrast.log_odds_drops[label]
            if len(drops) == 1:
                weights = drops[0]
            else:
                shares = scores[image, competing]
                weights = np.average(
                    drops[competing], axis=0, weights=shares if shares.any() else None
                )
            heat = naive_map(maps, image, weights, contrast.smoothing)
            of_targets.append(heat / contrast.score_constants[label])
        result.append(np.mean(of_targets, axis=0))
    return np.array(result)[:, np.newaxis]


def test_the_smoothing_follows_the_height_and_width_of_the_trained_images():
    height, width = smoothing_for((28, 40))
    assert height / width == pytest.approx(28 / 40)
    assert smoothing_for((28, 40, 3)) == (height, width)


@pytest.mark.parametrize("n_competing", [N_CLASSES, 1])
@pytest.mark.parametrize("dense", [False, True])
def test_class_scores_equal_a_loop_over_images_and_classes(n_competing, dense):
    rng = np.random.default_rng(1)
    maps, contrast = draw_maps(rng, dense=dense), draw_weights(rng, n_competing)
    result = scores_of(maps, contrast)
    np.testing.assert_allclose(result, naive_class_scores(maps, contrast), rtol=1e-4)


@pytest.mark.parametrize("n_competing", [N_CLASSES, 1])
@pytest.mark.parametrize("targets", [[0], [2], [3, 1], [0, 1, 3]])
@pytest.mark.parametrize("dense", [False, True])
def test_contrastive_maps_equal_a_loop_over_images_and_classes(
    n_competing, targets, dense
):
    rng = np.random.default_rng(2)
    maps, contrast = draw_maps(rng, dense=dense), draw_weights(rng, n_competing)
    result = map_of(maps, contrast, targets)
    expected = naive_contrastive_map(maps, contrast, targets)
    assert result.shape == (3, 1, 7, 6)
    assert expected.max() > 0.05
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_the_competing_class_in_the_image_counts_most():
    # Filter k is what class k alone has; filter 3 tells 0 from 1, but 2 has it too.
    drops = np.zeros((3, 3, 4))
    for label, other in np.ndindex(3, 3):
        if label != other:
            drops[label, other, label] += 1
            drops[label, other, other] -= 1
    drops[0, 1, 3], drops[0, 2, 3] = 1, -1
    contrast = as_weights(drops, np.ones(3), (0.5, 0.5))
    activations = torch.zeros(2, 4, 8, 12)
    activations[:, 0, 4, 1], activations[:, 3, 4, 6] = 1, 1
    activations[0, 1, 4, 10], activations[1, 2, 4, 10] = 3, 3
    maps = FeatureMaps(activations, ReceptiveField((1, 1), (0.0, 0.0)), False)
    beside_1, beside_2 = map_of(maps, contrast, [0])[:, 0]
    assert beside_1[4, 6] > 0.9 * beside_1[4, 1]
    assert beside_2[4, 6] < 0.1 * beside_2[4, 1]
    assert max(beside_1[4, 10], beside_2[4, 10]) < 1e-3 * beside_1[4, 1]


@pytest.mark.parametrize("n_competing", [N_CLASSES, 1])
def test_where_no_filter_responds_contrastive_maps_are_0(n_competing):
    rng = np.random.default_rng(3)
    maps, contrast = silent(draw_maps(rng)), draw_weights(rng, n_competing)
    assert not scores_of(maps, contrast).any()
    for targets in ([1], [0, 2, 3]):
        result = map_of(maps, contrast, targets)
        assert torch.equal(result, torch.zeros(3, 1, 7, 6))


def test_competing_classes_without_scores_have_the_same_weight():
    rng = np.random.default_rng(4)
    maps, contrast = draw_maps(rng), draw_weights(rng)
    # No class but 2 has a score.
    contrast.log_odds_drops[[0, 1, 3]] = -np.abs(contrast.log_odds_drops[[0, 1, 3]])
    result = map_of(maps, contrast, [2])
    weights = contrast.log_odds_drops[2, [0, 1, 3]].mean(axis=0)
    for image in range(3):
        expected = naive_map(maps, image, weights, contrast.smoothing)
        np.testing.assert_allclose(
            result[image, 0],
            expected / contrast.score_constants[2],
            rtol=1e-4,
            atol=1e-6,
        )


def test_the_map_of_a_class_without_drops_is_0():
    rng = np.random.default_rng(5)
    maps, contrast = draw_maps(rng), draw_weights(rng)
    contrast.log_odds_drops[1] = 0
    assert not map_of(maps, contrast, [1]).any()
    assert torch.isfinite(map_of(maps, contrast, [0])).all()


def assert_close(result, expected):
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-5)


@st.composite
def problems(draw):
    """Maps with some inactive filters, weights, targets, and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = draw_maps(rng)
    maps.activations[:, rng.random(5) < 0.3] = -1
    targets = rng.permutation(N_CLASSES)[: rng.integers(1, N_CLASSES)].tolist()
    return maps, draw_weights(rng, draw(st.sampled_from([N_CLASSES, 1]))), targets, rng


symmetry = settings(max_examples=25)


@given(problems())
@symmetry
def test_contrastive_maps_are_finite_and_not_negative(problem):
    maps, contrast, targets, _ = problem
    for result in (
        map_of(maps, contrast, targets),
        scores_of(maps, contrast),
    ):
        assert (result >= 0).all()
        assert torch.isfinite(result).all()


@given(problems())
@symmetry
def test_the_order_of_the_filters_does_not_matter(problem):
    maps, contrast, targets, rng = problem
    filters = rng.permutation(5)
    turned = maps._replace(activations=maps.activations[:, filters])
    other = replace(contrast, log_odds_drops=contrast.log_odds_drops[..., filters])
    assert_close(map_of(turned, other, targets), map_of(maps, contrast, targets))


@given(problems())
@symmetry
def test_the_order_of_the_classes_does_not_matter(problem):
    maps, contrast, targets, rng = problem
    classes = rng.permutation(N_CLASSES)
    drops = contrast.log_odds_drops[classes]
    if drops.shape[1] > 1:
        drops = drops[:, classes]
    other = replace(
        contrast,
        log_odds_drops=drops,
        score_constants=contrast.score_constants[classes],
    )
    places = [int(np.flatnonzero(classes == label)[0]) for label in targets]
    assert_close(map_of(maps, other, places), map_of(maps, contrast, targets))
    assert_close(
        scores_of(maps, other),
        scores_of(maps, contrast)[:, classes],
    )


@given(problems(), st.integers(0, N_CLASSES - 1), st.floats(1e-3, 1e3))
@symmetry
def test_the_scale_of_a_class_does_not_matter_as_target_or_competing(
    problem, label, factor
):
    maps, contrast, targets, _ = problem
    expected = map_of(maps, contrast, targets)
    contrast.log_odds_drops[label] *= factor
    contrast.score_constants[label] *= factor
    assert_close(map_of(maps, contrast, targets), expected)


def test_targets_can_differ_between_images():
    rng = np.random.default_rng(8)
    maps, contrast = draw_maps(rng), draw_weights(rng)
    targets = torch.tensor([[0, 2], [1, 2], [3, 0]])
    result = contrastive_maps(maps, contrast, targets)
    for index, of_image in enumerate(targets.tolist()):
        expected = naive_contrastive_map(maps, contrast, of_image)[index]
        np.testing.assert_allclose(result[index], expected, rtol=1e-4, atol=1e-6)


def test_the_order_of_the_targets_does_not_matter():
    rng = np.random.default_rng(6)
    maps, contrast = draw_maps(rng), draw_weights(rng)
    assert_close(map_of(maps, contrast, [3, 0]), map_of(maps, contrast, [0, 3]))


def test_the_drop_against_all_classes_is_the_mean_over_the_other_classes():
    drops = draw_weights(np.random.default_rng(7)).log_odds_drops
    for label in range(N_CLASSES):
        others = [drops[label, k] for k in range(N_CLASSES) if k != label]
        np.testing.assert_allclose(
            mean_log_odds_drops(drops)[label], np.mean(others, axis=0)
        )
    np.testing.assert_array_equal(mean_log_odds_drops(drops[:, :1]), drops[:, 0])


def test_signed_weights_sum_to_1_without_their_signs():
    drops = np.array([[3.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-2.0, -2.0, -4.0]])
    expected = [[0.75, -0.25, 0], [0, 0, 0], [-0.25, -0.25, -0.5]]
    np.testing.assert_array_equal(signed_weights(drops[:, np.newaxis]), expected)
