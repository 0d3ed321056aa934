"""What the benchmarks share. The benchmarks themselves are run by tox, with --quick."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("_common")


@pytest.fixture
def clock(monkeypatch, common):
    """A clock that goes on only when told to."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(common, "time", clock)
    return clock


def test_functions_take_turns_and_every_other_round_goes_backwards(common):
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = common.interleave(functions, 3)
    assert "".join(calls) == "abccbaabc"
    assert {name: len(times) for name, times in seconds.items()} == {
        "a": 3,
        "b": 3,
        "c": 3,
    }


def test_seconds_are_those_of_the_call(common, clock):
    lengths = itertools.count(1)

    def work():
        clock.now += next(lengths)

    seconds = common.interleave({"work": work, "nothing": lambda: None}, 3)
    np.testing.assert_array_equal(seconds["work"], [1, 2, 3])
    np.testing.assert_array_equal(seconds["nothing"], [0, 0, 0])


def test_fastest_goes_by_the_least_time_of_each(common, clock):
    lengths = {"steady": iter([2, 2]), "once slow": iter([9, 1])}
    functions = {
        name: lambda name=name: setattr(clock, "now", clock.now + next(lengths[name]))
        for name in lengths
    }
    name, least = common.fastest(functions)
    assert name == "once slow"
    assert least == {"steady": 2, "once slow": 1}


def test_ratio_is_taken_within_a_round(common):
    # The second round is ten times as slow for both.
    ratio = common.median_ratio(np.array([2.0, 20, 2]), np.array([1.0, 10, 1]))
    assert ratio == 2


def test_csv_holds_the_rows_and_the_machine(common, tmp_path, capsys):
    rows = [{"way": "ours", "seconds": 1.5}, {"way": "theirs", "seconds": np.nan}]
    path = common.report("some", rows, quick=False, results=tmp_path)
    assert path == tmp_path / "some.csv"
    table = pd.read_csv(path)
    assert table["way"].tolist() == ["ours", "theirs"]
    assert table["seconds"].tolist()[0] == 1.5
    assert np.isnan(table["seconds"].tolist()[1])
    for name, value in common.machine().items():
        assert table[name].astype(str).tolist() == [str(value)] * 2
    printed = capsys.readouterr().out
    assert "theirs" in printed
    assert str(path) in printed


def test_quick_leaves_committed_results_alone(common, tmp_path):
    path = common.report("some", [{"x": 1}], quick=True, results=tmp_path)
    assert path == tmp_path / "quick" / "some.csv"
    assert not (tmp_path / "some.csv").exists()
    ignored = (common.RESULTS / ".gitignore").read_text().split()
    assert "quick/" in ignored


def test_machine_names_what_figures_depend_on(common):
    wanted = {"python", "numpy", "torch", "scikit-learn", "skorch", "cores"}
    assert wanted <= set(common.machine())
    assert common.machine()["cores"] >= 1


def test_quick_takes_the_sample_where_mnist_is_not_at_hand(common, monkeypatch):
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    mnist = common.load_mnist(common.parse_arguments("", ["--quick"]))
    assert mnist.X_train.shape == (5000, 28, 28)
    assert mnist.X_test.shape == (1000, 28, 28)


@pytest.mark.parametrize("by_variable", [True, False])
def test_quick_cuts_the_mnist_that_is_at_hand(common, monkeypatch, by_variable):
    folders = []

    def fetch(folder):
        folders.append(folder)
        parts = {"train": 60_000, "test": 10_000}
        return {f"{v}_{p}": np.arange(n) for p, n in parts.items() for v in "Xy"}

    monkeypatch.setattr(common, "fetch_mnist", fetch)
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    arguments = ["--quick"]
    if by_variable:
        monkeypatch.setenv("SKLEARN_SIMILAR_DATA", "somewhere")
    else:
        arguments += ["--data-home", "somewhere"]
    mnist = common.load_mnist(common.parse_arguments("", arguments))
    assert folders == [None if by_variable else Path("somewhere")]
    assert [len(mnist[part]) for part in ("X_train", "y_train")] == [5000, 5000]
    assert [len(mnist[part]) for part in ("X_test", "y_test")] == [1000, 1000]


def test_in_full_all_of_mnist_is_taken(common, monkeypatch):
    monkeypatch.setattr(common, "fetch_mnist", lambda folder: folder)
    arguments = common.parse_arguments("", ["--data-home", "somewhere"])
    assert common.load_mnist(arguments) == Path("somewhere")
