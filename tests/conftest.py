"""Fixtures of many tests: real digits, and estimators trained on them."""

import os
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._learning.recipe import learning_recipe
from sklearn_similar.datasets import load_mnist_sample

# No test depends on the speed of the machine.
settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any speed")

# A type checker reads it; its mistakes would end Python.
collect_ignore = ["typing"]

# They start first: a long file that starts last is waited for by one process alone.
LONG_FILES = [
    "test_localizer.py",
    "test_classifier.py",
    "test_common.py",
    "test_stress_faults.py",
    "test_sample_weight.py",
    "test_large_images.py",
    "test_blockwise.py",
    "test_main.py",
    "test_workers.py",
    "test_localizer_photographs.py",
    "test_value_range.py",
    "test_errors.py",
    "test_state.py",
    "test_cache.py",
    "test_persistence.py",
    "test_records_of_photographs.py",
    "test_localize.py",
    "test_box_regression.py",
    "test_pipeline.py",
    "test_photograph_benchmark.py",
    "test_polarity.py",
]


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small batches are slower on several threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """200 digits to train on and 100 to test on, 28x28, uint8."""
    X_train, X_test, y_train, y_test = load_mnist_sample(return_X_y=True)
    return SimpleNamespace(
        X=X_train[::25], y=y_train[::25], X_test=X_test[::10], y_test=y_test[::10]
    )


@pytest.fixture(scope="session")
def quick():
    """Make an estimator that trains on the digits in a fraction of a second."""

    def make(**params):
        defaults = {"max_epochs": 1, "batch_size": 20, "random_state": 0}
        return SimilarNetClassifier(**(defaults | params))

    return make


@pytest.fixture(scope="session")
def fitted(digits, quick):
    """Return an estimator that recognises most digits; tests must not change it."""
    return quick(max_epochs=8, lr=0.003).fit(digits.X, digits.y)


def small_recipe(recipe):
    """A recipe of small scenes with few instances, on black and on backgrounds."""
    kinds, kinds_in_colour = (
        tuple(replace(kind, side=112, n_instances=(3, 5)) for kind in kinds[:2])
        for kinds in (recipe.kinds, recipe.kinds_in_colour)
    )
    return replace(
        recipe,
        kinds=kinds,
        kinds_in_colour=kinds_in_colour,
        texture_size=(100, 100),
    )


def small_learning_recipe(has_context):
    """A recipe of the fit of a localizer for few and small scenes."""
    recipe = learning_recipe(has_context)
    return replace(
        recipe, scenes=small_recipe(recipe.scenes), n_textures=(1, 1), min_restyled=50
    )


@pytest.fixture(scope="session")
def small_recipes():
    """Choose a recipe of few and small scenes, as `learning_recipe` chooses one."""
    return small_learning_recipe


@contextmanager
def choosing(recipe):
    """Localizers learn by a recipe, a function as `learning_recipe` is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InstanceLocalizer, "_choose_recipe", staticmethod(recipe))
        yield


@pytest.fixture(scope="session")
def small_scenes_context():
    """Make a context as in `small_scenes`, for fixtures of modules."""
    return partial(choosing, small_learning_recipe)


@pytest.fixture
def small_scenes():
    """Localizers learn from few and small scenes, ten times as fast.

    For tests that are not about the quality of the detections.
    """
    with choosing(small_learning_recipe):
        yield


@pytest.fixture(scope="session")
def fitted_localizer(tmp_path_factory):
    """Return a localizer that finds most digits; tests must not change it.

    It is trained once, by the first of the processes among which tests are spread.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "fitted_localizer"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            joblib.dump(train_localizer(), path)
    return joblib.load(path)


def train_localizer():
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    network = SimilarNetClassifier(lr=3e-3, batch_size=50, max_epochs=5)
    localizer = InstanceLocalizer(
        network,
        n_instance_crops=1000,
        n_background_crops=1000,
        n_mining_rounds=1,
        random_state=0,
    )
    with choosing(recipe_of_large_batches):
        return localizer.fit(X[::2], y[::2])


def recipe_of_large_batches(has_context):
    """A recipe that makes fewer updates of box regression from a thousand examples."""
    recipe = learning_recipe(has_context)
    boxes = replace(recipe.box_regression, batch_size=32)
    return replace(recipe, box_regression=boxes)


@pytest.fixture(scope="session")
def weights_of():
    """Return all weights of an estimator's network as one array."""

    def get(estimator):
        arrays = estimator.net_.module_.state_dict().values()
        return np.concatenate([array.numpy().ravel() for array in arrays])

    return get
