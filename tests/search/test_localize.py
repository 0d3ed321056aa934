"""`localize` of a localizer: from images to a table of instances."""

import re
import warnings
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier, make_training_crops
from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.crop_recognizer import CropRecognizer
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.settings import ProposalSettings, SearchSettings
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import detection_f1_score, detection_scores

COLUMNS = ["image", "label", "score", "heat", "x_min", "y_min", "x_max", "y_max"]
BOX = COLUMNS[4:]
DIGITS = load_mnist_sample()
BACKGROUND = -1


@pytest.fixture(scope="module")
def trained(fitted_localizer):
    return fitted_localizer.estimator_


@pytest.fixture(scope="module")
def frozen(trained):
    localizer = InstanceLocalizer(FrozenEstimator(trained), score_threshold=0.5)
    return localizer.fit(DIGITS.X_train[::10], DIGITS.y_train[::10])


@pytest.fixture
def model(frozen):
    """A localizer of its own for each test, which may set its parameters."""
    return deepcopy(frozen)


@pytest.fixture(scope="module")
def crops():
    """Training crops by which a network may measure its filters again."""
    return make_training_crops(
        DIGITS.X_train[::20],
        DIGITS.y_train[::20],
        background=BACKGROUND,
        n_instances=300,
        n_background=300,
        random_state=0,
    )


@pytest.fixture(scope="module")
def few():
    """Images for a fit whose result does not matter."""
    return DIGITS.X_train[::50], DIGITS.y_train[::50]


def scenes(n_scenes=10, **params):
    return make_scenes(
        DIGITS.X_test, DIGITS.y_test, n_scenes=n_scenes, random_state=0, **params
    )


@pytest.mark.parametrize("polarity", ["bright", "dark", "both"])
def test_digits_are_found_and_recognised(model, polarity):
    images, truth = scenes(12, polarity=polarity)
    found = model.set_params(polarity=polarity).localize(images)
    scores = detection_scores(truth, found)
    # Trained on few crops, it finds .88 to .95, by the processor's rounding.
    assert scores.f1 > 0.8
    assert scores.precision > 0.8


def test_boxes_are_tight(model):
    images, truth = scenes()
    found = model.localize(images)
    tight = detection_scores(truth, found, iou_threshold=0.75, match_label=False)
    loose = detection_scores(truth, found, match_label=False)
    assert tight.n_matched >= 0.9 * loose.n_matched


@pytest.mark.parametrize(
    ("proposals", "resolution", "least"),
    [("image", "pooled", 0.7), ("heat", "dense", 0.5)],
)
def test_digits_of_several_sizes_are_found(model, crops, proposals, resolution, least):
    images, truth = scenes(8, size=(240, 240), n_instances=4, scale=(0.6, 4))
    model.set_params(proposals=proposals)
    similar = model.estimator_.estimator.set_params(resolution=resolution)
    similar.fit_importance(*crops)
    found = model.localize(images)
    assert detection_f1_score(truth, found) > least


@pytest.mark.parametrize("proposals", ["image", "grey"])
def test_digits_that_touch_all_edges_of_their_image_are_found(model, proposals):
    images, labels = DIGITS.X_test[::25], DIGITS.y_test[::25]
    tight = []
    for image in images:
        rows, columns = np.nonzero(image > 50)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        tight.append(image[box])
    model.set_params(proposals=proposals)
    assert len(tight) == 40
    assert model.score(tight, labels) > 0.7


def test_sizes_are_those_of_the_longer_side(model):
    images, _ = scenes(6)
    everything = model.localize(images)
    sides = np.maximum(
        everything.x_max - everything.x_min, everything.y_max - everything.y_min
    )
    low, high = np.quantile(sides, [0.3, 0.7])
    found = model.set_params(min_size=low, max_size=float(high)).localize(images)
    wanted = everything[(sides >= low) & (sides <= high)]
    assert 0 < len(wanted) < len(everything)
    assert len(wanted.merge(found, on=["image", "label", *BOX])) == len(wanted)
    sides = np.maximum(found.x_max - found.x_min, found.y_max - found.y_min)
    assert sides.between(low, high).all()
    score = model.score(images, scenes(6)[1])
    assert score < model.set_params(min_size=None, max_size=None).score(
        images, scenes(6)[1]
    )


