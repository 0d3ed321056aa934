"""What a report says: collected from an estimator, some images at a time."""

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .._images.images import n_channels, to_tensor
from .._images.messages import count
from .._images.reading import read_images
from .._localizer import InstanceLocalizer
from .._nested import ranges_are_checked
from ..display._drawing import each_image
from ..display._instances import check_table
from ..metrics._checks import check_instances
from ..metrics._detection import detection_scores
from ..metrics._matching import find_pairs, matched_rows
from ..metrics._values import as_labels, has_length, shared_codes, type_text
from ._pictures import encode

RIGHT, FALSE, MISSED = "right", "false", "missed"
_IOU_THRESHOLD = 0.5
# Pixels of images that are looked at together.
_PIXELS_AT_ONCE = 2**22
_ROWS_AT_ONCE = 256
_MAX_FILTERS = 64


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box in a picture."""

    text: str
    status: str | None
    box: tuple[float, float, float, float]


@dataclass(kw_only=True)
class Picture:
    """An image in a report."""

    name: str
    size: tuple[int, int]
    source: str
    heat: str | None
    caption: str = ""
    status: str | None = None
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts, and the names of their rows (true) and columns (predicted)."""

    true: list[str]
    predicted: list[str]
    counts: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Importance:
    """A filter, and how much worse the classifier gets without it."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a report says.

    Attributes
    ----------
    estimator : str
        As it prints itself.
    facts : dict of str to str
    pictures : list of Picture
    columns : list of str
        Those of the table. The first is the number of the image.
    rows : list of list
        Numbers, texts, and None for what is not known.
    confusion : Confusion or None
    importances : list of Importance
    n_filters : int
        How many filters there are; the most important ones are listed.
    """

    estimator: str
    facts: dict[str, str]
    pictures: list[Picture]
    columns: list[str]
    rows: list[list]
    confusion: Confusion | None
    importances: list[Importance]
    n_filters: int


def report_contents(
    estimator: Any,
    images: Any,
    y_true: Any,
    image_names: Sequence[str] | None,
    instances: pd.DataFrame | None = None,
) -> Contents:
    """All that a report says; `instances` are those of a localizer, if known."""
    if not hasattr(estimator, "localize") and not hasattr(estimator, "predict"):
        raise ValueError(
            f"{type(estimator).__name__} has neither localize nor predict; pass a "
            "fitted InstanceLocalizer or a classifier."
        )
    if not has_length(images) or isinstance(images, str | bytes | dict):
        raise ValueError(f"images is {type_text(images)}; pass a list of images.")
    if len(images) == 0:
        raise ValueError("images is empty; pass at least one.")
    names = _check_names(image_names, len(images))
    if hasattr(estimator, "localize"):
        return _localizer_contents(estimator, images, y_true, names, instances)
    return _classifier_contents(estimator, images, y_true, names)


def _check_names(names, n_images: int) -> list[str]:
    if names is None:
        return [str(number) for number in range(n_images)]
    if isinstance(names, str) or not has_length(names) or len(names) != n_images:
        found = (
            count(len(names), "name")
            if has_length(names) and not isinstance(names, str)
            else type_text(names)
        )
        raise ValueError(
            f"image_names is {found} for {count(n_images, 'image')}; pass a list with "
            "one for each, or None."
        )
    return [str(name) for name in names]


