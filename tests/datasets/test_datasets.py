"""The samples in the package, the IDX reader and the sampling of background images."""

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
    sample_background,
)
from sklearn_similar.datasets._idx import read_idx

ROOT = Path(__file__).parents[2]
FASHION_HOME = Path("/usr/share/datasets/fashion-mnist")
STEMS = ["train-images", "train-labels", "t10k-images", "t10k-labels"]
FROM_CROPS = ["shifted", "enlarged", "shrunken", "neighbours", "fragment"]


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


@pytest.fixture
def digits():
    return load_mnist_sample().X_train[:200]


@pytest.fixture
def photograph():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (90, 120), dtype=np.uint8)


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


@pytest.mark.parametrize("kind", ["patch", "noise", *FROM_CROPS])
def test_each_kind_of_background_fits_the_crops(digits, photograph, kind):
    sampled = sample_background(
        photograph, digits, n_samples=40, kinds=[kind], random_state=0
    )
    assert sampled.shape == (40, 28, 28)
    assert sampled.dtype == np.uint8
    assert len(np.unique(sampled.reshape(40, -1), axis=0)) == 40


def test_background_is_determined_by_random_state(digits, photograph):
    first, again, other = (
        sample_background(photograph, digits, n_samples=70, random_state=seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_background_leaves_its_inputs_alone(digits, photograph):
    digits.flags.writeable = photograph.flags.writeable = False
    sample_background(photograph, digits, n_samples=70, random_state=0)


def test_crops_alone_are_enough_for_a_background(digits):
    sampled = sample_background(crops=digits, n_samples=61, random_state=0)
    assert sampled.shape == (61, 28, 28)


def test_patch_of_a_whole_photograph_changes_in_brightness_only():
    # If a photograph is as small as the sample, some patches are all of it.
    rng = np.random.default_rng(0)
    photograph = rng.random((6, 8)).astype(np.float32)
    sampled = sample_background(
        photograph, n_samples=300, kinds=["patch"], size=(6, 8), random_state=0
    )
    correlations = [
        np.corrcoef(photograph.ravel(), image.ravel())[0, 1] for image in sampled
    ]
    assert max(correlations) == pytest.approx(1, abs=1e-3)


def test_shifted_crops_are_the_crops_cut_at_one_side():
    crops = np.ones((1, 20, 20), dtype=np.float32)
    sampled = sample_background(
        crops=crops, n_samples=200, kinds=["shifted"], random_state=0
    )
    # A full square moved by (dy, dx) sides keeps (1 - |dy|) (1 - |dx|) of itself.
    left = sampled.mean(axis=(1, 2))
    assert left.min() > (1 - 0.65 / np.sqrt(2)) ** 2 - 0.01
    assert left.max() < 1 - 0.35 + 0.01


def test_shrunken_crops_keep_their_brightness_but_not_their_area():
    crops = np.zeros((1, 28, 28), dtype=np.float32)
    crops[:, 4:24, 4:24] = 1
    sampled = sample_background(
        crops=crops, n_samples=200, kinds=["shrunken"], random_state=0
    )
    share = sampled.sum(axis=(1, 2)) / crops.sum()
    assert share.min() > 0.25**2 - 0.01
    assert share.max() < 0.5**2 + 0.01


def test_thin_strokes_survive_shrinking():
    crops = np.zeros((1, 28, 28), dtype=np.float32)
    crops[:, 4:24, 14] = 1
    sampled = sample_background(
        crops=crops, n_samples=200, kinds=["shrunken"], random_state=0
    )
    share = sampled.sum(axis=(1, 2)) / crops.sum()
    assert share.min() > 0.9 * 0.25**2
    assert share.max() < 1.1 * 0.5**2


@pytest.mark.parametrize("kind", ["enlarged", "fragment"])
def test_parts_show_some_of_the_instance_in_the_middle(kind):
    crops = np.zeros((1, 28, 28), dtype=np.float32)
    crops[:, 2:10, 3:8] = 1
    sampled = sample_background(
        crops=crops, n_samples=200, kinds=[kind], random_state=0
    )
    assert sampled[:, 13:15, 13:15].max(axis=(1, 2)).min() == pytest.approx(1)


def test_neighbours_have_ink_on_both_sides_of_the_middle(digits):
    sampled = sample_background(
        crops=digits, n_samples=200, kinds=["neighbours"], random_state=0
    )
    halves = np.array([sampled[:, :, :14], sampled[:, :, 14:]]).max(axis=(2, 3))
    halves_high = np.array([sampled[:, :14], sampled[:, 14:]]).max(axis=(2, 3))
    assert (np.minimum(halves.min(axis=0), halves_high.min(axis=0)) > 0).mean() > 0.8


def test_fragments_are_bordered_by_black(digits):
    sampled = sample_background(
        crops=digits, n_samples=200, kinds=["fragment"], random_state=0
    )
    assert sampled[:, [0, 1, 26, 27]].max() == 0
    assert sampled[:, :, [0, 1, 26, 27]].max() == 0
    assert sampled.reshape(200, -1).max(axis=1).min() > 0


def test_kinds_are_sampled_in_the_given_proportions(digits):
    bright = np.full((50, 50), 255, dtype=np.uint8)
    sampled = sample_background(
        bright,
        digits,
        n_samples=100,
        kinds={"patch": 3, "shrunken": 1, "noise": 0},
        random_state=0,
    )
    constant = np.ptp(sampled.reshape(100, -1), axis=1) == 0
    assert constant.sum() == 75
    assert not constant[:75].all()


def test_colour_crops_make_colour_background_from_grey_photographs(photograph):
    crops = np.zeros((3, 12, 10, 3))
    crops[:, 3:9, 3:7, 1] = 0.5
    sampled = sample_background(photograph, crops, n_samples=50, random_state=0)
    assert sampled.shape == (50, 12, 10, 3)
    assert sampled.dtype == np.float32
    assert sampled.max() <= 1


def test_grey_crops_make_grey_background_from_colour_photographs(digits, photograph):
    colour = np.repeat(photograph[..., np.newaxis], 3, axis=2)
    kwargs = {"n_samples": 30, "kinds": ["patch"], "random_state": 0}
    from_colour = sample_background([colour], digits, **kwargs)
    from_grey = sample_background([photograph], digits, **kwargs)
    np.testing.assert_array_equal(from_colour, from_grey)


def test_photographs_smaller_than_a_sample_are_enlarged():
    photograph = np.array([[10, 200], [60, 90]], dtype=np.uint8)
    sampled = sample_background(
        photograph, n_samples=5, kinds=["patch"], size=(20, 30), random_state=0
    )
    assert sampled.shape == (5, 20, 30)
    assert sampled.min() > 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "background_images and crops are both None"),
        ({"crops": np.zeros((2, 784))}, r"crops must have the shape.*\(2, 784\)"),
        ({"crops": np.zeros((0, 4, 4))}, r"crops .*not be empty, found \(0, 4, 4\)"),
        ({"crops": np.full((2, 4, 4), 2.0)}, "crops of dtype float64 .*2.0 to 2.0"),
        ({"crops": np.full((2, 4, 4), np.nan)}, "crops of dtype float64 .*nan to nan"),
        ({"crops": np.full((2, 4, 4), 300)}, "crops of dtype int64 .*300 to 300"),
        ({"crops": np.zeros((2, 4, 4, 2))}, "crops must have 1 or 3 channels, found 2"),
        ({"crops": [np.zeros((2, 2)), np.zeros((3, 3))]}, "crops must all have one"),
        ({"crops": np.full((2, 4, 4), "a")}, "crops must hold numbers, found .*U1"),
        ({"background_images": []}, "background_images holds no image"),
        (
            {"background_images": [np.zeros(9)]},
            r"background_images\[0\] must have the shape",
        ),
        (
            {"background_images": [np.zeros((9, 9)), np.full((9, 9), np.inf)]},
            r"background_images\[1\] of dtype float64 must lie between 0 and 1",
        ),
        (
            {"crops": np.zeros((2, 4, 4)), "kinds": ["patch"]},
            "kinds holds 'patch', which is made of background_images",
        ),
        (
            {"background_images": np.zeros((9, 9)), "kinds": ["shifted"]},
            "kinds holds 'shifted', which is made of crops",
        ),
        (
            {"crops": np.zeros((2, 4, 4)), "kinds": ["blurred"]},
            "kinds must be among patch, .*found 'blurred'",
        ),
        (
            {"crops": np.zeros((2, 4, 4)), "kinds": {"noise": -1}},
            r"kinds\['noise'\] must be a finite share of at least 0, found -1",
        ),
        ({"crops": np.zeros((2, 4, 4)), "kinds": []}, "kinds must name at least one"),
        ({"crops": np.zeros((2, 4, 4)), "kinds": "noise"}, "The 'kinds' parameter"),
        (
            {"crops": np.zeros((2, 4, 4)), "size": (5, 5)},
            r"size is \(5, 5\), but crops have \(4, 4\) pixels",
        ),
        (
            {"background_images": np.zeros((9, 9)), "size": (0, 5)},
            r"size must be two positive integers",
        ),
    ],
)
def test_background_refuses_unusable_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        sample_background(n_samples=10, **kwargs)


