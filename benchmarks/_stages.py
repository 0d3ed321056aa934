"""Where `InstanceLocalizer` loses instances, and how true its scores are."""

import numpy as np
import torch

from sklearn_similar._images.rasters import Raster
from sklearn_similar._tables.boxes import BOX_COLUMNS, paired_iou

IOU = 0.5


def boxes_of(table, image):
    """Boxes and labels of one image in a table of instances."""
    own = table[table["image"] == image]
    return own[list(BOX_COLUMNS)].to_numpy(float), own["label"].to_numpy()


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


def _search(localizer, image):
    """All stages of the search of an image of the trained type, in 8 bits."""
    pixels = torch.from_numpy(np.atleast_3d(image).astype(np.float32) / 255)
    settings = localizer._search_settings(
        polarity=localizer.polarity,
        scales=localizer.scales,
        heat_threshold=localizer.heat_threshold,
        score_threshold=localizer.score_threshold,
        nms_threshold=localizer.nms_threshold,
    )
    raster = Raster.from_tensor(pixels.movedim(-1, 0))
    return localizer._recognizer().detect([raster], settings)


def _are_right(localizer, detections, boxes, labels):
    """Number of the true instances that some detection has right."""
    found = detections.proposals.boxes.astype(float)
    is_near = paired_iou(found[:, np.newaxis], boxes) >= IOU
    is_same = localizer.classes_[detections.label][:, np.newaxis] == labels
    return (is_near & is_same).any(axis=0).sum()


def _is_right(found, image, boxes, labels):
    """Whether each instance found in an image is each of the true ones."""
    own_boxes, own_labels = boxes_of(found, image)
    is_near = paired_iou(own_boxes[:, np.newaxis], boxes) >= IOU
    return is_near & (own_labels[:, np.newaxis] == labels)


def scored_outcomes(truth, found):
    """Scores of all instances found, by images, and 1 for each right one."""
    is_right = []
    for image in found["image"].unique():
        right = _is_right(found, image, *boxes_of(truth, image)).any(axis=1)
        is_right.append(right.astype(float))
    return found["score"].to_numpy(), np.concatenate([np.empty(0), *is_right])


def expected_calibration_error(score, is_right, n_bins=10):
    """Mean gap between scores and the share of right ones among such."""
    number = np.minimum((score * n_bins).astype(int), n_bins - 1)
    gaps = [
        abs(score[number == k].mean() - is_right[number == k].mean())
        * (number == k).mean()
        for k in np.unique(number)
    ]
    return sum(gaps)
