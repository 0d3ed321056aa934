"""Images, labels and heatmaps of all metrics that perturb images."""

import pickle

import numpy as np
import pandas as pd
import pytest
from half_classifiers import Explaining, Halves, heat_of, images_at_once
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.metrics import (
    average_drop,
    average_increase,
    deletion_auc,
    deletion_curve,
    insertion_auc,
    insertion_curve,
)

ALL = [average_drop, average_increase, insertion_auc, deletion_auc]
CURVES = [insertion_curve, deletion_curve]
AUCS = [insertion_auc, deletion_auc]


@pytest.mark.parametrize("function", ALL)
def test_rows_images_and_one_channel_are_equal(function, images, maps):
    expected = function(Halves(), images, maps)
    rows = images.reshape(7, -1)
    frame = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(24)])
    for X, heatmaps in [
        (images[..., np.newaxis], maps),
        (list(images), list(maps)),
        (rows, maps),
        (frame, maps),
        (rows.tolist(), maps.tolist()),
    ]:
        estimator = Halves((4, 6)) if np.ndim(X) == 2 else Halves()
        assert function(estimator, X, heatmaps) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("function", ALL)
def test_heatmaps_may_be_rows(function, images, maps):
    expected = function(Halves(), images, maps)
    assert function(Halves(), images, maps.reshape(7, -1)) == expected
    estimator = Halves((4, 6))
    estimator.image_shape_ = (4, 6)
    rows = images.reshape(7, -1)
    for heatmaps in (maps.reshape(7, -1), pd.DataFrame(maps.reshape(7, -1))):
        assert function(estimator, rows, heatmaps) == expected


@pytest.mark.parametrize("function", ALL)
def test_rows_of_colour_are_read_in_the_estimator_s_shape(function, maps):
    X = np.random.default_rng(0).random((7, 4, 6, 3))
    estimator = Halves((4, 6, 3))
    estimator.image_shape_ = (4, 6, 3)
    for heatmaps in (maps, maps.reshape(7, -1)):
        actual = function(estimator, X.reshape(7, -1), heatmaps)
        assert actual == pytest.approx(function(Halves(), X, maps))


def test_rows_of_unknown_shape_are_squares():
    X = np.random.default_rng(0).random((5, 36))
    maps = np.random.default_rng(1).random((5, 36))
    actual = insertion_auc(Halves((6, 6)), X, maps)
    assert actual == insertion_auc(Halves(), X.reshape(5, 6, 6), maps.reshape(5, 6, 6))


@pytest.mark.parametrize("function", ALL)
def test_grey_in_three_channels_equals_grey(function, images, maps):
    colour = np.stack([images] * 3, axis=-1)
    expected = function(Halves(), images, maps)
    assert function(Halves(), colour, maps) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layout", ["rows", "frame", "images", "colour"])
def test_the_estimator_gets_the_layout_and_type_of_x(layout, images, maps):
    images = (255 * images).astype(np.uint8)
    X = {
        "rows": images.reshape(7, -1),
        "frame": pd.DataFrame(images.reshape(7, -1)).add_prefix("p"),
        "images": images,
        "colour": np.stack([images] * 3, axis=-1),
    }[layout]
    batches = []

    class Watching(Halves):
        def predict_proba(self, batch):
            batches.append(batch)
            return super().predict_proba(batch)

    for function in ALL:
        function(Watching((4, 6) if X.ndim == 2 else None), X, maps)
    for batch in batches:
        assert type(batch) is type(X)
        assert batch.shape[1:] == X.shape[1:]
        assert set(np.asarray(batch).dtype.str) == set("|u1")
        if layout == "frame":
            assert batch.columns.equals(X.columns)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("baseline", ["black", "mean", "blur", 51])
