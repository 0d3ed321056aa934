"""Weights of images: in the loss, in the importances, and as good as copies."""

import copy
import warnings

import numpy as np
import pytest
import sklearn
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import RandomSampler

from sklearn_similar import LeNet, SimilarNetClassifier, _classifier
from sklearn_similar._network.net import SAMPLE_WEIGHT, WEIGHTED_IMAGES
from sklearn_similar._network.specification import NetSpecification

MEASURED_AS_MEANS = (
    "baseline_error_",
    "filter_errors_",
    "class_importances_",
    "log_odds_drops_",
    "absent_activations_",
)
MEASURED = (
    *MEASURED_AS_MEANS,
    "normalization_constant_",
    "class_normalization_constants_",
    "class_score_constants_",
)


@pytest.fixture
def weights(digits):
    return np.random.default_rng(0).integers(0, 4, len(digits.y)).astype(float)


@pytest.fixture
def assert_same(weights_of):
    def check(first, second):
        np.testing.assert_array_equal(weights_of(first), weights_of(second))
        for name in MEASURED:
            found, expected = getattr(first, name), getattr(second, name)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    return check


def average_log_loss(estimator, X, y, weights):
    log_proba = estimator.predict_log_proba(X)
    columns = np.searchsorted(estimator.classes_, y)
    return np.average(-log_proba[np.arange(len(y)), columns], weights=weights)


class TestCopies:
    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"class_weight": "balanced"},
            {"ablation": "mean", "importance": "error"},
            {"layer": ["features.relu1", "features.relu2"]},
        ],
        ids=str,
    )
    def test_an_image_of_weight_n_is_n_copies(
        self, quick, digits, weights, assert_same, params
    ):
        weighted = quick(**params).fit(digits.X, digits.y, sample_weight=weights)
        counts = weights.astype(int)
        order = np.random.default_rng(1).permutation(counts.sum())
        X, y = (np.repeat(part, counts, axis=0)[order] for part in (digits.X, digits.y))
        assert_same(weighted, quick(**params).fit(X, y))

    def test_an_image_without_weight_is_not_there(
        self, quick, digits, weights, assert_same
    ):
        kept = weights > 0
        y = np.where(kept, digits.y, (digits.y + 1) % 10)
        weighted = quick().fit(digits.X, y, sample_weight=kept)
        assert_same(weighted, quick().fit(digits.X[kept], y[kept]))

    def test_nothing_is_learnt_from_the_values_of_images_without_weight(
        self, quick, digits, assert_same
    ):
        kept = np.arange(200) % 20 != 3
        for X, wild in [
            (digits.X.astype(np.uint16) * 16, 65535),
            (digits.X / 255, 1000.0),
        ]:
            X = np.where(kept[:, None, None], X, wild).astype(X.dtype)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", ConvergenceWarning)
                weighted = quick().fit(X, digits.y, sample_weight=kept)
                absent = quick().fit(X[kept], digits.y[kept])
            assert weighted.scaling_ == absent.scaling_
            assert weighted.value_range_ == absent.value_range_
            assert_same(weighted, absent)

    def test_images_without_weight_are_still_checked(self, quick, digits):
        X = np.where(np.arange(200)[:, None, None] == 3, np.nan, digits.X / 255)
        with pytest.raises(ValueError, match="Image 3 of X contains NaN"):
            quick().fit(X, digits.y, sample_weight=np.arange(200) != 3)

    def test_a_trained_network_is_not_tried_on_images_without_weight(
        self, quick, digits, fitted
    ):
        module = fitted.net_.module_
        kept = np.arange(200) < 50
        y = np.where(kept, digits.y, (digits.y + 1) % 10)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "The network recognises")
            quick(module=module, max_epochs=0).fit(digits.X, y, sample_weight=kept)

    def test_only_their_proportions_count(self, quick, digits, weights, assert_same):
        first, other = (
            quick().fit(digits.X, digits.y, sample_weight=unit * (weights + 0.5))
            for unit in (1, 2.0**40)
        )
        assert_same(first, other)

    def test_equal_weights_are_none(self, quick, digits, assert_same):
        unweighted = quick().fit(digits.X, digits.y)
        for same in (None, 3, np.array(2), 0.3 * np.ones(200), [1] * 200):
            weighted = quick().fit(digits.X, digits.y, sample_weight=same)
            assert_same(weighted, unweighted)

    def test_the_order_of_the_images_does_not_matter(
        self, quick, digits, weights, assert_same
    ):
        order = np.random.default_rng(2).permutation(len(digits.y))
        data = digits.X, digits.y, weights
        assert_same(
            quick().fit(*data), quick().fit(*(values[order] for values in data))
        )

    def test_no_copy_of_a_training_image_is_held_out(self, quick, digits, monkeypatch):
        seen = {}

        def train(memory, random_state, net, specification, data):
            seen["training"] = data.sampling_indices
            return real_train(memory, random_state, net, specification, data)

        def measure(network, layers, data, **params):
            seen["held out"] = data.indices
            return real_measure(network, layers, data, **params)

        real_train = _classifier.cached_training
        real_measure = _classifier.measure_errors
        monkeypatch.setattr(_classifier, "cached_training", train)
        monkeypatch.setattr(_classifier, "measure_errors", measure)
        X, y = np.tile(digits.X, (3, 1, 1)), np.tile(digits.y, 3)
        quick(max_epochs=0).fit(X, y)
        images = [
            {X[index].tobytes() for index in seen[part]}
            for part in ("training", "held out")
        ]
        assert not images[0] & images[1]
        assert len(images[0] | images[1]) == 200


