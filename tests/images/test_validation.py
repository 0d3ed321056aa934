"""Bad input: one sentence that says what was found, and nothing is changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from torch import nn

RNG = np.random.default_rng(0)
FLOATS = RNG.random((6, 28, 28))
ROWS = FLOATS.reshape(6, 784)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def with_value(value, at=(3, 5, 5)):
    X = FLOATS.copy()
    X[at] = value
    return X


def of_objects(images):
    X = np.empty(len(images), dtype=object)
    X[:] = list(images)
    return X


# Images that every method refuses, and its message.
BAD_X = {
    "NaN": (with_value(np.nan), "Image 3 of X contains NaN; pass finite numbers"),
    "infinity": (with_value(np.inf), "Image 3 of X contains inf; pass finite"),
    "too large": (with_value(1e300), r"Image 3 of X contains 1e\+300; pass finite"),
    "NaN in rows": (with_value(np.nan).reshape(6, -1), "Row 3 of X contains NaN"),
    "NaN in a table": (
        pd.DataFrame(with_value(np.nan).reshape(6, -1)),
        "Row 3 of X contains NaN",
    ),
    "NaN in a list": (list(with_value(np.nan)), "Image 3 of X contains NaN"),
    "no images": (FLOATS[:0], r"X has shape \(0, 28, 28\) and so no images; pass at"),
    "empty images": (FLOATS[:, :, :0], r"Each image of X has shape \(28, 0\); pass"),
    "empty list": ([], "X is empty; pass at least one image"),
    "empty image": (
        [FLOATS[0], FLOATS[0, :0]],
        r"Image 1 of X has shape \(0, 28\); pass \(height, width\)",
    ),
    "a row among images": (
        [FLOATS[0], ROWS[1]],
        r"Image 1 of X has shape \(784,\); pass \(height, width\)",
    ),
    "complex": (
        FLOATS + 1j,
        "Complex data not supported: Each image of X has dtype co",
    ),
    "complex rows": (ROWS + 1j, "Complex data not supported: X has dtype complex128"),
    "complex list": (list(FLOATS + 1j), "Complex data not supported: Image 0 of X"),
    "objects": (
        FLOATS.astype(object),
        "Each image of X has dtype object; pass numbers",
    ),
    "array of images": (
        of_objects(FLOATS),
        r"X is an array of objects; pass list\(X\)",
    ),
    "strings": (np.full((6, 4), "a"), "X has dtype <U1; pass numbers"),
    "images of strings": (np.full((6, 5, 5), "a"), "of X has dtype <U1; pass numbers"),
    "dates": (
        FLOATS.astype("M8[s]"),
        r"Each image of X has dtype datetime64\[s\]; pass",
    ),
    "a path": ("a.png", r"'a.png'; if .* file paths, .*\[PIL.Image.open\(path\) for"),
    "a path in an array": (np.array("a.png"), r"X holds text, 'a.png'; if these are"),
    "a pathlib path": (Path("a.png"), "X holds text, 'a.png'; if these are file path"),
    "paths": (["a.png", "b.png"], "X holds text, 'a.png'; if these are file paths, p"),
    "paths in a series": (pd.Series(["a.png"] * 6), "X holds text, 'a.png'; if these"),
    "paths in a table": (
        pd.DataFrame({"file": [Path("a.png")] * 6}),
        "X holds text, 'a.png'; if these are file paths",
    ),
    "nothing": (None, "X is of type NoneType; pass rows"),
    "a generator": ((image for image in FLOATS), "X is of type generator; pass rows"),
    "one dimension": (ROWS[0], r"Reshape your data of shape \(784,\) with X.reshape"),
    "five dimensions": (FLOATS[:, None, None], "X has 5 dimensions; pass grey images"),
    "uneven rows": ([[1, 2], [3]], "X is a list of sequences of several lengths; pass"),
    "structured": (
        np.zeros(6, dtype=[("a", float), ("b", float)]),
        "X has dtype .*'a'.*; pass numbers",
    ),
}


@pytest.fixture
def state_of():
    """Return a copy of all that an estimator holds, weights and parameters included."""

    def get(estimator):
        state = estimator.__getstate__() | {"params": repr(estimator.get_params())}
        arrays = state.pop("_net_arrays", {})
        unpacked = {name: vars(estimator).get(name) for name in ("net_", "_net_spec")}
        return {**state, **arrays, **unpacked}

    def copied(estimator):
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in get(estimator).items()
        }

    return copied


@pytest.fixture
def assert_refuses(state_of):
    """Assert that a call raises one sentence and changes nothing."""

    def check(estimator, method, *args, match, error=ValueError):
        before = state_of(estimator)
        with pytest.raises(error, match=match) as raised:
            getattr(estimator, method)(*args)
        sentence = str(raised.value)
        assert len(sentence) < 400
        assert "\n" not in sentence
        after = state_of(estimator)
        assert before.keys() == after.keys()
        for name, value in before.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(after[name], value, err_msg=name)
            elif name in ("net_", "_net_spec"):
                assert after[name] is value, name
            else:
                assert after[name] == value, name

    return check


@pytest.mark.parametrize("name", BAD_X)
@pytest.mark.parametrize("method", ["fit", "transform", "predict", "fit_importance"])
def test_bad_images_are_refused_by_every_method(fitted, assert_refuses, name, method):
    X, message = BAD_X[name]
    y = (LABELS,) if method.startswith("fit") else ()
    if name in (
        "a path",
        "a path in an array",
        "a pathlib path",
        "nothing",
        "a generator",
        "empty list",
        "no images",
    ):
        y = y and ([],)
    elif y and isinstance(X, list):
        y = (LABELS[: len(X)],)
    elif name == "one dimension" and y:
        y = (np.arange(784) % 2,)
    assert_refuses(fitted, method, X, *y, match=message)


@pytest.mark.parametrize("method", ["fit", "predict", "transform"])
def test_sparse_rows_are_refused(fitted, assert_refuses, method):
    y = (LABELS,) if method == "fit" else ()
    X = sparse.csr_matrix(ROWS)
    assert_refuses(
        fitted, method, X, *y, match="Sparse data .* dense data", error=TypeError
    )


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            LABELS[:-1],
            "X holds 6 images, but y holds 5 labels; pass one label for each",
        ),
        (
            np.zeros(6),
            "y holds one class, 0.0; a classifier needs images of at least 2",
        ),
        (["a"] * 6, "y holds one class, 'a'"),
        (np.linspace(0, 1, 6), "Unknown label type: continuous"),
        (
            np.zeros(6, dtype=[("label", int), ("x", int)]),
            "y has the fields label, x; p",
        ),
        (LABELS + 1j, "y holds complex numbers; pass labels"),
        (["a", 1, "b", 2, "a", 1], None),
        (
            np.array(["a", 1, "b", 2, "a", 1], dtype=object),
            "of the types int, str; make",
        ),
        (
            np.array(["a", None, *"abab"], dtype=object),
            "y holds None for image 1, which is not a label; leave such images out",
        ),
        (np.where(LABELS == 1, np.nan, LABELS), "y holds nan for image 1, which is no"),
        # NumPy makes the label "nan" of it.
        (["a", "b", np.nan, "a", "b", "a"], "y holds nan for image 2, which is no"),
        (pd.Series(["a", "b", pd.NA] * 2, dtype="string"), "y holds <NA> for image 2"),
        (pd.to_datetime(["2020-01-01", "2021-01-01", None] * 2), "y holds NaT for im"),
        (np.eye(3)[LABELS], r"y should be a 1d array, got an array of shape \(6, 3\)"),
        (3, "y should be a 1d array"),
        (None, "requires y to be passed, but the target y is None"),
    ],
)
def test_bad_labels_are_refused_by_fit(quick, fitted, assert_refuses, y, message):
    if message is None:
        # NumPy makes strings of a list that mixes strings and numbers.
        assert quick().fit(FLOATS, y).classes_.tolist() == ["1", "2", "a", "b"]
        return
    assert_refuses(fitted, "fit", FLOATS, y, match=message)
    assert_refuses(quick(), "fit", FLOATS, y, match=message)


def test_one_image_is_refused_by_fit(fitted, assert_refuses):
    assert_refuses(fitted, "fit", FLOATS[:1], [0], match=r"1 sample.* minimum of 2")


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        (
            {"image_shape": (27, 28)},
            ROWS,
            "image_shape 27x28 has 756 values, but the r",
        ),
        (
            {"image_shape": (14, 56)},
            FLOATS,
            "image_shape is 14x56, but the images in X",
        ),
        ({"image_shape": (784,)}, ROWS, r"image_shape is \(784,\); pass \(height, wid"),
        ({"image_shape": 28}, ROWS, "The 'image_shape' parameter"),
        (
            {"layer": "features.conv3"},
            FLOATS,
            "is not in the network; did you mean 'fe",
        ),
        ({"layer": "classifier.fc1"}, FLOATS, "name a convolutional layer"),
        (
            {"threshold": 1.5},
            FLOATS,
            r"'threshold' .* in the range \[0.0, 1.0\]. Got 1",
        ),
        ({"threshold": "a"}, FLOATS, "The 'threshold' parameter .* Got 'a' instead"),
        ({"lr": 0}, FLOATS, "The 'lr' parameter"),
        (
            {"lr": 1e30},
            FLOATS,
            r"Training diverged: scores are not finite with lr=1e",
        ),
        ({"validation_fraction": 1.0}, FLOATS, "The 'validation_fraction' parameter"),
        ({"temperature": 0}, FLOATS, "The 'temperature' parameter"),
        ({"module": "LeNet"}, FLOATS, "The 'module' parameter"),
        ({"random_state": "a"}, FLOATS, "The 'random_state' parameter"),
        ({"class_weight": {7: 1}}, FLOATS, "are not in class_weight"),
        (
            {"device": "cuda:77"},
            FLOATS,
            "'cuda:77', but PyTorch sees . GPUs; pass devic",
        ),
        ({"device": "gpu"}, FLOATS, "'gpu', which PyTorch does not know; pass 'cpu'"),
    ],
)
def test_bad_parameters_are_refused_by_fit(
    fitted, digits, assert_refuses, params, X, message
):
    estimator = clone(fitted).set_params(max_epochs=1)
    assert_refuses(estimator.set_params(**params), "fit", X, LABELS, match=message)
    # Nor does a failing fit take away what an earlier one has learned.
    estimator = clone(fitted).set_params(max_epochs=1).fit(digits.X, digits.y)
    assert_refuses(estimator.set_params(**params), "fit", X, LABELS, match=message)


@pytest.mark.parametrize("method", ["transform", "heatmap"])
def test_threshold_set_after_fit_is_checked(quick, digits, assert_refuses, method):
    estimator = quick().fit(digits.X, digits.y).set_params(threshold=2)
    assert_refuses(estimator, method, FLOATS, match="'threshold' parameter .* Got 2")


class TestSizes:
    def test_predict_and_fit_importance_name_both_sizes(self, fitted, assert_refuses):
        for method, *y in (["predict"], ["fit_importance", LABELS]):
            assert_refuses(
                fitted,
                method,
                FLOATS[:, :14],
                *y,
                match=f"Image 0 of X is 14x28, but {method} wants the trained size 28x",
            )

    def test_the_image_of_another_size_is_named(self, fitted, assert_refuses):
        X = [*FLOATS[:4], FLOATS[4, :20]]
        assert_refuses(
            fitted,
            "predict",
            X,
            match=r"Image 4 of X is 20x28, but predict .* InstanceLocalizer",
        )

    def test_fit_wants_one_size_and_type(self, fitted, assert_refuses):
        X = [*FLOATS[:5], FLOATS[5, :20]]
        message = "images of one size, but image 0 of X has 28x28 and image 5 20x28"
        assert_refuses(fitted, "fit", X, LABELS, match=message)
        X = [*FLOATS[:5], FLOATS[5].astype(np.uint8)]
        message = "images of one type, but image 0 of X has float64 and image 5 uint8"
        assert_refuses(fitted, "fit", X, LABELS, match=message)

    @pytest.mark.parametrize("method", ["predict", "transform"])
    def test_rows_of_another_length_are_refused(self, fitted, assert_refuses, method):
        message = "X has 196 features, but SimilarNetClassifier is expecting 784"
        assert_refuses(fitted, method, ROWS[:, :196], match=message)

    @pytest.mark.parametrize("method", ["predict", "transform", "heatmap"])
    def test_one_image_alone_is_told_from_rows(self, fitted, assert_refuses, method):
        message = r"X has 28 features, but .* 784 .*; if X is one image, pass \[X\]"
        for image in (FLOATS[0], FLOATS[0].tolist(), list(FLOATS[0])):
            assert_refuses(fitted, method, image, match=message)

    @pytest.mark.parametrize("n_channels", [3, 4])
    def test_one_colour_image_is_told_from_grey_ones(
        self, fitted, assert_refuses, n_channels
    ):
        X = np.zeros((60, 80, n_channels))
        message = r"pass \[X\] for one colour image, or X\[..., np.newaxis\]"
        assert_refuses(fitted, "transform", X, match=message)
        assert fitted.transform(X[..., np.newaxis]).shape == X.shape

    def test_a_network_that_needs_larger_images_says_so(self, quick, assert_refuses):
        module = nn.Sequential(nn.Conv2d(1, 4, 40), nn.Flatten(), nn.LazyLinear(3))
        message = "cannot take images of 1 channel and 28x28 pixels; change module or"
        assert_refuses(quick(module=module), "fit", FLOATS, LABELS, match=message)

    def test_too_small_images_are_refused_by_transform(self, quick, assert_refuses):
        module = nn.Sequential(
            *(
                nn.Conv2d(1, 4, 5),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4, 3),
            )
        )
        estimator = quick(module=module, resolution="pooled").fit(FLOATS, LABELS)
        message = "cannot take images of 2x2 pixels"
        assert_refuses(estimator, "transform", FLOATS[:, :2, :2], match=message)


class TestChannels:
    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_channels_first_are_recognised(self, fitted, assert_refuses, n_channels):
        X = np.zeros((6, n_channels, 28, 28))
        first = (
            f"The images in X have shape {n_channels}x28x28, which looks like channel"
        )
        later = f"Each image of X has shape {n_channels}x28x28 .* move them to the end"
        assert_refuses(fitted, "fit", X, LABELS, match=first)
        for method in ("predict", "transform", "heatmap"):
            assert_refuses(fitted, method, X, match=later)

    @pytest.mark.parametrize("n_channels", [2, 4])
    def test_other_channels_are_refused(self, fitted, assert_refuses, n_channels):
        X = np.full((6, 28, 28, n_channels), 0.5)
        for method in ("predict", "transform"):
            message = (
                f"and so {n_channels} channels, but the network was trained with 1;"
            )
            assert_refuses(fitted, method, X, match=message)

    def test_a_colour_network_takes_grey_images_as_equal_channels(self, quick):
        in_colour = np.stack([FLOATS] * 3, axis=3)
        estimator = quick().fit(in_colour, LABELS)
        for method in ("predict_proba", "transform"):
            expected = getattr(estimator, method)(in_colour)
            np.testing.assert_array_equal(getattr(estimator, method)(FLOATS), expected)

    def test_an_alpha_channel_is_laid_on_a_background(self, fitted):
        alpha = np.ones_like(FLOATS)
        alpha[:, :3] = 0
        hidden = np.where(alpha, FLOATS, 0.5)
        expected = fitted.predict_proba(FLOATS * alpha)
        for X in (
            np.stack([hidden] * 3 + [alpha], axis=3),
            np.stack([hidden, alpha], axis=3),
        ):
            np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-4)
            np.testing.assert_allclose(
                fitted.predict_proba(list(X)), expected, atol=1e-4
            )


class TestOrder:
    @pytest.mark.parametrize(
        ("method", "args"),
        [
            ("predict", (FLOATS,)),
            ("predict_proba", (FLOATS,)),
            ("transform", (FLOATS,)),
            ("heatmap", (FLOATS,)),
            ("get_feature_names_out", ()),
            ("fit_importance", (FLOATS, LABELS)),
        ],
    )
    def test_fit_comes_first(self, quick, assert_refuses, method, args):
        assert_refuses(
            quick(),
            method,
            *args,
            match="not fitted yet. Call 'fit'",
            error=NotFittedError,
        )

    @pytest.mark.parametrize("method", ["transform", "heatmap"])
    def test_importances_come_before_heatmaps(
        self, quick, digits, assert_refuses, method
    ):
        estimator = quick(validation_fraction=None).fit(digits.X, digits.y)
        assert estimator.predict(digits.X).shape == digits.y.shape
        assert_refuses(
            *(estimator, method, digits.X),
            match="no filter importances yet; .* fit_importance",
            error=NotFittedError,
        )
        estimator.fit_importance(digits.X, digits.y)
        assert getattr(estimator, method)(digits.X).shape == digits.X.shape

    def test_refitting_without_validation_forgets_importances(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        estimator.set_params(validation_fraction=None).fit(digits.X, digits.y)
        assert not hasattr(estimator, "filter_importances_")
        with pytest.raises(NotFittedError, match="fit_importance"):
            estimator.transform(digits.X)


class TestFitImportance:
    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (
                [0, 1, 2, 11, 12, 11],
                "labels that fit was not given: 11, 12; leave",
            ),
            (
                list("012345"),
                "was not given: '0', '1', '2', '3', '4', '5'; convert str to int",
            ),
            ([0, 1, np.nan, 2, 0, 1], "y_val holds nan for image 2, which is not a"),
            (LABELS[:-1], "X holds 6 images, but y_val holds 5 labels"),
            (np.zeros(6, dtype=[("label", int)]), "y_val has the fields label"),
            (np.eye(3)[LABELS], "y should be a 1d array"),
            (None, "y should be a 1d array"),
        ],
    )
    def test_bad_labels_are_refused(self, fitted, assert_refuses, y, message):
        assert_refuses(fitted, "fit_importance", FLOATS, y, match=message)

    def test_labels_may_come_as_a_table_s_column(self, quick, digits):
        y = pd.Series(digits.y.astype(str)).astype("category")
        estimator = quick().fit(digits.X, y)
        expected = estimator.fit_importance(digits.X, digits.y.astype(str))
        expected = expected.filter_importances_
        found = estimator.fit_importance(digits.X, y).filter_importances_
        np.testing.assert_array_equal(found, expected)


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (
                11,
                "target holds 11, but the classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; pa",
            ),
            ("3", "target holds '3', but the classes are 0, 1.* convert str to int"),
            ([1, 12, 13], "target holds 12, 13, but"),
            ([], "target holds no label, but"),
            ([[1, 2]], r"target holds \[1, 2\], but"),
            ({1}, r"target holds \{1\}, but"),
        ],
    )
    def test_unknown_labels_are_refused(self, fitted, assert_refuses, target, message):
        assert_refuses(fitted, "heatmap", FLOATS, target, match=message)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (7, "background holds 7, but the classes are 0, 1, 2; pass one of them, or N"),
        ("none", "background holds 'none', but .*; convert str to int"),
        ([1], r"background is \[1\]; pass one label of y, or None"),
    ],
)
def test_a_background_that_y_lacks_is_refused(
    quick, assert_refuses, background, message
):
    estimator = quick(background=background)
    assert_refuses(estimator, "fit", FLOATS, LABELS, match=message)


class Returning(nn.Module):
    """Network that returns what a function makes of its scores."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, 3)
        self.function = function

    def forward(self, images):
        return self.function(self.fc(self.conv(images).mean(dim=(2, 3))))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda scores: (scores, scores),
            "returns a tuple; wrap it so that it returns o",
        ),
        (lambda scores: {"out": scores}, "returns a dict; wrap it"),
        (
            lambda scores: scores[:, 0],
            r"returns shape \(3,\) for 3 images, but y has 3",
        ),
        (
            lambda scores: scores[:, :2],
            r"returns shape \(3, 2\) for 3 images, but y has",
        ),
        (lambda scores: scores[..., None], r"so it should be \(3, 3\)"),
    ],
)
def test_networks_that_return_something_else_are_refused(
    quick, assert_refuses, function, message
):
    estimator = quick(module=Returning(function))
    assert_refuses(estimator, "fit", FLOATS, LABELS, match=message)


