"""Image recognition, heatmaps by filter ablation, and object detection."""

__version__ = "0.1.0"

from . import datasets, display, metrics, report
from ._ablation.single_images import FilterAblation
from ._classifier import SimilarNetClassifier
from ._heatmaps.class_map import ClassMap
from ._learning.training_crops import make_training_crops
from ._localizer import InstanceLocalizer
from ._network.architectures import LeNet, SmallCNN
from ._saving.persistence import load, save

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
