"""Importances and heatmaps beside torchcam's, captum's and grad-cam's.

    tox -e benchmark-baselines               (about 45 minutes on 2 cores)
    tox -e benchmark-baselines -- --quick

Four trained networks, all methods on the same network, layer and images, in one run:

- LeNet on MNIST's digits by themselves, with the paper's recipe;
- SmallResNet (64 filters, average pooling, one linear layer) and SmallVGG (256 filters,
  two linear layers) on scenes of 64x64 pixels: one item of Fashion-MNIST on a dimmed
  photograph;
- SmallResNet on the same in colour, each item in a random bright colour.

Training scenes are made of training images and scikit-learn's photographs, test scenes
of test images and scikit-image's. Importances come from training images that the
network was not trained on. Settings of the baselines are those that are fastest on
training images; ours has its defaults. All that is measured is measured on test images.

**baselines-importances**: seconds until the increase of the log loss without each
filter is known. predict_proba is one pass, without importances, for scale.
fit_importance is ours, which also measures the error rate, the same for each class,
what classes are told from each other by, and the scales of the heat on about 128 of the
images. The plain loop sets a filter's responses to zero and runs the whole network, for
one filter after another. captum's LayerFeatureAblation has a layer mask that makes a
channel one feature.

**baselines-times**: milliseconds for a heatmap, images one by one or 64 at once, from
8-bit pixels to an array of the images' size. "of a class": the map is that of a label,
given for each image. "gradients": it needs a backward pass. The methods:

- heatmap(X, label): ours, of a label for each image; heatmap(X): of all classes
  together. "pooled" is the default, "dense" has responses at every pixel, and "two
  layers" adds the network's first activations to the layer that all others have;
- torchcam's CAM, which takes the weights of the linear layer after an average pooling
  and only fits such networks, GradCAM, GradCAMpp, LayerCAM, and captum's LayerGradCam,
  negative values cut off: one pass, and all but CAM a part of the backward pass;
- torchcam's ScoreCAM, which runs the network on the image masked by each response;
- captum's LayerFeatureAblation: responses weighted by the increase of this image's log
  loss without each, where ours are averages over many images; the network runs once for
  each filter;
- grad-cam's AblationCAM, where it is installed: the same by the score of the class.

The maps of all others are at the layer's stride and are interpolated to the image's
size within the time, as "pooled" is. Each has a copy of the network in the faster
memory format, and is built before the clock starts; extractors are called as their
documentation says. The methods take turns, and the figures are medians: of the times,
and of the ratios to ours within a round.

**baselines-quality**: what the maps of the true label are worth as locations, after
each map's least value is subtracted, as in the WSOL metrics: MaxBoxAccV2 and the box
accuracies that it is the mean of, PxAP against the boxes, pointing game. For a digit by
itself, the box is that of its ink. "two objects": of scenes with two objects of
different classes, the share of maps of either label that peak in that object's box.
Then what the maps of the predicted label say of the network: average drop and deletion
(lower is better), average increase and insertion (higher is better). "centre" is heat
that falls with the distance from the middle. The three constants of our maps of a class
were chosen with such a network on such scenes, made of training images and training
photographs; baselines have nothing to choose. It is one network of each kind and 500
images: differences of less than 0.04 say little.

**baselines-memory**: MiB by which the peak of a new process grows from the heatmap of
one image to those of 64 at once, with the settings that are fastest.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np
from _baselines import PACKAGES, methods_for
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
from _networks import SmallResNet, SmallVGG
from _references import centre_heatmaps
from _scenes import (
    Labelled,
    load_fashion,
    pair_scenes,
    single_scenes,
    tint,
    training_photographs,
    unseen_photographs,
    with_ink_boxes,
)
from sklearn.model_selection import ParameterGrid
from sklearn.utils import gen_batches

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.metrics import (
    average_drop,
    average_increase,
    box_accuracy_curve,
    deletion_auc,
    insertion_auc,
    pixel_average_precision,
    pointing_game,
)

RECIPE = {"max_epochs": 6, "batch_size": 64, "lr": 2e-3, "lr_decay": 5e-3}


class Sizes(NamedTuple):
    """Numbers of images and of repeats."""

    training: int = 12_000
    validation: int = 1_000
    test: int = 500
    pairs: int = 300
    faithfulness: int = 200
    importance_digits: int = 10_000
    importance_scenes: int = 500
    # For the choice of the settings of the methods to importances.
    few_digits: int = 2_000
    few_scenes: int = 32
    # Times are of some images one by one, and of a batch.
    singles: int = 8
    batch: int = 64
    repeats_of_importance: int = 3
    repeats_of_batch: int = 7
    repeats_of_singles: int = 11
    # On the heat, for the box accuracy and PxAP; 1,000 are those of the WSOL metrics.
    thresholds: int = 1_000


QUICK = Sizes(200, 50, 8, 5, 2, 200, 6, 100, 2, 2, 4, 2, 2, 2, 50)


class Setup(NamedTuple):
    """A trained network and images.

    Attributes
    ----------
    name : str
    models : dict of SimilarNetClassifier
        The network with several settings, the default first; importances are measured
        on images of the training set that it was not trained on.
    training, test : Labelled
        Settings are chosen on the one, and all is measured on the other.
    pairs : Labelled or None
        Scenes of two test objects.
    n_importance, n_few : int
        Images for the times of the importances, and for the choice of settings there.
    grids : (dict, dict)
        Settings of the plain loop and of captum.
    """

    name: str
    models: dict
    training: Labelled
    test: Labelled
    pairs: Labelled | None
    n_importance: int
    n_few: int
    grids: tuple[dict, dict]


def setups(arguments, sizes) -> Iterator[Setup]:
    """The four, one after the other."""
    yield digits(arguments, sizes)
    name, fashion = load_fashion(arguments)
    for module, first_layer, colour, few_filters in (
        (SmallResNet, "stem", False, None),
        (SmallVGG, "features.2", False, {"module__n_filters": 16}),
        (SmallResNet, "stem", True, None),
    ):
        kind = f"{'tinted ' if colour else ''}{name} scenes"
        model = SimilarNetClassifier(module, random_state=0, **RECIPE)
        if arguments.quick:
            model.set_params(max_epochs=1, net_params=few_filters)
        name_of_setup = f"{module.__name__}, {kind}"
        yield on_scenes(name_of_setup, model, first_layer, fashion, colour, sizes)


def digits(arguments, sizes):
    """LeNet on MNIST's digits by themselves."""
    mnist = load_mnist(arguments)
    parts = [slice(None, -sizes.validation), slice(-sizes.validation, None)]
    training, validation = (
        with_ink_boxes(mnist.X_train[part], mnist.y_train[part]) for part in parts
    )
    model = SimilarNetClassifier(random_state=0)
    if arguments.quick:
        model.set_params(max_epochs=1)
    return Setup(
        "LeNet, MNIST digits",
        fitted(model, "features.relu1", training, validation),
        training,
        with_ink_boxes(mnist.X_test, mnist.y_test),
        None,
        sizes.importance_digits,
        sizes.few_digits,
        grids((100, 300, 1000), (1, 4, 16)),
    )


