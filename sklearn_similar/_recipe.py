"""What heatmaps are made of, and making them."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from ._evidence import Evidence, evidence_for
from ._feature_maps import Batches, FeatureMaps, layer_maps
from ._heatmap import to_pixels, weighted_sum

# Responses at every pixel are many; in parts of this many pixels they are up to three
# times as fast on a CPU, as they fit into its caches.
_MAX_DENSE_PIXELS = 2**14


class Recipe(NamedTuple):
    """What heatmaps of all classes, and those of some, are made of.

    The heat of all classes is the geometric mean over the layers of a weighted sum of
    their responses. That of some classes is the geometric mean of it and of the
    evidence for them, or it has the classes' weights in the last layer.

    Attributes
    ----------
    layers : tuple of str
    weights : tuple of ndarray of shape (n_filters,)
        Of the filters of each layer.
    class_weights : ndarray of shape (n_classes, n_filters)
        Of the filters of the last layer. They count where there is no evidence.
    class_scales : ndarray of shape (n_classes,)
        The heat of each class that counts as 1, so that those of a category, of which
        the mean is taken, count alike.
    evidence : Evidence or None
        From the last layer.
    resolution : {"pooled", "dense"}
    """

    layers: tuple[str, ...]
    weights: tuple[np.ndarray, ...]
    class_weights: np.ndarray
    class_scales: np.ndarray
    evidence: Evidence | None
    resolution: str


class Seen(NamedTuple):
    """Some images, as the layers of a recipe respond to them.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
    maps : list of FeatureMaps
    size : (int, int)
        Height and width of the images in pixels.
    """

    indices: np.ndarray
    maps: list[FeatureMaps]
    size: Sequence[int]


def look(module: nn.Module, batches: Batches, recipe: Recipe) -> Iterator[Seen]:
    """Responses to images, batch by batch."""
    for indices, images in batches:
        size = images.shape[2:]
        n_at_once = len(images)
        if recipe.resolution == "dense" and images.device.type == "cpu":
            n_at_once = max(1, _MAX_DENSE_PIXELS // size.numel())
        for part in gen_batches(len(images), n_at_once):
            maps = layer_maps(module, recipe.layers, images[part], recipe.resolution)
            yield Seen(indices[part], maps, size)


def draw(seen: Seen, recipe: Recipe, targets: np.ndarray | None = None) -> np.ndarray:
    """Heatmaps, before normalisation.

    Parameters
    ----------
    seen : Seen
    recipe : Recipe
    targets : ndarray of shape (n_images, n_targets), default=None
        Classes whose heat is wanted in each of the images that `seen.indices` count;
        None: the heat of all classes.

    Returns
    -------
    ndarray of shape (n_images_seen, height, width), float32
    """
    own = None
    if targets is not None:
        device = seen.maps[0].responses.device
        own = torch.from_numpy(targets[seen.indices]).to(device)
    return _draw(seen.maps, recipe, own, seen.size)[:, 0].cpu().numpy()


def _draw(
    maps: list[FeatureMaps],
    recipe: Recipe,
    targets: torch.Tensor | None,
    size: Sequence[int],
) -> torch.Tensor:
    """Heatmaps from the responses of the layers, n_images x 1 x height x width."""
    weights = [torch.from_numpy(of_layer[np.newaxis]) for of_layer in recipe.weights]
    if targets is not None and not recipe.evidence:
        weights[-1] = _mean_weights(recipe, targets.cpu().numpy())
    heat = _geometric_mean(
        *(
            to_pixels(
                weighted_sum(of_layer, rows.to(of_layer.responses)), of_layer, size
            )
            for of_layer, rows in zip(maps, weights, strict=True)
        )
    )
    if targets is None or not recipe.evidence:
        return heat
    evidence = evidence_for(maps[-1], recipe.evidence, targets)
    return _geometric_mean(heat, to_pixels(evidence, maps[-1], size))


def _mean_weights(recipe: Recipe, targets: np.ndarray) -> torch.Tensor:
    """Weights of the last layer for some classes, n_images x 1 x n_filters.

    The mean of the classes' weights, each in units of its scale.
    """
    # One layer of several has the heat only as one factor of a geometric mean.
    scales = recipe.class_scales[targets, np.newaxis] ** len(recipe.layers)
    means = (recipe.class_weights[targets] / scales).mean(axis=1, keepdims=True)
    return torch.from_numpy(means * scales.mean(axis=1, keepdims=True))


def _geometric_mean(*heat: torch.Tensor) -> torch.Tensor:
    if len(heat) == 1:
        return heat[0]
    # The roots first, as the product could be too large a number.
    return reduce(torch.mul, [own ** (1 / len(heat)) for own in heat])
