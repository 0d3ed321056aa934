"""Scores of single images without each filter, against a naive loop that masks."""

import copy

import networks
import numpy as np
import pytest
import torch
from ablation_cases import CASES, draw_images, n_filters_of
from networks import N_CLASSES, as_images, as_network, trained
from sklearn.exceptions import NotFittedError
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._ablation.selection import select_strategies
from sklearn_similar._ablation.single_images import ablate_images
from sklearn_similar._network.forward import eval_mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network cannot be traced .TypeError"
)


def masked_scores(module, layer, images, present, value):
    """Output of the network with some filters; absent filters have a value."""

    def mask(_module, _inputs, output):
        masked = value.reshape(-1, 1, 1).expand_as(output).clone()
        masked[:, present] = output[:, present]
        return masked

    handle = module.get_submodule(layer).register_forward_hook(mask)
    try:
        with torch.no_grad():
            return module.eval()(images.clone()).numpy()
    finally:
        handle.remove()


def naive_ablation(module, layer, images, value):
    everything = list(range(len(value)))
    scores, empty = (
        masked_scores(module, layer, images, present, value)
        for present in (everything, [])
    )
    drops, alone = [], []
    for index in everything:
        others = everything[:index] + everything[index + 1 :]
        drops.append(scores - masked_scores(module, layer, images, others, value))
        alone.append(masked_scores(module, layer, images, [index], value) - empty)
    return scores, np.stack(drops, axis=2), np.stack(alone, axis=2)


def assert_equal(found, expected):
    scale = max(1, np.abs(expected[0]).max())
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)


def ablation_of(module, layers, images, absent, classes=None):
    with eval_mode(module):
        return ablate_images(
            as_network(module), layers, as_images(images), absent, classes
        )


@pytest.mark.parametrize(
    ("name", "is_zero"),
    [(name, False) for name in CASES] + [("LeNet", True), ("layer norm", True)],
)
def test_scores_without_each_filter_and_with_it_alone_equal_masking(name, is_zero):
    build, layer, _ = CASES[name]
    module = trained(build)
    value = torch.zeros(n_filters_of(module, layer))
    if not is_zero:
        value += torch.linspace(-0.2, 0.3, len(value))
    images = draw_images(7)
    found = ablation_of(module, [layer], images, value.numpy())
    expected = naive_ablation(module, layer, images, value)
    assert_equal(found, expected)
    # Otherwise nothing was compared.
    assert all(np.abs(value).max() > 1e-3 for value in expected)


def _halve_filter(module):
    module[3].weight.data[0] *= 0.5


def _replace_convolution(module):
    module[3] = nn.Sequential(copy.deepcopy(module[3]), nn.Tanh())


def _mask_input_in_hook(module):
    module[3].register_forward_pre_hook(lambda _module, inputs: inputs[0].relu() / 2)


def _share_one_activation(module):
    module[3].forward = lambda values: values.mean(dim=1, keepdim=True).expand(
        -1, 8, -1, -1
    )


def _train_batch_norm(module):
    module[4].running_mean += 0.3
    module[4].weight.data.neg_()


@pytest.mark.parametrize(
    "change",
    [
        _halve_filter,
        _replace_convolution,
        _mask_input_in_hook,
        _share_one_activation,
        _train_batch_norm,
    ],
)
def test_what_is_known_of_a_network_is_not_used_once_it_has_changed(change):
    module, images = trained(networks.vgg), draw_images(5)
    network, value = as_network(module), torch.zeros(8)
    with eval_mode(module):
        ablate_images(network, ["5"], as_images(images), value.numpy(), None)
    change(module)
    with eval_mode(module):
        found = ablate_images(network, ["5"], as_images(images), value.numpy(), None)
    assert_equal(found, naive_ablation(module, "5", images, value))


