"""Checks of networks: what is warned of, what is refused, and what passes."""

import re
import warnings
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, Function
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.nn import functional as F

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._network.checks import warn_if_guessing

X = np.random.RandomState(0).uniform(size=(40, 16, 16, 3)).astype(np.float32)

Y = np.arange(40) % N_CLASSES


class Counter(nn.Module):
    """Counts its calls, in training or not."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * (1 + self.calls)


class Leftovers(nn.Module):
    """Keeps what a forward pass that ends half-way does not take away again."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, N_CLASSES)
        self.kept = []

    def forward(self, x):
        x = self.first(x)
        self.kept.append(x.mean((2, 3)))
        x = self.second(x).mean((2, 3)) + self.kept[0][: len(x)]
        self.kept.clear()
        return self.fc(x)


def network(*before_the_end):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *before_the_end,
        nn.Linear(6, N_CLASSES),
    )


def without_statistics():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.ReLU(),
        *networks.pooled_linear(6),
    )


EACH_TIME = "scores the same images differently each time"

OTHER_IMAGES = "scores of an image depend on the other images"

IRREGULAR = {
    "dropout": (lambda: network(Function(lambda x: F.dropout(x, 0.5))), EACH_TIME),
    "random": (lambda: network(Function(lambda x: x + torch.rand(6))), EACH_TIME),
    "counter": (lambda: network(Counter()), EACH_TIME),
    "batch statistics": (without_statistics, OTHER_IMAGES),
    "batch mean": (lambda: network(Function(lambda x: x - x.mean(0))), OTHER_IMAGES),
}


def said_of_regularity(record):
    return [str(w.message) for w in record if "In evaluation mode" in str(w.message)]


def train(module, **params):
    params = {"max_epochs": 1, "batch_size": 16, "random_state": 0} | params
    return SimilarNetClassifier(module, **params).fit(X, Y)


@pytest.mark.parametrize("name", IRREGULAR)
def test_fit_and_fit_importance_each_warn_once_of_a_random_network(name):
    build, expected = IRREGULAR[name]
    with pytest.warns(UserWarning, match="In evaluation mode") as in_fit:
        model = train(build())
    with pytest.warns(UserWarning, match="In evaluation mode") as in_measure:
        model.fit_importance(X, Y)
    for record in (in_fit, in_measure):
        (said,) = said_of_regularity(record)
        assert expected in said
        assert said.endswith("importances and heatmaps are not exact.")
    assert model.ablation_method_ == "network"
    assert np.isfinite(model.filter_importances_).all()
    assert np.isfinite(model.heatmap(X, 1)).all()


def test_the_warning_comes_without_importances_too():
    with pytest.warns(UserWarning, match=EACH_TIME):
        train(network(Counter()), validation_fraction=None)


@pytest.mark.parametrize(
    "build",
    [
        networks.vgg,
        networks.resnet,
        networks.group_norm,
        networks.FeaturesFromHook,
        networks.ImagesInPlace,
    ],
)
def test_networks_that_are_exact_are_not_warned_of(build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = train(build)
    module = model.net_.module_
    with torch.no_grad():
        own = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous()
        expected = torch.softmax(module(own.clone()), 1).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)
    assert np.isfinite(model.transform(X)).all()


def test_images_of_the_user_stay_as_they_are():
    before = X.copy()
    train(networks.ImagesInPlace).transform(X)
    np.testing.assert_array_equal(X, before)


def test_a_network_that_needs_several_images_is_refused():
    module = network(nn.BatchNorm1d(6, track_running_stats=False))
    said = "not one alone (Expected more than 1 value per channel"
    with pytest.raises(ValueError, match=re.escape(said)):
        train(module)


def test_a_network_that_a_pass_cut_short_would_alter_is_refused():
    with pytest.raises(ValueError, match="keeps values of one forward pass"):
        train(Leftovers)


def test_a_hook_that_misses_the_copy_of_its_module_is_named():
    module, features = networks.FeaturesFromHook(), {}
    module.trunk[5]._forward_hooks.clear()
    # The copy of the module, which is trained, has a copy of the dictionary.
    module.features = features
    module.trunk[5].register_forward_hook(
        lambda _module, _inputs, output: features.update({0: output})
    )
    said = re.escape("(KeyError: 0). It has hooks")
    with pytest.raises(ValueError, match=said):
        train(module)


