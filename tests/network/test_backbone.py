"""Backbones: the layers that are chosen, and where their cells lie."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Residual
from numpy.testing import assert_allclose
from painted_photographs import seeded_module, tiny_backbone
from torch import nn

from sklearn_similar._network.backbone import (
    Backbone,
    feature_layers,
    mid_level_layers,
)


class ResNet(nn.Module):
    """Four stages of two blocks behind a stem of stride 4, and a classifier."""

    def __init__(self, n_channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Residual(8, 8), Residual(8, 8))
        self.layer2 = nn.Sequential(Residual(8, 12, 2), Residual(12, 12))
        self.layer3 = nn.Sequential(Residual(12, 16, 2), Residual(16, 16))
        self.layer4 = nn.Sequential(Residual(16, 20, 2), Residual(20, 20))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(20, 5)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class VGG(nn.Module):
    """Convolutions and poolings in one sequence."""

    def __init__(self):
        super().__init__()
        layers, n_in = [], 3
        for n_out in (4, 6, 8, 10, 12):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
            n_in = n_out
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(12 * 49, 5))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)))


class SqueezeExcitation(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv2d(n, n, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(self.pool(x)))


class InvertedResidual(nn.Module):
    """MobileNet's block, with TensorFlow's padding "same"."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.stride = stride
        self.expand = nn.Sequential(nn.Conv2d(n_in, 2 * n_in, 1), nn.ReLU6())
        self.depthwise = nn.Conv2d(2 * n_in, 2 * n_in, 3, stride, groups=2 * n_in)
        self.excite = SqueezeExcitation(2 * n_in)
        self.project = nn.Conv2d(2 * n_in, n_out, 1)

    def forward(self, x):
        pads = []
        for length in (x.shape[3], x.shape[2]):
            total = max(0, 3 - (length % self.stride or self.stride))
            # The odd zero goes to the far side.
            pads += [total // 2, total - total // 2]
        inner = F.pad(self.expand(x), pads)
        out = self.project(self.excite(self.depthwise(inner)))
        return out + x if out.shape == x.shape else out


class MobileNet(nn.Module):
    """Blocks in one sequence, as torchvision's."""

    def __init__(self):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU6())
        steps = [(6, 6, 1), (6, 8, 2), (8, 8, 1), (8, 10, 2), (10, 10, 1)]
        steps += [(10, 12, 2), (12, 12, 1), (12, 14, 2), (14, 14, 1)]
        self.features = nn.Sequential(stem, *(InvertedResidual(*s) for s in steps))
        self.classifier = nn.Linear(14, 5)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Normalize(nn.Module):
    def forward(self, x):
        return (x - 0.45) / 0.225


class SharedActivation(nn.Module):
    """One activation module after each convolution."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 4), (4, 5), (5, 6), (6, 7))
        )
        self.relu = nn.ReLU()

    def forward(self, x):
        for conv in self.convs:
            x = self.relu(conv(x))
        return x


class Pyramid(nn.Module):
    """Features of stride 16 are brought back to stride 8."""

    def __init__(self):
        super().__init__()
        self.body = tiny_backbone()
        self.top = nn.Conv2d(16, 8, 1)
        self.up = nn.Upsample(scale_factor=2)
        self.merged = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.merged(self.up(self.top(self.body(x))))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.encoder(tokens).mean(1))


class ChannelsLast(nn.Module):
    """Feature maps n x height x width x channels, as of shifted windows."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.block1 = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())
        self.block2 = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        return self.block2(self.block1(x)).mean((1, 2))


