"""Evidence for a class against its rivals, against loops over images and classes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sklearn_similar._heatmaps.class_discriminative import (
    Evidence,
    evidence_for,
    margins_over_all,
    presence,
    signed_shares,
    smooth,
    spread_for,
)
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import Geometry

N_CLASSES = 4


def draw_maps(rng, shape=(3, 5, 7, 6), stride=(4, 3), dense=False):
    responses = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    return FeatureMaps(responses, Geometry(stride, (1.5, 1.0)), dense)


def draw_evidence(rng, n_rivals=N_CLASSES, n_filters=5, spread=(5.0, 8.0)):
    margins = rng.normal(size=(N_CLASSES, n_rivals, n_filters))
    if n_rivals == N_CLASSES:
        margins[np.diag_indices(N_CLASSES)] = 0
    return Evidence(margins, rng.uniform(0.5, 2, N_CLASSES), spread)


def evidence_in(maps, evidence, targets):
    """Evidence for the same targets in all images."""
    same = torch.tensor(targets).expand(len(maps.responses), -1)
    return evidence_for(maps, evidence, same)


def silent(maps):
    return maps._replace(responses=-maps.responses.abs())


def weigh_up(in_favour, against):
    """What speaks for a class times its squared share in all that speaks."""
    total = in_favour + against
    return in_favour * (in_favour / total) ** 2 if total > 0 else 0.0


def naive_sums(responses, weights):
    """What speaks for a class, and what against it."""
    in_favour, against = 0.0, 0.0
    for response, weight in zip(responses, weights, strict=True):
        if weight > 0:
            in_favour = in_favour + weight * response
        else:
            against = against - weight * response
    zeros = np.zeros(responses.shape[1:])
    return in_favour + zeros, against + zeros


def positive_responses(maps, image):
    return np.maximum(maps.responses[image].numpy().astype(float), 0)


def naive_evidence(maps, image, weights, spread):
    sigma = [
        spread[axis] if maps.dense else spread[axis] / maps.grid.stride[axis]
        for axis in (0, 1)
    ]
    radius = [math.ceil(3 * one) for one in sigma]
    in_favour, against = (
        gaussian_filter(heat, sigma, mode="nearest", radius=radius)
        for heat in naive_sums(positive_responses(maps, image), weights)
    )
    return np.vectorize(weigh_up)(in_favour, against)


def naive_presence(maps, evidence):
    found = np.zeros((len(maps.responses), N_CLASSES))
    for image, label in np.ndindex(found.shape):
        margins = evidence.margins[label]
        if len(margins) == N_CLASSES:
            margins = [margins[k] for k in range(N_CLASSES) if k != label]
        means = positive_responses(maps, image).mean(axis=(1, 2))
        sums = naive_sums(means, np.mean(margins, axis=0))
        found[image, label] = weigh_up(*sums) / evidence.scales[label]
    return found


def naive_evidence_for(maps, evidence, targets):
    presence_of = naive_presence(maps, evidence) ** 2
    rivals = [k for k in range(N_CLASSES) if k not in targets]
    found = []
    for image in range(len(maps.responses)):
        of_targets = []
        for label in targets:
            margins = evidence.margins[label]
            if len(margins) == 1:
                weights = margins[0]
            else:
                shares = presence_of[image, rivals]
                weights = np.average(
                    margins[rivals], axis=0, weights=shares if shares.any() else None
                )
            heat = naive_evidence(maps, image, weights, evidence.spread)
            of_targets.append(heat / evidence.scales[label])
        found.append(np.mean(of_targets, axis=0))
    return np.array(found)[:, np.newaxis]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("spread", [(3.5, 3.5), (2.0, 7.0), (0.125, 40.0)])
@pytest.mark.parametrize("size", [(20, 17), (3, 5), (1, 1), (64, 65), (150, 193)])
def test_smoothing_is_a_gaussian_filter_over_pixels(size, spread, stride, dense):
    rng = np.random.default_rng(0)
    maps = draw_maps(rng, (2, 3, *size), stride, dense)
    found = smooth(maps.responses, maps, spread)
    sigma = np.array(spread) / (1 if dense else stride)
    radius = [math.ceil(3 * one) for one in sigma]
    for index in np.ndindex(2, 3):
        heat = maps.responses[index].numpy().astype(float)
        expected = gaussian_filter(heat, sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(found[index], expected, rtol=1e-4, atol=1e-5)


def test_the_spread_follows_the_height_and_width_of_the_trained_images():
    height, width = spread_for((28, 40))
    assert height / width == pytest.approx(28 / 40)
    assert spread_for((28, 40, 3)) == (height, width)


@pytest.mark.parametrize("n_rivals", [N_CLASSES, 1])
@pytest.mark.parametrize("dense", [False, True])
def test_presence_is_what_speaks_for_each_class_against_all_others(n_rivals, dense):
    rng = np.random.default_rng(1)
    maps, evidence = draw_maps(rng, dense=dense), draw_evidence(rng, n_rivals)
    found = presence(maps, evidence)
    np.testing.assert_allclose(found, naive_presence(maps, evidence), rtol=1e-4)


@pytest.mark.parametrize("n_rivals", [N_CLASSES, 1])
@pytest.mark.parametrize("targets", [[0], [2], [3, 1], [0, 1, 3]])
@pytest.mark.parametrize("dense", [False, True])
def test_evidence_equals_a_loop_over_images_and_classes(n_rivals, targets, dense):
    rng = np.random.default_rng(2)
    maps, evidence = draw_maps(rng, dense=dense), draw_evidence(rng, n_rivals)
    found = evidence_in(maps, evidence, targets)
    expected = naive_evidence_for(maps, evidence, targets)
    assert found.shape == (3, 1, 7, 6)
    assert expected.max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_rival_that_is_in_the_image_counts_most():
    # Filter k is what class k alone has; filter 3 tells 0 from 1, but 2 has it too.
    margins = np.zeros((3, 3, 4))
    for label, rival in np.ndindex(3, 3):
        if label != rival:
            margins[label, rival, label] += 1
            margins[label, rival, rival] -= 1
    margins[0, 1, 3], margins[0, 2, 3] = 1, -1
    evidence = Evidence(margins, np.ones(3), (0.5, 0.5))
    responses = torch.zeros(2, 4, 8, 12)
    responses[:, 0, 4, 1], responses[:, 3, 4, 6] = 1, 1
    responses[0, 1, 4, 10], responses[1, 2, 4, 10] = 3, 3
    maps = FeatureMaps(responses, Geometry((1, 1), (0.0, 0.0)), False)
    beside_1, beside_2 = evidence_in(maps, evidence, [0])[:, 0]
    assert beside_1[4, 6] > 0.9 * beside_1[4, 1]
    assert beside_2[4, 6] < 0.1 * beside_2[4, 1]
    assert max(beside_1[4, 10], beside_2[4, 10]) < 1e-3 * beside_1[4, 1]


@pytest.mark.parametrize("n_rivals", [N_CLASSES, 1])
def test_where_nothing_responds_there_is_no_evidence(n_rivals):
    rng = np.random.default_rng(3)
    maps, evidence = silent(draw_maps(rng)), draw_evidence(rng, n_rivals)
    assert not presence(maps, evidence).any()
    for targets in ([1], [0, 2, 3]):
        found = evidence_in(maps, evidence, targets)
        assert torch.equal(found, torch.zeros(3, 1, 7, 6))


def test_rivals_without_presence_count_alike():
    rng = np.random.default_rng(4)
    maps, evidence = draw_maps(rng), draw_evidence(rng)
    # Nothing speaks for a class but for 2, so that there is no presence of its rivals.
    evidence.margins[[0, 1, 3]] = -np.abs(evidence.margins[[0, 1, 3]])
    found = evidence_in(maps, evidence, [2])
    weights = evidence.margins[2, [0, 1, 3]].mean(axis=0)
    for image in range(3):
        expected = naive_evidence(maps, image, weights, evidence.spread)
        np.testing.assert_allclose(
            found[image, 0], expected / evidence.scales[2], rtol=1e-4, atol=1e-6
        )


def test_evidence_of_a_class_without_margins_is_nothing():
    rng = np.random.default_rng(5)
    maps, evidence = draw_maps(rng), draw_evidence(rng)
    evidence.margins[1] = 0
    assert not evidence_in(maps, evidence, [1]).any()
    assert torch.isfinite(evidence_in(maps, evidence, [0])).all()


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@st.composite
def problems(draw):
    """Maps of which some filters are silent, evidence, targets, and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = draw_maps(rng)
    maps.responses[:, rng.random(5) < 0.3] = -1
    targets = rng.permutation(N_CLASSES)[: rng.integers(1, N_CLASSES)].tolist()
    return maps, draw_evidence(rng, draw(st.sampled_from([N_CLASSES, 1]))), targets, rng


