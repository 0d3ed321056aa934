"""Which layer counts by default, what is said of others, and the trunk itself."""

import re
import threading

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import feature_maps, trained
from torch import nn

from sklearn_similar import LeNet
from sklearn_similar._network import activations
from sklearn_similar._network.activations import (
    eval_mode,
    extract_activations,
    find_first_block,
    find_layer,
    find_layers,
)
from sklearn_similar._network.hooks import output_hook

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def default_layer(module, images=IMAGES):
    with eval_mode(module):
        return find_layer(module, None, images)


class TorchvisionStyle(nn.Module):
    """Named stages, functional global pooling, as large published networks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layer1 = nn.Sequential(networks.Residual(6, 6), networks.Residual(6, 6))
        self.layer2 = nn.Sequential(networks.Residual(6, 8, 2), networks.Residual(8, 8))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.avgpool(self.layer2(self.layer1(self.stem(x))))
        return self.fc(torch.flatten(x, 1))


class PoolingInside(nn.Module):
    """A block that ends in a pooling that is not a module."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv(x)), 2)


class Activation(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


def head(n):
    return networks.pooled_linear(n)


# Network, and the layer that is found for it.
DEFAULTS = {
    "LeNet": (lambda: LeNet(4, (16, 16), 3), "features.relu2"),
    "VGG": (networks.vgg, "5"),
    "VGG, dropout in place": (networks.vgg_with_average, "5"),
    "no activation": (networks.global_pooling, "4"),
    "SiLU in place": (
        lambda: networks.global_pooling(nn.SiLU(inplace=True)),
        "5",
    ),
    "an activation of one's own": (
        lambda: networks.global_pooling(Activation()),
        "5",
    ),
    "identity after": (
        lambda: networks.global_pooling(nn.ReLU(), nn.Identity(), nn.Dropout2d()),
        "5",
    ),
    "all convolutional": (networks.all_convolutional, "8"),
    "residual": (networks.resnet, "2"),
    "residual, in stages": (TorchvisionStyle, "layer2.1"),
    "pre-activation": (networks.pre_activation, "2"),
    "densely connected": (networks.densenet, "6"),
    "inception": (networks.inception, "7"),
    "squeeze and excitation": (networks.squeeze_excitation, "6"),
    "separable": (networks.separable, "10"),
    "group norm": (networks.group_norm, "7"),
    "group norm, activation in place": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True), *head(4)
        ),
        "2",
    ),
    "layer norm": (networks.layer_norm, "5"),
    "functional": (networks.Functional, "conv2"),
    "data-dependent": (networks.DataDependent, "conv2"),
    "functional pooling in blocks": (
        lambda: nn.Sequential(
            nn.Sequential(PoolingInside(3, 4), PoolingInside(4, 5)), *head(5)
        ),
        "0.1.conv",
    ),
    "pooling in blocks": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2)), *head(4)
        ),
        "0.1",
    ),
    "pooling without strides": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 1, 1), *head(4)),
        "0",
    ),
    "convolution as classifier": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 14), nn.Flatten()
        ),
        "1",
    ),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_layer_ends_the_last_convolutional_block(name):
    build, expected = DEFAULTS[name]
    assert default_layer(trained(build)) == expected


@pytest.mark.parametrize(
    ("build", "layer", "expected"),
    [
        (lambda: LeNet(4, (16, 16), 3), "features.relu2", "features.relu1"),
        (networks.vgg, "5", "1"),
        (TorchvisionStyle, "layer2.1", "stem"),
        # Batch norm and activation of the next block come before its convolution.
        (networks.densenet, "6", "1.layers.0.1"),
        # Functional activations are not seen.
        (networks.Functional, "conv2", "conv1"),
        # The layer belongs to the block.
        (networks.vgg, "0", None),
        (networks.vgg, "1", None),
        (networks.SharedConvolution, "conv", None),
    ],
)
def test_the_first_block_ends_before_the_next_convolution(build, layer, expected):
    with eval_mode(trained(build)) as module:
        assert find_first_block(module, layer, IMAGES) == expected


def test_default_layer_of_images_of_one_pixel():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), *head(4))
    assert default_layer(module, torch.rand(2, 3, 1, 1)) == "1"


def test_a_layer_that_runs_twice_is_not_the_default():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.again = nn.Conv2d(4, 4, 3, padding=1)
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            x = self.again(self.again(self.first(x)))
            return self.fc(x.mean((2, 3)))

    module = Twice()
    assert default_layer(module) == "first"
    with eval_mode(module), pytest.raises(ValueError, match="'again' runs 2 times"):
        find_layer(module, "again", IMAGES)