class FixedSize(nn.Module):
    """A classifier behind the feature maps takes images of one size."""

    def __init__(self):
        super().__init__()
        self.body = tiny_backbone()
        self.head = nn.Linear(16 * 4 * 4, 5)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def strides_of(backbone, size=(128, 160)):
    image = torch.zeros(backbone.n_channels, *size)
    return [feature.stride for feature in backbone.feature_maps(image)]


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (ResNet, ("layer2", "layer3")),
        (MobileNet, ("features.5", "features.7")),
        # The pooling is the last layer of its stride.
        (VGG, ("features.18", "features.23")),
        (lambda: nn.Sequential(Normalize(), ResNet()), ("1.layer2", "1.layer3")),
        (tiny_backbone, ("2", "3")),
        (FixedSize, ("body.2", "body")),
        # Blocks end in the same maps as the convolution and activation in them.
        (lambda: nn.Sequential(tiny_backbone(), nn.Conv2d(16, 4, 1)), ("0.2", "1")),
    ],
)
def test_the_last_layers_of_stride_8_and_16_are_chosen(make, layers):
    backbone = Backbone.of(seeded_module(make))
    assert backbone.layers == layers
    assert backbone.n_channels == 3
    assert strides_of(backbone) == [(8, 8), (16, 16)]


class Mobile(nn.Module):
    """Blocks that give fewer channels than are inside them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 8, 1)
        self.down = nn.Conv2d(8, 12, 3, 2, 1)
        self.expand = nn.Conv2d(12, 48, 1)
        self.reduce = nn.Conv2d(48, 12, 1)
        self.again = nn.Conv2d(12, 48, 1)
        self.last = nn.Conv2d(48, 96, 3, 2, 1)

    def forward(self, images):
        features = self.down(self.stem(images))
        features = features + self.reduce(self.expand(features).relu())
        return self.last(self.again(features))


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        # The last of those with most filters, before the stride grows.
        (Mobile, "again"),
        (ResNet, "layer3"),
        (tiny_backbone, "3"),
    ],
)
def test_details_are_of_the_layer_with_most_filters(make, layer):
    backbone = Backbone.of(seeded_module(make))
    assert backbone.detail_layer == layer
    images = torch.rand(3, 96, 96)
    maps, details = backbone.maps_and_details(images)
    assert [feature.stride for feature in maps] == [(8, 8), (16, 16)]
    assert details.stride == (16, 16)
    again, _ = Backbone.of(backbone.module, layers=[layer]).maps_and_details(images)
    assert torch.equal(details.values, again[0].values)


@pytest.mark.parametrize("name", ["", "nope"])
def test_a_detail_layer_that_there_is_not_is_refused(name):
    with pytest.raises(ValueError, match=f"backbone_detail_layer_ is .'{name}'., but"):
        Backbone.of(seeded_module(Mobile), layers=["stem"], detail_layer=name)


def test_there_are_no_details_where_layers_are_named():
    backbone = Backbone.of(seeded_module(Mobile), layers=["stem"])
    assert backbone.detail_layer is None
    maps, details = backbone.maps_and_details(torch.rand(3, 96, 96))
    assert len(maps) == 1
    assert details is None


def test_a_pyramid_gives_its_merged_maps():
    backbone = Backbone.of(seeded_module(Pyramid))
    assert backbone.layers[0] == "merged"
    assert strides_of(backbone)[0] == (8, 8)


@pytest.mark.parametrize(
    ("strides", "layers", "expected"),
    [
        ((2, 2, 2), ("2",), [8]),
        ((4, 4), ("1",), [16]),
        # Finer maps than wanted are the next best, and then coarser ones.
        ((2, 2), ("1",), [4]),
        ((2, 2, 8), ("1",), [4]),
        ((32,), ("0",), [32]),
        ((1, 1), ("1",), [1]),
    ],
)
def test_networks_without_these_strides_give_the_nearest(strides, layers, expected):
    convolutions = [nn.Conv2d(3, 3, 3, stride, 1) for stride in strides]
    backbone = Backbone.of(nn.Sequential(*convolutions))
    assert backbone.layers == layers
    assert strides_of(backbone) == [(stride, stride) for stride in expected]


def test_a_layer_that_runs_at_several_strides_is_not_chosen():
    backbone = Backbone.of(seeded_module(SharedActivation))
    assert backbone.layers == ("convs.2", "convs.3")
    assert strides_of(backbone) == [(8, 8), (16, 16)]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_have_the_channels_of_the_first_convolution(n_channels):
    backbone = Backbone.of(ResNet(n_channels))
    assert backbone.n_channels == n_channels
    assert len(backbone.feature_maps(torch.zeros(n_channels, 70, 90))) == 2


def centre_of_influence(backbone, cell):
    """Pixel around which the image changes a cell, by the gradient of its layer."""
    size = (160, 176)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    activations = []
    layer = backbone.module.get_submodule(backbone.layers[0])
    handle = layer.register_forward_hook(lambda *args: activations.append(args[2]))
    image.requires_grad_()
    backbone.module(image)
    handle.remove()
    activations[0][0, :, cell[0], cell[1]].sum().backward()
    touched = np.argwhere(image.grad[0].abs().sum(0).numpy() > 0)
    return (touched.min(axis=0) + touched.max(axis=0)) / 2


class Linearised(nn.Module):
    """Convolutions with TensorFlow's padding for odd and even images."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel
        widths = (3, 4, 4, 4)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, 2) for a, b in pairwise(widths)
        )

    def forward(self, x):
        for conv in self.convs:
            pads = []
            for length in (x.shape[3], x.shape[2]):
                total = max(0, self.kernel - (length % 2 or 2))
                pads += [total // 2, total - total // 2]
            x = conv(F.pad(x, pads))
        return x


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linearised(3),
        lambda: Linearised(2),
        lambda: Linearised(5),
        lambda: nn.Sequential(*(nn.Conv2d(a, 3, 3, 2, 1) for a in (3, 3, 3))),
        lambda: nn.Sequential(*(nn.Conv2d(a, 3, 5, 2, 1) for a in (3, 3, 3))),
        lambda: nn.Sequential(*(nn.Conv2d(a, 3, 2, 2) for a in (3, 3, 3))),
    ],
)
def test_cells_lie_where_their_receptive_fields_are_centred(make):
    backbone = Backbone.of(seeded_module(make))
    (feature,) = backbone.feature_maps(torch.zeros(3, 160, 176))
    for cell in ((7, 9), (11, 5)):
        position = np.array(feature.start) + np.array(feature.stride) * cell
        assert_allclose(position, centre_of_influence(backbone, cell))


