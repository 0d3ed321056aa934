"""Detections: recognised region proposals, and their table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._tables.values import infer_type
from .proposals import Proposals


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
        Maximum heat in the box; NaN without a heatmap.
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


def detections_table(detections: list[Detections], classes: np.ndarray) -> pd.DataFrame:
    """The table of the detections in several images."""
    counts = [len(of_image) for of_image in detections]
    label = _joined([of_image.label for of_image in detections], int)
    boxes = np.concatenate(
        [np.empty((0, 4)), *(of_image.proposals.boxes for of_image in detections)]
    ).astype(np.int64)
    # Tables without rows have the type of the labels, too.
    labels = infer_type(pd.Series(classes))
    columns = {
        "image": np.repeat(np.arange(len(detections)), counts),
        "label": labels.array[label],
        "score": _joined([of_image.score for of_image in detections], float),
        "heat": _joined([of_image.heat for of_image in detections], float),
        **dict(zip(BOX_COLUMNS, boxes.T, strict=True)),
    }
    return pd.DataFrame(columns, columns=list(INSTANCE_COLUMNS))


def with_paths(table: pd.DataFrame, paths: Sequence[Path]) -> pd.DataFrame:
    """A table with the path of each row's image as its last column."""
    names = np.array([str(path) for path in paths], dtype=object)
    return table.assign(path=names[table["image"].to_numpy()])


def best_labels(table: pd.DataFrame, n_images: int, background: Any) -> list:
    """Label of the first detection in each image of a table, or that of background."""
    best = table.drop_duplicates("image").set_index("image")["label"]
    return [best.get(number, background) for number in range(n_images)]


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
