"""Connected components of a map at every threshold, in one sweep.

Lowering the threshold only adds pixels, so components only grow and merge. The sweep
unites pixels level by level with union-find, for many maps at a time, and records each
component with the range of thresholds at which it exists: every component of every
threshold is there, but one that stays the same is there once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# Pixels swept together: enough to hide the cost of a step, some 100 MB of arrays.
_MAX_PIXELS = 2**19


class Components(NamedTuple):
    """Components of all maps at all thresholds, one a row.

    Component i is one of ``level > t`` for every integer threshold t with
    ``death[i] <= t < birth[i]``.
    """

    image: np.ndarray  # number of the map
    box: np.ndarray  # (n, 4) x_min, y_min, x_max, y_max, half-open
    area: np.ndarray  # pixels
    first: np.ndarray  # its first pixel in the order of rows, comparable within a map
    birth: np.ndarray
    death: np.ndarray


def threshold_components(levels: Sequence[np.ndarray]) -> Iterator[Components]:
    """Find the 8-connected components of ``level > t`` for all t >= 0.

    Parameters
    ----------
    levels : sequence of uint16 arrays of shape (h, w)
        Quantised maps, of any sizes.

    Yields
    ------
    components : Components
        Components of a batch of consecutive maps; memory is bounded by the batch, or by
        the largest map.
    """
    start = 0
    while start < len(levels):
        stop, pixels = start + 1, levels[start].size
        while stop < len(levels) and pixels + levels[stop].size <= _MAX_PIXELS:
            pixels += levels[stop].size
            stop += 1
        yield _sweep(levels[start:stop], start)
        start = stop


def _sweep(levels: Sequence[np.ndarray], first_image: int) -> Components:
    """Find the components of one batch, from the highest level down."""
    level = np.concatenate([part.ravel() for part in levels])
    n = level.size
    left, right = _neighbours(levels)
    # A pair is joined from the level on at which both its pixels are there.
    joined = np.minimum(level[left], level[right])
    pairs_at = _LevelIndex(joined)
    pixels_at = _LevelIndex(level)

    # State of each component, kept at its root pixel. Corners are stored as minima, the
    # greatest coordinates negated, so that one reduction serves all four.
    parent = np.arange(n, dtype=np.int32)
    first = np.arange(n, dtype=np.int32)
    area = np.ones(n, dtype=np.int32)
    corners = _pixel_corners(levels)
    row = np.full(n, -1, dtype=np.int32)

    # Each new component has at least one new pixel, hence at most n of them.
    roots = np.empty(n, dtype=np.int32)
    boxes = np.empty((4, n), dtype=np.int32)
    areas, firsts, births = (np.empty(n, dtype=np.int32) for _ in range(3))
    deaths = np.zeros(n, dtype=np.int32)
    count = 0
    for value in np.unique(level[level > 0])[::-1].tolist():
        pairs = pairs_at[value]
        ends = _find(parent, np.concatenate([left[pairs], right[pairs]]))
        touched = np.unique(np.concatenate([pixels_at[value], ends]))
        members, starts = _unite(touched, ends, area)
        # The largest member becomes the root: paths stay short.
        root = members[np.append(starts[1:], members.size) - 1]
        parent[members] = np.repeat(root, np.diff(starts, append=members.size))
        old = row[members]
        deaths[old[old >= 0]] = value
        corners[:, root] = np.minimum.reduceat(corners[:, members], starts, axis=1)
        first[root] = np.minimum.reduceat(first[members], starts)
        area[root] = np.add.reduceat(area[members], starts)

        new = slice(count, count + root.size)
        count = new.stop
        row[root] = np.arange(new.start, new.stop)
        roots[new], boxes[:, new], births[new] = root, corners[:, root], value
        areas[new], firsts[new] = area[root], first[root]

    image = np.repeat(np.arange(len(levels)), [part.size for part in levels])
    x_min, y_min, x_last, y_last = boxes[:, :count]
    return Components(
        image=first_image + image[roots[:count]],
        box=np.stack([x_min, y_min, 1 - x_last, 1 - y_last], axis=1).astype(np.float64),
        area=areas[:count],
        first=firsts[:count],
        birth=births[:count],
        death=deaths[:count],
    )


class _LevelIndex:
    """The positions of each value in an array of levels."""

    def __init__(self, level: np.ndarray) -> None:
        # A stable sort of 16-bit numbers is a radix sort: linear time.
        self._order = np.argsort(level, kind="stable")
        counts = np.bincount(level, minlength=2**16)
        self._bounds = np.append(0, np.cumsum(counts))

    def __getitem__(self, value: int) -> np.ndarray:
        return self._order[self._bounds[value] : self._bounds[value + 1]]


def _neighbours(levels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of 8-neighbours that are not of level 0, as flat indices."""
    lefts, rights, offset = [], [], 0
    for part in levels:
        index: np.ndarray = np.arange(offset, offset + part.size, dtype=np.int32)
        index = index.reshape(part.shape)
        offset += part.size
        for left, right in (
            (np.s_[:, :-1], np.s_[:, 1:]),
            (np.s_[:-1], np.s_[1:]),
            (np.s_[:-1, :-1], np.s_[1:, 1:]),
            (np.s_[:-1, 1:], np.s_[1:, :-1]),
        ):
            kept = (part[left] > 0) & (part[right] > 0)
            lefts.append(index[left][kept])
            rights.append(index[right][kept])
    return np.concatenate(lefts), np.concatenate(rights)


def _pixel_corners(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Return x, y, -x, -y of every pixel, shape (4, n)."""
    grids = [np.indices(part.shape, dtype=np.int32).reshape(2, -1) for part in levels]
    y, x = np.concatenate(grids, axis=1)
    return np.stack([x, y, -x, -y])


def _find(parent: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the roots of pixels, and let the pixels point straight at them."""
    root = parent[pixels]
    while True:
        above = parent[root]
        if np.array_equal(above, root):
            parent[pixels] = root
            return root
        root = above


def _unite(
    touched: np.ndarray, ends: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Group roots that pairs connect, directly or through others.

    ``ends`` holds one end of all pairs, then the other. Returns the roots group by
    group, the largest last, and where each group starts.
    """
    left, right = np.split(np.searchsorted(touched, ends), 2)
    graph = coo_matrix(
        (np.ones(left.size, dtype=np.int8), (left, right)), shape=(touched.size,) * 2
    )
    _, group = connected_components(graph, directed=False)
    order = np.lexsort((area[touched], group))
    return touched[order], np.flatnonzero(np.diff(group[order], prepend=-1))