def test_integers_equal_floats_up_to_rounding(function, baseline, maps):
    X = np.random.default_rng(0).integers(0, 256, (7, 4, 6), dtype=np.uint8)
    options = [{}, {}]
    if function in AUCS:
        scaled = baseline if isinstance(baseline, str) else baseline / 255
        options = [{"baseline": baseline}, {"baseline": scaled}]
    for label in ("left", "right"):
        actual = function(Halves(), X, maps, labels=label, **options[0])
        expected = function(Halves(), X / 255, maps, labels=label, **options[1])
        # Half a grey level at most, if values are rounded.
        is_exact = function in AUCS and baseline in ("black", 51)
        tolerance = 1e-12 if is_exact else 0.5 / 255
        assert actual == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("function", ALL)
def test_booleans_are_0_and_1(function, maps):
    X = np.random.default_rng(0).random((7, 4, 6)) > 0.5
    actual = function(Halves(), X, maps)
    assert actual == pytest.approx(function(Halves(), X.astype(np.float32), maps))


def test_memory_maps_are_read(tmp_path, images, maps):
    np.save(tmp_path / "X.npy", images)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert insertion_auc(Halves(), mapped, maps) == insertion_auc(
        Halves(), images, maps
    )


@pytest.mark.parametrize("function", ALL)
def test_kinds_of_labels(function, images, maps):
    predicted = Halves.classes_[Halves().predict_proba(images).argmax(axis=1)]
    assert len(set(predicted)) == 2
    values = {
        kind: function(Halves(), images, maps, labels=labels)
        for kind, labels in [
            ("none", None),
            ("each", predicted),
            ("list", predicted.tolist()),
            ("series", pd.Series(predicted, index=range(7, 14))),
            ("left", "left"),
            ("all left", ["left"] * 7),
            ("right", "right"),
        ]
    }
    assert values["none"] == values["each"] == values["list"] == values["series"]
    assert values["left"] == values["all left"]
    assert len({values[kind] for kind in ("none", "left", "right")}) == 3


@pytest.mark.parametrize("function", ALL)
def test_heatmaps_of_the_estimator_are_for_each_image_s_label(function, images):
    labels = np.array(["right", "left", "left", "right", "left", "right", "left"])
    heatmaps = [
        heat_of(image[np.newaxis], label)[0]
        for image, label in zip(images, labels, strict=True)
    ]
    expected = function(Halves(), images, heatmaps, labels=labels)
    estimator = Explaining()
    assert function(estimator, images, labels=labels) == expected
    assert sorted(estimator.calls) == [(3, "right"), (4, "left")]


def test_predicted_labels_are_explained(images):
    predicted = Halves.classes_[Halves().predict_proba(images).argmax(axis=1)]
    heatmaps = [
        heat_of(image[np.newaxis], label)[0]
        for image, label in zip(images, predicted, strict=True)
    ]
    for function in ALL:
        assert function(Explaining(), images) == function(Halves(), images, heatmaps)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("up", "labels holds 'up', but the classes are 'left', 'right'"),
        (["left"] * 5 + ["up", "down"], "labels holds 'up', 'down', but"),
        (["left"] * 6 + [None], "Row 6 of labels has no label; fill it in"),
        (["left"] * 6 + [1], "labels holds numbers and strings; convert"),
        ([["left"] * 2] * 7, "Row 0 of labels has a list as label"),
        (np.array([["left"] * 2] * 7), "labels has shape 7x2"),
        (["left"] * 6, "labels holds 6 labels for 7 images"),
    ],
)
def test_unknown_labels_are_named(images, maps, labels, message):
    for function in ALL + CURVES:
        with pytest.raises(ValueError, match=message):
            function(Halves(), images, maps, labels=labels)


def few_steps(function):
    return {"n_steps": 5} if function in AUCS else {}