def on_scenes(name, model, first_layer, images, colour, sizes):
    """A network on scenes of one object, on photographs."""
    X_train, X_test = images.X_train, images.X_test
    if colour:
        X_train, X_test = tint(X_train, 0), tint(X_test, 1)
    mode = "RGB" if colour else "L"
    photographs = training_photographs(mode)
    # No item is in scenes for training and in scenes for validation.
    n_kept = len(X_train) // 6
    training, validation = (
        single_scenes(X_train[part], images.y_train[part], n_scenes, photographs, seed)
        for part, n_scenes, seed in (
            (slice(None, -n_kept), sizes.training, 0),
            (slice(-n_kept, None), sizes.validation, 1),
        )
    )
    unseen = unseen_photographs(mode)
    return Setup(
        name,
        fitted(model, first_layer, training, validation),
        training,
        single_scenes(X_test, images.y_test, sizes.test, unseen, 2),
        pair_scenes(X_test, images.y_test, sizes.pairs, unseen, 3),
        sizes.importance_scenes,
        sizes.few_scenes,
        grids((8, 32), (1, 8)),
    )


def grids(batch_sizes, perturbations):
    """Settings for the plain loop and for captum."""
    loop = {"batch_size": batch_sizes}
    return loop, {**loop, "perturbations_per_eval": perturbations}


def fitted(model, first_layer, training, validation):
    """The model, trained once, with several settings; importances from other images."""
    model.fit(training.images, training.labels)
    two_layers = SimilarNetClassifier(
        model.net_.module_,
        [first_layer, model.layer_],
        max_epochs=0,
        validation_fraction=None,
    ).fit(training.images, training.labels)
    models = {
        "pooled": model,
        "dense": deepcopy(model).set_params(resolution="dense"),
        "two layers": two_layers,
    }
    for own in models.values():
        own.fit_importance(validation.images, validation.labels)
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
    """A call that computes the heatmaps of images, some at once."""
    heatmaps = method.build(**setting)

    def run():
        for part in gen_batches(len(images.images), n_at_once):
            heatmaps(images.images[part], images.labels[part])

    return run


