"""Values unlike those of the training images get one warning, all others none."""

import copy
import re
import threading
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._images.images import Images, from_tensor
from sklearn_similar._images.reading import read_images
from sklearn_similar._images.scaling import Scaling, extremes, learn_scaling
from sklearn_similar._images.value_range import (
    check_value_range,
    training_range,
    value_ranges,
)

# The same images in other types and scales.
SCALES = {
    "uint8": lambda X: X,
    "bool": lambda X: X > 127,
    "int64": lambda X: X.astype(np.int64),
    "uint16": lambda X: X.astype(np.uint16) * 257,
    "unit floats": lambda X: X / 255,
    "half floats": lambda X: (X / 255).astype(np.float16),
    "floats to 255": lambda X: X.astype(np.float32),
    "standardised": lambda X: (X / 255 - 0.1307) / 0.3081,
    "-1 to 1": lambda X: X / 127.5 - 1,
    "8 bits in uint16": lambda X: X.astype(np.uint16),
    "12 bits in uint16": lambda X: X.astype(np.uint16) * 16,
    "12 bits in int32": lambda X: X.astype(np.int32) * 16,
    "mask of 0 and 1 in uint8": lambda X: (X > 127).astype(np.uint8),
    "divided by 255 twice": lambda X: X / 255**2,
    "negative integers": lambda X: X.astype(np.int16) - 128,
}
UNIT = ["uint8", "bool", "int64", "uint16", "unit floats", "half floats"]
# Trained on black to white; what has another sign, length or depth is warned of.
NOT_UNIT = [
    "floats to 255",
    "standardised",
    "-1 to 1",
    "8 bits in uint16",
    "12 bits in uint16",
    "12 bits in int32",
    "mask of 0 and 1 in uint8",
    "divided by 255 twice",
    "negative integers",
]
TINY = [
    "mask of 0 and 1 in uint8",
    "divided by 255 twice",
]


def warnings_of(function, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # One epoch is not enough to learn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        function(*args)
    return [str(warning.message) for warning in caught]


@pytest.fixture(scope="module")
def trained_with_warnings(quick, digits):
    """Train an estimator on the digits in one of the scales, and list its warnings."""

    @cache
    def train(scale):
        estimator = quick()
        return estimator, warnings_of(estimator.fit, SCALES[scale](digits.X), digits.y)

    return train


@pytest.fixture(scope="module")
def trained(trained_with_warnings):
    """Return an estimator trained on the digits in one of the scales."""
    return lambda scale: trained_with_warnings(scale)[0]


@pytest.mark.parametrize("trained_on", ["uint8", "unit floats", "uint16"])
@pytest.mark.parametrize("given", UNIT)
def test_types_that_mean_the_same_are_not_warned_of(trained, digits, trained_on, given):
    X = SCALES[given](digits.X_test)
    assert not warnings_of(trained(trained_on).predict, X)


@pytest.mark.parametrize("given", NOT_UNIT)
def test_other_scales_than_black_to_white_are_warned_of(trained, digits, given):
    (message,) = warnings_of(trained("uint8").predict, SCALES[given](digits.X_test))
    assert "from 0 to 1 (uint8, divided by 255)" in message
    assert "give X the type and the scaling of the images of fit." in message


@pytest.mark.parametrize("trained_on", ["floats to 255", "standardised", "-1 to 1"])
def test_raw_images_are_warned_of_by_networks_of_scaled_ones(
    trained, digits, trained_on
):
    for given in UNIT:
        for n in (1, len(digits.X_test)):
            X = SCALES[given](digits.X_test[:n])
            (message,) = warnings_of(trained(trained_on).predict, X)
            assert "values from 0 to " in message
    X = SCALES[trained_on](digits.X_test)
    assert not warnings_of(trained(trained_on).predict, X)


def test_the_warning_has_both_ranges_and_both_types(trained, digits):
    X = SCALES["8 bits in uint16"](digits.X_test)
    (message,) = warnings_of(trained("floats to 255").predict, X)
    assert "from 0 to 0.00389 (uint16, divided by 65535)" in message
    assert "did from 0 to 255 (float32), so" in message


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "transform", "heatmap", "fit_importance"]
)
@pytest.mark.parametrize("layout", ["images", "rows", "table", "list", "4-D", "map"])
def test_every_method_warns_once_in_every_layout(
    trained, digits, tmp_path, method, layout
):
    n = len(digits.X)
    np.save(tmp_path / "X.npy", digits.X.astype(np.float32))
    change = {
        "images": lambda X: X,
        "rows": lambda X: X.reshape(n, -1),
        "table": lambda X: pd.DataFrame(X.reshape(n, -1)),
        "list": list,
        "4-D": lambda X: X[..., np.newaxis],
        "map": lambda X: np.load(tmp_path / "X.npy", mmap_mode="r"),
    }[layout]
    estimator = copy.deepcopy(trained("uint8"))
    y = (digits.y,) if method == "fit_importance" else ()
    X = change(digits.X.astype(np.float32))
    assert len(warnings_of(getattr(estimator, method), X, *y)) == 1


