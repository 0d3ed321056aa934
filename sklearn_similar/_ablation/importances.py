"""Importances of filters: by how much the error rises without each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import ErrorSums


@dataclass(frozen=True, kw_only=True)
class Importances:
    """Errors and their increases; see `SimilarNetClassifier` for the attributes."""

    n_filters: tuple[int, ...]
    baseline_error: float
    filter_errors: np.ndarray
    filter_importances: np.ndarray
    class_importances: np.ndarray
    log_odds_drops: np.ndarray
    score_weights: np.ndarray


def importances(
    sums: Sequence[ErrorSums], measure: str, background: int | None = None
) -> Importances:
    """Increases of the error, e_i - E (Eq. 1 of the paper with the sign of its text).

    Parameters
    ----------
    sums : sequence of ErrorSums
        The errors of each layer.
    measure : {"log_loss", "error"}
    background : int, optional
        Class whose images are left out of the importances for all classes together.

    Returns
    -------
    Importances
        Of the filters of all layers, one layer after the other; log-odds drops and
        score weights of the last layer.

    Notes
    -----
    A class without images has the importances of all classes together. Its log-odds
    drops are those on the images of the other classes: behind a linear layer, they are
    the differences of its row to the others, times the mean activations.
    """
    weight = sums[-1].weight
    included = weight > 0
    if background is not None and included.sum() > included[background]:
        included[background] = False
    totals = [getattr(layer_sums, measure) for layer_sums in sums]
    means = [_mean_errors(total, weight, included) for total in totals]
    overall = [mean for mean, _ in means]
    by_class = [class_means for _, class_means in means]
    return Importances(
        n_filters=tuple(len(total) - 1 for total in totals),
        baseline_error=float(overall[-1][0]),
        filter_errors=np.concatenate([errors[1:] for errors in overall]),
        filter_importances=np.concatenate([e[1:] - e[0] for e in overall]),
        class_importances=np.concatenate([(e[1:] - e[0]).T for e in by_class], axis=1),
        log_odds_drops=_log_odds_drops(sums[-1], included),
        score_weights=_score_weights(sums[-1]),
    )


def _mean_errors(
    total: np.ndarray, weight: np.ndarray, included: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean errors of a layer's rows over all classes, and over each of them."""
    overall = total[:, included].sum(axis=1) / weight[included].sum()
    present = weight > 0
    by_class = np.where(present, total, overall[:, None])
    return overall, by_class / np.where(present, weight, 1)


def _score_weights(sums: ErrorSums) -> np.ndarray:
    """Drops of the class scores for each unit of a filter's mean activation.

    They are regressed through the origin, over the images of all classes, so that a
    class needs no images. If the layer is followed by a global mean and one linear
    layer, these are the weights of the linear layer: those of CAM (Zhou et al., 2016).

    Returns
    -------
    ndarray of shape (n_classes, n_filters)
        0 for a filter without activations.
    """
    squares = sums.ablated_squares
    return (sums.score_drops / np.where(squares > 0, squares, 1)[:, np.newaxis]).T


def _log_odds_drops(sums: ErrorSums, included: np.ndarray) -> np.ndarray:
    """Mean drops of log p(c) - log p(k) on images of class c without each filter.

    Returns
    -------
    ndarray of shape (n_classes, n_competing, n_filters)
        Without images of c: on all included images; increases of their log loss where
        log p(c) has not been summed for each class.
    """
    present = sums.weight > 0
    weight = np.where(present, sums.weight, 1)
    loss_rise = (sums.log_loss[1:] - sums.log_loss[0]) / weight
    competing_rise = (sums.log_proba[1:] - sums.log_proba[0]) / weight[:, np.newaxis]
    drops = loss_rise[:, :, np.newaxis] + competing_rise
    n_classes, n_competing = drops.shape[1:]
    if n_competing == n_classes:
        total = sums.log_proba[:, included].sum(axis=1) / sums.weight[included].sum()
        rise = total[1:] - total[0]
        of_pairs = rise[:, np.newaxis, :] - rise[:, :, np.newaxis]
        drops[:, ~present] = of_pairs[:, ~present]
        drops[:, np.arange(n_classes), np.arange(n_classes)] = 0
    else:
        overall = sums.log_loss[:, included].sum(axis=1) / sums.weight[included].sum()
        drops[:, ~present] = (overall[1:] - overall[0])[:, None, None]
        # The mean is over all classes, and a class does not compete with itself.
        drops[:, present] *= n_classes / (n_classes - 1)
    return np.ascontiguousarray(drops.transpose(1, 2, 0))
