"""Small networks, deeper than LeNet, for images with any number of channels."""

import torch
from torch import nn


def _convolution(n_in, n_out, stride=1):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.first = _convolution(n_in, n_out, stride)
        self.second = nn.Sequential(
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
        )
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


class SmallResNet(nn.Sequential):
    """Residual blocks, global average pooling and one linear layer; stride 4.

    Parameters
    ----------
    n_classes, in_channels : int
    width : int, default=16
        Filters of the stem; the last block has four times as many.
    """

    def __init__(self, n_classes, in_channels=1, width=16):
        super().__init__()
        self.stem = _convolution(in_channels, width)
        self.block1 = ResidualBlock(width, 2 * width, stride=2)
        self.block2 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(4 * width, n_classes)


class SmallVGG(nn.Sequential):
    """Convolutions and max-poolings, then linear layers on the flattened maps.

    Parameters
    ----------
    n_classes, in_channels : int
    image_shape : tuple
        Height and width of the images (further entries are ignored).
    n_filters : int, default=256
        Filters of the last convolution.
    n_hidden : tuple of int, default=(256,)
        Units of the linear layers before the last one.
    """

    def __init__(
        self, n_classes, in_channels=1, image_shape=(64, 64), n_filters=256,
        n_hidden=(256,),
    ):  # fmt: skip
        super().__init__()
        self.features = nn.Sequential()
        n_in = in_channels
        for n_out in (16, 32, 64, n_filters):
            self.features.extend([*_convolution(n_in, n_out), nn.MaxPool2d(2)])
            n_in = n_out
        height, width = (length // 2**4 for length in image_shape[:2])
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential()
        n_in = n_filters * height * width
        for n_out in n_hidden:
            self.classifier.extend([nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout()])
            n_in = n_out
        self.classifier.append(nn.Linear(n_in, n_classes))


class NormalizedVGG(nn.Sequential):
    """SmallVGG's feature maps, a normalisation over all filters, and convolutions.

    Parameters
    ----------
    n_classes, in_channels : int
    n_filters : int, default=64
        Filters of the convolutions before and after the normalisation.
    n_convolutions : int, default=1
        Convolutions after the normalisation.
    """

    def __init__(self, n_classes, in_channels=1, n_filters=64, n_convolutions=1):
        super().__init__()
        self.features = SmallVGG(n_classes, in_channels, n_filters=n_filters).features
        self.normalization = nn.GroupNorm(1, n_filters)
        self.convolutions = nn.Sequential(
            *(_convolution(n_filters, n_filters) for _ in range(n_convolutions))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(n_filters, n_classes)


class AlexNet(nn.Sequential):
    """AlexNet for colour images of 224 x 224: three linear layers of 4,096 units."""

    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
            nn.MaxPool2d(3, 2),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
            nn.MaxPool2d(3, 2),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
            nn.MaxPool2d(3, 2),
        )
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
            nn.Linear(4096, n_classes),
        )


class AverageVGG(nn.Sequential):
    """Convolutions and average-poolings, then one linear layer on the mean; stride 8.

    Parameters
    ----------
    n_classes, in_channels : int
    n_filters : int, default=128
        Filters of the last two convolutions.
    """

    def __init__(self, n_classes, in_channels=1, n_filters=128):
        super().__init__()
        self.features = nn.Sequential()
        n_in = in_channels
        for n_out in (16, 32, 64):
            self.features.extend([*_convolution(n_in, n_out), nn.AvgPool2d(2)])
            n_in = n_out
        for _ in range(2):
            self.features.extend(_convolution(n_in, n_filters))
            n_in = n_filters
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(n_filters, n_classes)


class DenseBlock(nn.Module):
    """Densely connected convolutions: the input of each are all previous outputs."""

    def __init__(self, n_in, growth, n_layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(n_in + index * growth),
                nn.SiLU(),
                nn.Conv2d(n_in + index * growth, growth, 3, padding=1, bias=False),
            )
            for index in range(n_layers)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class SmallDenseNet(nn.Sequential):
    """Densely connected blocks with SiLU, average pooling, one linear layer; stride 4.

    Parameters
    ----------
    n_classes, in_channels : int
    growth : int, default=16
        Filters that each convolution of a block adds; the last layer has six times as
        many.
    """

    def __init__(self, n_classes, in_channels=1, growth=16):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, growth, 3, stride=2, padding=1, bias=False)
        self.block1 = DenseBlock(growth, growth, 3)
        self.transition = nn.Sequential(
            nn.BatchNorm2d(4 * growth),
            nn.SiLU(),
            nn.Conv2d(4 * growth, 3 * growth, 1, bias=False),
            nn.AvgPool2d(2),
        )
        self.block2 = DenseBlock(3 * growth, growth, 3)
        self.normalization = nn.BatchNorm2d(6 * growth)
        self.activation = nn.SiLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(6 * growth, n_classes)
