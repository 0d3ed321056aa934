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
    smallest : ndarray of shape (height * width,)
        Index of the smallest component that holds each pixel, -1 for none.
    """

    box: np.ndarray
    area: np.ndarray
    first: np.ndarray
    peak: np.ndarray
    parent: np.ndarray
    birth: np.ndarray
    death: np.ndarray
    smallest: np.ndarray


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

    tree = _MaxTree(hg.get_8_adjacency_implicit_graph(levels.shape), levels)
    rows, columns = (np.arange(length, dtype=np.int32) for length in levels.shape)
    y = np.broadcast_to(rows[:, np.newaxis], levels.shape)
    x = np.broadcast_to(columns, levels.shape)
    box = [tree.least(x), tree.least(y), tree.greatest(x) + 1, tree.greatest(y) + 1]
    ones = np.ones(levels.size, np.int32)
    return ComponentTree(
        box=np.stack(box, axis=1),
        area=tree.accumulate(ones, hg.Accumulators.sum),
        first=tree.least(np.arange(levels.size, dtype=np.int32)),
        peak=tree.greatest(levels if values is None else values),
        parent=tree.parent,
        birth=tree.birth,
        death=tree.death,
        smallest=tree.smallest,
    )


class MergedComponents(NamedTuple):
    """Components of a whole, from those of its parts; fields as in `ComponentTree`.

    `smallest` is, for each component of a part, the one of the whole that begins as it.
    """

    box: np.ndarray
    first: np.ndarray
    peak: np.ndarray
    parent: np.ndarray
    birth: np.ndarray
    death: np.ndarray
    smallest: np.ndarray


def merge_components(parts: np.ndarray, touching: np.ndarray) -> MergedComponents:
    """The components of a whole, from those of its parts that reach a border.

    The components above a threshold are those of a graph that has a vertex for each
    component of a part, of its birth's level, and edges to parents and across borders.

    Parameters
    ----------
    parts : structured ndarray with the fields of `MergedComponents` but the last
        Parents are rows of it.
    touching : ndarray of shape (n_pairs, 2)
        Rows of the smallest components of each two pixels that are neighbours.
    """
    import higra as hg

    n = len(parts)
    graph = hg.UndirectedGraph(n + 1)
    # A vertex of level 0 joins what would be several trees.
    holder = np.where(parts["parent"] >= 0, parts["parent"], n)
    graph.add_edges(np.arange(n), holder)
    graph.add_edges(*np.ascontiguousarray(touching.T))
    tree = _MaxTree(graph, np.append(parts["birth"], 0).astype(np.uint16))
    box = parts["box"]
    low = [tree.least(np.append(box[:, axis], np.inf)) for axis in (0, 1)]
    high = [tree.greatest(np.append(box[:, axis], -np.inf)) for axis in (2, 3)]
    last = np.iinfo(np.int64).max
    return MergedComponents(
        box=np.stack(low + high, axis=1),
        first=tree.least(np.append(parts["first"], last)),
        peak=tree.greatest(np.append(parts["peak"], -np.inf)),
        parent=tree.parent,
        birth=tree.birth,
        death=tree.death,
        smallest=tree.smallest[:-1],
    )


class _MaxTree:
    """Components of a graph at every threshold, parents before their children."""

    def __init__(self, graph, levels: np.ndarray):
        import higra as hg

        self._hg = hg
        self._tree, altitudes = hg.component_tree_max_tree(graph, levels)
        # Nodes that are no leaves; in the library's order, parents come after children.
        self._nodes = slice(None, levels.size - 1, -1)
        birth = altitudes[self._nodes]
        # Vertices of level 0 are in no component, and the root may have some.
        self._is_component = birth > 0
        parents = len(altitudes) - 1 - self._tree.parents()
        # The root is its own parent.
        parent = parents[self._nodes]
        death = birth[parent]
        parent[0], death[0] = -1, 0
        # Without the root, all rows move up by one.
        shift = int(not self._is_component[0])
        self.parent = np.maximum(parent - shift, -1)[self._is_component]
        self.smallest = parents[: levels.size] - shift
        self.birth = birth[self._is_component]
        self.death = death[self._is_component]

    def accumulate(self, values: np.ndarray, accumulator) -> np.ndarray:
        """Values of the vertices, accumulated over each component."""
        found = self._hg.accumulate_sequential(self._tree, values.ravel(), accumulator)
        return found[self._nodes][self._is_component]

    def least(self, values: np.ndarray) -> np.ndarray:
        """Least value in each component."""
        return self.accumulate(values, self._hg.Accumulators.min)

    def greatest(self, values: np.ndarray) -> np.ndarray:
        """Greatest value in each component."""
        return self.accumulate(values, self._hg.Accumulators.max)
