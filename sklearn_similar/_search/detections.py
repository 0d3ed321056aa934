"""Detections: recognised region proposals, and their table."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .proposals import Proposals
from .suppression import (
    contains_more_confident,
    mean_boxes,
    nms,
    nms_rank,
    tightest,
)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Recognised region proposals.

    Attributes
    ----------
    proposals : Proposals
    label : ndarray of int of shape (n,)
        Index of the most probable class.
    probability, objectness : ndarray of shape (n,)
        Probability of that class, and of any class.
    score : ndarray of shape (n,)
        Calibrated probability that the label is right; -inf where background is more
        probable.
    heat : ndarray of shape (n,)
        Maximum heat in the box; NaN where there is no heatmap.
    """

    proposals: Proposals
    label: np.ndarray
    probability: np.ndarray
    objectness: np.ndarray
    score: np.ndarray
    heat: np.ndarray

    @classmethod
    def concatenate(cls, parts: Iterable["Detections"]) -> "Detections":
        """The detections of all parts, in order."""
        parts = list(parts)
        arrays = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "proposals"
        }
        proposals = Proposals.concatenate(part.proposals for part in parts)
        return cls(proposals=proposals, **arrays)

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: np.ndarray) -> "Detections":
        """The detections at some rows, or where a mask is true."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name != "proposals"
        }
        return Detections(proposals=self.proposals.select(rows), **arrays)


def suppress(
    detections: Detections, iou_threshold: float, is_refined: bool
) -> Detections:
    """Detections of an image without duplicates, in descending order of score.

    Boxes are those of the duplicates as well: their mean where they were refined, and
    else the tightest.

    Parameters
    ----------
    detections : Detections
        Of one image, in all of its views.
    iou_threshold : float
        Maximum intersection over union of two detections.
    is_refined : bool
        Whether boxes come from a box regression.
    """
    if is_refined:
        # A part of an object was refined to the whole: a box inside is another object.
        boxes = detections.proposals.boxes
        doubtful = contains_more_confident(boxes, detections.score)
        detections = detections.select(~doubtful)
    proposals, label, score = (
        detections.proposals,
        detections.label,
        detections.score,
    )
    rank = nms_rank(score, proposals.boxes, proposals.level)
    rows = nms(proposals.boxes, rank, iou_threshold)
    if is_refined:
        weight = score / proposals.level**2
        boxes = mean_boxes(proposals.boxes, label, weight, rows)
        fitted = Proposals.from_boxes(boxes, proposals.source[rows])
    else:
        fitted = proposals.select(
            tightest(proposals.boxes, proposals.level, label, rows)
        )
    # Boxes that have changed may overlap more.
    distinct = nms(fitted.boxes, rank[rows], iou_threshold)
    best = distinct[np.argsort(-score[rows[distinct]], kind="stable")]
    kept = detections.select(rows[best])
    return replace(kept, proposals=fitted.select(best))


def detections_table(detections: list[Detections], classes: np.ndarray) -> pd.DataFrame:
    """The table of the detections in several images."""
    counts = [len(of_image) for of_image in detections]
    label = _joined([of_image.label for of_image in detections], int)
    boxes = np.concatenate(
        [np.empty((0, 4)), *(of_image.proposals.boxes for of_image in detections)]
    ).astype(np.int64)
    columns = {
        "image": np.repeat(np.arange(len(detections)), counts),
        "label": classes[label],
        "score": _joined([of_image.score for of_image in detections], float),
        "heat": _joined([of_image.heat for of_image in detections], float),
        **dict(zip(BOX_COLUMNS, boxes.T, strict=True)),
    }
    return pd.DataFrame(columns, columns=list(INSTANCE_COLUMNS))


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
