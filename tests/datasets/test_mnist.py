"""The samples in the package, and the complete data sets."""

import gzip
import os
import runpy
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import sklearn.datasets
from idx_files import STEMS, write_data_set

from sklearn_similar.datasets import (
    fetch_mnist,
    load_fashion_mnist_sample,
    load_mnist_sample,
)

ROOT = Path(__file__).parents[2]
FASHION_HOME = Path("/usr/share/datasets/fashion-mnist")


def full_mnist_folder():
    """Return a folder with the IDX files of MNIST, or skip the test."""
    named = os.environ.get("SKLEARN_SIMILAR_DATA")
    folders = [Path(named)] if named else []
    folders += [folder / "mnist" for folder in folders]
    for folder in [*folders, ROOT.parent / "shared/data/mnist"]:
        if any(folder.glob("train-images*idx3-ubyte*")):
            return folder
    pytest.skip(
        "needs the IDX files of MNIST: set SKLEARN_SIMILAR_DATA to their folder"
    )


def full_fashion_mnist_folder():
    """Return the folder of Debian's dataset-fashion-mnist, or skip the test."""
    if not FASHION_HOME.exists():
        pytest.skip(f"needs Fashion-MNIST in {FASHION_HOME}")
    return FASHION_HOME


class Sample(NamedTuple):
    """A sample in the package, its images of a class, and where all images are."""

    name: str
    load: Callable
    n_train: int
    n_test: int
    full_folder: Callable


@pytest.fixture(
    params=[
        Sample("mnist", load_mnist_sample, 500, 100, full_mnist_folder),
        Sample(
            *("fashion_mnist", load_fashion_mnist_sample, 300, 50),
            full_fashion_mnist_folder,
        ),
    ],
    ids=lambda sample: sample.name,
)
def sample(request):
    return request.param


def read_idx_naively(path, n_images):
    """Read the first images or labels of a gzipped IDX file byte by byte."""
    with gzip.open(path) as stream:
        _, _, _, n_axes = struct.unpack("4B", stream.read(4))
        shape = struct.unpack(f">{n_axes}I", stream.read(4 * n_axes))
        size = n_images * int(np.prod(shape[1:]))
        values = struct.unpack(f"{size}B", stream.read(size))
    return np.array(values).reshape(n_images, *shape[1:])


def test_a_sample_is_balanced_and_split_like_the_data_set(sample):
    loaded, n_train, n_test = sample.load(), sample.n_train, sample.n_test
    assert loaded.data.shape == (10 * (n_train + n_test), 28, 28)
    assert loaded.data.dtype == np.uint8
    assert loaded.target.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(loaded.y_train), [n_train] * 10)
    np.testing.assert_array_equal(np.bincount(loaded.y_test), [n_test] * 10)


def test_classes_of_digits_are_the_digits():
    np.testing.assert_array_equal(load_mnist_sample().target_names, np.arange(10))


def test_classes_of_clothes_are_named_in_the_description():
    clothes = load_fashion_mnist_sample()
    text = " ".join(clothes.DESCR.split())
    assert f"ten classes, 0 to 9: {', '.join(clothes.target_names)}." in text


def test_clothes_have_the_shape_of_their_name():
    clothes = load_fashion_mnist_sample()
    ratios = {}
    for name in clothes.target_names:
        images = clothes.X_train[clothes.target_names[clothes.y_train] == name] > 50
        rows, columns = images.any(axis=2).sum(axis=1), images.any(axis=1).sum(axis=1)
        ratios[name] = np.median(columns / rows)
    by_width = sorted(ratios, key=ratios.get)
    assert set(by_width[:2]) == {"trouser", "dress"}
    assert set(by_width[-2:]) == {"sandal", "sneaker"}


def test_the_parts_of_a_sample_are_its_images(sample):
    loaded = sample.load()
    parts = sample.load(return_X_y=True)
    for part, name in zip(
        parts, ["X_train", "X_test", "y_train", "y_test"], strict=True
    ):
        np.testing.assert_array_equal(part, loaded[name])
    np.testing.assert_array_equal(np.concatenate(parts[:2]), loaded.data)
    np.testing.assert_array_equal(np.concatenate(parts[2:]), loaded.target)


def test_samples_state_their_licences():
    assert "Attribution-Share Alike 3.0" in load_mnist_sample().DESCR
    text = " ".join(load_fashion_mnist_sample().DESCR.split())
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in text
    # The complete text of the licence is included.
    for first, last in (
        ("Permission is hereby granted, free of charge", "the following conditions:"),
        ("The above copyright notice", "substantial portions of the Software."),
        ('THE SOFTWARE IS PROVIDED "AS IS"', "OTHER DEALINGS IN THE SOFTWARE."),
    ):
        assert first in text
        assert last in text.partition(first)[2]


