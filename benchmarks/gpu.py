"""Time on a GPU, compared with the CPU of the same machine.

    tox -e benchmark-gpu                 (a few minutes; exits if there is no GPU)
    tox -e benchmark-gpu -- --quick

The benchmark runs LeNet on 28x28 digits, a residual network with 256 filters on 128x128
colour images, and `InstanceLocalizer` on scenes. Times include the conversion from and
to NumPy arrays. The networks also run in mixed precision, with a module that wraps the
forward pass in `torch.autocast`. "difference" is the maximum difference from the GPU's
results in single precision, as a share of the maximum value.
"""

import copy
from functools import partial

import numpy as np
import torch
from _common import interleave, parse_arguments, report, seconds_of
from _networks import SmallResNet
from torch import nn

from sklearn_similar import InstanceLocalizer, LeNet, SimilarNetClassifier, SmallCNN
from sklearn_similar.datasets import load_mnist_sample, make_scenes

DEVICES = {"CPU": "cpu", "GPU": "cuda"}
N_CLASSES = 10


class MixedPrecision(nn.Module):
    """A network with automatic mixed precision in bfloat16."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        with torch.autocast("cuda", torch.bfloat16):
            return self.network(x)


def measure_classifier(name, build, X, y, n_epochs, n_repeats):
    """Rows of a network on both devices and in mixed precision."""
    n_measured = min(len(X), 1000)
    X_val, y_val = X[:n_measured], y[:n_measured]
    models, fits = {}, {}
    setups = {name: (device, build) for name, device in DEVICES.items()}
    setups["mixed"] = "cuda", lambda: MixedPrecision(build())
    for setup, (device, make) in setups.items():
        # The same initial weights in all setups.
        torch.manual_seed(0)
        models[setup] = SimilarNetClassifier(
            make(),
            max_epochs=n_epochs,
            validation_fraction=None,
            device=device,
            random_state=0,
        )
        # The first calls on a device include one-time loading.
        models[setup].fit(X[:200], y[:200]).fit_importance(X[:20], y[:20])
        models[setup].predict_proba(X[:200]), models[setup].heatmap(X[:200], y[0])
        fits[setup] = seconds_of(lambda model=models[setup]: model.fit(X, y))
    # Scores and heatmaps are compared with the weights that were trained on the CPU.
    weights = list(models["CPU"].net_.module_.state_dict().values())
    for model in models.values():
        names = model.net_.module_.state_dict()
        model.net_.module_.load_state_dict(dict(zip(names, weights, strict=True)))
        model.fit_importance(X[:20], y[:20])
    rows = [row(name, f"fit, {n_epochs} epoch(s)", len(X), fits)]
    tasks = {
        "fit_importance": lambda model: copy.copy(model).fit_importance(X_val, y_val),
        "predict_proba": lambda model: model.predict_proba(X),
        "transform": lambda model: model.transform(X_val),
        "heatmap of a class": lambda model: model.heatmap(X_val, y[0]),
    }
    for task, call in tasks.items():
        results = {}

        def run(setup, call=call, results=results):
            results[setup] = call(models[setup])

        # Context managers cannot be traced: the network would run for each filter.
        measured = DEVICES if task == "fit_importance" else models
        seconds = interleave(
            {setup: partial(run, setup) for setup in measured}, n_repeats
        )
        minimum = {setup: times.min() for setup, times in seconds.items()}
        if task == "fit_importance":
            results = {setup: results[setup].filter_importances_ for setup in measured}
        n_images = len(X) if task == "predict_proba" else n_measured
        rows.append(row(name, task, n_images, minimum, results))
    return rows


def row(network, task, n_images, seconds, results=None):
    """A row of the table; `results` are compared with those of the GPU."""
    columns = {
        "network": network,
        "task": task,
        "images": n_images,
        "CPU s": seconds["CPU"],
        "GPU s": seconds["GPU"],
        "times as fast": seconds["CPU"] / seconds["GPU"],
    }
    if "mixed" in seconds:
        columns["mixed precision, times as fast as GPU"] = (
            seconds["GPU"] / seconds["mixed"]
        )
    if results:
        scale = np.abs(results["GPU"]).max()
        for setup in results:
            if setup != "GPU":
                difference = np.abs(results[setup] - results["GPU"]).max() / scale
                columns[f"difference {setup}"] = difference
    return columns


def measure_localizer(X, y, X_test, y_test, quick, n_repeats):
    """Rows of the training of a localizer and of the search of scenes."""
    n_crops, n_scenes = (500, 4) if quick else (4000, 20)
    scenes, _ = make_scenes(
        X_test, y_test, n_scenes=n_scenes, size=(512, 512), random_state=0
    )
    models, fits = {}, {}
    for name, device in DEVICES.items():
        estimator = SimilarNetClassifier(
            SmallCNN, max_epochs=4, device=device, random_state=0
        )
        models[name] = InstanceLocalizer(
            estimator,
            n_instance_crops=n_crops,
            n_background_crops=n_crops,
            n_mining_rounds=1,
            random_state=0,
        )
        fits[name] = seconds_of(lambda model=models[name]: model.fit(X, y))
    rows = [row("SmallCNN", "InstanceLocalizer.fit", len(X), fits)]
    for task, search in {
        "localize, images together": lambda model: model.localize(scenes),
        "localize, one by one": lambda model: [model.localize([s]) for s in scenes],
    }.items():
        seconds = interleave(
            {name: partial(search, model) for name, model in models.items()}, n_repeats
        )
        minimum = {name: times.min() for name, times in seconds.items()}
        rows.append(row("SmallCNN", f"{task}, 512x512", len(scenes), minimum))
    return rows


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    if not torch.cuda.is_available():
        print("PyTorch does not detect a GPU: nothing to measure.")
        return
    print(torch.cuda.get_device_name(0))
    n_repeats = 1 if arguments.quick else 3
    X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    n_colour = 64 if arguments.quick else 512
    rng = np.random.default_rng(0)
    labels = np.arange(n_colour) % N_CLASSES
    colour = rng.integers(0, 256, (n_colour, 128, 128, 3), dtype=np.uint8)
    colour //= labels[:, None, None, None].astype(np.uint8) + 1
    rows = [
        *measure_classifier("LeNet", LeNet, X, y, 5, n_repeats),
        *measure_classifier(
            "residual network",
            lambda: SmallResNet(N_CLASSES, 3, width=64),
            colour,
            labels,
            1,
            n_repeats,
        ),
        *measure_localizer(X, y, X_test, y_test, arguments.quick, n_repeats),
    ]
    device = {"device": torch.cuda.get_device_name(0)}
    report("gpu", [row | device for row in rows], arguments.quick)


if __name__ == "__main__":
    main()
