"""Dask collections: lazy, block by block, equal to what is in memory."""

import copy
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_similar import InstanceLocalizer
from sklearn_similar.datasets import make_scenes

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scenes(digits):
    images, _ = make_scenes(
        digits.X_test, digits.y_test, n_scenes=12, size=(70, 90), random_state=0
    )
    return images


@pytest.fixture(scope="module")
def localizer(fitted, digits):
    frozen = FrozenEstimator(fitted)
    return InstanceLocalizer(frozen, random_state=0).fit(digits.X, digits.y)


@pytest.fixture(scope="module")
def table(localizer, scenes):
    found = localizer.localize(scenes)
    assert found["image"].nunique() > 6
    return found


@pytest.fixture(scope="module")
def fast_start():
    """Workers are forked, where possible, from a process that has all imported."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        yield
        return
    # As Dask does for its tests; the first call would overwrite the list.
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OMP_NUM_THREADS", "1")
        context = distributed.utils.get_mp_context()
        context.set_forkserver_preload(["distributed", "sklearn_similar"])
        yield


@pytest.fixture(scope="module")
def client(fast_start):
    """Two processes of one thread; a lost one is replaced."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def assert_same_table(lazy, table):
    assert isinstance(lazy, dd.DataFrame)
    assert lazy.dtypes.equals(table.dtypes)
    found = lazy.compute(scheduler="threads", num_workers=2)
    assert_frame_equal(found.reset_index(drop=True), table)


class TestArrays:
    @pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (784,)])
    @pytest.mark.parametrize(
        "method", ["predict", "predict_proba", "transform", "heatmap"]
    )
    def test_results_are_those_of_arrays_in_the_same_chunks(
        self, fitted, digits, shape, method
    ):
        X = digits.X_test.reshape(-1, *shape)
        lazy = getattr(fitted, method)(da.from_array(X, chunks=(30, *shape)))
        wanted = getattr(fitted, method)(X)
        assert lazy.chunks[0] == (30, 30, 30, 10)
        assert (lazy.shape, lazy.dtype) == (wanted.shape, wanted.dtype)
        found = lazy.compute(scheduler="threads")
        np.testing.assert_allclose(found, wanted, atol=1e-6)

    def test_blocks_are_computed_only_when_asked_for(self, fitted, digits):
        computed = []

        def note(block, block_info=None):
            if block_info:
                computed.append(block_info[0]["chunk-location"][0])
            return block

        X = da.from_array(digits.X_test, chunks=(25, 28, 28))
        lazy = fitted.predict_proba(X.map_blocks(note, dtype=X.dtype, meta=X._meta))
        assert computed == []
        lazy[60:70].compute(scheduler="sync")
        assert computed == [2]

    def test_a_target_is_passed_on(self, fitted, digits):
        X = da.from_array(digits.X_test[:20], chunks=(10, 28, 28))
        found = fitted.heatmap(X, 3).compute(scheduler="sync")
        expected = fitted.heatmap(digits.X_test[:20], 3)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_chunks_of_unknown_or_no_length_are_computed(self, fitted, digits):
        X = da.from_array(digits.X_test, chunks=(50, 28, 28))
        is_low = da.from_array(np.arange(100) < 40, chunks=50)
        found = fitted.predict(X[is_low]).compute(scheduler="sync")
        assert_array_equal(found, fitted.predict(digits.X_test[:40]))

    def test_instances_are_numbered_over_all_chunks(self, localizer, scenes, table):
        X = da.from_array(scenes, chunks=(5, 70, 90))
        assert_same_table(localizer.localize(X), table)

    def test_what_is_computed_is_the_estimator_of_the_call(self, localizer, scenes):
        changing = pickle.loads(pickle.dumps(localizer))
        lazy = changing.localize(da.from_array(scenes, chunks=(6, 70, 90)))
        wanted = changing.localize(scenes)
        changing.set_params(score_threshold=1.0)
        assert len(changing.localize(scenes)) < len(wanted)
        assert_same_table(lazy, wanted)

    def test_several_threads_leave_the_number_of_threads_as_it_was(
        self, localizer, scenes
    ):
        import torch

        torch.set_num_threads(3)
        try:
            X = da.from_array(scenes, chunks=(3, 70, 90))
            localizer.localize(X).compute(scheduler="threads", num_workers=4)
            later = []
            thread = threading.Thread(
                target=lambda: later.append(torch.get_num_threads())
            )
            thread.start()
            thread.join()
            assert (torch.get_num_threads(), later) == (3, [3])
        finally:
            torch.set_num_threads(1)


