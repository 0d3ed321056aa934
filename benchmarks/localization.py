"""Accuracy and speed of object detection in scenes of MNIST digits and clothes.

    tox -e benchmark-localization        (about 75 minutes on 2 cores)
    tox -e benchmark-localization -- --tables default
    tox -e benchmark-localization -- --quick

There are three tables: "methods" (localization.csv), "default"
(localization-default.csv) and "examples" (localization-examples.csv).

**methods** compares search methods. Networks are trained on training digits, with the
two photographs of scikit-learn as background images. Scenes consist of test digits on
photographs of scikit-image (without scikit-image, there are no scenes on photographs).
The method "default" is a single network with default parameters, trained as in the user
guide. The remaining methods:

- heat proposals: boxes from several thresholds of the dense heatmap, not of the image;
- uniform, linear, random: weights of the filters, for both kinds of proposals;
- without background: the same training without crops of background;
- paper: the paper's training on plain digits; softmax at temperature 1, dense heatmaps,
  a single threshold on the heatmap, and every proposal is recognised and reported. The
  threshold, a share of the normalisation constant, is the best on scenes of training
  digits;
- sliding window: the network of "default" on windows of the trained size, with a stride
  of 4 pixels, in an image pyramid with two levels per octave over the scenes' range of
  scales; boxes are tightened around the bright pixels of a window, followed by
  non-maximum suppression. Windows are contrast-normalised like the crops of "default".
  The score threshold is the best on scenes of training digits. It runs on a fifth of
  the scenes;
- centre: a single box of a typical size in the centre of the scene.

**default** measures `InstanceLocalizer` with all defaults (default estimator, hard
negatives, calibrated scores) on digits, clothes and tinted clothes, with 200 scenes per
row. The columns "proposed", "recognised", "confident" and "kept" are the shares of the
objects that are left after each stage. The rows "rotation=45" are trained with that
parameter. `benchmark-speed` measures the time of `localize`.

**examples** runs pages of the documentation's gallery and counts their detections: of
coins, icons, faces, clothes and the letters of a photographed page. Coins do not need a
recogniser: they differ from their background in brightness, and the photograph shows
only coins.

Columns: F1 with the correct label at an IoU of 0.5 and 0.75; mAP as defined by COCO;
the mean error of the count in a scene; the shares after each stage; the expected
calibration error; seconds per megapixel (the methods take turns every few scenes) and
the ratio to "default" on the same scenes; for heatmaps of single digits MaxBoxAccV2,
PxAP and pointing game; false detections per megapixel of photographs without objects;
accuracy on single test digits.
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
    """Images and the true objects in them; slow methods run on `n_slow` images."""

    images: list
    truth: pd.DataFrame
    polarity: str = "bright"
    scale: tuple[float, float] = (0.8, 2.0)
    n_slow: int = 20

    def megapixels(self, n_images):
        shapes = [image.shape for image in self.images[:n_images]]
        return sum(height * width for height, width, *_ in shapes) / 1e6


def scene_sets(X, y, photographs, quick):
    """Scenes by name: backgrounds, numbers of digits, polarities and sizes.

    With `quick`, few scenes of few kinds.
    """
    small, large = (3, 1) if quick else (100, 50)
    kinds = {
        "bright, 0.8-2": ("bright", (0.8, 2.0), 160, small),
        "both, 0.8-4": ("both", (0.8, 4.0), 320, large),
    }
    backgrounds = {"black": "black", "noise": "noise", "photographs": photographs}
    numbers = [(1, 1), (1, 5)]
    if quick:
        backgrounds, numbers = {"black": "black"}, numbers[-1:]
    sets = {}
    for (background, pixels), n_digits, (kind, values) in product(
        backgrounds.items(), numbers, kinds.items()
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
        empty = next(iter(sets.values())).truth[:0]
        images = [photographs[0][:200, :200]] if quick else photographs
        name = f"photographs without digits, {polarity}"
        sets[name] = Scenes(images, empty, polarity, n_slow=1)
    return sets


def train(mnist, quick, memory):
    """Networks trained with and without background, and the paper's network."""
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
    # The network comes from the cache; only the weights of filters are computed.
    weighted = {
        weighting: clone(default).set_params(weighting=weighting).fit(X, y)
        for weighting in ("uniform", "linear")
    }
    is_object = y != BACKGROUND
    without = SimilarNetClassifier(**recipe).fit(X[is_object], y[is_object])
    paper = SimilarNetClassifier(random_state=0, **PAPER, **extra)
    paper.fit(mnist.X_train, mnist.y_train)
    weighted["random"] = with_random_weights(default, mnist.X_train[:200])
    return {"default": default, **weighted, "without background": without}, paper


