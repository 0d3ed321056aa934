"""Objects lost at each stage of `InstanceLocalizer`, and calibration of scores."""

import numpy as np

from sklearn_similar._search.crops import crop_batches, to_unit_tensor
from sklearn_similar._search.localization import NEGATIVES
from sklearn_similar._search.proposals import propose
from sklearn_similar._search.recognizer import refine
from sklearn_similar._tables.boxes import BOX_COLUMNS, paired_iou

IOU = 0.5


def boxes_of(table, image):
    """Boxes and labels of an image in a table."""
    rows = table[table["image"] == image]
    return rows[list(BOX_COLUMNS)].to_numpy(float), rows["label"].to_numpy()


def stages(localizer, images, truth, found):
    """Shares of the true instances that are left after each stage of `localize`.

    An instance is proposed if a region's box, moved by box regression, has an IoU of
    0.5 with its own; recognised if one of these regions gets its label, confident if
    with a score of at least `score_threshold`, and kept if it is among the instances
    found.
    """
    counts = dict.fromkeys(("proposed", "recognised", "confident", "kept"), 0)
    for index, image in enumerate(images):
        boxes, labels = boxes_of(truth, index)
        regions, region_label, score = _regions(localizer, image)
        is_near = paired_iou(regions[:, np.newaxis], boxes) >= IOU
        is_right = is_near & (region_label[:, np.newaxis] == labels)
        is_confident = (score >= localizer.score_threshold)[:, np.newaxis]
        counts["proposed"] += is_near.any(axis=0).sum()
        counts["recognised"] += is_right.any(axis=0).sum()
        counts["confident"] += (is_right & is_confident).any(axis=0).sum()
        counts["kept"] += _is_right(found, index, boxes, labels).any(axis=0).sum()
    return {stage: count / len(truth) for stage, count in counts.items()}


def _regions(localizer, image):
    """Boxes, labels (None: background) and scores of all refined region proposals."""
    recognizer = localizer._recognizer()
    specification = recognizer.image_format.specification
    pixels = specification.to_unit(to_unit_tensor(image[np.newaxis])[0])
    negatives = NEGATIVES[localizer.polarity]
    proposed = propose(
        pixels,
        negatives,
        localizer.proposals,
        localizer.n_thresholds,
        specification.fills_frame,
    )
    boxes, labels, scores = [np.empty((0, 4))], [np.empty(0, object)], [np.empty(0)]
    for is_negative, proposals in zip(negatives, proposed, strict=True):
        view = 1 - pixels if is_negative else pixels
        proposals = refine(view, proposals, recognizer)
        boxes.append(proposals["box"].astype(float))
        for crops in crop_batches(view, proposals["box"], specification):
            proba = recognizer.predict_proba(crops)
            own = proba[:, recognizer.columns]
            label = localizer.classes_[own.argmax(axis=1)].astype(object)
            label[proba.max(axis=1) > own.max(axis=1)] = None
            labels.append(label)
            scores.append(recognizer.calibration(own.max(axis=1), own.sum(axis=1)))
    return tuple(map(np.concatenate, (boxes, labels, scores)))


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
