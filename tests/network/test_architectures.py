"""LeNet is that of the paper's Table 1; both networks take images of any size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_similar import LeNet, SimilarNetClassifier, SmallCNN
from sklearn_similar.datasets import load_mnist_sample


def shapes_of_layers(module, images):
    shapes = []
    for layer in (*module.features, *module.classifier):
        images = layer(images)
        shapes.append(tuple(images.shape[1:]))
    return shapes


def test_layers_are_those_of_the_table():
    assert shapes_of_layers(LeNet(), torch.zeros(2, 1, 28, 28)) == [
        (6, 28, 28),
        (6, 28, 28),
        (6, 14, 14),
        (16, 14, 14),
        (16, 14, 14),
        (16, 7, 7),
        (784,),
        (120,),
        (120,),
        (84,),
        (84,),
        (10,),
    ]


def test_weights_are_as_many_as_the_table_has():
    n_weights = sum(parameter.numel() for parameter in LeNet().parameters())
    kernels = 6 * 25 + 6 + 16 * 6 * 25 + 16
    assert n_weights == kernels + 785 * 120 + 121 * 84 + 85 * 10


def test_output_is_that_of_the_formulas():
    module = LeNet().eval()
    images = torch.rand(3, 1, 28, 28)
    weights = module.state_dict()

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def block(x, name):
        x = F.conv2d(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding="same"
        )
        n, channels, height, width = x.shape
        cells = x.clamp(min=0).reshape(n, channels, height // 2, 2, width // 2, 2)
        return cells.amax((3, 5))

    x = block(block(images, "features.conv1"), "features.conv2").reshape(3, -1)
    x = linear(x, "classifier.fc1").clamp(min=0)
    x = linear(x, "classifier.fc2").clamp(min=0)
    torch.testing.assert_close(module(images), linear(x, "classifier.fc3"))


@given(st.integers(1, 33), st.integers(1, 33), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=40)
def test_images_of_any_size_pass(height, width, in_channels, n_classes):
    module = LeNet(n_classes, (height, width), in_channels)
    output = module(torch.rand(2, in_channels, height, width))
    assert output.shape == (2, n_classes)
    assert output.isfinite().all()


@pytest.mark.parametrize("row", [0, 28])
def test_images_of_odd_sizes_keep_their_last_row(row):
    module = LeNet(image_shape=(29, 29))
    images = torch.zeros(1, 1, 29, 29)
    before = module(images)
    images[:, :, row] = 5
    assert not torch.allclose(module(images), before)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=40)
def test_small_cnn_takes_images_of_any_size(height, width, in_channels, n_classes):
    module = SmallCNN(n_classes, in_channels).eval()
    output = module(torch.rand(2, in_channels, height, width))
    assert output.shape == (2, n_classes)
    assert output.isfinite().all()


def test_small_cnn_learns_digits_and_its_last_filters_are_ablated_exactly():
    X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    similar = SimilarNetClassifier(
        SmallCNN, max_epochs=3, batch_size=20, lr=2e-3, random_state=0
    ).fit(X[::8], y[::8])
    assert similar.score(X_test[::2], y_test[::2]) > 0.8
    assert similar.layer_ == "features.relu4"
    assert similar.ablation_method_ == "linear"
    assert similar.n_filters_ == (64,)