def best_settings(method, images, n_at_once):
    """The fastest of the settings that a method can have, on these images."""
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
    """Times of heatmaps for some images at once, and the settings that were used."""
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
    """The columns that say what a method is."""
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
    some = test.first(sizes.faithfulness).images
    predicted = model.predict(some)
    accuracy = model.score(test.images, test.labels)
    sources = {
        name: (described(name, method), method.build(**settings[name]))
        for name, method in methods.items()
    }
    nothing = {"method": "centre", "of a class": "no", "gradients": "no"}
    sources["centre"] = nothing, lambda X, _labels: np.stack(centre_heatmaps(X))
    rows = []
    for name, (description, heatmaps) in sources.items():
        rows.append(
            {"setup": setup.name, "accuracy": accuracy, **description}
            | localization(heatmaps, test, sizes.thresholds)
            | of_pairs(heatmaps, setup.pairs)
            | faithfulness(model, heatmaps, some, predicted)
        )
        print(f"{name}: MaxBoxAccV2 {rows[-1]['MaxBoxAccV2']:.3f}", flush=True)
    return rows


def localization(heatmaps, test, n_thresholds):
    """Scores against the boxes; the maps are those of the true labels."""
    heat = heatmaps(test.images, test.labels)
    heat = heat - heat.min(axis=(1, 2), keepdims=True)
    curve = box_accuracy_curve(heat, test.truth, n_thresholds=n_thresholds)
    accuracies = curve.accuracies.max(axis=1)
    return {
        "images": len(test.images),
        "MaxBoxAccV2": accuracies.mean(),
        **{
            f"box accuracy at IoU {threshold}": accuracy
            for threshold, accuracy in zip(
                curve.iou_thresholds, accuracies, strict=True
            )
        },
        "PxAP": pixel_average_precision(heat, test.truth, n_thresholds=n_thresholds),
        "pointing game": pointing_game(heat, test.truth),
    }


def of_pairs(heatmaps, pairs):
    """How often the map of either object's label peaks in that object's box."""
    if pairs is None:
        return {}
    numbers = np.arange(len(pairs.truth))
    heat = heatmaps(pairs.images[pairs.truth["image"]], pairs.labels)
    # The other object has another label, so that each map has one box to hit.
    share = pointing_game(heat, pairs.truth.assign(image=numbers))
    return {"two objects": share, "two-object maps": len(numbers)}


def faithfulness(model, heatmaps, X, predicted):
    """Scores without boxes; the maps are those of the predicted labels."""
    heat = heatmaps(X, predicted)
    return {
        name: function(model, X, heat, labels=predicted)
        for name, function in (
            ("average drop", average_drop),
            ("average increase", average_increase),
            ("insertion", insertion_auc),
            ("deletion", deletion_auc),
        )
    } | {"faithfulness images": len(X)}


def memory_rows(setup, methods, settings, n_images):
    """Growth of a process that computes many heatmaps at once."""
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
    """A grid of one point: quick runs try nothing."""
    return {name: values[-1:] for name, values in grid.items()}


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    sizes = QUICK if arguments.quick else Sizes()
    importances, times, quality, memory = [], [], [], []
    for setup in setups(arguments, sizes):
        print(f"\n{setup.name}", flush=True)
        methods = methods_for(setup.models)
        if arguments.quick:
            setup = setup._replace(grids=tuple(map(last_values, setup.grids)))
            methods = {
                name: method._replace(grid=last_values(method.grid))
                for name, method in methods.items()
            }
        importances += importance_rows(setup, sizes.repeats_of_importance)
        times += time_rows(setup, methods, sizes.singles, 1, sizes.repeats_of_singles)[
            0
        ]
        rows, settings = time_rows(
            setup, methods, sizes.batch, sizes.batch, sizes.repeats_of_batch
        )
        times += rows
        quality += quality_rows(setup, methods, settings, sizes)
        if arguments.quick:
            # Each method is a process that imports everything anew: one is enough.
            methods = (
                {} if memory else {"torchcam GradCAM": methods["torchcam GradCAM"]}
            )
        memory += memory_rows(setup, methods, settings, sizes.batch)
    for name, rows in (
        ("baselines-importances", importances),
        ("baselines-times", times),
        ("baselines-quality", quality),
        ("baselines-memory", memory),
    ):
        print()
        report(name, rows, arguments.quick, packages=PACKAGES)


if __name__ == "__main__":
    main()