def with_random_weights(model, images):
    """A copy with random filter weights and the matching normalisation constant."""
    model = deepcopy(model).set_params(normalize=None)
    n_filters = len(model.filter_weights_)
    model.filter_weights_ = np.random.default_rng(0).dirichlet(np.ones(n_filters))
    model.normalization_constant_ = float(
        np.median(model.heatmap(images).max(axis=(1, 2)))
    )
    return model.set_params(normalize="validation")


def localizer(model, X, y, **params):
    """A method: a function from scenes to detections, with a trained network."""
    frozen = InstanceLocalizer(FrozenEstimator(model), **params).fit(X, y)

    def localize(images, scenes):
        return frozen.set_params(polarity=scenes.polarity).localize(images)

    return localize


def best_on_training(method, values, X, y, n_scenes):
    """The value with which a method has the best F1 on scenes of training digits."""
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
    """Functions that return detections, and functions that return heatmaps."""
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
        method = "heat proposals" + ("" if name == "default" else f", {name}")
        dense = deepcopy(model).set_params(resolution="dense")
        methods[method] = localizer(dense, X, y, proposals="heat")
    methods["paper"] = localizer(paper, X, y, heat_threshold=threshold, **PAPER_SEARCH)
    methods["sliding window"] = partial(slide, default, score)
    methods["centre"] = partial(centre, default, 32)
    heatmaps = {name: model.heatmap for name, model in models.items()}
    heatmaps |= {"paper": paper.heatmap, "centre": centre_heatmaps}
    return methods, heatmaps


def run(methods, scenes):
    """Detections of each method, and its seconds for each group of scenes."""
    detections, seconds = defaultdict(list), defaultdict(list)
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
            detections[name].append(table.assign(image=table["image"] + first))
    return {name: pd.concat(detections[name]) for name in methods}, seconds


def rows_of(name, scenes, methods, heatmaps):
    """Rows of the table for a set of scenes, and the detections of "default"."""
    detections, seconds = run(methods, scenes)
    rows = []
    for method, table in detections.items():
        n_images = seconds[method][-1][1]
        megapixels = scenes.megapixels(n_images)
        # Both on the scenes of this method, because slow methods skip some.
        seconds_of_method, seconds_of_default = (
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
        row["s/MP"] = seconds_of_method / megapixels
        if seconds_of_default:
            row["times slower"] = seconds_of_method / seconds_of_default
        if "1 digit, bright" in name and method in heatmaps:
            heat = heatmaps[method](scenes.images)
            row["MaxBoxAccV2"] = max_box_accuracy(heat, scenes.truth)
            row["PxAP"] = pixel_average_precision(heat, scenes.truth)
            row["pointing"] = pointing_game(heat, scenes.truth)
        rows.append(row)
    return rows, detections["default"]


def default_localizer(X, y, quick, **params):
    """A fitted `InstanceLocalizer` with default parameters, and the seconds of `fit`.

    With --quick, there are fewer crops and mining rounds, and parts of the photographs.
    """
    sizes, photographs = {}, load_sample_images().images
    if quick:
        X, y = X[:800], y[:800]
        photographs = [photograph[:160, :160] for photograph in photographs]
        sizes = dict(n_instance_crops=500, n_background_crops=400, n_mining_rounds=1)
    start = time.perf_counter()
    fitted = InstanceLocalizer(random_state=0, **sizes, **params).fit(
        X, y, background_images=photographs
    )
    return fitted, time.perf_counter() - start


def default_sets(kind, X, y, photographs, quick):
    """Scenes for the evaluation of the default localizer."""
    n_scenes = 2 if quick else 200
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
    images = [
        photograph[:512, :512] for photograph in photographs[: 2 if quick else None]
    ]
    empty = pasted()[1][:0]
    return sets | {"photographs without instances": Scenes(images, empty, "both")}


def noisy(images, truth, deviation=51):
    """Scenes with Gaussian noise, whose standard deviation is in grey levels."""
    noise = np.random.RandomState(0).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8), truth


