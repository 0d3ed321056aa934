"""Evidence for classes, carried over mid-level features, and maps of the literature."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hostile_files import metadata_of, seal, split
from painted_photographs import seeded_module
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_similar import SimilarNetClassifier, load, save
from sklearn_similar._heatmaps.class_map import ImageActivations
from sklearn_similar._heatmaps.maps import resize
from sklearn_similar._heatmaps.methods import guided_upsampling, mid_level
from sklearn_similar._heatmaps.methods.guided_upsampling import upsample_guided
from sklearn_similar._heatmaps.methods.ridge import Ridge as RidgeMap
from sklearn_similar._heatmaps.methods.walk import walk
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.backbone import mid_level_layers
from sklearn_similar._network.receptive_field import ReceptiveField

CLASSES = np.arange(4)


class Pyramid(nn.Module):
    """Five blocks of stride 2, a global mean and one linear layer."""

    def __init__(self, n_classes=4):
        super().__init__()
        widths = (3, 8, 8, 8, 8, 6)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(n_in, n_out, 3, 2, 1), nn.ReLU())
                for n_in, n_out in pairwise(widths)
            )
        )
        self.linear = nn.Linear(6, n_classes)

    def forward(self, images):
        # The number of images comes past the layers.
        maps = self.blocks(images * 2 - 1)
        return self.linear(maps.mean(dim=(2, 3)).view(images.shape[0], -1))


def deep_model(n_images=12, labels=3, **params):
    """Images of colour noise, and a network as it is; class 3 has no images."""
    rng = np.random.default_rng(0)
    coarse = rng.random((n_images, 8, 8, 3), np.float32).repeat(16, 1).repeat(16, 2)
    X, y = coarse, np.arange(n_images) % labels
    module = seeded_module(Pyramid)
    params = {"validation_fraction": None, "classes": CLASSES} | params
    model = SimilarNetClassifier(module, max_epochs=0, **params).fit(X, y)
    return model.fit_importance(X, y), X, y


@pytest.fixture(scope="module")
def deep():
    return deep_model()


def draw(shape=(2, 5, 6, 4), size=(12, 8), stride=(2.0, 2.0)):
    """Features with signs, and evidence with signs at every pixel."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    evidence = torch.from_numpy(rng.normal(size=(shape[0], 1, *size)))
    return FeatureMaps(features, ReceptiveField(stride), False), evidence.float()


def naive_walk(features, evidence):
    """The walk in one image, place by place."""
    vectors = features.reshape(len(features), -1).T.astype(float)
    vectors = vectors - vectors.mean(axis=0)
    result = []
    for vector in vectors:
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
        similarity = np.maximum(vectors @ vector / norms, 0)
        result.append(similarity @ evidence.ravel() / similarity.sum())
    return (np.array(result) - min(result)).reshape(evidence.shape)


def test_a_step_of_the_walk_is_the_mean_evidence_of_similar_places():
    maps, evidence = draw()
    result = walk(evidence, maps)
    for image in range(2):
        expected = naive_walk(
            maps.activations[image].numpy(), evidence[image, 0, ::2, ::2].numpy()
        )
        np.testing.assert_allclose(result[image, 0], expected, atol=1e-5)
        alone = maps._replace(activations=maps.activations[[image]])
        torch.testing.assert_close(walk(evidence[[image]], alone), result[[image]])


def test_a_fine_grid_walks_from_averaged_places():
    maps, evidence = draw(shape=(1, 5, 40, 1), size=(80, 2))
    # Two kinds of places, so that averaging pairs of like places changes nothing.
    first, second = torch.randn(2, 5, 1, generator=torch.Generator().manual_seed(0))
    maps.activations[0, :, :20] = first[:, None]
    maps.activations[0, :, 20:] = second[:, None]
    exact, averaged = walk(evidence, maps), walk(evidence, maps, max_sources=20)
    assert averaged.shape == exact.shape
    torch.testing.assert_close(averaged, exact, atol=1e-5, rtol=1e-4)


def test_features_that_are_the_same_everywhere_carry_nothing():
    maps, evidence = draw()
    maps.activations[:] = 1.0
    assert not walk(evidence, maps).any()


