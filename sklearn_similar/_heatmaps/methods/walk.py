"""Evidence of a class, carried over places with similar mid-level features.

The last layer discriminates between classes, but responds to parts of an object.
Mid-level features are similar all over an object. So each place gets the mean evidence
of the places whose features are similar to its own: one step of a random walk.
"""

import torch
from torch.nn import functional as F

from ..._images.images import batch_slices
from ..._images.memory import within_working_memory
from ..._network.activations import FeatureMaps
from ..class_map import ImageActivations
from ..maps import sample_on_grid
from .mid_level import MidLevel

# A photograph of 512 x 512 pixels at a stride of 8.
_MAX_SOURCES = 2**12
# Pairs of places that are compared at a time, at scikit-learn's default working
# memory.
_MAX_PAIRS = 2**24


class Walk(MidLevel):
    """Mean evidence of the places with similar mid-level features."""

    def carried(
        self, evidence: torch.Tensor, activations: ImageActivations
    ) -> torch.Tensor:
        """Evidence after a step of the walk, less its minimum in each image."""
        maps = activations.mid_level_maps[0]
        return activations.at_pixels(walk(evidence, maps), maps)


def walk(
    evidence: torch.Tensor, maps: FeatureMaps, max_sources: int = _MAX_SOURCES
) -> torch.Tensor:
    """One step of a random walk between places with similar features.

    The similarity of two places is the cosine of their features, from which the mean
    over the image is subtracted; negative ones count as 0.

    Parameters
    ----------
    evidence : tensor of shape (n_images, 1, height, width)
        At every pixel.
    maps : FeatureMaps
    max_sources : int, default=4096
        Maximum number of places with evidence; those of finer grids are averaged.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
        On the grid of `maps`, less its minimum in each image.
    """
    evidence, features = sample_on_grid(evidence, maps), maps.activations
    means = features.mean(dim=(2, 3), keepdim=True)
    places = F.normalize(features - means, dim=1).flatten(2)
    while features.shape[2:].numel() > max_sources:
        features, evidence = (
            F.avg_pool2d(values, 2, ceil_mode=True) for values in (features, evidence)
        )
    sources = F.normalize(features - means, dim=1).flatten(2)
    n_sources = len(sources) * sources.shape[2]
    n_at_once = max(1, within_working_memory(_MAX_PAIRS) // n_sources)
    steps = []
    for part in batch_slices(places.shape[2], n_at_once):
        # One product per image: rounding must not depend on the others.
        similarity = torch.bmm(places[..., part].mT, sources).relu_()
        total = similarity.sum(dim=2).clamp(min=torch.finfo(similarity.dtype).tiny)
        steps.append(torch.bmm(similarity, evidence.flatten(2).mT)[..., 0] / total)
    walked = torch.cat(steps, dim=1)
    walked = walked - walked.amin(dim=1, keepdim=True)
    return walked[:, None].unflatten(2, maps.activations.shape[2:])
