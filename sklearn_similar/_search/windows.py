"""Sliding windows of the sizes of the training objects."""

import numpy as np

# Distance of windows, as a share of their side: some window of each size has an IoU of
# at least 0.53 with any box of that size.
_STEP = 1 / 3
# Share of a window that may lie outside the image, as objects are cut by the border.
_OVERHANG = 0.25
# Minimum side of a window in pixels.
_MIN_SIDE = 4.0


def typical_sizes(boxes: np.ndarray, n_sizes: int, seed: int) -> np.ndarray:
    """Sizes that stand for those of some boxes: k-means of their logarithms.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    n_sizes : int
        Maximum number of sizes.
    seed : int

    Returns
    -------
    ndarray of shape (n_sizes, 2)
        Width and height, by ascending area.
    """
    # Its import takes long, and few programs fit a localizer.
    from sklearn.cluster import KMeans

    sides = np.log((boxes[:, 2:] - boxes[:, :2]).clip(_MIN_SIDE))
    n_sizes = min(n_sizes, len(np.unique(sides.round(2), axis=0)))
    means = KMeans(n_sizes, n_init=3, random_state=seed).fit(sides).cluster_centers_
    return np.exp(means[np.argsort(means.sum(axis=1))])


def sliding_windows(size: tuple[int, int], sizes: np.ndarray) -> np.ndarray:
    """Windows of some sizes all over an image, clipped to it.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    sizes : ndarray of shape (n_sizes, 2)
        Width and height of windows; larger ones than the image are cut.

    Returns
    -------
    ndarray of shape (n_windows, 4)
    """
    height, width = size
    windows = [np.empty((0, 4))]
    for window_width, window_height in sizes:
        x = _positions(width, window_width)
        y = _positions(height, window_height)
        left, top = (values.ravel() for values in np.meshgrid(x, y))
        windows.append(
            np.stack([left, top, left + window_width, top + window_height], axis=1)
        )
    return np.concatenate(windows).clip(0, [width, height, width, height])


def _positions(length: int, side: float) -> np.ndarray:
    """Lower edges of windows of a side, evenly over a length."""
    first, last = -_OVERHANG * side, length - (1 - _OVERHANG) * side
    if last <= first:
        return np.array([(length - side) / 2])
    return np.linspace(first, last, int(np.ceil((last - first) / (_STEP * side))) + 1)