def test_strategies_are_kept_with_the_network():
    module, images = trained(networks.vgg), draw_images(5)
    network = as_network(module)
    with eval_mode(module):
        first, _ = select_strategies(network, ["5"], images, needs_alone=True)
        again, _ = select_strategies(network, ["5"], images, needs_alone=True)
        other, _ = select_strategies(network, ["3"], images, needs_alone=True)
    assert again[0] is first[0]
    assert other[0].layer == "3"


def test_filters_of_several_layers_come_one_layer_after_the_other():
    build, last, _ = CASES["LeNet"]
    module, first = trained(build), CASES["LeNet, first layer"][1]
    images = draw_images(6)
    absent = np.zeros(6 + 16, dtype=np.float32)
    scores, drops, alone = ablation_of(module, [first, last], images, absent)
    for layer, part in ((first, slice(0, 6)), (last, slice(6, None))):
        value = torch.zeros(drops[..., part].shape[2])
        expected = naive_ablation(module, layer, images, value)
        assert_equal((scores, drops[..., part], alone[..., part]), expected)


def test_masking_takes_over_where_the_shortcut_fails_on_later_images():
    """Which no comparison on the first images can see."""
    clamp = networks.Function(networks.clamp_large_batches)
    mixing = nn.Conv2d(8, 6, 3, padding=1)
    module = trained(lambda: networks.mixed_by(clamp, mixing))
    images, value = 3 * draw_images(13), torch.zeros(8)
    with eval_mode(module):
        found = ablate_images(
            as_network(module, batch_size=13),
            ["5"],
            as_images(images),
            value.numpy(),
            None,
        )
    assert_equal(found, naive_ablation(module, "5", images, value))


def test_a_label_for_each_image_picks_its_class():
    build, layer, _ = CASES["VGG"]
    module = trained(build)
    images, classes = draw_images(9), np.arange(9) % N_CLASSES
    absent = np.zeros(8, dtype=np.float32)
    every = ablation_of(module, [layer], images, absent)
    own = ablation_of(module, [layer], images, absent, classes)
    for one, all_classes in zip(own, every, strict=True):
        np.testing.assert_array_equal(one, all_classes[np.arange(9), classes])


def test_drops_equal_gains_alone_where_only_a_linear_layer_follows():
    build, layer, _ = CASES["SiLU, global pooling"]
    module = trained(build)
    _, drops, alone = ablation_of(
        module, [layer], draw_images(5), np.zeros(9, dtype=np.float32)
    )
    np.testing.assert_allclose(drops, alone, atol=1e-5)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_the_classifier_ablates_as_it_did_for_its_importances(digits, ablation):
    """The log losses of single images have the mean that its importances have."""
    X, y = digits.X[:200], digits.y[:200]
    model = SimilarNetClassifier(
        max_epochs=1, validation_fraction=None, ablation=ablation, random_state=0
    ).fit(X, y)
    with pytest.raises(NotFittedError, match="fit_importance first"):
        model.ablate_filters(X)
    model.fit_importance(X, y)
    found = model.ablate_filters(X)
    without = torch.from_numpy(found.scores[..., None] - found.drops)
    log_loss = -without.log_softmax(dim=1)[np.arange(200), y].mean(dim=0)
    np.testing.assert_allclose(log_loss, model.filter_errors_, rtol=1e-4)
    labelled = model.ablate_filters(X, labels=y)
    assert labelled.drops.shape == (200, 16)
    np.testing.assert_array_equal(labelled.alone, found.alone[np.arange(200), y])


def test_images_of_another_size_and_unknown_labels_are_refused(digits):
    model = SimilarNetClassifier(max_epochs=1, random_state=0)
    model.fit(digits.X[:200], digits.y[:200])
    with pytest.raises(ValueError, match="ablate_filters wants the trained size"):
        model.ablate_filters(np.zeros((2, 30, 30), dtype=np.uint8))
    with pytest.raises(ValueError, match="labels"):
        model.ablate_filters(digits.X[:2], labels=[3, 77])
