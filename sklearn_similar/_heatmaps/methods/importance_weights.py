"""Class maps that are sums of activations, weighted by the importances for a class."""

import numpy as np

from ..class_map import ClassMap, Measurement
from ..weights import Weighting, filter_weights, split_by_layer


class ImportanceWeights(ClassMap):
    """Activations of the last layer, weighted by the importances for each class.

    Parameters
    ----------
    weighting : {"softmax", "linear", "uniform"}
        How importances become weights, as in `SimilarNetClassifier`.
    """

    def __init__(self, weighting: Weighting):
        self.weighting = weighting

    def filter_weights(self, measurement: Measurement) -> np.ndarray:
        """Weights that sum to 1 for each class."""
        measured = measurement.importances
        last = split_by_layer(measured.class_importances, measured.n_filters)[-1]
        return filter_weights(last, self.weighting, measurement.temperature)
