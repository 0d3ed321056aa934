"""A scorer for model selection with true boxes."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .._compat import StrOptions, fit_context
from .._tables.boxes import BOX_COLUMNS
from .._tables.checks import box_coordinates, check_columns, check_instances
from .._tables.values import (
    as_labels,
    as_numbers,
    has_length,
    shared_codes,
    type_text,
)
from ._average_precision import average_precision, mean_average_precision
from ._detection import (
    detection_f1_score,
    detection_precision_score,
    detection_recall_score,
)

_METRICS: dict[str, Callable[..., float]] = {
    "f1": detection_f1_score,
    "precision": detection_precision_score,
    "recall": detection_recall_score,
    "average_precision": average_precision,
    "mean_average_precision": mean_average_precision,
}


class LocalizationScorer(BaseEstimator):
    """Score an estimator's `localize` against true instances.

    Use it as `scoring` of `sklearn.model_selection.GridSearchCV` and similar tools.
    The true instances are given in one of three ways:

    - `scenes` and `instances`: images that are not part of the data that is split. X
      and y are ignored.
    - `boxes`: a table for all images of X, whose column ``image`` holds labels of
      ``y.index``, by which the boxes of each fold are selected. y must be a pandas
      Series.
    - with scikit-learn's metadata routing: ``LocalizationScorer()
      .set_score_request(boxes=True)``, and ``boxes`` is passed to ``fit`` of the
      search, one entry for each image of X.

    Parameters
    ----------
    boxes : DataFrame, default=None
        True instances: ``image, label, x_min, y_min, x_max, y_max``, boxes in pixels,
        half-open. Other columns are passed on to `metric`.
    metric : str or callable, default="f1"
        "f1", "precision", "recall" (at an IoU of 0.5), "average_precision",
        "mean_average_precision", or a function of two tables of instances, y_true and
        y_pred, that returns a number.
    scenes : array or list of images, default=None
        Images that are passed to `localize` instead of X.
    instances : DataFrame, default=None
        True instances in `scenes`; the column ``image`` numbers the scenes from 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_similar.metrics import LocalizationScorer
    >>> truth = pd.DataFrame(
    ...     [[0, "a", 2, 2, 9, 9]],
    ...     columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    ... )
    >>> class Oracle:
    ...     def localize(self, X):
    ...         return truth.assign(score=1.0, heat=1.0)
    >>> LocalizationScorer(scenes=[[[0.0]]], instances=truth)(Oracle(), None)
    1.0
    """

    _parameter_constraints: ClassVar[dict] = {
        "boxes": [pd.DataFrame, None],
        "metric": [StrOptions(set(_METRICS)), callable],
        "scenes": "no_validation",
        "instances": [pd.DataFrame, None],
    }

    def __init__(self, boxes=None, *, metric="f1", scenes=None, instances=None):
        self.boxes = boxes
        self.metric = metric
        self.scenes = scenes
        self.instances = instances

    def __call__(self, estimator, X, y=None, **params) -> float:
        """Score an estimator, as scikit-learn's model selection calls it."""
        return self.score(estimator, X, y, **params)

    @fit_context(prefer_skip_nested_validation=False)
    def score(self, estimator, X, y=None, boxes=None) -> float:
        """Score the instances that an estimator, or a pipeline's last step, localises.

        Parameters
        ----------
        estimator : object with `localize`, or Pipeline whose last step is one
        X : array or list of images
        y : array-like of shape (n_images,), default=None
            Labels of the images, and of true instances if `boxes` has no labels.
        boxes : sequence, default=None
            One entry for each image of X: four coordinates, an array of shape
            (n_boxes, 4), or a DataFrame of instances.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If true instances are not given, tables do not fit, or `metric` is unknown.
        """
        if (self.scenes is None) != (self.instances is None):
            raise ValueError(
                "LocalizationScorer has only one of scenes and instances; pass both."
            )
        if self.scenes is not None:
            y_true, X = self.instances, self.scenes
        elif boxes is not None:
            y_true = _join_entries(boxes, y, len(X))
        elif self.boxes is not None:
            y_true = _select_images(self.boxes, y)
        else:
            raise ValueError(
                "LocalizationScorer has no true instances; pass boxes or scenes and "
                "instances to it, or route boxes by set_score_request(boxes=True)."
            )
        check_instances(y_true, name="The table of true instances")
        return self._compute(y_true, _localize(estimator, X))

    def _compute(self, y_true: pd.DataFrame, y_pred: pd.DataFrame) -> float:
        if isinstance(self.metric, str):
            return float(_METRICS[self.metric](y_true, y_pred, zero_division=0.0))
        score = self.metric(y_true, y_pred)
        if np.ndim(score) or not isinstance(score, Real):
            raise ValueError(
                f"metric returned {type_text(score)}; it should return a number."
            )
        return float(score)


def _localize(estimator: Any, X: Any) -> pd.DataFrame:
    if isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    name = type(estimator).__name__
    if not hasattr(estimator, "localize"):
        raise ValueError(
            f"{name} has no localize; score an InstanceLocalizer, or a Pipeline whose "
            "last step is one."
        )
    instances = estimator.localize(X)
    check_instances(instances, name=f"The result of {name}.localize", needs_score=True)
    return instances


def _select_images(boxes: pd.DataFrame, y: Any) -> pd.DataFrame:
    """The instances in the images of y, numbered by their position in y."""
    if not isinstance(y, pd.Series):
        raise ValueError(
            f"y is {type_text(y)}, which does not name the images of boxes; pass a "
            "pandas Series whose index holds their names."
        )
    if not y.index.is_unique:
        raise ValueError(
            f"The index of y holds {y.index[y.index.duplicated()][0]!r} twice; "
            "give each image of X a different name."
        )
    images = check_instances(boxes, name="boxes", with_crowds=True).image
    labels = as_labels(pd.Series(y.index), "The index of y", n=len(y))
    code, y_code, _ = shared_codes(
        images, labels, "image", names=("boxes", "the index of y")
    )
    position = pd.Series(np.arange(len(y)), index=y_code).reindex(code).to_numpy()
    is_in_y = ~np.isnan(position)
    return boxes[is_in_y].assign(image=position[is_in_y].astype(np.intp))


def _join_entries(boxes: Any, y: Any, n_images: int) -> pd.DataFrame:
    """One table from an entry of boxes for each image."""
    if isinstance(boxes, pd.DataFrame):
        boxes = [boxes.iloc[[row]] for row in range(len(boxes))]
    if not isinstance(boxes, Sequence | np.ndarray) or len(boxes) != n_images:
        size = f"{len(boxes)} entries" if has_length(boxes) else "no length"
        raise ValueError(
            f"boxes has {size} for {n_images} images; pass a list with one entry for "
            "each."
        )
    labels = None if y is None else as_labels(y, "y", n=n_images)
    tables = []
    for image, entry in enumerate(boxes):
        name = f"Entry {image} of boxes"
        if not isinstance(entry, pd.DataFrame):
            entry = np.atleast_2d(as_numbers(entry, name))
        coordinates = box_coordinates(entry, name=name)
        if not isinstance(entry, pd.DataFrame):
            entry = pd.DataFrame(coordinates, columns=BOX_COLUMNS)
        entry = entry.assign(image=image)
        if "label" not in entry:
            if labels is None:
                raise ValueError(
                    "boxes has no column label and y is None; pass one of them."
                )
            entry["label"] = labels[image]
        check_instances(entry, name=name)
        # Tables with repeated columns cannot be concatenated.
        check_columns(entry.columns, list(entry.columns), name=name)
        tables.append(entry)
    return pd.concat(tables, ignore_index=True)
