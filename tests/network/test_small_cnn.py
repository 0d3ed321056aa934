"""SmallCNN takes images of any size, and its filters can be ablated exactly."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_similar import SimilarNetClassifier, SmallCNN
from sklearn_similar.datasets import load_mnist_sample


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_images_of_any_size_pass(height, width, in_channels, n_classes):
    module = SmallCNN(n_classes, in_channels).eval()
    output = module(torch.rand(2, in_channels, height, width))
    assert output.shape == (2, n_classes)
    assert output.isfinite().all()


def test_it_learns_digits_and_all_its_last_filters_are_ablated_exactly():
    X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    similar = SimilarNetClassifier(
        SmallCNN, max_epochs=2, batch_size=50, lr=2e-3, random_state=0
    ).fit(X[::2], y[::2])
    assert similar.score(X_test, y_test) > 0.9
    assert similar.layer_ == "features.relu4"
    assert similar.ablation_method_ == "linear"
    assert similar.n_filters_ == (64,)
