"""A small batch-normalised network, better than LeNet on textures and clutter."""

from collections import OrderedDict

from torch import Tensor, nn

__all__ = ["SmallCNN"]

_N_FILTERS = (16, 32, 64, 64)
# Rows and columns of the last feature map that the classifier sees, whatever the size.
_POOLED = 4
_N_HIDDEN = 128
_DROPOUT = 0.5


class SmallCNN(nn.Module):
    """Four batch-normalised convolutional blocks, for images of any size.

    Convolutions with 16, 32, 64 and 64 filters (5x5, then 3x3, same-padding), each
    followed by 2x2 max-pooling (the first two), batch normalisation and ReLU; the
    mean over a 4x4 grid, half of it dropped out in training; two fully connected layers
    (128, `n_classes`).

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
        first, second, third, fourth = _N_FILTERS
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, first, 5, padding=2, bias=False),
                pool1=nn.MaxPool2d(2, ceil_mode=True),
                norm1=nn.BatchNorm2d(first),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(first, second, 3, padding=1, bias=False),
                pool2=nn.MaxPool2d(2, ceil_mode=True),
                norm2=nn.BatchNorm2d(second),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(second, third, 3, padding=1, bias=False),
                norm3=nn.BatchNorm2d(third),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(third, fourth, 3, padding=1, bias=False),
                norm4=nn.BatchNorm2d(fourth),
                relu4=nn.ReLU(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(_POOLED),
                flatten=nn.Flatten(),
                dropout=nn.Dropout(_DROPOUT),
                fc1=nn.Linear(fourth * _POOLED**2, _N_HIDDEN),
                relu5=nn.ReLU(),
                fc2=nn.Linear(_N_HIDDEN, n_classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits), n_images x n_classes, of N x C x H x W images."""
        return self.classifier(self.features(images))
