"""Slices of batches, without the cost of scikit-learn's checks of parameters."""

from collections.abc import Iterator


def batch_slices(n: int, batch_size: int) -> Iterator[slice]:
    """Slices that together are range(n), of batch_size elements but for the last.

    scikit-learn's `gen_batches` checks its parameters in every call, which takes a
    share of the time of a small image's heatmap.
    """
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
