"""Connected components of heatmaps at every threshold."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._images.max_tree import ImageTree

# Pixels whose components are held together: some 100 MB of arrays.
_MAX_PIXELS = 2**19


class Components(NamedTuple):
    """Components of some maps at all thresholds, one a row; see `ImageTree`."""

    image: np.ndarray  # number of the map
    box: np.ndarray
    area: np.ndarray
    first: np.ndarray
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
        Components of a batch of consecutive maps; memory is bounded by the batch, or
        by the largest map.
    """
    start = 0
    while start < len(levels):
        stop, pixels = start + 1, levels[start].size
        while stop < len(levels) and pixels + levels[stop].size <= _MAX_PIXELS:
            pixels += levels[stop].size
            stop += 1
        trees = [ImageTree(part) for part in levels[start:stop]]
        yield Components(
            np.repeat(np.arange(start, stop), [len(tree.area) for tree in trees]),
            np.concatenate([tree.box for tree in trees]).astype(np.float64),
            *(
                np.concatenate([getattr(tree, name) for tree in trees]).astype(np.int32)
                for name in Components._fields[2:]
            ),
        )
        start = stop
