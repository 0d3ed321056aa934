"""Localisation of MNIST's test digits: how well, how tight, how fast.

    tox -e benchmark-localization        (about 75 minutes on 2 cores)
    tox -e benchmark-localization -- --tables default
    tox -e benchmark-localization -- --quick

There are three tables, "methods" (localization.csv), "default"
(localization-default.csv) and "examples" (localization-examples.csv). For the first:

Networks are trained on training digits, with scikit-learn's two photographs as
background images. Scenes are made of test digits, and their photographs are
scikit-image's (read from its wheel; without scikit-image, photographs are left out).
One network, trained as in the documentation and with default parameters, serves all
scenes as "default". The others:

- heat proposals: boxes from several thresholds of heat at every pixel, not from
  the image;
- uniform, linear, random: weights of the filters, for both kinds of proposals;
- without background: the same training without the images of background;
- paper: the paper's training on plain digits; softmax at temperature 1, heat at every
  pixel, one threshold on the heatmap, each proposal recognised and reported. The
  threshold, a share of the normalisation constant, is the best on scenes of training
  digits;
- sliding window: the network of "default" on windows of the trained size, at every 4th
  pixel of a pyramid of half octaves over the scenes' range of scales, boxes tightened
  around bright pixels of the window, then non-maximum suppression. Windows are
  contrast-normalised, as the crops of "default" are. The least score is the best on
  scenes of training digits. It is run on a fifth of the scenes;
- centre: one box of a typical size in the middle of the scene.

For the second, `InstanceLocalizer` with all its defaults (its own estimator, hard
negatives, calibrated scores) is measured on digits, clothes and tinted clothes, 200
scenes a row. The rows have the shares of the instances that are left after each stage
(proposed, recognised, confident, kept) and the expected calibration error of the score.
"rotation=45" is trained with that parameter, for turned digits. What `localize` takes
is in the table of benchmark-speed.

For the third, pages of the documentation's gallery are run, and what they find is
counted: coins, icons, faces, clothes, and letters of a photographed page. Coins need no
recogniser: they differ from their ground by brightness, and nothing else is there.

The columns: F1 with the right label at an IoU of 0.5 and 0.75, mAP as COCO has it, the
error of the count in a scene, the shares after each stage, the calibration error (mean
gap between scores and the share of right ones among such), seconds for a megapixel (the
methods take turns at every few scenes), and how many times slower than "default" that
is on the same scenes; for heatmaps on single digits MaxBoxAccV2, PxAP and pointing
game; false instances in a megapixel of photographs without digits; accuracy on the test
digits by themselves.
"""

import tempfile
import time
from collections import defaultdict
from copy import deepcopy
from functools import partial
from itertools import product
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _common import load_mnist, parse_arguments, report
from _examples import example_rows
from _references import centre, centre_heatmaps, slide
from _scenes import (
    load_fashion,
    stroke_scenes,
    tint,
    touching_scenes,
    unseen_photographs,
)
from _stages import expected_calibration_error, scored_outcomes, stages
from scipy import ndimage
from sklearn.base import clone
from sklearn.datasets import load_sample_images
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier, make_training_crops
from sklearn_similar.datasets import make_scenes
from sklearn_similar.metrics import (
    count_error,
    detection_f1_score,
    max_box_accuracy,
    mean_average_precision,
    pixel_average_precision,
    pointing_game,
)

TABLES = ("methods", "default", "examples")
BACKGROUND = -1
RECIPE = {"lr": 2e-3, "lr_decay": 2e-3, "max_epochs": 10, "random_state": 0}
PAPER = {
    "weighting": "softmax",
    "temperature": 1.0,
    "resolution": "dense",
}
PAPER_SEARCH = {"proposals": "heat", "n_thresholds": 1, "score_threshold": 0.0}


class Scenes(NamedTuple):
    """Images and the instances in them; `n_slow` of them are for slow methods."""

    images: list
    truth: pd.DataFrame
    polarity: str = "bright"
    scale: tuple[float, float] = (0.8, 2.0)
    n_slow: int = 20

    def megapixels(self, n_images):
        shapes = [image.shape for image in self.images[:n_images]]
        return sum(height * width for height, width, *_ in shapes) / 1e6


