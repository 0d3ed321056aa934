"""Time on a GPU beside that on the CPU of the same machine.

    tox -e benchmark-gpu                 (a few minutes; says so where there is no GPU)
    tox -e benchmark-gpu -- --quick

LeNet on 28x28 digits, a residual network with 256 filters on 128x128 colour images,
and the search of scenes by `InstanceLocalizer`. Both devices do all of the call: arrays
go in and come out as NumPy's. The same networks are also run in mixed precision, by a
module that wraps the other's forward pass in `torch.autocast`; "difference" is the
greatest one from the GPU's single precision, as a share of the greatest value.
"""

import copy

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
    """A network whose layers compute in bfloat16 where that does no harm."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        with torch.autocast("cuda", torch.bfloat16):
            return self.network(x)


def measure_classifier(name, build, X, y, n_epochs, n_repeats):
    """Rows of the table: a network on both devices, and in mixed precision."""
    n_measured = min(len(X), 1000)
    X_val, y_val = X[:n_measured], y[:n_measured]
    models, fits = {}, {}
    ways = {name: (device, build) for name, device in DEVICES.items()}
    ways["mixed"] = "cuda", lambda: MixedPrecision(build())
    for way, (device, make) in ways.items():
        # The same weights everywhere.
        torch.manual_seed(0)
        models[way] = SimilarNetClassifier(
            make(),
            max_epochs=n_epochs,
            validation_fraction=None,
            device=device,
            random_state=0,
        )
        # The first call of anything on a device pays for what is loaded only once.
        models[way].fit(X[:200], y[:200]).fit_importance(X[:20], y[:20])
        models[way].predict_proba(X[:200]), models[way].heatmap(X[:200], y[0])
        fits[way] = seconds_of(lambda model=models[way]: model.fit(X, y))
    # Scores and heat are compared on the weights that the CPU has found.
    weights = list(models["CPU"].net_.module_.state_dict().values())
    for model in models.values():
        own = model.net_.module_.state_dict()
        model.net_.module_.load_state_dict(dict(zip(own, weights, strict=True)))
        model.fit_importance(X[:20], y[:20])
    rows = [row(name, f"fit, {n_epochs} epoch(s)", len(X), fits)]
    tasks = {
        "fit_importance": lambda model: copy.copy(model).fit_importance(X_val, y_val),
        "predict_proba": lambda model: model.predict_proba(X),
        "transform": lambda model: model.transform(X_val),
        "heatmap of a class": lambda model: model.heatmap(X_val, y[0]),
    }
    for task, do in tasks.items():
        found = {}

        def run(way, do=do, found=found):
            found[way] = do(models[way])

        # Context managers cannot be traced: the network would run for each filter.
        ways = DEVICES if task == "fit_importance" else models
        seconds = interleave(
            {way: lambda way=way, run=run: run(way) for way in ways}, n_repeats
        )
        least = {way: times.min() for way, times in seconds.items()}
        if task == "fit_importance":
            found = {way: found[way].filter_importances_ for way in ways}
        n_images = len(X) if task == "predict_proba" else n_measured
        rows.append(row(name, task, n_images, least, found))
    return rows


def row(network, task, n_images, seconds, found=None):
    """One row of the table."""
    result = {
        "network": network,
        "task": task,
        "images": n_images,
        "CPU s": seconds["CPU"],
        "GPU s": seconds["GPU"],
        "times as fast": seconds["CPU"] / seconds["GPU"],
    }
    if "mixed" in seconds:
        result["mixed precision, times as fast as GPU"] = (
            seconds["GPU"] / seconds["mixed"]
        )
    if found:
        scale = np.abs(found["GPU"]).max()
        for way in found:
            if way != "GPU":
                difference = np.abs(found[way] - found["GPU"]).max() / scale
                result[f"difference {way}"] = difference
    return result


def measure_localizer(X, y, X_test, y_test, quick, n_repeats):
    """Rows of the table: training for localisation, and the search of scenes."""
    n_crops, n_scenes = (500, 4) if quick else (4000, 20)
    scenes, _ = make_scenes(
        X_test, y_test, n_scenes=n_scenes, size=(512, 512), random_state=0
    )
    models, fits = {}, {}
    for way, device in DEVICES.items():
        estimator = SimilarNetClassifier(
            SmallCNN, max_epochs=4, device=device, random_state=0
        )
        models[way] = InstanceLocalizer(
            estimator,
            n_instance_crops=n_crops,
            n_background_crops=n_crops,
            n_mining_rounds=1,
            random_state=0,
        )
        fits[way] = seconds_of(lambda model=models[way]: model.fit(X, y))
    rows = [row("SmallCNN", "InstanceLocalizer.fit", len(X), fits)]
    for task, search in {
        "localize, images together": lambda model: model.localize(scenes),
        "localize, one by one": lambda model: [model.localize([s]) for s in scenes],
    }.items():
        seconds = interleave(
            {
                way: lambda model=model, search=search: search(model)
                for way, model in models.items()
            },
            n_repeats,
        )
        least = {way: times.min() for way, times in seconds.items()}
        rows.append(row("SmallCNN", f"{task}, 512x512", len(scenes), least))
    return rows


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU here, so that there is nothing to measure.")
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
