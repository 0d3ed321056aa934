"""Networks that were trained elsewhere: their outputs, their classes, their inputs."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

LETTERS = np.array(list("abcdefghij"))


class Front(nn.Module):
    """A change of the images in front of a network, and one of its scores behind."""

    def __init__(self, network, change=lambda x: x, end=lambda scores: scores):
        super().__init__()
        self.network, self.change, self.end = network, change, end

    def forward(self, images):
        return self.end(self.network(self.change(images)))


@pytest.fixture(scope="module")
def network(fitted):
    """Return a network that recognises digits from 0 to 1."""
    return fitted.net_.module_


def messages(estimator, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    return [str(warning.message) for warning in caught]


class TestProbabilities:
    @pytest.mark.parametrize("max_epochs", [0, 1])
    def test_are_warned_of_where_logits_are_expected(
        self, quick, digits, network, max_epochs
    ):
        module = Front(network, end=lambda scores: scores.softmax(dim=1))
        estimator = quick(module=module, max_epochs=max_epochs)
        (message,) = messages(estimator, digits.X, digits.y)
        assert "returns probabilities, but logits are expected" in message
        assert "take the softmax out of module, or pass net_params" in message
        # That is what it is about: exp(1) / (exp(1) + 9).
        assert estimator.predict_proba(digits.X_test).max() < 0.24

    def test_are_right_for_the_loss_that_takes_them(self, quick, digits, network):
        module = Front(network, end=lambda scores: scores.softmax(dim=1))
        params = {"criterion": nn.NLLLoss}
        estimator = quick(module=module, max_epochs=0, net_params=params)
        assert not messages(estimator, digits.X, digits.y)

    @pytest.mark.parametrize("end", [torch.nn.LogSoftmax(dim=1), torch.relu])
    def test_are_not_seen_in_other_outputs(self, quick, digits, network, end):
        estimator = quick(module=Front(network, end=end), max_epochs=0)
        assert not messages(estimator, digits.X, digits.y)


class TestGuessing:
    @pytest.mark.parametrize(
        ("change", "end"),
        [
            (lambda x: 100 * x - 200, lambda scores: scores),
            (lambda x: x, lambda scores: scores.roll(1, dims=1)),
        ],
        ids=["images of another range", "classes in another order"],
    )
    @pytest.mark.parametrize("validation_fraction", [None, 0.1])
    def test_is_warned_of(
        self, quick, digits, network, change, end, validation_fraction
    ):
        module = Front(network, change, end)
        estimator = quick(
            module=module, max_epochs=0, validation_fraction=validation_fraction
        )
        (message,) = messages(estimator, digits.X, digits.y)
        assert "of 100 images, which is no better than guessing" in message
        assert "scale X as in its training" in message

    def test_is_not_suspected_of_what_recognises_or_will_be_trained(
        self, quick, digits, network
    ):
        assert not messages(quick(module=network, max_epochs=0), digits.X, digits.y)
        worst = Front(network, end=lambda scores: -scores)
        assert not messages(quick(module=worst, max_epochs=1), digits.X, digits.y)

    def test_cannot_be_told_from_few_images(self, quick, digits, network):
        worst = Front(network, end=lambda scores: -scores)
        estimator = quick(module=worst, max_epochs=0, classes=range(10))
        assert not messages(estimator, digits.X[:12], digits.y[:12])


class TestClasses:
    @pytest.fixture
    def some(self, digits):
        """Digits of three classes out of ten."""
        is_some = np.isin(digits.y, [2, 5, 7])
        return digits.X[is_some], digits.y[is_some]

    @pytest.mark.parametrize("classes", [range(10), np.arange(10.0), LETTERS])
    def test_may_be_more_than_those_of_y(self, quick, digits, network, some, classes):
        names = np.asarray(classes)
        estimator = quick(module=network, classes=classes, max_epochs=0)
        estimator.fit(some[0], names[some[1]])
        np.testing.assert_array_equal(estimator.classes_, names)
        reference = quick(module=network, max_epochs=0).fit(digits.X, digits.y)
        np.testing.assert_array_equal(
            estimator.predict_proba(digits.X_test),
            reference.predict_proba(digits.X_test),
        )
        assert estimator.score(digits.X_test, names[digits.y_test]) > 0.7
        assert np.isfinite(estimator.heatmap(digits.X_test, names[4])).all()

    @pytest.mark.parametrize("class_weight", [None, "balanced"])
    @pytest.mark.parametrize("validation_fraction", [None, 0.2])
    def test_without_images_can_be_in_training(
        self, quick, some, weights_of, class_weight, validation_fraction
    ):
        X, y = some
        estimator = quick(
            classes=range(10),
            class_weight=class_weight,
            validation_fraction=validation_fraction,
            max_epochs=20,
            lr=0.003,
        ).fit(X, y)
        assert set(estimator.predict(X)) == {2, 5, 7}
        assert estimator.predict_proba(X).shape == (len(X), 10)
        importances = estimator.fit_importance(X, y).class_importances_
        assert np.isfinite(importances).all()
        np.testing.assert_allclose(importances[0], estimator.filter_importances_)
        assert np.abs(importances[2] - importances[0]).max() > 0

    def test_that_y_has_all_of_change_nothing(self, quick, digits, weights_of):
        alone = weights_of(quick().fit(digits.X, digits.y))
        given = weights_of(quick(classes=list(range(10))).fit(digits.X, digits.y))
        np.testing.assert_array_equal(alone, given)

    def test_are_named_where_a_network_has_more_outputs(self, quick, network, some):
        message = (
            r"shape \(3, 10\) for 3 images, but y has 3 classes, .* \(3, 3\); pass the "
            "labels of all outputs as classes, or change module"
        )
        with pytest.raises(ValueError, match=message):
            quick(module=network, max_epochs=0).fit(*some)

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            ([7, 2, 5], r"classes is \[7, 2, 5\]; pass at least 2 labels .* sorted"),
            ([2, 2, 5, 7], "sorted and each once"),
            ([2], "pass at least 2 labels"),
            ([[2, 5, 7]], "pass at least 2 labels of one type"),
            (np.array([2, "a"], object), "pass at least 2 labels of one type"),
            ([2, 5], "y holds labels that classes was not given: 7; leave such ima"),
            (["2", "5", "7"], "was not given: 2, 5, 7; convert int to str"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, quick, some, classes, message):
        with pytest.raises(ValueError, match=message):
            quick(classes=classes).fit(*some)