def test_log_probabilities_are_refused_where_skorch_takes_probabilities(
    quick, assert_refuses
):
    estimator = quick(
        module=Returning(lambda scores: torch.log_softmax(scores, dim=1)),
        net_params={"criterion": nn.NLLLoss},
    )
    message = "skorch's NLLLoss takes probabilities; end the network with a softmax"
    assert_refuses(estimator, "fit", FLOATS, LABELS, match=message)


def test_a_column_of_labels_is_taken_with_a_warning(quick, digits):
    with pytest.warns(DataConversionWarning, match="A column-vector y"):
        estimator = quick().fit(digits.X, digits.y[:, np.newaxis])
    assert estimator.classes_.tolist() == list(range(10))


def test_integers_of_pandas_own_types_are_integers(quick, digits, weights_of):
    table = pd.DataFrame(digits.X.reshape(len(digits.X), -1))
    expected = weights_of(quick().fit(table, digits.y))
    for dtype in ("UInt8", "Int64"):
        estimator = quick().fit(table.astype(dtype), digits.y)
        np.testing.assert_array_equal(weights_of(estimator), expected)


def test_missing_values_of_pandas_own_types_are_found(fitted, assert_refuses):
    table = pd.DataFrame(ROWS.round().astype(int)).astype("Int64")
    table.iloc[2, 5] = pd.NA
    table.columns = table.columns.astype(str)
    message = "Row 2 of X contains NaN"
    with pytest.warns(UserWarning, match="X has feature names"):
        assert_refuses(fitted, "predict", table, match=message)
