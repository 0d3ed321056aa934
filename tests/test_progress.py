"""Progress bars: on stderr with verbose=1, and no others."""

import pickle
import sys
from functools import partial
from time import sleep

import pytest
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._progress import with_progress


def bars(capsys):
    """Names of the bars on stderr; nothing else is printed."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.replace("\r", "\n").split("\n")
    return list(dict.fromkeys(line.partition(":")[0] for line in lines if line.strip()))


def test_each_step_of_a_classifier_has_its_bar(quick, digits, capsys):
    classifier = quick(verbose=1, max_epochs=2)
    assert bars(capsys) == []
    classifier.fit(digits.X, digits.y)
    assert bars(capsys) == ["epochs", "importances"]
    classifier.predict(digits.X_test)
    assert bars(capsys) == ["predict"]
    classifier.transform(digits.X_test)
    classifier.heatmap(digits.X_test, 1)
    assert bars(capsys) == ["heatmaps"]


def test_bars_come_to_their_end(quick, digits, capsys):
    classifier = quick(verbose=1, max_epochs=2).fit(digits.X, digits.y)
    capsys.readouterr()
    classifier.fit(digits.X, digits.y).transform(digits.X_test)
    printed = capsys.readouterr().err
    assert "2/2" in printed
    assert "loss=" in printed
    assert "20/20" in printed
    assert "100/100" in printed


@pytest.mark.usefixtures("small_scenes")
def test_a_localizer_shows_its_own_and_those_of_training(digits, capsys):
    network = SimilarNetClassifier(
        lr=2e-3, batch_size=50, max_epochs=1, random_state=0, verbose=1
    )
    few = {"n_instance_crops": 100, "n_background_crops": 100, "n_mining_rounds": 1}
    localizer = InstanceLocalizer(network, random_state=0, verbose=1, **few)
    localizer.fit(digits.X, digits.y)
    assert bars(capsys) == [
        *("training crops (100 of objects, 100 of background)", "epochs"),
        *("hard negatives", "importances", "calibration"),
    ]
    localizer.localize(digits.X_test[:5])
    assert bars(capsys) == ["localize"]


def test_by_default_nothing_is_shown(fitted, digits, capsys):
    localizer = InstanceLocalizer(FrozenEstimator(fitted)).fit(digits.X, digits.y)
    localizer.localize(digits.X_test[:3])
    list(localizer.set_params(n_jobs=2).localize(iter(digits.X_test[:3])))
    fitted.transform(digits.X_test)
    assert bars(capsys) == []


def test_workers_show_none_of_their_own(quick, digits, capsys):
    classifier = quick(verbose=1).fit(digits.X, digits.y)
    localizer = InstanceLocalizer(FrozenEstimator(classifier), n_jobs=2)
    localizer.fit(digits.X, digits.y)
    capsys.readouterr()
    localizer.localize(digits.X_test[:10])
    assert bars(capsys) == []


def test_bars_are_shown_with_verbose_alone(capsys):
    list(with_progress(range(2), "hidden", 2, "step", 0))
    for _ in with_progress(range(3), "left early", 3, "step", 1):
        break
    list(with_progress(range(2), "shown", 2, "step", 1))
    assert bars(capsys) == ["left early", "shown"]


def test_an_estimator_that_showed_bars_can_be_pickled(quick, digits):
    classifier = quick(verbose=1).fit(digits.X, digits.y)
    pickle.loads(pickle.dumps(classifier.net_))


class FakeKernel:
    """IPython in a kernel of Jupyter, as far as progress bars use it."""

    def __init__(self):
        self.outputs = []
        self.config = {"IPKernelApp": {}}
        self.Pretty = str

    def get_ipython(self):
        return self

    def display(self, text, display_id):
        number = len(self.outputs)
        self.outputs.append(text)

        class Handle:
            update = staticmethod(partial(self.outputs.__setitem__, number))

        return Handle


def test_a_notebook_without_widgets_gets_a_line_for_each_step(monkeypatch, capsys):
    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", kernel)
    monkeypatch.setattr("sklearn_similar._progress.find_spec", lambda name: None)
    for step in ("epochs", "localize"):
        for _ in with_progress(range(40), step, 40, "image", 1):
            sleep(0.005)
    assert [text.partition(":")[0] for text in kernel.outputs] == ["epochs", "localize"]
    assert all("40/40" in text for text in kernel.outputs)
    assert capsys.readouterr() == ("", "")
