"""Small networks of the kinds that people use, for images of 3 x 16 x 16."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sklearn_similar._images.images import Images
from sklearn_similar._network.activations import extract_activations
from sklearn_similar._network.specification import NetSpecification
from sklearn_similar._network.trained import TrainedNetwork
from sklearn_similar._network.training import TrainingData, train_network

N_CLASSES = 4


class Residual(nn.Module):
    """Basic block with in-place operations, as in torchvision."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride > 1 or n_in != n_out:
            self.downsample = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class PreActivation(nn.Module):
    """Block whose in-place activation also changes what is added at its end."""

    def __init__(self, n):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(n, n, 3, padding=1)

    def forward(self, x):
        return self.conv(self.relu(x)) + x


class Dense(nn.Module):
    def __init__(self, n_in, growth=4, n_layers=3):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(n_in + i * growth),
                nn.ReLU(),
                nn.Conv2d(n_in + i * growth, growth, 3, padding=1),
            )
            for i in range(n_layers)
        )

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


class Inception(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.branch1 = nn.Conv2d(n_in, 4, 1)
        self.branch3 = nn.Sequential(nn.Conv2d(n_in, 4, 3, padding=1), nn.ReLU())
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, 1, 1), nn.Conv2d(n_in, 4, 1), nn.SiLU()
        )

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch3(x), self.branch_pool(x)], 1)


class SqueezeExcitation(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down = nn.Conv2d(n, 2, 1)
        self.up = nn.Conv2d(2, n, 1)

    def forward(self, x):
        gate = torch.sigmoid(self.up(torch.relu(self.down(self.pool(x)))))
        return x * gate


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.drop = nn.Dropout2d()
        self.fc1 = nn.Linear(8 * 2 * 2, 12)
        self.fc2 = nn.Linear(12, N_CLASSES)

    def forward(self, x, return_features=False):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.drop(self.conv2(x))), 2)
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x), inplace=True)
        if return_features:
            return x
        x = F.dropout(x, training=self.training)
        return self.fc2(x.view(x.shape[0], -1))


class FunctionalWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(N_CLASSES, 8))

    def forward(self, x):
        return F.linear(F.relu(self.conv(x)).mean((2, 3)), self.weight)


class DataDependent(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.fc = nn.Linear(6, N_CLASSES)

    def forward(self, x):
        x = self.conv1(x)
        if x.mean() > 1e9:
            x = -x
        return self.fc(torch.relu(self.conv2(torch.relu(x))).amax((2, 3)))


class ConcatenatedPooling(nn.Module):
    """Each filter's average and maximum go to the linear layer, far apart."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(14, N_CLASSES)

    def forward(self, x):
        x = self.relu(self.conv(x))
        return self.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class ChannelShuffle(nn.Module):
    """The first, middle and last of its channels stay where they are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x[:, [0, 2, 1, 3, 4, 6, 5, 7]])


class SwallowsNaN(nn.Module):
    """Filters meet only in a comparison, which hides what depends on NaN."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        x = self.conv(x)
        x = x * (x > x.mean(1, keepdim=True))
        return self.fc(x.mean((2, 3)))


@torch.fx.wrap
def keep_greater(x):
    return x * (x > x.mean(1, keepdim=True))


class OpaqueComparison(nn.Module):
    """The same in a function that tracing does not look into."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        return self.fc(keep_greater(self.conv(x)).mean((2, 3)))


class WritesWithoutReturn(nn.Module):
    """An operation whose result is visible in the overwritten tensor alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, N_CLASSES)

    def forward(self, x):
        x = self.conv(x)
        x.clamp_(min=0)
        x[:, 0] = x[:, 1]
        return self.fc(x.mean((2, 3)))


class WritesToView(WritesWithoutReturn):
    def forward(self, x):
        x = self.conv(x)
        x.view(x.shape).clamp_(min=0)
        return self.fc(x.mean((2, 3)))


class RunningSum(nn.Module):
    """The second value depends on both filters, but the first on one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.fc = nn.Linear(2, N_CLASSES)

    def forward(self, x):
        return self.fc(self.conv(x).cumsum(1).mean((2, 3)))


class UnusedBranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, N_CLASSES, 3, padding=1)
        self.fc = nn.Linear(N_CLASSES, 2)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        self.fc(x)
        return x


