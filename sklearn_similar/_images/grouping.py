"""Ranks within groups of rows."""

import numpy as np


def rank_within(group: np.ndarray, order_key: np.ndarray | None = None) -> np.ndarray:
    """Rank of each row within its group, from 0.

    Parameters
    ----------
    group : ndarray of shape (n,)
        Group of each row.
    order_key : ndarray of shape (n,), optional
        Rows of a group are ranked in ascending order of this key, ties and all rows
        without a key in their given order.

    Returns
    -------
    rank : ndarray of int of shape (n,)
    """
    keys = (group,) if order_key is None else (order_key, group)
    order = np.lexsort(keys)
    ordered = group[order]
    rank = np.empty(len(group), dtype=np.intp)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank
