"""Pixel-wise scores of heatmaps equal naive loops."""

import numpy as np
import pandas as pd
import pytest
from heat import smooth_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from instances import (
    BOX,
    random_boxes,
)
from sklearn.metrics import average_precision_score

from sklearn_similar.metrics import (
    pixel_average_precision,
    pointing_game,
)


def naive_pixel_average_precision(maps, masks, taus):
    heat = np.concatenate([(m / m.max()).ravel() for m in maps])
    true = np.concatenate([np.ravel(mask).astype(bool) for mask in masks])
    area, recall_before = 0.0, 0.0
    for tau in taus[::-1]:
        predicted = heat >= tau
        recall = (predicted & true).sum() / true.sum()
        if predicted.any():
            area += true[predicted].mean() * (recall - recall_before)
        recall_before = recall
    return area


@pytest.mark.parametrize("seed", range(4))
def test_pixel_average_precision_equals_a_naive_loop(seed):
    maps = smooth_maps(seed, 3, (9, 14))
    masks = [np.random.default_rng(seed + i).random((9, 14)) < 0.3 for i in range(3)]
    expected = naive_pixel_average_precision(
        maps, masks, np.append(np.arange(0, 1, 0.001), 1.0)
    )
    actual = pixel_average_precision(maps, masks)
    assert actual == pytest.approx(expected, rel=1e-9)
    assert pixel_average_precision([m * 7 for m in maps], masks) == pytest.approx(
        actual, abs=2e-3
    )


@given(
    hnp.arrays(np.int64, (2, 4, 5), elements=st.integers(0, 64)),
    hnp.arrays(bool, (2, 4, 5)),
)
def test_equals_scikit_learn_where_heat_lies_on_the_grid(heat, masks):
    masks[0, 0, 0] = True
    heat = heat / 64
    actual = pixel_average_precision(heat, masks, n_thresholds=64, normalize=False)
    expected = average_precision_score(masks.ravel(), heat.ravel())
    assert actual == pytest.approx(expected)


def test_boxes_are_rasterised_to_masks():
    maps = smooth_maps(0, 2, (9, 14))
    boxes = pd.DataFrame(
        [[0, 2, 1, 6, 5], [0, 5, 3, 9, 9], [1, 0, 0, 14, 2]],
        columns=["image", *BOX],
    )
    masks = np.zeros((2, 9, 14), dtype=int)
    masks[0, 1:5, 2:6] = masks[0, 3:9, 5:9] = masks[1, 0:2, 0:14] = 1
    expected = pixel_average_precision(maps, masks)
    assert pixel_average_precision(maps, boxes) == expected
    single = pixel_average_precision(maps, boxes[BOX].to_numpy()[[0, 2]])
    assert single == pixel_average_precision(maps, boxes.iloc[[0, 2]])


def test_a_weak_heatmap_stays_weak_without_normalisation():
    maps = np.stack([np.eye(4), np.fliplr(np.eye(4)) * 0.1])
    masks = np.stack([np.eye(4), np.zeros((4, 4))])
    assert pixel_average_precision(maps, masks) == pytest.approx(0.5)
    assert pixel_average_precision(maps, masks, normalize=False) == 1.0


def test_a_heatmap_without_heat_predicts_all_pixels():
    masks = np.zeros((1, 2, 4))
    masks[0, 0, 0] = 1
    for heat in (0.0, -1.0):
        maps = np.full((1, 2, 4), heat)
        assert pixel_average_precision(maps, masks) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((1, 4, 4)), "1 entries for 2 heatmaps"),
        (np.zeros((2, 4, 5)), r"Mask 0 has shape \(4, 5\)"),
        (np.full((2, 4, 4), 0.5), "Mask 0 has values other"),
        (np.zeros((2, 4, 4)), "no true pixel"),
    ],
)
def test_names_what_is_wrong_with_masks(masks, message):
    with pytest.raises(ValueError, match=message):
        pixel_average_precision(np.ones((2, 4, 4)), masks)


def test_pointing_game_equals_a_naive_loop():
    maps = smooth_maps(5, 12, (9, 14))
    rng = np.random.default_rng(0)
    boxes = pd.DataFrame(random_boxes(rng, 24, 9), columns=BOX)
    boxes["x_min"], boxes["image"] = 0, np.repeat(np.arange(12), 2)
    boxes["label"] = rng.integers(0, 2, 24)
    boxes.loc[boxes.image == 3, "label"] = 2
    labels = rng.integers(0, 2, 12)
    for tolerance in (0, 1, 2.5):
        hits, label_hits = [], []
        for i, heatmap in enumerate(maps):
            y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
            inside = (
                (boxes.x_min - tolerance <= x + 0.5)
                & (x + 0.5 < boxes.x_max + tolerance)
                & (boxes.y_min - tolerance <= y + 0.5)
                & (y + 0.5 < boxes.y_max + tolerance)
            )
            hits.append(inside[boxes.image == i].any())
            is_truth = (boxes.image == i) & (boxes.label == labels[i])
            label_hits += [inside[is_truth].any()] if is_truth.any() else []
        actual = pointing_game(maps, boxes, tolerance=tolerance)
        assert actual == pytest.approx(np.mean(hits))
        assert 0 < actual < 1
        actual = pointing_game(maps, boxes, labels, tolerance=tolerance)
        assert actual == pytest.approx(np.mean(label_hits))


@given(st.integers(0, 10_000), st.lists(st.floats(0, 20), min_size=2))
@settings(max_examples=20)
def test_a_larger_tolerance_hits_no_less(seed, tolerances):
    maps = smooth_maps(seed, 4)
    boxes = random_boxes(np.random.default_rng(seed), 4, 16)
    shares = [pointing_game(maps, boxes, tolerance=t) for t in sorted(tolerances)]
    assert (np.diff(shares) >= 0).all()


def test_tied_maxima_count_by_their_share_in_a_box():
    assert pointing_game(np.ones((1, 4, 4)), [[0, 0, 2, 2]]) == 0.25
    assert pointing_game([[[1, 0, 1, 0]]], [[0, 0, 2, 1]]) == 0.5


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        pd.Series(["a", "b"], index=[7, 7]),
        pd.Categorical(["a", "b"]),
        np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
        pd.date_range("2020", periods=2, tz="UTC"),
        [("a", 1), ("b", 1)],
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_of_any_type_are_matched(labels):
    boxes = pd.DataFrame([[0, 0, 0, 1, 1], [1, 2, 2, 3, 3]], columns=["image", *BOX])
    boxes["label"] = list(pd.Series(labels))
    maps = np.stack([np.eye(3)[:1].T @ np.eye(3)[:1], np.eye(3)])
    assert pointing_game(maps, boxes, labels) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no box of any image and label"):
        pointing_game(maps, boxes, labels[::-1])


def test_labels_must_fit():
    boxes = pd.DataFrame([[0, "a", 0, 0, 2, 2]], columns=["image", "label", *BOX])
    with pytest.raises(ValueError, match=r"labels holds 2 labels for 1 image;"):
        pointing_game(np.ones((1, 4, 4)), boxes, ["a", "b"])
    with pytest.raises(ValueError, match="no box of any image and label"):
        pointing_game(np.ones((1, 4, 4)), boxes, ["b"])
    with pytest.raises(ValueError, match="lacks the column label"):
        pointing_game(np.ones((1, 4, 4)), boxes.drop(columns="label"), ["a"])
