"""Warnings that name the user's line of code, however deep the package finds out."""

import contextlib
import os
import sys
import warnings

import sklearn

# Frames of these lie between the user's call and the warning: decorators of methods,
# pipelines and searches.
_SKIPPED = (
    os.path.dirname(__file__),
    os.path.dirname(sklearn.__file__),
    contextlib.__file__,
)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the package from outside.

    In a task on a worker of Dask, that is the line that asked for the result.
    """
    if _is_task_of_worker():
        sys.modules["distributed.worker"].warn(message, category)
        return
    level = 2
    while sys._getframe(level - 1).f_code.co_filename.startswith(_SKIPPED):
        if sys._getframe(level - 1).f_back is None:
            break
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_task_of_worker() -> bool:
    """Whether this is the process, or a thread, of a worker of Dask at a task."""
    if "distributed.worker" not in sys.modules:
        return False
    try:
        sys.modules["distributed.worker"].get_worker()
    except ValueError:
        return False
    return True
