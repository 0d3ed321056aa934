"""The outline of what a heatmap shows, from early activations in the same image.

A late layer knows what is where, on a coarse grid; an early one has a fine grid, but
responds to anything. How each early filter goes together with the heat differs from
image to image: bright objects on dark ground, or dark ones on bright. So it is asked in
each image by itself: ridge regression predicts the heat of a place from the early
activations there. The prediction is what the heatmap shows, with edges of the image.
"""

import torch

from .._network.activations import FeatureMaps
from .weights import interpolate_to_pixels, sample_on_grid

# Penalty of the coefficients of activations that are scaled to unit variance. Chosen on
# scenes of training images; from 0.03 to 1, it makes little difference.
_PENALTY = 0.1
# Standard deviations, as a share of the largest, of filters that respond the same
# everywhere.
_CONSTANT = 1e-4


def outlined(
    heat: torch.Tensor, maps: FeatureMaps, size: tuple[int, int]
) -> torch.Tensor:
    """Heatmaps as early activations in the same image predict them; 0 at the least.

    Parameters
    ----------
    heat : tensor of shape (n_images, 1, height, width)
        At every pixel.
    maps : FeatureMaps
        Of the early layer.
    size : (int, int)
        Height and width of the images in pixels.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
    """
    # One product an image throughout: rounding must not depend on the neighbours.
    features = maps.activations.relu().flatten(2)
    features -= features.mean(dim=2, keepdim=True)
    wanted = sample_on_grid(heat, maps).flatten(2)
    mean = wanted.mean(dim=2, keepdim=True)
    n_places = features.shape[2]
    covariances = torch.bmm(features, features.mT) / n_places
    deviation = covariances.diagonal(dim1=1, dim2=2).sqrt()
    varies = deviation > _CONSTANT * deviation.amax(dim=1, keepdim=True)
    scale = torch.where(varies, 1 / deviation, 0)[:, :, None]
    correlations = covariances * scale * scale.mT
    correlations.diagonal(dim1=1, dim2=2).add_(_PENALTY)
    with_heat = scale * torch.bmm(features, (wanted - mean).mT) / n_places
    # Without a check, which would not name the image whose heat is not finite.
    coefficients, _ = torch.linalg.solve_ex(correlations, with_heat)
    predicted = mean + torch.bmm((scale * coefficients).mT, features)
    predicted = predicted.relu().unflatten(2, maps.activations.shape[2:])
    return interpolate_to_pixels(predicted, maps, size)
