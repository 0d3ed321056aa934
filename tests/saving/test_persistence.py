"""Saved estimators are loaded exactly as they were, or one error says why not."""

import copy
import inspect
import io
import math
import os
import pickle
import re
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hostile_files import Peak, code_that_runs, forged, metadata_of, seal, split
from painted_photographs import make_photographs, tiny_backbone
from pandas.testing import assert_frame_equal
from saved_files import Scores, make_lines, write_files
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EpochTimer
from torch import nn

from sklearn_similar import (
    InstanceLocalizer,
    LeNet,
    SimilarNetClassifier,
    __version__,
    load,
    save,
)
from sklearn_similar._saving.versions import FORMAT
from sklearn_similar._search.box_regression import box_weights
from sklearn_similar._tables.boxes import BOX_COLUMNS
from sklearn_similar.datasets import make_scenes

DATA = Path(__file__).parent / "data"


class OtherScores(Scores):
    """A network with the same weights but other scores."""

    def forward(self, x):
        return -10 * super().forward(x)


class Probabilities(Scores):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


def spot():
    """An image of a bright spot."""
    row, column = np.mgrid[:24, :24]
    image = 200 * np.exp(-((row - 8) ** 2 + (column - 14) ** 2) / 8)
    return image.astype(np.uint8)


def objects(*items):
    """The record of an array of objects."""
    return {"__type__": "objects", "items": list(items), "shape": [len(items)]}


def call_format_1(path):
    """Write a file anew as one of format 1, with the same content."""
    header, data = split(path.read_bytes())
    path.write_bytes(seal(header, data, metadata_of(header) | {"format": 1}))


def names_in(path):
    """Names of all values in a file, except in arrays and values of many types."""
    header, _ = split(path.read_bytes())
    names = set()
    records = [((), metadata_of(header)["estimator"])]
    while records:
        place, record = records.pop()
        for name, value in record.items():
            names.add((*place, name))
            if name in ("estimator", "estimator_") and isinstance(value, dict):
                records.append(((*place, name), value))
            elif name in ("state", "net", "backbone_", "params", "fitted"):
                names |= {(*place, name, key) for key in value}
    return names


def double(importances):
    return np.ones_like(importances)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def images():
    return make_lines()


@pytest.fixture(scope="module")
def fit(images):
    def make(y=None, X=None, **params):
        defaults = {"max_epochs": 1, "batch_size": 10, "random_state": 0}
        model = SimilarNetClassifier(**(defaults | params))
        return model.fit(
            *((images[0] if X is None else X), images[1] if y is None else y)
        )

    return make


@pytest.fixture(scope="module")
def localizer(fitted_localizer):
    return fitted_localizer


@pytest.fixture(scope="module")
def scenes(digits):
    return make_scenes(digits.X_test, digits.y_test, n_scenes=3, random_state=0)[0]


