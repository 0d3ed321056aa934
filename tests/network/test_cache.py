"""Trained networks in a folder: used if nothing has changed, and never otherwise."""

import sys
import textwrap
import warnings
from importlib import import_module, reload
from types import ModuleType

import joblib
import numpy as np
import pytest
import skorch
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import EpochScoring
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._network import cache

SOURCE = """
    from skorch.callbacks import Callback
    from torch import nn

    class Network(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.fc = nn.Linear(4, n_classes)

        def forward(self, x):
            return self.fc(self.conv(x).relu().mean(dim=(2, 3)))

    class Note(Callback):
        def on_train_end(self, net, **kwargs):
            net.noted = True
"""


@pytest.fixture
def count(monkeypatch):
    """Count how many networks are trained."""
    trained = []
    real = cache.train_network

    def train(*args, **kwargs):
        trained.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(cache, "train_network", train)
    return lambda: len(trained)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's, in files that can be changed."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "user_network.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(folder)
    yield import_module("user_network")
    sys.modules.pop("user_network", None)


@pytest.fixture
def fit(digits, quick, tmp_path):
    def fit(X=digits.X, y=digits.y, **params):
        return quick(memory=str(tmp_path / "memory"), **params).fit(X, y)

    return fit


def entries(tmp_path):
    return sorted((tmp_path / "memory").rglob("*.safetensors"))


def test_the_same_fit_is_read_with_its_weights_and_history(fit, count, digits):
    first, second = fit(), fit(threshold=0.5, importance="error")
    assert count() == 1
    for name, array in first.net_.module_.state_dict().items():
        assert torch.equal(second.net_.module_.state_dict()[name], array)
    assert second.net_.history.to_list() == first.net_.history.to_list()


class ChannelsLast(nn.Sequential):
    """Weights that do not lie in memory in the order of their axes."""

    def __init__(self, n_classes):
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, n_classes),
        )
        self.to(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("error")
def test_weights_are_read_whatever_their_order_in_memory(fit, count):
    first, second = fit(module=ChannelsLast), fit(module=ChannelsLast)
    assert count() == 1
    for name, array in first.net_.module_.state_dict().items():
        assert torch.equal(second.net_.module_.state_dict()[name], array)


def test_a_search_over_parameters_after_training_trains_once_a_fold(
    digits, quick, tmp_path, count
):
    grid = {"threshold": [0.1, 0.3, 0.5], "weighting": ["softmax", "linear"]}
    search = GridSearchCV(quick(memory=tmp_path), grid, cv=2)
    search.fit(digits.X, digits.y)
    # Two folds and the refit.
    assert count() == 3


@pytest.mark.parametrize(
    "params",
    [
        {"lr": 0.003},
        {"max_epochs": 2},
        {"batch_size": 30},
        {"random_state": 1},
        {"class_weight": "balanced"},
        {"validation_fraction": 0.2},
        {"net_params": {"optimizer": torch.optim.SGD}},
        {"net_params": {"callbacks": [EpochScoring("accuracy")]}},
        {
            "module": nn.Sequential(
                nn.Conv2d(1, 10, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten()
            )
        },
    ],
    ids=lambda params: next(iter(params)),
)
def test_another_parameter_of_training_is_another_network(fit, count, params):
    fit()
    fit(**params)
    assert count() == 2
    fit(**params)
    assert count() == 2


def test_other_data_are_another_network(fit, count, digits):
    fit()
    pixels = digits.X.copy()
    pixels[-1, -1, -1] ^= 1
    fit(pixels)
    labels = digits.y.copy()
    labels[[0, -1]] = labels[[-1, 0]]
    fit(y=labels)
    fit(digits.X / 255)
    assert count() == 4


def test_a_change_of_the_source_is_another_network(module, fit, count, tmp_path):
    fit(module=module.Network)
    path = tmp_path / "code" / "user_network.py"
    path.write_text(path.read_text().replace(".relu()", ".tanh()"))
    fit(module=reload(module).Network)
    assert count() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(torch, "__version__", "9.9"),
        lambda patch: patch.setattr(skorch, "__version__", "9.9"),
        lambda patch: patch.setattr(cache, "__version__", "9.9"),
        lambda patch: patch.setattr(torch, "get_num_threads", lambda: 7),
    ],
)
def test_other_versions_and_threads_make_another_network(
    fit, count, monkeypatch, change
):
    fit()
    with monkeypatch.context() as patch:
        change(patch)
        fit()
    assert count() == 2
    fit()
    assert count() == 2