def test_padding_that_depends_on_the_size_moves_the_cells():
    backbone = Backbone.of(seeded_module(lambda: Linearised(3)))
    (even,) = backbone.feature_maps(torch.zeros(3, 160, 176))
    (odd,) = backbone.feature_maps(torch.zeros(3, 161, 177))
    assert even.start[0] != odd.start[0]


@pytest.mark.parametrize("make", [ResNet, VGG, MobileNet])
def test_an_image_that_is_shifted_by_a_stride_has_shifted_features(make):
    backbone = Backbone.of(seeded_module(make))
    image = torch.rand(3, 320, 320, generator=torch.Generator().manual_seed(0))
    if make is MobileNet:
        # Its squeeze-and-excitation sees the whole image.
        for child in backbone.module.modules():
            if isinstance(child, SqueezeExcitation):
                child.forward = lambda x: x
    fine, coarse = backbone.feature_maps(image)
    shifted_fine, shifted_coarse = backbone.feature_maps(image[:, 16:, 32:])
    n = 7
    rows, columns = slice(n, -n), slice(n, -n)
    for feature, shifted, down, right in (
        (fine, shifted_fine, 2, 4),
        (coarse, shifted_coarse, 1, 2),
    ):
        expected = feature.values[0, :, down:, right:][:, rows, columns]
        values = shifted.values[0][:, rows, columns]
        assert values.numel()
        assert_allclose(values, expected, atol=1e-4)


def test_the_network_is_copied_and_stays_as_it_is():
    module = seeded_module(ResNet).train()
    module.layer1.eval()
    module.conv1.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    modes = {name: child.training for name, child in module.named_modules()}
    Backbone.of(module).feature_maps(torch.rand(3, 80, 80))
    assert {name: child.training for name, child in module.named_modules()} == modes
    assert not module.conv1.weight.requires_grad
    assert module.fc.weight.requires_grad
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name])
    for child in module.modules():
        assert not child._forward_hooks
        assert not child._forward_pre_hooks