class TestBags:
    @pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
    def test_each_image_has_its_result(self, fitted, digits, method):
        images = list(digits.X_test[:20])
        bag = getattr(fitted, method)(db.from_sequence(images, npartitions=3))
        found = np.array(bag.compute(scheduler="sync"))
        wanted = getattr(fitted, method)(digits.X_test[:20])
        np.testing.assert_allclose(found, wanted, atol=1e-6)

    def test_instances_are_numbered_over_all_partitions(self, localizer, scenes, table):
        bag = db.from_sequence(list(scenes), npartitions=5)
        # One partition has no images, which numbers the later ones the same.
        bag = db.concat([db.from_sequence([0]).filter(bool), bag])
        assert_same_table(localizer.localize(bag), table)

    def test_files_are_read_by_the_workers(self, localizer, scenes, table, tmp_path):
        image = pytest.importorskip("PIL.Image")
        paths = [tmp_path / f"{index:02}.png" for index in range(len(scenes))]
        for path, scene in zip(paths, scenes, strict=True):
            image.fromarray(scene).save(path)
        bag = db.from_sequence(paths, npartitions=3)
        assert_same_table(localizer.localize(bag), table)


class TestDelayed:
    """A list of delayed images is a bag with a partition for each."""

    def test_each_image_has_its_result(self, fitted, digits):
        images = [dask.delayed(np.asarray)(image) for image in digits.X_test[:5]]
        found = fitted.predict(images).compute(scheduler="threads")
        assert found == list(fitted.predict(digits.X_test[:5]))

    def test_instances_are_numbered(self, localizer, scenes, table):
        images = [dask.delayed(np.asarray)(scene) for scene in scenes]
        assert_same_table(localizer.localize(images), table)
        # Some may have been computed.
        assert_same_table(localizer.localize([scenes[0], *images[1:]]), table)

    def test_other_methods_want_images(self, quick, localizer, digits):
        images = [dask.delayed(np.asarray)(image) for image in digits.X[:5]]
        for refused in (
            lambda: quick().fit(images, digits.y[:5]),
            lambda: InstanceLocalizer().fit(images, digits.y[:5]),
        ):
            with pytest.raises(ValueError, match=r"list of dask.*compute\(\*X\)"):
                refused()
        with pytest.raises(ValueError, match="score wants all images at once"):
            localizer.score(images, digits.y[:5])


# Dask's own code.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("dtype", [object, "str"])
def test_tables_with_labels_of_text_are_saved_as_parquet(
    localizer, scenes, tmp_path, dtype
):
    pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    named = copy.copy(localizer)
    named.classes_ = np.array([f"digit {c}" for c in localizer.classes_], dtype=dtype)
    table = named.localize(scenes)
    for X in (da.from_array(scenes, chunks=(6, 70, 90)), db.from_sequence(scenes)):
        lazy = named.localize(X)
        assert lazy.dtypes.equals(table.dtypes)
        lazy.to_parquet(tmp_path / type(X).__name__)
        found = pd.read_parquet(tmp_path / type(X).__name__)
        # Files of partitions are sorted by name.
        found = found.sort_values("image", kind="stable")
        assert found["label"].tolist() == table["label"].tolist()


