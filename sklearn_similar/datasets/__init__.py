"""Samples of MNIST and Fashion-MNIST, synthetic scenes, and annotations of images."""

from ._coco_reader import CocoFile, load_coco_file
from ._coco_writer import dump_coco_file
from ._cut_instances import cut_instances
from ._dump_annotations import dump_annotations
from ._interoperation import from_napari, from_supervision, to_napari, to_supervision
from ._load_annotations import load_annotations
from ._mnist import fetch_mnist, load_fashion_mnist_sample, load_mnist_sample
from ._scenes import make_scenes

__all__ = [
    "CocoFile",
    "cut_instances",
    "dump_annotations",
    "dump_coco_file",
    "fetch_mnist",
    "from_napari",
    "from_supervision",
    "load_annotations",
    "load_coco_file",
    "load_fashion_mnist_sample",
    "load_mnist_sample",
    "make_scenes",
    "to_napari",
    "to_supervision",
]
