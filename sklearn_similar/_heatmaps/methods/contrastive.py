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

from ..._images.images import batch_slices
from ..._images.memory import within_working_memory
from ..._network.activations import FeatureMaps
from ..class_map import ClassMap, ClassMapState, ImageActivations, Measurement
from ..maps import SMOOTHING_RADIUS, geometric_mean, smooth, weighted_sum

# Drops of log-odds that are held at a time, at scikit-learn's default working memory.
_MAX_VALUES = 2**22


@dataclass(frozen=True, kw_only=True)
class ContrastiveWeights:
    """Weights of the filters in contrastive maps.

    The exponents, and the smoothing that `smoothing_for` gives, were chosen on scenes
    of training images (digits, clothes) on training photographs.

    Attributes
    ----------
    log_odds_drops : ndarray of shape (n_classes, n_competing, n_filters)
        Mean drop of the log-odds of a class over another one without each filter;
        n_competing is n_classes, or 1 where all other classes are taken together.
    smoothing : (float, float)
        Standard deviations in pixels, see `smoothing_for`.
    score_constants : ndarray of shape (n_classes,)
        Divide class scores: the median on images of the class; ones to measure it.
    competition : int
        Exponent of the scores of competing classes: the larger, the more the strongest
        competitors dominate.
    sharpness : int
        Exponent of the positive share: the larger, the smaller the parts of an object
        that remain, and the more probably they belong to it.
    """

    log_odds_drops: np.ndarray
    smoothing: tuple[float, float]
    score_constants: np.ndarray
    competition: int = 2
    sharpness: int = 2


class Contrastive(ClassMap):
    """Geometric mean of the heatmap of all classes and the contrastive map."""

    contrasts_classes = True

    def filter_weights(self, measurement: Measurement) -> np.ndarray:
        """Weights against all other classes equally; absolute values sum to 1."""
        return signed_weights(measurement.importances.log_odds_drops)

    def halo(self, state: ClassMapState) -> int:
        """The radius of the smoothing, and its interpolation."""
        return math.ceil(SMOOTHING_RADIUS * max(smoothing_for(state.trained_size))) + 2

    def class_scores(
        self, activations: ImageActivations, state: ClassMapState
    ) -> torch.Tensor:
        """Scores of each class against all others, n_images x n_classes."""
        return class_scores(activations.mean_activations, contrastive_weights(state))

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Heat where all classes have heat, and the filters favour some of them."""
        contrast = self.contrast(activations, classes, state)
        return geometric_mean(activations.heat(), contrast)

    def contrast(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """The contrastive map at every pixel, n_images x 1 x height x width."""
        weights, maps = contrastive_weights(state), activations.feature_maps[-1]
        targets = torch.from_numpy(classes).to(maps.activations.device)
        scores = class_scores(activations.mean_activations, weights)
        shares = competing_shares(scores, weights, targets)
        return activations.at_pixels(
            contrastive_map(maps, weights, targets, shares), maps
        )


def contrastive_weights(state: ClassMapState) -> ContrastiveWeights:
    """Weights from what a class map has learnt."""
    constants = state.score_constants
    if constants is None:
        constants = np.ones(len(state.log_odds_drops))
    return ContrastiveWeights(
        log_odds_drops=state.log_odds_drops,
        smoothing=smoothing_for(state.trained_size),
        score_constants=constants,
    )


def smoothing_for(
    image_shape: Sequence[int], share: float = 1 / 8
) -> tuple[float, float]:
    """Standard deviations in pixels, for a network trained on images of a shape.

    The part that discriminates between classes stands for the whole object, and so the
    standard deviation is a share of the trained size.
    """
    height, width = image_shape[:2]
    return height * share, width * share


def mean_log_odds_drops(drops: np.ndarray) -> np.ndarray:
    """Mean drops over the competing classes, n_classes x n_filters."""
    n_classes, n_competing, _ = drops.shape
    # A class does not compete with itself: its drop is 0.
    return drops.sum(axis=1) / (n_competing - (n_competing == n_classes))


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


def class_scores(mean: torch.Tensor, weights: ContrastiveWeights) -> torch.Tensor:
    """Scores of each class against all others.

    Parameters
    ----------
    mean : tensor of shape (n_images, n_filters)
        Means of the positive activations over each image.
    weights : ContrastiveWeights

    Returns
    -------
    tensor of shape (n_images, n_classes)
        In units of `weights.score_constants`.
    """
    drops = torch.from_numpy(mean_log_odds_drops(weights.log_odds_drops)).to(mean)
    signed = torch.cat([drops.relu(), (-drops).relu()])
    # One product per image: in one for all, rounding would depend on the neighbours.
    sums = torch.bmm(signed.expand(len(mean), -1, -1), mean[..., None])[..., 0]
    positive, negative = sums.chunk(2, dim=1)
    scores = _discount(positive, negative, weights.sharpness)
    return scores / torch.from_numpy(weights.score_constants).to(scores)


def contrastive_map(
    maps: FeatureMaps,
    weights: ContrastiveWeights,
    targets: torch.Tensor,
    shares: torch.Tensor,
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
    shares : tensor of shape (n_images, 1, n_competing)
        Weights of the competing classes; see `competing_shares`.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
        On the grid of `maps`.
    """
    total = shares.new_zeros(())
    for classes in targets.T:
        drops = _drops_against(shares, weights, classes)
        signed = torch.cat([drops.relu(), (-drops).relu()], dim=1)
        sums = smooth(weighted_sum(maps, signed), maps, weights.smoothing)
        positive, negative = sums.chunk(2, dim=1)
        total = total + _discount(positive, negative, weights.sharpness)
    return total / targets.shape[1]


def _drops_against(
    shares: torch.Tensor, weights: ContrastiveWeights, classes: torch.Tensor
) -> torch.Tensor:
    """Weights of the filters for a class of each image, n_images x 1 x n_filters."""
    chosen = classes.cpu().numpy()
    n_values = math.prod(weights.log_odds_drops.shape[1:])
    parts = []
    n_at_once = max(1, within_working_memory(_MAX_VALUES) // n_values)
    for part in batch_slices(len(chosen), n_at_once):
        constants = weights.score_constants[chosen[part], np.newaxis, np.newaxis]
        scaled = weights.log_odds_drops[chosen[part]] / constants
        # One product per image: rounding must not depend on the others.
        parts.append(torch.bmm(shares[part], torch.from_numpy(scaled).to(shares)))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _discount(
    positive: torch.Tensor, negative: torch.Tensor, sharpness: int
) -> torch.Tensor:
    """Positive contributions times a power of their share in all contributions.

    Unlike a difference, it does not vanish where the negative contributions exceed the
    positive ones by a little.
    """
    # Where there are none, the share is 0.
    total = (positive + negative).clamp(min=torch.finfo(positive.dtype).tiny)
    return positive * (positive / total) ** sharpness


def competing_shares(
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
    shares = (scores / scores.amax(dim=1, keepdim=True)) ** weights.competition
    return (shares / shares.sum(dim=1, keepdim=True))[:, None]
