"""Receptive fields, and activations at every pixel, against the network itself."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SqueezeExcitation, feature_maps
from torch import nn

from sklearn_similar import LeNet
from sklearn_similar._heatmaps.maps import interpolate_to_pixels, weighted_sum
from sklearn_similar._network.forward import eval_mode


class Slices(nn.Module):
    def forward(self, x):
        return x[:, :, 1::2, ::2]


class LastSlices(nn.Module):
    def forward(self, x):
        return x[..., ::3, 1:-1]


class SizedSqueeze(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(F.avg_pool2d(x, x.shape[2:]))


class ShortcutWithoutWeights(nn.Module):
    """Strides and new channels without weights, as in residual networks for CIFAR."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))


class ChannelsLast(nn.Module):
    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2])
        return x.permute(0, 3, 1, 2)


def conv(*args, **kwargs):
    return nn.Conv2d(2, 2, *args, **kwargs)


# Parts of networks that take two channels and give two (or four, at the end).
PARTS = {
    "3x3": lambda: conv(3, padding=1),
    "valid": lambda: conv(3),
    "same": lambda: conv(3, padding="same"),
    "even": lambda: conv(2),
    "even same": lambda: conv(4, padding="same"),
    "stride 2": lambda: conv(3, stride=2, padding=1),
    "stride 3": lambda: conv(5, stride=3, padding=2),
    "oblong": lambda: conv((1, 3), stride=(1, 2), padding=(0, 1)),
    "patches": lambda: conv(2, stride=2),
    "dilated": lambda: conv(3, dilation=2, padding=2),
    "dilated same": lambda: conv(3, dilation=3, padding="same"),
    "reflected": lambda: conv(3, padding=1, padding_mode="reflect"),
    "wide padding": lambda: conv(3, padding=2),
    "max": lambda: nn.MaxPool2d(2),
    "max ceil": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "max 3/2": lambda: nn.MaxPool2d(3, 2, 1),
    "max 3/1": lambda: nn.MaxPool2d(3, 1, 1),
    "max dilated": lambda: nn.MaxPool2d(2, 2, 0, dilation=2),
    "mean": lambda: nn.AvgPool2d(2),
    "mean ceil": lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
    "mean 3/2": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "mean divided": lambda: nn.AvgPool2d(2, divisor_override=3),
    "relu": nn.ReLU,
    "pad": lambda: nn.ZeroPad2d((2, 1, 1, 0)),
    "reflection": lambda: nn.ReflectionPad2d(1),
    "cut": lambda: nn.ZeroPad2d(-1),
    "slices": Slices,
    "last slices": LastSlices,
    "squeeze": lambda: SqueezeExcitation(2),
    "sized squeeze": SizedSqueeze,
    "channels last": ChannelsLast,
}
STRIDES = {
    "stride 2": (2, 2),
    "stride 3": (3, 3),
    "oblong": (1, 2),
    "patches": (2, 2),
    "slices": (2, 2),
    "last slices": (3, 1),
    "max": (2, 2),
    "max ceil": (2, 2),
    "max 3/2": (2, 2),
    "max dilated": (2, 2),
    "mean": (2, 2),
    "mean ceil": (2, 2),
    "mean 3/2": (2, 2),
    "mean divided": (2, 2),
}


def build(names, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*[PARTS[name]() for name in names], nn.Identity())


def both_resolutions(module, layer, images):
    with eval_mode(module):
        return [
            feature_maps(module, layer, images, resolution)
            for resolution in ("pooled", "dense")
        ]


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def product_of_strides(names):
    strides = np.array([STRIDES.get(name, (1, 1)) for name in names])
    return tuple(strides.prod(axis=0))


def assert_dense_equals_pooled(names, size):
    module = build([*names, "3x3"])
    images = draw(2, 2, *size)
    pooled, dense = both_resolutions(module, str(len(names)), images)
    assert dense.activations.shape == (2, 2, *size)
    stride = product_of_strides(names)
    assert pooled.receptive_field.stride == dense.receptive_field.stride == stride
    assert pooled.receptive_field.start == dense.receptive_field.start
    sampled = dense.activations[:, :, :: stride[0], :: stride[1]]
    # Cells near the border see beyond it, where the two differ.
    rows, columns = (
        slice(length // 3, length - length // 3)
        for length in pooled.activations.shape[2:]
    )
    expected = pooled.activations[:, :, rows, columns]
    assert expected.numel() > 0
    torch.testing.assert_close(
        sampled[:, :, rows, columns], expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", [name for name in PARTS if "squeeze" not in name])
@pytest.mark.parametrize("before", [[], ["max"], ["stride 3", "3x3"]])
def test_dense_activations_at_the_stride_equal_pooled_ones(name, before):
    if name == "reflected" and before:
        pytest.skip("wider than the map")
    assert_dense_equals_pooled([*before, name], (96, 90))


@given(
    st.lists(
        st.sampled_from(
            [name for name in PARTS if "squeeze" not in name and "refl" not in name]
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_dense_activations_equal_pooled_ones_for_any_sequence_of_layers(names):
    assert_dense_equals_pooled(names, (150, 160))


@pytest.mark.parametrize("name", ["squeeze", "sized squeeze"])
def test_dense_activations_keep_gates_that_see_the_whole_map(name):
    module = build(["max", "relu", name, "3x3"])
    (maps,) = both_resolutions(module, "3", draw(1, 2, 24, 24))[1:]
    with torch.no_grad():
        # The same by hand: the pooling at stride 1, and its mean for the gate.
        x = F.pad(draw(1, 2, 24, 24), (0, 1, 0, 1), value=-torch.inf)
        x = module[2](F.max_pool2d(x, 2, 1))
        expected = F.conv2d(x, module[3].weight, module[3].bias, 1, 2, 2)
    torch.testing.assert_close(maps.activations, expected)


def test_shortcuts_without_weights_can_be_dense():
    module = nn.Sequential(nn.MaxPool2d(2), ShortcutWithoutWeights())
    pooled, dense = both_resolutions(module, "1", draw(2, 2, 48, 48))
    torch.testing.assert_close(
        dense.activations[:, :, 8:-8:4, 8:-8:4], pooled.activations[:, :, 2:-2, 2:-2]
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 4), (5, 2)])
def test_tiny_images_have_activations_at_every_pixel(size):
    module = LeNet(3, size)
    for maps in both_resolutions(module, "features.relu2", draw(2, 1, *size)):
        assert maps.activations.isfinite().all()
    assert maps.activations.shape == (2, 16, *size)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2), (4, 3)])
