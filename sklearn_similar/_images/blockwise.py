"""Dask collections as X: the same methods, block by block, when they are computed.

Dask is imported where a collection is given, and by nothing else.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from .._compat import get_output_config
from .._search.workers import limited_threads
from .images import is_dask
from .position import part_of_images
from .value_range import ranges_are_checked

Method = TypeVar("Method", bound=Callable)


def blockwise(method: Method) -> Method:
    """Let a method of a fitted estimator take a Dask collection, and give one."""

    @functools.wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if not is_dask(X):
            return method(self, X, *args, **kwargs)
        return _lazily(self, method.__name__, X, args, kwargs)

    return wrapped  # type: ignore[return-value]


def _lazily(estimator, name: str, X, args: tuple, kwargs: dict):
    import dask

    if kwargs.get("out") is not None:
        raise ValueError(
            "out is given, but X is a Dask collection, whose heatmaps are made when "
            "they are computed; leave it out, and pass them to dask.array.store."
        )
    if kwargs.get("labels") is not None:
        raise ValueError(
            "labels is given, but X is a Dask collection, whose blocks do not know "
            "their labels; pass target, or call heatmap on each block."
        )
    call = _Call(name, args, kwargs)
    fitted = _as_of_now(estimator)
    if name == "transform" and get_output_config(name, fitted)["dense"] != "default":
        raise ValueError(
            "set_output asks for a table, but X is a Dask collection, for which there "
            "is none; call set_output(transform='default')."
        )
    kind = type(X).__module__.partition(".")[2].partition(".")[0]
    if kind not in ("array", "bag") or not hasattr(X, "npartitions"):
        raise ValueError(
            f"X is a Dask {type(X).__name__}; pass a dask.array, as to_dask_array("
            "lengths=True) makes of a DataFrame, or a dask.bag of images."
        )
    # One task of the graph: each worker fetches it once, and a lost one is sent again.
    model = dask.delayed(fitted, pure=True)
    if kind == "bag":
        return _of_bag(X, call, model, fitted)
    sample = _sample(X, call, fitted)
    if name == "localize":
        return _tables_of_array(X, call, model, sample)
    return _of_array(X, call, model, sample)


class _Call:
    """A method and its arguments besides X."""

    def __init__(self, name: str, args: tuple, kwargs: dict):
        self.name, self.args, self.kwargs = name, args, kwargs

    def __call__(self, fitted, X, first: int, owner: str = ""):
        # Dask sees to it that all cores have work.
        with part_of_images(first, owner), limited_threads(1):
            return getattr(fitted, self.name)(X, *self.args, **self.kwargs)


def _as_of_now(estimator):
    """A copy whose parameters nobody changes before the graph is computed."""
    copied = object.__new__(type(estimator))
    copied.__dict__ = vars(estimator) | {"verbose": 0}
    if "n_jobs" in vars(estimator):
        copied.n_jobs = None
    return copied


def _sample(X, call: _Call, fitted):
    """The result for one black image, so that what X cannot be is refused now."""
    if X.ndim < 2:
        raise ValueError(
            f"X is a dask.array of shape {X.shape}; pass rows (n, n_features), or "
            "images (n, height, width) or (n, height, width, n_channels)."
        )
    cut = [axis for axis in range(1, X.ndim) if len(X.chunks[axis]) > 1]
    if cut:
        axes = ", ".join(f"{axis}: -1" for axis in range(1, X.ndim))
        raise ValueError(
            f"The chunks of X, {X.chunksize}, cut images, which are {X.shape[1:]}; "
            f"pass X.rechunk({{{axes}}})."
        )
    if call.name == "localize" and np.isnan(X.shape[0]):
        raise ValueError(
            "X has chunks of unknown sizes, so that its images cannot be numbered; "
            "call X.compute_chunk_sizes() first."
        )
    with ranges_are_checked():
        return call(fitted, np.zeros((1, *X.shape[1:]), X.dtype), 0)


def _of_array(X, call: _Call, model, sample: np.ndarray):
    import dask.array as da

    return da.map_blocks(
        _map_block,
        X,
        call,
        model,
        sample.shape[1:],
        dtype=sample.dtype,
        meta=np.empty((0,) * sample.ndim, sample.dtype),
        chunks=(X.chunks[0], *((length,) for length in sample.shape[1:])),
        drop_axis=list(range(1, X.ndim)),
        new_axis=list(range(1, sample.ndim)),
    )


def _map_block(block, call, fitted, shape, block_info=None):
    if len(block) == 0:
        return np.empty((0, *shape), np.float32)
    first, owner = _where(block_info[0])
    return call(fitted, block, first, owner)


def _where(info: dict) -> tuple[int, str]:
    """Position of a block's first image, or the block where that is unknown."""
    first = info["array-location"][0][0]
    if np.isnan(first):
        return 0, f" of block {info['chunk-location'][0]}"
    return int(first), ""


def _tables_of_array(X, call: _Call, model, meta: pd.DataFrame):
    """A Dask DataFrame with one partition for each block."""
    import dask

    localize = dask.delayed(_localize_block)
    first = np.cumsum([0, *X.chunks[0]])[:-1].tolist()
    blocks = X.to_delayed().ravel()
    return _as_dask_dataframe(
        [
            localize(block, call, model, start, meta)
            for block, start in zip(blocks, first, strict=True)
        ],
        meta,
    )


def _localize_block(block, call, fitted, first, meta):
    if len(block) == 0:
        return meta
    return _numbered_from(first, call(fitted, block, first))


def _numbered_from(first: int, table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(image=table["image"] + first)


def _as_dask_dataframe(tables, meta: pd.DataFrame):
    import dask

    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise ImportError(
            'localize needs dask.dataframe: pip install "sklearn-similar[dask]"'
        ) from error
    # Labels keep the type that they have in memory.
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed(tables, meta=meta, verify_meta=False)


def _of_bag(X, call: _Call, model, fitted):
    """A bag of the results of each image; for `localize`, a Dask DataFrame."""
    import dask
    import dask.bag as db

    numbers = db.from_sequence(range(X.npartitions), npartitions=X.npartitions)
    if call.name != "localize":
        return X.map_partitions(_map_part, numbers, call, model)
    shape = (1, *fitted.image_shape_)
    with ranges_are_checked():
        meta = call(fitted, [np.zeros(shape, fitted._dtype)[0]], 0).iloc[:0]
    localize, shift = dask.delayed(_localize_part, nout=2), dask.delayed(_numbered_from)
    add = dask.delayed(int.__add__)
    tables, first = [], 0
    for number, part in enumerate(X.to_delayed()):
        table, n_images = localize(part, number, call, model, meta)
        # How many images come before is known when they have been read.
        tables.append(shift(first, table))
        first = add(first, n_images) if number else n_images
    return _as_dask_dataframe(tables, meta)


def _map_part(images, numbers, call, fitted):
    images, (number,) = list(images), numbers
    if not images:
        return []
    return list(call(fitted, images, 0, f" of partition {number}"))


def _localize_part(images, number, call, fitted, meta):
    images = list(images)
    if not images:
        return meta, 0
    return call(fitted, images, 0, f" of partition {number}"), len(images)
