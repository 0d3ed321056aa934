"""`InstanceLocalizer`: training from crops alone, around any classifier."""

import copy
import warnings
from copy import deepcopy
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tqdm.auto import tqdm

from sklearn_similar import (
    InstanceLocalizer,
    SimilarNetClassifier,
    SmallCNN,
    load,
    save,
)
from sklearn_similar._learning import calibration, training
from sklearn_similar._learning.recipe import CropNumberRecipe
from sklearn_similar._scenes.rendering import resize
from sklearn_similar._scenes.textures import make_textures
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import (
    LocalizationScorer,
    detection_f1_score,
    detection_scores,
)

# Good crops matter to `localizer` alone, which is made with full scenes, as fixtures of
# modules are made before those of tests.
pytestmark = pytest.mark.usefixtures("small_scenes")

DIGITS = load_mnist_sample()
COLUMNS = ["image", "label", "score", "heat", "x_min", "y_min", "x_max", "y_max"]
FEW = {
    "n_instance_crops": 40,
    "n_background_crops": 40,
    "n_mining_rounds": 0,
    "random_state": 0,
}
MINED = FEW | {"n_mining_rounds": 1}


def network(**params):
    defaults = {"lr": 2e-3, "lr_decay": 2e-3, "batch_size": 50, "max_epochs": 4}
    return SimilarNetClassifier(**(defaults | params))


def flat(images):
    return images.reshape(len(images), -1)


def bayes():
    return make_pipeline(FunctionTransformer(flat), GaussianNB(var_smoothing=0.1))


@pytest.fixture(scope="module")
def localizer(fitted_localizer):
    return fitted_localizer


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(DIGITS.X_test, DIGITS.y_test, n_scenes=8, random_state=0)


@pytest.fixture(scope="module")
def few():
    return DIGITS.X_train[::40], DIGITS.y_train[::40]


@pytest.fixture(scope="module")
def bayes_once(few, small_scenes_context):
    with small_scenes_context():
        return InstanceLocalizer(bayes(), **FEW).fit(*few)


@pytest.fixture
def quick_localizer(bayes_once):
    """A localizer without heatmaps, which a test may change."""
    return deepcopy(bayes_once)


def test_an_estimator_that_cannot_be_used_is_refused_before_crops_are_made(
    few, monkeypatch
):
    def made(*args, **kwargs):
        raise AssertionError("crops are made")

    monkeypatch.setattr("sklearn_similar._localizer.train_recognizer", made)
    with pytest.raises(TypeError, match="an instance"):
        InstanceLocalizer(SimilarNetClassifier).fit(*few)
    with pytest.raises(NotFittedError):
        InstanceLocalizer(FrozenEstimator(SimilarNetClassifier())).fit(*few)


def test_digits_are_found_from_crops_alone(localizer, scenes):
    images, truth = scenes
    scores = detection_scores(truth, localizer.localize(images))
    assert scores.f1 > 0.85
    assert localizer.score(images, truth) == scores.f1


def test_classes_are_those_of_the_user_and_background_is_not_one(localizer):
    assert_array_equal(localizer.classes_, np.arange(10))
    assert_array_equal(localizer.estimator_.classes_, np.arange(-1, 10))


@pytest.mark.parametrize(
    "names",
    [
        np.array(["zero", "one", "two"]),
        np.array([-1, -7, 30]),
        np.array([True, False, False]),
        np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[s]"),
    ],
)
def test_labels_may_be_of_any_kind(few, names):
    X, y = few[0][few[1] < 3], names[few[1][few[1] < 3]]
    localizer = InstanceLocalizer(bayes(), score_threshold=0, **FEW).fit(X, y)
    found = localizer.localize(list(DIGITS.X_test[:20]))
    assert_array_equal(localizer.classes_, np.unique(names))
    assert len(found)
    assert set(found["label"]) <= set(pd.Series(names))
    assert localizer.score(X, y) > 0.2
    assert (
        found["label"].dtype == localizer.localize(np.zeros((1, 9, 9)))["label"].dtype
    )


