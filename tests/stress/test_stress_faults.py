"""Faults at random times: the state is the old or the new one, and nothing is left.

The environment variable SKLEARN_SIMILAR_STRESS sets how many interrupts are tried for
each method; without it they are few.
"""

import os
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier

N_CASES = int(os.environ.get("SKLEARN_SIMILAR_STRESS", "0"))
# A fit has more stages than any other method.
N_INTERRUPTS = {"fit": min(N_CASES, 200) or 4, "other": min(N_CASES, 50) or 3}
N_CALLS = 1000 if N_CASES else 25
METHODS = ["fit", "fit_importance", "predict_proba", "transform", "heatmap", "localize"]

has_alarm = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="no interval timers on this system"
)


@pytest.fixture(scope="module")
def localizer(digits, small_scenes_context):
    recogniser = SimilarNetClassifier(lr=2e-3, batch_size=50, max_epochs=2)
    localizer = InstanceLocalizer(
        recogniser,
        n_instance_crops=30,
        n_background_crops=30,
        n_mining_rounds=0,
        # It has learnt little: without this, it finds nothing.
        score_threshold=0,
        random_state=0,
    )
    with small_scenes_context():
        return localizer.fit(digits.X, digits.y)


@pytest.fixture
def call(digits, quick, localizer):
    """Return an estimator and a function that calls a method of it."""
    estimator = quick(max_epochs=2).fit(digits.X, digits.y)

    def get(name):
        if name == "localize":
            scene = np.tile(digits.X_test[0], (3, 3))
            return localizer, lambda: localizer.localize([scene])
        labels = (digits.y_test,) if name.startswith("fit") else ()
        method = getattr(estimator, name)
        return estimator, lambda: method(digits.X_test, *labels)

    return get


def network_of(estimator):
    return getattr(estimator, "estimator_", estimator).net_.module_


def leftovers(estimator):
    """All that a call must leave as it was."""
    module = network_of(estimator)
    layers = list(module.modules())
    return {
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in layers),
        "training": [m.training for m in layers],
        "gradients": [p.requires_grad for p in module.parameters()],
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "generator": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
    }


def answers(estimator, digits):
    if isinstance(estimator, InstanceLocalizer):
        return estimator.localize([np.tile(digits.X_test[0], (2, 2))]).to_numpy()
    return np.c_[
        estimator.predict_proba(digits.X_test[:9]),
        estimator.heatmap(digits.X_test[:9]).reshape(9, -1),
    ]


@has_alarm
@pytest.mark.parametrize("name", METHODS)
def test_interrupts_at_random_times_leave_the_old_state_or_the_new(digits, call, name):
    estimator, method = call(name)
    old, state = answers(estimator, digits), leftovers(estimator)
    assert len(old)
    start = time.perf_counter()
    method()
    seconds = time.perf_counter() - start
    new = answers(estimator, digits)
    draw = random.Random(0)
    n_interrupts = N_INTERRUPTS.get(name, N_INTERRUPTS["other"])
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    n_interrupted = 0
    try:
        for _ in range(n_interrupts):
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-4, seconds))
                method()
                time.sleep(seconds)
            except KeyboardInterrupt:
                n_interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert leftovers(estimator) == state
            found = answers(estimator, digits)
            assert np.array_equal(found, old) or np.array_equal(found, new)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert n_interrupted > 0
    print(f"{name}: {n_interrupted} interrupts")


class Fails(nn.Sequential):
    """A network that raises an error at one of its runs."""

    runs_left = float("inf")

    def __init__(self, n_classes):
        super().__init__(
            nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.AdaptiveMaxPool2d(2),
            nn.Flatten(), nn.Linear(16, n_classes),
        )  # fmt: skip

    def forward(self, images):
        Fails.runs_left -= 1
        if Fails.runs_left < 0:
            raise OSError("the network's own error")
        return super().forward(images)


def texts(error):
    """The texts of an error and of all that it was raised from."""
    while error is not None:
        yield str(error)
        error = error.__cause__


