"""LocalizationScorer with and without metadata routing, and on scenes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_similar.metrics import LocalizationScorer, detection_recall_score

BOXES = ["x_min", "y_min", "x_max", "y_max"]


class Shifted(ClassifierMixin, BaseEstimator):
    """Reads each image's box and label from its pixels, and shifts the box."""

    def __init__(self, shift=0):
        self.shift = shift

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.asarray(X)[:, 4]

    def localize(self, X):
        X = np.asarray(X)
        frame = pd.DataFrame(X[:, :4] + self.shift, columns=BOXES)
        return frame.assign(image=range(len(X)), label=X[:, 4], score=1.0, heat=1.0)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    corner = rng.randint(0, 50, size=(12, 2))
    X = np.hstack([corner, corner + 10, rng.randint(2, size=(12, 1))])
    y = pd.Series(X[:, 4], index=[f"image {number}" for number in range(12)])
    truth = pd.DataFrame(X[:, :4], columns=BOXES).assign(image=y.index, label=y.values)
    return X, y, truth


def search(scoring):
    return GridSearchCV(Shifted(), {"shift": [8, 0, 20]}, scoring=scoring, cv=KFold(3))


def test_a_table_of_boxes_is_looked_up_by_the_index_of_y(data):
    X, y, truth = data
    grid_search = search(LocalizationScorer(truth.sample(frac=1, random_state=0))).fit(
        X, y
    )
    assert grid_search.best_params_ == {"shift": 0}
    assert grid_search.best_score_ == 1
    assert grid_search.cv_results_["mean_test_score"][2] == 0


@pytest.mark.parametrize("form", ["frame", "array", "list", "frames"])
def test_boxes_are_routed_to_the_scorer(data, form):
    X, y, truth = data
    boxes = {
        "frame": truth[BOXES],
        "array": X[:, :4],
        "list": [X[[row], :4] for row in range(12)],
        "frames": [truth.iloc[[row]] for row in range(12)],
    }[form]
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = LocalizationScorer().set_score_request(boxes=True)
        grid_search = search(scorer).fit(X, y.to_numpy(), boxes=boxes)
    assert grid_search.best_params_ == {"shift": 0}
    assert grid_search.best_score_ == 1


def test_scenes_outside_the_data_are_scored(data):
    X, y, truth = data
    instances = truth.assign(image=range(12))
    scorer = LocalizationScorer(scenes=list(X), instances=instances)
    assert search(scorer).fit(X[:6], y[:6]).best_params_ == {"shift": 0}
    assert scorer(Shifted(), None) == 1
    assert scorer(Shifted(20), None) == 0


def test_the_last_step_of_a_pipeline_is_scored(data):
    X, y, truth = data
    scorer = LocalizationScorer(truth)
    pipeline = make_pipeline(FunctionTransformer(), Shifted()).fit(X, y)
    assert scorer(pipeline, X, y) == 1
    shifting = make_pipeline(FunctionTransformer(lambda X: X + 20), Shifted()).fit(X, y)
    assert scorer(shifting, X, y) == 0


@pytest.mark.parametrize(
    "metric",
    [
        "f1",
        "precision",
        "recall",
        "average_precision",
        "mean_average_precision",
        detection_recall_score,
    ],
)
def test_metrics_by_name_and_as_functions(data, metric):
    X, y, truth = data
    assert LocalizationScorer(truth, metric=metric)(Shifted(), X, y) == 1


def test_it_can_be_cloned_and_sent_to_other_processes(data):
    X, y, truth = data
    scorer = clone(LocalizationScorer(truth, metric="recall"))
    sent = pickle.loads(pickle.dumps(scorer))
    scores = cross_val_score(Shifted(), X, y, scoring=sent, cv=3)
    assert scores.tolist() == [1, 1, 1]


def test_a_scorer_without_true_instances_is_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="has no true instances; pass boxes or"):
        LocalizationScorer()(Shifted(), X, y)


def test_scenes_without_instances_are_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="only one of scenes and instances; pass both"):
        LocalizationScorer(scenes=list(X))(Shifted(), X, y)


def test_y_without_an_index_is_refused(data):
    X, y, truth = data
    with pytest.raises(ValueError, match=r"y is a ndarray.*pass a pandas Series"):
        LocalizationScorer(truth)(Shifted(), X, y.to_numpy())


def test_boxes_of_another_number_than_images_are_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="boxes has 3 entries for 12 images"):
        LocalizationScorer().score(Shifted(), X, y, boxes=X[:3, :4])


def test_a_misspelt_column_is_named(data):
    X, y, truth = data
    with pytest.raises(ValueError, match="rename 'xmin' to 'x_min'"):
        LocalizationScorer(truth.rename(columns={"x_min": "xmin"}))(Shifted(), X, y)


def test_an_unknown_metric_is_named(data):
    X, y, truth = data
    with pytest.raises(ValueError, match=r"'metric' parameter .*'precision'.* 'f2'"):
        LocalizationScorer(truth, metric="f2")(Shifted(), X, y)


def test_names_of_images_that_do_not_fit_are_refused(data):
    X, y, truth = data
    with pytest.raises(ValueError, match="strings in boxes and numbers in the index"):
        LocalizationScorer(truth)(Shifted(), X, y.reset_index(drop=True))
    with pytest.raises(ValueError, match="index of y holds 'image 0' twice"):
        LocalizationScorer(truth)(Shifted(), X, y.set_axis(["image 0"] * 12))


def test_a_metric_that_does_not_return_a_number_is_named(data):
    X, y, truth = data
    scorer = LocalizationScorer(truth, metric=lambda y_true, y_pred: [1.0])
    with pytest.raises(ValueError, match="metric returned a list; it should return"):
        scorer(Shifted(), X, y)


def test_a_malformed_result_of_localize_is_named(data):
    X, y, truth = data

    class Broken(Shifted):
        def localize(self, X):
            return super().localize(X).drop(columns="score")

    with pytest.raises(ValueError, match=r"result of Broken.localize lacks the column"):
        LocalizationScorer(truth)(Broken(), X, y)


def test_an_estimator_without_localize_is_named(data):
    X, y, truth = data
    with pytest.raises(ValueError, match="FunctionTransformer has no localize"):
        LocalizationScorer(truth)(FunctionTransformer(), X, y)
