"""The samples in the package and the IDX reader."""

import gzip
import os
import runpy
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from sklearn_similar.datasets import (
    _mnist,
    fetch_mnist,
    load_fashion_mnist_sample,
    load_mnist_sample,
)
from sklearn_similar.datasets._idx import read_idx

ROOT = Path(__file__).parents[2]
FASHION_HOME = Path("/usr/share/datasets/fashion-mnist")
STEMS = ["train-images", "train-labels", "t10k-images", "t10k-labels"]


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
    """Read the first images, or labels, of a gzipped IDX file byte by byte."""
    with gzip.open(path) as stream:
        _, _, _, n_axes = struct.unpack("4B", stream.read(4))
        shape = struct.unpack(f">{n_axes}I", stream.read(4 * n_axes))
        size = n_images * int(np.prod(shape[1:]))
        values = struct.unpack(f"{size}B", stream.read(size))
    return np.array(values).reshape(n_images, *shape[1:])


def idx_bytes(array):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + bytes(int(value) for value in array.ravel())


def write_data_set(folder, *, joint="-", zipped=False, size=(4, 3)):
    """Write four small IDX files and return the arrays in them by stem."""
    rng = np.random.default_rng(0)
    arrays = {}
    for stem, n in zip(STEMS, [6, 6, 3, 3], strict=True):
        shape = (n, *size) if stem.endswith("images") else (n,)
        arrays[stem] = rng.integers(0, 10, shape, dtype=np.uint8)
        name = f"{stem}{joint}idx{arrays[stem].ndim}-ubyte"
        content = idx_bytes(arrays[stem])
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return arrays


def test_sample_is_balanced_and_split_like_the_whole(sample):
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


def test_clothes_have_the_shape_that_their_name_says():
    """Trousers are narrow and high, shoes wide and low."""
    clothes = load_fashion_mnist_sample()
    ratios = {}
    for name in clothes.target_names:
        images = clothes.X_train[clothes.target_names[clothes.y_train] == name] > 50
        rows, columns = images.any(axis=2).sum(axis=1), images.any(axis=1).sum(axis=1)
        ratios[name] = np.median(columns / rows)
    by_width = sorted(ratios, key=ratios.get)
    assert set(by_width[:2]) == {"trouser", "dress"}
    assert set(by_width[-2:]) == {"sandal", "sneaker"}


def test_sample_parts_make_up_the_whole(sample):
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
    # The licence has to come along as a whole.
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


def test_sample_images_are_those_of_the_whole(sample):
    full = fetch_mnist(sample.full_folder())
    loaded = sample.load()
    for part in ("train", "test"):
        known = {
            image.tobytes(): label
            for image, label in zip(full[f"X_{part}"], full[f"y_{part}"], strict=True)
        }
        found = [known[image.tobytes()] for image in loaded[f"X_{part}"]]
        np.testing.assert_array_equal(found, loaded[f"y_{part}"])
        assert len({image.tobytes() for image in loaded[f"X_{part}"]}) == len(found)


def test_sample_can_be_made_again_from_the_whole(sample, tmp_path):
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
    found = [X_train, y_train, X_test, y_test]
    for stem, array in zip(STEMS, found, strict=True):
        np.testing.assert_array_equal(array, arrays[stem])
    assert y_train.dtype == np.int64


def test_idx_files_may_be_unpacked_under_a_gz_name(tmp_path):
    arrays = write_data_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.rename(path.with_name(path.name + ".gz"))
    found = fetch_mnist(str(tmp_path)).X_train
    np.testing.assert_array_equal(found, arrays["train-images"])


@pytest.mark.parametrize("subfolder", [".", "mnist"])
def test_environment_variable_names_the_folder(tmp_path, monkeypatch, subfolder):
    (tmp_path / subfolder).mkdir(exist_ok=True)
    arrays = write_data_set(tmp_path / subfolder)
    monkeypatch.setenv("SKLEARN_SIMILAR_DATA", str(tmp_path))
    np.testing.assert_array_equal(fetch_mnist().y_test, arrays["t10k-labels"])


def test_openml_has_the_layout_of_the_files(monkeypatch):
    labels = np.arange(70_000) % 10
    remote = SimpleNamespace(
        data=np.broadcast_to(np.arange(784.0) % 256, (70_000, 784)),
        target=labels.astype(str).astype(object),
    )
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    monkeypatch.setattr(_mnist, "fetch_openml", lambda *args, **kwargs: remote)
    mnist = fetch_mnist()
    assert mnist.X_train.shape == (60_000, 28, 28)
    assert mnist.X_test.dtype == np.uint8
    np.testing.assert_array_equal(mnist.X_test[0, 1, :5], [28, 29, 30, 31, 32])
    np.testing.assert_array_equal(mnist.y_test, labels[60_000:])


