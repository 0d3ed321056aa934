"""The net: built from a seed, trained like a plain loop, kept as arrays."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import as_network
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from sklearn_similar import LeNet
from sklearn_similar._images.images import Images
from sklearn_similar._network.net import InverseDecay, LinearDecay, build_net, collate
from sklearn_similar._network.net_state import get_arrays, restore
from sklearn_similar._network.training import PixelDataset, train_network


def spec(**params):
    """Arguments of `build_net` for images of 8x8 and 3 classes."""
    defaults = {
        "module": None,
        "n_classes": 3,
        "image_shape": (8, 8),
        "max_epochs": 2,
        "lr": 0.01,
        "lr_decay": 0.1,
        "batch_size": 7,
        "net_params": None,
        "class_weight": None,
        "device": "cpu",
        "n_training": 30,
        "seed": 5,
    }
    return defaults | params


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
    return Images(pixels, "images")


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(1).integers(0, 3, 30)


def train(images, y, training=None, **params):
    training = np.arange(len(y)) if training is None else training
    net = build_net(**spec(**params), verbose=0)
    return train_network(net, spec(**params), images, y, training, None)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


class Scores(nn.Module):
    """Small network with dropout, for 1 x 8 x 8."""

    def __init__(self, n_classes=3, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.fc(self.dropout(self.norm(self.conv(x)).relu().mean(dim=(2, 3))))


class Probabilities(Scores):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


def test_training_equals_a_plain_loop(images, y):
    training = np.arange(2, 29)
    arrays, history = train(images, y, training)

    module = build_net(**spec(), verbose=0).module_
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)[2:29]
    labels = torch.from_numpy(y)[2:29]
    loader = DataLoader(
        TensorDataset(pixels, labels),
        batch_size=7,
        shuffle=True,
        generator=torch.Generator().manual_seed(5),
    )
    n_updates, losses = 0, []
    for _ in range(2):
        total = 0.0
        for X_batch, y_batch in loader:
            for group in optimizer.param_groups:
                group["lr"] = 0.01 / (1 + 0.1 * n_updates)
            optimizer.zero_grad()
            loss = F.cross_entropy(module(X_batch), y_batch, label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            n_updates += 1
            total += loss.item() * len(y_batch)
        losses.append(total / 27)
    for name, expected in module.state_dict().items():
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([epoch["train_loss"] for epoch in history], losses)


def smoothing(**net_params):
    """Label smoothing of the net's criterion."""
    net = build_net(**spec(net_params=net_params), verbose=0)
    return net.criterion_.label_smoothing


def test_labels_are_smoothed_as_much_as_is_asked_for():
    assert smoothing() == 0.05
    assert smoothing(criterion__label_smoothing=0.0) == 0
    # A criterion of one's own is taken as it is.
    assert smoothing(criterion=nn.CrossEntropyLoss) == 0


def test_a_criterion_may_not_know_label_smoothing():
    net = build_net(**spec(net_params={"criterion": nn.NLLLoss}), verbose=0)
    assert isinstance(net.criterion_, nn.NLLLoss)


def test_learning_rate_decays_with_the_updates():
    assert [InverseDecay(0.5)(n) for n in (0, 1, 2)] == [1, 1 / 1.5, 1 / 2]


def test_learning_rate_rises_in_a_tenth_of_the_updates_and_falls_to_zero():
    factors = [LinearDecay(20)(n) for n in range(22)]
    expected = [0.5, 1, *np.arange(18, 0, -1) / 18, 0, 0]
    np.testing.assert_allclose(factors, expected)
    assert [LinearDecay(1)(n) for n in range(2)] == [1, 0]


@pytest.mark.parametrize(("max_epochs", "least"), [(2, 0.0), (3, 0.0), (2, 0.004)])
def test_the_learning_rate_is_zero_after_the_last_epoch(images, y, max_epochs, least):
    # A net that was planned for twice as many images is halfway then.
    params = spec(lr_decay="linear", max_epochs=max_epochs)
    params["n_training"] *= 2 if least else 1
    net = build_net(**params, verbose=0)
    train_network(net, params, images, y, np.arange(30), None)
    (group,) = net.optimizer_.param_groups
    assert least <= group["lr"] <= 1.5 * least