@pytest.mark.parametrize(
    ("names", "background"),
    [
        (np.arange(3), -1),
        (np.array([-1, -2, 5]), -3),
        (np.array([0, 1, 2], np.uint8), -1),
        (np.array(["b", "background", "c"]), "background_"),
        (np.array(["b", "d", "c"], dtype=object), "background"),
        (np.array([True, False, False]), -1),
    ],
)
def test_the_trained_estimator_speaks_the_labels_of_y(few, names, background):
    X, y = few[0][few[1] < 3], names[few[1][few[1] < 3]]
    localizer = InstanceLocalizer(network(max_epochs=1), **FEW).fit(X, y)
    assert localizer.background_ == localizer.estimator_.background == background
    expected = {background, *names.tolist()}
    assert set(localizer.estimator_.classes_.tolist()) == expected
    frozen = InstanceLocalizer(FrozenEstimator(localizer.estimator_)).fit(X, y)
    assert_array_equal(frozen.classes_, localizer.classes_)
    localizer.score_calibration_ = frozen.score_calibration_
    images = list(DIGITS.X_test[:5])
    assert_frame_equal(
        frozen.set_params(score_threshold=0).localize(images),
        localizer.set_params(score_threshold=0).localize(images),
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((50, 60)), r"if X is one image, pass \[X\]"),
        (np.zeros((28, 28)), r"if X is one image, pass \[X\]"),
        (np.zeros((28, 28)).tolist(), r"if X is one image, pass \[X\]"),
        (np.zeros((50, 60, 3)), r"pass \[X\] for one colour image"),
    ],
)
def test_one_image_is_to_be_passed_in_a_list(quick_localizer, image, message):
    with pytest.raises(ValueError, match=message):
        quick_localizer.localize(image)


def test_an_image_as_wide_as_a_row_is_long_is_doubted(quick_localizer):
    for image in (np.zeros((30, 784)), np.zeros((30, 784)).tolist()):
        with pytest.warns(UserWarning, match=r"read as 30 rows of 28x28 .* pass \[X"):
            quick_localizer.localize(image)


def test_the_crop_specification_is_learned_from_instances_alone(few):
    X, y = few
    # Background that is larger and brighter than any digit.
    clutter = np.full((5, 28, 28), 255, np.uint8)
    digits = X // 2
    given = np.concatenate([digits, clutter]), np.r_[y, [99] * 5]
    localizer = InstanceLocalizer(network(background=99, max_epochs=1), **FEW)
    alone = InstanceLocalizer(network(max_epochs=1), **FEW).fit(digits, y)
    specification = localizer.fit(*given).crop_specification_
    assert specification == alone.crop_specification_
    assert specification.object_extent < 0.9
    assert specification.high < 0.6