@pytest.mark.parametrize("name", [m for m in METHODS if m != "localize"])
def test_an_error_of_the_network_at_any_run_changes_nothing(digits, quick, name):
    estimator = quick(module=Fails).fit(digits.X, digits.y)
    labels = (digits.y_test,) if name.startswith("fit") else ()
    old, state = answers(estimator, digits), leftovers(estimator)
    for n_runs in range(N_CASES or 12):
        Fails.runs_left = n_runs
        try:
            with pytest.raises((OSError, ValueError)) as raised:
                getattr(estimator, name)(digits.X_test, *labels)
            # Some stages of a fit say first what of the network has failed.
            own_error = "the network's own error"
            assert any(own_error in text for text in texts(raised.value))
        except pytest.fail.Exception:
            # It was run to its end.
            assert n_runs > 0
            break
        finally:
            Fails.runs_left = float("inf")
        assert leftovers(estimator) == state
        assert np.array_equal(answers(estimator, digits), old)


class Raises(Callback):
    """A callback that raises an error when it is called under a name."""

    def __init__(self, name):
        self.name = name

    def notify(self, name):
        if name == self.name:
            raise OSError("the callback's own error")

    def on_train_begin(self, *args, **kwargs):
        self.notify("train begin")

    def on_batch_end(self, *args, **kwargs):
        self.notify("batch end")

    def on_epoch_end(self, *args, **kwargs):
        self.notify("epoch end")

    def on_train_end(self, *args, **kwargs):
        self.notify("train end")


@pytest.mark.parametrize("name", ["train begin", "batch end", "epoch end", "train end"])
def test_an_error_of_a_callback_changes_nothing(digits, quick, name):
    estimator = quick().fit(digits.X, digits.y)
    old, state = answers(estimator, digits), leftovers(estimator)
    estimator.set_params(net_params={"callbacks": [Raises(name)]}, random_state=1)
    with pytest.raises(OSError, match="the callback's own error"):
        estimator.fit(digits.X, digits.y)
    assert leftovers(estimator) == state
    assert np.array_equal(answers(estimator, digits), old)


@pytest.mark.usefixtures("small_scenes")
@pytest.mark.parametrize("method", ["update", "close"])
def test_an_error_of_a_progress_bar_changes_nothing(
    digits, localizer, monkeypatch, method
):
    old = answers(localizer, digits)
    assert len(old)
    localizer.set_params(verbose=1)

    def fail(*args, **kwargs):
        raise OSError("the bar's own error")

    with monkeypatch.context() as patch:
        patch.setattr(f"tqdm.std.tqdm.{method}", fail)
        with pytest.raises(OSError, match="the bar's own error"):
            localizer.fit(digits.X, digits.y)
    localizer.set_params(verbose=0)
    np.testing.assert_array_equal(answers(localizer, digits), old)


class Killed(Callback):
    """A callback that kills the process of a joblib worker, and no other."""

    def on_epoch_end(self, *args, **kwargs):
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)

    def __init__(self, parent):
        self.parent = parent


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_a_killed_worker_ends_a_search_with_an_error(digits, quick):
    killed = quick(net_params={"callbacks": [Killed(os.getpid())]})
    search = GridSearchCV(killed, {"lr": [0.001, 0.01]}, cv=2, n_jobs=2)
    with pytest.raises(TerminatedWorkerError):
        search.fit(digits.X, digits.y)
    assert not hasattr(search, "best_estimator_")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
@pytest.mark.parametrize("name", METHODS[2:])
def test_many_calls_need_no_more_memory_hooks_or_files(digits, call, name):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    estimator, method = call(name)
    for _ in range(20):
        method()
    state, memory = leftovers(estimator), resident()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(N_CALLS):
        method()
    assert leftovers(estimator) == state
    assert len(os.listdir("/proc/self/fd")) == files
    assert threading.active_count() == threads
    # A third of a megabyte a call, the smallest leak that such few calls show.
    assert resident() - memory < N_CALLS * 20e6 / 60
