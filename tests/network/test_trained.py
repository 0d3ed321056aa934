"""Running a trained network on images."""

import numpy as np
import pytest


@pytest.mark.parametrize("value", [3e38, -3e38])
@pytest.mark.parametrize(
    "method", ["predict_proba", "predict", "transform", "heatmap", "fit_importance"]
)
def test_images_too_large_for_the_network_are_named(method, value, fitted, digits):
    X = digits.X_test[:9] / 255.0
    X[6, ::2] = value
    others = [X, digits.y_test[:9]] if method == "fit_importance" else [X]
    before = fitted.filter_importances_
    with pytest.raises(ValueError, match=r"Image 6 gets .* that are not finite"):
        getattr(fitted, method)(*others)
    assert fitted.filter_importances_ is before
    assert np.isfinite(fitted.predict_proba(X[:6])).all()