def test_one_image_of_another_type_in_a_list_is_warned_of(trained, digits):
    X = [*digits.X_test[:9], digits.X_test[9].astype(float)]
    (message,) = warnings_of(trained("uint8").predict, X)
    assert "(float64)" in message


class TestLegitimateImages:
    """None of these is a mistake."""

    @pytest.mark.parametrize("scale", [*UNIT, *NOT_UNIT])
    @pytest.mark.parametrize(
        "make",
        [
            np.zeros_like,
            lambda X: np.full_like(X, 255),
            lambda X: X[:1],
            lambda X: X[:1] // 20,
            lambda X: X[:3] // 3,
            lambda X: X // 3,
            lambda X: 255 - X,
            lambda X: 100 + X // 10,
            lambda X: np.concatenate([np.zeros_like(X), X[:1] // 20]),
            lambda X: np.pad(X, ((0, 0), (50, 50), (50, 50))),
        ],
        ids=[
            *("black", "white", "one", "one dark", "some dimmer", "all dimmer"),
            *("negative", "low contrast", "mostly black", "sparse"),
        ],
    )
    def test_give_no_warning(self, trained, digits, scale, make):
        images = make(digits.X_test)
        if scale in ("bool", "mask of 0 and 1 in uint8"):
            # Dim images are black in these.
            images = np.where(images > 0, 255, 0).astype(np.uint8)
        X = SCALES[scale](images)
        assert not warnings_of(trained(scale).transform, X)

    def test_blank_training_images_say_nothing_about_others(self, quick, digits):
        estimator = quick().fit(np.zeros((20, 28, 28)), np.arange(20) % 2)
        assert not warnings_of(estimator.predict, digits.X_test)

    def test_ringing_of_resampling_is_no_other_sign(self, trained, digits):
        X = digits.X_test / 255 * 1.2 - 0.1
        assert not warnings_of(trained("unit floats").predict, X)


class TestFit:
    @pytest.mark.parametrize(
        ("scale", "expected"),
        [
            ("uint8", (0, 1)),
            ("bool", (0, 1)),
            ("uint16", (0, 1)),
            ("floats to 255", (0, 255)),
            ("8 bits in uint16", (0, 1)),
            ("12 bits in int32", (0, 255 * 16 / 4095)),
            ("negative integers", (-128 / 255, 127 / 255)),
            ("mask of 0 and 1 in uint8", (0, 1 / 255)),
            ("-1 to 1", (-1, 1)),
        ],
    )
    def test_records_the_range_that_the_network_got(self, trained, scale, expected):
        assert trained(scale).value_range_ == pytest.approx(expected)

    @pytest.mark.parametrize("scale", TINY)
    def test_warns_of_values_that_take_a_tiny_range(self, trained_with_warnings, scale):
        _, (message,) = trained_with_warnings(scale)
        assert "of which most networks learn little; pass value_range=(0, " in message

    @pytest.mark.parametrize("scale", [s for s in SCALES if s not in TINY])
    def test_is_silent_about_others(self, trained_with_warnings, scale):
        assert not trained_with_warnings(scale)[1]


@pytest.fixture(scope="module")
def localizer(fitted, digits):
    return InstanceLocalizer(FrozenEstimator(fitted)).fit(digits.X, digits.y)


class TestLocalizer:
    def test_warns_once_though_its_estimator_sees_many_batches(self, localizer, digits):
        scene = np.pad(digits.X_test[0], 20)
        assert not warnings_of(localizer.localize, [scene] * 12)
        for scale in ("8 bits in uint16", "floats to 255", "standardised"):
            scenes = [SCALES[scale](scene)] * 12
            assert len(warnings_of(localizer.localize, scenes)) == 1

    @pytest.mark.usefixtures("small_scenes")
    def test_warns_once_of_training_images_of_a_tiny_range(self, quick, digits):
        localizer = InstanceLocalizer(
            quick(), n_instance_crops=30, n_background_crops=30, n_mining_rounds=0
        )
        X = SCALES["mask of 0 and 1 in uint8"](digits.X)
        assert len(warnings_of(localizer.fit, X, digits.y)) == 1

    def test_a_frozen_estimator_says_that_it_was_trained_on_others(
        self, trained, digits
    ):
        frozen = InstanceLocalizer(FrozenEstimator(trained("floats to 255")))
        (message,) = warnings_of(frozen.fit, digits.X, digits.y)
        assert "did from 0 to 255 (float32)" in message

    def test_does_not_silence_other_threads(self, localizer, trained, digits):
        found = []

        class Spy:
            """Estimator during whose work another thread predicts."""

            def predict_proba(self, X):
                if not found:
                    work = threading.Thread(target=self.predict)
                    work.start()
                    work.join()
                return localizer.estimator_.predict_proba(X)

            def predict(self):
                X = digits.X_test.astype(float)
                found.extend(warnings_of(trained("uint8").predict, X))

        spied = InstanceLocalizer()
        vars(spied).update(vars(localizer), estimator_=Spy())
        spied.localize([digits.X_test[0]])
        assert len(found) == 1


class TestReading:
    def test_ranges_are_those_of_each_type(self):
        rng = np.random.default_rng(0)
        X = [
            rng.integers(3, 200, (5, 4), dtype=np.uint8),
            rng.normal(size=(7, 3)),
            rng.integers(3, 200, (9, 4), dtype=np.uint8),
        ]
        found = value_ranges(read_images(X))
        bytes_ = np.concatenate([X[0].ravel(), X[2].ravel()])
        assert found == {
            np.dtype(np.uint8): (bytes_.min(), bytes_.max()),
            np.dtype(np.float64): (X[1].min(), X[1].max()),
        }

    @pytest.mark.parametrize("position", [0, 200, 399])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
    def test_the_extremes_are_found_wherever_they_are(self, position, dtype):
        pixels = np.full((400, 30, 30, 1), 100, dtype)
        pixels[position, -1, -1] = 3
        pixels[position, 0, 0] = 203
        ((low, high),) = value_ranges(Images(pixels, "images")).values()
        assert (low, high) == (3, 203)

    def test_bytes_are_not_read_on_when_enough_is_known(self):
        class Counted(np.ndarray):
            n_read = 0

            def max(self, *args, **kwargs):
                Counted.n_read += len(self)
                return super().max(*args, **kwargs)

        pixels = np.zeros((10_000, 28, 28, 1), np.uint8)
        pixels[:, 3, 3] = 255
        value_ranges(Images(pixels.view(Counted), "images"))
        assert Counted.n_read < 500


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e39])
@pytest.mark.parametrize("position", [0, 399])
def test_values_that_float32_cannot_hold_are_found_wherever_they_are(value, position):
    pixels = np.zeros((400, 30, 30, 1))
    pixels[position, -1, -1] = value
    found = "NaN" if np.isnan(value) else f"{value:.3g}".replace("+", r"\+")
    with pytest.raises(ValueError, match=f"Image {position} of X contains {found};"):
        value_ranges(Images(pixels, "images"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_the_largest_finite_values_pass(dtype):
    largest = min(float(np.finfo(dtype).max), float(np.finfo(np.float32).max))
    pixels = np.array([largest, -largest], dtype=dtype).reshape(2, 1, 1, 1)
    value_ranges(Images(pixels, "images"))


class TestMixedScales:
    """Some images are divided by 255 once more than the others."""

    @pytest.fixture
    def mixed(self):
        X = np.random.default_rng(0).random((20, 8, 8), np.float32)
        X[::2] /= 255
        return X

    @pytest.mark.parametrize("as_given", [np.asarray, list])
    def test_they_warn_as_they_do_alone(self, mixed, as_given):
        message = "10 of 20 images in X are scaled unlike the others: Image 0 reaches"
        with pytest.warns(UserWarning, match=message):
            check_value_range(
                read_images(as_given(mixed)), (0.0, 1.0), np.dtype(np.float32)
            )

    def test_they_warn_in_training(self, mixed):
        with pytest.warns(UserWarning, match="10 of 20 images in X are scaled unlike"):
            training_range(read_images(mixed))

    def test_images_without_a_negative_among_standardised_ones_warn(self):
        X = np.random.default_rng(0).normal(size=(20, 8, 8)).astype(np.float32)
        X[:5] -= X[:5].min(axis=(1, 2), keepdims=True)
        with pytest.warns(UserWarning, match="5 of 20 images in X are scaled unlike"):
            check_value_range(read_images(X), (-3.0, 3.0), np.dtype(np.float32))

    def test_a_few_nearly_blank_images_do_not_warn(self, mixed, recwarn):
        mixed[::2] *= 255
        mixed[3], mixed[4] = 0, mixed[4] / 255
        images = read_images(mixed)
        assert not check_value_range(images, (0.0, 1.0), np.dtype(np.float32))
        assert not recwarn


@pytest.mark.parametrize(
    ("maximum", "dtype", "remedy"),
    [(1000, "u2", "(0, 1000)"), (12, "u4", "(0, 12)"), (0.01, "f4", "(0, 0.01)")],
)
def test_training_images_that_use_few_levels_come_with_a_range(maximum, dtype, remedy):
    X = np.random.default_rng(0).random((9, 5, 5)) * maximum
    X[0, 0, 0] = maximum
    message = f"learn little; pass value_range={remedy} so that these values become"
    with pytest.warns(UserWarning, match=re.escape(message)):
        training_range(read_images(X.astype(dtype)))


def test_14_bits_in_a_type_that_training_did_not_have_are_warned_of(trained, digits):
    X = digits.X_test.astype(np.uint16) * 64
    (message,) = warnings_of(trained("uint8").predict, X)
    assert "from 0 to 0.249 (uint16, divided by 65535)" in message


class TestLearntRange:
    @pytest.mark.parametrize("n_bits", [10, 12, 14, 16])
    @pytest.mark.parametrize("dtype", ["u2", "i4", "f4", ">u2"])
    def test_images_of_more_bits_are_what_they_are_divided_by_the_maximum(
        self, quick, digits, n_bits, dtype
    ):
        white = 2**n_bits - 1
        X, y = np.rint(digits.X[::4] / 255 * white), digits.y[::4] % 2
        model = quick(max_epochs=1).fit(X.astype(dtype), y)
        assert list(model.scaling_.values()) == [(0, white)]
        as_floats = quick(max_epochs=1).fit(X.astype(np.float32) / np.float32(white), y)
        assert as_floats.scaling_ == {"float32": (0, 1)}
        np.testing.assert_array_equal(
            model.predict_proba(X[:9].astype(dtype)),
            as_floats.predict_proba(X[:9].astype(np.float32) / np.float32(white)),
        )
        assert model.value_range_ == as_floats.value_range_

    def test_a_network_that_was_trained_elsewhere_gets_values_by_type(
        self, fitted, digits, quick
    ):
        model = quick(max_epochs=0, module=fitted.net_.module_)
        X = digits.X.astype(np.uint16) * 64
        with pytest.warns(UserWarning, match=r"pass value_range=\(0, 16383\) if it"):
            model.fit(X, digits.y)
        assert model.scaling_ == {"uint16": (0, 65535)}
        model.set_params(value_range=(0, 255 * 64)).fit(X, digits.y)
        np.testing.assert_allclose(
            model.predict_proba(X), fitted.predict_proba(digits.X), atol=1e-5
        )


class TestGivenRange:
    def test_it_holds_for_every_type_and_is_kept_in_every_method(self, quick, digits):
        X = digits.X.astype(np.uint16) * 16
        model = quick(max_epochs=1, value_range=(100, 3000))
        with pytest.warns(UserWarning, match="X has values from 0 to 4080; those outs"):
            model.fit(X, digits.y)
        unit = ((X.astype(np.float32) - 100) / 2900).clip(0, 1)
        expected = quick(max_epochs=1).fit(unit, digits.y)
        for dtype in ("u2", "i4", "f8"):
            given = X[:5].astype(dtype)
            with pytest.warns(UserWarning, match=r"value_range=\(100, 3000\) are clip"):
                proba = model.predict_proba(given)
            np.testing.assert_array_equal(proba, expected.predict_proba(unit[:5]))
            with pytest.warns(UserWarning, match="clipped"):
                heat = model.transform(list(given))
            np.testing.assert_array_equal(heat, expected.transform(unit[:5]))

    def test_it_does_not_hold_for_8_bits_that_cannot_hold_it(self, quick, digits):
        X = digits.X.astype(np.uint16) * 257
        model = quick(max_epochs=1, value_range=(0, 65535)).fit(X, digits.y)
        assert not warnings_of(model.predict, digits.X)
        np.testing.assert_array_equal(
            model.predict_proba(digits.X), model.predict_proba(X)
        )

    def test_it_acts_in_fit(self, quick, digits):
        model = quick(max_epochs=1).fit(digits.X, digits.y)
        proba = model.predict_proba(digits.X_test)
        model.set_params(value_range=(0, 10))
        np.testing.assert_array_equal(model.predict_proba(digits.X_test), proba)

    @pytest.mark.parametrize(
        "bad",
        [(5, 2), (1, 1), (0, np.nan), (0, np.inf), (0, 1, 2), ("0", "1"), (0, 10**400)],
    )
    @pytest.mark.parametrize("make", [SimilarNetClassifier, InstanceLocalizer])
    def test_others_are_refused(self, digits, make, bad):
        with pytest.raises(ValueError, match="; pass two finite numbers, the values"):
            make(value_range=bad).fit(digits.X, digits.y)


class TestScaling:
    def test_ranges_of_both_byte_orders_are_one(self):
        arrays = [np.full((2, 2), 60_000, ">u2"), np.full((2, 2), 9, "<u2")]
        for given in (arrays, arrays[::-1]):
            scaling = learn_scaling(extremes(given, set()))
            assert scaling.ranges == {"uint16": (0, 65535)}

    @pytest.mark.parametrize(
        ("dtype", "clips"), [("bool", False), ("i1", False), ("u1", True), ("u2", True)]
    )
    def test_a_given_range_acts_on_types_that_hold_it(self, dtype, clips):
        assert Scaling.given((0, 255)).clips(np.dtype(dtype)) == clips

    @pytest.mark.parametrize("dtype", ["uint32", "int32", "uint16"])
    def test_white_stays_white_in_crops_of_all_bits(self, dtype):
        white = float(np.iinfo(dtype).max)
        scaling = Scaling({dtype: (0.0, white)})
        (pixel,) = from_tensor(torch.ones(1, 1, 1, 1), np.dtype(dtype), "rows", scaling)
        assert pixel == np.iinfo(dtype).max


@pytest.mark.usefixtures("small_scenes")
class TestRangeOfLocalizers:
    @staticmethod
    def make(estimator, **parameters):
        return InstanceLocalizer(
            estimator,
            n_instance_crops=30,
            n_background_crops=30,
            n_mining_rounds=0,
            random_state=0,
            **parameters,
        )

    def test_another_range_than_that_of_a_frozen_estimator_is_refused(
        self, quick, digits
    ):
        X = digits.X.astype(np.uint16) * 16
        frozen = FrozenEstimator(quick().fit(X, digits.y))
        with pytest.raises(ValueError, match="the frozen estimator has the ranges"):
            self.make(frozen, value_range=(0, 65535)).fit(X, digits.y)
        assert self.make(frozen, value_range=(0, 4095)).fit(X, digits.y)

    def test_the_estimator_is_trained_with_the_same_range(self, quick, digits):
        X = np.rint(digits.X / 255 * 4095).astype(np.uint16)
        backgrounds = [np.full((60, 60), 1000, np.uint16)]
        localizer = self.make(quick()).fit(X, digits.y, backgrounds)
        scaling = {"uint16": (0, 4095)}
        assert localizer.scaling_ == localizer.estimator_.scaling_ == scaling
        assert localizer.value_range_ == localizer.estimator_.value_range_ == (0, 1)
        scene = np.pad(X[0], 20)
        found = localizer.set_params(score_threshold=0, heat_threshold=0).localize
        (as_files,) = [found([scene])]
        scaled = localizer.localize([scene.astype(np.float32) / np.float32(4095)])
        pd.testing.assert_frame_equal(as_files, scaled)

    def test_that_of_the_estimator_is_taken_and_another_is_refused(self, quick, digits):
        inner = quick(value_range=(0, 255))
        assert self.make(inner).fit(digits.X, digits.y).scaling_ == {"any": (0, 255)}
        both = self.make(inner, value_range=(0, 200))
        with pytest.raises(ValueError, match=r"\(0, 200\), but that of the estimator"):
            both.fit(digits.X, digits.y)

    def test_that_of_a_frozen_estimator_is_taken(self, trained, digits):
        frozen = FrozenEstimator(trained("12 bits in uint16"))
        X = SCALES["12 bits in uint16"](digits.X) // 16
        localizer = InstanceLocalizer(frozen).fit(X, digits.y)
        assert localizer.scaling_ == {"uint16": (0, 4095)}