@pytest.mark.parametrize("function", ALL)
def test_batches_are_bounded_and_change_nothing(function, images):
    labels = ["left", "right", "right", "right", "left", "left", "left"]
    whole = function(Explaining(), images, labels=labels, **few_steps(function))
    estimator = Explaining()
    with images_at_once(2):
        actual = function(estimator, images, labels=labels, **few_steps(function))
    assert actual == pytest.approx(whole, rel=1e-12)
    assert max(shape[0] for shape in estimator.batches) == 2
    assert max(n for n, _ in estimator.calls) == 2
    assert sum(n for n, _ in estimator.calls) == 7


@pytest.mark.parametrize("function", ALL + CURVES)
@pytest.mark.parametrize(
    ("heatmaps", "message"),
    [
        (None, "Halves has no method heatmap; pass heatmaps"),
        (np.zeros((6, 4, 6)), "heatmaps has 6 entries for 7 images"),
        (np.zeros((7, 6, 4)), "Heatmap 0 is 6x4 and its image 4x6"),
        ([np.zeros((4, 6))] * 6 + [np.zeros((2, 3))], "Heatmap 6 is 2x3"),
        (np.zeros((7, 23)), "Heatmap 0 is 1x23 and its image 4x6"),
        (np.full((7, 4, 6), np.nan), "Heatmap 0 contains NaN"),
        (np.zeros((7, 4, 6, 1)), r"Heatmap 0 has shape \(4, 6, 1\)"),
        ([], "heatmaps has 0 entries for 7 images"),
    ],
)
def test_heatmaps_that_do_not_fit(function, images, heatmaps, message):
    with pytest.raises(ValueError, match=message):
        function(Halves(), images, heatmaps)


@pytest.mark.parametrize("X", [np.ones((2, 24)), np.ones((2, 24)).tolist()])
def test_rows_that_do_not_fit(X):
    with pytest.raises(ValueError, match="Heatmap 0 is 5x5 and its image 1x24"):
        average_drop(Halves((4, 6)), X, np.zeros((2, 5, 5)))
    with pytest.raises(ValueError, match="heatmaps has 0 entries for 2 images"):
        average_drop(Halves((4, 6)), X, [])


@pytest.mark.parametrize("function", ALL + CURVES)
def test_estimators_that_cannot_predict(function, images, maps):
    with pytest.raises(ValueError, match="an object implementing 'predict_proba'"):
        function(object(), images, maps)
    with pytest.raises(NotFittedError, match="LogisticRegression has no classes_"):
        function(LogisticRegression(), images, maps)
    with pytest.raises(NotFittedError, match="SimilarNetClassifier has no"):
        function(SimilarNetClassifier(), images)


@pytest.mark.parametrize("function", ALL + CURVES)
@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "result of Broken.predict_proba is a NoneType; pass numbers"),
        (np.zeros((7, 1)), r"shape \(7, 1\) for 7 images and 2 classes; it should"),
        (np.zeros(7), r"shape \(7,\) for 7 images and 2 classes; it should"),
        (np.zeros((6, 2)), r"shape \(6, 2\) for 7 images and 2 classes; it should"),
        (np.full((7, 2), 3.5), "holds values from 3.5 to 3.5; probabilities lie"),
        (np.full((7, 2), np.nan), "holds values from nan to nan; probabilities"),
    ],
)
def test_results_that_are_not_probabilities(function, returned, message, images, maps):
    class Broken(Halves):
        def predict_proba(self, X):
            return returned

    with pytest.raises(ValueError, match=message):
        function(Broken(), images, maps)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "The result of Broken.heatmap is a NoneType; pass an array"),
        (np.zeros((1, 3, 3)), "heatmaps has 1 entries for"),
        ("heat", "The result of Broken.heatmap is a str; pass an array"),
    ],
)
def test_results_that_are_not_heatmaps(images, returned, message):
    class Broken(Halves):
        def heatmap(self, X, target=None):
            return returned

    with pytest.raises(ValueError, match=message):
        average_drop(Broken(), images)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[[1, 2], [3]]], "Image 0 of X is a list that makes no array"),
        (pd.DataFrame(), r"X has shape \(0, 0\); pass at least one image"),
        (np.zeros((3, 0)), r"X has shape \(3, 0\); pass at least one image"),
        (np.zeros((0, 4, 6)), "no images"),
        (np.full((7, 4, 6), np.inf), "Image 0 of X contains inf"),
        (np.full((7, 24), np.nan), "Row 0 of X contains NaN"),
        (np.full((7, 4, 6), "a"), "dtype <U1"),
        (
            [np.zeros((4, 6)), np.zeros((6, 4))],
            "Image 0 of X is 4x6x1 float64 and image 1 6x4",
        ),
    ],
)
def test_images_that_cannot_be_read(X, message, maps):
    with pytest.raises(ValueError, match=message):
        average_drop(Halves(), X, maps)


