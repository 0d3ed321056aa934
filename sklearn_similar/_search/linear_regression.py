"""Box regression from pooled features, by linear models.

Girshick et al. (2014) regress the offsets of a proposal from the features in it. One
linear model predicts how much a proposal overlaps an object, another moves it there.
"""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# Offsets are clipped to this share of a box's sides, and factors to its exponential.
_MAX_OFFSET = 1.0
# Of the cross-validation that chooses which boxes to drop, and its maximum number of
# boxes: more take seconds, and change the threshold little.
_N_FOLDS, _MAX_BOXES = 2, 8_000


@dataclass(frozen=True)
class LinearBoxRegression:
    """Moves boxes to objects by the features in the boxes.

    Attributes
    ----------
    weight : ndarray of shape (n_features, 4)
    bias : ndarray of shape (4,)
        Of the centre's shift in x and y, as shares of width and height, and of the
        logarithms of the factors of width and height.
    """

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        boxes: np.ndarray,
        targets: np.ndarray,
        penalty: float,
    ) -> "LinearBoxRegression":
        """Learn to move boxes to target boxes, n x 4 each, by ridge regression."""
        model = _ridge(penalty).fit(features, offsets(boxes, targets))
        weight, bias = _linear_function(model)
        return cls(weight, bias.astype(np.float32))

    def __call__(self, features: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The boxes, moved."""
        moves = features @ self.weight + self.bias
        moves = moves.clip(-_MAX_OFFSET, _MAX_OFFSET).astype(np.float64)
        sides = boxes[:, 2:] - boxes[:, :2]
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + moves[:, :2] * sides
        half = sides * np.exp(moves[:, 2:]) / 2
        return np.hstack([centre - half, centre + half])


def offsets(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What moves boxes to targets, n x 4: relative shifts, logarithms of factors."""
    sides, target_sides = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shift = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    return np.hstack([shift / sides, np.log(target_sides / sides)])


@dataclass(frozen=True)
class PredictedOverlap:
    """Predicts the IoU of boxes with the nearest object, by the features in the boxes.

    Attributes
    ----------
    weight : ndarray of shape (n_features,)
    bias : float
    threshold : float
        Boxes of a lower predicted IoU are taken for background.
    """

    weight: np.ndarray
    bias: float
    threshold: float

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        iou: np.ndarray,
        groups: np.ndarray,
        penalty: float,
        missed: float,
    ) -> "PredictedOverlap":
        """Learn to predict IoU; a share of the boxes with an IoU of 0.5 is missed.

        `groups` are the objects that boxes show: the threshold comes from predictions
        for objects that were held out, as those for known objects are too good.
        """
        model = _ridge(penalty)
        some = slice(None, None, math.ceil(len(iou) / _MAX_BOXES))
        is_object = iou[some] >= 0.5
        threshold = -np.inf
        if is_object.any() and len(np.unique(groups[some])) >= _N_FOLDS:
            predicted = cross_val_predict(
                model,
                features[some],
                iou[some],
                groups=groups[some],
                cv=GroupKFold(_N_FOLDS),
            )
            threshold = np.quantile(predicted[is_object], missed)
        weight, bias = _linear_function(model.fit(features, iou))
        return cls(weight, float(bias), float(threshold))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predicted IoU of each box."""
        return features @ self.weight + self.bias


def _ridge(penalty: float) -> Pipeline:
    """Ridge regression of features that are scaled to unit variance."""
    return make_pipeline(StandardScaler(), Ridge(penalty))


def _linear_function(model: Pipeline) -> tuple[np.ndarray, np.ndarray]:
    """Weight, float32, and bias that a fitted `_ridge` applies to unscaled features."""
    scaler, ridge = (step for _, step in model.steps)
    weight = (ridge.coef_ / scaler.scale_).T
    return weight.astype(np.float32), ridge.intercept_ - scaler.mean_ @ weight
