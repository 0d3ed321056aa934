"""How far activations reach, measured on networks where it is known."""

import pytest
import torch
from torch import nn

from sklearn_similar import LeNet, SmallCNN
from sklearn_similar._network.forward import eval_mode
from sklearn_similar._network.tile_halo import NotLocalError, find_tile_halo


def tile_halo(module, layer, resolution="pooled"):
    with eval_mode(module):
        return find_tile_halo(
            module, [layer], resolution, 1, "cpu", torch.contiguous_format
        )


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        maps = self.conv(images)
        return self.last(maps * maps.mean(dim=(2, 3), keepdim=True).sigmoid())


class Positioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, images):
        return self.last(images + torch.linspace(0, 1, images.shape[3]))


class DownAndUp(nn.Module):
    """Stride 1 at the layer, but poolings of a stride of 8 before it."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(8))
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        maps = nn.functional.interpolate(self.down(images), scale_factor=8)
        return self.last(maps)


@pytest.mark.parametrize("resolution", ["pooled", "dense"])
@pytest.mark.parametrize(
    ("module", "layer", "radius"),
    [(LeNet(), "features.relu2", 7), (SmallCNN(), "features.relu3", 10)],
)
def test_the_halo_covers_the_receptive_field_and_little_more(
    module, layer, radius, resolution
):
    found = tile_halo(module, layer, resolution)
    assert radius <= found.halo <= radius + 12
    assert found.bytes_per_pixel > 0


def test_tiles_begin_at_strides():
    assert tile_halo(LeNet(), "features.relu2").step == 2
    assert tile_halo(SmallCNN(), "features.relu3").step == 4


def test_strides_before_an_enlargement_count():
    assert tile_halo(DownAndUp(), "last").step == 8


@pytest.mark.parametrize(
    ("module", "reason"), [(Squeezed(), "all of the image"), (Positioned(), "position")]
)
def test_networks_that_depend_on_more_than_a_tile_are_refused(module, reason):
    with pytest.raises(NotLocalError, match=reason):
        tile_halo(module, "last")
