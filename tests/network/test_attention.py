"""Heads of attention are ablated exactly, whatever calls their projection."""

from functools import partial

import numpy as np
import pytest
import token_networks as nets
import torch
from networks import N_CLASSES, trained
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._network.attention import find_heads
from sklearn_similar._network.forward import eval_mode

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
X, y = IMAGES.permute(0, 2, 3, 1).numpy(), np.arange(5) % N_CLASSES
with_pytorch = partial(nets.AttentionTransformer, nn.MultiheadAttention)


class TripledLinear(nn.Linear):
    """A linear layer whose outputs are three times as large."""

    def forward(self, values):
        return 3 * super().forward(values)


def with_projections(change):
    """A transformer whose projections do more than a linear layer."""
    module = nets.AttentionTransformer()
    for block in module.blocks:
        change(block.attn.proj)
    return module


def triple(projection):
    projection.__class__ = TripledLinear


def double_by_hook(projection):
    projection.register_forward_hook(lambda _layer, _inputs, output: 2 * output)


# Network, layer, its projection, number of heads, and method.
CASES = {
    "first block": (nets.AttentionTransformer, "blocks.0.attn", "proj", 3, "linear"),
    "last block": (nets.AttentionTransformer, "blocks.1.attn", "proj", 3, "linear"),
    "projection as a function": (
        partial(nets.AttentionTransformer, functional=True),
        "blocks.1.attn",
        "proj",
        3,
        "linear",
    ),
    "residual inside": (
        partial(nets.AttentionTransformer, residual=True),
        "blocks.1.attn",
        "proj",
        3,
        "network",
    ),
    "PyTorch's": (
        partial(with_pytorch, batch_first=True),
        "blocks.0.attn",
        "out_proj",
        3,
        "linear",
    ),
    "PyTorch's, tokens first": (with_pytorch, "blocks.1.attn", "out_proj", 3, "linear"),
    "PyTorch's encoder": (
        nets.PyTorchTransformer,
        "encoder.layers.1.self_attn",
        "out_proj",
        2,
        "network",
    ),
    "projection of a subclass": (
        partial(with_projections, triple),
        "blocks.0.attn",
        "proj",
        3,
        "network",
    ),
    "projection with a hook": (
        partial(with_projections, double_by_hook),
        "blocks.1.attn",
        "proj",
        3,
        "network",
    ),
    "windows": (nets.ShiftedAttention, "attns.0", "proj", 2, "linear"),
    "shifted windows": (nets.ShiftedAttention, "attns.1", "proj", 4, "linear"),
}


def without_head(module, layer, projection, n_heads, head, images=IMAGES):
    """Scores of a network and output of its attention; None: with all heads."""
    attention, outputs = module.get_submodule(layer), []
    weight = getattr(attention, projection).weight
    before = weight.detach().clone()
    if head is not None:
        weight.data.unflatten(1, (n_heads, -1))[:, head] = 0
    handle = attention.register_forward_hook(lambda *call: outputs.append(call[-1]))
    with eval_mode(module):
        scores = module(images)
    handle.remove()
    weight.data.copy_(before)
    (output,) = outputs
    return scores, output[0] if isinstance(output, tuple) else output


def fitted(module, layer, **parameters):
    model = SimilarNetClassifier(
        module,
        layer,
        classes=range(N_CLASSES),
        max_epochs=0,
        validation_fraction=None,
        **parameters,
    )
    return model.fit(X, y).fit_importance(X, y)


@pytest.mark.parametrize("name", CASES)
def test_importances_of_heads_equal_a_loop_over_masked_weights(name):
    build, layer, projection, n_heads, method = CASES[name]
    module = trained(build).eval()
    scores, losses, rows = [], [], np.arange(5)
    for head in (None, *range(n_heads)):
        masked, _ = without_head(module, layer, projection, n_heads, head)
        scores.append(masked.numpy())
        losses.append(-masked.log_softmax(1).numpy()[rows, y].mean())
    model = fitted(module, layer)
    assert model.ablation_method_ == method
    assert model.n_filters_ == (n_heads,)
    importances = np.array(losses[1:]) - losses[0]
    assert np.abs(importances).min() > 1e-4
    np.testing.assert_allclose(model.filter_importances_, importances, atol=1e-6)
    ablation = model.ablate_filters(X)
    drops = scores[0][..., None] - np.stack(scores[1:], axis=-1)
    np.testing.assert_allclose(ablation.drops, drops, atol=1e-5)
    assert model.heatmap(X, labels=y).shape == (5, 16, 16)


def test_what_a_head_adds_alone_is_what_all_others_leave():
    module = trained(nets.AttentionTransformer).eval()
    alone = fitted(module, "blocks.1.attn").ablate_filters(X).alone
    weight = module.get_submodule("blocks.1.attn.proj").weight.data
    before, scores = weight.clone(), []
    for heads in ([], [2]):
        kept = torch.zeros(3, 4, dtype=torch.bool)
        kept[heads] = True
        weight.copy_(before * kept.flatten())
        with torch.no_grad():
            scores.append(module(IMAGES))
    torch.testing.assert_close(
        torch.from_numpy(alone[..., 2]), scores[1] - scores[0], rtol=1e-4, atol=1e-5
    )


