"""Guided upsampling: heatmaps of a class with the edges of the image.

A late layer discriminates classes, on a coarse grid. An early layer has a fine grid,
but responds to anything. How each early filter correlates with the heat differs between
images: objects are bright on dark ground, or dark on bright. So it is fitted in each
image by itself: ridge regression predicts the heat of a place from the early
activations there. The prediction replaces the heat, and has the edges of the image.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ..._network.activations import FeatureMaps
from ..._network.layers import find_first_block
from ..class_map import ClassMapState, ImageActivations, Measurement
from ..class_probability import weigh_by_probability
from ..maps import geometric_mean, interpolate_to_pixels, sample_on_grid
from .contrastive import Contrastive, smoothing_for

# Share of the largest standard deviation below which a filter counts as constant.
_CONSTANT = 1e-4


class GuidedUpsampling(Contrastive):
    """Contrastive maps with outlines, weighted by the probability of the classes.

    With several layers, of which an early one gives the outline, plain contrastive
    maps.
    """

    def outline_layer(self, measurement: Measurement) -> str | None:
        """The network's first block, if there is an early layer before the only one."""
        if len(measurement.layers) > 1:
            return None
        network, layer = measurement.network, measurement.layers[0]
        probes = measurement.probes
        key = "first block", layer, probes.shape, probes.dtype
        find = partial(find_first_block, network.module, layer, probes)
        return network.memo.get(network.module, key, find)

    def reads_probabilities(self, state: ClassMapState) -> bool:
        """Whether there is an outline."""
        return state.outline_layer is not None

    def needs_whole_image(self, state: ClassMapState) -> bool:
        """Whether there is an outline, which is fitted in the whole image."""
        return state.outline_layer is not None

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Outlined heat where the filters favour the classes, and the network does."""
        if activations.outline_maps is None:
            return super().heat(activations, classes, state)
        outline = upsample_guided(
            activations.heat(), activations.outline_maps, activations.size
        )
        heat = geometric_mean(outline, self.contrast(activations, classes, state))
        smoothing = smoothing_for(state.trained_size)
        return weigh_by_probability(heat, activations, classes, smoothing)


def upsample_guided(
    heat: torch.Tensor,
    maps: FeatureMaps,
    size: Sequence[int],
    penalty: float = 0.1,
    has_signs: bool = False,
) -> torch.Tensor:
    """Heatmaps as activations in the same image predict them, clipped at 0.

    Parameters
    ----------
    heat : tensor of shape (n_images, 1, height, width)
        At every pixel.
    maps : FeatureMaps
        Those of a finer layer.
    size : (int, int)
        Height and width of the images in pixels.
    penalty : float, default=0.1
        Penalty of the coefficients of activations that are scaled to unit variance.
        Chosen on scenes of training images; from 0.03 to 1, it makes little difference.
    has_signs : bool, default=False
        Whether negative activations predict heat, too.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
    """
    activations = maps.activations
    n_images, n_filters, height, width = activations.shape
    # In place, as the many activations of an early layer take longer to allocate than
    # to compute.
    dtype = torch.result_type(activations, heat)
    values = activations.new_empty(n_images, n_filters + 1, height, width, dtype=dtype)
    values[:, -1:] = sample_on_grid(heat, maps)
    if has_signs:
        values[:, :-1] = activations
    else:
        torch.clamp(activations.to(dtype), min=0, out=values[:, :-1])
    values = values.flatten(2)
    features = values[:, :-1]
    largest = features.amax(dim=(1, 2), keepdim=True)
    if has_signs:
        largest = torch.maximum(largest, -features.amin(dim=(1, 2), keepdim=True))
    # Squares of very large activations would not be finite.
    features /= largest.clamp(min=torch.finfo(largest.dtype).tiny)
    means = values.mean(dim=2, keepdim=True)
    values -= means
    # One product per image, of more than a row: rounding must not depend on the others.
    covariances = torch.bmm(values, values.mT)[:, :-1] / values.shape[2]
    deviation = covariances.diagonal(dim1=1, dim2=2).sqrt()
    varies = deviation > _CONSTANT * deviation.amax(dim=1, keepdim=True)
    scale = torch.where(varies, 1 / deviation, 0)[:, :, None]
    correlations = covariances[:, :, :-1] * scale * scale.mT
    correlations.diagonal(dim1=1, dim2=2).add_(penalty)
    # Without a check, which would not name the image whose heat is not finite.
    coefficients, _ = torch.linalg.solve_ex(
        correlations, scale * covariances[:, :, -1:]
    )
    predicted = means[:, -1:] + torch.bmm((scale * coefficients).mT, features)
    predicted = predicted.relu().unflatten(2, maps.activations.shape[2:])
    return interpolate_to_pixels(predicted, maps, size)