@pytest.mark.parametrize(
    ("n_training", "expected"), [(5, 16), (600, 16), (4500, 22), (60_000, 64)]
)
def test_batches_are_small_for_few_images(n_training, expected):
    net = build_net(**spec(batch_size="auto", n_training=n_training), verbose=0)
    assert net.batch_size == expected
    net = build_net(**spec(batch_size=300, n_training=n_training), verbose=0)
    assert net.batch_size == 300


class TestLoader:
    @pytest.fixture
    def dataset(self, images, y):
        return PixelDataset(images, y, n_channels=1)

    def test_batches_equal_those_made_image_by_image(self, dataset):
        pairs = [dataset[index] for index in range(len(dataset))]
        found = list(DataLoader(dataset, batch_size=7, collate_fn=collate))
        for (X, y), (X_expected, y_expected) in zip(
            found, DataLoader(pairs, batch_size=7), strict=True
        ):
            torch.testing.assert_close(X, X_expected, rtol=0, atol=0)
            torch.testing.assert_close(y, y_expected)

    def test_other_data_sets_are_collated(self):
        pairs = [(torch.full((1,), float(i)), i) for i in range(5)]
        loader = DataLoader(Subset(pairs, [3, 1, 4]), 2, collate_fn=collate)
        batches = list(loader)
        assert [y.tolist() for _, y in batches] == [[3, 1], [4]]
        assert [X.tolist() for X, _ in batches] == [[[3.0], [1.0]], [[4.0]]]

    def test_a_part_of_a_part_has_the_right_images(self, dataset):
        part = Subset(Subset(dataset, [9, 4, 7, 1]), [3, 0])
        ((X, y),) = DataLoader(part, 5, collate_fn=collate)
        np.testing.assert_array_equal(X[:, 0], dataset.images.pixels[[1, 9], ..., 0])
        assert y.tolist() == dataset.y[[1, 9]].tolist()

    def test_a_trained_net_takes_arrays_as_any_of_skorch_s(self, images, y):
        net = build_net(**spec(module=Scores), verbose=0)
        net.partial_fit(PixelDataset(images, y, 1), None)
        generator = torch.get_rng_state()
        X = images.pixels.transpose(0, 3, 1, 2)
        assert net.predict_proba(X).shape == (len(y), 3)
        assert torch.equal(torch.get_rng_state(), generator)


class TestSeed:
    def test_decides_initialisation_order_and_dropout(self, images, y):
        first, _ = train(images, y, module=Scores)
        torch.manual_seed(0)
        np.random.seed(0)
        torch.rand(100)
        again, _ = train(images, y, module=Scores)
        assert_same(first, again)
        other, _ = train(images, y, module=Scores, seed=6)
        assert not np.array_equal(first["conv.weight"], other["conv.weight"])

    @pytest.mark.parametrize("module", [None, Scores])
    def test_leaves_the_global_generators_alone(self, images, y, module):
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        train(images, y, module=module)
        assert torch.equal(torch.get_rng_state(), state)
        np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


class TestModule:
    def test_class_is_told_what_is_known_of_the_data(self):
        net = build_net(**spec(n_classes=7, image_shape=(9, 13, 3)), verbose=0)
        assert isinstance(net.module_, LeNet)
        assert net.module_(torch.zeros(2, 3, 9, 13)).shape == (2, 7)

    def test_class_takes_its_own_arguments_from_net_params(self):
        net = build_net(
            **spec(module=Scores, net_params={"module__width": 11}), verbose=0
        )
        assert net.module_.conv.out_channels == 11

    def test_function_may_make_it(self):
        net = build_net(**spec(module=lambda n_classes: Scores(n_classes)), verbose=0)
        assert net.module_(torch.zeros(2, 1, 8, 8)).shape == (2, 3)

    def test_instance_is_copied_and_stays_as_it_is(self, images, y):
        module = Scores()
        module.norm.eval()
        handle = module.fc.register_forward_hook(lambda *_: None)
        before = copy.deepcopy(module.state_dict())
        arrays, _ = train(images, y, module=module)
        assert not np.array_equal(arrays["conv.weight"], before["conv.weight"])
        for name, expected in before.items():
            torch.testing.assert_close(module.state_dict()[name], expected)
        assert module.training
        assert not module.norm.training
        assert list(module.fc._forward_hooks) == [handle.id]
        assert all(weights.grad is None for weights in module.parameters())

    def test_without_epochs_weights_are_used_as_they_are(self, images, y):
        module = Scores()
        arrays, history = train(images, y, module=module, max_epochs=0)
        assert history == []
        assert_same(arrays, {k: v.numpy() for k, v in module.state_dict().items()})

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_of_another_type_becomes_float32(self, images, y, dtype):
        arrays, _ = train(images, y, module=Scores().to(dtype))
        assert arrays["conv.weight"].dtype == np.float32

    def test_default_type_of_torch_does_not_matter(self, images, y):
        try:
            torch.set_default_dtype(torch.float64)
            arrays, _ = train(images, y)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}

    def test_trains_where_gradients_are_off(self, images, y):
        expected, _ = train(images, y)
        with torch.no_grad():
            arrays, _ = train(images, y)
            assert not torch.is_grad_enabled()
        assert_same(arrays, expected)