def test_background_wants_a_sample():
    with pytest.raises(ValueError, match="'n_samples' parameter"):
        sample_background(crops=np.zeros((2, 4, 4)), n_samples=0)


@pytest.mark.parametrize("n_samples", [10**9, 10**30])
def test_more_background_than_memory_is_refused_at_once(digits, n_samples):
    with pytest.raises(ValueError, match=r"n_samples=1000.* GiB, more than there is"):
        sample_background(crops=digits, n_samples=n_samples)


def test_large_samples_are_made_few_at_a_time():
    # All at once, this much noise would take 0.7 GiB and more.
    tracemalloc.start()
    sampled = sample_background(
        np.eye(8), n_samples=60, kinds=["noise"], size=(1000, 1000), random_state=0
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - sampled.nbytes < 0.4 * 2**30
    # Grains from one pixel to many come up, though four are made at a time.
    steps = np.abs(np.diff(sampled[:16, :500, :500].astype(float), axis=2)).mean(
        axis=(1, 2)
    )
    assert steps.max() > 5 * steps.min()


def test_shares_of_kinds_may_be_of_any_size():
    small = sample_background(
        np.eye(8), n_samples=9, kinds={"patch": 1, "noise": 1}, random_state=0
    )
    large = sample_background(
        np.eye(8), n_samples=9, kinds={"patch": 1e308, "noise": 1e308}, random_state=0
    )
    np.testing.assert_array_equal(small, large)
