"""The search of many images by several workers."""

import os
import threading

import joblib
import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn import config_context
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer
from sklearn_similar._network.threads import limited_threads
from sklearn_similar._search import workers
from sklearn_similar.datasets import make_scenes


@pytest.fixture(scope="module")
def scenes(digits):
    images, _ = make_scenes(
        digits.X_test, digits.y_test, n_scenes=10, size=(70, 90), random_state=0
    )
    return images


@pytest.fixture
def localizer(fitted, digits):
    """A localizer that searches image by image."""
    frozen = FrozenEstimator(fitted)
    localizer = InstanceLocalizer(frozen, random_state=0).fit(digits.X, digits.y)
    with config_context(working_memory=70 * 90 / 512):
        yield localizer


@pytest.fixture
def threads_of_torch():
    """Three threads, where all other tests have one."""
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(1)


@pytest.mark.parametrize(("n_images", "n_workers"), [(1, 0), (3, 3), (10, 5)])
def test_there_are_no_more_workers_than_work(
    localizer, scenes, monkeypatch, n_images, n_workers
):
    asked = []

    class Noted(workers.Parallel):
        def __init__(self, n_jobs, **params):
            asked.append(n_jobs)
            super().__init__(n_jobs=n_jobs, **(params | {"prefer": "threads"}))

    monkeypatch.setattr(workers, "Parallel", Noted)
    expected = localizer.localize(scenes[:n_images])
    localizer.n_jobs = 5
    assert_frame_equal(localizer.localize(scenes[:n_images]), expected)
    assert asked == ([n_workers] if n_workers else [])


def noted(seen):
    """Proposals that note who asks for them, with how many threads."""

    def proposals(_image):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return np.array([[0, 0, 28, 28]])

    return proposals


def threads_of_new_thread():
    """How many threads of PyTorch a thread has that begins now."""
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_results_are_those_of_one_worker(localizer, scenes, n_jobs):
    alone = localizer.localize(scenes)
    assert alone["image"].nunique() > 5
    assert_frame_equal(localizer.set_params(n_jobs=n_jobs).localize(scenes), alone)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_configuration_of_joblib_decides_how_many_and_of_what_kind(
    localizer, scenes, backend
):
    alone = localizer.localize(scenes)
    seen = []
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert_frame_equal(localizer.localize(scenes), alone)
        if backend == "threading":
            localizer.set_params(proposals=noted(seen)).localize(scenes)
            assert len({ident for ident, _ in seen} - {threading.get_ident()}) == 2


def test_without_n_jobs_all_is_done_by_the_caller(localizer, scenes, threads_of_torch):
    seen = []
    localizer.set_params(proposals=noted(seen)).localize(scenes)
    assert set(seen) == {(threading.get_ident(), threads_of_torch)}


@pytest.mark.parametrize("fails", [False, True])
def test_workers_share_the_threads_of_pytorch_which_come_back(
    localizer, scenes, threads_of_torch, fails
):
    seen = []
    propose = noted(seen)

    def proposals(image):
        propose(image)
        if fails and len(seen) > 5:
            raise KeyError("odd")
        return np.array([[0, 0, 28, 28]])

    localizer.set_params(proposals=proposals, n_jobs=2)
    try:
        with joblib.parallel_config(backend="threading"):
            localizer.localize(scenes)
    except KeyError:
        assert fails
    assert {n for _, n in seen} == {1}
    assert torch.get_num_threads() == threads_of_new_thread() == threads_of_torch


@pytest.mark.filterwarnings("ignore:.* tasks which were still being processed")
def test_threads_come_back_before_workers_that_still_search(
    localizer, scenes, threads_of_torch
):
    held, released = threading.Semaphore(0), threading.Event()
    first = scenes[0].mean() / 255

    def proposals(image):
        if abs(image.mean() - first) > 1e-6:
            held.release()
            assert released.wait(30)
        return np.array([[0, 0, 28, 28]])

    localizer.set_params(proposals=proposals, n_jobs=2)
    try:
        with joblib.parallel_config(backend="threading"):
            tables = localizer.localize(iter(scenes))
            next(tables)
            assert held.acquire(timeout=30)
            assert held.acquire(timeout=30)
            tables.close()
        assert not released.is_set()
        assert torch.get_num_threads() == threads_of_new_thread() == threads_of_torch
    finally:
        released.set()


def test_limits_that_overlap_leave_the_number_from_before(threads_of_torch):
    first_left, second_came = threading.Event(), threading.Event()
    seen = []

    def second():
        with limited_threads(1):
            second_came.set()
            first_left.wait(10)
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=second)
    with limited_threads(2):
        assert torch.get_num_threads() == 2
        thread.start()
        assert second_came.wait(10)
    first_left.set()
    thread.join()
    assert seen == [1]
    assert torch.get_num_threads() == threads_of_new_thread() == threads_of_torch


def test_workers_are_processes_that_have_their_share_of_the_threads(
    localizer, scenes, threads_of_torch, tmp_path
):
    def proposals(_image):
        name = f"{os.getpid()} {torch.get_num_threads()}"
        (tmp_path / name).touch()
        return np.array([[0, 0, 28, 28]])

    localizer.set_params(proposals=proposals, n_jobs=2).localize(scenes)
    found = [path.name.split() for path in tmp_path.iterdir()]
    assert {n_threads for _, n_threads in found} == {"1"}
    assert str(os.getpid()) not in {pid for pid, _ in found}
    assert torch.get_num_threads() == threads_of_torch


def test_the_estimator_warns_of_no_crops(localizer, scenes):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        localizer.set_params(n_jobs=2).localize(scenes // 2)


# Processes come last, as an error ends them, and new ones take seconds to start.
@pytest.mark.parametrize(
    ("n_at_once", "n_jobs", "backend"),
    [(1, 1, "loky"), (4, 1, "loky"), (1, 2, "threading"), (4, 2, "loky")],
)
def test_an_error_in_the_search_says_of_which_image(
    localizer, scenes, n_at_once, n_jobs, backend
):
    means = scenes.mean(axis=(1, 2)) / 255

    def proposals(image):
        if abs(image.mean() - means[6]) < 1e-6:
            raise ZeroDivisionError("odd")
        return np.array([[0, 0, 28, 28]])

    localizer.set_params(proposals=proposals, n_jobs=n_jobs)
    with (
        config_context(working_memory=n_at_once * 70 * 90 / 512),
        joblib.parallel_config(backend=backend),
        pytest.raises(ZeroDivisionError, match="odd") as caught,
    ):
        localizer.localize(scenes)
    assert caught.value.__notes__ == ["This is about image 6 of X."]
