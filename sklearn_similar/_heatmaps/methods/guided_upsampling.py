"""The outline of what a heatmap shows, from early activations in the same image.

A late layer knows what is where, on a coarse grid; an early one has a fine grid, but
responds to anything. How each early filter goes together with the heat differs from
image to image: bright objects on dark ground, or dark ones on bright. So it is asked in
each image by itself: ridge regression predicts the heat of a place from the early
activations there. The prediction is what the heatmap shows, with edges of the image.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ..._images.images import Images
from ..._network.activations import FeatureMaps, find_first_block
from ..._network.trained import TrainedNetwork
from ..maps import interpolate_to_pixels, sample_on_grid

# Penalty of the coefficients of activations that are scaled to unit variance. Chosen on
# scenes of training images; from 0.03 to 1, it makes little difference.
_PENALTY = 0.1
# Standard deviations, as a share of the largest, of filters that respond the same
# everywhere.
_CONSTANT = 1e-4
# Images on which the early layer is looked for.
_N_PROBES = 3


def find_outline_layer(
    network: TrainedNetwork, layers: Sequence[str], images: Images, indices: np.ndarray
) -> str | None:
    """The early layer for the outlines of heatmaps of one layer.

    Several layers have an early one among them: None.
    """
    if len(layers) > 1:
        return None
    _, batch = next(network.batches(images, indices[:_N_PROBES]))
    return find_first_block(network.module, layers[0], batch)


def outlined(
    heat: torch.Tensor, maps: FeatureMaps, size: Sequence[int]
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
    activations = maps.activations.flatten(2)
    wanted = sample_on_grid(heat, maps).flatten(2)
    # In place, as the many activations of an early layer take longer to allocate than
    # to compute.
    values = torch.cat([activations, wanted], dim=1)
    features = values[:, :-1].relu_()
    largest = features.amax(dim=(1, 2), keepdim=True)
    # Squares of very large activations would not be finite.
    features /= largest.clamp(min=torch.finfo(largest.dtype).tiny)
    means = values.mean(dim=2, keepdim=True)
    values -= means
    # One product an image, of more than a row: rounding must not depend on the others.
    covariances = torch.bmm(values, values.mT)[:, :-1] / values.shape[2]
    deviation = covariances.diagonal(dim1=1, dim2=2).sqrt()
    varies = deviation > _CONSTANT * deviation.amax(dim=1, keepdim=True)
    scale = torch.where(varies, 1 / deviation, 0)[:, :, None]
    correlations = covariances[:, :, :-1] * scale * scale.mT
    correlations.diagonal(dim1=1, dim2=2).add_(_PENALTY)
    # Without a check, which would not name the image whose heat is not finite.
    coefficients, _ = torch.linalg.solve_ex(
        correlations, scale * covariances[:, :, -1:]
    )
    predicted = means[:, -1:] + torch.bmm((scale * coefficients).mT, features)
    predicted = predicted.relu().unflatten(2, maps.activations.shape[2:])
    return interpolate_to_pixels(predicted, maps, size)