def test_heatmaps_of_the_estimator_equal_given_ones(fitted, digits):
    X, y = digits.X_test[:12], digits.y_test[:12]
    heatmaps = np.empty((12, 28, 28))
    for label in np.unique(y):
        heatmaps[y == label] = fitted.heatmap(X[y == label], label)
    for function in ALL:
        actual = function(fitted, X, labels=y)
        assert actual == pytest.approx(
            function(fitted, X, heatmaps, labels=y), abs=1e-6
        )


def test_rows_equal_images(fitted, digits):
    X = digits.X_test[:8]
    for function in ALL:
        actual = function(fitted, X.reshape(8, -1))
        assert actual == pytest.approx(function(fitted, X), abs=1e-6)


def test_integers_equal_floats(fitted, digits):
    X = digits.X_test[:15]
    scaled = (X / np.float32(255)).astype(np.float32)
    for function in (average_drop, insertion_auc):
        actual = function(fitted, X)
        assert actual == pytest.approx(function(fitted, scaled), abs=0.005)
    # Black pixels are not rounded.
    actual = deletion_auc(fitted, X)
    assert actual == pytest.approx(deletion_auc(fitted, scaled), abs=1e-6)


def test_estimator_and_images_are_unchanged(fitted, digits):
    X = digits.X_test[:2].copy()
    before = pickle.dumps(fitted)
    for function in ALL + CURVES:
        function(fitted, X)
    assert pickle.dumps(fitted) == before
    np.testing.assert_array_equal(X, digits.X_test[:2])


def test_the_last_step_of_a_pipeline_explains(fitted, digits):
    X = 255 - digits.X_test[:8]
    pipeline = make_pipeline(FunctionTransformer(lambda X: 255 - X), fitted)
    heatmaps = np.concatenate(
        [
            fitted.heatmap(digits.X_test[[i]], label)
            for i, label in enumerate(fitted.predict(digits.X_test[:8]))
        ]
    )
    for function in ALL:
        actual = function(pipeline, X)
        assert actual == pytest.approx(function(pipeline, X, heatmaps), abs=1e-6)
    actual = deletion_auc(pipeline, X, baseline=255)
    expected = deletion_auc(fitted, digits.X_test[:8], baseline=0)
    assert actual == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_classifier_of_scikit_learn_with_named_pixels(digits):
    X = digits.X[:, ::2, ::2].reshape(len(digits.X), -1)
    X = pd.DataFrame(X).add_prefix("pixel")
    model = make_pipeline(MinMaxScaler(), LogisticRegression(tol=0.01))
    model.fit(X, digits.y)
    X, y = X[:20], digits.y[:20]
    heatmaps = model[-1].coef_[y] * X.to_numpy()
    assert insertion_auc(model, X, heatmaps, baseline=0) > 0.9
    assert insertion_auc(model, X, -heatmaps, baseline=0) < 0.5
    assert deletion_auc(model, X, heatmaps) < deletion_auc(model, X, -heatmaps)
    assert average_drop(model, X, heatmaps) < average_drop(model, X, -heatmaps)
    with pytest.raises(ValueError, match="Pipeline has no method heatmap"):
        average_drop(model, X)