class TestLoss:
    """What the net computes for a batch."""

    @pytest.fixture(params=[None, [1.0, 2.0, 5.0]], ids=["alike", "class weights"])
    def net(self, request):
        class_weight = request.param and np.array(request.param)
        return NetSpecification(
            module=None,
            n_classes=3,
            image_shape=(16, 16),
            max_epochs=1,
            lr=0.01,
            lr_decay=0.0,
            batch_size=4,
            net_params=None,
            class_weight=class_weight,
            device="cpu",
            n_training=20,
            seed=0,
        ).build()

    def test_weights_multiply_the_losses_of_images(self, net):
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(6, 3, generator=generator)
        y, weights = (
            torch.tensor([0, 1, 2, 2, 1, 0]),
            torch.tensor([1.0, 2, 0, 1, 1, 1]),
        )
        found = net.get_loss(scores, y, X={SAMPLE_WEIGHT: weights})
        each = nn.CrossEntropyLoss(
            weight=net.criterion_.weight, label_smoothing=0.05, reduction="none"
        )(scores, y)
        own = (
            torch.ones(6) if net.criterion_.weight is None else net.criterion_.weight[y]
        )
        torch.testing.assert_close(found, (weights * each).sum() / own.sum())
        assert net.criterion_.reduction == "mean"

    def test_equal_weights_give_pytorch_s_mean(self, net):
        scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
        y = torch.tensor([0, 1, 2, 2, 1, 0])
        found = net.get_loss(scores, y, X={SAMPLE_WEIGHT: torch.ones(6)})
        torch.testing.assert_close(found, net.criterion_(scores, y))

    def test_the_module_gets_the_images_alone(self, net):
        images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            found = net.infer({WEIGHTED_IMAGES: images, SAMPLE_WEIGHT: torch.ones(4)})
            torch.testing.assert_close(found, net.infer(images))


class Sharpened(nn.Module):
    """A criterion that knows no reduction."""

    def forward(self, scores, y):
        return nn.functional.cross_entropy(2 * scores, y)


class Total(nn.Module):
    """A criterion that has a reduction, and does not do what it says."""

    def __init__(self, reduction="sum"):
        super().__init__()
        self.reduction = reduction

    def forward(self, scores, y):
        return nn.functional.cross_entropy(scores, y)


