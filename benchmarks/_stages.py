"""Objects lost at each stage of `InstanceLocalizer`, and calibration of scores."""

import numpy as np
import torch

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.sources import propose
from sklearn_similar._tables.boxes import BOX_COLUMNS, paired_iou

IOU = 0.5


def boxes_of(table, image):
    """Boxes and labels of an image in a table."""
    rows = table[table["image"] == image]
    return rows[list(BOX_COLUMNS)].to_numpy(float), rows["label"].to_numpy()


def stages(localizer, images, truth):
    """Shares of the true instances that are left after each stage of `localize`.

    An instance is proposed if a refined box has an IoU of 0.5 with it; recognised if
    such a box gets its label, confident if with a score of at least `score_threshold`,
    and kept if it is among the detections.
    """
    counts = dict.fromkeys(("proposed", "recognised", "confident", "kept"), 0)
    for index, image in enumerate(images):
        boxes, labels = boxes_of(truth, index)
        result = _search(localizer, image)
        is_near = paired_iou(
            result.recognised.proposals.boxes.astype(float)[:, np.newaxis], boxes
        )
        counts["proposed"] += (is_near >= IOU).any(axis=0).sum()
        recognised = result.recognised.select(np.isfinite(result.recognised.score))
        for stage, detections in (
            ("recognised", recognised),
            ("confident", result.confident),
            ("kept", result.detections[0]),
        ):
            counts[stage] += _are_right(localizer, detections, boxes, labels)
    return {stage: count / len(truth) for stage, count in counts.items()}


def photograph_stages(localizer, images, truth):
    """The same for a localizer that learnt from boxes, with each move of the boxes.

    "proposed" are objects with a proposal that has not been moved.
    """
    recognizer = localizer._recognizer()
    n_moves = len(recognizer.regressions)
    names = ("proposed", *(f"move {number}" for number in range(1, n_moves + 1)))
    counts = dict.fromkeys(names, 0)
    for index, image in enumerate(images):
        objects, _ = boxes_of(truth, index)
        moves = _moves(recognizer, localizer._search_settings(), image)
        for name, boxes in zip(names, moves, strict=True):
            is_near = paired_iou(boxes[:, np.newaxis], objects) >= IOU
            counts[name] += is_near.any(axis=0).sum()
    later = stages(localizer, images, truth)
    del later["proposed"]
    return {name: count / len(truth) for name, count in counts.items()} | later


def _moves(recognizer, settings, image):
    """Proposals of an image, and the boxes after each move."""
    views = recognizer.views([_raster(image)], settings.polarity)
    view = views.rasters[0]
    proposals = propose(views, settings.proposals).boxes.astype(float)
    of_tiles = [
        recognizer.steps(maps, proposals[rows], view.size)
        for maps, rows in recognizer.pooled_tiles(view, proposals)
        if len(rows)
    ]
    return [proposals, *map(np.concatenate, zip(*of_tiles, strict=True))]


def _search(localizer, image):
    """All stages of the search of an image of the trained type, in 8 bits."""
    recognizer, settings = localizer._recognizer(), localizer._search_settings()
    return recognizer.detect([_raster(image)], settings)


def _raster(image):
    pixels = torch.from_numpy(np.atleast_3d(image).astype(np.float32) / 255)
    return Raster.from_tensor(pixels.movedim(-1, 0))


def _are_right(localizer, detections, boxes, labels):
    """Number of the true instances that some detection has right."""
    found = detections.proposals.boxes.astype(float)
    is_near = paired_iou(found[:, np.newaxis], boxes) >= IOU
    is_same = localizer.classes_[detections.label][:, np.newaxis] == labels
    return (is_near & is_same).any(axis=0).sum()


def _is_right(detections, image, boxes, labels):
    """Whether each detection in an image matches each true object."""
    detected_boxes, detected_labels = boxes_of(detections, image)
    is_near = paired_iou(detected_boxes[:, np.newaxis], boxes) >= IOU
    return is_near & (detected_labels[:, np.newaxis] == labels)


def scored_outcomes(truth, detections):
    """Scores of all detections, image by image, and 1 for each correct detection."""
    outcomes = [np.empty(0)]
    for image in detections["image"].unique():
        is_right = _is_right(detections, image, *boxes_of(truth, image))
        outcomes.append(is_right.any(axis=1).astype(float))
    return detections["score"].to_numpy(), np.concatenate(outcomes)


def expected_calibration_error(score, is_correct, n_bins=10):
    """Mean difference between the scores and the precision in bins of the score."""
    index = np.minimum((score * n_bins).astype(int), n_bins - 1)
    differences = [
        abs(score[index == k].mean() - is_correct[index == k].mean())
        * (index == k).mean()
        for k in np.unique(index)
    ]
    return sum(differences)
