"""Training equals a plain loop of PyTorch, reproducibly, and says why it fails."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Scores, specification, train
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from sklearn_similar._network.net import (
    collate,
)
from sklearn_similar._network.training import (
    PixelDataset,
    TrainingData,
    train_network,
)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_training_equals_a_plain_loop(images, y):
    training = np.arange(2, 29)
    arrays, history = train(images, y, training)

    module = specification().build().module_
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


@pytest.mark.parametrize(("max_epochs", "least"), [(2, 0.0), (3, 0.0), (2, 0.004)])
def test_the_learning_rate_is_zero_after_the_last_epoch(images, y, max_epochs, least):
    # A net that was planned for twice as many images is halfway then.
    n_training = 60 if least else 30
    planned = specification(
        lr_decay="linear", max_epochs=max_epochs, n_training=n_training
    )
    net = planned.build()
    data = TrainingData(images=images, y=y, sampling_indices=np.arange(30))
    train_network(net, planned, data)
    (group,) = net.optimizer_.param_groups
    assert least <= group["lr"] <= 1.5 * least


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
        net = specification(module=Scores).build()
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


class TestCallbacksAndLoaders:
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

    def test_dropping_the_only_batch_is_refused(self, images, y):
        params = {"iterator_train__drop_last": True}
        message = (
            "Nothing was learnt: 20 images do not fill a batch of 30, and drop_last"
        )
        with pytest.raises(ValueError, match=message):
            train(images, y, np.arange(20), batch_size=30, net_params=params)
        train(images, y, np.arange(20), batch_size=15, net_params=params)

    def test_callbacks_may_have_names(self, images, y):
        class Note(Callback):
            def on_epoch_end(self, net, **kwargs):
                net.history.record("note", len(net.history))

        for callbacks in ([Note()], [("note", Note())], (Note,)):
            _, history = train(images, y, net_params={"callbacks": callbacks})
            assert [epoch["note"] for epoch in history] == [1, 2]

    def test_a_callback_that_needs_a_validation_split_is_explained(self, images, y):
        params = {"callbacks": [EarlyStopping()]}
        with pytest.raises(ValueError, match=r"pass train_split=skorch.dataset.Valid"):
            train(images, y, net_params=params)

    def test_the_loader_of_torch_may_be_used(self, images, y):
        arrays, _ = train(images, y, net_params={"iterator_train": DataLoader})
        assert np.isfinite(arrays["features.conv1.weight"]).all()


def test_class_filter_weights_count_in_the_loss(images):
    y = np.repeat([0, 1, 2], [20, 8, 2])
    weight = compute_class_weight("balanced", classes=np.arange(3), y=y)
    hard = {"criterion__label_smoothing": 0.0}
    _, (epoch, *_) = train(
        images, y, class_weight=weight, batch_size=30, net_params=hard
    )
    module = specification().build().module_
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


def test_what_the_first_optimiser_imports_is_imported_out_of_reach_of_ctrl_c():
    code = """
import sys, threading
import numpy as np
import torch
import sklearn_similar

class Finder:
    def find_spec(self, name, *_):
        if name.startswith(("torch._dynamo", "sympy")):
            names.add(threading.current_thread() is threading.main_thread())

names = set()
sys.meta_path.insert(0, Finder())
X = np.random.default_rng(0).random((20, 8, 8)).astype("float32")
sklearn_similar.SimilarNetClassifier(max_epochs=1, validation_fraction=None).fit(
    X, np.arange(20) % 2
)
print(names)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "{False}"
