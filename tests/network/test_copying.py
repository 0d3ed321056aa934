"""Copies of networks of unusual kinds, and kinds that are refused."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.nn.utils import prune

from sklearn_similar import InstanceLocalizer, LeNet, SimilarNetClassifier, load, save
from sklearn_similar._network.backbone import Backbone

X = np.random.default_rng(0).random((40, 12, 12)).astype(np.float32)
Y = np.arange(40) % 4
IMAGES = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def network(convolution=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            convolution or nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )


def with_gradients(module):
    """A module after a forward pass, which has kept the weights that it computed."""
    module(IMAGES).sum().backward()
    return module


def normalised():
    with pytest.warns(FutureWarning, match="weight_norm"):
        return with_gradients(network(nn.utils.weight_norm(nn.Conv2d(1, 6, 3))))


def pruned():
    module = network()
    prune.l1_unstructured(module[0], "weight", 0.3)
    return with_gradients(module)


def with_compiled_part():
    return nn.Sequential(torch.compile(network()[:2]), *network()[2:])


def uncompiled(module):
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*map(uncompiled, module))
    return getattr(module, "_orig_mod", module)


@pytest.mark.parametrize(
    "make",
    [
        normalised,
        pruned,
        with_compiled_part,
        lambda: torch.compile(network()),
        lambda: torch.fx.symbolic_trace(network()),
    ],
)
@pytest.mark.parametrize("max_epochs", [0, 1])
@pytest.mark.filterwarnings("ignore:The network recognises")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_networks_of_these_kinds_are_used(make, max_epochs):
    module = make()
    model = SimilarNetClassifier(module, max_epochs=max_epochs, random_state=0)
    model.fit(X, Y)
    assert model.n_filters_ == (6,)
    assert model.heatmap(X[:1], 0).shape == (1, 12, 12)
    if max_epochs == 0:
        images = torch.from_numpy(X[:3, np.newaxis])
        with torch.no_grad():
            expected = uncompiled(module)(images).softmax(1)
        np.testing.assert_allclose(model.predict_proba(X[:3]), expected, rtol=1e-5)


def exported():
    program = torch.export.export(network().eval(), (IMAGES,))
    return nn.Sequential(nn.Identity(), program.module())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.jit.script(network()), "TorchScript.*that was scripted"),
        (
            lambda: torch.ao.quantization.quantize_dynamic(network(), {nn.Linear}),
            "quantised.*before its quantisation",
        ),
        (exported, "exported graph without layers; pass the network that was"),
    ],
)
def test_networks_without_usable_layers_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        SimilarNetClassifier(make(), max_epochs=0).fit(X, Y)


class Hidden(LeNet):
    """The number of classes is not among the named arguments."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def build_hidden(pretrained=False, **kwargs):
    return LeNet(kwargs["num_classes"], (12, 12))


@pytest.mark.parametrize("build", [Hidden, build_hidden])
def test_the_number_of_classes_reaches_further_arguments(build):
    model = SimilarNetClassifier(build, max_epochs=1, random_state=0).fit(X, Y)
    assert model.predict_proba(X[:2]).shape == (2, 4)


class Lazy(nn.Sequential):
    def __init__(self, n_classes):
        super().__init__(
            nn.LazyConv2d(6, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LazyLinear(n_classes),
        )


def test_networks_of_lazy_layers_are_saved_and_loaded(tmp_path):
    model = SimilarNetClassifier(Lazy, max_epochs=1, random_state=0).fit(X, Y)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model", module=Lazy)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


class Versioned(nn.Sequential):
    """A network that is not loaded without the version of its format."""

    _version = 2

    def __init__(self, n_classes):
        super().__init__(*network()[:4], nn.Linear(6, n_classes))

    def _load_from_state_dict(self, state, prefix, metadata, *args):
        if metadata.get("version") != 2:
            raise ValueError("version should be set to 2")
        super()._load_from_state_dict(state, prefix, metadata, *args)


def test_weights_are_loaded_with_the_versions_of_layers():
    model = SimilarNetClassifier(Versioned, max_epochs=1, random_state=0).fit(X, Y)
    assert model.predict_proba(X[:2]).shape == (2, 4)


@pytest.mark.filterwarnings("ignore:The network recognises")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_another_precision_are_converted_with_a_warning(dtype):
    module = network().to(dtype)
    with pytest.warns(UserWarning, match=f"weights of {dtype}, .* in torch.float32"):
        SimilarNetClassifier(module, max_epochs=0, random_state=0).fit(X, Y)
    assert module[0].weight.dtype == dtype


@pytest.mark.parametrize(
    "make",
    [
        SimilarNetClassifier,
        lambda network: InstanceLocalizer(SimilarNetClassifier(network)),
        lambda network: InstanceLocalizer(backbone=network),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_estimators_are_cloned_whose_network_has_run_with_gradients(make):
    network = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 4, 3)), nn.ReLU())
    network(torch.rand(2, 1, 8, 8)).sum().backward()
    cloned = clone(make(network))
    for name in ("module", "estimator__module", "backbone"):
        copied = cloned.get_params().get(name)
        if copied is not None:
            assert copied is not network
            images = torch.rand(2, 1, 8, 8)
            torch.testing.assert_close(copied(images), network(images))


def test_a_backbone_of_half_precision_is_converted_with_a_warning():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), nn.ReLU())
    with pytest.warns(UserWarning, match="backbone has weights of torch.float16, and"):
        backbone = Backbone.of(network.half(), layers=["1"])
    maps = backbone.feature_maps(torch.rand(3, 32, 32))
    assert maps[0].values.dtype == torch.float32
    assert next(network.parameters()).dtype == torch.float16


def parametrised(kind):
    """A constructor of a network of another kind."""

    def make():
        module = network()
        if kind == "half":
            return module.half()
        if kind == "compiled":
            return torch.compile(module)
        if kind == "compiled within":
            module[0] = torch.compile(module[0])
        if kind == "scripted":
            return torch.jit.script(module)
        if kind == "exported":
            example = (torch.zeros(2, 1, 12, 12),)
            return torch.export.export(module.eval(), example).module()
        if kind == "frozen":
            module.requires_grad_(False)
        return module

    return make


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is dep:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("scripted", "TorchScript, whose layers cannot be observed"),
        ("exported", "an exported graph without layers"),
        ("frozen", "no weight that can be trained: .* pass max_epochs=0"),
    ],
)
def test_constructors_of_networks_that_cannot_be_used_are_refused(kind, reason):
    with pytest.raises(ValueError, match=reason):
        SimilarNetClassifier(parametrised(kind), max_epochs=1).fit(X, Y)


@pytest.mark.parametrize("kind", ["compiled", "compiled within"])
def test_what_a_constructor_compiles_is_used_as_it_was(kind):
    fits = [
        SimilarNetClassifier(parametrised(name), max_epochs=1, random_state=0).fit(X, Y)
        for name in (kind, "plain")
    ]
    scores = [estimator.predict_proba(X) for estimator in fits]
    np.testing.assert_array_equal(*scores)


def test_a_constructor_of_another_precision_warns_in_fit_alone():
    estimator = SimilarNetClassifier(parametrised("half"), max_epochs=1)
    with pytest.warns(UserWarning, match=r"weights of torch.float16, .* float\(\)"):
        estimator.fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy.deepcopy(estimator).predict(X)


def test_weights_without_values_are_refused():
    with torch.device("meta"):
        module = network()
    with pytest.raises(ValueError, match=r"on the meta device, .* make it on the CPU"):
        SimilarNetClassifier(module).fit(X, Y)