def test_feature_maps_are_those_of_the_evaluation_mode():
    module = seeded_module(ResNet).train()
    backbone = Backbone.of(module)
    image = torch.rand(3, 96, 96)
    fine, _ = backbone.feature_maps(image)
    module.eval()
    x = module.maxpool(module.relu(module.bn1(module.conv1(image[None]))))
    assert_allclose(fine.values, module.layer2(module.layer1(x)).detach(), atol=1e-5)
    assert not fine.values.requires_grad


@pytest.mark.parametrize("container", [list, tuple, np.array])
def test_layers_may_be_named(container):
    backbone = Backbone.of(ResNet(), layers=container(["layer3", "layer1"]))
    assert backbone.layers == ("layer3", "layer1")
    assert strides_of(backbone) == [(16, 16), (4, 4)]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 8, 1)
        self.pair = Pair()
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.pair(self.conv(x))


def test_layers_with_several_outputs_are_not_chosen():
    assert Backbone.of(TwoOutputs()).layers == ("conv",)


@pytest.mark.parametrize(
    ("make", "layers", "message"),
    [
        (ResNet, ["layer9", "layer3"], "has no layer 'layer9'; name some of its"),
        (ResNet, [""], "has no layer ''; name some of its named_modules"),
        (ResNet, [], "name some of its named_modules"),
        (ResNet, ["layer2", "fc"], "names 'fc', which does not give one feature map"),
        (TwoOutputs, ["pair"], "names 'pair', which does not give one feature map"),
        (TwoOutputs, ["unused"], "names 'unused', which does not give one feature"),
        (SharedActivation, ["relu"], "names 'relu', which does not give one feature"),
    ],
)
def test_other_layers_are_refused_by_name(make, layers, message):
    with pytest.raises(ValueError, match=message):
        Backbone.of(make(), layers=layers)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), "without a convolution"),
        (VisionTransformer, "a VisionTransformer without feature maps"),
        (ChannelsLast, "a ChannelsLast without feature maps"),
        (
            lambda: nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 8, 3)),
            "cannot take images of 3 channels and 256x256 pixels",
        ),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1)), "without"),
        (lambda: nn.Conv2d(3, 8, 3, 8), "without feature maps"),
    ],
)
def test_networks_without_feature_maps_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as info:
        Backbone.of(make())
    assert str(info.value).startswith(("backbone is", "The backbone"))
    assert str(info.value).endswith(".")


def test_a_failing_network_leaves_nothing_behind():
    module = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 8, 3))
    with pytest.raises(ValueError, match="cannot take images"):
        feature_layers(module, 3)
    for child in module.modules():
        assert not child._forward_hooks
        assert not child._forward_pre_hooks


def test_no_random_numbers_are_drawn_from_the_global_generator():
    module = nn.Sequential(nn.Dropout(), *tiny_backbone())
    state = torch.get_rng_state()
    Backbone.of(module).feature_maps(torch.rand(3, 64, 64, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)


def block_of_strides(*strides):
    """Convolutions of some strides, then a global mean and one linear layer."""
    convolutions = [nn.Conv2d(3, 3, 3, stride, 1) for stride in strides]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("module", "layer", "expected"),
    [
        (ResNet(), "layer4.1", ("layer3.0", "layer2")),
        (VGG(), "features.23", ("features.18",)),
        # Layers of stride 8 alone: their maps are fine.
        (ResNet(), "layer2.1", ()),
        (block_of_strides(2, 2, 2), "2", ()),
        # No layer of stride 8.
        (block_of_strides(16, 2), "1", ()),
        (block_of_strides(8, 4), "1", ("0",)),
        (ResNet(), "layer3.1", ("layer2",)),
    ],
)
def test_mid_level_layers_have_strides_16_and_8(module, layer, expected):
    assert mid_level_layers(module, layer, 3) == expected