class TestCriterions:
    def test_losses_of_classes_are_averaged(self, quick, digits):
        class OneHot(nn.BCEWithLogitsLoss):
            def forward(self, scores, y):
                return super().forward(scores, nn.functional.one_hot(y, 10).double())

        estimator = quick(net_params={"criterion": OneHot})
        estimator.fit(digits.X, digits.y, sample_weight=0.5 + digits.y)
        (epoch,) = estimator.net_.history
        assert 0.3 < epoch["train_loss"] < 0.8

    @pytest.mark.parametrize(
        "params", [{"reduction": "sum"}, {"ignore_index": 3}, {"reduction": "mean"}]
    )
    def test_their_parameters_count(self, quick, digits, params):
        net_params = {f"criterion__{name}": value for name, value in params.items()}
        how = {"net_params": net_params, "validation_fraction": None, "lr": 1e-9}
        losses = []
        for weights in (None, 1 + 1e-6 * digits.y):
            net = quick(**how).fit(digits.X, digits.y, sample_weight=weights).net_
            losses.append(net.history[0]["train_loss"])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)

    def test_copies_stay_copies_where_images_have_no_losses(self, quick, digits):
        n_images = []

        class Counts(Sharpened):
            def forward(self, scores, y):
                n_images.append(len(y))
                return super().forward(scores, y)

        params = {"net_params": {"criterion": Counts}, "validation_fraction": None}
        quick(**params).fit(digits.X[[0, 1, 0, 2, 3]], digits.y[[0, 1, 0, 2, 3]])
        assert n_images == [5]

    @pytest.mark.parametrize("criterion", [Sharpened, Sharpened(), Total])
    def test_weights_need_the_losses_of_images(self, quick, digits, criterion):
        estimator = quick(net_params={"criterion": criterion})
        estimator.fit(digits.X, digits.y)
        net = estimator.net_
        weights = 1.5 + digits.y
        with pytest.raises(
            ValueError, match="no loss for each image, which sample_wei"
        ):
            estimator.fit(digits.X, digits.y, sample_weight=weights)
        assert estimator.net_ is net
        # Without different weights, there is nothing that they need.
        estimator.fit(digits.X, digits.y, sample_weight=digits.y < 9)
        estimator.fit(digits.X, digits.y, sample_weight=1 + digits.y)

    @pytest.mark.parametrize("criterion", [nn.NLLLoss, nn.MultiMarginLoss])
    def test_pytorch_s_are_weighted(self, quick, digits, criterion, weights_of):
        module = nn.Sequential(LeNet(), nn.Softmax(1))
        net_params = {"criterion": criterion, "train_split": ValidSplit(5)}
        estimator = quick(module=module, net_params=net_params, max_epochs=2)
        weighted = estimator.fit(digits.X, digits.y, sample_weight=0.5 + digits.y)
        found = weights_of(weighted)
        assert np.isfinite(
            [epoch["valid_loss"] for epoch in weighted.net_.history]
        ).all()
        assert not np.array_equal(found, weights_of(estimator.fit(digits.X, digits.y)))


