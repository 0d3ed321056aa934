"""Among scikit-learn's pipelines and searches."""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler


@pytest.fixture(scope="module")
def rows(digits):
    return digits.X.reshape(len(digits.X), -1)


@pytest.fixture(scope="module")
def rows_test(digits):
    return digits.X_test.reshape(len(digits.X_test), -1)


def test_heatmaps_feed_other_estimators(quick, digits, rows, rows_test):
    pipeline = make_pipeline(
        quick(max_epochs=4, lr=0.003, threshold=0.1),
        PCA(n_components=20, random_state=0),
        LogisticRegression(max_iter=500),
    )
    pipeline.fit(rows, digits.y)
    assert pipeline.score(rows_test, digits.y_test) > 0.5


def test_the_last_step_recognises_what_a_scaler_gives(quick, digits, rows, rows_test):
    pipeline = make_pipeline(MinMaxScaler(), quick(max_epochs=6, lr=0.003))
    pipeline.fit(rows, digits.y)
    assert pipeline.score(rows_test, digits.y_test) > 0.6
    assert pipeline.transform(rows_test).shape == rows_test.shape
    assert pipeline.get_feature_names_out()[-1] == "heat_27_27"


def test_images_pass_through_a_pipeline(quick, digits):
    invert = FunctionTransformer(lambda images: 255 - images)
    pipeline = make_pipeline(invert, quick())
    pipeline.fit(digits.X, digits.y)
    expected = quick().fit(255 - digits.X, digits.y).transform(255 - digits.X_test)
    np.testing.assert_array_equal(pipeline.transform(digits.X_test), expected)


def test_a_union_joins_heatmaps_and_components(quick, digits, rows):
    union = FeatureUnion([("heat", quick()), ("pca", PCA(5))])
    assert union.fit(rows, digits.y).transform(rows).shape == (200, 784 + 5)
    assert union.get_feature_names_out()[0] == "heat__heat_0_0"


def test_search_tunes_training(quick, digits):
    grid = {"lr": [1e-6, 0.003], "max_epochs": [4]}
    search = GridSearchCV(quick(), grid, cv=2)
    search.fit(digits.X, digits.y)
    assert search.best_params_ == {"lr": 0.003, "max_epochs": 4}
    assert search.predict(digits.X_test).shape == digits.y_test.shape


def test_search_tunes_heatmaps_for_the_next_step(quick, digits, rows):
    pipeline = Pipeline(
        [
            ("similar", quick(max_epochs=2, lr=0.003)),
            ("pca", PCA(20, random_state=0)),
            ("logistic", LogisticRegression(max_iter=500)),
        ]
    )
    grid = [
        {"similar__threshold": [0.1, 1.0]},
        {"similar__threshold": [1.0], "similar__temperature": [0.1]},
    ]
    serial = GridSearchCV(pipeline, grid, cv=2, refit=False).fit(rows, digits.y)
    search = clone(serial).set_params(n_jobs=2)
    with joblib.parallel_config(backend="threading"):
        search.fit(rows, digits.y)
    np.testing.assert_allclose(
        *(s.cv_results_["mean_test_score"] for s in (search, serial)), atol=0.03
    )
    assert search.best_params_["similar__threshold"] == 0.1


def test_cross_validation_takes_images_rows_and_tables(quick, digits, rows):
    estimator = quick(max_epochs=10, lr=0.004)
    scores = cross_val_score(estimator, digits.X, digits.y, cv=2)
    np.testing.assert_array_equal(
        cross_val_score(estimator, rows, digits.y, cv=2), scores
    )
    table, y = pd.DataFrame(rows), pd.Series(digits.y).astype("category")
    np.testing.assert_array_equal(cross_val_score(estimator, table, y, cv=2), scores)
    assert scores.mean() > 0.4
    proba = cross_val_predict(
        estimator, digits.X, digits.y, cv=2, method="predict_proba"
    )
    assert proba.shape == (200, 10)


class TestSetOutput:
    def test_heatmaps_of_rows_become_a_table(self, quick, digits, rows):
        table = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(784)])
        table.index = [f"digit{i}" for i in range(len(table))]
        estimator = quick().fit(table, digits.y).set_output(transform="pandas")
        heat = estimator.transform(table)
        assert heat.columns.tolist() == estimator.get_feature_names_out().tolist()
        assert heat.columns[29] == "heat_1_1"
        assert heat.index.tolist() == table.index.tolist()
        assert set(heat.dtypes) == {np.dtype(np.float32)}
        estimator.set_output(transform="default")
        np.testing.assert_array_equal(heat, estimator.transform(table))

    @pytest.mark.parametrize("layout", [np.asarray, list])
    def test_heatmaps_of_images_are_no_table(self, quick, digits, layout):
        estimator = quick().fit(digits.X, digits.y).set_output(transform="pandas")
        X = layout(digits.X_test[:3])
        message = (
            "set_output asks for pandas, but heatmaps of images are not a table; p"
        )
        with pytest.raises(ValueError, match=message):
            estimator.transform(X)
        with (
            sklearn.config_context(transform_output="pandas"),
            pytest.raises(ValueError, match=message),
        ):
            clone(estimator).fit(digits.X, digits.y).transform(X)
        assert len(estimator.heatmap(X)) == 3
        assert len(estimator.set_output(transform="default").transform(X)) == 3


def test_html_of_a_pipeline_shows_the_estimator(quick):
    html = make_pipeline(MinMaxScaler(), quick())._repr_html_()
    assert "SimilarNetClassifier" in html


def test_fit_transform_equals_fit_and_transform(quick, digits, rows):
    expected = quick().fit(rows, digits.y).transform(rows)
    np.testing.assert_array_equal(quick().fit_transform(rows, digits.y), expected)
