"""A recogniser of crops: any classifier of images of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from .._images.rasters import Raster
from .._images.validation import check_has_importances
from .crops import crops_of_views
from .heat import resize
from .image_format import ImageFormat
from .proposals import Proposals
from .refinement import RefiningRecognizer


@dataclass(frozen=True, kw_only=True)
class CropRecognizer(RefiningRecognizer):
    """Recognises crops by a classifier of images of one size.

    Attributes
    ----------
    estimator : object with `predict_proba`, and `heatmap` if it has heatmaps
    image_format : ImageFormat
        Images that the estimator takes.
    columns : ndarray of int
        Columns of `predict_proba` that stand for classes of objects.
    """

    estimator: Any
    image_format: ImageFormat
    columns: np.ndarray

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator makes heatmaps."""
        return hasattr(self.estimator, "heatmap")

    @property
    def device(self) -> torch.device:
        """The network's device, if it supports float64; else the CPU."""
        net = getattr(self.estimator, "net_", None)
        device = torch.device(getattr(net, "device", "cpu"))
        return device if device.type == "cuda" else torch.device("cpu")

    def check_estimator(self) -> None:
        """Raise if the package's classifier has bad parameters or no importances yet.

        Whether heatmaps are needed depends on the images.
        """
        make = tensor_method(self.estimator, "_heatmap_rasters")
        if make is not None:
            classifier: Any = make.__self__
            check_has_importances(classifier)
            classifier._validate_params()

    def probabilities(
        self, views: Sequence[Raster], proposals: Proposals
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities of the crops of boxes; see `RefiningRecognizer`."""
        of_classes = np.empty((len(proposals), len(self.columns)))
        of_background = np.zeros(len(proposals))
        predict = tensor_method(self.estimator, "_tensor_probabilities")
        for rows, cropped in crops_of_views(
            views, proposals, self.specification, self.device
        ):
            if predict is not None:
                proba = predict(self.image_format.tensor_from_unit(cropped))
            else:
                images = self.image_format.array_from_unit(cropped)
                proba = self.estimator.predict_proba(images)
            proba = np.asarray(proba, dtype=np.float64)
            of_classes[rows] = proba[:, self.columns]
            background = np.delete(proba, self.columns, axis=1)
            of_background[rows] = background.max(axis=1, initial=0)
        return of_classes, of_background

    def heatmaps(
        self, views: list[Raster], in_windows: bool = False
    ) -> Sequence[Raster]:
        """Heatmaps of views by the estimator; see `Recognizer`."""
        make = tensor_method(self.estimator, "_heatmap_rasters")
        if make is not None:
            return make(
                [view.map(self.image_format.tensor_from_unit) for view in views],
                in_windows=in_windows,
            )
        images = [self.image_format.image_from_unit(view.whole()) for view in views]
        return [
            Raster.from_tensor(
                resize(torch.from_numpy(np.asarray(heat, np.float32))[None], view.size)
            )
            for view, heat in zip(views, self.estimator.heatmap(images), strict=True)
        ]


def tensor_method(estimator: Any, name: str) -> MethodType | None:
    """A private method for tensors of this package's classifier.

    None for other estimators, also those that delegate to a classifier, and where
    `predict_proba` or `heatmap` is overridden.
    """
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    method = getattr(estimator, name, None)
    if method is None or method.__self__ is not estimator:
        return None
    is_overridden = any(
        public in vars(estimator)
        or getattr(type(estimator), public).__module__ != method.__func__.__module__
        for public in ("predict_proba", "heatmap")
    )
    return None if is_overridden else method
