"""Damaged and forged files raise one clear error each and execute no code.

The environment variable SKLEARN_SIMILAR_STRESS sets the number of files.
"""

import gzip
import os
import struct
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from hostile_files import code_that_runs, damaged, forged
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier, load, save
from sklearn_similar.datasets._idx import read_idx

resource = pytest.importorskip("resource", reason="not on Windows")

N_CASES = int(os.environ.get("SKLEARN_SIMILAR_STRESS", "0"))
# More than any of the files below needs: a file of 60 kB contains a network of 60 kB.
MAX_GROWTH = 300 * 2**20


def peak_memory():
    """Return the peak memory of the process, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 10)
    X = rng.integers(0, 60, (30, 6, 6), dtype=np.uint8)
    X[np.arange(30), 2, np.repeat([1, 2, 3], 10)] = 255
    return X, y


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    """Return the contents of a classifier's and of a localizer's file."""
    classifier = SimilarNetClassifier(
        max_epochs=2,
        batch_size=10,
        class_weight={"a": 1.0, "b": 2.0, "c": 1.0},
        random_state=np.random.RandomState(0),
        net_params={"optimizer__weight_decay": 0.0},
    ).fit(*images)
    localizer = InstanceLocalizer(FrozenEstimator(classifier)).fit(*images)
    path = tmp_path_factory.mktemp("files") / "file"
    contents = []
    for estimator in (classifier, localizer):
        save(estimator, path)
        contents.append(path.read_bytes())
    return contents


def outcome(path, X):
    """Whether a file is refused, or loaded as an estimator that works."""
    try:
        estimator = load(path)
    except ValueError as error:
        return "refused" if len(str(error)) < 1000 else "refused at length"
    if isinstance(estimator, InstanceLocalizer):
        estimator.localize(X)
    else:
        proba = estimator.predict_proba(X)
        assert proba.shape == (len(X), len(estimator.classes_))
        assert np.isfinite(estimator.transform(X)).all()
        estimator.heatmap(X, target=estimator.classes_[0])
    return "loaded"


@pytest.mark.parametrize("change", [damaged, forged])
def test_changed_files_are_refused_or_work(files, images, tmp_path, change, capsys):
    path = tmp_path / "file"
    X = images[0][::7]
    for content in files:
        path.write_bytes(content)
        outcome(path, X)
    before, counts = peak_memory(), Counter()
    for seed in range(N_CASES or 120):
        content, kind = change(files[seed % len(files)], seed)
        path.write_bytes(content)
        with warnings.catch_warnings(), code_that_runs() as events:
            warnings.simplefilter("ignore")
            try:
                found = outcome(path, X)
            except BaseException as error:
                raise AssertionError(f"{change.__name__}, seed {seed}") from error
        assert not events, (seed, events)
        if change is damaged and content != files[seed % len(files)]:
            assert found == "refused", seed
        assert found != "refused at length", seed
        counts[kind, found] += 1
    assert peak_memory() - before < MAX_GROWTH
    with capsys.disabled():
        print(f"\n{change.__name__}: {sum(counts.values())} files", dict(counts))


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_idx_files_are_refused_or_have_the_promised_shape(
    tmp_path, zipped, capsys
):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 7, 5), dtype=np.uint8)
    content = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes()
    content = gzip.compress(content, mtime=0) if zipped else content
    path, before, counts = tmp_path / "images", peak_memory(), Counter()
    for seed in range(N_CASES or 120):
        changed, kind = damaged(content, seed)
        path.write_bytes(changed)
        try:
            found = read_idx(path, 3)
        except ValueError:
            counts[kind, "refused"] += 1
            continue
        # The data of a plain file have no checksum.
        assert found.shape == pixels.shape, seed
        assert not zipped or np.array_equal(found, pixels), seed
        counts[kind, "read"] += 1
    assert peak_memory() - before < MAX_GROWTH
    with capsys.disabled():
        print(f"\nIDX, zipped={zipped}: {sum(counts.values())} files", dict(counts))
