"""The state of an estimator: the old one or the new one, whatever happens meanwhile."""

import multiprocessing
import pickle
import random
import signal
import sys
import threading
import time
from types import TracebackType

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier

has_alarm = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="no interval timers on this system"
)


def raise_interrupt(_signal, _frame):
    raise KeyboardInterrupt


def interrupted_after(delay, call, handler=signal.default_int_handler):
    """Whether a KeyboardInterrupt came out of a call that one was sent to."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        call()
        time.sleep(delay)
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def n_hooks(estimator):
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks)
        for layer in estimator.net_.module_.modules()
    )


@has_alarm
@pytest.mark.parametrize("handler", [signal.default_int_handler, raise_interrupt])
def test_an_interrupted_fit_leaves_the_estimator_as_it_was(
    digits, quick, weights_of, handler
):
    estimator = quick(max_epochs=3).fit(digits.X, digits.y)
    old = weights_of(estimator)
    start = time.perf_counter()
    new = weights_of(quick(max_epochs=3, random_state=1).fit(digits.X, digits.y))
    seconds = time.perf_counter() - start
    estimator.set_params(random_state=1)
    draw = random.Random(0)
    n_interrupted = 0
    for _ in range(8):
        n_interrupted += interrupted_after(
            draw.uniform(0, seconds), lambda: estimator.fit(digits.X, digits.y), handler
        )
        found = weights_of(estimator)
        assert np.array_equal(found, old) or np.array_equal(found, new)
        estimator.predict(digits.X_test[:2])
        estimator.heatmap(digits.X_test[:2], target=1)
        assert torch.is_grad_enabled()
    assert n_interrupted > 2


@has_alarm
def test_an_interrupted_search_does_not_go_on(digits, quick):
    class Slow(Callback):
        def on_batch_end(self, net, **kwargs):
            time.sleep(0.01)

    slow = quick(net_params={"callbacks": [("slow", Slow())]})
    search = GridSearchCV(slow, {"lr": [0.001, 0.01]}, cv=2)
    assert interrupted_after(0.15, lambda: search.fit(digits.X, digits.y))
    assert not hasattr(search, "best_estimator_")


def test_a_callback_ends_training_early_by_its_own_interrupt(digits, quick):
    class Enough(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    estimator = quick(max_epochs=9, net_params={"callbacks": [Enough()]})
    assert len(estimator.fit(digits.X, digits.y).net_.history) == 2
    params = {
        "callbacks": [EarlyStopping(patience=1, threshold=10, sink=len)],
        "train_split": ValidSplit(4),
    }
    estimator.set_params(net_params=params)
    assert len(estimator.fit(digits.X, digits.y).net_.history) < 9


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="other instructions have no line"
)
def test_an_interrupt_at_an_instruction_without_a_line_ends_the_fit(digits, quick):
    class Struck(Callback):
        def on_batch_end(self, net, **kwargs):
            # The first instruction of a function that sees outer names has no line.
            place = TracebackType(None, sys._getframe(), 0, -1)
            lines.append(place.tb_lineno)
            raise KeyboardInterrupt().with_traceback(place)

    lines = []
    with pytest.raises(KeyboardInterrupt):
        quick(net_params={"callbacks": [Struck()]}).fit(digits.X, digits.y)
    assert lines == [None]


def test_an_interrupt_of_a_user_s_network_is_not_taken_for_an_early_stop(digits, quick):
    class Interrupted(nn.Sequential):
        def __init__(self, n_classes):
            super().__init__(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.LazyLinear(n_classes))

        def forward(self, images):
            if self.training:
                raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        quick(module=Interrupted).fit(digits.X, digits.y)


def test_readers_in_other_threads_see_the_old_state_or_the_new(digits, quick):
    letters = np.array(list("abcdefghij"))[digits.y]
    estimator = quick(max_epochs=2, lr=0.003).fit(digits.X, digits.y)
    answers, errors, stop = [], [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                labels = estimator.predict(digits.X_test[:20])
                heat = estimator.heatmap(digits.X_test[:2])
                answers.append((labels.dtype.kind, heat.shape))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for labels in (letters, digits.y, letters):
        estimator.fit(digits.X, labels)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {kind for kind, _ in answers} <= {"i", "U"}
    assert {shape for _, shape in answers} == {(2, 28, 28)}


def test_a_parameter_that_is_set_during_a_fit_stays_set(digits, quick):
    class Sets(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen[0].set_params(threshold=0.7)

        def __deepcopy__(self, memo):
            return self

    seen = []
    estimator = quick(net_params={"callbacks": [Sets()]})
    seen.append(estimator)
    estimator.fit(digits.X, digits.y)
    assert estimator.threshold == 0.7
    assert hasattr(estimator, "net_")


@pytest.mark.parametrize("method", ["fit", "fit_importance"])
def test_an_error_in_the_middle_changes_nothing(
    digits, quick, weights_of, monkeypatch, method
):
    estimator = quick().fit(digits.X, digits.y)
    before = pickle.dumps(estimator)

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("sklearn_similar._classifier.calibrate", fail)
    with pytest.raises(MemoryError):
        getattr(estimator, method)(digits.X_test, digits.y_test)
    assert pickle.dumps(estimator) == before


def test_a_pickle_holds_the_network_as_it_was_fitted(digits, quick):
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(4, 10),
    )  # fmt: skip
    net_params = {"optimizer__weight_decay": 0.01}
    estimator = quick(module=network, net_params=net_params).fit(digits.X, digits.y)
    expected = estimator.predict_proba(digits.X_test)
    network.append(nn.Linear(10, 7))
    net_params["module"] = nn.Identity
    loaded = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(loaded.predict_proba(digits.X_test), expected)


@pytest.mark.parametrize(
    ("estimator", "params", "remedy"),
    [
        (SimilarNetClassifier(), {"lr__x": 3}, "as a whole"),
        (InstanceLocalizer(), {"estimator__lr": 3}, r"SimilarNetClassifier\(\) first"),
    ],
)
def test_a_nested_parameter_without_owner_is_refused(estimator, params, remedy):
    before = estimator.get_params()
    with pytest.raises(ValueError, match=remedy):
        estimator.set_params(threshold=0.5, **params) if hasattr(
            estimator, "threshold"
        ) else estimator.set_params(**params)
    assert estimator.get_params() == before
    nested = InstanceLocalizer(SimilarNetClassifier()).set_params(estimator__lr=0.5)
    assert clone(nested).estimator.lr == 0.5


class TestParametersOfTheNet:
    def test_are_set_by_their_names_and_copied(self):
        given = {"module__width": 3, "optimizer": torch.optim.SGD}
        estimator = SimilarNetClassifier(net_params=given)
        estimator.set_params(module__width=5, optimizer__weight_decay=0.1, lr=0.5)
        expected = {
            "module__width": 5,
            "optimizer": torch.optim.SGD,
            "optimizer__weight_decay": 0.1,
        }
        assert given["module__width"] == 3
        assert estimator.lr == 0.5
        assert clone(estimator).net_params == expected
        found = estimator.get_params()
        assert found["net_params"] == expected
        assert found["module__width"] == 5
        assert "module__width" not in estimator.get_params(deep=False)
        assert clone(estimator).set_params(**found).get_params() == found
        assert "weight_decay" in estimator._repr_html_()

    def test_come_with_a_new_dict_of_them(self):
        estimator = SimilarNetClassifier(net_params={"module__width": 3})
        estimator.set_params(net_params={"optimizer": 1}, module__width=4)
        assert estimator.net_params == {"optimizer": 1, "module__width": 4}

    def test_are_searched(self, digits):
        search = GridSearchCV(
            SimilarNetClassifier(Wide, max_epochs=1, random_state=0),
            {"module__width": [3, 5]},
            cv=2,
        ).fit(digits.X, digits.y)
        best = search.best_params_["module__width"]
        assert len(search.best_estimator_.filter_importances_) == best
        assert search.best_estimator_.get_params()["module__width"] == best


class Wide(nn.Sequential):
    def __init__(self, n_classes, width=2):
        super().__init__(
            nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(width, n_classes),
        )  # fmt: skip


def predict_in_child(estimator, X, queue):
    queue.put(estimator.predict_proba(X))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork"
)
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded")
def test_a_forked_process_does_not_wait_for_threads_that_are_gone(digits, quick):
    context = multiprocessing.get_context("fork")
    torch.set_num_threads(2)
    try:
        estimator = quick().fit(digits.X, digits.y)
        expected = estimator.predict_proba(digits.X_test)
        queue = context.Queue()
        child = context.Process(
            target=predict_in_child, args=(estimator, digits.X_test, queue)
        )
        child.start()
        try:
            found = queue.get(timeout=60)
        finally:
            child.kill()
            child.join()
    finally:
        torch.set_num_threads(1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