def test_attributes_of_an_instance_decide_too(fit, count):
    def network(p):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Dropout(p), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(4, 10),
        )  # fmt: skip

    torch_state = torch.get_rng_state()
    for p in (0.1, 0.5):
        torch.manual_seed(0)
        fit(module=network(p))
    torch.set_rng_state(torch_state)
    assert count() == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "pickle", "empty"])
def test_a_damaged_file_is_replaced_with_a_warning(fit, count, tmp_path, damage):
    expected = fit().predict_proba(np.zeros((1, 28, 28)))
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "truncate":
        content = content[:-1]
    elif damage == "empty":
        content = b""
    path.write_bytes(content)
    if damage == "pickle":
        joblib.dump({"weights": 1}, path)
    with pytest.warns(UserWarning, match="cannot be read"):
        estimator = fit()
    np.testing.assert_array_equal(
        estimator.predict_proba(np.zeros((1, 28, 28))), expected
    )
    assert count() == 2
    fit()
    assert count() == 2


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"random_state": None}, "random_state=None"),
        ({"net_params": {"iterator_train__worker_init_fn": lambda i: i}}, "lambda"),
    ],
)
def test_unhashable_parameters_are_not_cached(fit, tmp_path, params, reason):
    with pytest.warns(UserWarning, match=f"memory is not used.*{reason}"):
        fit(**params)
    assert entries(tmp_path) == []


def test_a_class_of_a_notebook_is_not_cached(fit, tmp_path):
    class Local(nn.Sequential):
        def __init__(self, n_classes):
            super().__init__(nn.Flatten(), nn.Linear(784, n_classes))

    with pytest.warns(UserWarning, match="defined inside a function"):
        fit(module=nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), Local(10)))
    assert entries(tmp_path) == []


def test_a_class_without_source_is_not_cached(fit, tmp_path, monkeypatch):
    typed = ModuleType("typed_in_a_shell")
    monkeypatch.setitem(sys.modules, "typed_in_a_shell", typed)
    exec(textwrap.dedent(SOURCE), vars(typed))
    with pytest.warns(UserWarning, match="the source of .*Network.* is unknown"):
        fit(module=typed.Network)
    assert entries(tmp_path) == []


def test_callbacks_of_users_are_hashed_with_their_source(module, fit, count, tmp_path):
    for _ in range(2):
        fit(net_params={"callbacks": [module.Note()]})
    assert count() == 1
    path = tmp_path / "code" / "user_network.py"
    path.write_text(path.read_text() + "        print('later')\n")
    fit(net_params={"callbacks": [reload(module).Note()]})
    assert count() == 2


def test_a_folder_that_cannot_be_written_costs_no_training(
    quick, digits, tmp_path, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "save_file", full)
    with pytest.warns(UserWarning, match="No space left"):
        estimator = quick(memory=tmp_path).fit(digits.X, digits.y)
    assert estimator.predict(digits.X_test).shape == (100,)


def test_memory_of_joblib_names_the_folder(quick, digits, tmp_path, count):
    memory = joblib.Memory(tmp_path / "memory", verbose=0)
    quick(memory=memory).fit(digits.X, digits.y)
    quick(memory=memory).fit(digits.X, digits.y)
    assert count() == 1
    assert len(entries(tmp_path)) == 1


def test_without_memory_nothing_is_written_or_warned(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        SimilarNetClassifier(max_epochs=1).fit(digits.X, digits.y)
    assert list(tmp_path.iterdir()) == []
