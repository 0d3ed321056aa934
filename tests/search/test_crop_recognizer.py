"""Recognisers of crops, by the package's classifier or by any other."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.crop_recognizer import CropRecognizer, tensor_method
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.image_format import ImageFormat
from sklearn_similar._search.proposals import Proposals

PIXELS = torch.from_numpy(np.random.RandomState(0).rand(1, 60, 60).astype(np.float32))


def recognizer_of(estimator, columns, dtype="uint8"):
    specification = CropSpecification(size=(28, 28))
    return CropRecognizer(
        specification=specification,
        estimator=estimator,
        image_format=ImageFormat(
            specification=specification,
            n_channels=1,
            dtype=np.dtype(dtype),
            layout="grey",
        ),
        columns=np.asarray(columns),
    )


class Brightness:
    """Three probabilities: those of two labels that are not objects lie around it."""

    def predict_proba(self, X):
        level = X.reshape(len(X), -1).mean(axis=1) / 255
        return np.stack([0.7 - level / 2, level / 2, np.full(len(X), 0.3)], axis=1)

    def heatmap(self, X):
        return [image[::2, ::2] / 255 for image in X]


def test_probabilities_of_labels_that_are_not_objects_are_background():
    recognizer = recognizer_of(Brightness(), [1])
    proposals = Proposals.from_boxes([[0, 0, 30, 30], [10, 20, 30, 44]])
    views = [Raster.from_tensor(PIXELS)]
    of_classes, of_background = recognizer.probabilities(views, proposals)
    assert of_classes.shape == (2, 1)
    assert_allclose(of_background, np.maximum(0.7 - of_classes[:, 0], 0.3))
    _, of_none = recognizer_of(Brightness(), [0, 1, 2]).probabilities(views, proposals)
    assert of_none.tolist() == [0, 0]


def test_heatmaps_of_any_size_are_resized_to_their_views():
    (heatmap,) = recognizer_of(Brightness(), [1]).heatmaps([Raster.from_tensor(PIXELS)])
    assert heatmap.size == (60, 60)
    levels = np.round(PIXELS[0].numpy() * 255) / 255
    coarse = Raster.from_tensor(torch.from_numpy(levels[::2, ::2])[None])
    assert_allclose(
        heatmap.whole()[0].numpy().mean(), coarse.whole().numpy().mean(), atol=1e-3
    )


def test_any_classifier_gets_images_as_its_user_passes_them():
    seen = []

    class Recorder(Brightness):
        def predict_proba(self, X):
            seen.append(X)
            return super().predict_proba(X)

    proposals = Proposals.from_boxes([[0, 0, 30, 30]])
    recognizer_of(Recorder(), [1], "uint16").probabilities(
        [Raster.from_tensor(PIXELS)], proposals
    )
    (images,) = seen
    assert images.dtype == np.uint16
    assert images.shape == (1, 28, 28)
    assert_array_equal(images.max(), 65535)


class TestTensorMethod:
    """The package's classifier gets crops as tensors, unless it was changed."""

    def test_a_classifier_has_it_also_when_frozen(self, fitted):
        for estimator in (fitted, FrozenEstimator(fitted)):
            assert tensor_method(estimator, "_tensor_probabilities") is not None

    def test_a_changed_classifier_is_asked_by_its_public_methods(self, fitted):
        class Halved(SimilarNetClassifier):
            def predict_proba(self, X):
                return super().predict_proba(X) / 2

        changed = object.__new__(SimilarNetClassifier)
        changed.predict_proba = None
        for estimator in (Halved(), changed, Brightness()):
            assert tensor_method(estimator, "_tensor_probabilities") is None

    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "uint16"])
    def test_it_gives_the_probabilities_of_the_public_method(self, fitted, dtype):
        recognizer = recognizer_of(fitted, np.arange(10), dtype)
        boxes = np.array([[0, 0, 30, 30], [10, 20, 30, 44]], np.float32)
        proposals = Proposals.from_boxes(boxes)
        views = [Raster.from_tensor(PIXELS)]
        direct, _ = recognizer.probabilities(views, proposals)
        other = recognizer_of(Wrapped(fitted), np.arange(10), dtype)
        assert_allclose(direct, other.probabilities(views, proposals)[0], atol=1e-6)


class Wrapped:
    """An estimator whose crops are arrays, as those of its user."""

    def __init__(self, estimator):
        self._estimator = estimator

    def predict_proba(self, X):
        return self._estimator.predict_proba(X)
