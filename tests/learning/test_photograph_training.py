"""Training on photographs: examples, regressions, mining, calibration."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from painted_photographs import (
    SIDE,
    make_head,
    make_photographs,
    small_photograph_recipe,
    tiny_backbone,
)
from sklearn.base import BaseEstimator, ClassifierMixin

from sklearn_similar._learning import photographs
from sklearn_similar._learning.annotated import read_annotated
from sklearn_similar._learning.photographs import (
    feature_specification,
    train_on_photographs,
)
from sklearn_similar._learning.recipe import PhotographRecipe
from sklearn_similar._learning.tiles import photograph_tiles
from sklearn_similar._network.backbone import Backbone
from sklearn_similar._search.settings import ProposalSettings, SearchSettings
from sklearn_similar._search.sources import propose
from sklearn_similar._search.suppression import nms
from sklearn_similar._tables.boxes import iou_matrix

RECIPE = small_photograph_recipe(True).photographs


class Recorder(ClassifierMixin, BaseEstimator):
    """Notes what it is trained with, and is undecided."""

    fits = []  # noqa: RUF012, emptied by the fixture

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fits.append((X, y))
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


@pytest.fixture
def fits(monkeypatch):
    monkeypatch.setattr(Recorder, "fits", [])
    return Recorder.fits


def train(
    estimator=None,
    recipe=RECIPE,
    n=4,
    is_complete=True,
    n_mining_rounds=1,
    seed=0,
    crowd=None,
):
    X, y = make_photographs(n)
    data, classes = read_annotated(X, y, None, 3, is_complete)
    if crowd is not None:
        data = replace(data, crowds=[np.array([crowd])] * n)
    return train_on_photographs(
        estimator or make_head(),
        data,
        np.append(classes, "none"),
        Backbone.of(tiny_backbone()),
        ProposalSettings(source="windows", n_thresholds=31),
        recipe,
        np.random.RandomState(seed),
        n_mining_rounds=n_mining_rounds,
        verbose=0,
    )


@pytest.fixture(scope="module")
def trained():
    return train()


@pytest.fixture(scope="module")
def unseen(trained):
    """A photograph, its objects and the stages of its search."""
    X, y = make_photographs(1, seed=1)
    data, _ = read_annotated(X, y, None, 3, True)
    settings = SearchSettings(
        proposals=ProposalSettings(
            source="windows",
            n_thresholds=31,
            window_sizes=trained.specification.window_sizes,
        ),
        polarity="bright",
        score_threshold=0.5,
        nms_threshold=0.3,
    )
    result = trained.detect([data.images[0]], settings)
    return SimpleNamespace(objects=data.boxes[0], labels=data.labels[0], result=result)


def test_regressions_move_boxes_to_objects(trained, unseen):
    X, _ = make_photographs(1, seed=1)
    data, _ = read_annotated(X, make_photographs(1, seed=1)[1], None, 3, True)
    objects = data.boxes[0]
    ((maps, _),) = trained.pooled_tiles(data.images[0], objects)
    rng = np.random.default_rng(0)
    sides = np.tile(objects[:, 2:] - objects[:, :2], 2)
    boxes = np.concatenate(
        [objects + rng.uniform(-0.2, 0.2, objects.shape) * sides for _ in range(9)]
    ).clip(0, SIDE)
    before = iou_matrix(boxes, objects).max(axis=1).mean()
    ious = [before]
    for regression in trained.regressions:
        boxes = trained.move(regression, maps, boxes, (SIDE, SIDE))
        ious.append(iou_matrix(boxes, objects).max(axis=1).mean())
    assert len(ious) > 1
    assert ious[-1] > before + 0.03


def test_most_windows_without_an_object_are_dropped(trained, unseen):
    recognised = unseen.result.recognised.proposals.boxes
    assert iou_matrix(unseen.objects, recognised).max(axis=1).min() > 0.5
    windows = propose(
        unseen.result.views,
        ProposalSettings(
            source="windows",
            n_thresholds=31,
            window_sizes=trained.specification.window_sizes,
        ),
    )
    assert len(recognised) < 0.5 * len(windows)


def test_objects_are_detected_once_and_labelled(unseen):
    (detections,) = unseen.result.detections
    iou = iou_matrix(unseen.objects, detections.proposals.boxes)
    assert (iou.max(axis=1) > 0.5).all()
    assert len(detections) == len(unseen.objects)
    assert_array_equal(detections.label[iou.argmax(axis=1)], unseen.labels)


def test_examples_are_objects_and_background_by_their_iou(fits, monkeypatch):
    seen = []
    real = photographs._examples

    def noted(tile, boxes, training):
        examples = real(tile, boxes, training)
        seen.append((tile, boxes, examples))
        return examples

    monkeypatch.setattr(photographs, "_examples", noted)
    recipe = replace(RECIPE, min_photographs=100)
    with pytest.warns(UserWarning, match="not calibrated"):
        train(Recorder(), recipe, n_mining_rounds=0)
    ((_, y),) = fits
    assert set(y) == {"disc", "square", "none"}
    # All boxes were moved to objects, so that background is made of other boxes.
    moved, others = seen[:4], seen[4:]
    labels = [examples.labels for _, _, examples in moved]
    labels += [examples.labels[examples.labels < 0] for _, _, examples in others]
    assert_array_equal(y, np.array(["disc", "square", "none"])[np.concatenate(labels)])
    for tile, boxes, examples in seen:
        iou = iou_matrix(boxes.astype(np.float32), tile.objects)
        nearest, iou = iou.argmax(axis=1), iou.max(axis=1)
        is_object = iou >= recipe.object_iou
        is_known = is_object | (iou < recipe.background_iou)
        expected = np.where(is_object, tile.labels[nearest], -1)[is_known]
        assert_array_equal(examples.labels, expected)
        assert_allclose(
            examples.features,
            tile.maps.features_and_details(boxes[is_known]),
            atol=1e-4,
        )
    for tile, boxes, _ in moved:
        # The objects themselves are examples.
        assert (iou_matrix(tile.objects, boxes).max(axis=1) > 0.999).all()


def test_partial_photographs_have_background_near_objects_only(fits, monkeypatch):
    overlaps = []
    real = photographs._examples

    def noted(tile, boxes, training):
        examples = real(tile, boxes, training)
        iou = iou_matrix(boxes.astype(np.float32), tile.objects).max(axis=1)
        is_part = (iou >= RECIPE.part_iou) & (iou < RECIPE.background_iou)
        assert (examples.labels == -1).sum() == is_part.sum()
        overlaps.extend(iou)
        return examples

    monkeypatch.setattr(photographs, "_examples", noted)
    train(Recorder(), is_complete=False)
    assert min(overlaps) < RECIPE.part_iou
    for _, y in fits:
        assert "none" in y


def test_mining_adds_background_that_is_taken_for_objects(fits):
    recipe = replace(RECIPE, min_photographs=100, penalty=1e5)
    numbers = []
    for n_rounds in (0, 1):
        fits.clear()
        with pytest.warns(UserWarning, match="not calibrated"):
            train(Recorder(), recipe, n_mining_rounds=n_rounds)
        assert len(fits) == n_rounds + 1
        numbers.append([(y == "none").sum() for _, y in fits])
    assert numbers[0] == numbers[1][:1]
    # The undecided classifier takes all background for objects.
    assert numbers[1][1] > numbers[1][0]
    first, second = (X for X, _ in fits)
    assert_array_equal(second[: len(first)], first)


def test_hard_negatives_are_distinct(monkeypatch):
    chosen = []
    real = photographs.nms

    def noted(boxes, *args, **kwargs):
        rows = real(boxes, *args, **kwargs)
        chosen.append(boxes[rows])
        return rows

    monkeypatch.setattr(photographs, "nms", noted)
    recipe = replace(RECIPE, min_photographs=100, penalty=1e5)
    with pytest.warns(UserWarning, match="not calibrated"):
        train(Recorder(), recipe)
    assert sum(map(len, chosen))
    for boxes in chosen:
        iou = iou_matrix(boxes, boxes)
        np.fill_diagonal(iou, 0)
        assert iou.max(initial=0) <= RECIPE.hard_iou + 1e-6
    assert nms is real


def test_calibration_learns_from_photographs_that_were_held_out(monkeypatch):
    pairs = []
    real = photographs._judged_detections

    def noted(recognizer, tiles, held_out, training):
        pairs.append((set(held_out), {tile.image for tile in tiles}))
        assert recognizer.estimator is None
        return real(recognizer, tiles, held_out, training)

    monkeypatch.setattr(photographs, "_judged_detections", noted)
    trained = train()
    folds = [held_out for held_out, _ in pairs]
    assert len(folds) == RECIPE.n_folds
    assert set.union(*folds) == {0, 1, 2, 3}
    assert sum(map(len, folds)) == 4
    assert trained.calibration != (1, 0, 0)


def test_one_fold_is_enough_of_many_photographs(monkeypatch):
    n_folds = []
    real = photographs._judged_detections

    def noted(*args):
        n_folds.append(1)
        return real(*args)

    monkeypatch.setattr(photographs, "_judged_detections", noted)
    train(recipe=replace(RECIPE, enough_photographs=2))
    assert sum(n_folds) == 1


def test_few_objects_are_also_learnt_from_mirror_images(trained):
    X, y = make_photographs(1)
    data, _ = read_annotated(X, y, None, 3, True)
    sizes = trained.specification.window_sizes
    settings = ProposalSettings(source="windows", n_thresholds=31, window_sizes=sizes)
    recipe = replace(RECIPE, max_mirrored=len(y))
    plain, mirror = photograph_tiles(trained, data, settings, recipe)
    assert (plain.is_mirrored, mirror.is_mirrored) == (False, True)
    table = y.assign(x_min=SIDE - y["x_max"], x_max=SIDE - y["x_min"])
    flipped, _ = read_annotated([X[0][:, ::-1]], table, None, 3, True)
    (expected,) = photograph_tiles(trained, flipped, settings, RECIPE)
    assert_array_equal(mirror.objects, expected.objects)
    assert_array_equal(mirror.labels, expected.labels)
    boxes = mirror.proposals[:20]
    assert_allclose(mirror.maps.features(boxes), expected.maps.features(boxes))
    many = replace(RECIPE, max_mirrored=len(y) - 1)
    assert len(list(photograph_tiles(trained, data, settings, many))) == 1


@pytest.mark.parametrize("is_better", [False, True])
def test_mirror_images_are_learnt_from_where_they_help(monkeypatch, is_better):
    compared, learnt = [], []

    def compare(X, labels, images, is_mirrored):
        compared.append((set(labels), is_mirrored.mean()))
        return is_better

    real = photographs._train

    def noted(recognizer, tiles, training):
        learnt.append([tile.is_mirrored for tile in tiles])
        return real(recognizer, tiles, training)

    monkeypatch.setattr(photographs, "mirroring_helps", compare)
    monkeypatch.setattr(photographs, "_train", noted)
    train(recipe=replace(RECIPE, max_mirrored=100), n_mining_rounds=0)
    assert compared == [({-1, 0, 1}, 0.5)]
    assert all(sum(tiles) == is_better * len(tiles) / 2 for tiles in learnt)


def test_calibration_judges_no_mirror_images(monkeypatch, trained):
    data, classes = read_annotated(*make_photographs(2), None, 3, True)
    sizes = trained.specification.window_sizes
    settings = ProposalSettings(source="windows", n_thresholds=31, window_sizes=sizes)
    tiles = list(
        photograph_tiles(trained, data, settings, replace(RECIPE, max_mirrored=100))
    )
    training = photographs._Training(
        estimator=make_head(),
        names=np.append(classes, "none"),
        is_complete=True,
        n_mining_rounds=0,
        recipe=RECIPE,
        rng=np.random.RandomState(0),
    )
    monkeypatch.setattr(photographs, "_train", lambda *args: trained)
    held_out = np.array([1])
    judged = photographs._judged_detections(trained, tiles, held_out, training)
    plain = [tile for tile in tiles if not tile.is_mirrored]
    expected = photographs._judged_detections(trained, plain, held_out, training)
    assert len(judged[0])
    assert_array_equal(judged[0].probability, expected[0].probability)
    assert_array_equal(judged[1], expected[1])


@pytest.mark.parametrize("n", [1, 2])
def test_few_photographs_leave_scores_uncalibrated_with_a_warning(n):
    message = f"as {n} photograph.*at least {RECIPE.min_photographs} are needed"
    with pytest.warns(UserWarning, match=message):
        trained = train(n=n)
    assert trained.calibration == (1, 0, 0)


def boxes_of(*sides):
    return np.array([[0.0, 0, width, height] for width, height in sides])


def test_photographs_are_resized_to_objects_of_one_size():
    recipe = PhotographRecipe(object_side=96, small_object_side=40, max_scale=2)
    boxes = boxes_of((64, 10), (20, 64), (64, 64), (10, 12), (128, 5))
    for is_pretrained, scale in ((True, 1.5), (False, 0.625)):
        specification = feature_specification(boxes, recipe, is_pretrained, 0)
        assert specification.scale == scale
        assert specification.object_sides == (12, 64, 128)
        assert 1 <= len(specification.window_sizes) <= recipe.n_window_sizes


def test_the_scale_is_limited_and_in_steps():
    recipe = PhotographRecipe(object_side=96, max_scale=2)
    for side, scale in ((5, 2), (96, 1), (100, 15 / 16), (5000, 1 / 16)):
        made = feature_specification(boxes_of((side, side)), recipe, True, 0)
        assert made.scale == scale


def test_the_same_seed_gives_the_same_recogniser(trained):
    again = train()
    for one, two in zip(again.regressions, trained.regressions, strict=True):
        assert_array_equal(one.weight, two.weight)
    assert_array_equal(again.estimator[-1].coef_, trained.estimator[-1].coef_)
    assert again.calibration == trained.calibration


def test_nothing_is_drawn_from_global_generators():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    with pytest.warns(UserWarning, match="not calibrated"):
        train(n=1)
    assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_nothing_is_proposed_in_a_crowd_but_objects_with_boxes(trained):
    X, y = make_photographs(1)
    data, _ = read_annotated(X, y, None, 3, True)
    settings = ProposalSettings(
        source="windows",
        n_thresholds=31,
        window_sizes=trained.specification.window_sizes,
    )
    crowd = np.array([[0.0, 0.0, 64.0, 128.0]])
    everywhere, elsewhere = (
        np.concatenate(
            [
                tile.proposals
                for tile in photograph_tiles(trained, given, settings, RECIPE)
            ]
        )
        for given in (data, replace(data, crowds=[crowd]))
    )
    inside = np.minimum(everywhere[:, 2], 64) - np.minimum(everywhere[:, 0], 64)
    is_inside = inside >= 0.5 * (everywhere[:, 2] - everywhere[:, 0])
    is_object = iou_matrix(everywhere, data.boxes[0]).max(axis=1) >= 0.5
    np.testing.assert_array_equal(elsewhere, everywhere[~is_inside | is_object])
    assert (is_inside & is_object).any()
    assert is_inside.sum() > 50


def test_a_crowd_in_all_of_the_photographs_leaves_no_background():
    with pytest.raises(ValueError, match="leave no background to learn from"):
        train(Recorder(), n=3, n_mining_rounds=0, crowd=(0.0, 0.0, 128.0, 128.0))
