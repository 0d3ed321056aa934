"""Photographs with the boxes of their objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._images.photographs import Photographs, read_photographs
from .._images.scaling import Scaling
from .._images.transparency import OPAQUE, Fill
from .._tables.checks import check_instances, image_numbers

# A box with a larger share of its area in a crowd may show objects of the crowd.
MAX_CROWD_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class AnnotatedPhotographs:
    """Photographs and the boxes of their objects.

    Attributes
    ----------
    images : Photographs
        Rasters, read when they are indexed.
    boxes : list of ndarray of shape (n_objects, 4)
    labels : list of ndarray of int of shape (n_objects,)
        Index of the class of each object.
    crowds : list of ndarray of shape (n_crowds, 4)
        Regions of many objects, which are neither objects nor background.
    is_complete : bool
        Whether all objects have boxes.
    """

    images: Photographs
    boxes: list[np.ndarray]
    labels: list[np.ndarray]
    crowds: list[np.ndarray]
    is_complete: bool = True

    def __len__(self) -> int:
        return len(self.images)


def read_annotated(
    X: Any,
    table: pd.DataFrame,
    background_images: Any,
    n_channels: int | None,
    is_complete: bool,
    fill: Fill = OPAQUE,
    scaling: Scaling | None = None,
) -> tuple[AnnotatedPhotographs, np.ndarray]:
    """Check photographs and the table of their objects.

    Parameters
    ----------
    X : array, list of images, path or list of paths
    table : DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, and ``iscrowd`` if known.
    background_images : list of images or None
        Photographs without objects.
    n_channels : int or None
        Channels of the rasters; None: 1 if all photographs are grey, else 3.
    is_complete : bool
        Whether all objects have boxes.
    fill : Fill
        What stands behind transparent pixels.
    scaling : Scaling, optional
        That of the user; None: learnt.

    Returns
    -------
    photographs : AnnotatedPhotographs
    classes : ndarray
        The labels, sorted.

    Raises
    ------
    ValueError
        If X or the table cannot be used; the message names the image or the row.
    """
    photographs = read_photographs(X, n_channels, background_images, fill, scaling)
    n_given = len(photographs.pixels)
    instances = check_instances(table, name="y", with_crowds=True)
    is_object = ~instances.is_crowd
    if not is_object.any():
        raise ValueError("y has no boxes; pass at least one object of each label.")
    image = image_numbers(instances, photographs.sizes[:n_given], name="y")
    classes, label = np.unique(
        instances.label.to_numpy()[is_object], return_inverse=True
    )
    is_empty = (instances.boxes[:, 2:] <= instances.boxes[:, :2]).any(axis=1)
    if is_empty.any():
        raise ValueError(
            f"Row {instances.rows[is_empty.argmax()]} of y has a box without area; "
            "drop it."
        )
    objects, image_of_object = instances.boxes[is_object], image[is_object]
    crowds, image_of_crowd = instances.boxes[~is_object], image[~is_object]
    numbers = range(len(photographs))
    annotated = AnnotatedPhotographs(
        images=photographs,
        boxes=[objects[image_of_object == number] for number in numbers],
        labels=[label[image_of_object == number] for number in numbers],
        crowds=[crowds[image_of_crowd == number] for number in numbers],
        is_complete=is_complete,
    )
    return annotated, classes