def test_sizes_that_contradict_each_other_are_refused(model):
    model.set_params(min_size=30, max_size=20)
    with pytest.raises(ValueError, match="min_size=30 is larger than max_size=20"):
        model.localize(DIGITS.X_test[:1])


def test_a_negative_has_dark_what_the_image_has_bright(model):
    images, _ = scenes(3)
    bright = model.localize(images)
    dark = model.set_params(polarity="dark").localize(255 - images)
    assert len(bright)
    assert_frame_equal(bright[["image", "label", *BOX]], dark[["image", "label", *BOX]])


def test_the_other_polarity_adds_nothing_where_there_is_nothing(model):
    images, truth = scenes(4)
    both = model.set_params(polarity="both").localize(images)
    assert detection_scores(truth, both).precision > 0.85


def test_images_of_a_list_may_differ_in_size_and_colour(model):
    small, _ = scenes(1, size=(60, 90), n_instances=1)
    large, _ = scenes(1, size=(150, 200), n_instances=3)
    colour = np.repeat(large[0][..., np.newaxis], 3, axis=2)
    X = [small[0], colour, large[0], small[0] / 255, large[0][..., np.newaxis]]
    found = model.localize(X)
    assert list(found["image"].unique()) == [0, 1, 2, 3, 4]
    boxes = [found.loc[found["image"] == i, ["label", *BOX]] for i in range(5)]
    for one, other in ((0, 3), (1, 2), (2, 4)):
        assert_frame_equal(
            boxes[one].reset_index(drop=True), boxes[other].reset_index(drop=True)
        )


def test_a_list_gives_what_its_images_give_alone(model):
    images, _ = scenes(3)
    together = model.localize(list(images))
    alone = [model.localize([image]).assign(image=i) for i, image in enumerate(images)]
    assert_frame_equal(together, pd.concat(alone, ignore_index=True))


def test_the_same_image_gives_the_same_table(model):
    images, _ = scenes(2)
    assert_frame_equal(model.localize(images), model.localize(images))


def test_a_row_is_an_image_of_the_trained_size(model):
    images = DIGITS.X_test[:5]
    with pytest.warns(UserWarning, match="read as 5 rows of 28x28 pixels"):
        from_rows = model.localize(images.reshape(5, -1))
    assert_frame_equal(from_rows, model.localize(images))


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 50, 70), np.uint8),
        np.full((1, 50, 70), 0.5),
        np.ones((1, 50, 70)),
        [np.zeros((1, 1)), np.ones((3, 200)), np.zeros((40, 40, 3), np.uint8)],
    ],
)
@pytest.mark.parametrize("proposals", ["image", "heat"])
def test_constant_images_give_an_empty_table(model, X, proposals):
    model.set_params(polarity="both", proposals=proposals)
    found = model.localize(X)
    assert len(found) == 0
    assert list(found.columns) == COLUMNS


def test_an_empty_table_has_the_dtypes_of_a_full_one(model):
    images, _ = scenes(1)
    full, empty = model.localize(images), model.localize(np.zeros_like(images))
    assert len(full)
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert full[["image", *BOX]].dtypes.eq(np.int64).all()
    assert full[["score", "heat"]].dtypes.eq(np.float64).all()


def test_images_smaller_than_the_trained_size(model):
    digit = DIGITS.X_test[DIGITS.y_test == 0][0]
    rows, columns = np.nonzero(digit > 50)
    cut = digit[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2]
    assert max(cut.shape) < 28
    found = model.localize([cut, cut[:12, :12], cut[:1]])
    assert found.loc[found["image"] == 0, "label"].tolist() == [0]


def test_images_come_in_order_and_the_surest_instance_first(model):
    images, _ = scenes(6)
    found = model.localize(list(images))
    assert found["image"].is_monotonic_increasing
    for _, own in found.groupby("image"):
        assert own["score"].is_monotonic_decreasing
    assert found.index.equals(pd.RangeIndex(len(found)))


