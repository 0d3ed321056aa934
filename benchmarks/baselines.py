"""Importances and heatmaps, compared with torchcam, captum and grad-cam.

    tox -e benchmark-baselines
    tox -e benchmark-baselines -- --setups textures --tables quality
    tox -e benchmark-baselines -- --quick

There are five setups. All methods use the same network, layer and images, in one run:

- LeNet on single MNIST digits, with the defaults;
- SmallResNet (64 filters, average pooling, one linear layer) and SmallVGG (256 filters,
  two linear layers) on scenes of 64x64 pixels with an image of Fashion-MNIST on a
  dimmed photograph;
- SmallDenseNet (96 filters, SiLU) on the same scenes in colour, with each image in a
  random bright colour;
- AverageVGG (128 filters, average pooling) on coloured textured shapes on photographs
  without dimming: outline, colour and brightness alone do not determine the class.

Training scenes consist of training images on photographs of scikit-learn, test scenes
of test images on photographs of scikit-image. Importances are measured on held-out
training images. Baselines use the settings that are fastest on training images; ours
uses its defaults. All figures are measured on test images.

``--setups`` and ``--tables`` select some of them; rows of the remaining setups stay in
the files. The full benchmark takes hours. grad-cam requires torchvision but does not
use it here: if torchvision is missing, a stub replaces it. In this case, install
grad-cam with ``pip install --no-deps grad-cam ttach opencv-python-headless``.

**baselines-photographs**: class maps of three ImageNet networks (EfficientNet-Lite0 to
2) on photographs of everyday scenes, for pairs of a photograph and a category in it;
see ``_photograph_maps.py``. Columns as below, and "- cam": the difference to our map
"cam", on the same photographs, with paired 95 % intervals by bootstrap over the
photographs. "ms" is for images one by one, "x GradCAM" the ratio to torchcam's GradCAM.
The default was chosen on every other photograph; figures are from the remaining ones.
This table does not depend on ``--setups``. ``--maps`` selects some of its methods,
which are measured with "cam" and GradCAM; the remaining rows stay in the file.

**baselines-importances**: seconds for the increase of the log loss without each filter.
predict_proba is a forward pass without importances, for comparison. fit_importance is
ours, which also measures the error rate, both for each class, the log-odds between
classes, and the normalisation constants of heatmaps on about 128 images. The plain loop
sets the activation of a filter to zero and runs the whole network, for each filter.
captum's LayerFeatureAblation uses a layer mask that makes each channel a feature.

**baselines-images**: milliseconds for the scores without each filter in single images.
Ours computes the scores of all classes, and also those of each filter alone; grad-cam's
AblationCAM computes the score of a single class. If activations are negative
(SmallDenseNet), AblationCAM replaces the activation of an absent filter by -10^7
instead of 0, and its results differ.

**baselines-times**: milliseconds per heatmap, for images one by one or 64 at once, from
8-bit pixels to an array of the images' size. "of a class": the map depends on a label,
given for each image. "gradients": the method needs a backward pass. The methods:

- heatmap(X, label): ours, of a label for each image; heatmap(X): ours, of all classes.
  "pooled" is the default, "dense" has activations at every pixel, "no outline" uses
  only the layer of the baselines, and "two layers" also ablates the first layer;
- the plain mean of the activations; CAM times the mean activation of the first layer,
  and torchcam's LayerCAM of the first and the last layer, for comparison with our use
  of an early layer;
- grad-cam's EigenCAM and FullGrad, if grad-cam is installed;
- torchcam's CAM, which requires an average pooling and a single linear layer;
  torchcam's GradCAM, GradCAMpp and LayerCAM, and captum's LayerGradCam with a ReLU: a
  forward pass and, except for CAM, a part of the backward pass;
- torchcam's ScoreCAM, which runs the network on the image masked by each activation;
- captum's LayerFeatureAblation: activations weighted by the increase of this image's
  log loss without each filter (ours are averages over many images); the network runs
  once for each filter;
- grad-cam's AblationCAM, if grad-cam is installed: the same with the class score.

Maps of baselines have the layer's stride; the time includes their interpolation to the
image's size, as for "pooled". Each method has a copy of the network in the faster
memory format and is built before the clock starts; extractors are called as documented.
The methods take turns, and the figures are medians of the times and of the ratios to
ours within a round.

**baselines-quality**: localisation by the maps of the true label, after subtraction of
the minimum of each map, as in the WSOL metrics: MaxBoxAccV2 and its three box
accuracies, PxAP for boxes and for the objects' pixels, and pointing game. The box of a
single digit is the bounding box of its ink. "two objects": for scenes with two objects
of different classes, the share of class maps with the peak in the box of their object;
two digits need a larger image, which only our method supports. Faithfulness of the maps
of the predicted label: average drop and deletion (lower is better), average increase
and insertion (higher is better). "from" and "to" are the limits of 95 % confidence
intervals, by bootstrap over the images. "centre" is a heatmap that decreases with the
distance from the centre. The constants of our class maps were chosen with such networks
on scenes of training images and training photographs; baselines have no constants.
There is a single network of each kind; networks differ by more than the intervals show.

**baselines-memory**: growth in MiB of the peak memory of a new process from the heatmap
of one image to the heatmaps of 64 images at once, with the fastest settings.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np
from _baselines import PACKAGES, AblationCAM, ablation_weights, methods_for
from _common import (
    fastest,
    interleave,
    load_mnist,
    median_ratio,
    parse_arguments,
    report,
)
from _importances import Comparison
from _memory import peak_growth
from _networks import AverageVGG, SmallDenseNet, SmallResNet, SmallVGG
from _photograph_maps import MAPS, photograph_rows, reason_to_skip
from _references import centre_heatmaps
from _scenes import (
    Labelled,
    load_fashion,
    object_masks,
    pair_scenes,
    single_scenes,
    textured_scenes,
    tint,
    training_photographs,
    two_digits,
    unseen_photographs,
    with_ink_boxes,
)
from sklearn.model_selection import ParameterGrid
from sklearn.utils import gen_batches

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._images.images import VISIBLE_SHARE
from sklearn_similar.metrics import (
    average_drop,
    average_increase,
    box_accuracy_curve,
    deletion_curve,
    insertion_curve,
    pixel_average_precision,
    pointing_game,
)

RECIPE = {
    "max_epochs": 6,
    "batch_size": 64,
    "lr": 2e-3,
    "lr_decay": 5e-3,
    "net_params": {"criterion__label_smoothing": 0.0},
}


class Sizes(NamedTuple):
    """Numbers of images and of repeats."""

    training: int = 6_000
    validation: int = 1_000
    test: int = 200
    pairs: int = 100
    faithfulness: int = 60
    # Of insertion and deletion.
    steps: int = 20
    resamples: int = 1_000
    importance_digits: int = 10_000
    importance_scenes: int = 500
    # For the choice of settings of the importances' baselines.
    few_digits: int = 2_000
    few_scenes: int = 32
    # Times are of some images one by one, and of a batch.
    singles: int = 8
    batch: int = 64
    repeats_of_importance: int = 3
    repeats_of_batch: int = 7
    repeats_of_singles: int = 11
    # Of the heatmap, for the box accuracy and PxAP; the WSOL metrics use 1,000.
    thresholds: int = 1_000


QUICK = Sizes(200, 50, 8, 5, 2, 5, 20, 200, 6, 100, 2, 2, 4, 2, 2, 2, 50)


class Setup(NamedTuple):
    """A trained network and images.

    Attributes
    ----------
    name : str
    models : dict of SimilarNetClassifier
        The network with several settings, the default first; importances are measured
        on held-out training images.
    training, test : Labelled
        Images for the choice of settings, and for all measurements.
    masks : ndarray of bool
        Pixels of the objects in the test images.
    pairs : Labelled
        Scenes of two test objects.
    n_importance, n_few : int
        Numbers of images for the times of the importances and for their settings.
    grids : (dict, dict)
        Grids of settings of the plain loop and of captum.
    """

    name: str
    models: dict
    training: Labelled
    test: Labelled
    masks: np.ndarray
    pairs: Labelled
    n_importance: int
    n_few: int
    grids: tuple[dict, dict]


def setups(arguments, sizes) -> Iterator[Setup]:
    """Yield the selected setups."""
    for name in arguments.setups:
        yield SETUPS[name](arguments, sizes)


def digits(arguments, sizes):
    """LeNet on single MNIST digits."""
    mnist = load_mnist(arguments)
    parts = [slice(None, -sizes.validation), slice(-sizes.validation, None)]
    training, validation = (
        with_ink_boxes(mnist.X_train[part], mnist.y_train[part]) for part in parts
    )
    model = SimilarNetClassifier(random_state=0)
    if arguments.quick:
        model.set_params(max_epochs=1)
    test = with_ink_boxes(mnist.X_test, mnist.y_test)
    return Setup(
        "LeNet, MNIST digits",
        fitted(model, "features.relu1", training, validation),
        training,
        test,
        test.images > 255 * VISIBLE_SHARE,
        two_digits(mnist.X_test, mnist.y_test, sizes.pairs),
        sizes.importance_digits,
        sizes.few_digits,
        grids((100, 300, 1000), (1, 4, 16)),
    )


def clothes(arguments, sizes, module, first_layer, colour, few_filters=None):
    """A network on scenes of an image of clothing on a dimmed photograph."""
    name, images = load_fashion(arguments)
    X_train, X_test = images.X_train, images.X_test
    if colour:
        X_train, X_test = tint(X_train, 0), tint(X_test, 1)
    mode = "RGB" if colour else "L"
    photographs, unseen = training_photographs(mode), unseen_photographs(mode)
    # Training and validation scenes do not share images of clothing.
    n_held_out = len(X_train) // 6
    training, validation = (
        single_scenes(X_train[part], images.y_train[part], n_scenes, photographs, seed)
        for part, n_scenes, seed in (
            (slice(None, -n_held_out), sizes.training, 0),
            (slice(-n_held_out, None), sizes.validation, 1),
        )
    )
    return on_scenes(
        f"{module.__name__}, {'tinted ' if colour else ''}{name} scenes",
        network_of(module, arguments, few_filters),
        first_layer,
        training,
        validation,
        single_scenes(X_test, images.y_test, sizes.test, unseen, 2),
        pair_scenes(X_test, images.y_test, sizes.pairs, unseen, 3),
        object_masks(single_scenes, X_test, images.y_test, sizes.test, 2),
        sizes,
    )


def textures(arguments, sizes):
    """AverageVGG on coloured textured shapes on photographs."""
    photographs = training_photographs("RGB")
    unseen = unseen_photographs("RGB") or photographs
    training, _ = textured_scenes(sizes.training, 1, photographs, 0)
    validation, _ = textured_scenes(sizes.validation, 1, photographs, 1)
    test, masks = textured_scenes(sizes.test, 1, unseen, 2)
    pairs, _ = textured_scenes(sizes.pairs, 2, unseen, 3)
    return on_scenes(
        "AverageVGG, textured shapes",
        network_of(AverageVGG, arguments),
        "features.2",
        training,
        validation,
        test,
        pairs,
        masks,
        sizes,
    )


def network_of(module, arguments, few_filters=None):
    """An untrained model."""
    model = SimilarNetClassifier(module, random_state=0, **RECIPE)
    if arguments.quick:
        model.set_params(max_epochs=1, **(few_filters or {}))
    return model


def on_scenes(
    name, model, first_layer, training, validation, test, pairs, masks, sizes
):
    """The setup of a network that is trained on scenes of one object."""
    return Setup(
        name,
        fitted(model, first_layer, training, validation),
        training,
        test,
        masks,
        pairs,
        sizes.importance_scenes,
        sizes.few_scenes,
        grids((8, 32), (1, 8)),
    )


SETUPS = {
    "digits": digits,
    "clothes": partial(clothes, module=SmallResNet, first_layer="stem", colour=False),
    "clothes-vgg": partial(
        clothes,
        module=SmallVGG,
        first_layer="features.2",
        colour=False,
        few_filters={"module__n_filters": 16},
    ),
    "clothes-dense": partial(
        clothes, module=SmallDenseNet, first_layer="block1", colour=True
    ),
    "textures": textures,
}
TABLES = ("photographs", "importances", "images", "times", "quality", "memory")


def grids(batch_sizes, perturbations):
    """Grids of settings of the plain loop and of captum."""
    loop = {"batch_size": batch_sizes}
    return loop, {**loop, "perturbations_per_eval": perturbations}


def fitted(model, first_layer, training, validation):
    """Models of a network that is trained once, with importances on held-out images."""
    model.fit(training.images, training.labels)
    two_layers = SimilarNetClassifier(
        model.net_.module_,
        [first_layer, model.layer_],
        max_epochs=0,
        validation_fraction=None,
    ).fit(training.images, training.labels)
    models = {
        "pooled": model,
        "no outline": deepcopy(model).set_params(class_heatmap="contrastive"),
        "dense": deepcopy(model).set_params(resolution="dense"),
        "two layers": two_layers,
    }
    for variant in models.values():
        variant.fit_importance(validation.images, validation.labels)
    return models


def importance_rows(setup, n_repeats):
    """Times of the importances of all filters."""
    models = {"fit_importance": next(iter(setup.models.values()))}
    test = setup.test.first(setup.n_importance)
    few = setup.training.first(setup.n_few)
    comparison = Comparison(models, *setup.grids)
    rows = comparison.rows(test.images, test.labels, few.images, few.labels, n_repeats)
    model = comparison.first
    return [
        {
            "setup": setup.name,
            **row,
            "filters": len(model.filter_importances_),
            "strategy": model.ablation_method_ if row["method"] in models else "",
        }
        for row in rows
    ]


def run_on(images, n_at_once, method, setting):
    """A call that computes heatmaps in batches of `n_at_once` images."""
    heatmaps = method.build(**setting)

    def run():
        for part in gen_batches(len(images.images), n_at_once):
            heatmaps(images.images[part], images.labels[part])

    return run


def best_settings(method, images, n_at_once):
    """The fastest settings of a method on the given images."""
    grid = dict(method.grid)
    if not grid:
        return {}
    grid["n_at_once"] = sorted({min(n, n_at_once) for n in grid["n_at_once"]})
    settings = {text_of(setting): setting for setting in ParameterGrid(grid)}
    runs = {
        name: run_on(images, n_at_once, method, setting)
        for name, setting in settings.items()
    }
    return settings[fastest(runs)[0]]


def time_rows(setup, methods, n_images, n_at_once, n_repeats):
    """Times of heatmaps in batches of `n_at_once` images, and the fastest settings."""
    few, test = setup.training.first(n_images), setup.test.first(n_images)
    settings = {
        name: best_settings(method, few, n_at_once) for name, method in methods.items()
    }
    runs = {
        name: run_on(test, n_at_once, method, settings[name])
        for name, method in methods.items()
    }
    for run in runs.values():
        run()
    seconds = interleave(runs, n_repeats)
    references = [
        name for name, method in methods.items() if method.is_ours and method.of_label
    ]
    rows = [
        {
            "setup": setup.name,
            "images at once": n_at_once,
            **described(name, method),
            "settings": text_of(settings[name]),
            "ms per heatmap": 1000 * np.median(seconds[name]) / n_images,
            **{
                f"x {reference}": median_ratio(seconds[name], seconds[reference])
                for reference in references
            },
            "images": n_images,
            "repeats": n_repeats,
        }
        for name, method in methods.items()
    ]
    return rows, settings


def described(name, method):
    """The columns that describe a method."""
    return {
        "method": name,
        "of a class": "yes" if method.of_label else "no",
        "gradients": "yes" if method.needs_gradients else "no",
    }


def text_of(setting):
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def quality_rows(setup, methods, settings, sizes):
    """Quality of the heatmaps of the test images."""
    model = next(iter(setup.models.values()))
    test = setup.test.first(sizes.test)
    few = test.first(sizes.faithfulness).images
    predicted = model.predict(few)
    accuracy = model.score(test.images, test.labels)
    sources = {
        name: (described(name, method), method.build(**settings[name]))
        for name, method in methods.items()
        if name not in without_quality(methods)
    }
    centre = {"method": "centre", "of a class": "no", "gradients": "no"}
    sources["centre"] = centre, lambda X, _labels: np.stack(centre_heatmaps(X))
    # Baselines support only images of the trained size.
    takes_pairs = {"centre", *(name for name in methods if methods[name].is_ours)}
    if setup.pairs.images.shape[1:] == setup.test.images.shape[1:]:
        takes_pairs.update(methods)
    rows = []
    for name, (description, heatmaps) in sources.items():
        rows.append(
            {"setup": setup.name, "accuracy": accuracy, **description}
            | localization(heatmaps, test, setup.masks, sizes)
            | (of_pairs(heatmaps, setup.pairs, sizes) if name in takes_pairs else {})
            | faithfulness(model, heatmaps, few, predicted, sizes)
        )
        print(f"{name}: MaxBoxAccV2 {rows[-1]['MaxBoxAccV2']:.3f}", flush=True)
    return rows


def without_quality(methods):
    """Slow methods whose maps are nearly equal to those of another method."""
    dense = {name for name in methods if name.endswith("dense")}
    # The second GradCAM, and AblationCAM by the log loss.
    same = {"captum LayerGradCam", "captum LayerFeatureAblation"}
    return dense | (same if "grad-cam AblationCAM" in methods else set())


def localization(heatmaps, test, masks, sizes):
    """Scores against boxes and masks, with the maps of the true labels."""
    heat = heatmaps(test.images, test.labels)
    heat = heat - heat.min(axis=(1, 2), keepdims=True)
    curves = [
        box_accuracy_curve(
            heat[number : number + 1],
            box.assign(image=0),
            n_thresholds=sizes.thresholds,
        )
        for number, box in test.truth.groupby("image")
    ]
    # Hits per image, IoU and threshold; the best threshold is common to all images.
    hits = np.stack([curve.accuracies for curve in curves])
    accuracies = hits.mean(axis=0).max(axis=1)
    low, high = interval(hits, lambda hits: hits.max(axis=-1).mean(axis=-1), sizes)
    n_thresholds = {"n_thresholds": sizes.thresholds}
    return {
        "images": len(test.images),
        "MaxBoxAccV2": accuracies.mean(),
        "MaxBoxAccV2 from": low,
        "MaxBoxAccV2 to": high,
        **{
            f"box accuracy at IoU {threshold}": accuracy
            for threshold, accuracy in zip(
                curves[0].iou_thresholds, accuracies, strict=True
            )
        },
        "PxAP": pixel_average_precision(heat, test.truth, **n_thresholds),
        "PxAP on masks": pixel_average_precision(
            heat, masks[: len(heat)], **n_thresholds
        ),
        "pointing game": pointing_game(heat, test.truth),
    }


def interval(values, statistic, sizes):
    """The 2.5th and 97.5th percentile of a statistic of means, by bootstrap.

    Parameters
    ----------
    values : ndarray of shape (n_images, ...)
    statistic : callable
        Maps means over resampled images, (n_resamples, ...), to n_resamples numbers.
    sizes : Sizes
    """
    n_images, rng = len(values), np.random.RandomState(0)
    counts = rng.multinomial(n_images, np.full(n_images, 1 / n_images), sizes.resamples)
    means = counts @ values.reshape(n_images, -1) / n_images
    resampled = statistic(means.reshape(-1, *values.shape[1:]))
    return np.percentile(resampled, (2.5, 97.5))


def of_pairs(heatmaps, pairs, sizes):
    """Share of class maps with the peak in the box of their object."""
    # The two objects have different labels, so there is one box for each map.
    heat = heatmaps(pairs.images[pairs.truth["image"]], pairs.labels)
    hits = np.array(
        [
            pointing_game(heat[number : number + 1], box.assign(image=0))
            for number, box in pairs.truth.groupby(np.arange(len(pairs.truth)))
        ]
    )
    # The bootstrap resamples scenes, with both of their maps.
    scenes = hits.reshape(-1, 2).mean(axis=1)
    low, high = interval(scenes, lambda means: means, sizes)
    return {
        "two objects": hits.mean(),
        "two objects from": low,
        "two objects to": high,
        "two-object maps": len(hits),
    }


def faithfulness(model, heatmaps, X, predicted, sizes):
    """Scores without boxes, with the maps of the predicted labels."""
    heat = heatmaps(X, predicted)
    row = {
        "average drop": average_drop(model, X, heat, labels=predicted),
        "average increase": average_increase(model, X, heat, labels=predicted),
    }
    for name, curve_of in (
        ("insertion", insertion_curve),
        ("deletion", deletion_curve),
    ):
        curve = curve_of(model, X, heat, labels=predicted, n_steps=sizes.steps)
        areas = np.trapezoid(curve.probabilities, curve.shares, axis=1)
        low, high = interval(areas, lambda means: means, sizes)
        row |= {name: areas.mean(), f"{name} from": low, f"{name} to": high}
    return row | {"faithfulness images": len(X)}


def memory_rows(setup, methods, settings, n_images):
    """Growth of the peak memory of a process that computes heatmaps at once."""
    test = setup.test.first(n_images)
    return [
        {
            "setup": setup.name,
            **described(name, method),
            "settings": text_of(settings[name]),
            "images at once": n_images,
            "MiB": peak_growth(
                partial(method.build, **settings[name]), test.images, test.labels
            ),
        }
        for name, method in methods.items()
    ]


def last_values(grid):
    """A grid with a single point, for quick runs."""
    return {name: values[-1:] for name, values in grid.items()}


def ablation_rows(setup, n_images, n_repeats):
    """Times and differences of the scores without each filter in single images."""
    model, test = next(iter(setup.models.values())), setup.test.first(n_images)
    if AblationCAM is None:
        return []
    ours, images = model.ablate_filters(test.images, labels=test.labels), test.images
    weights_of = ablation_weights(model)
    # grad-cam divides by the score.
    drops = weights_of(images, test.labels) * ours.scores[:, np.newaxis]
    seconds = interleave(
        {
            "ablate_filters": lambda: model.ablate_filters(images),
            "grad-cam AblationCAM": lambda: weights_of(images, test.labels),
            "predict_proba": lambda: model.predict_proba(images),
        },
        n_repeats,
    )
    return [
        {
            "setup": setup.name,
            "method": name,
            "filters": ours.drops.shape[1],
            "images": len(images),
            "ms": 1000 * np.median(times),
            "x ablate_filters": median_ratio(times, seconds["ablate_filters"]),
            "largest difference": np.abs(drops - ours.drops).max(),
            "largest drop": np.abs(ours.drops).max(),
        }
        for name, times in seconds.items()
    ]


def photographs(arguments):
    """The table of photographs, unless something is missing for it."""
    reason = reason_to_skip(arguments.data_home)
    if reason:
        print(f"baselines-photographs is skipped: {reason}")
        return
    for rows in photograph_rows(arguments.quick, arguments.data_home, arguments.maps):
        report(
            "baselines-photographs",
            rows,
            arguments.quick,
            packages=PACKAGES,
            replace_by=["network", "method"],
        )


def main():
    """Run from the command line."""
    choices = {"setups": tuple(SETUPS), "tables": TABLES, "maps": MAPS}
    arguments = parse_arguments(__doc__, choices=choices)
    sizes = QUICK if arguments.quick else Sizes()
    if "photographs" in arguments.tables:
        photographs(arguments)
    tables = {name: [] for name in arguments.tables if name != "photographs"}
    if not tables:
        return
    for setup in setups(arguments, sizes):
        print(f"\n{setup.name}", flush=True)
        methods = methods_for(setup.models)
        if arguments.quick:
            setup = setup._replace(grids=tuple(map(last_values, setup.grids)))
            methods = {
                name: method._replace(grid=last_values(method.grid))
                for name, method in methods.items()
            }
        # Quality does not depend on the settings, which are chosen by time.
        settings = {
            name: {parameter: values[-1] for parameter, values in method.grid.items()}
            for name, method in methods.items()
        }
        rows = {}
        if "importances" in tables:
            rows["importances"] = importance_rows(setup, sizes.repeats_of_importance)
        if "images" in tables:
            rows["images"] = ablation_rows(
                setup, sizes.batch, sizes.repeats_of_importance
            )
        if "times" in tables:
            singles, _ = time_rows(
                setup, methods, sizes.singles, 1, sizes.repeats_of_singles
            )
            batches, settings = time_rows(
                setup, methods, sizes.batch, sizes.batch, sizes.repeats_of_batch
            )
            rows["times"] = singles + batches
        if "quality" in tables:
            rows["quality"] = quality_rows(setup, methods, settings, sizes)
        if "memory" in tables:
            if arguments.quick:
                # Each method starts a process, which takes long: one is enough.
                name = "torchcam GradCAM"
                methods = {} if tables["memory"] else {name: methods[name]}
            rows["memory"] = memory_rows(setup, methods, settings, sizes.batch)
        for name, rows_of_table in rows.items():
            tables[name] += rows_of_table
            if tables[name]:
                print()
                report(
                    f"baselines-{name}",
                    tables[name],
                    arguments.quick,
                    packages=PACKAGES,
                    replace_by="setup",
                )


if __name__ == "__main__":
    main()
