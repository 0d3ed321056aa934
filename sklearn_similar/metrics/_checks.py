"""Validation of what metrics get: tables of instances, heatmaps, true boxes, masks."""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from ._boxes import as_float, box_coordinates, missing_message, rasterize


def check_instances(
    frame: Any,
    *,
    name: str,
    image_shapes: Sequence[tuple[int, int]]
    | Mapping[Any, tuple[int, int]]
    | None = None,
    needs_score: bool = False,
    needs_label: bool = True,
) -> None:
    """Check a table of instances.

    Parameters
    ----------
    frame : DataFrame
        Columns of `INSTANCE_COLUMNS`, one row for each instance.
    name : str
        Name of the table in messages.
    image_shapes : sequence or mapping of (height, width), optional
        The shape of every image in pixels, looked up by the column ``image``. Boxes
        must then lie inside their image.
    needs_score, needs_label : bool
        Whether these columns must be there.

    Raises
    ------
    ValueError
        For unknown, repeated or missing columns, missing values, negative extents, and
        boxes outside their image. The message names the row.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(
            f"{name} is a {type(frame).__name__}; pass a DataFrame of instances with "
            f"the columns {', '.join(INSTANCE_COLUMNS)}."
        )
    needed = ["image", *["label"] * needs_label, *["score"] * needs_score, *BOX_COLUMNS]
    _check_columns(frame.columns, needed, name=name)
    coordinates = box_coordinates(frame, name=name)
    for column in {"image", "label"} & set(frame.columns):
        missing = frame[column].isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"Row {frame.index[missing.argmax()]} of {name} has no {column}; fill "
                "it in or drop the row."
            )
    if needs_score:
        score = as_float(frame["score"], name=name)
        bad = ~np.isfinite(score)
        if bad.any():
            raise ValueError(
                f"Row {frame.index[bad.argmax()]} of {name} has score="
                f"{score[bad.argmax()]}; give a finite score or drop the row."
            )
    if image_shapes is not None:
        _check_inside(frame, coordinates, image_shapes, name=name)


def _check_columns(
    columns: Sequence[Hashable] | pd.Index, needed: list[str], *, name: str
) -> None:
    """Raise for unknown, repeated and missing column names."""
    for column in columns:
        if column not in INSTANCE_COLUMNS:
            close = difflib.get_close_matches(
                str(column), INSTANCE_COLUMNS, n=1, cutoff=0.7
            )
            hint = f"rename it to {close[0]!r}" if close else "drop it"
            raise ValueError(
                f"{name} has the unknown column {column!r}; {hint}: instances have the "
                f"columns {', '.join(INSTANCE_COLUMNS)}."
            )
    if len(set(columns)) < len(columns):
        raise ValueError(f"{name} has a column twice; keep one of {list(columns)}.")
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(missing_message(name, missing, needed))


def _check_inside(
    frame: pd.DataFrame,
    coordinates: np.ndarray,
    image_shapes: Sequence[tuple[int, int]] | Mapping[Any, tuple[int, int]],
    *,
    name: str,
) -> None:
    """Raise for the first row whose image is unknown or too small for its box."""
    if not isinstance(image_shapes, Mapping):
        image_shapes = dict(enumerate(image_shapes))
    for row, image, box in zip(frame.index, frame["image"], coordinates, strict=True):
        shape = image_shapes.get(image)
        if shape is None:
            raise ValueError(
                f"Row {row} of {name} has image={image!s}, which is none of the "
                f"{len(image_shapes)} images; number the images from 0 in the order in "
                "which they are passed."
            )
        height, width = shape[:2]
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            raise ValueError(
                f"Row {row} of {name} has the box ({', '.join(f'{v:g}' for v in box)}) "
                f"outside its image of height {height} and width {width}; clip it to "
                "the image."
            )


def as_instances(
    boxes: Any,
    *,
    name: str,
    one_per_image: bool = False,
    **checks: Any,
) -> pd.DataFrame:
    """Return a checked table of instances, made from a plain array where need be.

    The rows of an array are the boxes of one image and one label, by descending score;
    with ``one_per_image``, each is the only box of the image of its number.
    """
    if not isinstance(boxes, pd.DataFrame):
        coordinates = box_coordinates(boxes, name=name)
        number = np.arange(len(coordinates))
        boxes = pd.DataFrame(coordinates, columns=BOX_COLUMNS)
        boxes["image"] = number if one_per_image else 0
        boxes["label"] = 0
        boxes["score"] = -number.astype(np.float64)
    check_instances(boxes, name=name, **checks)
    return boxes


def check_heatmaps(heatmaps: Any) -> list[np.ndarray]:
    """Return the heatmaps as float64 arrays of shape (h, w)."""
    if isinstance(heatmaps, pd.DataFrame):
        raise ValueError(
            "heatmaps is a DataFrame; reshape its rows to an array of shape (n, h, w)."
        )
    maps = [np.asarray(heatmap, dtype=np.float64) for heatmap in heatmaps]
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
    boxes: Any, maps: list[np.ndarray], *, labels: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image number and the coordinates of the boxes that count."""
    is_table = isinstance(boxes, pd.DataFrame)
    if not is_table and len(boxes) != len(maps):
        raise ValueError(
            f"boxes has {len(boxes)} rows for {len(maps)} heatmaps; pass one box for "
            "each heatmap, or a DataFrame with the column image."
        )
    frame = as_instances(
        boxes,
        name="boxes",
        one_per_image=True,
        image_shapes=[heatmap.shape for heatmap in maps],
        needs_label=is_table and labels is not None,
    )
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (len(maps),):
            raise ValueError(
                f"labels has shape {labels.shape} for {len(maps)} heatmaps; pass one "
                "label for each."
            )
        if is_table:
            wanted = labels[frame["image"].to_numpy(dtype=np.intp)]
            frame = frame[np.asarray(frame["label"]) == wanted]
    if frame.empty:
        raise ValueError(
            "boxes has no box of any image and label asked for; pass at least one."
        )
    image = frame["image"].to_numpy(dtype=np.intp)
    return image, box_coordinates(frame, name="boxes")


def true_masks(masks: Any, maps: list[np.ndarray]) -> list[np.ndarray]:
    """Return a boolean mask for each map, drawn from boxes where need be."""
    if isinstance(masks, pd.DataFrame) or (len(masks) and np.ndim(masks[0]) == 1):
        image, coordinates = true_boxes(masks, maps)
        return [
            rasterize(coordinates[image == number], heatmap.shape)
            for number, heatmap in enumerate(maps)
        ]
    if len(masks) != len(maps):
        raise ValueError(
            f"masks has {len(masks)} entries for {len(maps)} heatmaps; pass one mask "
            "for each."
        )
    checked = []
    for number, (mask, heatmap) in enumerate(zip(masks, maps, strict=True)):
        mask = np.asarray(mask)
        if mask.shape != heatmap.shape:
            raise ValueError(
                f"Mask {number} has shape {mask.shape} and its heatmap "
                f"{heatmap.shape}; resize one of them."
            )
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Mask {number} has values other than 0 and 1; pass a boolean mask."
            )
        checked.append(mask.astype(bool))
    return checked