class Doubled(nn.Module):
    """Network whose convolution is given each image and its mirror image."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(8, 10)

    def forward(self, images):
        both = torch.cat([images, images.flip(-1)])
        pooled = self.conv(both).relu().amax(dim=(2, 3))
        return self.fc(pooled.unflatten(0, (2, -1)).transpose(0, 1).flatten(1))


class TestWhatTheyDo:
    @pytest.mark.parametrize("weights_of_digits", [None, 0.5])
    def test_blank_images_of_background_are_learnt(self, digits, weights_of_digits):
        """Many copies teach as much as other images, and so does a great weight."""
        X = np.concatenate([digits.X, np.zeros((100, 28, 28), np.uint8)])
        y = np.concatenate([digits.y, np.full(100, -1)])
        weights = None
        if weights_of_digits:
            X, y = X[:201], y[:201]
            weights = np.append(np.full(200, weights_of_digits), 100.5)
        for seed in range(2):
            estimator = SimilarNetClassifier(random_state=seed, max_epochs=5)
            estimator.fit(X, y, sample_weight=weights)
            assert estimator.predict_proba(X[200:201])[0, 0] > 0.6

    def test_fit_weighs_the_images_that_it_holds_out(self, quick, digits, monkeypatch):
        seen = []

        def spy(network, layers, data, **params):
            seen.append(data.indices)
            return real(network, layers, data, **params)

        real = _classifier.measure_errors
        monkeypatch.setattr(_classifier, "measure_errors", spy)
        weights = np.random.default_rng(0).random(len(digits.y))
        estimator = quick(validation_fraction=0.5)
        estimator.fit(digits.X, digits.y, sample_weight=weights)
        (held_out,) = seen
        data = digits.X[held_out], digits.y[held_out], weights[held_out]
        expected = average_log_loss(estimator, *data)
        assert estimator.baseline_error_ == pytest.approx(expected, rel=1e-5)

    def test_means_are_weighted_where_images_are_given_several_times(self, digits):
        module = Doubled()
        weights = np.where(np.arange(100) % 3, 1.0, 0.25)
        estimator = SimilarNetClassifier(
            module, layer="conv", ablation="mean", max_epochs=0, random_state=0
        )
        estimator.fit(digits.X, digits.y)
        data = digits.X_test, digits.y_test
        estimator.fit_importance(*data, sample_weight=weights)
        images = torch.from_numpy(digits.X_test / 255).float()[:, None]
        with torch.no_grad():
            both = [module.conv(x).mean(dim=(2, 3)) for x in (images, images.flip(-1))]
        means = (both[0] + both[1]).numpy() / 2
        expected = np.average(means, axis=0, weights=weights)
        np.testing.assert_allclose(estimator.absent_activations_, expected, rtol=1e-4)

    def test_wrong_labels_of_little_weight_do_little(self, quick, digits):
        rng = np.random.default_rng(0)
        is_wrong = rng.random(len(digits.y)) < 0.5
        y = np.where(is_wrong, rng.integers(0, 10, len(digits.y)), digits.y)
        weights = np.where(is_wrong, 0.01, 1)
        how = {"max_epochs": 15, "lr": 0.003}
        alike = quick(**how).fit(digits.X, y)
        weighted = quick(**how).fit(digits.X, y, sample_weight=weights)
        score, other = (
            e.score(digits.X_test, digits.y_test) for e in (weighted, alike)
        )
        assert score > other + 0.1

    def test_importances_are_weighted_means(self, fitted, digits):
        weights = np.random.default_rng(0).random(len(digits.y_test))
        data = digits.X_test, digits.y_test
        estimator = sklearn.base.clone(fitted).fit(digits.X, digits.y)
        estimator.fit_importance(*data, sample_weight=weights)
        expected = average_log_loss(estimator, *data, weights)
        assert estimator.baseline_error_ == pytest.approx(expected, rel=1e-5)
        module = estimator.net_.module_
        layer = module.get_submodule("features.conv2")
        with torch.no_grad():
            layer.weight[3], layer.bias[3] = 0, -1
        absent = average_log_loss(estimator, *data, weights)
        assert estimator.filter_errors_[3] == pytest.approx(absent, rel=1e-4)

    @pytest.mark.parametrize("ablation", ["zero", "mean"])
    def test_importances_are_those_of_copies(self, quick, digits, weights, ablation):
        params = {"ablation": ablation, "validation_fraction": None}
        estimator = quick(**params).fit(digits.X, digits.y)
        found, expected = copy.deepcopy(estimator), estimator
        found.fit_importance(digits.X, digits.y, sample_weight=weights)
        counts = weights.astype(int)
        X, y = (np.repeat(part, counts, axis=0) for part in (digits.X, digits.y))
        expected.fit_importance(X, y)
        for name in MEASURED_AS_MEANS:
            np.testing.assert_allclose(
                getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-6
            )

    @pytest.mark.parametrize("more", [0, 0.5], ids=["copies", "not whole"])
    def test_balanced_classes_weigh_the_same(self, quick, digits, weights, more):
        params = {"class_weight": "balanced", "validation_fraction": None}
        own = weights + more
        estimator = quick(**params).fit(digits.X, digits.y, sample_weight=own)
        found = estimator.net_.criterion_.weight.numpy()
        totals = found * np.bincount(digits.y, own)
        np.testing.assert_allclose(totals, totals[0], rtol=1e-5)

    def test_networks_of_other_weights_are_not_taken_from_the_cache(
        self, quick, digits, weights_of, tmp_path
    ):
        cached = quick(memory=tmp_path)
        found = [
            weights_of(cached.fit(digits.X, digits.y, sample_weight=own)).tobytes()
            for own in (None, 1 + digits.y, None, 1 + digits.y)
        ]
        assert found[:2] == found[2:]
        assert found[0] != found[1]


@pytest.mark.parametrize(
    ("net_params", "is_warned"),
    [
        ({"train_split": ValidSplit(PredefinedSplit(np.arange(200) % 2))}, True),
        ({"train_split": ValidSplit([(np.arange(9), np.arange(9, 18))])}, True),
        (
            {
                "iterator_train__sampler": RandomSampler(range(180)),
                "iterator_train__shuffle": False,
            },
            True,
        ),
        ({"train_split": ValidSplit(0.2)}, False),
        ({"train_split": ValidSplit(KFold(5))}, False),
    ],
    ids=["split", "list", "sampler", "share", "folds"],
)
def test_positions_are_warned_of(quick, digits, net_params, is_warned):
    estimator = quick(net_params=net_params, validation_fraction=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(digits.X, digits.y)
    messages = [str(one.message) for one in caught]
    assert any("in another order" in text for text in messages) == is_warned


class TestConventions:
    def test_they_are_routed(self, quick, digits, assert_same):
        weights = 1.0 + digits.y
        expected = quick().fit(digits.X, digits.y, sample_weight=weights)
        with sklearn.config_context(enable_metadata_routing=True):
            estimator = quick().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(FunctionTransformer(), estimator)
            pipeline.fit(digits.X, digits.y, sample_weight=weights)
        assert_same(pipeline[-1], expected)

    def test_searches_split_them(self, quick, digits, assert_same):
        weights = 1.0 + digits.y
        search = GridSearchCV(quick(), {"lr": [0.001, 0.002]}, cv=2)
        search.fit(digits.X, digits.y, sample_weight=weights)
        own = quick(**search.best_params_).fit(digits.X, digits.y, weights)
        assert_same(search.best_estimator_, own)

    def test_meta_estimators_know_them(self, quick, digits):
        rows = digits.X.reshape(len(digits.X), -1)
        voting = VotingClassifier([("net", quick()), ("most", DummyClassifier())])
        voting.fit(rows, digits.y, sample_weight=1.0 + digits.y)
        assert voting.predict(rows).shape == digits.y.shape


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        (np.ones(7), r"shape \(7,\), but X holds 200 images"),
        (np.ones((200, 1)), r"shape \(200, 1\)"),
        ("balanced", "balanced"),
        (np.full(200, np.nan), "sample_weight contains NaN"),
        (np.where(np.arange(200) == 5, -0.5, 1), "-0.5 for image 5"),
        (np.zeros(200), "nothing but zeros"),
        (np.full(200, 1e308), "sum is infinite"),
        (-1, "-1 for image 0"),
        (torch.ones(7, requires_grad=True), r"shape \(7,\)"),
    ],
    ids=str,
)
def test_weights_that_cannot_be_are_refused(quick, digits, sample_weight, message):
    estimator = quick()
    with pytest.raises(ValueError, match=message):
        estimator.fit(digits.X, digits.y, sample_weight=sample_weight)
    assert not hasattr(estimator, "net_")
    estimator.fit(digits.X, digits.y)
    before = estimator.baseline_error_
    with pytest.raises(ValueError, match=message):
        estimator.fit_importance(digits.X, digits.y, sample_weight=sample_weight)
    assert estimator.baseline_error_ == before


def test_weights_that_leave_one_class_are_refused(quick, digits):
    with pytest.raises(ValueError, match="but those of the class 3"):
        quick().fit(digits.X, digits.y, sample_weight=digits.y == 3)
