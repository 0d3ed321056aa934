"""Recognise and localise from image labels alone, with filter ablation."""

from . import datasets, metrics
from ._classifier import SimilarNetClassifier
from ._lenet import LeNet

__version__ = "0.1.0"

__all__ = ["LeNet", "SimilarNetClassifier", "__version__", "datasets", "metrics"]
