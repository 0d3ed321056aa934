"""The contents of a report, collected from an estimator for a few images at a time."""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._images.images import n_channels
from .._images.messages import count
from .._images.rasters import Raster
from .._images.reading import read_images
from .._images.scaling import Scaling
from .._images.streams import file_names, image_files
from .._images.transparency import fill_for
from .._localizer import InstanceLocalizer
from .._network.isolation import restores_torch_state
from .._search.crop_recognizer import CropRecognizer
from .._search.views import NEGATIVES, Views
from .._tables.checks import check_instances, without_crowds
from .._tables.matching import find_pairs, ignored_rows, matched_rows
from .._tables.values import as_labels, has_length, shared_codes, type_text
from ..display._drawing import each_image
from ..display._importances import MEASURES
from ..display._instances import check_table
from ..display._tables import natural_key, read_table
from ..metrics._detection import detection_scores
from ._pictures import encode

STATUSES = RIGHT, FALSE, MISSED = "right", "false", "missed"
_COLUMNS = ["image", "label", "score", "heat", "x_min", "y_min", "x_max", "y_max"]

Parts = Iterator[tuple[int, Any]]
Heatmaps = list[np.ndarray] | None


@dataclass(kw_only=True)
class Picture:
    """An image in a report, and the rows of the table whose boxes it shows."""

    name: str
    size: tuple[int, int]
    source: str
    heat: str | None
    caption: str = ""
    status: str = ""
    boxes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Contents of a report.

    Attributes
    ----------
    estimator : str
        Its representation.
    facts : dict of str to str
    counts : dict of str to int
        Number of predictions of each label.
    pictures : list of Picture
    columns : list of str
        Names of the columns of the table.
    rows : list of dict
        Rows of the table: numbers, strings, and None for missing values.
    confusion : DataFrame or None
        Counts with true labels as index and predicted labels as columns.
    importances : Series
        Importances of the most important filters by the filters' names.
    n_filters : int
        Number of all filters.
    measure : str
        Name of the error that importances increase.
    """

    estimator: str
    facts: dict[str, str]
    counts: dict[str, int]
    pictures: list[Picture]
    columns: list[str]
    rows: list[dict[str, Any]]
    confusion: pd.DataFrame | None
    importances: pd.Series
    n_filters: int
    measure: str


@restores_torch_state
def report_contents(
    estimator: Any,
    images: Any,
    y_true: Any,
    image_names: Sequence[str] | None,
    instances: pd.DataFrame | None = None,
) -> Contents:
    """Contents of a report; `instances` are those that a localizer found, if known."""
    if not hasattr(estimator, "localize") and not hasattr(estimator, "predict"):
        raise ValueError(
            f"{type(estimator).__name__} has neither localize nor predict; pass a "
            "fitted InstanceLocalizer or a classifier."
        )
    given = images
    files = image_files(images, fill_for(estimator))
    if files is not None:
        images = files
        image_names = file_names(given, files) if image_names is None else image_names
    if not has_length(images) or isinstance(images, bytes | dict):
        raise ValueError(f"images is {type_text(images)}; pass a list of images.")
    if len(images) == 0:
        raise ValueError("images is empty; pass at least one.")
    names = _check_names(image_names, len(images))
    if hasattr(estimator, "localize"):
        y_true = read_table(y_true, given, "y_true")
        return _localizer_contents(estimator, images, y_true, names, instances)
    return _classifier_contents(estimator, images, y_true, names)


def _check_names(names: Any, n_images: int) -> list[str]:
    if names is None:
        return [str(number) for number in range(n_images)]
    is_sequence = has_length(names) and not isinstance(names, str)
    if not is_sequence or len(names) != n_images:
        found = count(len(names), "name") if is_sequence else type_text(names)
        raise ValueError(
            f"image_names is {found} for {count(n_images, 'image')}; pass a list with "
            "one for each, or None."
        )
    return [str(name) for name in names]


def _parts(images: Any, max_pixels: int = 2**22, max_rows: int = 256) -> Parts:
    """A few images at a time, as many as `max_pixels` allow, and their first index."""
    if hasattr(images, "shape"):
        rows = images.iloc if isinstance(images, pd.DataFrame) else images
        is_rows = len(images.shape) == 2
        n_pixels = 0 if is_rows else math.prod(images.shape[1:3])
        step = max(1, max_pixels // n_pixels) if n_pixels else max_rows
        for start in range(0, len(images), step):
            yield start, rows[start : start + step]
        return
    part: list = []
    n_pixels = 0
    for index in range(len(images)):
        part.append(images[index])
        n_pixels += math.prod(np.shape(part[-1])[:2])
        if n_pixels >= max_pixels or index == len(images) - 1:
            yield index + 1 - len(part), part
            part, n_pixels = [], 0


def _pictures(
    estimator: Any,
    images: Any,
    names: list[str],
    predict: Callable[[int, Any, list[np.ndarray]], Heatmaps],
    max_heat: float = 1.0,
) -> list[Picture]:
    """Pictures of all images with the heatmaps that `predict` returns for a part."""
    pictures: list[Picture] = []
    shape = getattr(estimator, "image_shape_", None)
    for start, part in _parts(images):
        try:
            arrays = each_image(part, shape, "images")
            heatmaps: Sequence = predict(start, part, arrays) or [None] * len(arrays)
        except ValueError as error:
            if not start:
                raise
            raise ValueError(f"Counted from image {start}: {error}") from error
        for array, heat in zip(arrays, heatmaps, strict=True):
            source, overlay = encode(array, heat, max_heat, len(names))
            height, width = array.shape[:2]
            name = names[len(pictures)]
            pictures.append(
                Picture(name=name, size=(width, height), source=source, heat=overlay)
            )
    return pictures


def _localizer_contents(
    localizer: Any,
    images: Any,
    y_true: Any,
    names: list[str],
    instances: pd.DataFrame | None,
) -> Contents:
    if y_true is not None:
        # Checked before the search, which takes long.
        check_instances(y_true, name="y_true")
    tables = [] if instances is None else [instances]

    def localize(start: int, part: Any, arrays: list[np.ndarray]) -> Heatmaps:
        if instances is None:
            table = localizer.localize(part)
            tables.append(table.assign(image=table["image"] + start))
        return _localizer_heatmaps(localizer, arrays)

    pictures = _pictures(localizer, images, names, localize)
    table = pd.concat(tables, ignore_index=True)
    labels: list[Counter] = [Counter() for _ in pictures]
    for number, label in zip(table["image"], table["label"], strict=True):
        labels[number][str(label)] += 1
    for picture, n in zip(pictures, labels, strict=True):
        picture.caption = _caption(n)
    facts = {"images": str(len(pictures)), "instances": str(len(table))}
    statuses, missed, confusion = [""] * len(table), [], None
    if y_true is not None:
        shapes = [picture.size[::-1] for picture in pictures]
        truth = check_table(y_true, "y_true", shapes)
        pairs = find_pairs(truth, table, 0.5)
        matched = matched_rows(pairs, 0.5)
        is_ignored = ignored_rows(pairs, matched, 0.5)
        found = np.where(matched >= 0, RIGHT, np.where(is_ignored, "", FALSE))
        statuses = found.tolist()
        objects = without_crowds(truth, name="y_true").reset_index(drop=True)
        missed = objects.drop(index=matched[matched >= 0]).to_dict("records")
        facts |= _score_facts(truth, table)
        confusion = _instance_confusion(truth, table)
    rows = [
        _row(record, status)
        for record, status in zip(
            [*table.to_dict("records"), *missed],
            [*statuses, *[MISSED] * len(missed)],
            strict=True,
        )
    ]
    for row in rows:
        pictures[row["image"]].boxes.append(row)
    # Localizers that learnt from boxes have no heatmaps.
    has_heat = not rows or any(row["heat"] is not None for row in rows)
    columns = [name for name in _COLUMNS if has_heat or name != "heat"]
    recognizer = getattr(localizer, "estimator_", None)
    importances, n_filters = _importances(recognizer)
    return Contents(
        estimator=str(localizer),
        facts=facts,
        counts=_label_counts(table["label"]),
        pictures=pictures,
        columns=columns + ["status"] * (y_true is not None),
        rows=rows,
        confusion=confusion,
        importances=importances,
        n_filters=n_filters,
        measure=_measure(recognizer),
    )


def _caption(counts: Counter, max_labels: int = 4) -> str:
    """How many instances of which labels an image has, or of how many labels."""
    if not 0 < len(counts) <= max_labels:
        return count(counts.total(), "instance")
    return ", ".join(f"{counts[label]} {label}" for label in _sorted_labels(counts))


def _sorted_labels(counts: Counter) -> list[str]:
    return sorted(counts, key=natural_key)


def _label_counts(labels: Any) -> dict[str, int]:
    counts = Counter(map(str, labels))
    return {label: counts[label] for label in _sorted_labels(counts)}


def _row(record: dict[str, Any], status: str) -> dict[str, Any]:
    """A row of the table for an instance, true or predicted."""
    row: dict[str, Any] = {name: _number(record.get(name)) for name in _COLUMNS}
    return row | {"label": str(record["label"]), "status": status}


def _localizer_heatmaps(localizer: Any, arrays: list[np.ndarray]) -> Heatmaps:
    """Heatmap of each image at its own size, the maximum over both polarities."""
    if not isinstance(localizer, InstanceLocalizer):
        return None
    recognizer = localizer._recognizer()
    if not isinstance(recognizer, CropRecognizer) or not recognizer.has_heatmaps:
        return None
    channels = n_channels(localizer.image_shape_)
    views = Views(
        [
            Raster.from_pixels(pixels, channels, Scaling.of(localizer)).map(
                recognizer.specification.to_unit
            )
            for pixels in read_images(
                arrays, localizer.image_shape_, fill=fill_for(localizer)
            ).pixels
        ],
        NEGATIVES[localizer.polarity],
    )
    heat = [heat.whole()[0].numpy() for heat in recognizer.heatmaps(views.rasters)]
    n_views = len(views.negatives)
    return [
        np.maximum.reduce(heat[first : first + n_views])
        for first in range(0, len(heat), n_views)
    ]


def _score_facts(truth: pd.DataFrame, table: pd.DataFrame) -> dict[str, str]:
    scores = detection_scores(truth, table, iou_threshold=0.5, zero_division=0.0)
    return {
        "true instances": str(scores.n_true),
        "right": str(scores.n_matched),
        "false": str(scores.n_predicted - scores.n_matched),
        "missed": str(scores.n_true - scores.n_matched),
        "precision": f"{scores.precision:.3f}",
        "recall": f"{scores.recall:.3f}",
        "F1": f"{scores.f1:.3f}",
    }


def _instance_confusion(truth: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Counts of true and predicted instances that overlap, regardless of labels."""
    pairs = find_pairs(truth, table, 0.5, match_label=False)
    matched = matched_rows(pairs, 0.5)
    is_counted = ~ignored_rows(pairs, matched, 0.5)
    true, predicted, labels = shared_codes(
        check_instances(truth, name="y_true").label,
        check_instances(table, name="instances").label,
        "label",
        names=("y_true", "the estimator's instances"),
    )
    nothing = len(labels)
    missed = np.setdiff1d(np.arange(len(true)), matched)
    return _confusion(
        np.append(np.append(true, nothing)[matched[is_counted]], true[missed]),
        np.append(predicted[is_counted], np.full(len(missed), nothing)),
        [*labels, "nothing"],
        [*labels, "missed"],
    )


