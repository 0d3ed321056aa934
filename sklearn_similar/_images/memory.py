"""Limits on memory, all of which follow scikit-learn's setting `working_memory`."""

from sklearn import get_config

# scikit-learn's default, in MiB, to which the amounts in this package refer.
_DEFAULT_WORKING_MEMORY = 1024


def within_working_memory(amount: int) -> int:
    """Scale an amount to the working memory for which scikit-learn is configured.

    Parameters
    ----------
    amount : int
        Bytes, pixels or values that are held at a time where `working_memory` is 1024
        MiB; see `sklearn.set_config`.

    Returns
    -------
    int
        At least 1.
    """
    share = get_config()["working_memory"] / _DEFAULT_WORKING_MEMORY
    return max(1, int(amount * share))
