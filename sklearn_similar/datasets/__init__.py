"""Real digits, and scenes that are made of any labelled images."""

from sklearn_similar.datasets._background import sample_background
from sklearn_similar.datasets._mnist import fetch_mnist, load_mnist_sample
from sklearn_similar.datasets._scenes import make_scenes

__all__ = [
    "fetch_mnist",
    "load_mnist_sample",
    "make_scenes",
    "sample_background",
]