def test_features_that_a_hook_stores_are_those_of_the_same_images():
    model = train(networks.FeaturesFromHook)
    heat, features = model.transform(X), model.net_.module_.features
    assert features == []
    np.testing.assert_allclose(model.transform(X[5:6]), heat[5:6], atol=1e-5)


LETTERS = np.array(list("abcdefghij"))


class Front(nn.Module):
    """A change of the images in front of a network, and one of its scores behind."""

    def __init__(self, network, change=lambda x: x, end=lambda scores: scores):
        super().__init__()
        self.network, self.change, self.end = network, change, end

    def forward(self, images):
        return self.end(self.network(self.change(images)))


@pytest.fixture(scope="module")
def digits_network(fitted):
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
        self, quick, digits, digits_network, max_epochs
    ):
        module = Front(digits_network, end=lambda scores: scores.softmax(dim=1))
        estimator = quick(module=module, max_epochs=max_epochs)
        (message,) = messages(estimator, digits.X, digits.y)
        assert "returns probabilities, but logits are expected" in message
        assert "take the softmax out of module, or pass net_params" in message
        # That is what it is about: exp(1) / (exp(1) + 9).
        assert estimator.predict_proba(digits.X_test).max() < 0.24

    def test_are_right_for_the_loss_that_takes_them(
        self, quick, digits, digits_network
    ):
        module = Front(digits_network, end=lambda scores: scores.softmax(dim=1))
        params = {"criterion": nn.NLLLoss}
        estimator = quick(module=module, max_epochs=0, net_params=params)
        assert not messages(estimator, digits.X, digits.y)

    @pytest.mark.parametrize("end", [torch.nn.LogSoftmax(dim=1), torch.relu])
    def test_are_not_assumed_for_other_outputs(
        self, quick, digits, digits_network, end
    ):
        estimator = quick(module=Front(digits_network, end=end), max_epochs=0)
        assert not messages(estimator, digits.X, digits.y)


def is_warned_of(y, predicted, weights=None):
    """Whether a network with these predictions is warned of after its training."""
    network = SimpleNamespace(
        batches=lambda images, rows: [(rows, images[rows])],
        module=lambda batch: F.one_hot(torch.as_tensor(batch), 300),
    )
    weights = np.ones(len(y)) if weights is None else weights
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_guessing(
            network, predicted, y, weights, np.arange(len(y)), was_trained=True
        )
    return bool(caught)


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
        self, quick, digits, digits_network, change, end, validation_fraction
    ):
        module = Front(digits_network, change, end)
        estimator = quick(
            module=module, max_epochs=0, validation_fraction=validation_fraction
        )
        (message,) = messages(estimator, digits.X, digits.y)
        assert "of 100 images, which is no better than guessing" in message
        assert "scale X as in its training" in message

    def test_is_not_warned_of_for_accurate_networks_and_before_training(
        self, quick, digits, digits_network
    ):
        assert not messages(
            quick(module=digits_network, max_epochs=0), digits.X, digits.y
        )
        worst = Front(digits_network, end=lambda scores: -scores)
        estimator = quick(module=worst, max_epochs=8, lr=0.003)
        assert not messages(estimator, digits.X, digits.y)

    def test_cannot_be_told_from_few_images(self, quick, digits, digits_network):
        worst = Front(digits_network, end=lambda scores: -scores)
        estimator = quick(module=worst, max_epochs=0, classes=range(10))
        estimator.set_params(validation_fraction=None)
        assert not messages(estimator, digits.X[:12], digits.y[:12])
        estimator.set_params(max_epochs=1, lr=1e-9)
        assert not messages(estimator, digits.X[:12], digits.y[:12])

    @pytest.mark.parametrize(
        ("validation_fraction", "kind"),
        [(0.1, "training"), (0.3, "held-out"), (None, "training")],
        ids=["few held-out images", "many", "none"],
    )
    def test_after_training_is_warned_of(
        self, quick, digits, validation_fraction, kind
    ):
        estimator = quick(lr=1e-9, validation_fraction=validation_fraction)
        with pytest.warns(ConvergenceWarning) as caught:
            estimator.fit(digits.X, digits.y)
        (warning,) = caught
        assert re.match(
            r"After training, the network recognises [\d.]+ % of the images of a "
            rf"class on average \(\d+ {kind} images were tried\), where guessing gives "
            "10 %; raise max_epochs, or try another lr or module",
            str(warning.message),
        )
        assert warning.filename == __file__

    def test_of_what_held_out_images_do_not_show_is_warned_of(self, quick, digits):
        labels = np.random.RandomState(0).permutation(digits.y)
        estimator = quick(max_epochs=8, lr=0.003, validation_fraction=0.3)
        with pytest.warns(ConvergenceWarning, match="held-out images"):
            estimator.fit(digits.X, labels)

    @pytest.mark.parametrize(
        ("n_right", "n_wrong", "is_guessing"),
        [
            # Fewer right than by the prediction of the class of 76, for both classes.
            ([55, 3], [21, 1], False),
            ([76, 0], [0, 4], True),
            ([38, 2], [38, 2], True),
        ],
        ids=["a rare class is recognised", "only the frequent one", "neither"],
    )
    def test_is_of_classes_that_count_the_same(self, n_right, n_wrong, is_guessing):
        y = np.repeat([0, 1], np.add(n_right, n_wrong))
        predicted = np.concatenate(
            [[i] * right + [1 - i] * wrong
             for i, (right, wrong) in enumerate(zip(n_right, n_wrong, strict=True))]
        )  # fmt: skip
        assert is_warned_of(y, predicted) == is_guessing

    def test_is_not_of_images_of_small_weight(self):
        y = np.tile(np.arange(10), 100)
        is_clean = np.arange(1000) < 100
        random = np.random.RandomState(0).randint(10, size=1000)
        weights = np.where(is_clean, 1, 1e-3)
        assert not is_warned_of(y, np.where(is_clean, y, random), weights)
        assert is_warned_of(y, np.where(is_clean, random, y), weights)

    @pytest.mark.parametrize("n_per_class", [1, 4])
    def test_of_many_classes_is_rarely_right(self, n_per_class):
        y = np.repeat(np.arange(300), n_per_class)
        # All images of 6 of 300 classes are recognised, or those of one.
        assert not is_warned_of(y, np.where(y % 50 == 0, y, (y + 7) % 300))
        assert is_warned_of(y, np.where(y == 50, y, (y + 7) % 300))

    def test_can_be_of_classes_that_are_not_tried(self):
        y, predicted = np.arange(100), np.arange(100) + 100
        predicted[:4] = y[:4]
        assert not is_warned_of(y, predicted)
        predicted[:] = 150
        assert is_warned_of(y, predicted)

    def test_before_training_is_intended(self, quick, digits):
        assert not messages(quick(max_epochs=0), digits.X, digits.y)


