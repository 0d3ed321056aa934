"""Max-trees: the connected components of an image at every threshold.

Lowering the threshold only adds pixels, so components only grow and merge. A max-tree
holds the components of all thresholds; a component that is the same at several
thresholds is stored once, with their range.
"""

from functools import cached_property

import numpy as np


class MaxTree:
    """Components of a vertex-weighted graph at every threshold.

    Component i is a connected component of ``levels > t`` for every integer threshold t
    with ``death[i] <= t < birth[i]``. Parents come before their children.

    Parameters
    ----------
    graph : higra.UndirectedGraph
    levels : ndarray of uint16
        Level of each vertex.

    Attributes
    ----------
    parent : ndarray of shape (n_components,)
        Index of the smallest component that contains each component, -1 for none.
    birth, death : ndarray of shape (n_components,)
    """

    def __init__(self, graph, levels: np.ndarray):
        import higra as hg

        self._tree, altitudes = hg.component_tree_max_tree(graph, levels)
        self._n_vertices = levels.size
        # Inner nodes; higra puts parents after their children.
        self._nodes = slice(None, levels.size - 1, -1)
        birth = altitudes[self._nodes]
        # Vertices of level 0 are in no component, and the root may contain some.
        self._is_component = birth > 0
        self._node_parent = len(altitudes) - 1 - self._tree.parents()
        # The root is its own parent.
        parent = self._node_parent[self._nodes]
        death = birth[parent]
        parent[0], death[0] = -1, 0
        # If the root is not a component, all indices are smaller by one.
        self._n_skipped = int(not self._is_component[0])
        parent = np.maximum(parent - self._n_skipped, -1)
        self.parent = parent[self._is_component]
        self.birth = birth[self._is_component]
        self.death = death[self._is_component]

    def component_of(self, vertices: np.ndarray) -> np.ndarray:
        """Index of the smallest component that contains each vertex, -1 for none."""
        return self._node_parent[vertices] - self._n_skipped

    def minimum(self, values: np.ndarray) -> np.ndarray:
        """Minimum of the vertices' values in each component."""
        return self._accumulate(values, "min")

    def maximum(self, values: np.ndarray) -> np.ndarray:
        """Maximum of the vertices' values in each component."""
        return self._accumulate(values, "max")

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum of the vertices' values in each component."""
        return self._accumulate(values, "sum")

    def _accumulate(self, values: np.ndarray, accumulator: str) -> np.ndarray:
        import higra as hg

        accumulated = hg.accumulate_sequential(
            self._tree, values.ravel(), getattr(hg.Accumulators, accumulator)
        )
        return accumulated[self._nodes][self._is_component]


class ImageTree(MaxTree):
    """Max-tree of an image, with 8 neighbours; its vertices are flat pixel indices.

    Parameters
    ----------
    levels : ndarray of shape (height, width) of uint16
        Quantised image.
    """

    def __init__(self, levels: np.ndarray):
        # Imported late, as higra imports Matplotlib if that is installed.
        import higra as hg

        self._shape = levels.shape
        super().__init__(hg.get_8_adjacency_implicit_graph(levels.shape), levels)

    @cached_property
    def box(self) -> np.ndarray:
        """x_min, y_min, x_max, y_max in pixels, half-open, n_components x 4."""
        rows, columns = (np.arange(length, dtype=np.int32) for length in self._shape)
        y = np.broadcast_to(rows[:, np.newaxis], self._shape)
        x = np.broadcast_to(columns, self._shape)
        low = [self.minimum(x), self.minimum(y)]
        high = [self.maximum(x) + 1, self.maximum(y) + 1]
        return np.stack(low + high, axis=1)

    @cached_property
    def area(self) -> np.ndarray:
        """Number of pixels of each component."""
        return self.sum(np.ones(self._n_vertices, np.int32))

    @cached_property
    def first(self) -> np.ndarray:
        """Flat index of the first pixel of each component."""
        return self.minimum(np.arange(self._n_vertices, dtype=np.int32))


class MergedTree(MaxTree):
    """Max-tree of an image, from components of its parts.

    The components above a threshold are those of a graph that has a vertex for each
    component of a part, at the level of its birth, and edges to its parent and to the
    components next to it in other parts.

    Parameters
    ----------
    parent, birth : ndarray of shape (n_vertices,)
        Parent of each component of a part, -1 for none, and its birth.
    adjacent : ndarray of shape (n_pairs, 2)
        Pairs of the smallest components of neighbouring pixels of different parts.
    """

    def __init__(self, parent: np.ndarray, birth: np.ndarray, adjacent: np.ndarray):
        import higra as hg

        n = len(parent)
        graph = hg.UndirectedGraph(n + 1)
        # Trees of parts that are not connected meet in a vertex of level 0.
        graph.add_edges(np.arange(n), np.where(parent >= 0, parent, n))
        graph.add_edges(*np.ascontiguousarray(adjacent.T))
        super().__init__(graph, np.append(birth, 0).astype(np.uint16))

    def _accumulate(self, values: np.ndarray, accumulator: str) -> np.ndarray:
        # The vertex of level 0 is in no component, so that its value has no effect.
        return super()._accumulate(np.append(values, values.dtype.type(0)), accumulator)