def scene_sets(X, y, photographs, quick):
    """Scenes by name: backgrounds, numbers of digits, polarities and sizes."""
    small, large = (4, 2) if quick else (100, 50)
    kinds = {
        "bright, 0.8-2": ("bright", (0.8, 2.0), 160, small),
        "both, 0.8-4": ("both", (0.8, 4.0), 320, large),
    }
    backgrounds = {"black": "black", "noise": "noise", "photographs": photographs}
    sets = {}
    for (background, pixels), n_digits, (kind, values) in product(
        backgrounds.items(), ((1, 1), (1, 5)), kinds.items()
    ):
        if not len(pixels):
            continue
        polarity, scale, side, n_scenes = values
        images, truth = make_scenes(
            X,
            y,
            n_scenes=n_scenes,
            size=(side, side),
            n_instances=n_digits,
            scale=scale,
            background_images=pixels,
            polarity=polarity,
            random_state=len(sets),
        )
        count = "1 digit" if n_digits == (1, 1) else "1-5 digits"
        sets[f"{background}, {count}, {kind}"] = Scenes(
            list(images), truth, polarity, scale, n_slow=max(1, n_scenes // 5)
        )
    for polarity in ("bright", "both") if photographs else ():
        empty = sets["black, 1 digit, bright, 0.8-2"].truth[:0]
        shown = photographs[:2] if quick else photographs
        name = f"photographs without digits, {polarity}"
        sets[name] = Scenes(shown, empty, polarity, n_slow=1)
    return sets


def train(mnist, quick, memory):
    """Networks with and without background, and the paper's."""
    sizes, extra = {}, {}
    if quick:
        sizes = {"n_instances": 1500, "n_background": 1500}
        extra = {"max_epochs": 3, "batch_size": 50}
    start = time.perf_counter()
    X, y = make_training_crops(
        mnist.X_train,
        mnist.y_train,
        background=BACKGROUND,
        background_images=load_sample_images().images,
        random_state=0,
        **sizes,
    )
    print(f"{len(y)} training images cut in {time.perf_counter() - start:.0f} s")
    recipe = {**RECIPE, **extra, "memory": memory}
    start = time.perf_counter()
    default = SimilarNetClassifier(background=BACKGROUND, **recipe).fit(X, y)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    # The network comes from the memory; only weights are computed anew.
    weighted = {
        weighting: clone(default).set_params(weighting=weighting).fit(X, y)
        for weighting in ("uniform", "linear")
    }
    shown = y != BACKGROUND
    without = SimilarNetClassifier(**recipe).fit(X[shown], y[shown])
    paper = SimilarNetClassifier(random_state=0, **PAPER, **extra)
    paper.fit(mnist.X_train, mnist.y_train)
    weighted["random"] = with_random_weights(default, mnist.X_train[:200])
    return {"default": default, **weighted, "without background": without}, paper


def with_random_weights(model, images):
    """A copy whose heat is a random mean of the responses, on its own scale."""
    model = deepcopy(model).set_params(normalize=None)
    n_filters = len(model.filter_weights_)
    model.filter_weights_ = np.random.default_rng(0).dirichlet(np.ones(n_filters))
    model.normalization_constant_ = float(
        np.median(model.heatmap(images).max(axis=(1, 2)))
    )
    return model.set_params(normalize="validation")


def localizer(model, X, y, **params):
    """A method: from scenes to a table of instances, by a trained network."""
    own = InstanceLocalizer(FrozenEstimator(model), **params).fit(X, y)

    def localize(images, scenes):
        return own.set_params(polarity=scenes.polarity).localize(images)

    return localize


def best_on_training(method, values, X, y, n_scenes):
    """The value that gives a method the best F1 on scenes of training digits."""
    photographs = load_sample_images().images
    scores = dict.fromkeys(values, 0.0)
    for background in ("black", photographs):
        images, truth = make_scenes(
            X, y, n_scenes=n_scenes, background_images=background, random_state=0
        )
        scenes = Scenes(list(images), truth)
        for value in values:
            scores[value] += detection_f1_score(
                truth, method(value)(scenes.images, scenes), zero_division=0.0
            )
    return max(scores, key=scores.__getitem__)


def make_methods(models, paper, mnist, n_scenes):
    """Functions that localise, and functions that give heatmaps, by name."""
    default = models["default"]
    X, y = mnist.X_train[-5000:], mnist.y_train[-5000:]
    threshold = best_on_training(
        lambda value: localizer(paper, X, y, heat_threshold=value, **PAPER_SEARCH),
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        X,
        y,
        n_scenes,
    )
    score = best_on_training(
        lambda value: partial(slide, default, value),
        (0.5, 0.8, 0.95, 0.99, 0.999),
        X,
        y,
        max(2, n_scenes // 5),
    )
    print(f"chosen: paper's threshold {threshold}, sliding window's score {score}")
    methods = {name: localizer(model, X, y) for name, model in models.items()}
    for name, model in models.items():
        own = "heat proposals" + ("" if name == "default" else f", {name}")
        dense = deepcopy(model).set_params(resolution="dense")
        methods[own] = localizer(dense, X, y, proposals="heat")
    methods["paper"] = localizer(paper, X, y, heat_threshold=threshold, **PAPER_SEARCH)
    methods["sliding window"] = partial(slide, default, score)
    methods["centre"] = partial(centre, default, 32)
    heatmaps = {name: model.heatmap for name, model in models.items()}
    heatmaps |= {"paper": paper.heatmap, "centre": centre_heatmaps}
    return methods, heatmaps


def run(methods, scenes):
    """Instances that each method finds, and its seconds for each few scenes."""
    found, seconds = defaultdict(list), defaultdict(list)
    n_at_once = min(5, scenes.n_slow)
    for turn, first in enumerate(range(0, len(scenes.images), n_at_once)):
        names = list(methods) if turn % 2 == 0 else list(methods)[::-1]
        for name in names:
            last = min(first + n_at_once, len(scenes.images))
            if name == "sliding window":
                last = min(last, scenes.n_slow)
            images = scenes.images[first:last]
            if not images:
                continue
            start = time.perf_counter()
            table = methods[name](images, scenes)
            seconds[name].append((time.perf_counter() - start, last))
            found[name].append(table.assign(image=table["image"] + first))
    return {name: pd.concat(found[name]) for name in methods}, seconds


def rows_of(name, scenes, methods, heatmaps):
    """Rows of the table for a set of scenes, and what the default method found."""
    found, seconds = run(methods, scenes)
    rows = []
    for method, table in found.items():
        n_images = seconds[method][-1][1]
        megapixels = scenes.megapixels(n_images)
        # Both on the scenes that this method was run on, as slow ones skip some.
        own, ours = (
            sum(spent for spent, last in seconds[which] if last <= n_images)
            for which in (method, "default")
        )
        row = {"scenes": name, "method": method, "images": n_images}
        truth = scenes.truth[scenes.truth["image"] < n_images]
        if len(truth):
            for iou in (0.5, 0.75):
                row[f"F1@{iou}"] = detection_f1_score(
                    truth, table, iou_threshold=iou, zero_division=0.0
                )
            row["mAP"] = mean_average_precision(truth, table, zero_division=0.0)
            row["count error"] = count_error(truth, table, n_images=n_images)
        else:
            row["false/MP"] = len(table) / megapixels
        row |= {"s/MP": own / megapixels, "times slower": own / ours if ours else None}
        if "1 digit, bright" in name and method in heatmaps:
            heat = heatmaps[method](scenes.images)
            row["MaxBoxAccV2"] = max_box_accuracy(heat, scenes.truth)
            row["PxAP"] = pixel_average_precision(heat, scenes.truth)
            row["pointing"] = pointing_game(heat, scenes.truth)
        rows.append(row)
    return rows, found["default"]


def default_localizer(X, y, quick, **params):
    """`InstanceLocalizer` as it is, fitted, and the seconds that it took.

    With fewer crops and rounds for --quick.
    """
    sizes = {}
    if quick:
        X, y = X[:800], y[:800]
        sizes = dict(n_instance_crops=500, n_background_crops=400, n_mining_rounds=1)
    start = time.perf_counter()
    fitted = InstanceLocalizer(random_state=0, **sizes, **params).fit(
        X, y, background_images=load_sample_images().images
    )
    return fitted, time.perf_counter() - start


def default_sets(kind, X, y, photographs, quick):
    """Scenes that the default localizer is measured on."""
    n_scenes = 4 if quick else 200
    pasted = partial(make_scenes, X, y, n_scenes=n_scenes, random_state=100)
    sets = {}
    if kind != "tinted clothes":
        sets["black"] = pasted()
    if photographs:
        sets["photographs"] = pasted(background_images=photographs)
        sets["photographs, undimmed"] = pasted(
            background_images=photographs, background_brightness=1.0
        )
    if kind == "digits":
        if photographs:
            sets["photographs, noise of 0.2"] = noisy(*sets["photographs"])
        for height in (28, 56, 112):
            name = f"strokes of 1 pixel, {height} pixels"
            sets[name] = stroke_scenes(X, y, n_scenes, height, random_state=height)
        for overlap in (0, 2):
            name = f"touching, overlap {overlap}"
            sets[name] = touching_scenes(X, y, n_scenes, overlap, random_state=overlap)
    sets = {name: Scenes(list(images), truth) for name, (images, truth) in sets.items()}
    shown = [
        photograph[:512, :512] for photograph in photographs[: 2 if quick else None]
    ]
    empty = pasted()[1][:0]
    return sets | {"photographs without instances": Scenes(shown, empty, "both")}


def noisy(images, truth, deviation=51):
    """Scenes with noise of a deviation in grey levels."""
    noise = np.random.RandomState(0).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8), truth


def turned_sets(X, y, photographs, quick):
    """Scenes whose digits are turned, by more than the first of the angles."""
    sets = {}
    for least, most in ((20, 30), (30, 45)):
        rng = np.random.RandomState(most)
        angles = rng.uniform(least, most, len(X)) * rng.choice([-1, 1], len(X))
        rows = rng.permutation(len(X))[:2000]
        turned = np.stack(
            [
                ndimage.rotate(image, angle, reshape=False, order=1)
                for image, angle in zip(X[rows], angles[rows], strict=True)
            ]
        )
        scenes = make_scenes(
            turned,
            y[rows],
            n_scenes=4 if quick else 200,
            background_images=photographs or "black",
            random_state=most,
        )
        sets[f"turned by {least}-{most} degrees"] = scenes
    return {name: Scenes(list(images), truth) for name, (images, truth) in sets.items()}


def default_rows(kind, fitted, sets):
    """Rows of the table for the default localizer and one kind of instances."""
    rows, outcomes = [], []
    for name, scenes in sets.items():
        if not scenes.images:
            continue
        found = fitted.set_params(polarity=scenes.polarity).localize(scenes.images)
        row = {"scenes": f"{kind}, {name}", "images": len(scenes.images)}
        if len(scenes.truth):
            for iou in (0.5, 0.75):
                row[f"F1@{iou}"] = detection_f1_score(
                    scenes.truth, found, iou_threshold=iou, zero_division=0.0
                )
            row |= stages(fitted, scenes.images, scenes.truth, found)
            outcomes.append(scored_outcomes(scenes.truth, found))
        else:
            megapixels = scenes.megapixels(len(scenes.images))
            row["false/MP"] = len(found) / megapixels
        rows.append(row)
    error = expected_calibration_error(
        *map(np.concatenate, zip(*outcomes, strict=True))
    )
    return [*rows, {"scenes": f"{kind}, all scenes", "calibration error": error}]


def measure_default(arguments, mnist):
    """Rows of the table for `InstanceLocalizer` with its defaults."""
    _, fashion = load_fashion(arguments)
    grey, colour = unseen_photographs(), unseen_photographs("RGB")
    rows = []
    for kind, data, photographs in (
        ("digits", mnist, grey),
        ("clothes", fashion, grey),
        ("tinted clothes", fashion, colour),
    ):
        if arguments.quick and kind != "digits":
            continue
        X, y, X_test, y_test = data.X_train, data.y_train, data.X_test, data.y_test
        if kind == "tinted clothes":
            X, X_test = tint(X, 0), tint(X_test, 1)
        fitted, seconds = default_localizer(X, y, arguments.quick)
        print(f"{kind}: fitted in {seconds:.0f} s", flush=True)
        sets = default_sets(kind, X_test, y_test, photographs, arguments.quick)
        turned = {}
        if kind == "digits":
            turned = turned_sets(X_test, y_test, photographs, arguments.quick)
        own = default_rows(kind, fitted, sets | turned)
        rows += own
        print(pd.DataFrame(own).to_string(), flush=True)
        if turned:
            fitted, _ = default_localizer(X, y, arguments.quick, rotation=45)
            own = default_rows(f"{kind}, rotation=45", fitted, turned)
            rows += own
    return rows


def draw(sets, found, path, n_examples=2):
    """A sheet of scenes with true (green, dashed) and found boxes (red)."""
    height = len(sets)
    figure, axes = plt.subplots(
        -(-height // 2), 2 * n_examples, figsize=(14, 2 * height), layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    for position, (name, scenes) in enumerate(sets.items()):
        for number, image in enumerate(scenes.images[:n_examples]):
            ax = axes.flat[position * n_examples + number]
            ax.imshow(image, cmap="gray", vmin=0, vmax=255)
            ax.set_title(name, fontsize=8)
            for table, colour, line in (
                (scenes.truth, "lime", "--"),
                (found[name], "red", "-"),
            ):
                for box in table[table["image"] == number].itertuples():
                    size = box.x_max - box.x_min, box.y_max - box.y_min
                    corner = box.x_min - 0.5, box.y_min - 0.5
                    ax.add_patch(
                        plt.Rectangle(corner, *size, fill=False, ec=colour, ls=line)
                    )
                    if colour == "red":
                        ax.text(*corner, box.label, color=colour, va="bottom")
    figure.savefig(path, dpi=60)
    print(f"pictures in {path}")


def measure_methods(arguments, mnist):
    """Rows of the table of methods, and the scenes and what "default" found in them."""
    with tempfile.TemporaryDirectory() as memory:
        models, paper = train(mnist, arguments.quick, memory)
    methods, heatmaps = make_methods(models, paper, mnist, 5 if arguments.quick else 50)
    sets = scene_sets(mnist.X_test, mnist.y_test, unseen_photographs(), arguments.quick)
    rows, found = [], {}
    for name, scenes in sets.items():
        own, found[name] = rows_of(name, scenes, methods, heatmaps)
        rows += own
        print(f"{name}: F1@0.5 {own[0].get('F1@0.5', np.nan):.3f}", flush=True)
    for name in ("default", "without background"):
        accuracy = models[name].score(mnist.X_test, mnist.y_test)
        rows.append({"scenes": "digits alone", "method": name, "accuracy": accuracy})
    accuracy = paper.score(mnist.X_test, mnist.y_test)
    rows.append({"scenes": "digits alone", "method": "paper", "accuracy": accuracy})
    return rows, sets, found


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__, choices={"tables": TABLES})
    mnist = load_mnist(arguments)
    if "methods" in arguments.tables:
        rows, sets, found = measure_methods(arguments, mnist)
        print()
        path = report("localization", rows, arguments.quick)
        draw(sets, found, path.with_suffix(".png"))
    if "default" in arguments.tables:
        rows = measure_default(arguments, mnist)
        print()
        report("localization-default", rows, arguments.quick)
    if "examples" in arguments.tables and arguments.quick:
        print("the gallery's pages have no short form: no table of the examples")
    elif "examples" in arguments.tables:
        report("localization-examples", [*example_rows()], arguments.quick)


if __name__ == "__main__":
    main()