class TestNetParams:
    def test_reach_skorch(self):
        params = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}
        net = build_net(**spec(net_params=params), verbose=0)
        assert isinstance(net.optimizer_, torch.optim.SGD)
        assert net.optimizer_.defaults["momentum"] == 0.9
        assert net.optimizer_.defaults["lr"] == 0.01

    @pytest.mark.parametrize("stratified", [False, True])
    def test_early_stopping_ends_training(self, images, y, stratified):
        stopping = EarlyStopping(patience=2, threshold=10.0)
        params = {
            "train_split": ValidSplit(5, stratified=stratified),
            "callbacks": [stopping],
        }
        before = repr(vars(stopping))
        _, history = train(images, y, max_epochs=50, net_params=params)
        assert len(history) < 10
        assert "valid_loss" in history[-1]
        # The same callback can serve another fit.
        assert repr(vars(stopping)) == before

    def test_a_batch_of_one_image_for_batch_normalisation_is_named(self, images, y):
        module = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        )
        train(images, y, np.arange(28), module=module)
        message = "29 images in batches of 7 leave; choose another batch_size"
        with pytest.raises(ValueError, match=message):
            train(images, y, np.arange(29), module=module)

    def test_callbacks_may_have_names(self, images, y):
        class Note(Callback):
            def on_epoch_end(self, net, **kwargs):
                net.history.record("note", len(net.history))

        for callbacks in ([Note()], [("note", Note())], (Note,)):
            _, history = train(images, y, net_params={"callbacks": callbacks})
            assert [epoch["note"] for epoch in history] == [1, 2]

    def test_validation_loss_without_a_split_says_what_to_do(self, images, y):
        params = {"callbacks": [EarlyStopping()]}
        with pytest.raises(ValueError, match=r"pass train_split=skorch.dataset.Valid"):
            train(images, y, net_params=params)

    def test_torch_s_loader_may_be_used(self, images, y):
        arrays, _ = train(images, y, net_params={"iterator_train": DataLoader})
        assert np.isfinite(arrays["features.conv1.weight"]).all()

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            (
                {"lr": 1, "max_epochs": 3},
                "net_params holds max_epochs, lr, which the est",
            ),
            ({"module": LeNet}, "net_params holds module, which"),
            (
                {"optimzer": 1},
                r"cannot be built: .* unexpected argument\(s\) optimzer; c",
            ),
            (
                {"module__depth": 3},
                "cannot be built: .*'depth'; change module or net_par",
            ),
            (
                {"callbacks": "disable"},
                "callbacks in net_params is 'disable'; pass a list",
            ),
        ],
    )
    def test_that_cannot_be_used_are_refused(self, params, message):
        with pytest.raises(ValueError, match=message):
            build_net(**spec(net_params=params), verbose=0)

    def test_class_filter_weights_are_not_given_twice(self):
        params = {"criterion__weight": torch.ones(3)}
        with pytest.raises(ValueError, match="net_params holds criterion__weight"):
            build_net(**spec(net_params=params, class_weight=np.ones(3)), verbose=0)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("nowhere", "'nowhere', which PyTorch does not know; pass 'cpu' or 'cuda'"),
        ("cpu:", "'cpu:', which PyTorch does not know"),
        ("cuda:99", r"'cuda:99', but PyTorch sees \d+ GPUs; pass device='cpu'"),
        ("meta", "'meta', on which PyTorch cannot compute here; pass device='cpu'"),
        (torch.device("meta"), "'meta', on which PyTorch cannot compute here"),
        ("xla", "'xla', on which PyTorch cannot compute here"),
        ("vulkan", "'vulkan', on which PyTorch cannot compute here"),
        ("privateuseone", "'privateuseone', on which PyTorch cannot compute here"),
    ],
)
def test_devices_that_cannot_compute_are_refused(device, message):
    with pytest.raises(ValueError, match=f"^device is {message}"):
        build_net(**spec(device=device), verbose=0)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a GPU of Apple")
