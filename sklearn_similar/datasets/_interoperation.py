"""Tables of instances as other libraries hold boxes, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS
from .._tables.checks import check_columns, check_instances, without_crowds

# In napari, pixel centres have integer coordinates: the first pixel begins at -0.5.
_HALF_PIXEL = 0.5


def to_supervision(
    instances: pd.DataFrame,
    n_images: int | None = None,
    classes: Sequence | None = None,
) -> list[Any]:
    """Detections of the library `supervision`, for its annotators, trackers and zones.

    Parameters
    ----------
    instances : DataFrame
        Table that `localize` returns: ``image, label, x_min, y_min, x_max, y_max`` and,
        if known, ``score``. ``image`` numbers the images from 0.
    n_images : int, default=None
        Number of images. None: up to the last image with an instance.
    classes : sequence of labels, default=None
        The labels, whose positions are `class_id`, such as ``localizer.classes_``.
        None: the sorted labels in the table.

    Returns
    -------
    list of supervision.Detections
        One for each image, with `xyxy`, `confidence`, `class_id`, and the labels as
        text in ``data["class_name"]``.

    Raises
    ------
    ImportError
        If supervision is not installed.
    ValueError
        If the table is invalid, or has a label that is not in `classes` or an image
        that is not below `n_images`.

    See Also
    --------
    from_supervision : The inverse.
    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "to_supervision needs supervision, which is not installed: "
            "pip install supervision"
        ) from error
    has_score = "score" in getattr(instances, "columns", ())
    checked = check_instances(instances, name="instances", needs_score=has_score)
    numbers = _image_numbers(checked.image, n_images)
    labels = checked.label.tolist()
    known = sorted(set(labels)) if classes is None else list(classes)
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(
            f"instances has the label {unknown[0]!r}, which is not in classes; add it."
        )
    class_id = np.array([known.index(label) for label in labels], dtype=int)
    names = np.array([str(label) for label in labels], dtype=str)
    if n_images is None:
        n_images = int(numbers.max(initial=-1)) + 1
    return [
        supervision.Detections(
            xyxy=checked.boxes[rows],
            confidence=checked.score[rows] if has_score else None,
            class_id=class_id[rows],
            data={"class_name": names[rows]},
        )
        for rows in (np.flatnonzero(numbers == number) for number in range(n_images))
    ]


def from_supervision(
    detections: Sequence[Any], classes: Sequence | None = None
) -> pd.DataFrame:
    """Table of instances from detections of the library `supervision`.

    Parameters
    ----------
    detections : list of supervision.Detections
        One for each image, such as those of a tracker for the frames of a video.
    classes : sequence of labels, default=None
        The label of each `class_id`. None: the names in ``data["class_name"]``, as
        text, or without names, the `class_id`.

    Returns
    -------
    DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, with ``score`` and ``track``
        where all detections have a `confidence` and a `tracker_id`.

    Raises
    ------
    ValueError
        If `detections` is not a list, or detections have neither a name nor a class.

    See Also
    --------
    to_supervision : The inverse.
    """
    if hasattr(detections, "xyxy"):
        raise ValueError("detections are those of one image; pass [detections].")
    tables = [
        _table_of_image(of_image, image, classes)
        for image, of_image in enumerate(detections)
    ]
    filled = [table for table in tables if len(table)]
    columns = ["image", "label", *BOX_COLUMNS]
    if not filled:
        return pd.DataFrame(columns=columns)
    for name in ("score", "track"):
        if all(name in table for table in filled):
            columns.append(name)
    return pd.concat([table.reindex(columns=columns) for table in filled]).reset_index(
        drop=True
    )


def _table_of_image(
    detections: Any, image: int, classes: Sequence | None
) -> pd.DataFrame:
    names = detections.data.get("class_name")
    if classes is not None and detections.class_id is not None:
        labels: Any = [classes[number] for number in detections.class_id]
    elif names is not None:
        labels = [str(name) for name in names]
    elif detections.class_id is not None:
        labels = detections.class_id
    elif len(detections) == 0:
        labels = []
    else:
        raise ValueError(
            f"The detections of image {image} have no class_id and no class_name; set "
            "one of them."
        )
    table = pd.DataFrame(detections.xyxy, columns=list(BOX_COLUMNS))
    table = table.assign(image=image, label=labels)
    if detections.confidence is not None:
        table["score"] = detections.confidence
    if detections.tracker_id is not None:
        table["track"] = detections.tracker_id
    return table


