"""What heatmaps are made of, and making them."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from .._network.activations import Batches, FeatureMaps, layer_maps
from .class_discriminative import Evidence, evidence_for
from .weights import to_pixels, weighted_sum

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
    classes = None if targets is None else targets[seen.indices]
    weights = [torch.from_numpy(of_layer[np.newaxis]) for of_layer in recipe.weights]
    if classes is not None and not recipe.evidence:
        weights[-1] = _mean_weights(recipe, classes)
    heat = _geometric_mean(
        *(
            to_pixels(weighted_sum(maps, rows.to(maps.responses)), maps, seen.size)
            for maps, rows in zip(seen.maps, weights, strict=True)
        )
    )
    if classes is not None and recipe.evidence:
        last = seen.maps[-1]
        wanted = torch.from_numpy(classes).to(last.responses.device)
        evidence = evidence_for(last, recipe.evidence, wanted)
        heat = _geometric_mean(heat, to_pixels(evidence, last, seen.size))
    return heat[:, 0].cpu().numpy()


def _mean_weights(recipe: Recipe, classes: np.ndarray) -> torch.Tensor:
    """Weights of the last layer for some classes, n_images x 1 x n_filters.

    The mean of the classes' weights, each in units of its scale.
    """
    # One layer of several has the heat only as one factor of a geometric mean.
    scales = recipe.class_scales[classes, np.newaxis] ** len(recipe.layers)
    means = (recipe.class_weights[classes] / scales).mean(axis=1, keepdims=True)
    return torch.from_numpy(means * scales.mean(axis=1, keepdims=True))


def _geometric_mean(*heat: torch.Tensor) -> torch.Tensor:
    if len(heat) == 1:
        return heat[0]
    # The roots first, as the product could be too large a number.
    return reduce(torch.mul, [own ** (1 / len(heat)) for own in heat])
