"""Metrics of object detection, and of the localisation and faithfulness of heatmaps.

Instances are rows of a DataFrame with the columns ``image, label, score, heat, x_min,
y_min, x_max, y_max``; ground truth needs no score and no heat, and other columns are
ignored. Boxes are in pixels and half-open. Each metric names its source.
"""

from ._average_drop import average_drop, average_increase
from ._average_precision import average_precision, mean_average_precision
from ._box_accuracy import BoxAccuracyCurve, box_accuracy_curve, max_box_accuracy
from ._box_iou import box_iou
from ._count_error import count_error
from ._detection import (
    DetectionScores,
    detection_f1_score,
    detection_precision_score,
    detection_recall_score,
    detection_scores,
)
from ._insertion_deletion import (
    deletion_auc,
    deletion_curve,
    insertion_auc,
    insertion_curve,
)
from ._perturbation import PerturbationCurve
from ._pixels import pixel_average_precision, pointing_game
from ._scorer import LocalizationScorer

__all__ = [
    "BoxAccuracyCurve",
    "DetectionScores",
    "LocalizationScorer",
    "PerturbationCurve",
    "average_drop",
    "average_increase",
    "average_precision",
    "box_accuracy_curve",
    "box_iou",
    "count_error",
    "deletion_auc",
    "deletion_curve",
    "detection_f1_score",
    "detection_precision_score",
    "detection_recall_score",
    "detection_scores",
    "insertion_auc",
    "insertion_curve",
    "max_box_accuracy",
    "mean_average_precision",
    "pixel_average_precision",
    "pointing_game",
]
