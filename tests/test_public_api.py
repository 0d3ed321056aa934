"""Public names and their documentation."""

import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_similar
from sklearn_similar import InstanceLocalizer, SimilarNetClassifier

PUBLIC = {
    sklearn_similar: [
        "InstanceLocalizer",
        "LeNet",
        "SimilarNetClassifier",
        "__version__",
        "load",
        "save",
    ],
    sklearn_similar.datasets: [
        "fetch_mnist",
        "load_fashion_mnist_sample",
        "load_mnist_sample",
        "make_scenes",
    ],
}


DOCS = Path(__file__).parents[1] / "docs"
API = DOCS / "api.rst"
# Packages whose names the reference lists under a heading of their own.
PACKAGES = (
    "sklearn_similar.datasets",
    "sklearn_similar.display",
    "sklearn_similar.metrics",
    "sklearn_similar.report",
)


ESTIMATORS = (InstanceLocalizer, SimilarNetClassifier)


def documented(cls, section):
    """Names in a numpydoc section of a class."""
    lines = iter(inspect.getdoc(cls).splitlines())
    for line in lines:
        if line == section:
            break
    next(lines)
    names = []
    for line in lines:
        if line.startswith("---"):
            return names[:-1]
        if line and not line.startswith(" "):
            names.extend(name.strip() for name in line.split(" : ")[0].split(","))
    return names


@pytest.mark.parametrize(
    "module",
    [sklearn_similar, sklearn_similar.datasets, sklearn_similar.metrics],
    ids=lambda module: module.__name__,
)
def test_all_names_exist_and_are_documented(module):
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert set(PUBLIC.get(module, [])) <= set(module.__all__)
    for name in module.__all__:
        found = getattr(module, name)
        if callable(found):
            assert inspect.getdoc(found), name


def referenced():
    """Names in the reference by module."""
    names, module = {}, None
    for line in API.read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split(":: ")[1]
        elif line.startswith("   ") and not line.strip().startswith(":"):
            names.setdefault(module, set()).add(line.strip())
    return names


def test_the_reference_lists_exactly_the_public_names():
    pytest.importorskip("matplotlib")
    expected = {
        name: set(importlib.import_module(name).__all__)
        for name in ("sklearn_similar", *PACKAGES)
    }
    expected["sklearn_similar"] -= {"__version__"}
    expected["sklearn_similar"] -= {name.split(".")[1] for name in PACKAGES}
    assert referenced() == expected


def test_version_is_that_of_the_distribution():
    try:
        installed = importlib.metadata.version("sklearn-similar")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert sklearn_similar.__version__ == installed


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_is_documented_in_order(cls):
    parameters = list(inspect.signature(cls).parameters)
    found = documented(cls, "Parameters")
    assert [name for names in found for name in names.split(", ")] == parameters
    assert set(cls._parameter_constraints) == set(parameters)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_documented_defaults_are_the_defaults(cls):
    text = inspect.getdoc(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        (line,) = (ln for ln in text.splitlines() if ln.startswith(f"{name} : "))
        default = line.split("default=")[1]
        assert eval(default) == parameter.default, name


def test_documented_attributes_are_what_fit_sets(fitted):
    names = documented(SimilarNetClassifier, "Attributes")
    found = {name for name in vars(fitted) if name.endswith("_") and name[0] != "_"}
    assert set(names) - found <= {"feature_names_in_"}
    assert found <= set(names)


def test_the_guide_has_the_training_settings_of_the_paper():
    guide = (DOCS / "user_guide" / "method.rst").read_text()
    (call,) = re.findall(
        r"^    (SimilarNetClassifier\(\n.*?\n    \))$", guide, re.M | re.S
    )
    parameters = eval(call).get_params()
    recipe = {
        "module": None,
        "max_epochs": 10,
        "lr": 0.001,
        "lr_decay": 1e-5,
        "batch_size": 300,
        "net_params": {"criterion__label_smoothing": 0.0},
    }
    assert recipe.items() <= parameters.items()


def test_import_and_fit_are_quiet_and_need_no_optional_libraries():
    code = """
import sys, numpy, torch
before = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
state = torch.get_rng_state(), numpy.random.get_state()[1].copy()
import sklearn_similar
assert sklearn_similar.display.InstancesDisplay
assert 'matplotlib' not in sys.modules
assert not {'PIL', 'sklearn.cluster', 'sklearn.datasets'} & sys.modules.keys()
after = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
assert before == after
assert torch.equal(torch.get_rng_state(), state[0])
assert (numpy.random.get_state()[1] == state[1]).all()
X = sklearn_similar.datasets.load_mnist_sample().X_train[:40]
y = numpy.arange(40) % 2
sklearn_similar.SimilarNetClassifier(max_epochs=0).fit(X, y).predict(X[:5])
assert not {'dask', 'distributed', 'matplotlib', 'PIL'} & sys.modules.keys()
"""
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