symmetry = settings(max_examples=25, deadline=None)


@given(problems())
@symmetry
def test_evidence_is_finite_and_not_negative(problem):
    maps, evidence, targets, _ = problem
    for found in (
        evidence_in(maps, evidence, targets),
        presence(maps, evidence),
    ):
        assert (found >= 0).all()
        assert torch.isfinite(found).all()


@given(problems())
@symmetry
def test_the_order_of_the_filters_does_not_matter(problem):
    maps, evidence, targets, rng = problem
    filters = rng.permutation(5)
    turned = maps._replace(responses=maps.responses[:, filters])
    other = evidence._replace(margins=evidence.margins[..., filters])
    assert_close(
        evidence_in(turned, other, targets), evidence_in(maps, evidence, targets)
    )


@given(problems())
@symmetry
def test_the_order_of_the_classes_does_not_matter(problem):
    maps, evidence, targets, rng = problem
    classes = rng.permutation(N_CLASSES)
    margins = evidence.margins[classes]
    if margins.shape[1] > 1:
        margins = margins[:, classes]
    other = evidence._replace(margins=margins, scales=evidence.scales[classes])
    places = [int(np.flatnonzero(classes == label)[0]) for label in targets]
    assert_close(evidence_in(maps, other, places), evidence_in(maps, evidence, targets))
    assert_close(
        presence(maps, other),
        presence(maps, evidence)[:, classes],
    )


