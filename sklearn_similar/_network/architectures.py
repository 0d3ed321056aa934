"""Networks that come with the package: the paper's LeNet, and SmallCNN."""

from collections import OrderedDict
from math import ceil

from torch import Tensor, nn

__all__ = ["LeNet", "SmallCNN"]


class LeNet(nn.Module):
    """LeNet as in Table 1 of the SIMILARnet paper, for images of any size.

    Two convolutional blocks (5x5 convolutions with 6 and 16 filters and
    same-padding, each followed by ReLU and 2x2 max-pooling) and three fully
    connected layers (120, 84, `n_classes`).

    Parameters
    ----------
    n_classes : int, default=10
        Number of outputs.
    image_shape : tuple of (int, int), default=(28, 28)
        Height and width in pixels of the images to classify, from 1x1 up.
    in_channels : int, default=1
        Number of colour channels.

    Notes
    -----
    The poolings round sizes up, so that images of odd sizes keep their last
    row and column and a 1x1 image passes; at 28x28 this changes nothing.

    References
    ----------
    Ghosh, Bhattacharya, Basu Roy Chowdhury: "SIMILARnet: Simultaneous
    Intelligent Localization and Recognition Network" (2017), Table 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_similar import LeNet
    >>> LeNet(n_classes=10)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        n_classes: int = 10,
        image_shape: tuple[int, int] = (28, 28),
        in_channels: int = 1,
    ):
        super().__init__()
        height, width = (ceil(ceil(length / 2) / 2) for length in image_shape)
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 6, kernel_size=5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2, ceil_mode=True),
                conv2=nn.Conv2d(6, 16, kernel_size=5, padding=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2, ceil_mode=True),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(16 * height * width, 120),
                relu3=nn.ReLU(),
                fc2=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                fc3=nn.Linear(84, n_classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits), n_images x n_classes, of N x C x H x W images."""
        return self.classifier(self.features(images))


class SmallCNN(nn.Module):
    """Small network of four batch-normalised convolutions, for images of any size.

    Convolutions with 16, 32, 64 and 64 filters (5x5, then 3x3, same-padding), each
    followed by 2x2 max-pooling (the first two), batch normalisation and ReLU. Their
    output is averaged to 4x4 and followed by dropout (0.5) and two fully connected
    layers (128, `n_classes`). Better than LeNet on textures and clutter.

    Parameters
    ----------
    n_classes : int, default=10
        Number of outputs.
    in_channels : int, default=1
        Number of colour channels.

    See Also
    --------
    LeNet : The network of the SIMILARnet paper.

    Examples
    --------
    >>> import torch
    >>> from sklearn_similar import SmallCNN
    >>> SmallCNN(n_classes=10)(torch.zeros(3, 1, 40, 25)).shape
    torch.Size([3, 10])
    """

    def __init__(self, n_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 16, 5, padding=2, bias=False),
                pool1=nn.MaxPool2d(2, ceil_mode=True),
                norm1=nn.BatchNorm2d(16),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(16, 32, 3, padding=1, bias=False),
                pool2=nn.MaxPool2d(2, ceil_mode=True),
                norm2=nn.BatchNorm2d(32),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(32, 64, 3, padding=1, bias=False),
                norm3=nn.BatchNorm2d(64),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(64, 64, 3, padding=1, bias=False),
                norm4=nn.BatchNorm2d(64),
                relu4=nn.ReLU(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(4),
                flatten=nn.Flatten(),
                dropout=nn.Dropout(0.5),
                fc1=nn.Linear(64 * 4 * 4, 128),
                relu5=nn.ReLU(),
                fc2=nn.Linear(128, n_classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits), n_images x n_classes, of N x C x H x W images."""
        return self.classifier(self.features(images))