class BothSigns(nn.Module):
    """Positive and negative parts, in separate channels."""

    def forward(self, x):
        return torch.cat([torch.relu(x), torch.relu(-x)], 1)


class Function(nn.Module):
    """A function of tensors as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def overwrite_reshaped(x):
    F.hardtanh(x.reshape(x.shape[0], -1), -3, 1, inplace=True)
    return x


def overwrite_channels(x):
    x[:, :4].clamp_(max=1)
    return x


def overwrite_data(x):
    x.data.clamp_(max=1)
    return x


def overwrite_select(x):
    x.select(1, 2).clamp_(max=1)
    return x


def overwrite_out(x):
    torch.clamp(x, max=1, out=x)
    return x


def overwrite_before_view_is_read(x):
    view = x.view(x.shape)
    x += 1
    return view


def assign_data(x):
    x.data = x.data.clamp(max=1)
    return x


def clamp_tensors(x):
    return x.clamp(max=1) if isinstance(x, torch.Tensor) else x


def clamp_large_tensors(x):
    return x.clamp(max=1) if isinstance(x, torch.Tensor) and x.max() > 1 else x


def clamp_unless_it_fails(x):
    try:
        return x.clamp(max=1 if x.mean() > -9 else 9)
    except Exception:
        return x


def clamp_large_batches(x):
    return x.clamp(max=0.1) if isinstance(x, torch.Tensor) and x.shape[0] > 9 else x


class ImagesInPlace(nn.Module):
    """Normalises its images where they are."""

    def __init__(self):
        super().__init__()
        self.rest = global_pooling(nn.ReLU())

    def forward(self, x):
        x -= 0.4
        x /= 0.5
        return self.rest(x)


class LayerInPlace(nn.Module):
    """The values that the layer overwrites are read again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        x = self.conv(x)
        x = self.mix(self.relu(x)) + x
        return self.fc(x.mean((2, 3)))


class SharedConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = torch.relu(self.again(torch.relu(self.again(x))))
        return self.fc(x.mean((2, 3)))


class FeaturesFromHook(nn.Module):
    """A hook keeps the features, which are read after the trunk has run."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(*convolutions(8, nn.ReLU()))
        self.fc = nn.Linear(8, N_CLASSES)
        self.features = []
        self.trunk[5].register_forward_hook(self.keep)

    def keep(self, _module, _inputs, output):
        self.features.append(output)

    def forward(self, x):
        self.trunk(x)
        return self.fc(self.features.pop(0).mean((2, 3)))


def convolutions(n_out=8, *rest):
    """Two convolutions, the second with batch norm."""
    return [
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, n_out, 3, padding=1),
        nn.BatchNorm2d(n_out),
        *rest,
    ]


def pooled_linear(n):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, N_CLASSES)]


def vgg():
    return nn.Sequential(
        *convolutions(8, nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(24, 20),
        nn.Dropout(0.2, inplace=True),
        nn.ReLU(inplace=True),
        nn.Linear(20, N_CLASSES),
    )


def vgg_with_average():
    return nn.Sequential(
        *convolutions(8, nn.ReLU(inplace=True), nn.Dropout2d(inplace=True)),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(1),
        nn.Linear(32, 24),
        nn.GELU(),
        nn.Linear(24, N_CLASSES),
    )


def global_pooling(*activation):
    return nn.Sequential(*convolutions(9, *activation), *pooled_linear(9))


def all_convolutional():
    return nn.Sequential(
        *convolutions(8, nn.ReLU()),
        nn.Conv2d(8, 10, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(10, N_CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        Residual(6, 6),
        Residual(6, 8, 2),
        *pooled_linear(8),
    )


def pre_activation():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        PreActivation(6),
        PreActivation(6),
        *pooled_linear(6),
    )


def densenet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        Dense(6),
        nn.Conv2d(18, 8, 1),
        nn.AvgPool2d(2),
        Dense(8),
        nn.BatchNorm2d(20),
        nn.ReLU(inplace=True),
        *pooled_linear(20),
    )


def inception():
    return nn.Sequential(
        *convolutions(8, nn.ReLU()), Inception(8), Inception(12), *pooled_linear(12)
    )


def squeeze_excitation():
    return nn.Sequential(
        *convolutions(8, nn.SiLU()), SqueezeExcitation(8), *pooled_linear(8)
    )


def mixed_by(*layers):
    """The convolutions' 8 filters meet in the layers, which give 6."""
    return nn.Sequential(*convolutions(8, nn.ReLU()), *layers, *pooled_linear(6))


