"""Importances and drops of the log-odds, against sums over images."""

import networks
import numpy as np
import pytest
import torch
from ablation_cases import (
    CASES,
    draw_images,
    fast_sums,
    log_softmax,
    n_filters_of,
    naive_log_probas,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import N_CLASSES, feature_maps, trained
from sklearn import config_context

from sklearn_similar._ablation.errors import ErrorSums
from sklearn_similar._ablation.importances import importances
from sklearn_similar._heatmaps.methods.contrastive import mean_log_odds_drops
from sklearn_similar._network.forward import eval_mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network cannot be traced .TypeError"
)


def rest(log_loss):
    """Sums that do not count: log probabilities, drops of scores, squares."""
    n_filters, n_classes = len(log_loss) - 1, log_loss.shape[1]
    shapes = (*log_loss.shape, n_classes), (n_filters, n_classes), (n_filters,)
    return [np.full(shape, np.nan) for shape in shapes]


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 50), min_size=3, max_size=3),
            min_size=n + 1,
            max_size=n + 1,
        )
    ),
    st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    st.sampled_from(["log_loss", "error"]),
)
@settings(max_examples=50)
def test_importances_are_increases_of_the_mean_error(rows, n_images, measure):
    n_images = np.array(n_images)
    total = np.array(rows) * (n_images > 0)
    other = np.full(total.shape, np.nan)
    pair = (total, other) if measure == "log_loss" else (other, total)
    found = importances([ErrorSums(*pair, n_images, *rest(total))], measure)
    mean = [sum(row) / sum(n_images) for row in total.tolist()]
    assert found.baseline_error == pytest.approx(mean[0])
    assert found.filter_errors == pytest.approx(mean[1:])
    assert found.filter_importances == pytest.approx(np.subtract(mean[1:], mean[0]))
    for label in range(3):
        expected = found.filter_importances
        if n_images[label]:
            own = total[:, label] / n_images[label]
            expected = own[1:] - own[0]
        assert found.class_importances[label] == pytest.approx(expected)


def test_background_does_not_count_for_all_classes_together():
    rng = np.random.RandomState(0)
    log_loss, error = rng.uniform(size=(2, 4, 3))
    sums = ErrorSums(log_loss, error, np.full(3, 10), *rest(error))
    without = ErrorSums(
        log_loss[:, :2], error[:, :2], np.full(2, 10), *rest(error[:, :2])
    )
    found, wanted = importances([sums], "error", 2), importances([without], "error")
    assert found.baseline_error == pytest.approx(wanted.baseline_error)
    np.testing.assert_allclose(found.filter_importances, wanted.filter_importances)
    np.testing.assert_allclose(found.class_importances[:2], wanted.class_importances)


def naive_log_odds_drops(log_probas, y, background=None):
    """Drop of the log-odds of a class over another without each filter."""
    with_all, *without = [log_proba.numpy() for log_proba in log_probas]
    counted = [image for image, label in enumerate(y) if label != background]
    drops = np.zeros((N_CLASSES, N_CLASSES, len(without)))
    for label, other, index in np.ndindex(drops.shape):
        images = [image for image in range(len(y)) if y[image] == label]
        # A class that is not in the images is compared on all of them.
        drops[label, other, index] = np.mean(
            [
                (with_all[image, label] - with_all[image, other])
                - (without[index][image, label] - without[index][image, other])
                for image in images or counted
            ]
        )
    return drops


def assert_drops(found, expected):
    """Equal but for a class over itself, which does not compete."""
    others = ~np.eye(N_CLASSES, dtype=bool)
    np.testing.assert_allclose(found[others], expected[others], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "name",
    [
        "LeNet",
        "VGG",
        "residual, last block",
        "residual, before an identity",
        "layer norm",
        "data-dependent",
        "writes to a view",
        "probabilities",
    ],
)
@pytest.mark.parametrize("replaced", [0.0, 0.3])
def test_log_odds_drops_equal_a_masking_loop(name, replaced):
    build, layer, method = CASES[name]
    module = trained(build)
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    replacement = torch.full((n_filters_of(module, layer),), replaced)
    sums, found = fast_sums(module, layer, images, y, replacement, log_probabilities)
    assert found == method
    expected = naive_log_odds_drops(
        naive_log_probas(module, layer, images, replacement, log_probabilities), y
    )
    # They have signs: some filters speak against a class.
    assert expected.max() > 1e-3 > -1e-3 > expected.min()
    drops = importances([sums], "error").log_odds_drops
    assert_drops(drops, expected)
    itself = drops[np.diag_indices(N_CLASSES)]
    np.testing.assert_allclose(itself, 0, atol=2e-5)


@pytest.mark.parametrize("background", [None, 0])
def test_drops_of_a_class_without_images_are_those_on_other_images(background):
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % 2 * 2
    sums, _ = fast_sums(module, "5", images, y)
    log_probas = naive_log_probas(module, "5", images, torch.zeros(8))
    found = importances([sums], "error", background).log_odds_drops
    assert_drops(found, naive_log_odds_drops(log_probas, y, background))


def test_drops_of_a_class_without_images_follow_from_its_row_of_a_linear_layer():
    module = trained(networks.resnet)
    images, y = draw_images(12), np.arange(12) % 3
    sums, _ = fast_sums(module, "2", images, y)
    found = importances([sums], "error").log_odds_drops
    with eval_mode(module):
        activations = feature_maps(module, "2", images).activations
        means = activations.mean((0, 2, 3)).numpy()
    weight = module[-1].weight.detach().numpy()
    np.testing.assert_allclose(
        found[3, :3], (weight[3] - weight[:3]) * means, rtol=1e-3, atol=1e-5
    )


def test_many_competing_classes_are_averaged():
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    drops = importances([fast_sums(module, "5", images, y)[0]], "error").log_odds_drops
    # 8 filters and none, 4 classes and those they compete with.
    for least, n_competing in ((9 * 4 * 4, 4), (9 * 4 * 4 - 1, 1)):
        with config_context(working_memory=1024 * (least + 0.5) / 2**24):
            sums, _ = fast_sums(module, "5", images, y)
        assert sums.log_proba.shape == (9, 4, n_competing)
        found = importances([sums], "error").log_odds_drops
        assert found.shape == (4, n_competing, 8)
        np.testing.assert_allclose(
            mean_log_odds_drops(found), mean_log_odds_drops(drops), rtol=1e-4, atol=1e-6
        )
