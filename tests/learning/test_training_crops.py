"""Training crops for localisation."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar import InstanceLocalizer, make_training_crops
from sklearn_similar._learning import training, training_crops
from sklearn_similar._learning.training_crops import (
    CropSettings,
    _spread,
    crop_scene,
    instance_overlap,
    make_scene_crops,
)
from sklearn_similar._scenes.scene import Scene
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crops import crop_boxes
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES, _, LABELS, _ = load_mnist_sample(return_X_y=True)
IMAGES, LABELS = IMAGES[::50], LABELS[::50]


def crops(images=IMAGES, labels=LABELS, **params):
    params = {"n_instances": 300, "n_background": 250, "random_state": 0, **params}
    return make_training_crops(images, labels, background=-1, **params)


@pytest.fixture(scope="module")
def made():
    return crops()


def test_all_images_are_there_among_the_crops(made):
    X, y = made
    given = {
        (image.tobytes(), label) for image, label in zip(IMAGES, LABELS, strict=True)
    }
    found = {(image.tobytes(), label) for image, label in zip(X, y, strict=True)}
    assert given <= found


def test_as_many_crops_of_each_kind_as_asked_for(made):
    X, y = made
    assert X.dtype == np.uint8
    assert X.shape[1:] == (28, 28)
    assert (y == -1).sum() == 250
    n_instances = (y != -1).sum() - len(IMAGES)
    assert n_instances > 150
    assert n_instances <= 300
    assert_array_equal(np.unique(y), range(-1, 10))


def test_crops_of_instances_look_like_images_of_their_label(made):
    X, y = made
    means = [IMAGES[label == LABELS].mean(axis=0).ravel() for label in range(10)]
    shown = np.flatnonzero(y + 1)
    likeness = np.corrcoef(np.vstack([X[shown].reshape(len(shown), -1), means]))
    nearest = likeness[: len(shown), len(shown) :].argmax(axis=1)
    assert (nearest == y[shown]).mean() > 0.5


def test_the_first_blank_image_is_named():
    images = IMAGES.copy()
    images[[5, 9]] = 0
    with pytest.raises(ValueError, match=r"images\[5\] is blank; leave out"):
        make_training_crops(
            images, LABELS, background=-1, n_instances=1, n_background=5
        )


@pytest.mark.usefixtures("small_scenes")
def test_no_crops_of_instances_may_be_asked_for():
    _, y = make_training_crops(
        IMAGES, LABELS, background=-1, n_instances=0, n_background=50, random_state=0
    )
    assert (y == -1).sum() == 50
    assert len(y) == 50 + len(IMAGES)


@pytest.mark.usefixtures("small_scenes")
def test_the_same_random_state_gives_the_same_crops():
    once = crops()
    for first, second in zip(once, crops(), strict=True):
        assert_array_equal(first, second)
    assert not np.array_equal(once[0], crops(random_state=1)[0])


@pytest.mark.usefixtures("small_scenes")
def test_photographs_are_used():
    stripes = np.tile(np.repeat(np.uint8([0, 255]), 20), (200, 10))
    with_stripes, _ = crops(background_images=[stripes])
    assert with_stripes.shape[1:] == (28, 28)
    assert not np.array_equal(with_stripes, crops()[0])


@pytest.mark.usefixtures("small_scenes")
def test_colour_images_give_colour_crops():
    X, _ = crops(
        np.repeat(IMAGES[..., np.newaxis], 3, axis=3), background_images=[IMAGES[0]]
    )
    assert X.shape[1:] == (28, 28, 3)


def test_every_class_has_a_share_in_the_specification_of_crops(monkeypatch):
    # Small discs first, and a few large ones after more images than are looked at.
    y, x = np.mgrid[-14:14, -14:14] + 0.5
    small, large = (np.uint8(255 * (np.hypot(x, y) < r)) for r in (4, 13))
    images = np.stack([small] * 1100 + [large] * 1100)
    found = []

    def learn(samples):
        found.append(samples)
        raise InterruptedError

    monkeypatch.setattr(f"{training_crops.__name__}.learn_crop_specification", learn)
    with pytest.raises(InterruptedError):
        crops(images, np.repeat([0, 1], 1100))
    (samples,) = found
    assert len(samples) == 1000
    n_pixels = (samples > 0).sum(dim=(1, 2, 3))
    assert (n_pixels == (large > 0).sum()).sum() == 500


@pytest.mark.usefixtures("small_scenes")
def test_labels_may_be_strings():
    _, y = make_training_crops(
        IMAGES,
        LABELS.astype(str),
        background="none",
        n_instances=50,
        n_background=50,
        random_state=0,
    )
    assert "none" in y


def test_a_background_that_is_a_label_is_refused():
    with pytest.raises(ValueError, match="background is 3, which is one of the labels"):
        make_training_crops(IMAGES, LABELS, background=3)


@pytest.mark.parametrize(
    ("labels", "background"),
    [
        (LABELS, "x"),
        (LABELS, None),
        (LABELS.astype(str), -1),
        (LABELS.astype("M8[D]"), "none"),
    ],
)
def test_a_background_that_would_change_the_type_of_the_labels_is_refused(
    labels, background
):
    message = f"background is {background!r}, but labels are of type {labels.dtype}; "
    with pytest.raises(ValueError, match=re.escape(message)):
        make_training_crops(IMAGES, labels, background=background)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        crops(labels=LABELS[:-1])


def test_overlap_is_of_crops_where_images_fill_their_frame():
    boxes = np.array([[10, 0, 20, 40], [0, 0, 40, 40], [50, 0, 90, 40]], np.float32)
    instance = np.array([[0, 0, 40, 40]])
    # In a square crop, a narrow region shows as much as the square around it.
    for fills_frame, narrow in ((True, 35 / 45), (False, 0.25)):
        specification = CropSpecification(size=(28, 28), fills_frame=fills_frame)
        overlap = instance_overlap(boxes, instance, specification)
        assert_allclose(overlap[:, 0], [narrow, 1, 0])


@pytest.mark.parametrize("fills_frame", [True, False])
def test_instances_are_cropped_where_nothing_is_proposed(fills_frame):
    # Of one grey level, there are no regions.
    pixels = np.full((100, 100), 100, np.uint8)
    boxes = [(20, 30, 60, 70), (70, 0, 100, 30)]
    scene = Scene.from_levels(pixels, boxes, [7, 3])
    specification = CropSpecification(size=(28, 28), fills_frame=fills_frame)
    settings = CropSettings(n_thresholds=31, n_background=10, with_examples=True)
    rng = np.random.RandomState(0)
    made, owner, examples = crop_scene(scene, specification, settings, rng)
    assert len(made) == len(owner)
    assert set(owner) == {7, 3}
    assert {tuple(box) for box in examples.truth} == {tuple(b) for b in scene.boxes}


def test_boxes_are_learnt_from_regions_that_show_some_of_an_instance():
    pixels = np.zeros((100, 120), np.uint8)
    pixels[30:70, 20:60] = 200
    # A bar, of which nothing is an instance, and a part of the instance.
    pixels[10:90, 100:105] = 200
    pixels[32:68, 22:56] = 255
    scene = Scene.from_levels(pixels, [(20, 30, 60, 70)], [7])
    settings = CropSettings(31, 10, with_examples=True)
    specification = CropSpecification(size=(20, 20), object_extent=0.5)
    _, _, examples = crop_scene(
        scene, specification, settings, np.random.RandomState(0)
    )
    assert 0 < len(examples.crops) <= 2
    assert_array_equal(examples.truth, scene.boxes.repeat(len(examples.boxes), axis=0))
    assert (paired_iou(examples.boxes, examples.truth) >= 0.3).all()
    expected = crop_boxes(
        scene.pixels,
        examples.boxes,
        replace(specification, size=(28, 28), object_extent=0.6),
    )
    assert_array_equal(examples.crops, np.rint(255 * expected))
    # In the wrong polarity, nothing is an instance.
    _, _, examples = crop_scene(
        scene.negative(), specification, settings, np.random.RandomState(0)
    )
    assert len(examples.crops) == 0


@pytest.mark.usefixtures("small_scenes")
@pytest.mark.parametrize("n_examples", [0, 10])
def test_examples_of_boxes_are_as_many_as_asked_for(n_examples):
    images = np.stack([IMAGES] * 3, axis=-1)
    _, _, examples = make_scene_crops(
        images,
        CropSpecification(size=(28, 28)),
        background_images=None,
        n_instances=0,
        n_background=50,
        n_examples=n_examples,
        rotation=10.0,
        n_thresholds=31,
        rng=np.random.RandomState(0),
        verbose=0,
    )
    assert examples.crops.shape == (n_examples, 28, 28, 3)
    assert examples.boxes.shape == examples.truth.shape == (n_examples, 4)


def test_the_crops_are_made_as_the_localizer_will_search(monkeypatch):
    """Where half of the images fill their frame, their crops do not decide anew."""
    known = []

    def make(images, specification, **params):
        known.append(specification)
        raise RuntimeError

    monkeypatch.setattr(training, "make_scene_crops", make)
    cut_outs = np.random.RandomState(0).randint(100, 255, (61, 28, 28))
    X = np.concatenate([cut_outs.astype(np.uint8), IMAGES[:60]])
    for seed in range(3):
        localizer = InstanceLocalizer(random_state=seed)
        with pytest.raises(RuntimeError):
            localizer.fit(X, np.arange(len(X)) % 2)
        assert known[-1].fills_frame


def test_rows_are_taken_evenly_from_their_sources():
    sources = np.repeat([0, 1, 2], [100, 10, 2])
    rng = np.random.RandomState(0)
    chosen = _spread(np.arange(112), sources, 22, rng)
    assert_array_equal(np.bincount(sources[chosen]), [10, 10, 2])