class TestClasses:
    def test_without_validation_images_are_named(self, quick, digits):
        model = quick(validation_fraction=None).fit(digits.X, digits.y)
        some = digits.y < 6
        message = r"4 of 10 classes \(6, 7, 8 and 1 more\) have no image"
        with pytest.warns(UserWarning, match=message):
            model.fit_importance(digits.X[some], digits.y[some])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit_importance(digits.X, digits.y)

    @pytest.fixture
    def some(self, digits):
        """Digits of three classes out of ten."""
        is_some = np.isin(digits.y, [2, 5, 7])
        return digits.X[is_some], digits.y[is_some]

    @pytest.mark.parametrize("classes", [range(10), np.arange(10.0), LETTERS])
    def test_may_be_more_than_those_of_y(
        self, quick, digits, digits_network, some, classes
    ):
        names = np.asarray(classes)
        estimator = quick(module=digits_network, classes=classes, max_epochs=0)
        estimator.fit(some[0], names[some[1]])
        np.testing.assert_array_equal(estimator.classes_, names)
        reference = quick(module=digits_network, max_epochs=0).fit(digits.X, digits.y)
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

    def test_are_named_where_a_network_has_more_outputs(
        self, quick, digits_network, some
    ):
        message = (
            r"shape \(3, 10\) for 3 images, but y has 3 classes, .* \(3, 3\); pass the "
            "labels of all outputs as classes, or change module"
        )
        with pytest.raises(ValueError, match=message):
            quick(module=digits_network, max_epochs=0).fit(*some)

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            ([7, 2, 5], r"is \[7, 2, 5\] \(not sorted\).* classes=range\(3\)"),
            ([2, 2, 5, 7], r"\(twice: \[2\]\).* each once.* classes=range\(4\)"),
            ([2], "pass at least 2 labels"),
            ([[2, 5, 7]], "pass at least 2 labels of one type"),
            (np.array([2, "a"], object), "pass at least 2 labels of one type"),
            ([2, 5], "y holds labels that classes was not given: 7; leave these ima"),
            (["2", "5", "7"], "was not given: 2, 5, 7; convert int to str"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, quick, some, classes, message):
        with pytest.raises(ValueError, match=message):
            quick(classes=classes).fit(*some)
