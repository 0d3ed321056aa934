"""Activations of layers: recorded in one forward pass, with their receptive fields."""

import networks
import pytest
import torch
from networks import feature_maps, trained
from test_layers import DEFAULTS, head
from torch import nn

from sklearn_similar._network import activations
from sklearn_similar._network.activations import extract_activations
from sklearn_similar._network.forward import eval_mode

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["VGG", "residual, in stages", "functional"])
def test_feature_maps_are_the_outputs_of_the_layer(name):
    build, layer = DEFAULTS[name]
    module = trained(build)
    seen = []
    with eval_mode(module):
        handle = module.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.clone())
        )
        module(IMAGES)
        handle.remove()
        maps = feature_maps(module, layer, IMAGES, "pooled")
    assert not maps.is_dense
    assert torch.equal(maps.activations, seen[0])


# Network, and layers in the order asked. Of VGG's, an activation in place overwrites
# what the layer before it gave.
SEVERAL_LAYERS = {
    "LeNet": ("features.relu1", "features.relu2"),
    "VGG": ("5", "4", "0", "1"),
    "residual, in stages": ("layer2.1", "stem", "layer1.1.bn2", "layer2.0.bn1"),
    "pre-activation": ("1", "2", "0"),
    "densely connected": ("6", "5", "2"),
    "functional": ("conv2", "conv1"),
}


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", SEVERAL_LAYERS)
def test_maps_of_several_layers_are_those_of_each_alone(name, resolution):
    build, _ = DEFAULTS[name]
    module, layers = trained(build), SEVERAL_LAYERS[name]
    with eval_mode(module):
        together = extract_activations(module, layers, IMAGES, resolution)
        alone = [feature_maps(module, one, IMAGES, resolution) for one in layers]
    for found, expected in zip(together, alone, strict=True):
        assert torch.equal(found.activations, expected.activations)
        assert found.receptive_field == expected.receptive_field
        assert found.is_dense == expected.is_dense == (resolution == "dense")
    assert not any(child._forward_hooks for child in module.modules())


def test_nothing_runs_after_the_last_of_several_layers():
    ran = []

    def note(x):
        ran.append(len(ran))
        return x

    notes = [networks.Function(note) for _ in range(3)]
    module = nn.Sequential(notes[0], nn.Conv2d(3, 4, 3), notes[1], notes[2], *head(4))
    with eval_mode(module):
        extract_activations(module, ["2", "1"], IMAGES, "pooled")
    assert ran == [0, 1]


def test_hooks_of_the_network_run_to_the_end():
    module = trained(networks.vgg)
    ran = []
    for name, child in module.named_children():
        child.register_forward_hook(lambda *_, name=name: ran.append(name))
    with eval_mode(module):
        own = extract_activations(module, ["3", "4"], IMAGES, "pooled")
        assert ran == [name for name, _ in module.named_children()]
        # The head takes no images of this size.
        feature_maps(module, "5", IMAGES[:, :, :9], "pooled")
    plain = trained(networks.vgg)
    with eval_mode(plain):
        expected = extract_activations(plain, ["3", "4"], IMAGES, "pooled")
    for maps, others in zip(own, expected, strict=True):
        assert torch.equal(maps.activations, others.activations)


@pytest.mark.parametrize("layers", [("0", "1"), ("1", "0")])
def test_hooks_of_several_layers_are_gone_after_an_error(layers):
    module = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(5), *head(5))
    with pytest.raises(ValueError, match="cannot take images of 16x16 pixels"):
        extract_activations(module, layers, IMAGES, "pooled")
    assert not any(child._forward_hooks for child in module.modules())


class SkipsTheLast(nn.Sequential):
    def forward(self, x):
        return self[0](x) if x.shape[-1] > 16 else self[1](self[0](x))


def test_a_layer_that_an_image_does_not_reach_is_named():
    module = SkipsTheLast(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).eval()
    wide = torch.zeros(1, 3, 16, 20)
    assert feature_maps(module, "1", IMAGES, "pooled").activations.shape[1] == 4
    with pytest.raises(ValueError, match="does not run layer '1' for images of 16x20"):
        feature_maps(module, "1", wide, "pooled")


def test_the_backbone_takes_images_that_the_head_cannot():
    module = trained(networks.vgg)
    with eval_mode(module):
        assert feature_maps(
            module, "5", IMAGES[:, :, :9], "dense"
        ).activations.shape == (
            2,
            8,
            9,
            16,
        )


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
def test_images_that_the_backbone_cannot_take_are_named(resolution):
    module = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(5), *head(5))
    with pytest.raises(ValueError, match="cannot take images of 16x12 pixels"):
        feature_maps(module, "1", IMAGES[..., :12], resolution)


class TestKnownFields:
    def test_are_tracked_once_for_each_size(self, monkeypatch):
        module, known, n_tracked = networks.vgg().eval(), {}, []
        tracking = activations.track_receptive_field

        def track(*args):
            n_tracked.append(args)
            return tracking(*args)

        monkeypatch.setattr(activations, "track_receptive_field", track)
        for _ in range(3):
            for images in (IMAGES, IMAGES[:, :, :12]):
                (expected,) = extract_activations(module, ["5"], images, "pooled")
                (found,) = extract_activations(
                    module, ["5"], images, "pooled", known_fields=known
                )
                assert found.receptive_field == expected.receptive_field
                assert torch.equal(found.activations, expected.activations)
        assert len(n_tracked) == 6 + 2

    def test_of_maps_that_have_another_size_now_are_tracked_again(self):
        module, known = networks.vgg().eval(), {}
        extract_activations(module, ["5"], IMAGES, "pooled", known_fields=known)
        module[0].stride = (2, 2)
        (expected,) = extract_activations(module, ["5"], IMAGES, "pooled")
        for _ in range(2):
            (found,) = extract_activations(
                module, ["5"], IMAGES, "pooled", known_fields=known
            )
            assert found.receptive_field == expected.receptive_field
        assert found.receptive_field.stride[0] > 2

    def test_are_not_those_of_dense_maps(self):
        module, known = networks.vgg().eval(), {}
        for resolution in ("pooled", "dense", "pooled"):
            (expected,) = extract_activations(module, ["5"], IMAGES, resolution)
            (found,) = extract_activations(
                module, ["5"], IMAGES, resolution, known_fields=known
            )
            assert torch.equal(found.activations, expected.activations)