def _confusion(
    true: np.ndarray, predicted: np.ndarray, true_names: list, predicted_names: list
) -> pd.DataFrame:
    """Counts of pairs of codes, which are positions in the names."""
    counts = np.zeros((len(true_names), len(predicted_names)), dtype=int)
    np.add.at(counts, (true, predicted), 1)
    return pd.DataFrame(counts, map(str, true_names), map(str, predicted_names))


def _classifier_contents(
    classifier: Any, images: Any, y_true: Any, names: list[str]
) -> Contents:
    true = None if y_true is None else as_labels(y_true, "y_true", n=len(names))
    labels, scores = [], []

    def predict(start: int, part: Any, arrays: list[np.ndarray]) -> Heatmaps:
        predicted = np.asarray(classifier.predict(part))
        labels.append(predicted)
        scores.append(_predicted_proba(classifier, part, predicted))
        return _classifier_heatmaps(classifier, part, predicted)

    pictures = _pictures(classifier, images, names, predict, _max_heat(classifier))
    predicted = as_labels(np.concatenate(labels), "predictions", n=len(names))
    facts, columns = {"images": str(len(pictures))}, ["image", "label", "score"]
    rows: list[dict[str, Any]] = [
        {"image": number, "label": str(label), "score": _number(score)}
        for number, (label, score) in enumerate(
            zip(predicted, np.concatenate(scores), strict=True)
        )
    ]
    confusion = None
    if true is not None:
        code, predicted_code, classes = shared_codes(
            true, predicted, "label", names=("y_true", "the classifier's predictions")
        )
        is_right = code == predicted_code
        columns += ["true label", "status"]
        for row, label, right in zip(rows, true, is_right, strict=True):
            row |= {"true label": str(label), "status": RIGHT if right else FALSE}
        facts["accuracy"] = f"{is_right.mean():.3f}"
        facts["false"] = str((~is_right).sum())
        confusion = _confusion(code, predicted_code, [*classes], [*classes])
    for row, picture in zip(rows, pictures, strict=True):
        picture.status = row.get("status", "")
        picture.caption = row["label"]
        if row["score"] is not None:
            picture.caption += f" {row['score']:.2f}"
        if picture.status == FALSE:
            picture.caption += f", not {row['true label']}"
    importances, n_filters = _importances(classifier)
    return Contents(
        estimator=str(classifier),
        facts=facts,
        counts=_label_counts(predicted),
        pictures=pictures,
        columns=columns,
        rows=rows,
        confusion=confusion,
        importances=importances,
        n_filters=n_filters,
        measure=_measure(classifier),
    )


