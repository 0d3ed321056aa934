"""Training of a small backbone on photographs with boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from painted_photographs import make_photographs

from sklearn_similar._learning.annotated import read_annotated
from sklearn_similar._learning.backbone import (
    SmallBackbone,
    _mirrored,
    _Photograph,
    _Trainer,
    train_backbone,
)
from sklearn_similar._learning.recipe import BackboneRecipe
from sklearn_similar._search.linear_regression import offsets
from sklearn_similar._tables.boxes import iou_matrix

RECIPE = BackboneRecipe(max_pixels=3e5, n_epochs=(2, 8))
OBJECTS = np.array([[20.0, 30, 50, 60], [70, 40, 100, 66]])
SIZES = OBJECTS[:, 2:] - OBJECTS[:, :2]


def train(n=2, seed=0, is_complete=True, recipe=RECIPE, scale=0.6, backgrounds=None):
    X, y = make_photographs(n, sides=(26, 30))
    data, _ = read_annotated(X, y, backgrounds, 3, is_complete)
    rng = np.random.RandomState(seed)
    return train_backbone(data, scale, recipe, rng, verbose=0)


@pytest.fixture(scope="module")
def trained():
    return train()


def weights(backbone):
    return torch.cat([value.flatten() for value in backbone.module.parameters()])


def test_feature_maps_are_of_stride_4_and_8(trained):
    fine, coarse = trained.feature_maps(torch.rand(3, 96, 128))
    assert (fine.stride, coarse.stride) == ((4, 4), (8, 8))
    assert fine.values.shape == (1, 64, 24, 32)
    assert trained.layers == SmallBackbone.LAYERS


def test_the_network_is_trained_and_frozen(trained):
    assert not any(child.training for child in trained.module.modules())
    assert not any(value.requires_grad for value in trained.module.parameters())
    assert torch.isfinite(weights(trained)).all()
    untrained = SmallBackbone(3)
    for name, value in trained.module.named_buffers():
        if name.endswith("running_var"):
            assert not torch.equal(value, untrained.get_buffer(name))


def test_the_random_state_alone_chooses_the_weights(trained):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert torch.equal(weights(train()), weights(trained))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(weights(train(seed=1)), weights(trained))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_training_works_in_any_mode_of_the_caller(trained, context):
    with context():
        backbone = train()
    assert torch.equal(weights(backbone), weights(trained))


def test_photographs_without_objects_are_background():
    empty, _ = make_photographs(1, seed=3, n_objects=0, size=(70, 90))
    assert torch.isfinite(weights(train(1, backgrounds=empty))).all()


def test_objects_of_a_pixel_without_background_leave_finite_weights():
    recipe = replace(RECIPE, n_far=1)
    backbone = train(1, is_complete=False, recipe=recipe, scale=1 / 16)
    assert torch.isfinite(weights(backbone)).all()


def trainer(is_complete=True, **changes):
    recipe = replace(RECIPE, **changes)
    rng = np.random.RandomState(0)
    return _Trainer(SmallBackbone(3), 2, SIZES, recipe, is_complete, rng), recipe


def photograph(boxes=OBJECTS, labels=(0, 1)):
    pixels = torch.rand(3, 96, 120, generator=torch.Generator().manual_seed(0))
    return _Photograph(pixels, boxes, np.array(labels, int))


@pytest.mark.parametrize("is_complete", [True, False])
def test_boxes_have_the_class_and_the_offsets_of_their_object(is_complete):
    made, recipe = trainer(is_complete, n_far=300, n_jittered=40)
    boxes, labels, targets = made._sample(photograph())
    iou = iou_matrix(boxes, OBJECTS)
    nearest, iou = iou.argmax(axis=1), iou.max(axis=1)
    is_object = iou >= recipe.object_iou
    assert_array_equal(labels, np.where(is_object, nearest, 2))
    moved = offsets(boxes[is_object], OBJECTS[nearest[is_object]])
    assert_allclose(targets[is_object], moved)
    assert set(labels) == {0, 1, 2}
    # Boxes that are neither are left out, and with partial boxes those elsewhere.
    assert (iou[~is_object] < recipe.background_iou).all()
    elsewhere = iou < recipe.part_iou
    assert elsewhere.any() == is_complete
    assert (boxes >= 0).all()
    assert (boxes <= [120, 96, 120, 96]).all()


def test_everything_is_background_in_a_photograph_without_objects():
    for is_complete in (True, False):
        made, _ = trainer(is_complete)
        boxes, labels, _ = made._sample(photograph(OBJECTS[:0], []))
        assert len(boxes)
        assert (labels == 2).all()


def test_nothing_is_background_in_a_crowd():
    made, _ = trainer(n_far=300)
    photo = photograph(OBJECTS[:0], [])
    crowd = np.array([[0.0, 0, 60, 96]])
    boxes, _, _ = made._sample(replace(photo, crowds=crowd))
    inside = np.minimum(boxes[:, 2], 60) - np.minimum(boxes[:, 0], 60)
    assert (inside / (boxes[:, 2] - boxes[:, 0]) < 0.5).all()
    assert len(boxes) > 50


def test_a_mirrored_photograph_has_its_objects_where_they_are():
    photo = photograph()
    photo.pixels[:] = 0
    for x_min, y_min, x_max, y_max in OBJECTS.astype(int):
        photo.pixels[:, y_min:y_max, x_min:x_max] = 1
    rng = np.random.RandomState(0)
    photo = replace(photo, crowds=photo.boxes)
    versions = [_mirrored(photo, rng) for _ in range(9)]
    assert len({version.boxes.tobytes() for version in versions}) == 2
    for version in versions:
        covered = torch.zeros_like(photo.pixels)
        for x_min, y_min, x_max, y_max in version.boxes.astype(int):
            covered[:, y_min:y_max, x_min:x_max] = 1
        assert torch.equal(covered, version.pixels)
        assert_array_equal(version.crowds, version.boxes)


def test_photographs_of_several_sizes_share_a_batch():
    made, _ = trainer()
    small = _Photograph(
        torch.rand(3, 40, 64), np.array([[3.0, 4, 30, 33]]), np.array([1])
    )
    loss = made._loss([photograph(), small])
    assert torch.isfinite(loss)
    loss.backward()


def test_a_loss_of_no_boxes_changes_nothing():
    made, _ = trainer(False, n_far=0, n_jittered=0)
    loss = made._loss([photograph()])
    loss.backward()
    for parameter in made._network.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
