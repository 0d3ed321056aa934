"""Specifications of nets: parameters and data in, an initialised net out."""

import numpy as np
import pytest
import torch
from networks import Scores, specification
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import StepLR

from sklearn_similar import LeNet, SimilarNetClassifier
from sklearn_similar._network.specification import training_batch_size


def smoothing(**net_params):
    """Label smoothing of the net's criterion."""
    net = specification(net_params=net_params).build()
    return net.criterion_.label_smoothing


def test_labels_are_smoothed_by_the_share_in_net_params():
    assert smoothing() == 0.05
    assert smoothing(criterion__label_smoothing=0.0) == 0
    # A user's criterion is taken as it is.
    assert smoothing(criterion=nn.CrossEntropyLoss) == 0


def test_a_criterion_may_not_know_label_smoothing():
    net = specification(net_params={"criterion": nn.NLLLoss}).build()
    assert isinstance(net.criterion_, nn.NLLLoss)


@pytest.mark.parametrize(
    ("n_training", "expected"), [(5, 16), (600, 16), (4500, 22), (60_000, 64)]
)
def test_batches_are_small_for_few_images(n_training, expected):
    net = specification(batch_size="auto", n_training=n_training).build()
    assert net.batch_size == expected
    net = specification(batch_size=300, n_training=n_training).build()
    assert net.batch_size == 300


class TestModule:
    def test_class_gets_properties_of_the_data(self):
        net = specification(n_classes=7, image_shape=(9, 13, 3)).build()
        assert isinstance(net.module_, LeNet)
        assert net.module_(torch.zeros(2, 3, 9, 13)).shape == (2, 7)

    def test_class_gets_arguments_from_net_params(self):
        net = specification(module=Scores, net_params={"module__width": 11}).build()
        assert net.module_.conv.out_channels == 11

    def test_function_may_build_it(self):
        net = specification(module=lambda n_classes: Scores(n_classes)).build()
        assert net.module_(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


class TestNetParams:
    def test_reach_skorch(self):
        params = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}
        net = specification(net_params=params).build()
        assert isinstance(net.optimizer_, torch.optim.SGD)
        assert net.optimizer_.defaults["momentum"] == 0.9
        assert net.optimizer_.defaults["lr"] == 0.01

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
            specification(net_params=params).build()

    def test_that_compile_the_network_are_refused(self):
        with pytest.raises(ValueError, match="compiled network cannot be observed"):
            specification(net_params={"compile": True}).build()

    def test_class_filter_weights_are_not_given_twice(self):
        params = {"criterion__weight": torch.ones(3)}
        with pytest.raises(ValueError, match="net_params holds criterion__weight"):
            specification(net_params=params, class_weight=np.ones(3)).build()


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
        specification(device=device).build()


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a GPU of Apple")
def test_a_missing_gpu_of_apple_is_refused():
    with pytest.raises(ValueError, match="'mps', on which PyTorch cannot compute here"):
        specification(device="mps").build()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.ReLU(), "cannot be built: optimizer got an empty parameter list"),
        (nn.Conv2d, "cannot be built: .* missing . required positional argument"),
        (int, "cannot be built: .*int"),
    ],
)
def test_a_module_that_is_not_a_network_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        specification(module=module).build()


@pytest.mark.parametrize(
    "callback",
    [
        LRScheduler(policy=StepLR, step_size=1, gamma=0.1),
        ("mine", LRScheduler(policy=StepLR, step_size=1, gamma=0.1)),
    ],
)
def test_a_scheduler_in_net_params_replaces_the_decay(callback):
    net_params = {"callbacks": [callback], "optimizer": torch.optim.SGD}
    model = SimilarNetClassifier(
        Scores, lr=0.5, max_epochs=3, net_params=net_params, random_state=0
    )
    images = np.random.default_rng(0).random((40, 8, 8)).astype(np.float32)
    model.fit(images, np.arange(40) % 3)
    (group,) = model.net_.optimizer_.param_groups
    assert group["lr"] == pytest.approx(0.5 * 0.1**3)


@pytest.mark.parametrize("n_training", [33, 49, 17, 6401])
def test_no_image_is_left_over_for_a_batch_of_its_own(n_training):
    size = training_batch_size("auto", n_training)
    assert size >= 16
    assert n_training % size != 1
