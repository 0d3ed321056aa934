"""Where one class is: its margin over the other classes that are in the image.

Importances say that a filter counts for a class, but not against which others. Here,
what a filter's absence takes from the margin of class c over class k (the difference of
their log probabilities, on validation images of c) is the filter's weight in the
evidence for c against k. The rivals k of an image count by how much of them is in it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from .._network.activations import FeatureMaps
from .weights import weighted_sum

# Three numbers that were chosen on scenes of training images (digits, clothes) on
# training photographs. The first is a share of the trained size: the standard deviation
# with which evidence is smoothed, as a part that tells classes apart speaks for all of
# the object.
_SMOOTHING = 1 / 8
# Exponent of a rival's presence: the greater, the more the clearest rivals count alone.
_RIVALRY = 2
# Exponent of the share of what speaks for a class: the greater, the smaller the parts
# that are left of an object, and the surer they are its own.
_SHARPNESS = 2
# Pixels that are smoothed at once along an axis.
_MAX_TILE = 64


class Evidence(NamedTuple):
    """What evidence is computed from.

    Attributes
    ----------
    margins : ndarray of shape (n_classes, n_rivals, n_filters)
        Mean decrease of the margin of a class over another one without each filter;
        n_rivals is n_classes, or 1 where all others count as one.
    scales : ndarray of shape (n_classes,)
        Typical presence of each class in images of it.
    spread : (float, float)
        Standard deviations of the smoothing in pixels, see `spread_for`.
    """

    margins: np.ndarray
    scales: np.ndarray
    spread: tuple[float, float]


def spread_for(image_shape: Sequence[int]) -> tuple[float, float]:
    """Standard deviations for a network trained on images of a shape, in pixels."""
    height, width = image_shape[:2]
    return height * _SMOOTHING, width * _SMOOTHING


def margins_over_all(margins: np.ndarray) -> np.ndarray:
    """Mean margins over the rivals, n_classes x n_filters."""
    n_classes, n_rivals, _ = margins.shape
    # A class's margin over itself is 0 and no rival's.
    return margins.sum(axis=1) / (n_rivals - 1 if n_rivals == n_classes else n_rivals)


def signed_shares(margins: np.ndarray) -> np.ndarray:
    """Margins, n_classes x n_filters, whose absolute values sum to 1 for each class."""
    total = np.abs(margins).sum(axis=1, keepdims=True)
    return margins / np.where(total > 0, total, 1)


def presence(maps: FeatureMaps, evidence: Evidence) -> torch.Tensor:
    """How much of each class is in an image: what speaks for it, against all others.

    Returns
    -------
    tensor of shape (n_images, n_classes)
        From the mean responses; 1 is typical for an image of the class.
    """
    weights = torch.from_numpy(margins_over_all(evidence.margins)).to(maps.responses)
    signs = torch.cat([weights.relu(), (-weights).relu()])
    scales = torch.from_numpy(evidence.scales).to(weights)
    # One product an image: in one for all, rounding would depend on the neighbours.
    mean = maps.responses.relu().mean(dim=(2, 3))[..., None]
    sums = torch.bmm(signs.expand(len(mean), -1, -1), mean)[..., 0]
    return _weigh_up(*sums.chunk(2, dim=1)) / scales


def evidence_for(
    maps: FeatureMaps, evidence: Evidence, targets: torch.Tensor
) -> torch.Tensor:
    """Evidence for some classes (their mean) against what else is in each image.

    Parameters
    ----------
    maps : FeatureMaps
        Of n_images images.
    evidence : Evidence
    targets : tensor of shape (n_images, n_targets)
        Classes, different ones and not all, of each image.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
        On the grid of `maps`.
    """
    shares = _shares_of_rivals(maps, evidence, targets)
    total = shares.new_zeros(())
    for classes in targets.T:
        weights = _weights_against(shares, evidence, classes)
        signs = torch.cat([weights.relu(), (-weights).relu()], dim=1)
        sums = smooth(weighted_sum(maps, signs), maps, evidence.spread)
        total = total + _weigh_up(*sums.chunk(2, dim=1))
    return total / targets.shape[1]


def _weights_against(
    shares: torch.Tensor, evidence: Evidence, classes: torch.Tensor
) -> torch.Tensor:
    """Weights of the filters for a class of each image, n_images x 1 x n_filters."""
    weights = shares.new_empty(len(shares), 1, evidence.margins.shape[2])
    for index in classes.unique().tolist():
        is_own = classes == index
        margins = torch.from_numpy(evidence.margins[index] / evidence.scales[index])
        # One product an image: rounding must not depend on the others.
        rows = margins.to(shares).expand(int(is_own.sum()), -1, -1)
        weights[is_own] = torch.bmm(shares[is_own], rows)
    return weights


def _weigh_up(in_favour: torch.Tensor, against: torch.Tensor) -> torch.Tensor:
    """What speaks for a class times its squared share in all that speaks.

    Unlike what is left when the one is taken off the other, it is nowhere nothing just
    because a little more speaks against the class.
    """
    total = in_favour + against
    share = torch.where(total > 0, in_favour / total, 0)
    return in_favour * share**_SHARPNESS


def _shares_of_rivals(
    maps: FeatureMaps, evidence: Evidence, targets: torch.Tensor
) -> torch.Tensor:
    """How much each rival counts in each image, n_images x 1 x n_rivals, of sum 1."""
    n_classes, n_rivals, _ = evidence.margins.shape
    if n_rivals < n_classes:
        return maps.responses.new_ones(len(targets), 1, n_rivals)
    found = presence(maps, evidence).scatter(1, targets, 0)
    # Where nothing speaks for any rival, all of them count alike.
    alike = torch.ones_like(found).scatter(1, targets, 0)
    found = torch.where(found.any(dim=1, keepdim=True), found, alike)
    shares = (found / found.amax(dim=1, keepdim=True)) ** _RIVALRY
    return (shares / shares.sum(dim=1, keepdim=True))[:, None]


def smooth(
    heat: torch.Tensor, maps: FeatureMaps, spread: tuple[float, float]
) -> torch.Tensor:
    """Heat after a Gaussian filter; the border's values go on outside.

    Parameters
    ----------
    heat : tensor of shape (n_images, n_maps, height, width)
        On the grid of `maps`.
    maps : FeatureMaps
    spread : (float, float)
        Standard deviations in pixels of the image.
    """
    for axis in (0, 1):
        sigma = spread[axis] / (1 if maps.dense else maps.grid.stride[axis])
        heat = _smooth_rows(heat.mT, sigma)
    return heat


def _smooth_rows(heat: torch.Tensor, sigma: float) -> torch.Tensor:
    """Smooth along the last axis: products of tiles with a matrix of the kernel.

    That is a multiple faster than a convolution of so many small maps.
    """
    radius, length = math.ceil(3 * sigma), heat.shape[-1]
    n_tiles = math.ceil(length / _MAX_TILE)
    tile = math.ceil(length / n_tiles)
    places = torch.arange(tile + 2 * radius)[:, None] - radius - torch.arange(tile)
    kernel = torch.exp(-((places.to(heat) / sigma) ** 2) / 2)
    kernel[places.abs() > radius] = 0
    kernel = kernel / kernel.sum(dim=0)
    if n_tiles == 1:
        # What lies outside counts as what is at the border, without being there.
        inside = kernel[radius:-radius]
        inside[0] += kernel[:radius].sum(dim=0)
        inside[-1] += kernel[-radius:].sum(dim=0)
        return heat @ inside
    padding = (radius, radius + n_tiles * tile - length, 0, 0)
    tiles = F.pad(heat, padding, mode="replicate").unfold(-1, tile + 2 * radius, tile)
    # Flat, or the product would be taken row by row.
    smoothed = tiles.flatten(0, -2) @ kernel
    return smoothed.reshape(*heat.shape[:-1], -1)[..., :length]
