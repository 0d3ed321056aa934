"""Contents of the wheel and the source distribution, and the citation."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import sklearn_similar

ROOT = Path(__file__).parents[1]
LICENCES = {
    "LICENSE",
    "sklearn_similar/datasets/data/fashion_mnist_sample.rst",
    "sklearn_similar/datasets/data/mnist_sample.rst",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "import sys; from hatchling.build import build_sdist, build_wheel\n"
        "build_wheel(sys.argv[1]); build_sdist(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True)
    return folder


def test_the_wheel_contains_the_licences_and_every_file_of_the_package(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    info = f"sklearn_similar-{sklearn_similar.__version__}.dist-info"
    assert {f"{info}/licenses/{name}" for name in LICENCES} <= names
    package = ROOT / "sklearn_similar"
    files = {p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {p.relative_to(ROOT).as_posix() for p in files} <= names


def test_the_source_distribution_contains_what_builds_and_tests_need(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "CITATION.cff", "tests/conftest.py"}
    assert LICENCES | wanted <= names
    assert not any(name.startswith((".ci", ".github")) for name in names)


def test_the_citation_names_this_version():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {sklearn_similar.__version__}" in lines


def test_the_conda_recipe_has_the_version_and_the_dependencies_of_the_package():
    yaml = pytest.importorskip("yaml", reason="recipes are YAML")
    text = (ROOT / "conda" / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    assert recipe["context"]["version"] == sklearn_similar.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = project["project"]
    expected = [f"python{project['requires-python']}", *project["dependencies"]]
    # The name of torch on conda-forge.
    found = [
        name.replace("pytorch ", "torch ").replace(" ", "")
        for name in recipe["requirements"]["run"]
    ]
    assert sorted(found) == sorted(expected)


def test_hooks_and_lint_use_the_same_ruff():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    (version,) = re.findall(r"ruff==(\S+)", tox)
    assert f"rev: v{version}\n" in hooks
