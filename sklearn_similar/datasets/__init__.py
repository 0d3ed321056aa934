"""Samples of MNIST and Fashion-MNIST, synthetic scenes, and COCO files."""

from ._coco_reader import CocoFile, load_coco_file
from ._coco_writer import dump_coco_file
from ._mnist import fetch_mnist, load_fashion_mnist_sample, load_mnist_sample
from ._scenes import make_scenes

__all__ = [
    "CocoFile",
    "dump_coco_file",
    "fetch_mnist",
    "load_coco_file",
    "load_fashion_mnist_sample",
    "load_mnist_sample",
    "make_scenes",
]
