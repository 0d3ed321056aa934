"""Layouts of layers' outputs: which axis holds the filters, and where places are."""

import warnings

import numpy as np
import pytest
import token_networks as nets
import torch
from networks import N_CLASSES, feature_maps, trained
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._network.forward import eval_mode
from sklearn_similar._network.layers import find_first_block, find_layer

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))

# Network, layer (None: the default, which is the next), axis of the filters, number of
# filters, grid, stride and first centre.
LAYOUTS = {
    "class token": (nets.ClassTokenTransformer, None, "norm", 2, 12, 4, 4, 1.5),
    "inside a block": (
        nets.ClassTokenTransformer,
        "blocks.0.mlp.0",
        "blocks.0.mlp.0",
        2,
        24,
        4,
        4,
        1.5,
    ),
    "PyTorch's encoder": (
        nets.PyTorchTransformer,
        None,
        "encoder.layers.1.norm2",
        2,
        8,
        4,
        4,
        1.5,
    ),
    "mixer": (nets.Mixer, None, "blocks.1", 2, 10, 4, 4, 1.5),
    "mixer, transposed": (
        nets.Mixer,
        "blocks.0.norm2",
        "blocks.0.norm2",
        2,
        10,
        4,
        4,
        1.5,
    ),
    "windows": (nets.ShiftedWindows, None, "norm", 3, 12, 4, 4, 1.5),
    "in windows": (
        nets.ShiftedWindows,
        "stage1.0.windows",
        "stage1.0.windows",
        2,
        6,
        8,
        2,
        0.5,
    ),
    "in shifted windows": (
        nets.ShiftedWindows,
        "stage1.1.windows",
        "stage1.1.windows",
        2,
        6,
        8,
        2,
        0.5,
    ),
    "merged": (nets.ShiftedWindows, "merging", "merging", 3, 12, 4, 4, 1.5),
    "attention to a coarser map": (
        nets.ReducedAttention,
        None,
        "norm",
        2,
        8,
        8,
        2,
        0.5,
    ),
    "channels last in blocks": (
        nets.ChannelsLastBlocks,
        None,
        "blocks.1",
        1,
        8,
        8,
        2,
        0.5,
    ),
    "channels last": (
        nets.ChannelsLastBlocks,
        "blocks.1.mlp.0",
        "blocks.1.mlp.0",
        3,
        16,
        8,
        2,
        0.5,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_filters_and_places_of_any_layout_are_read(name):
    build, layer, expected, axis, n_filters, side, stride, start = LAYOUTS[name]
    with eval_mode(trained(build)) as module:
        layer = find_layer(module, layer, IMAGES)
        maps = feature_maps(module, layer, IMAGES)
    assert layer == expected
    assert maps.layout.filter_axis == axis
    assert maps.activations.shape == (5, n_filters, side, side)
    assert maps.receptive_field.stride == (stride, stride)
    assert maps.receptive_field.start == (start, start)


def test_places_in_windows_are_where_the_patches_are():
    with eval_mode(trained(nets.ShiftedWindows)) as module:
        whole = feature_maps(module, "stage1.0.norm", IMAGES).activations
        windows = feature_maps(module, "stage1.0.windows", IMAGES).activations
        patches = feature_maps(module, "patches", IMAGES).activations
        rolled = feature_maps(module, "stage1.1.windows", IMAGES).activations
        before = feature_maps(module, "stage1.1.norm", IMAGES).activations
    torch.testing.assert_close(windows, whole)
    torch.testing.assert_close(rolled, before)
    expected = nn.functional.layer_norm(patches.permute(0, 2, 3, 1), (6,))
    torch.testing.assert_close(whole, expected.permute(0, 3, 1, 2))


def test_tokens_are_at_the_places_of_their_patches():
    module = trained(nets.Mixer)
    with eval_mode(module):
        maps = feature_maps(module, "embed", IMAGES).activations
        weight = module.embed.weight.reshape(10, 4, 4, 3).permute(0, 3, 1, 2)
        expected = nn.functional.conv2d(IMAGES, weight, module.embed.bias, 4)
    torch.testing.assert_close(maps, expected)


def masked(module, layer, index, axis):
    def mask(_module, _inputs, output):
        output = output.clone()
        output.select(axis, index).zero_()
        return output

    handle = module.get_submodule(layer).register_forward_hook(mask)
    with torch.no_grad():
        scores = module(IMAGES).log_softmax(1).numpy()
    handle.remove()
    return scores


@pytest.mark.parametrize("name", LAYOUTS)
def test_importances_in_any_layout_equal_a_masking_loop(name):
    build, layer, expected, axis, n_filters, *_ = LAYOUTS[name]
    module = trained(build).eval()
    X, y = IMAGES.permute(0, 2, 3, 1).numpy(), np.arange(5) % N_CLASSES
    model = SimilarNetClassifier(
        module, layer, classes=range(N_CLASSES), max_epochs=0, validation_fraction=None
    )
    model.fit(X, y).fit_importance(X, y)
    with torch.no_grad():
        whole = module(IMAGES).log_softmax(1).numpy()
    rows = np.arange(5), y
    losses = [
        -masked(module, expected, index, axis)[rows].mean()
        for index in range(n_filters)
    ]
    np.testing.assert_allclose(
        model.filter_importances_, losses + whole[rows].mean(), atol=1e-6
    )
    drops = model.ablate_filters(X, y).drops
    with torch.no_grad():
        scores = module(IMAGES).numpy()
    assert drops.shape == (5, n_filters)
    assert np.isfinite(scores).all()
    assert model.heatmap(X, y[0]).shape == (5, 16, 16)


@pytest.mark.parametrize(
    ("build", "layer", "remedy"),
    [
        # Attention heads are not filters.
        (nets.ClassTokenTransformer, "blocks.0.k_norm", "blocks.0.proj"),
        (nets.Mixer, "blocks.0.tokens", "blocks.0.norm2"),
        (nets.FourierMixing, "mlp", "patches"),
    ],
)
def test_layers_without_known_axes_are_refused_with_one_that_works(
    build, layer, remedy
):
    with eval_mode(trained(build)) as module:
        with pytest.raises(ValueError, match=f"layer '{layer}' gives .*'{remedy}'"):
            find_layer(module, layer, IMAGES)
        assert find_layer(module, remedy, IMAGES) == remedy


def test_the_embedding_of_patches_is_not_taken_for_the_last_layer():
    with eval_mode(trained(nets.FourierMixing)) as module:
        with pytest.raises(ValueError, match="layer='patches'"):
            find_layer(module, None, IMAGES)
        assert find_layer(module, "patches", IMAGES) == "patches"


def test_class_scores_at_each_place_are_not_features():
    with eval_mode(trained(nets.ScoresAtPlaces)) as module:
        assert find_layer(module, None, IMAGES) == "features.1"


def test_filters_on_the_last_axis_have_no_activations_at_every_pixel():
    with (
        eval_mode(trained(nets.ChannelsLastBlocks)) as module,
        pytest.raises(ValueError, match="pass resolution='pooled'"),
    ):
        feature_maps(module, "blocks.1.mlp.0", IMAGES, "dense")


def test_an_activation_that_is_used_again_does_not_hide_the_outline_layer():
    with eval_mode(trained(nets.SharedActivation)) as module:
        assert find_layer(module, None, IMAGES) == "conv_norm"
        assert find_first_block(module, "conv_norm", IMAGES) == "norm"


def test_patches_have_no_outlines():
    with eval_mode(trained(nets.Mixer)) as module:
        assert find_first_block(module, "blocks.1", IMAGES) is None


def test_fields_go_through_operations_that_pytorch_does_not_show():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nets.Square(), nn.Conv2d(4, 5, 3, 2, 1)
    )
    with eval_mode(module):
        maps = feature_maps(module, "2", IMAGES)
        assert find_layer(module, "1", IMAGES) == "1"
    assert maps.receptive_field.stride == (4, 4)


@pytest.mark.parametrize("class_heatmap", ["outlined", "contrastive", "linear"])
def test_networks_of_windows_have_heatmaps_of_images_of_other_sizes(class_heatmap):
    X, y = IMAGES.permute(0, 2, 3, 1).numpy(), np.arange(5) % N_CLASSES
    model = SimilarNetClassifier(
        trained(nets.ShiftedWindows),
        max_epochs=0,
        validation_fraction=None,
        class_heatmap=class_heatmap,
    )
    model.fit(X, y).fit_importance(X, y)
    larger = np.random.default_rng(0).random((2, 32, 40, 3), dtype=np.float32)
    assert model.heatmap(larger, 1).shape == (2, 32, 40)
    assert model.transform(larger).shape == (2, 32, 40)


@pytest.mark.parametrize("class_heatmap", ["layercam", "scorecam", "ablation"])
def test_class_maps_that_run_the_next_layers_want_channels_first(class_heatmap):
    X, y = IMAGES.permute(0, 2, 3, 1).numpy(), np.arange(5) % N_CLASSES
    estimator = SimilarNetClassifier(
        nets.Mixer, max_epochs=0, validation_fraction=None, class_heatmap="cam"
    )
    with warnings.catch_warnings():
        # An untrained network is no better than guessing.
        warnings.simplefilter("ignore")
        estimator.fit(X, y).fit_importance(X, y)
    assert estimator.heatmap(X, labels=y).shape == X.shape[:3]
    with pytest.raises(ValueError, match=r"n_filters x height x width alone.*\"cam\""):
        estimator.heatmap(X, labels=y, class_heatmap=class_heatmap)