class TestRefusals:
    @pytest.mark.parametrize("method", ["predict_proba", "transform", "localize"])
    def test_chunks_that_cut_images(self, fitted, localizer, digits, method):
        X = da.from_array(digits.X_test, chunks=(50, 14, 28))
        estimator = localizer if method == "localize" else fitted
        with pytest.raises(ValueError, match=r"cut images.*X\.rechunk\({1: -1, 2: -1}"):
            getattr(estimator, method)(X)

    def test_rows_that_are_cut(self, fitted, digits):
        X = da.from_array(digits.X_test.reshape(100, 784), chunks=(50, 100))
        with pytest.raises(ValueError, match=r"X\.rechunk\({1: -1}\)"):
            fitted.transform(X)

    def test_images_that_cannot_be_numbered(self, localizer, scenes):
        X = da.from_array(scenes, chunks=(6, 70, 90))
        with pytest.raises(ValueError, match=r"X\.compute_chunk_sizes\(\)"):
            localizer.localize(X[X.max(axis=(1, 2)) > 0])

    def test_shapes_that_cannot_be_used_before_anything_is_computed(
        self, fitted, localizer
    ):
        with pytest.raises(ValueError, match="Image 0 of X is 30x30, but predict"):
            fitted.predict_proba(da.zeros((5, 30, 30), chunks=(2, 30, 30)))
        with pytest.raises(ValueError, match="and so 5 channels"):
            localizer.localize(da.zeros((5, 30, 30, 5), chunks=(2, 30, 30, 5)))
        with pytest.raises(ValueError, match="expecting 784 features"):
            fitted.transform(da.zeros((5, 80), chunks=(2, 80)))
        with pytest.raises(ValueError, match=r"pass rows \(n, n_features\)"):
            fitted.transform(da.zeros(5))

    def test_other_collections_and_methods(self, quick, fitted, localizer, digits):
        X = da.from_array(digits.X, chunks=(50, 28, 28))
        for refused in (
            lambda: quick().fit(X, digits.y),
            lambda: fitted.fit_importance(X, digits.y),
            lambda: InstanceLocalizer().fit(X, digits.y),
        ):
            with pytest.raises(ValueError, match=r"dask.*X\.compute\(\), if it fits"):
                refused()
        with pytest.raises(ValueError, match="score wants all images at once"):
            localizer.score(X, digits.y)
        rows = dd.from_dask_array(X.reshape(-1, 784))
        with pytest.raises(ValueError, match=r"to_dask_array\(lengths=True\)"):
            fitted.predict(rows)
        with pytest.raises(ValueError, match=r"Dask Delayed.*; pass a dask\.array"):
            fitted.predict(dask.delayed(digits.X))

    def test_tables_of_heatmaps(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y).set_output(transform="pandas")
        with pytest.raises(ValueError, match="set_output asks for a table"):
            estimator.transform(da.from_array(digits.X, chunks=(50, 28, 28)))


class TestErrorsNameTheImage:
    def test_of_arrays(self, fitted, localizer, digits, scenes):
        X = digits.X_test / 255
        X[77, 3, 3] = np.nan
        chunked = da.from_array(X, chunks=(30, 28, 28))
        with pytest.raises(ValueError, match=r"^Image 77 of X contains NaN"):
            fitted.predict_proba(chunked).compute(scheduler="sync")
        unknown = chunked[da.from_array(np.arange(100) >= 0, chunks=30)]
        with pytest.raises(ValueError, match=r"^Image 17 of block 2 of X contains"):
            fitted.predict_proba(unknown).compute(scheduler="sync")
        Z = scenes / 255
        Z[7] = np.inf
        with pytest.raises(ValueError, match=r"^Image 7 of X contains inf"):
            localizer.localize(da.from_array(Z, chunks=(5, 70, 90))).compute(
                scheduler="sync"
            )

    def test_of_bags(self, fitted, digits):
        images = list(digits.X_test[:20] / 255)
        images[13] = images[13] * np.nan
        bag = db.from_sequence(images, npartitions=4)
        message = "^Image 3 of partition 2 of X contains NaN"
        with pytest.raises(ValueError, match=message):
            fitted.predict_proba(bag).compute(scheduler="sync")

    def test_that_only_the_search_of_it_raises(self, localizer, scenes):
        mean = scenes[7].mean() / 255

        def proposals(image):
            if abs(image.mean() - mean) < 1e-6:
                raise KeyError("odd")
            return np.array([[0, 0, 20, 20]])

        failing = pickle.loads(pickle.dumps(localizer)).set_params(proposals=proposals)
        lazy = failing.localize(da.from_array(scenes, chunks=(5, 70, 90)))
        with pytest.raises(KeyError) as caught:
            lazy.compute(scheduler="sync")
        assert caught.value.__notes__ == ["This is about image 7 of X."]