@given(problems(), st.integers(0, N_CLASSES - 1), st.floats(1e-3, 1e3))
@symmetry
def test_a_class_is_in_units_of_its_own_scale_as_target_and_as_rival(
    problem, label, factor
):
    maps, evidence, targets, _ = problem
    expected = evidence_in(maps, evidence, targets)
    evidence.margins[label] *= factor
    evidence.scales[label] *= factor
    assert_close(evidence_in(maps, evidence, targets), expected)


def test_each_image_can_have_its_own_targets():
    rng = np.random.default_rng(8)
    maps, evidence = draw_maps(rng), draw_evidence(rng)
    targets = torch.tensor([[0, 2], [1, 2], [3, 0]])
    found = evidence_for(maps, evidence, targets)
    for index, own in enumerate(targets.tolist()):
        expected = naive_evidence_for(maps, evidence, own)[index]
        np.testing.assert_allclose(found[index], expected, rtol=1e-4, atol=1e-6)


def test_the_order_of_the_targets_does_not_matter():
    rng = np.random.default_rng(6)
    maps, evidence = draw_maps(rng), draw_evidence(rng)
    assert_close(
        evidence_in(maps, evidence, [3, 0]), evidence_in(maps, evidence, [0, 3])
    )


def test_the_margin_over_all_is_the_mean_over_the_others():
    margins = draw_evidence(np.random.default_rng(7)).margins
    for label in range(N_CLASSES):
        others = [margins[label, k] for k in range(N_CLASSES) if k != label]
        np.testing.assert_allclose(
            margins_over_all(margins)[label], np.mean(others, axis=0)
        )
    np.testing.assert_array_equal(margins_over_all(margins[:, :1]), margins[:, 0])


def test_signed_shares_sum_to_1_without_their_signs():
    margins = np.array([[3.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-2.0, -2.0, -4.0]])
    expected = [[0.75, -0.25, 0], [0, 0, 0], [-0.25, -0.25, -0.5]]
    np.testing.assert_array_equal(signed_shares(margins), expected)
