"""Connected components of an image at every threshold: its max-tree.

Lowering the threshold only adds pixels, so components only grow and merge. Every
component of every threshold is in the tree, but one that stays the same is there once,
with the range of thresholds at which it exists.
"""

from typing import NamedTuple

import higra as hg
import numpy as np


class ComponentTree(NamedTuple):
    """Components with 8 neighbours, parents before their children.

    Component i is one of ``levels > t`` for every integer threshold t with
    ``death[i] <= t < birth[i]``.

    Attributes
    ----------
    box : ndarray of shape (n_components, 4)
        x_min, y_min, x_max, y_max in pixels, half-open.
    area : ndarray of shape (n_components,)
        Number of pixels.
    first : ndarray of shape (n_components,)
        Flat index of the first pixel.
    peak : ndarray of shape (n_components,)
        Greatest value.
    parent : ndarray of shape (n_components,)
        Index of the smallest component that holds each one, -1 for none.
    birth, death : ndarray of shape (n_components,)
    """

    box: np.ndarray
    area: np.ndarray
    first: np.ndarray
    peak: np.ndarray
    parent: np.ndarray
    birth: np.ndarray
    death: np.ndarray


def component_tree(
    levels: np.ndarray, values: np.ndarray | None = None
) -> ComponentTree:
    """The components of ``levels > t`` for all thresholds t >= 0.

    Parameters
    ----------
    levels : ndarray of shape (height, width) of uint16
        Quantised image.
    values : ndarray of shape (height, width), default=None
        Values for the peaks; None: the levels.
    """
    graph = hg.get_8_adjacency_implicit_graph(levels.shape)
    tree, altitudes = hg.component_tree_max_tree(graph, levels)
    n_pixels = levels.size

    def accumulate(leaves: np.ndarray, accumulator) -> np.ndarray:
        # Parents come after their children in the library's order.
        return hg.accumulate_sequential(tree, leaves, accumulator)[: n_pixels - 1 : -1]

    y, x = np.indices(levels.shape, dtype=np.int32).reshape(2, -1)
    corners = np.stack([x, y, -x - 1, -y - 1], axis=1)
    box = accumulate(corners, hg.Accumulators.min)
    box[:, 2:] *= -1
    birth = altitudes[: n_pixels - 1 : -1]
    last = len(tree.parents()) - 1
    parent = (last - tree.parents())[: n_pixels - 1 : -1]
    death = birth[parent]
    # The root holds all pixels and is its own parent.
    parent[0], death[0] = -1, 0
    # Pixels of level 0 are in no component.
    is_real = birth > 0
    if not is_real[0]:
        parent, is_real[0] = parent - 1, False
    tree_columns = (
        box,
        accumulate(np.ones(n_pixels, np.int32), hg.Accumulators.sum),
        accumulate(np.arange(n_pixels, dtype=np.int32), hg.Accumulators.min),
        accumulate((levels if values is None else values).ravel(), hg.Accumulators.max),
        np.maximum(parent, -1),
        birth,
        death,
    )
    return ComponentTree(*(column[is_real] for column in tree_columns))
