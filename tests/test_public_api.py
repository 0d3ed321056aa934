"""What users import, and that its documentation is true."""

import importlib.metadata
import inspect
import subprocess
import sys

import pytest

import sklearn_similar
from sklearn_similar import SimilarNetClassifier

PUBLIC = {
    sklearn_similar: ["LeNet", "SimilarNetClassifier", "__version__"],
    sklearn_similar.datasets: ["fetch_mnist", "load_mnist_sample", "make_scenes"],
}


def documented(cls, section):
    """Names that a numpydoc section of a class explains."""
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
def test_all_lists_what_is_there_and_documented(module):
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert set(PUBLIC.get(module, [])) <= set(module.__all__)
    for name in module.__all__:
        found = getattr(module, name)
        if callable(found):
            assert inspect.getdoc(found), name


def test_version_is_that_of_the_distribution():
    try:
        installed = importlib.metadata.version("sklearn-similar")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert sklearn_similar.__version__ == installed


def test_every_parameter_is_documented_in_order():
    parameters = list(inspect.signature(SimilarNetClassifier).parameters)
    assert documented(SimilarNetClassifier, "Parameters") == parameters
    assert set(SimilarNetClassifier._parameter_constraints) == set(parameters)


def test_documented_defaults_are_the_defaults():
    text = inspect.getdoc(SimilarNetClassifier)
    for name, parameter in inspect.signature(SimilarNetClassifier).parameters.items():
        (line,) = (ln for ln in text.splitlines() if ln.startswith(f"{name} : "))
        default = line.split("default=")[1]
        assert eval(default) == parameter.default, name


def test_documented_attributes_are_what_fit_sets(fitted):
    names = documented(SimilarNetClassifier, "Attributes")
    found = {name for name in vars(fitted) if name.endswith("_") and name[0] != "_"}
    assert set(names) - found <= {"feature_names_in_"}
    assert found <= set(names)


def test_the_paper_s_recipe_is_the_default():
    parameters = SimilarNetClassifier().get_params()
    recipe = {
        "module": None,
        "max_epochs": 10,
        "lr": 0.001,
        "lr_decay": 1e-5,
        "batch_size": 300,
        "net_params": None,
    }
    assert recipe.items() <= parameters.items()


def test_import_is_quiet_and_needs_no_matplotlib():
    code = """
import sys, numpy, torch
before = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
state = torch.get_rng_state(), numpy.random.get_state()[1].copy()
import sklearn_similar
assert 'matplotlib' not in sys.modules
after = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
assert before == after
assert torch.equal(torch.get_rng_state(), state[0])
assert (numpy.random.get_state()[1] == state[1]).all()
"""
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