def test_ridge_regression_uses_features_with_signs():
    maps, evidence = draw()
    result = upsample_guided(evidence, maps, (12, 8), has_signs=True)
    for image in range(2):
        features = maps.activations[image].flatten(1).T.double().numpy()
        target = evidence[image, 0, ::2, ::2].numpy()
        scaled = StandardScaler().fit_transform(features)
        ridge = Ridge(alpha=0.1 * len(scaled)).fit(scaled, target.ravel())
        expected = np.maximum(ridge.predict(scaled), 0).reshape(target.shape)
        np.testing.assert_allclose(
            result[image, 0, ::2, ::2], expected, rtol=1e-3, atol=1e-4
        )


def test_ridge_is_the_mean_of_what_each_layer_predicts():
    maps, evidence = draw()
    finer, _ = draw(shape=(2, 3, 12, 8), stride=(1.0, 1.0))
    activations = ImageActivations(
        indices=np.arange(2),
        size=(12, 8),
        feature_maps=[],
        filter_weights=(),
        mid_level_maps=(maps, finer),
    )
    result = RidgeMap().carried(evidence, activations)
    expected = 0
    for layer in (maps, finer):
        values = layer.activations.flatten(2).mT.double().numpy()
        step = int(layer.receptive_field.stride[0])
        target = evidence[:, 0, ::step, ::step].flatten(1).numpy()
        rows = []
        for features, heat in zip(values, target, strict=True):
            scaled = StandardScaler().fit_transform(features)
            ridge = Ridge(alpha=0.1 * len(scaled)).fit(scaled, heat)
            rows.append(np.maximum(ridge.predict(scaled), 0))
        grid = np.reshape(rows, (2, 12 // step, 8 // step))
        expected = expected + grid[:, :: 2 // step, :: 2 // step] / 2
    np.testing.assert_allclose(result[:, 0, ::2, ::2], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_score_weights_are_those_of_a_linear_layer_after_a_mean(ablation):
    """Also those of a class without images, and of a filter without activations."""
    model, X, y = deep_model(ablation=ablation)
    with torch.no_grad():
        model.net_.module_.blocks[4][0].bias[2] = -100
    model.fit_importance(X, y)
    expected = model.net_.module_.linear.weight.detach().numpy()
    np.testing.assert_allclose(model.score_weights_, expected, atol=1e-4)


def test_the_layers_of_the_default_are_found(deep):
    model, X, _ = deep
    assert model.layer_ == "blocks.4.1"
    assert model.mid_level_layers_ == ("blocks.3.0", "blocks.2")
    assert model.outline_layer_ is None
    np.testing.assert_array_equal(model.class_filter_weights_, model.score_weights_)
    heat = model.heatmap(X, 3)
    assert heat.shape == X.shape[:3]
    assert heat.min() >= 0
    assert (heat.max(axis=(1, 2)) > 0).all()


def test_the_default_is_the_geometric_mean_of_walk_and_ridge(deep):
    model, X, y = deep
    heat = {}
    for name in ("walk", "ridge", "propagated"):
        other = copy.deepcopy(model).set_params(class_heatmap=name, normalize=None)
        heat[name] = other.fit_importance(X, y).heatmap(X, 1)
    np.testing.assert_allclose(
        heat["propagated"] ** 2, heat["walk"] * heat["ridge"], rtol=1e-4, atol=1e-9
    )


def test_networks_without_mid_level_layers_have_outlined_maps(quick, digits):
    default = quick().fit(digits.X, digits.y)
    outlined = quick(class_heatmap="outlined").fit(digits.X, digits.y)
    assert default.mid_level_layers_ == ()
    assert default.outline_layer_ == "features.relu1"
    np.testing.assert_array_equal(
        default.heatmap(digits.X_test, 3), outlined.heatmap(digits.X_test, 3)
    )


def test_a_class_without_images_is_warned_of_only_where_its_map_needs_them(deep):
    model, X, y = deep
    some = y != y[0]
    model = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit_importance(X[some], y[some])
    with pytest.warns(UserWarning, match="have no image among those"):
        model.set_params(mid_level_layers=[]).fit_importance(X[some], y[some])


def test_mid_level_layers_are_looked_for_once(quick, digits, monkeypatch):
    calls = []

    def look(*args):
        calls.append(args)
        return mid_level_layers(*args)

    path = "sklearn_similar._heatmaps.methods.mid_level.mid_level_layers"
    monkeypatch.setattr(path, look)
    quick().fit(digits.X, digits.y)
    assert len(calls) == 1


def test_mid_level_layers_can_be_named(deep):
    model, X, y = deep
    named = copy.deepcopy(model).set_params(mid_level_layers=["blocks.2.1"])
    named.fit_importance(X, y)
    assert named.mid_level_layers_ == ("blocks.2.1",)
    assert not np.allclose(named.heatmap(X, 0), model.heatmap(X, 0))
    named.set_params(mid_level_layers=[]).fit_importance(X, y)
    assert named.mid_level_layers_ == ()
    assert named.outline_layer_ is not None
    named.set_params(mid_level_layers=["blocks.22"])
    with pytest.raises(ValueError, match=r"did you mean 'blocks.2"):
        named.fit_importance(X, y)


def test_files_hold_mid_level_layers(deep, tmp_path):
    model, X, _ = deep
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", module=seeded_module(Pyramid))
    np.testing.assert_array_equal(loaded.heatmap(X, 2), model.heatmap(X, 2))
    np.testing.assert_array_equal(
        loaded.heatmap(X, 2, class_heatmap="cam"),
        model.heatmap(X, 2, class_heatmap="cam"),
    )


@pytest.mark.parametrize(
    ("name", "warns"), [("propagated", True), ("ridge", True), ("cam", False)]
)
def test_files_from_before_the_ridge_of_both_layers_are_warned_of(
    deep, tmp_path, name, warns
):
    model, X, y = deep
    path = tmp_path / "model.safetensors"
    model = copy.deepcopy(model).set_params(class_heatmap=name).fit_importance(X, y)
    save(model, path)
    header, data = split(path.read_bytes())
    path.write_bytes(seal(header, data, metadata_of(header) | {"format": 3}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(path, module=seeded_module(Pyramid))
    messages = [str(warning.message) for warning in caught]
    assert ["fit_importance" in message for message in messages] == [True] * warns


def scaled(heat):
    """Each heatmap from 0 to 1."""
    low, high = (edge(axis=(1, 2), keepdims=True) for edge in (heat.min, heat.max))
    return (heat - low) / np.where(high > low, high - low, 1)


@pytest.mark.parametrize("name", ["walk", "cam", "linear"])
def test_another_class_map_in_a_call_is_that_of_a_fit(deep, name):
    model, X, y = deep
    fitted = copy.deepcopy(model).set_params(class_heatmap=name).fit_importance(X, y)
    labels = np.arange(len(X)) % 4
    found = model.heatmap(X, labels=labels, class_heatmap=name)
    expected = scaled(fitted.set_params(normalize=None).heatmap(X, labels=labels))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert model.class_heatmap == "propagated"


def activations_of(model, X):
    """Activations of the last layer, and their maps at every pixel."""
    with torch.no_grad():
        images = torch.from_numpy(X).permute(0, 3, 1, 2)
        return model.net_.module_.blocks(images * 2 - 1)


def weighted(model, X, weights):
    """Positive part of weighted sums of the activations, n x 4 x 4 cells of 32."""
    sums = torch.einsum("nc,nchw->nhw", weights, activations_of(model, X)).relu()
    return sums.numpy()


def check_cells(heat, expected):
    """Compare heatmaps with maps at the centres of the cells, up to their scale."""
    at_cells = heat[:, ::32, ::32]
    for found, wanted in zip(at_cells, expected, strict=True):
        if wanted.max() > wanted.min():
            correlation = np.corrcoef(found.ravel(), wanted.ravel())[0, 1]
            assert correlation > 0.999


def test_cam_layercam_scorecam_and_ablation(deep):
    model, X, _ = deep
    values = activations_of(model, X)
    row = model.net_.module_.linear.weight[1].detach()
    check_cells(
        model.heatmap(X, 1, class_heatmap="cam"),
        weighted(model, X, row.expand(len(X), -1)),
    )
    # Behind a mean, gradients are the weights of the linear layer.
    check_cells(
        model.heatmap(X, 1, class_heatmap="layercam"),
        weighted(model, X, row.relu().expand(len(X), -1)),
    )
    drops = torch.from_numpy(model.ablate_filters(X, np.ones(len(X), int)).drops)
    check_cells(
        model.heatmap(X, 1, class_heatmap="ablation"), weighted(model, X, drops)
    )
    masks = values - values.amin(dim=(2, 3), keepdim=True)
    masks = masks / masks.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    gains = torch.stack(
        [(values * mask[:, None]).mean(dim=(2, 3)) @ row for mask in masks.unbind(1)],
        dim=1,
    )
    check_cells(
        model.heatmap(X, 1, class_heatmap="scorecam"), weighted(model, X, gains)
    )


def test_class_maps_that_need_a_calibration_are_refused_in_a_call(deep):
    model, X, _ = deep
    for name in ("contrastive", "outlined"):
        with pytest.raises(ValueError, match="call fit_importance"):
            model.heatmap(X, 1, class_heatmap=name)
    coarse = copy.deepcopy(model).set_params(layer=["blocks.1", "blocks.4.1"])
    coarse.set_params(mid_level_layers=[]).fit(X, np.arange(len(X)) % 3)
    coarse.fit_importance(X, np.arange(len(X)) % 3)
    with pytest.raises(ValueError, match="call fit_importance"):
        coarse.heatmap(X, 1, class_heatmap="propagated")
    earlier = copy.deepcopy(model)
    del earlier.score_weights_
    with pytest.raises(ValueError, match="earlier version"):
        earlier.heatmap(X, 1, class_heatmap="cam")
    with pytest.raises(ValueError, match="pass target or labels"):
        model.heatmap(X, class_heatmap="cam")
    with pytest.raises(ValueError, match="class_heatmap"):
        model.heatmap(X, 1, class_heatmap="kam")


def test_layers_after_the_maps_may_need_the_trained_size(quick, digits):
    model = quick(class_heatmap="layercam").fit(digits.X, digits.y)
    assert model.heatmap(digits.X_test[:2], 3).shape == (2, 28, 28)
    with pytest.raises(ValueError, match="28x28 pixels, the trained size"):
        model.heatmap([np.zeros((40, 40), np.uint8)], 3)


def test_a_network_can_be_run_at_another_size(deep):
    model, X, _ = deep
    images = torch.from_numpy(X).permute(0, 3, 1, 2)
    larger = resize(images, (160, 192)).permute(0, 2, 3, 1).numpy()
    for target in (None, 2):
        found = model.heatmap(X, target, image_size=(160, 192))
        at_size = torch.from_numpy(model.heatmap(larger, target))[:, None]
        expected = resize(at_size, (128, 128))[:, 0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
    same = model.heatmap(X, 2, image_size=128)
    np.testing.assert_allclose(same, model.heatmap(X, 2), atol=1e-6)
    sizes = [(70, 90), (200, 140)]
    heat = model.heatmap([np.zeros((*s, 3), np.float32) for s in sizes], image_size=64)
    assert [one.shape for one in heat] == sizes


@pytest.mark.parametrize("size", [0, 2.5, (64,), "big", (64, -1), True])
def test_a_wrong_image_size_is_refused(deep, size):
    model, X, _ = deep
    with pytest.raises(ValueError, match="image_size is"):
        model.heatmap(X, image_size=size)


def test_large_images_are_read_whole_where_they_are_resized(deep, tmp_path):
    model, X, _ = deep
    image = np.tile(X[0], (9, 9, 1))  # 1152 x 1152 pixels
    path = tmp_path / "image.npy"
    np.save(path, image)
    mapped = np.load(path, mmap_mode="r")
    (found,) = model.heatmap([mapped], 1, image_size=96)
    (expected,) = model.heatmap([image], 1, image_size=96)
    assert found.shape == image.shape[:2]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_layers_are_looked_for_once_until_the_network_changes(
    quick, digits, monkeypatch
):
    n_passes = []
    for module, name in (
        (guided_upsampling, "find_first_block"),
        (mid_level, "mid_level_layers"),
    ):
        find = getattr(module, name)

        def counted(*args, find=find):
            n_passes.append(find)
            return find(*args)

        monkeypatch.setattr(module, name, counted)
    model = quick().fit(digits.X, digits.y)
    model.fit_importance(digits.X, digits.y)
    n_before = len(n_passes)
    model.fit_importance(digits.X, digits.y)
    assert len(n_passes) == n_before
    with torch.no_grad():
        next(model.net_.module_.parameters()).mul_(2)
    model.fit_importance(digits.X, digits.y)
    assert len(n_passes) > n_before
