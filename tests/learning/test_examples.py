"""Training examples: which boxes of a scene become crops, and of what."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar import InstanceLocalizer
from sklearn_similar._images.rasters import Raster
from sklearn_similar._learning.examples import (
    crop_scene,
    make_examples,
    object_overlap,
)
from sklearn_similar._learning.recipe import LearningRecipe, learning_recipe
from sklearn_similar._learning.settings import TrainingSettings
from sklearn_similar._scenes.scene import Scene
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crops import crop_boxes
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.settings import ProposalSettings
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]


def format_for(specification, n_channels=1):
    return ImageFormat(
        specification=specification,
        n_channels=n_channels,
        dtype=np.dtype(np.float32),
        layout="grey" if n_channels == 1 else "colour",
    )


def settings(source="image"):
    return ProposalSettings(source=source, n_thresholds=31)


def examples_of(scene, specification, proposals="image"):
    return crop_scene(
        scene,
        format_for(specification),
        settings(proposals),
        learning_recipe(specification.fills_frame),
        np.random.RandomState(0),
        max_background=10,
        with_box_examples=True,
    )


def test_overlap_is_of_crops_where_images_fill_their_frame():
    boxes = np.array([[10, 0, 20, 40], [0, 0, 40, 40], [50, 0, 90, 40]], np.float32)
    truth = np.array([[0, 0, 40, 40]])
    # In a square crop, a narrow region shows as much as the square around it.
    for fills_frame, narrow in ((True, 35 / 45), (False, 0.25)):
        specification = CropSpecification(size=(28, 28), fills_frame=fills_frame)
        overlap = object_overlap(boxes, truth, specification)
        assert_allclose(overlap[:, 0], [narrow, 1, 0])


@pytest.mark.parametrize("fills_frame", [True, False])
def test_objects_are_cropped_where_nothing_is_proposed(fills_frame):
    # Of one grey level, there are no regions.
    pixels = np.full((100, 100), 100, np.uint8)
    scene = Scene.from_levels(pixels, [(20, 30, 60, 70), (70, 0, 100, 30)], [7, 3])
    specification = CropSpecification(size=(28, 28), fills_frame=fills_frame)
    examples = examples_of(scene, specification)
    assert len(examples.crops) == len(examples.labels)
    assert set(examples.labels) == {7, 3}
    assert {tuple(box) for box in examples.box_examples.truth} == {
        tuple(box) for box in scene.boxes
    }


@pytest.fixture
def bars():
    """A scene with an object, a part of it, and a bar that is not an object."""
    pixels = np.zeros((100, 120), np.uint8)
    pixels[30:70, 20:60] = 200
    pixels[10:90, 100:105] = 200
    pixels[32:68, 22:56] = 255
    return Scene.from_levels(pixels, [(20, 30, 60, 70)], [7])


def test_boxes_are_learnt_from_regions_that_show_some_of_an_object(bars):
    specification = CropSpecification(size=(20, 20), object_extent=0.5)
    boxes = examples_of(bars, specification).box_examples
    assert 0 < len(boxes) <= 2
    assert_array_equal(boxes.truth, bars.boxes.repeat(len(boxes), axis=0))
    assert set(boxes.rows) == {7}
    assert (paired_iou(boxes.boxes, boxes.truth) >= 0.3).all()
    expected = crop_boxes(
        Raster.from_tensor(bars.pixels),
        boxes.boxes,
        replace(specification, size=(28, 28), object_extent=0.6),
    )
    assert_array_equal(boxes.crops, expected)


def test_in_the_wrong_polarity_nothing_is_an_object(bars):
    examples = examples_of(bars.negative(), CropSpecification(size=(20, 20)))
    assert set(examples.labels) == {-1}
    assert len(examples.box_examples) == 0


def test_crops_are_those_of_the_source_of_proposals_that_localize_uses(bars):
    def whole(image):
        assert image.shape == (100, 120)
        return [[0, 0, 120, 100]]

    specification = CropSpecification(size=(20, 20))
    examples = examples_of(bars, specification, proposals=whole)
    # The image, its halves and its thirds.
    edges = [(0, 120), (0, 60), (60, 120), (0, 40), (40, 80), (80, 120)]
    boxes = np.array([[left, 0.0, right, 100] for left, right in edges])
    expected = crop_boxes(Raster.from_tensor(bars.pixels), boxes, specification)
    background = examples.crops[examples.labels == -1]
    assert {crop.tobytes() for crop in background} == {
        crop.tobytes() for crop in expected[:, 0].numpy()
    }


def made_examples(images, recipe=None, **params):
    n_channels = images.shape[3] if images.ndim == 4 else 1
    n_box_examples = params.pop("n_box_examples", 0)
    numbers = {"n_instance_crops": 0, "n_background_crops": 50} | params
    return make_examples(
        images,
        [],
        format_for(CropSpecification(size=(28, 28)), n_channels),
        TrainingSettings(rotation=10.0, proposals=settings(), verbose=0, **numbers),
        recipe or LearningRecipe(),
        np.random.RandomState(0),
        n_box_examples=n_box_examples,
    )


@pytest.mark.parametrize("n_boxes", [0, 10])
def test_as_many_boxes_are_learnt_from_as_asked_for(n_boxes, small_recipes):
    images = np.stack([IMAGES] * 3, axis=-1)
    boxes = made_examples(
        images, small_recipes(False), n_box_examples=n_boxes
    ).box_examples
    assert boxes.crops.shape == (n_boxes, 3, 28, 28)
    assert boxes.boxes.shape == boxes.truth.shape == (n_boxes, 4)
    assert boxes.rows.shape == (n_boxes,)
    assert set(boxes.rows) <= set(range(len(images)))


def test_background_is_taken_evenly_from_the_scenes(small_recipes):
    few = made_examples(IMAGES, small_recipes(False), n_background_crops=12)
    assert few.crops.shape == (12, 28, 28)
    assert (few.labels == -1).all()


def test_the_crops_are_made_as_the_localizer_will_search():
    """Where half of the images fill their frame, their crops do not decide anew."""
    chosen = []

    class Localizer(InstanceLocalizer):
        @staticmethod
        def _choose_recipe(has_context):
            chosen.append(has_context)
            raise RuntimeError

    images = np.random.RandomState(0).randint(100, 255, (61, 28, 28))
    X = np.concatenate([images.astype(np.uint8), IMAGES[:60]])
    for seed in range(3):
        with pytest.raises(RuntimeError):
            Localizer(random_state=seed).fit(X, np.arange(len(X)) % 2)
    assert chosen == [True] * 3