def test_dense_activations_exist_where_an_image_is_smaller_than_any_window(size):
    module = build(["valid", "max", "stride 3", "mean", "valid"])
    with eval_mode(module):
        maps = feature_maps(module, "4", draw(2, 2, *size), "dense")
    assert maps.activations.shape == (2, 2, *size)
    assert maps.activations.isfinite().all()


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_grid_lies_on_the_centres_of_receptive_fields(offset):
    """The gradient of a cell with equal weights is symmetric about its centre."""
    names = ["valid", "relu", "even", "pad", "relu", "stride 2", "mean", "dilated"]
    names += ["patches", "wide padding", "oblong", "cut"]
    for n_parts in range(1, len(names) + 1):
        module = build(names[:n_parts])
        for parameter in module.parameters():
            nn.init.constant_(parameter, 1)
        images = draw(1, 2, 256, 300).requires_grad_()
        module(images)
        maps = feature_maps(module, str(n_parts), images, "pooled")
        row, column = (n // 2 - offset for n in maps.activations.shape[2:])
        maps.activations[0, :, row, column].sum().backward()
        seen = images.grad[0].sum(dim=0).numpy()
        rows, columns = np.nonzero(seen)
        centre = [np.average(rows, weights=seen[rows, columns])]
        centre.append(np.average(columns, weights=seen[rows, columns]))
        expected = [
            start + step * index
            for start, step, index in zip(
                maps.receptive_field.start,
                maps.receptive_field.stride,
                (row, column),
                strict=True,
            )
        ]
        assert centre == pytest.approx(expected, abs=1e-3), names[:n_parts]


@pytest.mark.parametrize(
    "resize",
    [
        nn.AdaptiveAvgPool2d(6),
        nn.AdaptiveMaxPool2d((6, 8)),
        nn.Upsample(scale_factor=2),
        nn.Upsample(size=(24, 12), mode="bilinear"),
        nn.ConvTranspose2d(2, 2, 2, stride=2),
    ],
)
def test_resized_maps_are_placed_and_only_pooled(resize):
    module = nn.Sequential(nn.AvgPool2d(2), resize, nn.Conv2d(2, 2, 1))
    images = torch.zeros(1, 2, 24, 24)
    with eval_mode(module):
        maps = feature_maps(module, "2", images, "pooled")
        for axis in (0, 1):
            first = maps.receptive_field.start[axis]
            last = first + maps.receptive_field.stride[axis] * (
                maps.activations.shape[axis + 2] - 1
            )
            assert (first + last) / 2 == pytest.approx(11.5)
        with pytest.raises(ValueError, match="resolution='pooled'"):
            feature_maps(module, "2", images, "dense")


SPOT_NETWORKS = {
    **{
        f"{kernel}x{kernel} stride {stride}": (
            lambda kernel=kernel, stride=stride: nn.Sequential(
                nn.Conv2d(1, 1, kernel, stride, kernel // 2),
                nn.Conv2d(1, 1, 3, padding=1),
            )
        )
        for kernel in (1, 2, 3, 4, 5, 8)
        for stride in (1, 2, 3, 4, 8)
        if kernel >= stride
    },
    "valid": lambda: nn.Sequential(nn.Conv2d(1, 1, 7), nn.ReLU(), nn.Conv2d(1, 1, 5)),
    "poolings": lambda: nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(2), nn.Identity()
    ),
    "padded before": lambda: nn.Sequential(
        nn.ZeroPad2d((1, 3, 4, 0)), nn.Conv2d(1, 1, 5), nn.AvgPool2d(2)
    ),
}


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize("name", SPOT_NETWORKS)
def test_a_bright_spot_has_its_heat_centred_on_it(name, resolution):
    module = SPOT_NETWORKS[name]()
    for parameter in module.parameters():
        nn.init.constant_(parameter, float(parameter.ndim > 1))
    # Over a stride's places, the grid's steps average out.
    centres = []
    for shift in range(24):
        images = torch.zeros(1, 1, 96, 96)
        images[0, 0, 36 + shift, 32 + shift] = 1
        with eval_mode(module):
            maps = feature_maps(module, str(len(module) - 1), images, resolution)
            heat = interpolate_to_pixels(
                weighted_sum(maps, torch.ones(1, 1)), maps, (96, 96)
            )
        heat = heat[0, 0].numpy()
        assert heat.shape == (96, 96)
        rows, columns = np.indices(heat.shape)
        centres.append(
            [
                (rows * heat).sum() / heat.sum() - 36 - shift,
                (columns * heat).sum() / heat.sum() - 32 - shift,
            ]
        )
    tolerance = 0.01 if resolution == "pooled" else 0.51
    assert np.abs(np.mean(centres, axis=0)).max() < tolerance