def to_napari(instances: pd.DataFrame, *, points: bool = False) -> tuple:
    """Data of a layer of napari: rectangles that can be corrected, or points.

    Parameters
    ----------
    instances : DataFrame
        Table that `localize` returns: ``image, label, x_min, y_min, x_max, y_max`` and,
        if known, ``score``. ``image`` numbers the images of a stack from 0.
    points : bool, default=False
        Whether the layer has the centres of the boxes in place of rectangles.

    Returns
    -------
    (data, attributes, type) : (ndarray, dict, str)
        What ``napari.layers.Layer.create`` takes, and plugins return. Coordinates are
        (image, y, x), or (y, x) if all instances are in image 0. Labels and scores are
        features of the layer.

    Raises
    ------
    ValueError
        If the table is invalid, or images are not numbered.

    See Also
    --------
    from_napari : The inverse.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_similar.datasets import to_napari
    >>> boxes = ["x_min", "y_min", "x_max", "y_max"]
    >>> table = pd.DataFrame([[0, "a", 1, 2, 5, 4]], columns=["image", "label", *boxes])
    >>> data, attributes, kind = to_napari(table)
    >>> data[0].tolist()
    [[1.5, 0.5], [1.5, 4.5], [3.5, 4.5], [3.5, 0.5]]
    >>> kind
    'shapes'
    """
    checked = check_instances(instances, name="instances")
    image = _image_numbers(checked.image, None).astype(np.float64)
    x_min, y_min, x_max, y_max = checked.boxes.T - _HALF_PIXEL
    if points:
        corners = [((y_min + y_max) / 2, (x_min + x_max) / 2)]
    else:
        corners = [(y_min, x_min), (y_min, x_max), (y_max, x_max), (y_max, x_min)]
    data = np.array([np.stack([image, y, x], axis=1) for y, x in corners])
    data = np.moveaxis(data, 0, 1)
    if not image.any():
        data = data[..., 1:]
    kept = ["label", *(["score"] if "score" in instances.columns else [])]
    attributes: dict[str, Any] = {
        "name": "instances",
        "features": without_crowds(instances, name="instances")[kept].reset_index(
            drop=True
        ),
        "face_color": "transparent",
    }
    if points:
        return data[:, 0], {**attributes, "border_color": "yellow"}, "points"
    attributes |= {"shape_type": "rectangle", "edge_color": "yellow"}
    return data, {**attributes, "edge_width": 1}, "shapes"


def from_napari(layer: Any, image_shape: tuple[int, int] | None = None) -> pd.DataFrame:
    """Table of instances from a shapes layer of napari, such as a corrected one.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Shapes of any kind, whose bounding boxes are taken, with coordinates (y, x) or
        (image, y, x), and labels in the feature ``label``.
    image_shape : tuple of two int, default=None
        Height and width of the images, ``image.shape[:2]``, to which boxes are clipped:
        shapes may reach beyond the border of an image, which `fit` refuses. Shapes that
        are clipped to less than a pixel in height or width count as outside. None: not
        clipped.

    Returns
    -------
    DataFrame
        ``image, label, x_min, y_min, x_max, y_max``, as `fit` takes it.

    Raises
    ------
    ValueError
        If a shape has no label or area, lies on several images or outside of them, or
        has other coordinates, or if `image_shape` is not a height and a width.

    See Also
    --------
    to_napari : The inverse.
    """
    if image_shape is not None:
        _check_image_shape(image_shape)
    features = layer.features
    check_columns(features.columns, ["label"], name="features of the layer")
    rows = []
    for number, (shape, label) in enumerate(
        zip(layer.data, features["label"], strict=True)
    ):
        corners = np.asarray(shape, dtype=np.float64)
        if corners.shape[1] not in (2, 3):
            raise ValueError(
                f"Shape {number} has {corners.shape[1]} coordinates; pass a layer of "
                "images, or of a stack of images."
            )
        if pd.isna(label):
            raise ValueError(f"Shape {number} has no label; set its feature 'label'.")
        image = np.unique(np.rint(corners[:, 0])) if corners.shape[1] == 3 else [0]
        if len(image) > 1:
            raise ValueError(f"Shape {number} lies on several images; split it.")
        low = corners[:, -2:].min(axis=0) + _HALF_PIXEL
        high = corners[:, -2:].max(axis=0) + _HALF_PIXEL
        if (low >= high).any():
            raise ValueError(
                f"Shape {number} has no area: its bounding box has height "
                f"{high[0] - low[0]:g} and width {high[1] - low[1]:g}; delete it."
            )
        if image_shape is not None:
            least = np.minimum(high - low, 1)
            low, high = np.clip([low, high], 0, image_shape)
            if (high - low < least).any():
                height, width = image_shape
                raise ValueError(
                    f"Shape {number} lies outside the image of {height} x {width} "
                    "pixels (height x width); delete it."
                )
        rows.append([int(image[0]), label, low[1], low[0], high[1], high[0]])
    return pd.DataFrame(rows, columns=["image", "label", *BOX_COLUMNS])


def _check_image_shape(image_shape: Any) -> None:
    lengths = np.asarray(image_shape)
    is_size = lengths.shape == (2,) and lengths.dtype.kind in "iu"
    if not is_size or (lengths < 1).any():
        raise ValueError(
            f"image_shape is {image_shape!r}; pass the height and width in pixels, "
            "such as image.shape[:2]."
        )


def _image_numbers(image: pd.Series, n_images: int | None) -> np.ndarray:
    """The numbers of the images; ValueError for names, and for numbers out of range."""
    values = image.tolist()
    limit = np.inf if n_images is None else n_images
    for value in values:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or not 0 <= value < limit:
            below = "" if n_images is None else f" and below n_images={n_images}"
            raise ValueError(
                f"instances has image={value!r}; number the images from 0{below}."
            )
    return np.array(values, dtype=np.intp)