def test_a_layer_that_does_not_run_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), *head(4))
    module.aside = nn.Conv2d(3, 4, 3)
    module.forward = lambda x: module[3](module[2](module[1](module[0](x))))
    with eval_mode(module), pytest.raises(ValueError, match="'aside' runs 0 times"):
        find_layer(module, "aside", IMAGES)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
        nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(192, 4)),
    ],
)
def test_networks_without_convolutions_are_refused(module):
    with pytest.raises(ValueError, match="no two-dimensional convolution"):
        default_layer(module)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("features.rellu2", "did you mean 'features.relu2'?"),
        ("feature.conv2", "did you mean 'features.conv2'?"),
        ("nothing like it", "It has features, features.conv1"),
        ("", "It has features, features.conv1"),
        ("classifier.fc1", "name a convolutional layer"),
    ],
)
def test_unusable_layers_are_named_with_a_way_out(layer, said):
    module = LeNet(4, (16, 16), 3)
    said = f"{re.escape(repr(layer))}.*{re.escape(said)}"
    with eval_mode(module), pytest.raises(ValueError, match=said):
        find_layer(module, layer, IMAGES)


def test_a_layer_with_several_outputs_is_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pair = nn.Conv2d(3, 4, 3), Pair()

        def forward(self, x):
            return self.pair(self.conv(x))[0].mean((2, 3))

    module = Net()
    with eval_mode(module), pytest.raises(ValueError, match="'pair' gives tuple"):
        find_layer(module, "pair", IMAGES)


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


@pytest.mark.parametrize("container", [list, tuple])
def test_layers_are_found_in_the_order_asked(container):
    layers = ["features.relu2", "features.conv1"]
    with eval_mode(LeNet(4, (16, 16), 3)) as module:
        assert find_layers(module, container(layers), IMAGES) == layers
        assert find_layers(module, layers[1], IMAGES) == layers[1]
        assert find_layers(module, None, IMAGES) == layers[0]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "layer is []; pass the path of a layer, or a list"),
        (["features.relu1"] * 2, "pass the path of a layer, or a list of different"),
        ([3], "layer is [3]; pass the path of a layer"),
        ([None, "features.relu2"], "layer is [None, 'features.relu2']; pass the path"),
        ([["features.relu1"]], "pass the path of a layer, or a list of different"),
        (["features.relu1", "features.rellu2"], "did you mean 'features.relu2'?"),
        (["features.relu1", "classifier.fc1"], "'classifier.fc1' gives (2, 120)"),
    ],
)
def test_unusable_lists_of_layers_are_named_with_a_way_out(layers, said):
    module = LeNet(4, (16, 16), 3)
    with eval_mode(module), pytest.raises(ValueError, match=re.escape(said)):
        find_layers(module, layers, IMAGES)


class SkipsTheLast(nn.Sequential):
    def forward(self, x):
        return self[0](x) if x.shape[-1] > 16 else self[1](self[0](x))


def test_a_layer_that_an_image_does_not_reach_is_named():
    module = SkipsTheLast(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).eval()
    wide = torch.zeros(1, 3, 16, 20)
    assert feature_maps(module, "1", IMAGES, "pooled").activations.shape[1] == 4
    with pytest.raises(ValueError, match="does not run layer '1' for images of 16x20"):
        feature_maps(module, "1", wide, "pooled")


def test_the_trunk_takes_images_that_the_head_cannot():
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
def test_images_that_the_trunk_cannot_take_are_named(resolution):
    module = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(5), *head(5))
    with pytest.raises(ValueError, match="cannot take images of 16x12 pixels"):
        feature_maps(module, "1", IMAGES[..., :12], resolution)


def test_evaluation_mode_is_restored_module_by_module_after_an_error():
    module = trained(networks.vgg)
    module[9].eval()
    module.requires_grad_(True)
    modes = [child.training for child in module.modules()]

    def fail_inside():
        with eval_mode(module):
            assert not any(child.training for child in module.modules())
            assert not module(IMAGES).requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [child.training for child in module.modules()] == modes
    assert torch.is_grad_enabled()


def test_hooks_are_gone_after_an_error():
    module = trained(networks.vgg)

    def fail(_output):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), output_hook(module, "5", fail):
        module(IMAGES)
    assert not any(child._forward_hooks for child in module.modules())


def test_hooks_of_a_network_in_several_threads_keep_to_their_own():
    module = trained(networks.vgg).eval()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with output_hook(module, "5", lambda output: output * 0):
            inside.set()
            leave.wait(10)

    before = module(IMAGES)
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    during = module(IMAGES)
    leave.set()
    thread.join()
    assert torch.equal(before, during)


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
