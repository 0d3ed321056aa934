"""State of estimators, and parameters of estimators in them."""

from email.message import Message

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._estimator import (
    check_scales,
    copy_with,
    published_at_end,
    set_random_states,
    snapshot,
)


@pytest.mark.parametrize(
    "scales", [(), (0,), (-1.0,), (1, np.nan), (np.inf,), "ab", [[1, 2]], None, 1.0]
)
def test_scales_are_finite_numbers_above_0(scales):
    with pytest.raises(
        ValueError, match=r"scales is .*; pass one or more finite numbers"
    ):
        check_scales(scales)


def test_scales_become_floats():
    assert check_scales([1, np.float32(0.5)]) == (1.0, 0.5)
    assert check_scales(np.array([2])) == (2.0,)


class Estimator(BaseEstimator):
    def __init__(self, a=1):
        self.a = a


def test_state_is_published_at_the_end_with_parameters_set_meanwhile():
    estimator = Estimator()
    with published_at_end(estimator) as working:
        working.fitted_ = 3
        assert not hasattr(estimator, "fitted_")
        estimator.set_params(a=2)
    assert (estimator.fitted_, estimator.a) == (3, 2)


def test_state_stays_as_it_was_after_an_error():
    def fit(estimator):
        with published_at_end(estimator) as working:
            working.fitted_ = 3
            raise KeyError

    estimator = Estimator()
    with pytest.raises(KeyError):
        fit(estimator)
    assert vars(estimator) == {"a": 1}


def test_a_snapshot_does_not_see_a_later_fit():
    estimator = Estimator()
    before = snapshot(estimator)
    with published_at_end(estimator) as working:
        working.a = working.fitted_ = 3
    assert not hasattr(before, "fitted_")


def test_a_copy_with_other_attributes_leaves_the_estimator_alone():
    estimator = Estimator()
    copied = copy_with(estimator, a=5, b=6)
    assert (type(copied), copied.a, copied.b) == (Estimator, 5, 6)
    assert vars(estimator) == {"a": 1}


def test_only_random_states_that_are_none_are_set():
    estimator = make_pipeline(FunctionTransformer(), SimilarNetClassifier())
    set_random_states(estimator, np.random.RandomState(0))
    seed = estimator[-1].random_state
    assert isinstance(seed, int)
    set_random_states(estimator, np.random.RandomState(1))
    assert estimator[-1].random_state == seed


def test_html_shows_no_networks_or_weights(fitted, fitted_localizer):
    for estimator in (fitted, fitted_localizer):
        page = estimator._repr_html_()
        for name in ("net_", "class_filter_weights_", "box_regression_", "backbone_"):
            assert f">{name}<" not in page
            assert f"\n            {name}\n" not in page
    if hasattr(BaseEstimator, "_get_fitted_attr_html"):
        assert "classes_" in fitted._repr_html_()
        assert "filter_importances_" in fitted._repr_html_()


@pytest.mark.parametrize("class_", [SimilarNetClassifier, InstanceLocalizer])
def test_html_links_to_the_documentation_where_there_is_an_address(class_, monkeypatch):
    monkeypatch.setattr("sklearn_similar._compat.metadata", lambda name: Message())
    assert class_()._get_doc_link() == ""
    package = Message()
    package["Project-URL"] = "Source, https://example.org/code"
    package["Project-URL"] = "Documentation, https://example.org/docs/"
    monkeypatch.setattr("sklearn_similar._compat.metadata", lambda name: package)
    page = f"https://example.org/docs/generated/sklearn_similar.{class_.__name__}.html"
    assert class_()._get_doc_link() == page
    assert page in class_()._repr_html_()