def test_unreachable_openml_points_to_the_files(monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    monkeypatch.setattr(_mnist, "fetch_openml", fail)
    with pytest.raises(OSError, match=r"no route.*data_home.*SKLEARN_SIMILAR_DATA"):
        fetch_mnist()


def test_missing_files_are_named_and_not_downloaded(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("downloaded")

    monkeypatch.setattr(_mnist, "fetch_openml", fail)
    write_data_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"is .*t10k-labels-idx1") as e:
        fetch_mnist(tmp_path)
    assert "train-images" not in str(e.value)

    monkeypatch.setenv("SKLEARN_SIMILAR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"SKLEARN_SIMILAR_DATA is .*nowhere"):
        fetch_mnist()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "holds 71 bytes .* promises 72"),
        (lambda content: content + b"\0", "holds more than 72 bytes .* promises 72"),
        (
            lambda content: content[:10],
            "header is '00 00 08 03 00 00 00 06 00 00', not",
        ),
        (lambda content: b"", "header is '', not '00 00 08 03' and 3 lengths"),
        (lambda content: b"<html>", "header is '3c 68 74 6d"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "00 00 0d 03"),
        (lambda content: gzip.compress(content)[:-9], "truncated or damaged gzip"),
        (
            lambda content: idx_bytes(np.zeros((5, 4, 3))),
            r"images.* \(5, 4, 3\), .*labels.* \(6,\)",
        ),
        (lambda content: idx_bytes(np.zeros((6, 2, 2))), r"\(6, 2, 2\).*\(3, 4, 3\)"),
        (lambda content: idx_bytes(np.zeros((0, 4, 3))), "promises 0 of the shape"),
        (lambda content: idx_bytes(np.zeros(6)), "with 3 axes.*'00 00 08 01"),
    ],
)
def test_damaged_files_are_named_with_what_was_found(tmp_path, damage, message):
    write_data_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        fetch_mnist(tmp_path)
    assert str(path) in str(error.value)


class TestHostileIdxFiles:
    """Memory is taken for what is there, whatever the header or gzip promise."""

    SHAPE = (6, 4, 3)

    @pytest.fixture
    def read(self, tmp_path):
        """Read contents as images, and return the error and the peak of memory."""
        path = tmp_path / "train-images-idx3-ubyte"

        def get(content):
            path.write_bytes(content)
            tracemalloc.start()
            try:
                return read_idx(path, 3), 0
            except ValueError as error:
                return str(error), tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        return get

    @pytest.fixture
    def content(self):
        return idx_bytes(np.random.default_rng(0).integers(0, 256, self.SHAPE))

    @pytest.mark.parametrize("zipped", [True, False])
    def test_bytes_beyond_the_promised_are_not_unpacked(self, read, content, zipped):
        bomb = content + bytes(2**26)
        error, peak = read(gzip.compress(bomb) if zipped else bomb)
        assert "holds more than 72 bytes" in error
        assert peak < 2**21

    @pytest.mark.parametrize("zipped", [True, False])
    def test_promised_bytes_that_are_not_there_take_no_memory(self, read, zipped):
        content = struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(100)
        error, peak = read(gzip.compress(content) if zipped else content)
        assert (
            f"holds 100 bytes of data, but its header promises {(2**32 - 1) ** 3}"
            in (error)
        )
        assert peak < 2**23

    @pytest.mark.parametrize("zipped", [True, False])
    def test_truncated_anywhere_is_one_error(self, read, content, zipped):
        whole = gzip.compress(content) if zipped else content
        for length in range(len(whole)):
            error, _ = read(whole[:length])
            assert "again" in error

    def test_flipped_bits_of_a_gzip_file_are_noticed(self, read, content):
        whole = gzip.compress(content, mtime=0)
        expected, _ = read(whole)
        for bit in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << (bit % 8)
            found, _ = read(bytes(changed))
            # Some bits, such as those of the time, decide nothing.
            assert isinstance(found, str) or np.array_equal(found, expected)

    def test_rubbish_after_a_gzip_file_is_noticed(self, read, content):
        error, _ = read(gzip.compress(content) + b"rubbish")
        assert "damaged gzip" in error
