"""Heatmaps, and the boxes or masks that they should cover."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._tables.boxes import rasterize
from .._tables.checks import Instances, as_instances
from .._tables.values import as_labels, each_array, shared_codes


def check_heatmaps(heatmaps: Any) -> list[np.ndarray]:
    """Return the heatmaps as float64 arrays of shape (h, w)."""
    if isinstance(heatmaps, pd.DataFrame):
        raise ValueError(
            "heatmaps is a DataFrame; reshape its rows to an array of shape (n, h, w)."
        )
    arrays = each_array(heatmaps, "heatmaps", "Heatmap")
    maps = [heat.astype(np.float64) for heat in arrays]
    if not maps:
        raise ValueError("heatmaps is empty; pass at least one heatmap.")
    for number, heatmap in enumerate(maps):
        if heatmap.ndim != 2 or not heatmap.size:
            raise ValueError(
                f"Heatmap {number} has shape {heatmap.shape}; pass arrays of shape "
                "(height, width)."
            )
        if not np.isfinite(heatmap).all():
            raise ValueError(
                f"Heatmap {number} contains NaN or infinity; drop that image or "
                "replace the values."
            )
    return maps


def true_boxes(
    boxes: Any, maps: list[np.ndarray], *, labels: Any = None, name: str = "boxes"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image number and the coordinates of the boxes that count."""
    has_labels = isinstance(boxes, pd.DataFrame) and labels is not None
    instances = as_instances(
        boxes, name=name, one_per_image=True, needs_label=has_labels
    )
    if not isinstance(boxes, pd.DataFrame) and len(instances.boxes) != len(maps):
        raise ValueError(
            f"{name} has {len(instances.boxes)} rows for {len(maps)} heatmaps; pass "
            "one box for each heatmap, or a DataFrame with the column image."
        )
    image = image_numbers(instances, [heat.shape for heat in maps], name=name)
    counts = np.ones(len(image), dtype=bool)
    if labels is not None:
        wanted = as_labels(labels, "labels", n=len(maps))
        if has_labels:
            label, wanted_label, _ = shared_codes(
                instances.label, wanted, "label", names=(name, "labels")
            )
            counts = label == wanted_label[image]
    if not counts.any():
        raise ValueError(
            f"{name} has no box of any image and label asked for; pass at least one."
        )
    return image[counts], instances.boxes[counts]


def image_numbers(
    instances: Instances, shapes: Sequence[tuple[int, ...]], *, name: str
) -> np.ndarray:
    """The number of each box's image; raise for the first that is not inside it."""
    numbers = {number: number for number in range(len(shapes))}
    image_of_box = []
    for row, image, box in zip(
        instances.rows, instances.image.tolist(), instances.boxes, strict=True
    ):
        # True is equal to 1.
        number = None if isinstance(image, bool) else numbers.get(image)
        if number is None:
            raise ValueError(
                f"Row {row} of {name} has image={image!s}, which is none of the "
                f"{len(shapes)} images; number the images from 0 in the order in which "
                "they are passed."
            )
        height, width = shapes[number][:2]
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            raise ValueError(
                f"Row {row} of {name} has the box ({', '.join(f'{v:g}' for v in box)}) "
                f"outside its image of height {height} and width {width}; clip it to "
                "the image."
            )
        image_of_box.append(number)
    return np.array(image_of_box, dtype=np.intp)


def true_masks(masks: Any, maps: list[np.ndarray]) -> list[np.ndarray]:
    """Return a boolean mask for each map, drawn from boxes where need be."""
    is_table = isinstance(masks, pd.DataFrame)
    arrays = [] if is_table else each_array(masks, "masks", "Mask")
    if is_table or all(mask.ndim == 1 for mask in arrays):
        image, coordinates = true_boxes(masks, maps, name="masks")
        return [
            rasterize(coordinates[image == number], heatmap.shape)
            for number, heatmap in enumerate(maps)
        ]
    if len(arrays) != len(maps):
        raise ValueError(
            f"masks has {len(arrays)} entries for {len(maps)} heatmaps; pass one mask "
            "for each."
        )
    for number, (mask, heatmap) in enumerate(zip(arrays, maps, strict=True)):
        if mask.shape != heatmap.shape:
            raise ValueError(
                f"Mask {number} has shape {mask.shape} and its heatmap "
                f"{heatmap.shape}; resize one of them."
            )
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Mask {number} has values other than 0 and 1; pass a boolean mask."
            )
    return [mask.astype(bool) for mask in arrays]
