"""Connected components of an image at every threshold: its max-tree.

Lowering the threshold only adds pixels, so components only grow and merge. Every
component of every threshold is in the tree, but one that stays the same is there once,
with the range of thresholds at which it exists.
"""

from typing import NamedTuple

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
    # Imported late, as it imports Matplotlib where that is installed.
    import higra as hg

    graph = hg.get_8_adjacency_implicit_graph(levels.shape)
    tree, altitudes = hg.component_tree_max_tree(graph, levels)
    # Nodes that are no pixels; in the library's order, parents come after children.
    nodes = slice(None, levels.size - 1, -1)
    birth = altitudes[nodes]
    # Pixels of level 0 are in no component, and the root may have some.
    is_component = birth > 0

    def accumulate(pixels: np.ndarray, accumulator) -> np.ndarray:
        accumulated = hg.accumulate_sequential(tree, pixels.ravel(), accumulator)
        return accumulated[nodes][is_component]

    lowest, highest = hg.Accumulators.min, hg.Accumulators.max
    rows, columns = (np.arange(length, dtype=np.int32) for length in levels.shape)
    y = np.broadcast_to(rows[:, np.newaxis], levels.shape)
    x = np.broadcast_to(columns, levels.shape)
    box = [accumulate(x, lowest), accumulate(y, lowest)]
    box += [accumulate(x, highest) + 1, accumulate(y, highest) + 1]
    index = np.arange(levels.size, dtype=np.int32)
    # The root is its own parent.
    parent = len(altitudes) - 1 - tree.parents()[nodes]
    death = birth[parent]
    parent[0], death[0] = -1, 0
    return ComponentTree(
        box=np.stack(box, axis=1),
        area=accumulate(np.ones(levels.size, np.int32), hg.Accumulators.sum),
        first=accumulate(index, lowest),
        peak=accumulate(levels if values is None else values, highest),
        # Without the root, all rows move up by one.
        parent=np.maximum(parent - (not is_component[0]), -1)[is_component],
        birth=birth[is_component],
        death=death[is_component],
    )