def separable():
    return mixed_by(
        nn.Conv2d(8, 16, 3, padding=1, groups=8),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 6, 1),
        nn.Hardswish(),
    )


def grouped():
    return mixed_by(nn.Conv2d(8, 6, 3, stride=2, padding="valid", groups=2), nn.GELU())


def dilated():
    return mixed_by(nn.Conv2d(8, 6, 3, padding="same", dilation=2), nn.Tanh())


def reflected():
    return mixed_by(nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect"), nn.ReLU())


def both_signs(groups):
    return nn.Sequential(
        *convolutions(8, BothSigns()),
        nn.Conv2d(16, 6, 3, padding=1, groups=groups),
        nn.ReLU(),
        *pooled_linear(6),
    )


def group_norm():
    return nn.Sequential(
        *convolutions(8, nn.ReLU()), nn.GroupNorm(2, 8), nn.SiLU(), *pooled_linear(8)
    )


def layer_norm():
    return nn.Sequential(
        *convolutions(8, nn.GELU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(8),
        nn.Linear(8, N_CLASSES),
    )


def shuffled():
    return nn.Sequential(
        *convolutions(8, nn.ReLU()),
        ChannelShuffle(nn.Conv2d(8, 6, 3, padding=1)),
        nn.ReLU(),
        *pooled_linear(6),
    )


def altered_by(function):
    """A function of the activations comes before what mixes channels."""
    return nn.Sequential(
        *convolutions(8, nn.ReLU()),
        Function(function),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        *pooled_linear(6),
    )


def hooked(register, hook):
    """The layer that mixes channels has a hook."""
    module = mixed_by(nn.Conv2d(8, 6, 3, padding=1))
    getattr(module[6], register)(hook)
    return module


def clamp_output(_module, _inputs, output):
    return output.clamp(max=0.3)


def clamp_input(_module, inputs):
    return (inputs[0].clamp(max=0.3),)


def probabilities():
    return nn.Sequential(*convolutions(5, nn.ReLU()), *pooled_linear(5), nn.Softmax(1))


def trained(build, seed=0):
    """A network in training mode, with weights and statistics as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build()
        for child in module.modules():
            if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm1d)):
                nn.init.uniform_(child.weight, 0.5, 1.5)
                nn.init.uniform_(child.bias, 0.1, 0.5)
                child.running_mean.normal_(0, 0.1)
                child.running_var.uniform_(0.5, 1.5)
    return module


def as_images(tensor):
    """Images N x C x H x W as the package holds them."""
    return Images(np.ascontiguousarray(tensor.permute(0, 2, 3, 1).numpy()), "images")


def as_network(module, batch_size=5, n_classes=N_CLASSES, **options):
    """A module of colour images, ready to be run."""
    options = {"returns_probabilities": False, "n_channels": 3} | options
    return TrainedNetwork(
        module=module,
        device="cpu",
        batch_size=batch_size,
        n_classes=n_classes,
        **options,
    )


def feature_maps(module, layer, images, resolution="pooled"):
    """Activations of one layer."""
    (maps,) = extract_activations(module, (layer,), images, resolution)
    return maps


class Scores(nn.Module):
    """Small network with dropout, for 1 x 8 x 8."""

    def __init__(self, n_classes=3, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.fc(self.dropout(self.norm(self.conv(x)).relu().mean(dim=(2, 3))))


class Probabilities(Scores):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


def specification(**params):
    """Specification of a net for images of 8x8 and 3 classes."""
    defaults = {
        "module": None,
        "n_classes": 3,
        "image_shape": (8, 8),
        "max_epochs": 2,
        "lr": 0.01,
        "lr_decay": 0.1,
        "batch_size": 7,
        "net_params": None,
        "class_weight": None,
        "device": "cpu",
        "n_training": 30,
        "seed": 5,
    }
    return NetSpecification(**(defaults | params))


def train(images, y, indices=None, **params):
    """Weights and history of a net that was trained on some images."""
    indices = np.arange(len(y)) if indices is None else indices
    data = TrainingData(images=images, y=y, sampling_indices=indices)
    net_specification = specification(**params)
    return train_network(net_specification.build(), net_specification, data)