def _parts(images) -> Iterator[tuple[int, Any]]:
    """Some images at a time, in the layout of all, and the position of the first."""
    if hasattr(images, "shape"):
        rows = images.iloc if isinstance(images, pd.DataFrame) else images
        size = math.prod(images.shape[1:3]) if len(images.shape) > 2 else 0
        step = max(1, _PIXELS_AT_ONCE // size) if size else _ROWS_AT_ONCE
        for start in range(0, len(images), step):
            yield start, rows[start : start + step]
        return
    part: list = []
    start, n_pixels = 0, 0
    for index in range(len(images)):
        part.append(images[index])
        n_pixels += math.prod(np.shape(part[-1])[:2])
        if n_pixels >= _PIXELS_AT_ONCE or index == len(images) - 1:
            yield start, part
            part, start, n_pixels = [], index + 1, 0


def _pictures(
    estimator, parts, names: list[str], heatmaps, max_heat: float
) -> list[Picture]:
    """Pictures of all images, `heatmaps` being a function of a part and its images."""
    pictures: list[Picture] = []
    shape = getattr(estimator, "image_shape_", None)
    for start, part in parts:
        try:
            arrays = each_image(part, shape, "images")
            heats = heatmaps(start, part, arrays) or [None] * len(arrays)
        except ValueError as error:
            if not start:
                raise
            raise ValueError(f"Counted from image {start}: {error}") from error
        for array, heat in zip(arrays, heats, strict=True):
            source, covering = encode(array, heat, max_heat, len(names))
            picture = Picture(
                name=names[len(pictures)],
                size=(array.shape[1], array.shape[0]),
                source=source,
                heat=covering,
            )
            pictures.append(picture)
    return pictures


def _localizer_contents(localizer, images, y_true, names, instances) -> Contents:
    if y_true is not None:
        # Before anything is searched.
        check_instances(y_true, name="y_true")
    tables = []

    def look(start, part, arrays):
        if instances is None:
            table = localizer.localize(part)
            tables.append(table.assign(image=table["image"] + start))
        return _localizer_heatmaps(localizer, arrays)

    pictures = _pictures(localizer, _parts(images), names, look, 1.0)
    table = pd.concat(tables, ignore_index=True) if instances is None else instances
    table = table.reset_index(drop=True)
    facts = {"images": str(len(pictures)), "instances": str(len(table))}
    status: list[str | None] = [None] * len(table)
    missed, confusion = pd.DataFrame(), None
    if y_true is not None:
        shapes = [picture.size[::-1] for picture in pictures]
        truth = check_table(y_true, "y_true", shapes).reset_index(drop=True)
        matched = matched_rows(find_pairs(truth, table, _IOU_THRESHOLD), _IOU_THRESHOLD)
        status = [RIGHT if row >= 0 else FALSE for row in matched]
        missed = truth.drop(index=matched[matched >= 0])
        facts |= _scores(truth, table)
        confusion = _confusion_of_instances(truth, table)
    columns = ["image", "label", "score", "heat", "x_min", "y_min", "x_max", "y_max"]
    rows = []
    for record, state in zip(table.to_dict("records"), status, strict=True):
        text = f"{record['label']} {record['score']:.2f}"
        _mark(pictures[record["image"]], record, text, state)
        rows.append(_row(record, columns) + [state] * (y_true is not None))
    for record in missed.to_dict("records"):
        _mark(pictures[record["image"]], record, str(record["label"]), MISSED)
        rows.append([*_row({**record, "score": None, "heat": None}, columns), MISSED])
    for picture in pictures:
        n_found = sum(mark.status != MISSED for mark in picture.marks)
        picture.caption = count(n_found, "instance")
    importances, n_filters = _importances(getattr(localizer, "estimator_", None))
    return Contents(
        estimator=str(localizer),
        facts=facts,
        pictures=pictures,
        columns=columns + ["status"] * (y_true is not None),
        rows=rows,
        confusion=confusion,
        importances=importances,
        n_filters=n_filters,
    )


def _localizer_heatmaps(localizer, arrays: list[np.ndarray]) -> list | None:
    """The heat of each image at its own size, the greatest of both polarities."""
    if not isinstance(localizer, InstanceLocalizer):
        return None
    recognizer = localizer._recognizer()
    if not recognizer.has_heatmaps:
        return None
    channels = n_channels(localizer.image_shape_)
    unit = [
        recognizer.image_format.specification.to_unit(
            to_tensor(pixels[np.newaxis], channels)[0]
        )
        for pixels in read_images(arrays, localizer.image_shape_).pixels
    ]
    views = {
        "bright": [unit],
        "dark": [[1 - image for image in unit]],
        "both": [unit, [1 - image for image in unit]],
    }
    with ranges_are_checked():
        heat = [recognizer.heatmaps(view) for view in views[localizer.polarity]]
    return [np.maximum.reduce(of_image) for of_image in zip(*heat, strict=True)]


def _scores(truth: pd.DataFrame, table: pd.DataFrame) -> dict[str, str]:
    scores = detection_scores(
        truth, table, iou_threshold=_IOU_THRESHOLD, zero_division=0.0
    )
    return {
        "true instances": str(scores.n_true),
        "right": str(scores.n_matched),
        "false": str(scores.n_predicted - scores.n_matched),
        "missed": str(scores.n_true - scores.n_matched),
        "precision": f"{scores.precision:.3f}",
        "recall": f"{scores.recall:.3f}",
        "F1": f"{scores.f1:.3f}",
    }


def _confusion_of_instances(truth: pd.DataFrame, table: pd.DataFrame) -> Confusion:
    """Labels of true and predicted instances that overlap, whatever their labels."""
    pairs = find_pairs(truth, table, _IOU_THRESHOLD, match_label=False)
    matched = matched_rows(pairs, _IOU_THRESHOLD)
    true, predicted, labels = shared_codes(
        check_instances(truth, name="y_true").label,
        check_instances(table, name="instances").label,
        "label",
        names=("y_true", "the estimator's instances"),
    )
    counts = np.zeros((len(labels) + 1, len(labels) + 1), dtype=int)
    nothing = len(labels)
    for row, label in zip(matched, predicted, strict=True):
        counts[true[row] if row >= 0 else nothing, label] += 1
    for row in np.setdiff1d(np.arange(len(truth)), matched):
        counts[true[row], nothing] += 1
    texts = [str(label) for label in labels]
    return Confusion(
        true=[*texts, "nothing"], predicted=[*texts, "missed"], counts=counts
    )


def _classifier_contents(classifier, images, y_true, names) -> Contents:
    true = None if y_true is None else as_labels(y_true, "y_true", n=len(names))
    labels, scores = [], []

    def look(start, part, arrays):
        predicted = np.asarray(classifier.predict(part))
        labels.append(predicted)
        scores.append(_scores_of(classifier, part, predicted))
        return _classifier_heatmaps(classifier, part, predicted)

    pictures = _pictures(classifier, _parts(images), names, look, _max_heat(classifier))
    predicted = as_labels(np.concatenate(labels), "predictions", n=len(names))
    score = np.concatenate(scores)
    facts = {"images": str(len(pictures))}
    columns, confusion, states = ["image", "label", "score"], None, None
    if true is not None:
        code, predicted_code, classes = shared_codes(
            true, predicted, "label", names=("y_true", "the classifier's predictions")
        )
        is_right = code == predicted_code
        states = [RIGHT if right else FALSE for right in is_right]
        columns += ["true label", "status"]
        n_false = int((~is_right).sum())
        facts |= {"accuracy": f"{is_right.mean():.3f}", "false": str(n_false)}
        counts = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(counts, (code, predicted_code), 1)
        texts = [str(label) for label in classes]
        confusion = Confusion(true=texts, predicted=texts, counts=counts)
    rows = []
    for number, picture in enumerate(pictures):
        label = str(predicted[number])
        row = [number, label, _number(score[number])]
        picture.caption = label
        if row[2] is not None:
            picture.caption += f" {row[2]:.2f}"
        if true is not None and states is not None:
            row += [str(true[number]), states[number]]
            picture.status = states[number]
            if picture.status == FALSE:
                picture.caption += f", not {true[number]}"
        rows.append(row)
    importances, n_filters = _importances(classifier)
    return Contents(
        estimator=str(classifier),
        facts=facts,
        pictures=pictures,
        columns=columns,
        rows=rows,
        confusion=confusion,
        importances=importances,
        n_filters=n_filters,
    )


def _scores_of(classifier, part, predicted: np.ndarray) -> np.ndarray:
    """Probabilities of the predicted labels; NaN where the classifier has none."""
    if not hasattr(classifier, "predict_proba"):
        return np.full(len(predicted), np.nan)
    proba = np.asarray(classifier.predict_proba(part))
    column = {label: number for number, label in enumerate(classifier.classes_)}
    return proba[np.arange(len(proba)), [column[label] for label in predicted]]


def _classifier_heatmaps(classifier, part, predicted: np.ndarray) -> list | None:
    if not hasattr(classifier, "heatmap"):
        return None
    takes_labels = "labels" in inspect.signature(classifier.heatmap).parameters
    params = {"labels": predicted} if takes_labels else {}
    shape = getattr(classifier, "image_shape_", None)
    heat = classifier.heatmap(part, **params)
    return each_image(heat, None if shape is None else shape[:2], "heatmap")


def _max_heat(classifier) -> float:
    """The heat that has the strongest colour."""
    if getattr(classifier, "normalize", "validation") is not None:
        return 1.0
    return float(getattr(classifier, "normalization_constant_", 1.0)) or 1.0


def _importances(classifier) -> tuple[list[Importance], int]:
    """The most important filters of a classifier that has any, and how many it has."""
    values = getattr(classifier, "filter_importances_", None)
    if values is None:
        return [], 0
    layers = np.atleast_1d(classifier.layer_)
    names = [
        f"{layer}, filter {number}" if len(layers) > 1 else f"filter {number}"
        for layer, n in zip(layers, classifier.n_filters_, strict=True)
        for number in range(n)
    ]
    order = np.argsort(-values, kind="stable")[:_MAX_FILTERS]
    listed = [Importance(name=names[row], value=float(values[row])) for row in order]
    return listed, len(values)


def _mark(picture: Picture, record: dict, text: str, status: str | None) -> None:
    width, height = picture.size
    picture.marks.append(
        Mark(
            text=text,
            status=status,
            box=(
                record["x_min"] / width,
                record["y_min"] / height,
                record["x_max"] / width,
                record["y_max"] / height,
            ),
        )
    )


def _row(record: dict, columns: list[str]) -> list:
    return [
        str(record[name]) if name == "label" else _number(record[name])
        for name in columns
    ]


def _number(value) -> int | float | None:
    """A number that JSON can hold."""
    if value is None or not math.isfinite(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() else round(number, 4)