def test_samples_stay_small():
    files = (ROOT / "sklearn_similar/datasets/data").iterdir()
    assert sum(file.stat().st_size for file in files) < 2_600_000


def test_images_of_a_sample_are_those_of_the_data_set(sample):
    full = fetch_mnist(sample.full_folder())
    loaded = sample.load()
    for part in ("train", "test"):
        known = {
            image.tobytes(): label
            for image, label in zip(full[f"X_{part}"], full[f"y_{part}"], strict=True)
        }
        labels = [known[image.tobytes()] for image in loaded[f"X_{part}"]]
        np.testing.assert_array_equal(labels, loaded[f"y_{part}"])
        assert len({image.tobytes() for image in loaded[f"X_{part}"]}) == len(labels)


def test_a_sample_can_be_reproduced_from_the_data_set(sample, tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks/make_samples.py"))
    sizes = script["SIZES"][sample.name]
    script["make_sample"](sample.full_folder(), tmp_path / "sample.npz", *sizes)
    with np.load(tmp_path / "sample.npz") as made:
        np.testing.assert_array_equal(made["data"], sample.load().data)
        np.testing.assert_array_equal(made["target"], sample.load().target)


def test_full_mnist_equals_a_naive_reading():
    folder = full_mnist_folder()
    mnist = fetch_mnist(folder)
    assert mnist.data.shape == (70_000, 28, 28)
    assert mnist.X_train.shape == (60_000, 28, 28)
    np.testing.assert_array_equal(np.bincount(mnist.y_test)[:3], [980, 1135, 1032])
    naive = read_idx_naively(folder / "t10k-images-idx3-ubyte.gz", 50)
    np.testing.assert_array_equal(mnist.X_test[:50], naive)
    naive = read_idx_naively(folder / "train-labels-idx1-ubyte.gz", 1000)
    np.testing.assert_array_equal(mnist.y_train[:1000], naive)


@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read_under_all_their_names(tmp_path, joint, zipped):
    arrays = write_data_set(tmp_path, joint=joint, zipped=zipped)
    X_train, X_test, y_train, y_test = fetch_mnist(tmp_path, return_X_y=True)
    read = [X_train, y_train, X_test, y_test]
    for stem, array in zip(STEMS, read, strict=True):
        np.testing.assert_array_equal(array, arrays[stem])
    assert y_train.dtype == np.int64


def test_idx_files_may_be_unpacked_under_a_gz_name(tmp_path):
    arrays = write_data_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.rename(path.with_name(path.name + ".gz"))
    images = fetch_mnist(str(tmp_path)).X_train
    np.testing.assert_array_equal(images, arrays["train-images"])


@pytest.mark.parametrize("subfolder", [".", "mnist"])
def test_environment_variable_names_the_folder(tmp_path, monkeypatch, subfolder):
    (tmp_path / subfolder).mkdir(exist_ok=True)
    arrays = write_data_set(tmp_path / subfolder)
    monkeypatch.setenv("SKLEARN_SIMILAR_DATA", str(tmp_path))
    np.testing.assert_array_equal(fetch_mnist().y_test, arrays["t10k-labels"])


def test_openml_gives_the_layout_of_the_files(monkeypatch):
    labels = np.arange(70_000) % 10
    remote = SimpleNamespace(
        data=np.broadcast_to(np.arange(784.0) % 256, (70_000, 784)),
        target=labels.astype(str).astype(object),
    )
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    monkeypatch.setattr(
        sklearn.datasets, "fetch_openml", lambda *args, **kwargs: remote
    )
    mnist = fetch_mnist()
    assert mnist.X_train.shape == (60_000, 28, 28)
    assert mnist.X_test.dtype == np.uint8
    np.testing.assert_array_equal(mnist.X_test[0, 1, :5], [28, 29, 30, 31, 32])
    np.testing.assert_array_equal(mnist.y_test, labels[60_000:])


def test_unreachable_openml_points_to_the_files(monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
    with pytest.raises(OSError, match=r"no route.*data_home.*SKLEARN_SIMILAR_DATA"):
        fetch_mnist()


def test_missing_files_are_named_and_not_downloaded(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("downloaded")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
    write_data_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"is .*t10k-labels-idx1") as e:
        fetch_mnist(tmp_path)
    assert "train-images" not in str(e.value)

    monkeypatch.setenv("SKLEARN_SIMILAR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"SKLEARN_SIMILAR_DATA is .*nowhere"):
        fetch_mnist()
