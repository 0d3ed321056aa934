"""Contrastive maps: where one class is, against the others in the image.

An importance says that a filter matters for a class, but not against which other. Here,
the drop of the log-odds of class c over class k under ablation of a filter (the change
of the difference of their log probabilities, on validation images of c) is the filter's
weight in the map of c against k. The competing classes k of an image are weighted by
their class scores in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..._ablation.importances import Importances
from ..._images.batches import batch_slices
from ..._network.activations import FeatureMaps
from ..maps import smooth, weighted_sum
from ..weights import filter_weights, split_by_layer

# Three numbers that were chosen on scenes of training images (digits, clothes) on
# training photographs. The first is a share of the trained size: the standard deviation
# of the smoothing, as the part that discriminates between classes stands for all of
# the object.
_SMOOTHING = 1 / 8
# Exponent of the scores of competing classes: the greater, the more the strongest
# competitors dominate.
_COMPETITION = 2
# Exponent of the positive share: the greater, the smaller the parts that are left of
# an object, and the more probably they belong to it.
_SHARPNESS = 2
# Drops of log-odds that are gathered at once for the classes of some images.
_MAX_VALUES = 2**22


@dataclass(frozen=True, kw_only=True)
class ContrastiveWeights:
    """Weights of the filters in contrastive maps.

    Attributes
    ----------
    log_odds_drops : ndarray of shape (n_classes, n_competing, n_filters)
        Mean drop of the log-odds of a class over another one without each filter;
        n_competing is n_classes, or 1 where all other classes are taken together.
    smoothing : (float, float)
        Standard deviations in pixels, see `smoothing_for`.
    score_constants : ndarray of shape (n_classes,)
        Divide class scores: the median on images of the class; ones to measure it.
    """

    log_odds_drops: np.ndarray
    smoothing: tuple[float, float]
    score_constants: np.ndarray


def contrastive_weights(
    log_odds_drops: np.ndarray,
    image_shape: Sequence[int],
    score_constants: np.ndarray,
) -> ContrastiveWeights:
    """Weights for a network trained on images of a shape."""
    return ContrastiveWeights(
        log_odds_drops=log_odds_drops,
        smoothing=smoothing_for(image_shape),
        score_constants=score_constants,
    )


def smoothing_for(image_shape: Sequence[int]) -> tuple[float, float]:
    """Standard deviations for a network trained on images of a shape, in pixels."""
    height, width = image_shape[:2]
    return height * _SMOOTHING, width * _SMOOTHING


def mean_log_odds_drops(drops: np.ndarray) -> np.ndarray:
    """Mean drops over the competing classes, n_classes x n_filters."""
    n_classes, n_competing, _ = drops.shape
    # A class does not compete with itself: its drop is 0.
    return drops.sum(axis=1) / (n_competing - (n_competing == n_classes))


def class_filter_weights(
    measured: Importances, class_heatmap: str, temperature: float
) -> np.ndarray:
    """Weights of the last layer's filters for each class, n_classes x n_filters."""
    if class_heatmap in ("outlined", "contrastive"):
        return signed_weights(measured.log_odds_drops)
    last = split_by_layer(measured.class_importances, measured.n_filters)[-1]
    return filter_weights(last, class_heatmap, temperature)


def signed_weights(drops: np.ndarray) -> np.ndarray:
    """Weights of the filters against all other classes equally.

    Returns
    -------
    ndarray of shape (n_classes, n_filters)
        The absolute values of a row sum to 1.
    """
    weights = mean_log_odds_drops(drops)
    total = np.abs(weights).sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1)


def class_scores(maps: FeatureMaps, weights: ContrastiveWeights) -> torch.Tensor:
    """Scores of each class against all others, from mean activations.

    Returns
    -------
    tensor of shape (n_images, n_classes)
        In units of `weights.score_constants`.
    """
    return class_scores_of(maps.activations.relu().mean(dim=(2, 3)), weights)


def class_scores_of(mean: torch.Tensor, weights: ContrastiveWeights) -> torch.Tensor:
    """The same, from the mean activations n_images x n_filters themselves."""
    drops = torch.from_numpy(mean_log_odds_drops(weights.log_odds_drops))
    drops = drops.to(mean)
    signed = torch.cat([drops.relu(), (-drops).relu()])
    # One product an image: in one for all, rounding would depend on the neighbours.
    sums = torch.bmm(signed.expand(len(mean), -1, -1), mean[..., None])[..., 0]
    scores = _discount(*sums.chunk(2, dim=1))
    return scores / torch.from_numpy(weights.score_constants).to(scores)


def contrastive_map(
    maps: FeatureMaps,
    weights: ContrastiveWeights,
    targets: torch.Tensor,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    """Contrastive maps of some classes (their mean) against the rest of each image.

    Parameters
    ----------
    maps : FeatureMaps
        Feature maps of n_images images.
    weights : ContrastiveWeights
        With the score constants measured.
    targets : tensor of shape (n_images, n_targets)
        Distinct classes for each image, not all of them.
    shares : tensor of shape (n_images, 1, n_competing), default=None
        Weights of the competing classes; None: from the class scores in `maps`.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
        On the grid of `maps`.
    """
    if shares is None:
        shares = shares_of_competing(class_scores(maps, weights), weights, targets)
    total = shares.new_zeros(())
    for classes in targets.T:
        drops = _drops_against(shares, weights, classes)
        signed = torch.cat([drops.relu(), (-drops).relu()], dim=1)
        sums = smooth(weighted_sum(maps, signed), maps, weights.smoothing)
        total = total + _discount(*sums.chunk(2, dim=1))
    return total / targets.shape[1]


def _drops_against(
    shares: torch.Tensor, weights: ContrastiveWeights, classes: torch.Tensor
) -> torch.Tensor:
    """Weights of the filters for a class of each image, n_images x 1 x n_filters."""
    chosen = classes.cpu().numpy()
    n_values = math.prod(weights.log_odds_drops.shape[1:])
    parts = []
    for part in batch_slices(len(chosen), max(1, _MAX_VALUES // n_values)):
        constants = weights.score_constants[chosen[part], np.newaxis, np.newaxis]
        scaled = weights.log_odds_drops[chosen[part]] / constants
        # One product an image: rounding must not depend on the others.
        parts.append(torch.bmm(shares[part], torch.from_numpy(scaled).to(shares)))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _discount(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Positive contributions times their squared share in all contributions.

    Unlike a difference, it does not vanish where the negative contributions exceed the
    positive ones by a little.
    """
    # Where there are none, the share is 0.
    total = (positive + negative).clamp(min=torch.finfo(positive.dtype).tiny)
    return positive * (positive / total) ** _SHARPNESS


def shares_of_competing(
    scores: torch.Tensor, weights: ContrastiveWeights, targets: torch.Tensor
) -> torch.Tensor:
    """Weights of the competing classes in each image, n_images x 1 x n_competing.

    They sum to 1.
    """
    n_classes, n_competing, _ = weights.log_odds_drops.shape
    if n_competing < n_classes:
        return scores.new_ones(len(targets), 1, n_competing)
    scores = scores.scatter(1, targets, 0)
    # Without any score above 0, all competing classes have the same weight.
    uniform = torch.ones_like(scores).scatter(1, targets, 0)
    scores = torch.where(scores.any(dim=1, keepdim=True), scores, uniform)
    shares = (scores / scores.amax(dim=1, keepdim=True)) ** _COMPETITION
    return (shares / shares.sum(dim=1, keepdim=True))[:, None]