def test_a_missing_gpu_of_apple_is_refused():
    with pytest.raises(ValueError, match="'mps', on which PyTorch cannot compute here"):
        build_net(**spec(device="mps"), verbose=0)


def test_weights_of_another_network_are_refused(images, y):
    arrays, history = train(images, y, module=Scores)
    params = {"module__width": 5}
    net = build_net(**spec(module=Scores, net_params=params), verbose=0)
    message = r"'conv.weight' has the shape \(5, .* in it, and the shape \(4, .* saved"
    with pytest.raises(ValueError, match=message):
        restore(net, arrays, history)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.ReLU(), "cannot be built: optimizer got an empty parameter list"),
        (nn.Conv2d, "cannot be built: .* missing . required positional argument"),
        (int, "cannot be built: .*int"),
    ],
)
def test_a_module_that_is_no_network_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        build_net(**spec(module=module), verbose=0)


def test_class_filter_weights_count_in_the_loss(images):
    y = np.repeat([0, 1, 2], [20, 8, 2])
    weight = compute_class_weight("balanced", classes=np.arange(3), y=y)
    hard = {"criterion__label_smoothing": 0.0}
    _, (epoch, *_) = train(
        images, y, class_weight=weight, batch_size=30, net_params=hard
    )
    module = build_net(**spec(), verbose=0).module_
    scores = module(torch.from_numpy(images.pixels).permute(0, 3, 1, 2)).detach()
    log_proba = torch.log_softmax(scores, dim=1).numpy()[np.arange(30), y]
    expected = -(weight[y] * log_proba).sum() / weight[y].sum()
    np.testing.assert_allclose(epoch["train_loss"], expected, rtol=1e-5)


def test_diverging_training_says_in_which_epoch(images, y):
    with pytest.raises(
        ValueError, match=r"Training diverged: the loss is nan in epoch "
    ):
        train(images, y, lr=1e30, max_epochs=3)


def test_divergence_in_the_last_update_is_noticed(images, y):
    with pytest.raises(ValueError, match="diverged: scores are not finite with lr=1e"):
        train(images, y, lr=1e30, max_epochs=1, batch_size=30)


def test_arrays_bring_a_net_back(images, y):
    arrays, history = train(images, y, module=Scores)
    net = build_net(**spec(module=Scores), verbose=0)
    restore(net, arrays, history)
    assert_same(get_arrays(net), arrays)
    assert net.history.to_list() == history
    assert not any(module.training for module in net.module_.modules())
    # Further training would not change the arrays that it came from.
    before = copy.deepcopy(arrays)
    with torch.no_grad():
        net.module_.conv.weight.zero_()
    assert_same(arrays, before)


@pytest.mark.parametrize("module", [Scores, Probabilities])
def test_probabilities_are_those_of_skorch(images, y, module):
    params = {"criterion": nn.NLLLoss} if module is Probabilities else None
    net = build_net(**spec(module=module, net_params=params), verbose=0)
    net.partial_fit(PixelDataset(images, y, 1), None)
    network = as_network(
        net.module_,
        n_classes=3,
        n_channels=1,
        returns_probabilities=module is Probabilities,
    )
    found = network.predict_proba(images)
    tensor = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)
    np.testing.assert_allclose(found, net.predict_proba(tensor.numpy()), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    net.module_.eval()
    with torch.no_grad():
        log_proba = network.log_probabilities(net.module_(tensor))
    np.testing.assert_allclose(log_proba, np.log(found), rtol=1e-4, atol=1e-6)
