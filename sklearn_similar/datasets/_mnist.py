"""MNIST and Fashion-MNIST: samples in the package, and the complete data sets."""

import os
from importlib import resources
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .._compat import validate_params
from ._idx import read_folder

DATA_VARIABLE = "SKLEARN_SIMILAR_DATA"

_CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_N_TRAIN = 60_000
_MNIST_DESCR = """\
The MNIST handwritten digits: 60,000 images for training and 10,000 for testing,
28x28 pixels, grey (uint8, bright strokes on black), ten classes.

Yann LeCun and Corinna Cortes hold the copyright of MNIST, a derivative work from the
original NIST datasets, and make it available under the Creative Commons
Attribution-Share Alike 3.0 licence.
"""
_FILES_DESCR = """\
Images and labels read from the IDX files in {folder}.

If these are the files of MNIST, Yann LeCun and Corinna Cortes hold their copyright and
make them available under the Creative Commons Attribution-Share Alike 3.0 licence.
"""


@validate_params({"return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_mnist_sample(*, return_X_y=False):
    """Load a sample of 6,000 MNIST digits that ships with the package.

    5,000 digits (500 a class) come from MNIST's training set and 1,000 (100 a class)
    from its test set. Nothing is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return the four arrays, in the order of
        :func:`sklearn.model_selection.train_test_split`, instead of a Bunch.

    Returns
    -------
    digits : :class:`~sklearn.utils.Bunch`
        With the attributes

        X_train, X_test : ndarray of shape (5000, 28, 28) and (1000, 28, 28)
            The images, uint8 from 0 (background) to 255 (stroke).
        y_train, y_test : ndarray of shape (5000,) and (1000,)
            The digits, int64.
        data, target : ndarray of shape (6000, 28, 28) and (6000,)
            Both parts together, training digits first.
        target_names : ndarray of shape (10,)
            The classes, 0 to 9.
        DESCR : str
            Description and licence.

    X_train, X_test, y_train, y_test : tuple of ndarray
        Returned instead if `return_X_y` is True.

    See Also
    --------
    fetch_mnist : All 70,000 digits.
    load_fashion_mnist_sample : Images of clothes in the same format.

    Notes
    -----
    Yann LeCun and Corinna Cortes hold the copyright of MNIST and make it available
    under the Creative Commons Attribution-Share Alike 3.0 licence, which also covers
    this sample.

    Examples
    --------
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
    >>> X_train.shape, X_test.shape
    ((5000, 28, 28), (1000, 28, 28))
    """
    return _load_sample("mnist_sample", return_X_y)


@validate_params({"return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_fashion_mnist_sample(*, return_X_y=False):
    """Load a sample of 3,500 Fashion-MNIST images that ships with the package.

    3,000 images (300 a class) come from Fashion-MNIST's training set and 500 (50 a
    class) from its test set. Nothing is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return the four arrays, in the order of
        :func:`sklearn.model_selection.train_test_split`, instead of a Bunch.

    Returns
    -------
    clothes : :class:`~sklearn.utils.Bunch`
        With the attributes

        X_train, X_test : ndarray of shape (3000, 28, 28) and (500, 28, 28)
            The images, uint8 from 0 (background) to 255.
        y_train, y_test : ndarray of shape (3000,) and (500,)
            The classes, int64 from 0 to 9.
        data, target : ndarray of shape (3500, 28, 28) and (3500,)
            Both parts together, training images first.
        target_names : ndarray of shape (10,)
            The names of the classes, str; ``target_names[y_train]`` are the names as
            labels.
        DESCR : str
            Description and licence.

    X_train, X_test, y_train, y_test : tuple of ndarray
        Returned instead if `return_X_y` is True.

    See Also
    --------
    fetch_mnist : All 70,000 images, from their files.
    load_mnist_sample : MNIST digits in the same format.

    Notes
    -----
    The images are by Xiao, Rasul and Vollgraf [1]_. Zalando SE holds their copyright
    and makes them available under the MIT licence, which also covers this sample.

    References
    ----------
    .. [1] H. Xiao, K. Rasul, R. Vollgraf: "Fashion-MNIST: a Novel Image Dataset for
       Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from sklearn_similar.datasets import load_fashion_mnist_sample
    >>> clothes = load_fashion_mnist_sample()
    >>> clothes.X_train.shape, clothes.X_test.shape
    ((3000, 28, 28), (500, 28, 28))
    >>> clothes.target_names[clothes.y_test[:3]].tolist()
    ['ankle boot', 'pullover', 'trouser']
    """
    names = np.array(_CLOTHES)
    return _load_sample("fashion_mnist_sample", return_X_y, target_names=names)


@validate_params(
    {"data_home": [str, os.PathLike, None], "return_X_y": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def fetch_mnist(data_home=None, *, return_X_y=False):
    """Fetch all 70,000 MNIST digits, from files or from OpenML.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder with the four IDX files, gzipped or not, named as they are published
        (``train-images-idx3-ubyte.gz`` or ``train-images.idx3-ubyte``), in the folder
        itself or in its subfolder ``mnist``. Other data sets in this format, such as
        Fashion-MNIST, can be read as well. None: the folder in the environment variable
        ``SKLEARN_SIMILAR_DATA``; if it is not set,
        :func:`sklearn.datasets.fetch_openml` downloads and caches the digits.
    return_X_y : bool, default=False
        Return the four arrays, in the order of
        :func:`sklearn.model_selection.train_test_split`, instead of a Bunch.

    Returns
    -------
    digits : :class:`~sklearn.utils.Bunch`
        With the attributes

        X_train, X_test : ndarray of shape (60000, 28, 28) and (10000, 28, 28)
            The images, uint8 from 0 (background) to 255 (stroke).
        y_train, y_test : ndarray of shape (60000,) and (10000,)
            The classes, int64.
        data, target : ndarray of shape (70000, 28, 28) and (70000,)
            Both parts together, training images first.
        target_names : ndarray of shape (10,)
            The classes in order.
        DESCR : str
            Description and licence.

    X_train, X_test, y_train, y_test : tuple of ndarray
        Returned instead if `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If a folder is given, by the parameter or the variable, and lacks a file.
        Nothing is downloaded then.
    ValueError
        If a file is truncated or not an IDX file, or the numbers of images and labels
        differ.
    OSError
        If OpenML cannot be reached.

    See Also
    --------
    load_mnist_sample : 6,000 digits, without a download.
    load_fashion_mnist_sample : 3,500 images of Fashion-MNIST, without a download.

    Notes
    -----
    Yann LeCun and Corinna Cortes hold the copyright of MNIST and make it available
    under the Creative Commons Attribution-Share Alike 3.0 licence.

    Examples
    --------
    >>> from sklearn_similar.datasets import fetch_mnist
    >>> X_train, X_test, y_train, y_test = fetch_mnist(
    ...     "folder/with/idx/files", return_X_y=True
    ... )  # doctest: +SKIP
    """
    folder, source = data_home, "data_home"
    if folder is None:
        folder, source = os.environ.get(DATA_VARIABLE) or None, DATA_VARIABLE
    if folder is None:
        data, target = _fetch_openml()
        n_train, descr = _N_TRAIN, _MNIST_DESCR
    else:
        data, target, n_train = read_folder(Path(folder).expanduser(), source)
        descr = _FILES_DESCR.format(folder=folder)
    return _bundle(data, target, n_train, descr, return_X_y)


def _load_sample(name, return_X_y, target_names=None):
    """Load a sample of the package, and its description."""
    folder = resources.files("sklearn_similar.datasets") / "data"
    file = folder / f"{name}.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        data, target = arrays["data"], arrays["target"]
        n_train = int(arrays["n_train"])
    descr = (folder / f"{name}.rst").read_text(encoding="utf-8")
    return _bundle(data, target, n_train, descr, return_X_y, target_names)


def _bundle(data, target, n_train, descr, return_X_y, target_names=None):
    parts = {
        "X_train": data[:n_train],
        "X_test": data[n_train:],
        "y_train": target[:n_train],
        "y_test": target[n_train:],
    }
    if return_X_y:
        return tuple(parts.values())
    return Bunch(
        data=data,
        target=target,
        target_names=np.unique(target) if target_names is None else target_names,
        DESCR=descr,
        **parts,
    )


def _fetch_openml() -> tuple[np.ndarray, np.ndarray]:
    # Its import takes long, and few programs download anything.
    from sklearn.datasets import fetch_openml

    try:
        mnist = fetch_openml("mnist_784", version=1, as_frame=False, parser="pandas")
    except OSError as error:
        raise OSError(
            f"MNIST could not be downloaded from OpenML ({error}): pass data_home or "
            f"set {DATA_VARIABLE} to a folder with its IDX files, or use "
            "load_mnist_sample."
        ) from error
    data = np.asarray(mnist.data).astype(np.uint8).reshape(-1, 28, 28)
    return data, np.asarray(mnist.target).astype(np.int64)