def second(importances):
    """Weights with which a heatmap shows the second head alone."""
    return np.arange(len(importances)) == 1


@pytest.mark.parametrize("name", ["first block", "residual inside", "shifted windows"])
def test_the_activation_of_a_head_is_the_length_of_what_it_adds(name):
    build, layer, projection, n_heads, _ = CASES[name]
    module = trained(build).eval()
    _, whole = without_head(module, layer, projection, n_heads, None)
    model = fitted(module, layer, normalize=None, weighting=second)
    # Its length at the places of the patches.
    _, masked = without_head(module, layer, projection, n_heads, 1)
    lengths = (whole - masked).norm(dim=2)
    if name == "shifted windows":
        maps = lengths.reshape(5, 2, 2, 2, 2).transpose(2, 3).reshape(5, 4, 4)
        maps = maps.roll((1, 1), (1, 2))
    else:
        maps = lengths[:, 1:].reshape(5, 4, 4)
    heat = torch.from_numpy(model.heatmap(X))
    expected = nn.functional.interpolate(maps[:, None], (16, 16), mode="bilinear")
    torch.testing.assert_close(heat, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_layers_without_heads_have_channels():
    block = nets.ClassTokenTransformer.Block(12, 3)
    assert find_heads(block) is None
    assert find_heads(nets.AttentionBlock(nets.Attention(12, 3), 12)) is None
    assert find_heads(nn.Linear(12, 12)) is None
    wide = nets.Attention(12, 3)
    wide.proj = nn.Linear(24, 12)
    assert find_heads(wide) is None
    assert find_heads(nets.Attention(12, 3)).number == 3
    assert find_heads(nn.MultiheadAttention(12, 4)) == (4, "out_proj")
    module = trained(nets.AttentionTransformer)
    assert fitted(module, "blocks.1.attn.proj").n_filters_ == (12,)
    assert fitted(module, None).layer_ == "norm"


def test_heads_of_several_layers_are_ablated_in_one_pass():
    module = trained(nets.AttentionTransformer).eval()
    layers = ["blocks.0.attn", "blocks.1.attn"]
    both = fitted(module, layers)
    assert both.n_filters_ == (3, 3)
    single = [fitted(module, layer).filter_importances_ for layer in layers]
    np.testing.assert_allclose(
        both.filter_importances_, np.concatenate(single), atol=1e-7
    )


def test_a_head_has_no_mean_that_could_replace_it():
    model = SimilarNetClassifier(
        nets.AttentionTransformer, "blocks.1.attn", ablation="mean", max_epochs=1
    )
    with pytest.raises(ValueError, match="are attention heads; pass ablation='zero'"):
        model.fit(np.concatenate([X, X]), np.tile(y, 2))
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(
    ("name", "layer", "n_heads", "settings"),
    [
        ("vit_tiny_patch16_224", "blocks.1.attn", 3, {"img_size": 32, "depth": 2}),
        (
            "swin_tiny_patch4_window7_224",
            "layers.1.blocks.1.attn",
            4,
            {
                "img_size": 32,
                "window_size": 2,
                "depths": (1, 2),
                "embed_dim": 16,
                "num_heads": (2, 4),
            },
        ),
    ],
)
def test_heads_of_networks_of_timm(name, layer, n_heads, settings):
    timm = pytest.importorskip("timm", reason="networks of timm")
    network = timm.create_model(name, num_classes=N_CLASSES, **settings)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels, labels = images.permute(0, 2, 3, 1).numpy(), np.arange(4) % N_CLASSES
    model = SimilarNetClassifier(
        network,
        layer,
        classes=range(N_CLASSES),
        max_epochs=0,
        validation_fraction=None,
    )
    model.fit(pixels, labels).fit_importance(pixels, labels)
    assert model.ablation_method_ == "linear"
    losses = []
    for head in (None, *range(n_heads)):
        scores, _ = without_head(network, layer, "proj", n_heads, head, images)
        losses.append(nn.functional.cross_entropy(scores, torch.from_numpy(labels)))
    importances = torch.stack(losses[1:]) - losses[0]
    np.testing.assert_allclose(model.filter_importances_, importances, atol=1e-6)


def test_a_silent_head_has_no_importance_and_nothing_is_drawn():
    module = trained(nets.AttentionTransformer).eval()
    layer = "blocks.0.attn"
    module.get_submodule(layer).proj.weight.data.unflatten(1, (3, -1))[:, 1] = 0
    state = torch.get_rng_state()
    model = fitted(module, layer)
    assert np.ravel(model.filter_importances_)[1] == pytest.approx(0, abs=1e-7)
    model.ablate_filters(X[:2])
    assert torch.equal(torch.get_rng_state(), state)