@pytest.mark.parametrize("proposals", ["image", "heat"])
def test_boxes_lie_inside_the_image(model, proposals):
    rng = np.random.RandomState(0)
    images = rng.randint(256, size=(4, 12, 17)).repeat(8, axis=1).repeat(8, axis=2)
    model.set_params(score_threshold=0, polarity="both", proposals=proposals)
    found = model.localize(images.astype(np.uint8))
    assert len(found)
    assert (found[["x_min", "y_min"]] >= 0).all(axis=None)
    assert (found["x_max"] <= 17 * 8).all()
    assert (found["y_max"] <= 12 * 8).all()
    assert (found["x_min"] < found["x_max"]).all()
    assert (found["y_min"] < found["y_max"]).all()


def test_scores_and_heat_reach_what_was_asked_for(model):
    images, _ = scenes()
    everything = model.set_params(score_threshold=0.0, heat_threshold=0.0).localize(
        images
    )
    model.set_params(score_threshold=0.9, heat_threshold=0.5)
    chosen = model.localize(images)
    assert chosen["score"].between(0.9, 1).all()
    assert (chosen["heat"] >= 0.5).all()
    assert 0 < len(chosen) < len(everything)


def test_no_two_instances_of_an_image_overlap_by_more_than_nms_threshold(model):
    images, _ = scenes(5, n_instances=8, allow_overlap=True)
    found = model.set_params(score_threshold=0.0, nms_threshold=0.1).localize(images)
    for _, own in found.groupby("image"):
        box = own[BOX].to_numpy()[:, np.newaxis]
        low = np.maximum(box[..., :2], box[:, 0, :2])
        high = np.minimum(box[..., 2:], box[:, 0, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        area = (box[:, 0, 2:] - box[:, 0, :2]).prod(axis=1)
        overlap = shared / (area[:, np.newaxis] + area - shared)
        np.fill_diagonal(overlap, 0)
        assert overlap.max() <= 0.1


def test_background_is_never_reported(model):
    rng = np.random.RandomState(0)
    blobs = rng.randint(256, size=(3, 20, 20)).repeat(6, axis=1).repeat(6, axis=2)
    model.set_params(score_threshold=0.0)
    found = model.localize(blobs.astype(np.uint8))
    assert BACKGROUND not in set(found["label"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scales", ()),
        ("scales", (0,)),
        ("scales", (1, -2)),
        ("scales", (1, np.nan)),
        ("scales", (1, np.inf)),
        ("scales", 1.0),
        ("scales", "1"),
        ("scales", [[1.0]]),
        ("score_threshold", -0.1),
        ("score_threshold", 1.1),
        ("nms_threshold", -0.1),
        ("nms_threshold", 1.1),
        ("heat_threshold", 1.5),
        ("polarity", "grey"),
        ("proposals", "edges"),
        ("n_thresholds", 0),
        ("min_size", -1),
        ("max_size", 0),
        ("max_size", np.nan),
    ],
)
def test_a_bad_parameter_is_named(model, name, value):
    model.set_params(**{name: value})
    with pytest.raises(ValueError, match=rf"{name}.*{re.escape(str(value))}"):
        model.localize(DIGITS.X_test[:1])


def test_an_image_with_nan_is_named(model):
    broken = np.zeros((40, 40))
    broken[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"Image 1 of X.*NaN"):
        model.localize([np.zeros((30, 30)), broken])


@pytest.mark.parametrize("X", [[], np.empty((0, 40, 40))])
def test_no_images_are_refused(model, X):
    with pytest.raises(ValueError, match="pass at least one"):
        model.localize(X)


def test_localize_wants_importances(few):
    similar = SimilarNetClassifier(validation_fraction=None, max_epochs=0).fit(*few)
    model = InstanceLocalizer(FrozenEstimator(similar)).fit(*few)
    with pytest.raises(NotFittedError, match="no filter importances"):
        model.localize(few[0])


def test_verbose_shows_a_progress_bar(model, capsys):
    images, _ = scenes(2)
    model.set_params(verbose=1).localize(images)
    assert "2/2" in capsys.readouterr().err
    model.set_params(verbose=0).localize(images)
    assert capsys.readouterr() == ("", "")


def test_a_page_of_several_hundred_digits(model):
    page, truth = make_scenes(
        DIGITS.X_test,
        DIGITS.y_test,
        n_scenes=1,
        size=(500, 1000),
        n_instances=(300, 600),
        scale=(0.6, 0.9),
        polarity="dark",
        random_state=0,
    )
    assert len(truth) > 300
    found = model.set_params(polarity="dark").localize(page)
    assert detection_f1_score(truth, found) > 0.8


def test_scales_take_the_greatest_heat(model):
    images, _ = scenes(2)
    once = model.localize(images)
    twice = model.set_params(scales=(0.5, 1)).localize(images)
    assert len(twice) >= len(once)
    both = once.merge(twice, on=["image", *BOX], suffixes=("_once", "_twice"))
    assert len(both)
    assert (both["heat_twice"] >= both["heat_once"]).all()


def test_a_callable_proposes_its_own_boxes(model):
    images, truth = scenes(3)
    seen = []

    def true_boxes(image):
        seen.append(image)
        return truth.loc[truth["image"] == len(seen) - 1, BOX].to_numpy()

    instances = model.set_params(proposals=true_boxes).localize(list(images))
    for image, own in zip(seen, images, strict=True):
        np.testing.assert_allclose(image, own / 255, atol=1e-6)
    shown = set(map(tuple, truth[["image", *BOX]].to_numpy().tolist()))
    assert set(map(tuple, instances[["image", *BOX]].to_numpy().tolist())) <= shown
    assert detection_f1_score(truth, instances) > 0.85


def test_a_callable_that_proposes_nothing_finds_nothing(model):
    model.set_params(proposals=lambda image: [])
    assert not len(model.localize(scenes(1)[0]))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 5]], r"of the shape \(n_boxes, 4\); got .* \(1, 3\)"),
        ([[0, 0, np.nan, 5]], "finite boxes"),
        (
            [[0, 0, 9, 9], [20, 5, 10, 9]],
            r"the box \[20, 5, 10, 9\], which holds no",
        ),
        ([[500, 0, 520, 9]], "no pixel of an image of 160 x 160"),
    ],
)
def test_what_a_callable_proposes_is_checked(model, boxes, message):
    with pytest.raises(ValueError, match=message):
        model.set_params(proposals=lambda image: boxes).localize(scenes(1)[0])