def _predicted_proba(classifier: Any, part: Any, predicted: np.ndarray) -> np.ndarray:
    """Probabilities of the predicted labels; NaN if the classifier has none."""
    if not hasattr(classifier, "predict_proba"):
        return np.full(len(predicted), np.nan)
    proba = np.asarray(classifier.predict_proba(part))
    column = {label: number for number, label in enumerate(classifier.classes_)}
    return proba[np.arange(len(proba)), [column[label] for label in predicted]]


def _classifier_heatmaps(classifier: Any, part: Any, predicted: np.ndarray) -> Heatmaps:
    if not hasattr(classifier, "heatmap"):
        return None
    takes_labels = "labels" in inspect.signature(classifier.heatmap).parameters
    heat = classifier.heatmap(part, **({"labels": predicted} if takes_labels else {}))
    shape = getattr(classifier, "image_shape_", None)
    return each_image(heat, None if shape is None else shape[:2], "heatmap")


def _max_heat(classifier: Any) -> float:
    """The heat that gets the strongest colour."""
    if getattr(classifier, "normalize", "validation") is not None:
        return 1.0
    return float(getattr(classifier, "normalization_constant_", 1.0)) or 1.0


def _importances(classifier: Any, max_filters: int = 64) -> tuple[pd.Series, int]:
    """The most important filters of a classifier, if it has any, and their number."""
    values = getattr(classifier, "filter_importances_", None)
    if values is None:
        return pd.Series([], dtype=float), 0
    layers = np.atleast_1d(classifier.layer_)
    names = [
        f"{layer}, filter {number}" if len(layers) > 1 else f"filter {number}"
        for layer, n in zip(layers, classifier.n_filters_, strict=True)
        for number in range(n)
    ]
    order = np.argsort(-values, kind="stable")[:max_filters]
    return pd.Series(values, names).iloc[order], len(values)


def _measure(classifier: Any) -> str:
    return MEASURES.get(getattr(classifier, "importance", ""), "error")


def _number(value: Any) -> int | float | None:
    """A number as the table shows it; None if it is missing or not finite."""
    number = float(value) if isinstance(value, Real) else math.nan
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else round(number, 4)