def test_objects_with_a_ground_of_their_own_are_found_on_other_grounds():
    """Discs and crosses, darker than what is around them, on textures."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[:28, :28] - 13.5
    masks = np.stack([np.hypot(x, y) < 12, np.minimum(abs(x), abs(y)) < 4]) * 255
    masks = masks.astype(np.uint8)
    grounds = [image // 2 + 120 for image in make_textures(8, (200, 200), rng)]

    def scenes(backgrounds, n_scenes):
        return make_scenes(
            np.full((2, 28, 28), 40, np.uint8),
            ["disc", "cross"],
            masks=masks,
            n_scenes=n_scenes,
            n_instances=(2, 4),
            scale=(0.8, 1.5),
            background_images=backgrounds,
            background_brightness=1,
            random_state=0,
        )

    shown, boxes = scenes(grounds[:4], 30)
    crops = [
        resize(shown[box.image, box.y_min : box.y_max, box.x_min : box.x_max], (28, 28))
        for box in boxes.itertuples()
    ]
    localizer = InstanceLocalizer(
        network(max_epochs=6),
        n_instance_crops=400,
        n_background_crops=400,
        n_mining_rounds=0,
        random_state=0,
    ).fit(np.uint8(crops), boxes["label"])
    assert localizer.crop_specification_.fills_frame
    images, truth = scenes(grounds[4:], 10)
    for proposals in ("image", "grey"):
        found = localizer.set_params(proposals=proposals).localize(images)
        assert detection_f1_score(truth, found) > 0.7


def crops_of_noise(n):
    """Crops with background context, for fits whose result does not matter."""
    rng = np.random.RandomState(0)
    return rng.randint(100, 200, (n, 28, 28)).astype(np.uint8), np.arange(n) % 2


def fit_with_warnings(localizer, *args, **params):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        localizer.fit(*args, **params)
    return [str(warning.message) for warning in caught]


def test_context_is_learnt_or_as_asked_for(few):
    crops, y = crops_of_noise(10)
    frozen = FrozenEstimator(bayes().fit(crops, y))
    for given, expected in ((None, True), (True, True), (False, False)):
        localizer = InstanceLocalizer(frozen, fills_frame=given).fit(crops, y)
        assert localizer.crop_specification_.fills_frame is expected
    black = DIGITS.X_train[:10]
    frozen = FrozenEstimator(bayes().fit(black, y))
    localizer = InstanceLocalizer(frozen, fills_frame=True).fit(black, y)
    assert localizer.crop_specification_.fills_frame


def test_a_few_crops_warn_once_and_are_not_calibrated():
    X, y = DIGITS.X_train[:18], np.zeros(18)
    localizer = InstanceLocalizer(bayes(), **FEW)
    (message,) = fit_with_warnings(localizer, X, y)
    assert "18 images" in message
    assert localizer.score_calibration_ == (1, 0, 0)
    assert localizer.box_regression_ is None
    X, y = DIGITS.X_train[:60], np.zeros(60)
    assert fit_with_warnings(localizer, X, y) == []
    assert localizer.score_calibration_ != (1, 0, 0)


def test_scores_are_calibrated_on_background_images_that_are_not_trained_on(
    few, monkeypatch
):
    # The levels of an image tell which one it is.
    images = [np.full((40, 40), level, np.uint8) for level in (40, 80, 120, 160)]
    made = []
    make = training.make_backgrounds

    def noted_backgrounds(n_textures, images, *args, **kwargs):
        made.append([int(image[0, 0]) for image in images])
        return make(n_textures, images, *args, **kwargs)

    monkeypatch.setattr(training, "make_backgrounds", noted_backgrounds)
    InstanceLocalizer(bayes(), **MINED).fit(*few, background_images=images)
    mined, calibrated = made
    assert len(mined) == 3
    assert len(calibrated) == 1
    assert sorted(mined + calibrated) == [40, 80, 120, 160]


def test_many_small_detections_warn_if_no_background_was_learnt():
    crops, y = crops_of_noise(10)
    # With one class, whatever is proposed is an object.
    frozen = FrozenEstimator(DummyClassifier().fit(crops, 0 * y))
    localizer = InstanceLocalizer(frozen, proposals="grey").fit(crops, 0 * y)
    squares = np.zeros((400, 400), np.uint8)
    for row in range(10, 390, 30):
        for column in range(10, 390, 30):
            squares[row : row + 15, column : column + 15] = 200

    def warnings_of(images):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tables = localizer.localize(images)
            found = tables if isinstance(images, list) else pd.concat(tables)
        assert len(found) > 100
        return [str(warning.message) for warning in caught]

    # A frozen estimator may know the background.
    assert warnings_of([squares]) == []
    localizer._has_background_images = False
    (message,) = warnings_of([squares])
    assert "half of them at most 15 pixels" in message
    (of_iterator,) = warnings_of(iter([squares]))
    assert of_iterator == message
    # A localizer of an earlier version does not say.
    del localizer._has_background_images
    assert warnings_of([squares]) == []


@pytest.mark.parametrize("is_given", [True, False])
def test_it_is_known_whether_background_was_learnt(few, is_given):
    images = [np.zeros((40, 40), np.uint8)] if is_given else None
    localizer = InstanceLocalizer(bayes(), **FEW).fit(*few, background_images=images)
    assert localizer._has_background_images is is_given


def test_scores_are_calibrated_by_enough_instances(few, monkeypatch):
    """Of few held-out images, each is shown several times."""
    shown = []
    make = calibration.training_scenes

    def noted(images, backgrounds, n_instances, *others):
        shown.append((len(images), n_instances))
        return make(images, backgrounds, n_instances, *others)

    monkeypatch.setattr(calibration, "training_scenes", noted)
    X, y = np.repeat(few[0], 2, axis=0), np.repeat(few[1], 2)
    params = {"n_mining_rounds": 0, "random_state": 0, "n_background_crops": 50}
    for n_crops in (60, 400):
        InstanceLocalizer(bayes(), n_instance_crops=n_crops, **params).fit(X, y)
    (n_held_out, once), (same, often) = shown
    assert n_held_out == same == once <= len(X) / 10
    assert often == 40


def test_by_default_the_number_of_crops_follows_from_the_images(
    few, capsys, monkeypatch, small_recipes
):
    numbers = CropNumberRecipe(at_images=1000, max_instances=240, max_background=120)

    def choose(has_context):
        return replace(small_recipes(has_context), crop_numbers=numbers)

    monkeypatch.setattr(InstanceLocalizer, "_choose_recipe", staticmethod(choose))
    params = {"n_mining_rounds": 0, "random_state": 0, "verbose": 1}
    InstanceLocalizer(bayes(), **params).fit(*few)
    n_objects, n_background = numbers.numbers(len(few[0]))
    expected = f"({n_objects} of objects, {n_background} of background)"
    assert expected in capsys.readouterr().err
    # One number may be given, and the other left out.
    InstanceLocalizer(bayes(), n_instance_crops=30, **params).fit(*few)
    expected = f"(30 of objects, {n_background} of background)"
    assert expected in capsys.readouterr().err


def test_verbose_shows_a_bar_for_crops_and_images(few, capsys):
    localizer = InstanceLocalizer(bayes(), verbose=1, **FEW).fit(*few)
    assert "training crops (40 of objects, 40 of background): 100%" in (
        capsys.readouterr().err
    )
    localizer.localize([DIGITS.X_test[0]])
    assert "localize: 100%" in capsys.readouterr().err


def test_without_a_bar_there_is_no_thread_of_one(few, monkeypatch):
    started = []
    # Another test may have started it.
    monkeypatch.setattr(tqdm, "monitor", None)
    monkeypatch.setattr("tqdm.std.TMonitor", lambda *args: started.append(args))
    InstanceLocalizer(bayes(), **FEW).fit(*few).localize(few[0][:2])
    assert not started


def test_labels_of_another_type_are_not_all_wrong(localizer):
    with pytest.raises(ValueError, match=r"y holds '3', but .*; convert str to int"):
        localizer.score(DIGITS.X_test[:2], ["3", "3"])
    # Labels that were not learned are just not found.
    assert localizer.score(DIGITS.X_test[:2], [77, 78]) == 0


def test_one_class_is_enough(few):
    X = few[0][few[1] == 0]
    localizer = InstanceLocalizer(bayes(), **FEW).fit(X, ["ring"] * len(X))
    assert localizer.classes_.tolist() == ["ring"]


def test_a_classifier_of_scikit_learn_gives_no_heat(quick_localizer, scenes):
    localizer = quick_localizer.set_params(score_threshold=0)
    found = localizer.localize(scenes[0])
    assert list(found.columns) == COLUMNS
    assert len(found)
    assert found["heat"].isna().all()
    with pytest.raises(ValueError, match="proposals='heat' needs heatmaps"):
        localizer.set_params(proposals="heat").localize(scenes[0])


def test_the_estimator_sees_crops_of_the_type_layout_and_range_of_x(few):
    seen = []

    def note(images):
        seen.append((images.dtype, images.shape[1:], images.min(), images.max()))
        return flat(images)

    def pipeline():
        return make_pipeline(FunctionTransformer(note), GaussianNB(var_smoothing=0.1))

    X, y = few
    for own, shape in [
        (X, (28, 28)),
        (X.reshape(len(X), -1), (784,)),
        (X[..., np.newaxis].repeat(3, axis=3), (28, 28, 3)),
        (X / np.float64(255) * 4 - 2, (28, 28)),
    ]:
        seen.clear()
        localizer = InstanceLocalizer(pipeline(), **MINED).fit(own, y)
        localizer.localize(own[:1])
        assert {found[:2] for found in seen} == {(own.dtype, shape)}
        assert min(found[2] for found in seen) == own.min()
        assert max(found[3] for found in seen) == own.max()


def test_a_frozen_estimator_is_used_as_it_is(localizer, scenes, few):
    images, truth = scenes
    trained = localizer.estimator_
    before = trained.predict_proba(few[0])
    frozen = InstanceLocalizer(FrozenEstimator(trained)).fit(*few)
    assert_array_equal(frozen.classes_, np.arange(10))
    assert detection_scores(truth, frozen.localize(images)).f1 > 0.85
    assert_array_equal(trained.predict_proba(few[0]), before)


def test_a_frozen_estimator_without_background_calls_everything_an_instance(few):
    trained = FrozenEstimator(network(max_epochs=1, random_state=0).fit(*few))
    localizer = InstanceLocalizer(trained, score_threshold=0).fit(*few)
    found = localizer.localize(list(DIGITS.X_test[:5]))
    assert set(found["image"]) == set(range(5))


def test_a_frozen_estimator_refuses_labels_that_it_does_not_know(few):
    trained = FrozenEstimator(network(max_epochs=1, random_state=0).fit(*few))
    with pytest.raises(ValueError, match=r"does not know: \[77\]"):
        InstanceLocalizer(trained).fit(few[0], np.where(few[1] == 3, 77, few[1]))


def test_a_search_over_a_frozen_estimator_trains_nothing(few, scenes, monkeypatch):
    trained = FrozenEstimator(network(max_epochs=1, random_state=0).fit(*few))

    def fail(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(SimilarNetClassifier, "fit", fail)
    images, truth = scenes
    search = GridSearchCV(
        InstanceLocalizer(trained),
        {"score_threshold": [0.0, 1.0]},
        scoring=LocalizationScorer(scenes=images, instances=truth),
        cv=2,
        error_score="raise",
    ).fit(*few)
    assert search.best_params_ == {"score_threshold": 0.0}


def test_a_search_reaches_the_estimator(few):
    search = GridSearchCV(
        InstanceLocalizer(bayes(), score_threshold=0, **FEW),
        {"estimator__gaussiannb__var_smoothing": [1e9, 0.1]},
        cv=2,
        refit=False,
    ).fit(few[0][::2], few[1][::2])
    assert search.best_index_ == 1


@pytest.mark.parametrize("background", ["none", np.datetime64("2020-01-01")])
def test_a_background_unlike_the_labels_is_refused_before_crops_are_made(
    few, monkeypatch, background
):
    monkeypatch.setattr("sklearn_similar._localizer.train_recognizer", None)
    localizer = InstanceLocalizer(network(background=background), **FEW)
    with pytest.raises(ValueError, match=r"background holds .*; convert .* to int"):
        localizer.fit(*few)


def test_images_of_the_users_background_are_learned_as_background(few):
    X, y = few
    empty = np.zeros((5, 28, 28), np.uint8)
    localizer = InstanceLocalizer(network(background=99, max_epochs=1), **FEW)
    localizer.fit(np.concatenate([X, empty]), np.r_[y, [99] * 5])
    assert 99 not in localizer.classes_
    assert localizer.estimator_.background == localizer.background_ == 99
    assert localizer.score(empty, [99] * 5) == 1.0


def test_background_images_are_used(few, quick_localizer):
    stripes = np.zeros((200, 200), np.uint8)
    stripes[:, ::20] = 200
    given = InstanceLocalizer(bayes(), **FEW).fit(*few, background_images=[stripes])
    weights = [own.estimator_[-1].theta_ for own in (quick_localizer, given)]
    assert not np.array_equal(*weights)


def test_the_same_random_state_gives_the_same_localizer(few, scenes):
    make = InstanceLocalizer(network(max_epochs=1), score_threshold=0, **MINED)
    one, other = (clone(make).fit(*few).localize(scenes[0]) for _ in range(2))
    assert_frame_equal(one, other)


def test_blank_images_are_left_out_with_a_warning(few):
    X = np.concatenate([few[0], np.zeros((2, 28, 28), np.uint8)])
    with pytest.warns(UserWarning, match="2 images in X are blank, the first .* 125"):
        InstanceLocalizer(bayes(), **FEW).fit(X, np.r_[few[1], 0, 1])


def test_one_image_is_met(localizer):
    with pytest.raises(ValueError, match=r"pass \[X\]"):
        localizer.localize(np.zeros((100, 120)))


def test_wrong_order_and_a_failed_fit(few, quick_localizer):
    with pytest.raises(NotFittedError):
        InstanceLocalizer().localize(few[0])
    localizer = quick_localizer
    before = vars(localizer).copy()
    with pytest.raises(ValueError, match="labels"):
        localizer.fit(few[0], few[1][:-1])
    assert vars(localizer) == before


def test_a_table_of_instances_as_ground_truth_may_be_empty(localizer):
    empty = pd.DataFrame(columns=["image", "label", "x_min", "y_min", "x_max", "y_max"])
    assert localizer.score(np.zeros((1, 50, 50), np.uint8), empty) == 0.0


class Recorder(ClassifierMixin, BaseEstimator):
    """Calls whatever is bright on its left an instance, and keeps what it is given."""

    fits: ClassVar[list] = []

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fits.append((X, y))
        return self

    def predict_proba(self, X):
        flat_left = X[:, :, :14].reshape(len(X), -1).mean(axis=1) / 255
        proba = np.tile(flat_left[:, np.newaxis], len(self.classes_))
        proba /= len(self.classes_) - 1
        proba[:, 0] = 1 - flat_left
        return proba


@pytest.fixture
def fits(monkeypatch):
    monkeypatch.setattr(Recorder, "fits", [])
    return Recorder.fits


def test_hard_negatives_join_the_background_round_by_round(few, fits):
    for n_rounds in (0, 1, 2):
        fits.clear()
        params = FEW | {"n_mining_rounds": n_rounds}
        InstanceLocalizer(Recorder(), **params).fit(*few)
        assert len(fits) == n_rounds + 1
        crops, labels = zip(*fits, strict=True)
        n_background = [(own == -1).sum() for own in labels]
        assert (np.diff(n_background) > 0).all()
        # Only background is added.
        n_instances = [(own != -1).sum() for own in labels]
        assert len(set(n_instances)) == 1
        scores = [
            own[own_labels == -1][:, :, :14].mean(axis=(1, 2))
            for own, own_labels in zip(crops, labels, strict=True)
        ]
        if n_rounds:
            # What was added is what was mistaken.
            assert scores[-1].mean() > scores[0].mean()


def test_a_tenth_of_each_class_is_held_out_to_calibrate_scores(fits):
    X, y = DIGITS.X_train[::10], DIGITS.y_train[::10]
    InstanceLocalizer(Recorder(), **FEW).fit(X, y)
    ((crops, labels),) = fits
    given = {image.tobytes() for image in crops}
    is_trained_on = np.array([image.tobytes() in given for image in X])
    assert_array_equal(
        np.bincount(y[~is_trained_on], minlength=10), np.bincount(y) // 10
    )
    assert set(np.unique(labels)) == {-1, *range(10)}


@pytest.fixture
def few_plain_images(monkeypatch, small_scenes, small_recipes):
    """As few as 50 images are trained on as they are."""

    def choose(has_context):
        return replace(small_recipes(has_context), min_plain=50)

    monkeypatch.setattr(InstanceLocalizer, "_choose_recipe", staticmethod(choose))


@pytest.mark.usefixtures("few_plain_images")
def test_of_many_images_only_some_are_trained_on_as_they_are(fits):
    X, y = DIGITS.X_train[::5], DIGITS.y_train[::5]
    params = FEW | {"n_instance_crops": 200}
    InstanceLocalizer(Recorder(), **params).fit(X, y)
    ((crops, labels),) = fits
    given = {image.tobytes() for image in crops}
    # 1.25 times as many as the crops of instances.
    assert sum(image.tobytes() in given for image in X) == 250
    assert 250 < (labels != -1).sum() <= 250 + 200


@pytest.mark.usefixtures("few_plain_images")
def test_no_class_is_left_out_of_many_images(fits):
    X, y = DIGITS.X_train[::10], DIGITS.y_train[::10].copy()
    y[-1] = 77
    for seed in range(2):
        fits.clear()
        few = {**FEW, "n_instance_crops": 30, "random_state": seed}
        InstanceLocalizer(Recorder(), **few).fit(X, y)
        assert set(fits[0][1]) == {-1, *range(10), 77}


def test_instances_are_turned_in_training_by_the_angle_asked_for(fits):
    bar = np.zeros((40, 28, 28), np.uint8)
    bar[:, 12:16, 4:24] = 255
    y = np.arange(40) % 2
    for rotation in (0.0, 90.0):
        InstanceLocalizer(Recorder(), rotation=rotation, **FEW).fit(bar, y)
    share_upright = []
    for crops, labels in fits:
        lit = crops[labels != -1] > 127
        width, height = (lit.any(axis=axis).sum(axis=1) for axis in (1, 2))
        share_upright.append(np.mean(height > width))
    assert share_upright[0] < 0.05
    assert share_upright[1] > 0.06


def test_all_of_few_images_are_trained_on(fits):
    X, y = DIGITS.X_train[:30], np.arange(30) % 5
    localizer = InstanceLocalizer(Recorder(), **FEW).fit(X, y)
    given = {image.tobytes() for image in fits[0][0]}
    assert all(image.tobytes() in given for image in X)
    assert localizer.score_calibration_ == (1, 0, 0)


def test_scores_are_calibrated(localizer, scenes):
    slope, objectness_slope, intercept = localizer.score_calibration_
    search = {"score_threshold": 0.0, "heat_threshold": 0.0}
    localizer = copy.copy(localizer).set_params(**search)
    # Boxes are not to depend on scores.
    localizer.box_regression_ = None
    calibrated = localizer.localize(scenes[0])
    # Without a calibration, the score is the probability of the label.
    probability = copy.copy(localizer)
    probability.score_calibration_ = (1.0, 0.0, 0.0)
    # With this one, it is that of any instance.
    objectness = copy.copy(localizer)
    objectness.score_calibration_ = (1e-12, 1.0, 0.0)
    keys = ["image", "label", *COLUMNS[4:]]
    both = calibrated.merge(
        probability.localize(scenes[0]), on=keys, suffixes=("", "_raw")
    ).merge(objectness.localize(scenes[0]), on=keys, suffixes=("", "_any"))
    assert len(both) > 10
    raw, any_class = (
        logit(both[name].clip(1e-6, 1 - 1e-6)) for name in ("score_raw", "score_any")
    )
    expected = expit(slope * raw + objectness_slope * any_class + intercept)
    # Of two proposals with one tightest box, another calibration may take the other.
    assert np.isclose(both["score"], expected, rtol=1e-4).mean() > 0.8


def test_a_frozen_estimator_keeps_its_probabilities(localizer, few):
    frozen = InstanceLocalizer(FrozenEstimator(localizer.estimator_)).fit(*few)
    assert localizer.score_calibration_ != (1, 0, 0)
    assert frozen.score_calibration_ == (1, 0, 0)


def test_box_regression_is_a_part_of_every_search(localizer, scenes):
    images = scenes[0][:3]
    found = localizer.localize(images)
    other = copy.copy(localizer).set_params(n_jobs=2)
    # Threads start faster than processes.
    with parallel_config("threading"):
        assert_frame_equal(other.localize(images), found)
    other.box_regression_ = None
    assert not other.localize(images).equals(found)


def test_without_examples_there_is_no_box_regression(localizer, few):
    frozen = InstanceLocalizer(FrozenEstimator(localizer.estimator_)).fit(*few)
    none = InstanceLocalizer(bayes(), **FEW | {"n_instance_crops": 0}).fit(*few)
    assert frozen.box_regression_ is none.box_regression_ is None


def test_the_default_is_a_small_network_that_can_be_saved(few, scenes, tmp_path):
    X, y = few
    localizer = InstanceLocalizer(**FEW).fit(X, y)
    assert localizer.estimator_.module is SmallCNN
    save(localizer, tmp_path / "digits")
    localizer.set_params(score_threshold=0)
    loaded = load(tmp_path / "digits").set_params(score_threshold=0)
    assert loaded.score_calibration_ == localizer.score_calibration_
    assert_frame_equal(loaded.localize(scenes[0]), localizer.localize(scenes[0]))


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image", reason="images are Pillow's")


@pytest.fixture(scope="module")
def colourful(few, small_scenes_context):
    """A localizer of colour crops, which need not be good."""
    X, y = few
    coloured = np.stack([X, X // 2, X // 3], axis=3)
    with small_scenes_context():
        return InstanceLocalizer(bayes(), score_threshold=0, **FEW).fit(coloured, y)


@pytest.fixture(scope="module")
def crops_of_several_sizes(few):
    X, y = few
    return [x[: 28 - i % 5, i % 3 :] for i, x in enumerate(X)], y


class TestPillowImages:
    """Crops and images as Pillow's, of modes whose arrays are something else."""

    @pytest.mark.parametrize("mode", ["P", "RGBA", "HSV", "CMYK", "RGBX"])
    def test_they_are_found_as_in_arrays_and_files(
        self, colourful, scenes, pillow, tmp_path, mode
    ):
        scene = scenes[0][0][:100, :100]
        coloured = np.stack([scene, scene // 2, scene // 3], axis=2)
        image = pillow.fromarray(coloured).convert(mode)
        array = np.asarray(image.convert("RGB"))
        expected = colourful.localize([array])
        assert len(expected)
        assert_frame_equal(colourful.localize([image]), expected)
        assert_frame_equal(colourful.localize(iter([image])).__next__(), expected)
        if mode in ("P", "RGBA"):
            image.save(tmp_path / "a.png")
            of_file = colourful.localize([tmp_path / "a.png"]).drop(columns="path")
            assert_frame_equal(of_file, expected)

    def test_crops_are_learnt_as_in_arrays(self, few, pillow):
        X, y = few
        images = [pillow.fromarray(x).convert("P") for x in X]
        arrays = [np.asarray(image.convert("RGB")) for image in images]
        localizers = [
            InstanceLocalizer(bayes(), **FEW).fit(given, y)
            for given in (images, arrays)
        ]
        assert localizers[0].image_shape_ == (28, 28, 3)
        pixels = np.stack(arrays[:3])
        probabilities = [x.estimator_.predict_proba(pixels) for x in localizers]
        np.testing.assert_array_equal(*probabilities)

    def test_one_image_is_to_be_passed_in_a_list(self, quick_localizer, pillow):
        with pytest.raises(ValueError, match=r"X is one image; pass \[X\]"):
            quick_localizer.localize(pillow.new("L", (40, 40)))

    @pytest.mark.parametrize("channels", ["RGBA", "LA"])
    def test_dark_objects_on_transparent_pixels_are_found(
        self, localizer, scenes, pillow, tmp_path, channels
    ):
        scene = 255 - scenes[0][0]
        alpha = np.where(scene < 200, 255, 0).astype(np.uint8)
        # White, which is transparent, and under some pixels black.
        n_colours = len(channels) - 1
        pixels = np.dstack([scene] * n_colours + [alpha])
        pixels[:20, :, :n_colours] *= alpha[:20, :, np.newaxis] > 0
        image = pillow.fromarray(pixels)
        image.save(tmp_path / "a.png")
        dark = deepcopy(localizer).set_params(polarity="dark")
        opaque = np.where(alpha > 0, scene, 255).astype(np.uint8)
        expected = dark.localize([opaque])
        assert len(expected) >= 3
        for given in ([pixels], [image], [tmp_path / "a.png"]):
            detections = dark.localize(given)[expected.columns.tolist()]
            assert_frame_equal(detections, expected)


def test_one_photograph_is_named_as_such(quick_localizer):
    message = r"X has shape 256x384, .* 784 values; if X is one image, pass \[X\]"
    with pytest.raises(ValueError, match=message):
        quick_localizer.localize(np.zeros((256, 384)))


class TestCropSize:
    """Crops of several sizes are scaled, to a size that a parameter names."""

    def test_crops_of_several_sizes_are_scaled(self, crops_of_several_sizes):
        localizer = InstanceLocalizer(bayes(), **FEW).fit(*crops_of_several_sizes)
        assert localizer.image_shape_ == (28, 28)

    @pytest.mark.parametrize("of_one_size", [False, True])
    def test_the_size_can_be_chosen(self, crops_of_several_sizes, few, of_one_size):
        localizer = InstanceLocalizer(bayes(), crop_size=20, **FEW)
        localizer.fit(*(few if of_one_size else crops_of_several_sizes))
        assert localizer.image_shape_ == (20, 20)

    def test_rows_have_no_sides_to_scale(self, few):
        localizer = InstanceLocalizer(bayes(), crop_size=20, **FEW)
        with pytest.raises(ValueError, match="crop_size=20 scales images, but X holds"):
            localizer.fit(flat(few[0]), few[1])
