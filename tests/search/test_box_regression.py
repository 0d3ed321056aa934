"""Box regression: what it learns, when it is left out, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn import config_context

from sklearn_similar._images.rasters import Raster
from sklearn_similar._learning import box_regression
from sklearn_similar._learning.box_regression import BoxExamples, fit_box_regression
from sklearn_similar._learning.recipe import BoxRegressionRecipe
from sklearn_similar._search.box_regression import (
    BoxRegression,
    RefinementRecipe,
    box_weights,
)
from sklearn_similar._search.crop_recognizer import CropRecognizer
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crops import crop_boxes
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.proposals import Proposals
from sklearn_similar._search.views import Views
from sklearn_similar._tables.boxes import paired_iou

SPECIFICATION = CropSpecification(size=(28, 28))
CONTEXT_CROP = RefinementRecipe().context_crop(SPECIFICATION)
# Fewer and larger batches than by default, where few examples have batches of two.
FAST = BoxRegressionRecipe(batch_size=14)
# Without asking whether boxes get better, too.
QUICK = replace(FAST, n_epochs=1, n_standard_errors=-np.inf)


def shifted(rng, truth):
    """A box that is a quarter too far in places."""
    sides = np.tile(truth[2:] - truth[:2], 2)
    return np.rint(truth + rng.uniform(-0.25, 0.25, size=4) * sides)


def scene_of_a_rectangle(rng):
    pixels = rng.uniform(0, 0.2, size=(1, 96, 96)).astype(np.float32)
    low = rng.randint(20, 40, size=2)
    high = low + rng.randint(12, 36, size=2)
    pixels[0, low[1] : high[1], low[0] : high[0]] += 0.7
    return torch.from_numpy(pixels), np.concatenate([low, high]).astype(float)


def examples_of_rectangles(n, seed=0):
    rng = np.random.RandomState(seed)
    crops, boxes, truths = [], [], []
    for _ in range(n):
        pixels, truth = scene_of_a_rectangle(rng)
        box = shifted(rng, truth)
        image = Raster.from_tensor(pixels)
        crops.append(crop_boxes(image, box[np.newaxis], CONTEXT_CROP))
        boxes.append(box)
        truths.append(truth)
    rows = np.arange(n)
    return BoxExamples(torch.cat(crops), np.stack(boxes), np.stack(truths), rows)


def moved_boxes(regression, examples):
    return regression(examples.crops, examples.boxes)


def fit(examples, recipe=FAST, seed=0):
    return fit_box_regression(examples, recipe, seed=seed, verbose=0)


@pytest.fixture(scope="module")
def regression():
    return fit(examples_of_rectangles(600), BoxRegressionRecipe(batch_size=20))


@pytest.fixture(scope="module")
def few_examples():
    return examples_of_rectangles(200)


def refine(pixels, boxes, regression):
    """Boxes in an image, moved by a box regression."""
    recognizer = CropRecognizer(
        specification=SPECIFICATION,
        estimator=None,
        image_format=ImageFormat(
            specification=SPECIFICATION,
            n_channels=1,
            dtype=np.dtype(np.uint8),
            layout="grey",
        ),
        columns=np.arange(2),
        box_regression=regression,
    )
    views = Views([Raster.from_tensor(pixels)])
    return recognizer._refine(views, Proposals.from_boxes(boxes)).boxes


def test_boxes_are_moved_to_what_they_show_a_part_of(regression):
    rng = np.random.RandomState(1)
    before, after = [], []
    for _ in range(50):
        pixels, truth = scene_of_a_rectangle(rng)
        box = shifted(rng, truth)
        (moved,) = refine(pixels, box[np.newaxis], regression)
        before.append(paired_iou(box, truth))
        after.append(paired_iou(moved.astype(float), truth))
    assert np.mean(before) < 0.65
    assert np.mean(after) > 0.7


def test_moved_boxes_are_of_whole_pixels_inside_the_image(regression):
    rng = np.random.RandomState(2)
    pixels = torch.from_numpy(rng.uniform(size=(1, 40, 50)).astype(np.float32))
    low = rng.randint(0, 25, size=(200, 2))
    boxes = np.hstack([low, np.minimum(low + rng.randint(3, 30, (200, 2)), [50, 40])])
    moved = refine(pixels, boxes, regression)
    assert_array_equal(moved, np.rint(moved))
    assert (moved >= 0).all()
    assert (moved <= [50, 40, 50, 40]).all()
    assert (moved[:, 2:] - moved[:, :2] >= 2).all()
    with config_context(working_memory=20**2 / 1024):
        assert_array_equal(refine(pixels, boxes, regression), moved)


def test_no_proposals_stay_none(regression):
    assert len(refine(torch.zeros(1, 9, 9), np.empty((0, 4)), regression)) == 0


def held_out(examples):
    return box_regression._held_out(examples.rows, BoxRegressionRecipe(), seed=0)


def test_what_moves_boxes_to_no_use_is_left_out(few_examples):
    examples = few_examples
    rng = np.random.RandomState(0)
    # Boxes are right as they are, and what is learnt is noise.
    noise = rng.uniform(-8, 8, size=examples.boxes.shape)
    is_held_out = held_out(examples)
    assert is_held_out.sum() == 20
    truth = examples.boxes + np.where(is_held_out, 0, noise.T).T
    useless = replace(examples, truth=truth)
    assert fit(useless) is None
    few = examples.select(slice(199))
    assert fit(few) is None


def test_all_examples_of_an_object_are_held_out_or_none(few_examples):
    for n_objects, n_held_out in ((20, 5), (40, 5), (100, 10)):
        rows = np.random.RandomState(0).randint(n_objects, size=200)
        rows[:n_objects] = np.arange(n_objects)
        is_held_out = held_out(replace(few_examples, rows=rows))
        assert len(np.unique(rows[is_held_out])) == n_held_out
        assert not set(rows[is_held_out]) & set(rows[~is_held_out])


def test_of_too_few_objects_nothing_is_learnt(few_examples):
    for n_objects, is_learnt in ((19, False), (20, True)):
        examples = replace(few_examples, rows=np.arange(200) % n_objects)
        assert (fit(examples, QUICK) is not None) is is_learnt


def test_what_is_learnt_of_each_object_by_heart_is_left_out(few_examples):
    """Each object is moved in a direction that only its examples tell."""
    n_objects, examples = 10, few_examples
    rng = np.random.RandomState(0)
    direction = rng.choice([-6, 6], size=(n_objects, 1)).repeat(4, axis=1)
    rows = np.arange(200) % n_objects
    # What an object looks like says which one it is.
    shape = (n_objects, *examples.crops.shape[1:])
    looks = rng.uniform(size=shape).astype(np.float32)
    crops = torch.from_numpy(looks[rows])
    truth = examples.boxes + direction[rows]
    by_heart = BoxExamples(crops, examples.boxes, truth, rows)
    recipe = replace(FAST, n_epochs=12)
    by_example = replace(by_heart, rows=np.arange(200))
    assert fit(by_example, recipe) is not None
    assert fit(by_heart, recipe) is None


@pytest.fixture(scope="module")
def weights(few_examples):
    return fit(few_examples, QUICK).weights()


def test_a_seed_decides_all_and_nothing_else_changes(few_examples, weights):
    before = torch.random.get_rng_state()
    same, other = (fit(few_examples, QUICK, seed).weights() for seed in (0, 1))
    assert_array_equal(torch.random.get_rng_state(), before)
    for name, weight in weights.items():
        assert_array_equal(weight, same[name])
    assert not np.array_equal(weights["0.weight"], other["0.weight"])


@pytest.mark.parametrize(
    "mode",
    [
        *(torch.no_grad, torch.inference_mode, lambda: torch.device("meta")),
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
)
def test_it_is_learnt_and_used_in_any_mode_of_the_caller(mode, few_examples, weights):
    with mode():
        learnt = fit(few_examples, QUICK).weights()
        regression = BoxRegression.from_weights(learnt)
        again = regression.weights()
        with torch.device("cpu"):
            moved = moved_boxes(regression, few_examples)
    assert_array_equal(moved, moved_boxes(regression, few_examples))
    for name, weight in weights.items():
        assert_array_equal(learnt[name], weight)
        assert_array_equal(again[name], weight)


def test_weights_make_the_same_network(regression):
    before = torch.random.get_rng_state()
    weights = regression.weights()
    again = BoxRegression.from_weights(weights)
    assert_array_equal(torch.random.get_rng_state(), before)
    examples = examples_of_rectangles(20, seed=3)
    assert_array_equal(moved_boxes(again, examples), moved_boxes(regression, examples))
    expected = box_weights(in_channels=1)
    assert {name: (w.shape, w.dtype) for name, w in weights.items()} == {
        name: (w.shape, w.dtype) for name, w in expected.items()
    }