def rotated_sets(X, y, photographs, quick):
    """Scenes of digits that are rotated by two ranges of angles, in degrees."""
    sets = {}
    for low, high in ((20, 30), (30, 45)):
        rng = np.random.RandomState(high)
        angles = rng.uniform(low, high, len(X)) * rng.choice([-1, 1], len(X))
        rows = rng.permutation(len(X))[:2000]
        rotated = np.stack(
            [
                ndimage.rotate(image, angle, reshape=False, order=1)
                for image, angle in zip(X[rows], angles[rows], strict=True)
            ]
        )
        scenes = make_scenes(
            rotated,
            y[rows],
            n_scenes=2 if quick else 200,
            background_images=photographs or "black",
            random_state=high,
        )
        sets[f"rotated by {low}-{high} degrees"] = scenes
    return {name: Scenes(list(images), truth) for name, (images, truth) in sets.items()}


def default_rows(kind, fitted, sets):
    """Rows of the table for the default localizer and a kind of objects."""
    rows, outcomes = [], []
    for name, scenes in sets.items():
        if not scenes.images:
            continue
        fitted.set_params(polarity=scenes.polarity)
        detections = fitted.localize(scenes.images)
        row = {"scenes": f"{kind}, {name}", "images": len(scenes.images)}
        if len(scenes.truth):
            for iou in (0.5, 0.75):
                row[f"F1@{iou}"] = detection_f1_score(
                    scenes.truth, detections, iou_threshold=iou, zero_division=0.0
                )
            row |= stages(fitted, scenes.images, scenes.truth)
            outcomes.append(scored_outcomes(scenes.truth, detections))
        else:
            megapixels = scenes.megapixels(len(scenes.images))
            row["false/MP"] = len(detections) / megapixels
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
        rotated = {}
        if kind == "digits":
            rotated = rotated_sets(X_test, y_test, photographs, arguments.quick)
        rows_of_kind = default_rows(kind, fitted, sets | rotated)
        rows += rows_of_kind
        print(pd.DataFrame(rows_of_kind).to_string(), flush=True)
        # A short form needs no second fit.
        if rotated and not arguments.quick:
            fitted, _ = default_localizer(X, y, False, rotation=45)
            rows += default_rows(f"{kind}, rotation=45", fitted, rotated)
    return rows


def draw(sets, detections, path, n_examples=2):
    """Draw scenes with true boxes (green, dashed) and detections (red)."""
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
                (detections[name], "red", "-"),
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
    """Rows of the table of methods, the scenes, and the detections of "default"."""
    with tempfile.TemporaryDirectory() as memory:
        models, paper = train(mnist, arguments.quick, memory)
    methods, heatmaps = make_methods(models, paper, mnist, 2 if arguments.quick else 50)
    sets = scene_sets(mnist.X_test, mnist.y_test, unseen_photographs(), arguments.quick)
    rows, detections = [], {}
    for name, scenes in sets.items():
        rows_of_set, detections[name] = rows_of(name, scenes, methods, heatmaps)
        rows += rows_of_set
        print(f"{name}: F1@0.5 {rows_of_set[0].get('F1@0.5', np.nan):.3f}", flush=True)
    for name in ("default", "without background"):
        accuracy = models[name].score(mnist.X_test, mnist.y_test)
        rows.append({"scenes": "digits alone", "method": name, "accuracy": accuracy})
    accuracy = paper.score(mnist.X_test, mnist.y_test)
    rows.append({"scenes": "digits alone", "method": "paper", "accuracy": accuracy})
    return rows, sets, detections


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__, choices={"tables": TABLES})
    mnist = load_mnist(arguments)
    if "methods" in arguments.tables:
        rows, sets, detections = measure_methods(arguments, mnist)
        print()
        path = report("localization", rows, arguments.quick)
        draw(sets, detections, path.with_suffix(".png"))
    if "default" in arguments.tables:
        rows = measure_default(arguments, mnist)
        print()
        report("localization-default", rows, arguments.quick)
    if "examples" in arguments.tables and arguments.quick:
        print("the pages of the gallery do not have a short form: they are skipped")
    elif "examples" in arguments.tables:
        report("localization-examples", [*example_rows()], arguments.quick)


if __name__ == "__main__":
    main()
