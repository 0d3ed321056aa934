"""Instances of an image: recognised proposals, without duplicates, and as a table."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .suppression import suppress_duplicates


class Instances(NamedTuple):
    """Recognised region proposals of an image.

    `objectness` is the probability that a proposal shows an instance of any class.
    """

    proposals: np.ndarray
    label: np.ndarray
    score: np.ndarray
    heat: np.ndarray
    objectness: np.ndarray


def select_instances(found: Instances, keep: np.ndarray) -> Instances:
    """Some of the instances."""
    return Instances(*(values[keep] for values in found))


def join_instances(parts: Iterable[Instances]) -> Instances:
    """The instances of all parts."""
    return Instances(*map(np.concatenate, zip(*parts, strict=True)))


def suppress(
    polarities: list[Instances], iou_threshold: float, is_refined: bool = False
) -> Instances:
    """Instances of an image, from those of each polarity, without duplicates.

    `is_refined` tells whether boxes come from a box regression.
    """
    found = join_instances(polarities)
    rows, boxes, downsampling = suppress_duplicates(
        found.proposals["box"],
        found.proposals["downsampling"],
        found.label,
        found.score,
        nms_threshold=iou_threshold,
        is_refined=is_refined,
    )
    detections = select_instances(found, rows)
    proposals = detections.proposals
    proposals["box"], proposals["downsampling"] = boxes, downsampling
    return detections


def instances_table(instances: list[Instances], classes: np.ndarray) -> pd.DataFrame:
    """The table of instances of several images."""
    counts = [len(image.label) for image in instances]
    boxes = np.concatenate(
        [np.empty((0, 4)), *(image.proposals["box"] for image in instances)]
    ).astype(np.int64)
    label = np.concatenate([np.empty(0, int), *(image.label for image in instances)])
    columns = {
        "image": np.repeat(np.arange(len(instances)), counts),
        "label": classes[label],
        "score": np.concatenate([np.empty(0), *(image.score for image in instances)]),
        "heat": np.concatenate([np.empty(0), *(image.heat for image in instances)]),
        **dict(zip(BOX_COLUMNS, boxes.T, strict=True)),
    }
    return pd.DataFrame(columns, columns=list(INSTANCE_COLUMNS))