class TestCluster:
    def test_two_processes_give_the_same_results(
        self, client, fitted, localizer, digits, scenes, table
    ):
        X = da.from_array(digits.X_test, chunks=(25, 28, 28))
        for method in ("predict_proba", "transform"):
            found = getattr(fitted, method)(X).compute(scheduler=client)
            wanted = getattr(fitted, method)(digits.X_test)
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        lazy = localizer.localize(da.from_array(scenes, chunks=(2, 70, 90)))
        found = lazy.compute(scheduler=client).reset_index(drop=True)
        assert_frame_equal(found, table)

    def test_each_worker_gets_the_estimator_once(self, client, fitted, digits):
        def count(dask_worker):
            return dask_worker.n_unpickled

        def start(dask_worker):
            from sklearn_similar import SimilarNetClassifier

            dask_worker.n_unpickled = 0
            unpickle = SimilarNetClassifier.__setstate__

            def counted(self, state):
                dask_worker.n_unpickled += 1
                unpickle(self, state)

            SimilarNetClassifier.__setstate__ = counted
            dask_worker.undo = lambda: setattr(
                SimilarNetClassifier, "__setstate__", unpickle
            )

        client.run(start)
        try:
            X = da.from_array(digits.X_test, chunks=(2, 28, 28))
            fitted.predict_proba(X).compute(scheduler=client)
            counts = list(client.run(count).values())
        finally:
            client.run(lambda dask_worker: dask_worker.undo())
        assert len(counts) == 2
        assert max(counts) == 1

    def test_warnings_of_the_workers_come_back(self, client, fitted, digits):
        X = da.from_array(digits.X_test / 1e5, chunks=(50, 28, 28))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted.predict_proba(X).compute(scheduler=client)
            for _ in range(100):
                if caught:
                    break
                time.sleep(0.1)
        assert "so that results may be wrong" in str(caught[0].message)

    def test_a_search_over_parameters_runs_on_the_workers(self, client, quick, digits):
        grid = {"lr": [1e-6, 0.003]}
        serial = GridSearchCV(quick(), grid, cv=2).fit(digits.X, digits.y)
        client.wait_for_workers(2, timeout=60)
        search = GridSearchCV(quick(), grid, cv=2)
        with joblib.parallel_config(backend="dask"), client.as_current():
            search.fit(digits.X, digits.y)
        assert_array_equal(
            search.cv_results_["mean_test_score"],
            serial.cv_results_["mean_test_score"],
        )

    # Last, as the tests after it would wait for the new worker.
    def test_a_killed_worker_loses_nothing(self, client, localizer, scenes, table):
        def slow(block):
            time.sleep(0.3)
            return block

        X = da.from_array(scenes, chunks=(1, 70, 90)).map_blocks(slow, dtype=np.uint8)
        client.wait_for_workers(2, timeout=60)
        pids = list(client.run(os.getpid).values())
        future = client.compute(localizer.localize(X))
        time.sleep(0.8)
        assert not future.done()
        os.kill(pids[0], signal.SIGKILL)
        found = future.result(timeout=120).reset_index(drop=True)
        assert_frame_equal(found, table)
        assert pids[0] not in client.run(os.getpid).values()
