"""A scorer for model selection where boxes of instances are known."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .._compat import StrOptions, fit_context
from .._tables.boxes import BOX_COLUMNS
from .._tables.checks import box_coordinates, check_instances
from .._tables.values import as_labels, as_numbers, has_length, shared_codes
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

    Use it as `scoring` in `sklearn.model_selection.GridSearchCV` and its like. The
    true instances are given in one of three ways:

    - `scenes` and `instances`: images apart from the data that is split. X and y are
      ignored.
    - `boxes`: a table for all images of X, whose column ``image`` holds labels of
      ``y.index``, so that each fold finds its own. y must be a pandas Series.
    - with scikit-learn's metadata routing: ``LocalizationScorer()
      .set_score_request(boxes=True)``, and ``boxes`` is passed to ``fit`` of the
      search, one entry for each image of X.

    Parameters
    ----------
    boxes : DataFrame, default=None
        True instances: ``image, label, x_min, y_min, x_max, y_max``, boxes in pixels,
        half-open.
    metric : str or callable, default="f1"
        "f1", "precision", "recall" (at an IoU of 0.5), "average_precision",
        "mean_average_precision", or a function that takes two tables of instances,
        y_true and y_pred, and returns a number.
    scenes : array or list of images, default=None
        Images that are passed to `localize` instead of X.
    instances : DataFrame, default=None
        True instances in `scenes`; the column ``image`` counts scenes from 0.

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
        """Score what an estimator, or the last step of a pipeline, localises.

        Parameters
        ----------
        estimator : object with `localize`, or Pipeline that ends in one
        X : array or list of images
        y : array-like of shape (n_images,), default=None
            Labels; those of the true instances where `boxes` has none.
        boxes : sequence, default=None
            One entry for each image of X: four coordinates, an array of shape
            (n_boxes, 4), or a DataFrame of instances.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is nothing to compare with, tables do not fit, or `metric` is
            unknown.
        """
        if (self.scenes is None) != (self.instances is None):
            raise ValueError(
                "LocalizationScorer has one of scenes and instances; pass both."
            )
        if self.scenes is not None:
            y_true, X = self.instances, self.scenes
        elif boxes is not None:
            y_true = _table(boxes, y, len(X))
        elif self.boxes is not None:
            y_true = _look_up(self.boxes, y)
        else:
            raise ValueError(
                "LocalizationScorer has nothing to compare with; pass boxes or scenes "
                "and instances to it, or route boxes by set_score_request(boxes=True)."
            )
        check_instances(y_true, name="The table of true instances")
        return self._compute(y_true, _localize(estimator, X))

    def _compute(self, y_true: pd.DataFrame, y_pred: pd.DataFrame) -> float:
        if isinstance(self.metric, str):
            return float(_METRICS[self.metric](y_true, y_pred, zero_division=0.0))
        score = self.metric(y_true, y_pred)
        if np.ndim(score) or not isinstance(score, Real):
            raise ValueError(
                f"metric returned a {type(score).__name__}; it should return one "
                "number."
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
            f"{name} has no localize; score an InstanceLocalizer or a Pipeline that "
            "ends in one."
        )
    instances = estimator.localize(X)
    check_instances(instances, name=f"The result of {name}.localize", needs_score=True)
    return instances


def _look_up(boxes: pd.DataFrame, y: Any) -> pd.DataFrame:
    """The instances of some images, which are numbered by their place in y."""
    if not isinstance(y, pd.Series):
        raise ValueError(
            f"y is a {type(y).__name__}, in which the scorer cannot look up the images "
            "of boxes; pass a pandas Series whose index holds their labels."
        )
    if not y.index.is_unique:
        raise ValueError(
            f"The index of y holds {y.index[y.index.duplicated()][0]!r} twice; give "
            "each image of X a label of its own."
        )
    images = check_instances(boxes, name="boxes").image
    labels = as_labels(pd.Series(y.index), "The index of y", n=len(y))
    # The labels come last, and those that boxes do not name are beside the point.
    code, y_code, _ = shared_codes(
        images, labels, "image", names=("boxes", "the index of y")
    )
    place = pd.Series(np.arange(len(y)), index=y_code).reindex(code).to_numpy()
    is_known = ~np.isnan(place)
    return boxes[is_known].assign(image=place[is_known].astype(np.intp))


def _table(boxes: Any, y: Any, n_images: int) -> pd.DataFrame:
    """One table from one entry of boxes for each image."""
    if isinstance(boxes, pd.DataFrame):
        boxes = [boxes.iloc[[row]] for row in range(len(boxes))]
    if not isinstance(boxes, Sequence | np.ndarray) or len(boxes) != n_images:
        size = f"{len(boxes)} entries" if has_length(boxes) else "no length"
        raise ValueError(
            f"boxes has {size} for {n_images} images; pass a list of one entry for "
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
                raise ValueError("boxes has no labels and y is None; pass one of them.")
            entry["label"] = labels[image]
        check_instances(entry, name=name)
        tables.append(entry)
    return pd.concat(tables, ignore_index=True)
