"""Recognise and localise from image labels alone, with filter ablation."""

from . import datasets, display, metrics, report
from ._ablation.single_images import FilterAblation
from ._classifier import SimilarNetClassifier
from ._heatmaps.class_map import ClassMap
from ._learning.training_crops import make_training_crops
from ._localizer import InstanceLocalizer
from ._network.lenet import LeNet
from ._network.small_cnn import SmallCNN
from ._saving.persistence import load, save
from ._version import __version__

__all__ = [
    "ClassMap",
    "FilterAblation",
    "InstanceLocalizer",
    "LeNet",
    "SimilarNetClassifier",
    "SmallCNN",
    "__version__",
    "datasets",
    "display",
    "load",
    "make_training_crops",
    "metrics",
    "report",
    "save",
]