class Flat:
    """Estimator whose heat is the share of the trained size that an image has."""

    classes_ = np.array([0])

    def predict_proba(self, X):
        return np.ones((len(X), 1))

    def heatmap(self, X):
        return [np.full(image.shape[:2], image.shape[0] / 40) for image in X]


@pytest.mark.parametrize(("scales", "heat"), [((1.0,), 1), ((0.5, 2.0, 1.0), 2)])
def test_the_greatest_heat_of_the_image_pyramid_is_used(scales, heat):
    specification = CropSpecification(size=(28, 28))
    recognizer = CropRecognizer(
        specification=specification,
        estimator=Flat(),
        image_format=ImageFormat(
            specification=specification,
            n_channels=1,
            dtype=np.dtype(np.float32),
            layout="grey",
        ),
        columns=np.array([0]),
    )
    settings = SearchSettings(
        proposals=ProposalSettings(source="image", n_thresholds=15),
        polarity="bright",
        scales=scales,
        heat_threshold=0.0,
        score_threshold=0.5,
        nms_threshold=0.3,
    )
    image = torch.zeros(1, 40, 60)
    image[:, 10:30, 20:35] = 1
    result = recognizer.detect([Raster.from_tensor(image)], settings)
    assert result.detections[0].heat.tolist() == [pytest.approx(heat)]


def test_images_are_localised_alike_alone_and_together(model):
    images, _ = scenes(5)
    together = model.localize(list(images))
    alone = [model.localize([image]).assign(image=n) for n, image in enumerate(images)]
    expected = pd.concat(alone, ignore_index=True)
    assert_frame_equal(together, expected, atol=1e-5)


def test_images_that_cannot_be_written_to_are_taken_quietly(model):
    images, _ = scenes(2)
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.localize(list(images)))