@pytest.fixture(scope="module")
def saved(fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save(fit(), path)
    return path.read_bytes()


@pytest.fixture
def content(saved, path):
    path.write_bytes(saved)
    return saved


def assert_same(first, second):
    """Values, and the values in them, are equal and of equal types."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, np.random.RandomState):
        assert_same(first.get_state(legacy=False), second.get_state(legacy=False))
    elif hasattr(first, "__getstate__") and hasattr(first, "get_params"):
        assert_same(first.__getstate__(), second.__getstate__())
    else:
        assert first == second or first != first


def assert_equal_estimators(first, second, X):
    assert_same(first, second)
    assert repr(first) == repr(second)
    assert_same(first.predict_proba(X), second.predict_proba(X))
    assert_same(first.predict(X), second.predict(X))
    assert_same(first.transform(X), second.transform(X))
    target = first.classes_[0]
    assert_same(first.heatmap(X, target), second.heatmap(X, target))


class TestRoundTrip:
    LABELS = (
        [3, 5, 8],
        np.uint8([3, 5, 8]),
        ["é", "b", "😀"],
        np.array(["a", "bc", "d"], dtype=object),
        [1.0, 2.0, 4.0],
        [-(2**40), 0, 2**40],
        np.array(["2020-01-01", "2021-05-05", "2022-02-02"], "M8[D]"),
    )

    @pytest.mark.parametrize("labels", LABELS, ids=lambda labels: str(labels[0]))
    def test_labels_of_every_kind(self, fit, path, images, labels):
        labels = np.asarray(labels)
        model = fit(labels[np.repeat([0, 1, 2], 10)])
        save(model, path)
        assert_equal_estimators(load(path), model, images[0])

    def test_booleans(self, fit, path, images):
        model = fit(images[1] > 4, background=np.bool_(False))
        save(model, path)
        assert_equal_estimators(load(path), model, images[0])

    @pytest.mark.parametrize(
        "params",
        [
            {"layer": ["features.relu1", "features.relu2"]},
            {"layer": ("features.relu1", "features.relu2"), "temperature": 0.01},
            {"class_weight": {3: 1.0, 5: 2, 8: np.float32(0.1)}},
            {"class_weight": "balanced", "class_heatmap": "softmax"},
            {"background": 3, "normalize": None, "resolution": "dense"},
            {"lr": np.float32(1e-3), "max_epochs": np.int64(2), "verbose": False},
            {
                "net_params": {
                    "optimizer__betas": (0.8, 0.9),
                    "iterator_train__shuffle": 0,
                }
            },
            {"image_shape": [6, 6], "ablation": "mean", "importance": "error"},
            {"device": torch.device("cpu"), "random_state": None},
            {"module": LeNet, "classes": [3, 5, 8, 9]},
            {"classes": np.array([3, 5, 8, 9]), "threshold": 0},
        ],
        ids=lambda params: "-".join(params),
    )
    def test_parameters_of_every_kind(self, fit, path, images, params):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fit(**params)
        save(model, path)
        loaded = load(path)
        assert_equal_estimators(loaded, model, images[0])
        assert_same(loaded.get_params(), model.get_params())
        assert loaded.net_.history.to_list() == model.net_.history.to_list()

    def test_a_random_state_continues_where_it_was(self, fit, path):
        random_state = np.random.RandomState(4)
        random_state.normal()
        model = fit(random_state=random_state)
        save(model, path)
        loaded = load(path).random_state
        assert_same(loaded, random_state)
        assert loaded.normal() == random_state.normal()

    def test_rows_with_names_in_colour_and_tables_as_output(self, path, images):
        pytest.importorskip("pandas")
        rows = np.repeat(images[0].reshape(30, 36), 3, axis=1).astype(float)
        X = pd.DataFrame(rows, columns=[f"pixel {i}" for i in range(108)])
        model = SimilarNetClassifier(
            image_shape=(6, 6, 3), max_epochs=1, random_state=0
        )
        model.fit(X, images[1]).set_output(transform="pandas")
        save(model, path)
        loaded = load(path)
        pd.testing.assert_frame_equal(loaded.transform(X), model.transform(X))
        assert_same(loaded.feature_names_in_, model.feature_names_in_)
        assert_same(loaded.get_feature_names_out(), model.get_feature_names_out())

    def test_without_importances(self, fit, path, images):
        model = fit(validation_fraction=None)
        save(model, path)
        loaded = load(path)
        assert_same(loaded.predict_proba(images[0]), model.predict_proba(images[0]))
        with pytest.raises(NotFittedError, match="has no filter importances yet"):
            loaded.transform(images[0])
        assert_equal_estimators(
            loaded.fit_importance(*images), model.fit_importance(*images), images[0]
        )

    def test_a_loaded_estimator_is_fitted_again_like_the_first(self, fit, path, images):
        model = fit()
        save(model, path)
        loaded = load(path).fit(*images)
        assert_same(loaded.predict_proba(images[0]), model.predict_proba(images[0]))
        assert_same(loaded.transform(images[0]), model.transform(images[0]))

    def test_parameters_that_were_set_after_the_fit(self, fit, path, images):
        model = fit().set_params(threshold=0.5, lr=0.5, net_params={"x": [1]})
        save(model, path)
        assert_equal_estimators(load(path), model, images[0])

    def test_saving_a_loaded_estimator_gives_the_same_file(self, content, path):
        save(load(path), path)
        assert path.read_bytes() == content

    def test_saving_leaves_the_estimator_unchanged(self, fit, path):
        model = fit()
        before = pickle.dumps(model)
        save(model, path)
        assert pickle.dumps(model) == before


class TestLocalizer:
    def assert_same_instances(self, first, second, scenes):
        found = first.localize(scenes)
        assert len(found) > 0
        pd.testing.assert_frame_equal(found, second.localize(scenes), check_exact=True)
        assert_same(first.crop_specification_, second.crop_specification_)
        assert_same(first, second)

    def test_comes_back_exactly(self, localizer, path, scenes):
        save(localizer, path)
        loaded = load(path)
        self.assert_same_instances(loaded, localizer, scenes)
        assert loaded.estimator is not loaded.estimator_
        assert repr(loaded) == repr(localizer)

    def test_without_an_estimator(self, localizer, path, scenes):
        fitted = copy.copy(localizer)
        fitted.estimator = None
        save(fitted, path)
        loaded = load(path)
        assert loaded.estimator is None
        self.assert_same_instances(loaded, fitted, scenes)

    def test_frozen_holds_one_network(self, fitted, digits, path, scenes):
        localizer = InstanceLocalizer(
            FrozenEstimator(fitted), score_threshold=0.3, scales=[0.5, 1]
        ).fit(digits.X, digits.y)
        save(fitted, path)
        size = path.stat().st_size
        save(localizer, path)
        assert path.stat().st_size < 1.1 * size
        loaded = load(path)
        assert loaded.estimator is loaded.estimator_
        self.assert_same_instances(loaded, localizer, scenes)

    def test_a_localizer_that_was_saved_without_fills_frame(
        self, localizer, path, monkeypatch
    ):
        def pack(state):
            specification = asdict(state["crop_specification_"])
            del specification["fills_frame"]
            return state | {"crop_specification_": specification}

        monkeypatch.setattr("sklearn_similar._localizer.pack_specification", pack)
        save(localizer, path)
        call_format_1(path)
        assert_same(load(path).crop_specification_, localizer.crop_specification_)

    @pytest.mark.parametrize("value", [1, None, "yes"])
    def test_a_damaged_specification_is_refused(self, localizer, path, value):
        damaged = copy.copy(localizer)
        damaged.crop_specification_ = replace(
            localizer.crop_specification_, fills_frame=value
        )
        save(damaged, path)
        with pytest.raises(
            ValueError, match="crop_specification_ is missing or damaged"
        ):
            load(path)

    @pytest.mark.parametrize(
        "calibration",
        [
            *((0.0, 0.0, 1.0), (1.0, -0.1, 0.0)),
            *((1.0, 0.0), (1.0, 0.0, math.inf), None),
        ],
    )
    def test_a_damaged_calibration_is_refused(self, localizer, path, calibration):
        damaged = copy.copy(localizer)
        damaged.score_calibration_ = calibration
        save(damaged, path)
        with pytest.raises(
            ValueError, match="score_calibration_ is missing or damaged"
        ):
            load(path)

    def test_box_regression_is_saved(self, localizer, path):
        learnt = copy.copy(localizer)
        learnt.box_regression_ = box_weights(in_channels=1)
        save(learnt, path)
        assert_same(load(path).box_regression_, learnt.box_regression_)

    @pytest.mark.parametrize(
        "change",
        [
            {"0.weight": np.zeros((12, 3, 5, 5), np.float32)},
            {"0.weight": np.zeros((12, 1, 5, 5))},
            {"14.bias": np.full(4, np.nan, np.float32)},
            {"another": np.zeros(4, np.float32)},
            {"14.bias": [0.0, 0.0, 0.0, 0.0]},
        ],
    )
    def test_a_damaged_box_regression_is_refused(self, localizer, path, change):
        damaged = copy.copy(localizer)
        damaged.box_regression_ = box_weights(in_channels=1) | change
        save(damaged, path)
        with pytest.raises(ValueError, match="box_regression_ is missing or damaged"):
            load(path)

    def test_a_localizer_that_was_saved_without_box_regression(
        self, localizer, path, digits, scenes
    ):
        earlier = copy.copy(localizer)
        earlier.box_regression_ = None
        expected = earlier.localize(scenes)
        del earlier.box_regression_
        save(earlier, path)
        call_format_1(path)
        assert_frame_equal(load(path).localize(scenes), expected)
        assert_frame_equal(
            pickle.loads(pickle.dumps(earlier)).localize(scenes), expected
        )

    def test_whether_background_images_were_learnt_is_saved(self, localizer, path):
        learnt = copy.copy(localizer)
        for has_background in (True, False):
            learnt._has_background_images = has_background
            save(learnt, path)
            assert load(path)._has_background_images is has_background
        learnt._has_background_images = 1
        save(learnt, path)
        with pytest.raises(ValueError, match="_has_background_images is missing or"):
            load(path)
        del learnt._has_background_images
        save(learnt, path)
        call_format_1(path)
        assert not load(path)._is_background_unknown()

    def test_sizes_and_context_are_saved(self, localizer, path):
        params = {"min_size": 5.5, "max_size": 60, "fills_frame": False}
        save(copy.copy(localizer).set_params(**params), path)
        saved = load(path).get_params()
        assert {name: saved[name] for name in params} == params

    def test_other_estimators_inside_are_refused(self, images, path):
        X, y = images
        other = LogisticRegression().fit(X.reshape(30, 36), y)
        localizer = InstanceLocalizer(FrozenEstimator(other)).fit(X.reshape(30, 36), y)
        with pytest.raises(
            TypeError, match="not with a LogisticRegression; use pickle"
        ):
            save(localizer, path)
        assert not path.exists()

    def test_module_is_passed_once(self, localizer, digits, path, scenes):
        with_module = copy.copy(localizer)
        model = SimilarNetClassifier(
            Scores, max_epochs=1, classes=localizer.estimator_.classes_
        )
        with_module.estimator = model
        with_module.estimator_ = clone(model).fit(digits.X, digits.y)
        save(with_module, path)
        loaded = load(path, Scores)
        assert_same(loaded, with_module)
        assert loaded.estimator.module is loaded.estimator_.module is Scores


class TestParametersThatAFileCannotHold:
    def test_module_class_is_passed(self, fit, path, images):
        model = fit(module=Scores, net_params={"module__width": 5})
        save(model, path)
        named = re.escape("module=saved_files.Scores; pass it: load(path, module=...)")
        with pytest.raises(ValueError, match=named):
            load(path)
        assert_equal_estimators(load(path, Scores), model, images[0])

    def test_module_instance_is_passed_and_copied(self, fit, path, images):
        module = Scores(3, 1)
        model = fit(module=module)
        save(model, path)
        with pytest.raises(ValueError, match=r"module=an instance of .*\.Scores; pass"):
            load(path)
        other = Scores(3, 1)
        before = copy.deepcopy(other.state_dict())
        loaded = load(path, other)
        assert_same(loaded.predict_proba(images[0]), model.predict_proba(images[0]))
        for name, value in before.items():
            torch.testing.assert_close(other.state_dict()[name], value)

    def test_module_can_be_a_function(self, fit, path):
        save(fit(module=lambda n_classes: Scores(n_classes, 1)), path)
        assert load(path, lambda n_classes: Scores(n_classes, 1)).n_filters_ == (4,)

    @pytest.mark.parametrize(
        ("module", "message"),
        [
            (
                LeNet,
                "not the one that was trained: '.*' has no value in it, and the sha",
            ),
            (
                lambda n_classes: Scores(n_classes, 1, 5),
                r"the shape \(5, 1, 3, 3\) in it",
            ),
            (Scores(4, 1), r"'fc.weight' has the shape \(4, 4\) in it, and .*\(3, 4\)"),
            (nn.ReLU(), "has no value in it"),
            (int, "cannot be built|not the one"),
            (3, "'module' parameter"),
        ],
    )
    def test_another_module_is_refused(self, fit, path, module, message):
        save(fit(module=Scores), path)
        with pytest.raises(ValueError, match=message):
            load(path, module)

    def test_the_same_weights_used_in_another_way_are_noticed(self, fit, path):
        save(fit(module=Scores), path)
        with pytest.warns(UserWarning, match="other scores than when it was saved"):
            load(path, OtherScores)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(path, Scores)

    def test_net_params_with_code_are_passed(self, fit, path, images):
        params = {"optimizer": torch.optim.SGD, "callbacks": [("timer", EpochTimer())]}
        model = fit(net_params=params)
        save(model, path)
        needed = "net_params=a dict with the keys callbacks, optimizer; pass it"
        with pytest.raises(ValueError, match=needed):
            load(path)
        with pytest.raises(
            ValueError, match="keys optimizer, but in the fit it was a "
        ):
            load(path, net_params={"optimizer": torch.optim.SGD})
        loaded = load(path, net_params=params)
        assert_same(loaded.transform(images[0]), model.transform(images[0]))
        assert loaded.net_params is params

    def test_networks_that_output_probabilities(self, fit, path, images):
        params = {"criterion": nn.NLLLoss}
        model = fit(module=Probabilities, net_params=params)
        save(model, path)
        with pytest.raises(ValueError, match="holds no code"):
            load(path, Probabilities)
        loaded = load(path, Probabilities, net_params=params)
        assert_same(loaded.predict_proba(images[0]), model.predict_proba(images[0]))

    def test_other_parameters_are_passed_by_name(self, fit, path, images, tmp_path):
        memory = joblib.Memory(tmp_path / "cache", verbose=0)
        model = fit(weighting=double, memory=memory)
        save(model, path)
        with pytest.raises(
            ValueError, match=r"load\(path, weighting=..., memory=...\)"
        ):
            load(path)
        loaded = load(path, weighting=double, memory=None)
        assert_same(loaded.transform(images[0]), model.transform(images[0]))
        assert loaded.weighting is double
        assert loaded.memory is None

    @pytest.mark.parametrize(
        "given", [{"threshold": 0.5}, {"module": Scores}, {"x": 1}]
    )
    def test_parameters_that_the_file_holds_are_not_passed(self, content, path, given):
        with pytest.raises(
            ValueError, match=f"given {next(iter(given))}, which .* lack"
        ):
            load(path, **given)

    def test_two_networks_with_one_name_are_refused(self, fit, path):
        model = fit(module=Scores).set_params(module=OtherScores)
        with pytest.raises(ValueError, match=r"\.Scores and, .*OtherScores.*fit again"):
            save(model, path)

    @pytest.mark.parametrize("params", [{"scales": ()}, {"min_size": 9, "max_size": 3}])
    def test_parameters_that_no_search_takes_are_refused(self, localizer, path, params):
        changed = copy.copy(localizer).set_params(**params)
        with pytest.raises(ValueError, match=r"scales is|larger than max_size"):
            save(changed, path)
        assert not path.exists()

    def test_attributes_of_other_types_are_named(self, fit, path):
        model = fit()
        model.note_ = {1, 2}
        with pytest.raises(ValueError, match=r"note_ holds a builtins\.set, wh"):
            save(model, path)
        assert not path.exists()


class TestRefusedBySave:
    def test_not_fitted(self, path):
        for estimator in (SimilarNetClassifier(), InstanceLocalizer()):
            with pytest.raises(NotFittedError):
                save(estimator, path)
        assert not path.exists()

    def test_other_estimators(self, fit, path):
        class Subclass(SimilarNetClassifier):
            pass

        for estimator in (make_pipeline(fit()), Subclass(), 3):
            with pytest.raises(
                TypeError, match="SimilarNetClassifier or an InstanceLoc"
            ):
                save(estimator, path)


class TestDevice:
    def test_a_missing_device_is_replaced_with_a_warning(self, fit, path, images):
        model = fit()
        expected = model.predict_proba(images[0])
        model.device = "cuda:77"
        model._net_spec = replace(model._net_spec, device="cuda:77")
        save(model, path)
        with pytest.warns(UserWarning, match="PyTorch sees . GPUs.*on the CPU now"):
            loaded = load(path)
        assert loaded.device == "cpu"
        assert_same(loaded.predict_proba(images[0]), expected)


class TestFilesOfEarlierFormats:
    """Files in `data`; `saved_files.py` writes those of the current format."""

    def test_of_the_first_classifiers(self, images):
        model = load(DATA / "format-1-first-classifier.safetensors", Scores)
        expected = [
            [0.21050222, 0.44589642, 0.34360144],
            [0.20987374, 0.44706324, 0.34306303],
            [0.20929542, 0.44635594, 0.34434864],
        ]
        np.testing.assert_allclose(
            model.predict_proba(images[0][::10]), expected, rtol=1e-4
        )
        assert model.transform(images[0]).shape == images[0].shape

    @pytest.mark.parametrize(
        ("name", "lacking"),
        [("first", "n_mining_rounds and no rotation"), ("second", "rotation")],
    )
    def test_of_the_first_localizers_is_refused_with_its_version(self, name, lacking):
        message = (
            f"early snapshot, whose localizers had no {lacking} (format 1 of "
            f"sklearn_similar '0.1.0', and this is {__version__}); load it with"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            load(DATA / f"format-1-{name}-localizer.safetensors", Scores)

    @pytest.mark.parametrize("number", range(2, FORMAT + 1))
    def test_of_counted_formats(self, images, number):
        model = load(DATA / f"format-{number}-classifier.safetensors", Scores)
        proba = model.predict_proba(images[0])
        localizer = load(DATA / f"format-{number}-localizer.safetensors", Scores)
        found = localizer.estimator_.predict_proba(images[0])
        np.testing.assert_array_equal(found, proba)
        assert model.heatmap(images[0][:2], target=5).shape == (2, 6, 6)
        assert len(localizer.localize([spot()])) > 0
        of_photographs = load(
            DATA / f"format-{number}-photographs.safetensors", backbone=tiny_backbone()
        )
        X, y = make_photographs(2)
        assert len(of_photographs.localize(X)) > 0
        assert set(of_photographs.classes_) == set(y["label"])

    def test_a_change_of_what_is_saved_has_a_format(self, tmp_path):
        """If this fails, raise `FORMAT`, and run `saved_files.py`."""
        write_files(tmp_path)
        names = [path.name for path in tmp_path.iterdir()]
        assert len(names) == 3
        for name in names:
            assert names_in(DATA / name) == names_in(tmp_path / name), name

    def test_classifier(self, images):
        model = load(DATA / "classifier.safetensors")
        assert_same(model.classes_, np.array(["a", "é", "😀"]))
        assert_same(model.class_weight, {"a": 1.0, "é": 2, "😀": np.float32(0.5)})
        assert_same(model.net_params, {"optimizer__betas": (0.8, 0.9)})
        assert_same(model.layer, ("features.relu1", "features.relu2"))
        assert isinstance(model.random_state, np.random.RandomState)
        expected = [
            [0.32874855, 0.4350338, 0.23621762],
            [0.32732362, 0.4379487, 0.23472767],
            [0.32733658, 0.4363259, 0.23633757],
        ]
        np.testing.assert_allclose(
            model.predict_proba(images[0][::10]), expected, rtol=1e-4
        )
        assert model.transform(images[0]).shape == images[0].shape

    def test_localizer(self):
        localizer = load(DATA / "localizer.safetensors")
        dates = np.array(["2020-01-01", "2021-05-05", "2022-02-02"], "M8[D]")
        assert_same(localizer.classes_, dates)
        assert localizer.estimator is localizer.estimator_
        (found,) = localizer.localize([spot()]).to_dict("records")
        assert found["label"] == dates[2]
        assert [found[name] for name in BOX_COLUMNS] == [9, 3, 20, 14]
        np.testing.assert_allclose(found["score"], 0.342922, rtol=1e-4)


class TestFormat:
    @pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None, [1], True, 1.0])
    def test_other_formats_are_refused_with_both_versions(self, content, path, version):
        header, data = split(content)
        metadata = metadata_of(header) | {"format": version, "version": "99.0"}
        path.write_bytes(seal(header, data, metadata))
        expected = f"'99.0', but {__version__} reads formats 1 to {FORMAT};"
        with pytest.raises(ValueError, match=expected):
            load(path)

    def test_file_names_the_version_that_wrote_it(self, content):
        metadata = metadata_of(split(content)[0])
        assert (metadata["format"], metadata["version"]) == (FORMAT, __version__)

    def test_sealed_files_are_those_of_save(self, content, path):
        expected = load(path)
        path.write_bytes(seal(*split(content)))
        assert_same(load(path), expected)

    def test_no_file(self, path):
        with pytest.raises(FileNotFoundError):
            load(path)

    @pytest.mark.parametrize("metadata", [None, [], {}, "x", {"format": 1}])
    def test_other_archives_are_refused(self, path, content, metadata):
        header, data = split(content)
        path.write_bytes(seal(header, data, metadata or {"x": 1}))
        with pytest.raises(ValueError, match="cannot be loaded"):
            load(path)


class TestHostileFiles:
    """`tests/stress` has thousands more."""

    def refusal(self, path, content, change):
        header, data = split(content)
        metadata = metadata_of(header)
        change(metadata)
        path.write_bytes(seal(header, data, metadata))
        with (
            code_that_runs() as events,
            Peak() as peak,
            pytest.raises(
                ValueError, match=r"cannot be loaded: |network is not the on"
            ) as e,
        ):
            load(path)
        assert not events
        assert peak.bytes < 2**24
        assert len(str(e.value)) < 500
        return str(e.value)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state, net: state.update(classes_=["a"] * 3), "classes_"),
            (lambda state, net: state.update(predict_proba="x"), "attributes"),
            (lambda state, net: state.update(__class__="x"), "attributes"),
            (lambda state, net: state.pop("lr"), "parameters"),
            (lambda state, net: state.update(lr="x"), "'lr' parameter"),
            (lambda state, net: state.update(layer_="nothing"), "nothing"),
            (lambda state, net: state.pop("filter_errors_"), "filter_errors_"),
            (lambda state, net: state.update(_dtype="O"), "_dtype"),
            (lambda state, net: state.update(_dtype="float7"), "_dtype"),
            (lambda state, net: state.update(_dtype="int7"), "_dtype"),
            (lambda state, net: state.update(classes_=objects(3, 5, 5)), "classes_"),
            (lambda state, net: state.update(classes_=objects([], 5, 8)), "classes_"),
            (lambda state, net: state.update(classes_=objects("a", 5, 8)), "classes_"),
            (
                lambda state, net: state.update(feature_names_in_=objects(*[1] * 36)),
                "feature_names_in_",
            ),
            (
                lambda state, net: state.update(feature_names_in_=objects(*"x" * 36)),
                "feature_names_in_",
            ),
            (
                lambda state, net: state["_net_arrays"].update(
                    {"classifier.fc3.bias": objects(1.0, 2.0, 3.0)}
                ),
                "_net_arrays",
            ),
            (lambda state, net: state.update(outline_layer_="nothing"), ""),
            (lambda state, net: state.update(outline_layer_=""), ""),
            (
                lambda state, net: state.update(outline_layer_="classifier"),
                "'classifier'",
            ),
            (
                lambda state, net: net.update(net_params={"callbacks": ["x"]}),
                "net_params",
            ),
            (
                lambda state, net: state.update(net_params={"callbacks": ["x"]}),
                "net_params",
            ),
            (
                lambda state, net: state.update(normalization_constant_=0.0),
                "normalization_constant_",
            ),
            (lambda state, net: state.update(_net_history=[1]), "_net_history"),
            (lambda state, net: state.update(baseline_error_=None), "baseline_error_"),
            (lambda state, net: net.update(module={"network": "os.system"}), "network"),
            (lambda state, net: net.update(module="os.system"), "'module' parameter"),
            (lambda state, net: net.update(seed=-1), "_net_spec"),
            (lambda state, net: net.update(seed="x"), "_net_spec"),
            (lambda state, net: net.update(n_classes=10**9), "_net_spec"),
            (lambda state, net: net.pop("seed"), "network"),
            (
                lambda state, net: net.update(
                    net_params={"module__in_channels": 10**9}
                ),
                "not the one that was trained",
            ),
        ],
    )
    def test_of_wrong_attributes(self, content, path, change, message):
        found = self.refusal(
            path,
            content,
            lambda metadata: change(
                metadata["estimator"]["state"], metadata["estimator"]["net"]
            ),
        )
        assert message in found

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda record: record.update({"class": "os.system"}), "its class"),
            (lambda record: record.pop("state"), "its state"),
            (lambda record: record.pop("estimator"), "parameters"),
            (lambda record: record["estimator"].pop("estimator"), "its record"),
            (lambda record: record.update(estimator=None), "estimator_"),
            (lambda record: record.update(estimator_=record["state"]), "its class"),
            (lambda record: record.update(estimator_={**record}), "estimator is"),
            (lambda record: record["state"].update(estimator_=1), "estimator_"),
            (lambda record: record["state"].update(_layout=[1]), "_layout"),
            (lambda record: record["state"].update(scales=["x"]), "scales is ['x']"),
            (lambda record: record["state"].update(scales=[]), "scales is []"),
            (lambda record: record["state"].update(scales=[-1.0]), "scales is [-1"),
            (lambda record: record["state"].update(min_size=9, max_size=3), "larger"),
            (lambda record: record["state"].update(proposals="windows"), "'windows' n"),
            (lambda record: record["state"].update(background_="x"), "background_"),
            (lambda record: record["state"].pop("_columns"), "_columns"),
            (lambda record: record["state"].update(classes_=None), "classes_"),
            (lambda record: record["state"].update(n_features_in_=7), "n_features_in_"),
        ],
    )
    def test_of_localizers(self, path, change, message):
        content = (DATA / "localizer.safetensors").read_bytes()
        refusal = self.refusal(path, content, lambda m: change(m["estimator"]))
        assert message in refusal

    @pytest.mark.parametrize("n_jobs", [10**6, -1, 1])
    def test_processes_are_not_asked_for(self, path, n_jobs):
        header, data = split((DATA / "localizer.safetensors").read_bytes())
        metadata = metadata_of(header)
        metadata["estimator"]["state"]["n_jobs"] = n_jobs
        path.write_bytes(seal(header, data, metadata))
        assert load(path).n_jobs is None

    def test_a_network_of_a_localizer_is_ignored(self, path):
        header, data = split((DATA / "localizer.safetensors").read_bytes())
        metadata = metadata_of(header)
        metadata["estimator"]["net"] = metadata["estimator"]["probe"] = 1
        path.write_bytes(seal(header, data, metadata))
        assert len(load(path).classes_) == 3

    def test_of_images_larger_than_the_file(self, content, path):
        def enlarge(metadata):
            shape = {"__type__": "tuple", "items": [10**6, 10**6]}
            metadata["estimator"]["state"]["image_shape_"] = shape
            metadata["estimator"]["state"]["n_features_in_"] = 10**12
            metadata["estimator"]["net"]["image_shape"] = shape

        assert "probe" in self.refusal(path, content, enlarge)

    def test_of_deep_nesting(self, content, path):
        def nest(metadata):
            deep = []
            for _ in range(450):
                deep = [deep]
            metadata["estimator"]["state"]["classes"] = deep

        header, data = split(content)
        metadata = metadata_of(header)
        nest(metadata)
        text = seal(header, data, metadata)
        # Deeper than json.dumps would write it.
        old, new = b"[" * 450, b"[" * 50_000
        changed = text.replace(old, new).replace(b"]" * 450, b"]" * 50_000)
        header_size = int.from_bytes(text[:8], "little") + len(changed) - len(text)
        path.write_bytes(header_size.to_bytes(8, "little") + changed[8:])
        with pytest.raises(ValueError, match=r"cannot be (read|loaded)"):
            load(path)

    def test_from_seeds(self, content, path, images):
        outcomes = set()
        for seed in range(150):
            path.write_bytes(forged(content, seed)[0])
            with warnings.catch_warnings(), code_that_runs() as events:
                warnings.simplefilter("ignore")
                try:
                    load(path).predict_proba(images[0])
                    outcomes.add("loaded")
                except ValueError:
                    outcomes.add("refused")
            assert not events
        assert outcomes == {"loaded", "refused"}


class TestPickles:
    """Pickles contain code, and are as exact."""

    @pytest.mark.parametrize("name", ["pickle", "cloudpickle"])
    def test_pickle_and_cloudpickle(self, fit, images, localizer, name):
        tool = pytest.importorskip(name)
        model = fit(module=Scores)
        assert_same(
            pickle.loads(tool.dumps(model)).transform(images[0]),
            model.transform(images[0]),
        )
        loaded = pickle.loads(tool.dumps(localizer))
        assert_same(loaded.crop_specification_, localizer.crop_specification_)
        assert_same(loaded, localizer)

    def test_joblib(self, localizer):
        stream = io.BytesIO()
        joblib.dump(localizer, stream)
        stream.seek(0)
        assert_same(joblib.load(stream), localizer)

    def test_skops_has_the_types_of_the_estimators_alone_to_trust(
        self, fit, localizer, images
    ):
        skops = pytest.importorskip("skops.io")
        names = ["SimilarNetClassifier", "InstanceLocalizer"]
        for estimator, expected in ((fit(), names[:1]), (localizer, names)):
            content = skops.dumps(estimator)
            types = skops.get_untrusted_types(data=content)
            assert sorted(t.split(".")[-1] for t in types) == sorted(expected)
            assert_same(skops.loads(content, trusted=types), estimator)


def test_signature_is_what_the_guide_shows():
    assert list(inspect.signature(load).parameters) == ["path", "module", "parameters"]


def test_paths_of_all_kinds(fit, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = fit()
    for name in ("model", os.path.join(".", "model"), path, str(path)):
        save(model, name)
        assert_same(load(name), model)
