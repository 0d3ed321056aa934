"""Dask collections as X: the same methods, block by block, when they are computed.

Dask is imported only where a collection is given.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ._compat import get_output_config
from ._estimator import copy_with
from ._images.messages import ImageNames
from ._images.reading import is_dask, is_list_of_delayed
from ._network.threads import limited_threads

Method = TypeVar("Method", bound=Callable)

# Methods whose results are tables with the position of the image.
_TABLES = ("localize", "count")


def blockwise(method: Method) -> Method:
    """Let a method of a fitted estimator take a Dask collection, and give one."""

    @functools.wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if is_list_of_delayed(X):
            X = _bag_of_delayed(X)
        if not is_dask(X):
            return method(self, X, *args, **kwargs)
        return _lazy_result(self, method.__name__, X, args, kwargs)

    return wrapped  # type: ignore[return-value]


def _bag_of_delayed(images: Sequence):
    """A bag with a partition for each delayed image."""
    import dask
    import dask.bag as db

    as_list = dask.delayed(_list_of_one, pure=True)
    return db.from_delayed([as_list(image) for image in images])


def _list_of_one(image) -> list:
    return [image]


def _lazy_result(estimator, name: str, X, args: tuple, kwargs: dict):
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
    fitted = _frozen_copy(estimator)
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
    # A task of its own in the graph, so that each worker fetches the estimator once.
    model = dask.delayed(fitted, pure=True)
    if kind == "bag":
        return _result_of_bag(X, call, model, fitted)
    _check_chunks(X, name)
    sample = call.on_black_image(fitted, X.shape[1:], X.dtype)
    if name in _TABLES:
        return _tables_of_array(X, call, model, sample)
    return _result_of_array(X, call, model, sample)


class _Call:
    """A method and its arguments besides X."""

    def __init__(self, name: str, args: tuple, kwargs: dict):
        self.name, self.args, self.kwargs = name, args, kwargs

    def __call__(self, fitted, X, names: ImageNames):
        """Call the method on a part of X, whose images have these names."""
        return self._apply(copy_with(fitted, _image_names=names), X)

    def on_black_image(self, fitted, shape: tuple[int, ...], dtype: Any):
        """The result for a black image, which refuses what X cannot be at once."""
        quiet = copy_with(fitted, _check_range=False)
        return self._apply(quiet, np.zeros((1, *shape), dtype))

    def _apply(self, fitted, X):
        # Dask gives all cores work.
        with limited_threads(1):
            return getattr(fitted, self.name)(X, *self.args, **self.kwargs)


def _frozen_copy(estimator):
    """A copy whose parameters stay the same until the graph is computed."""
    fitted = copy_with(estimator, verbose=0)
    if "n_jobs" in vars(estimator):
        fitted.n_jobs = None
    return fitted


def _check_chunks(X, method: str) -> None:
    """Raise ValueError for an array whose blocks are not numbers of whole images."""
    if X.ndim < 2:
        raise ValueError(
            f"X is a dask.array of shape {X.shape}; pass rows (n, n_features), or "
            "images (n, height, width) or (n, height, width, n_channels)."
        )
    if any(len(X.chunks[axis]) > 1 for axis in range(1, X.ndim)):
        axes = ", ".join(f"{axis}: -1" for axis in range(1, X.ndim))
        raise ValueError(
            f"The chunks of X, {X.chunksize}, cut images, which are {X.shape[1:]}; "
            f"pass X.rechunk({{{axes}}})."
        )
    if method in _TABLES and np.isnan(X.shape[0]):
        raise ValueError(
            "X has chunks of unknown sizes, so that its images cannot be numbered; "
            "call X.compute_chunk_sizes() first."
        )


def _result_of_array(X, call: _Call, model, sample: np.ndarray):
    """A Dask array of the results for each block."""
    import dask.array as da

    return da.map_blocks(
        _result_of_block,
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


def _result_of_block(block, call: _Call, fitted, shape, block_info=None):
    if len(block) == 0:
        return np.empty((0, *shape), np.float32)
    return call(fitted, block, _names_in_block(block_info[0]))


def _names_in_block(info: dict) -> ImageNames:
    """Names by position in X, or in the block where that is unknown."""
    first = info["array-location"][0][0]
    if np.isnan(first):
        return ImageNames(owner=f" of block {info['chunk-location'][0]}")
    return ImageNames(int(first))


def _tables_of_array(X, call: _Call, model, meta: pd.DataFrame):
    """A Dask DataFrame with one partition for each block."""
    import dask

    localize = dask.delayed(_table_of_block)
    first = np.cumsum([0, *X.chunks[0]])[:-1].tolist()
    blocks = X.to_delayed().ravel()
    tables = [
        localize(block, call, model, start, meta)
        for block, start in zip(blocks, first, strict=True)
    ]
    return _as_dask_dataframe(tables, meta)


def _table_of_block(block, call: _Call, fitted, first: int, meta: pd.DataFrame):
    if len(block) == 0:
        return meta
    return _numbered_from(first, call(fitted, block, ImageNames(first)))


def _numbered_from(first: int, table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(image=table["image"] + first)


def _as_dask_dataframe(tables, meta: pd.DataFrame):
    import dask

    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise ImportError(
            'Tables need dask.dataframe: pip install "dask[dataframe]"'
        ) from error
    # Labels keep the type that they have in memory.
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed(tables, meta=meta, verify_meta=False)


def _result_of_bag(X, call: _Call, model, fitted):
    """A Dask bag of the results for each image; for `localize`, a Dask DataFrame."""
    import dask
    import dask.bag as db

    if call.name not in _TABLES:
        numbers = db.from_sequence(range(X.npartitions), npartitions=X.npartitions)
        return X.map_partitions(_results_of_partition, numbers, call, model)
    sample = call.on_black_image(fitted, fitted.image_shape_ or (1, 1), fitted._dtype)
    meta = sample.iloc[:0]
    localize = dask.delayed(_table_of_partition, nout=2)
    shift, add = dask.delayed(_numbered_from), dask.delayed(int.__add__)
    tables, first = [], 0
    for number, partition in enumerate(X.to_delayed()):
        table, n_images = localize(partition, number, call, model, meta)
        # The number of images before is known when they have been read.
        tables.append(shift(first, table))
        first = add(first, n_images) if number else n_images
    return _as_dask_dataframe(tables, meta)


def _names_in_partition(number: int) -> ImageNames:
    return ImageNames(owner=f" of partition {number}")


def _results_of_partition(images, numbers, call: _Call, fitted):
    images, (number,) = list(images), numbers
    if not images:
        return []
    return list(call(fitted, images, _names_in_partition(number)))


def _table_of_partition(images, number: int, call: _Call, fitted, meta: pd.DataFrame):
    images = list(images)
    if not images:
        return meta, 0
    table = call(fitted, images, _names_in_partition(number))
    # Images may be files, whose tables have a column `path`; `meta` does not know that.
    return table[list(meta.columns)], len(images)
