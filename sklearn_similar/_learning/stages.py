"""Training in stages, between which hard negatives are mined.

This package's classifier goes on from the weights of the stage before, and all stages
together see at most a third more crops than a single training. Any other estimator is
trained from the start in each stage.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone

from .._images.scaling import Scaling
from .._images.splits import digest_of, find_copies, hold_out


@dataclass(kw_only=True)
class StagedTraining:
    """Stages in which an estimator is trained on more and more crops.

    Attributes
    ----------
    estimator : classifier
        It is cloned.
    epoch_share : float
        Epochs of a stage, as a share of the estimator's `max_epochs`, rounded up.
    min_last_share : float
        Minimum for the last stage, likewise.
    scaling : Scaling
        How the localizer scales the values of its images, which the crops have.
    """

    estimator: Any
    epoch_share: float
    min_last_share: float
    scaling: Scaling
    _n_crops_seen: int = field(default=0, init=False)
    _trained: Any = field(default=None, init=False)
    _held_out: Any = field(default=None, init=False)

    def hold_out(
        self, crops: np.ndarray, labels: np.ndarray, rng: np.random.RandomState
    ) -> np.ndarray:
        """Rows of the crops to train on; the others are for the filters' importances.

        In each stage, the estimator would hold out other crops.

        Parameters
        ----------
        crops : ndarray of shape (n_crops, ...)
        labels : ndarray of shape (n_crops,)
        rng : RandomState
        """
        fraction = self._is_resumed and self.estimator.validation_fraction
        if not fraction:
            return np.arange(len(crops))
        _, code = np.unique(labels, return_inverse=True)
        # No copy of a crop to train on is held out.
        digests = np.array([digest_of(crop) for crop in crops], dtype=np.uint64)
        first, copy_of = find_copies(digests, code)
        n_copies = np.bincount(copy_of).astype(float)
        training, held_out = hold_out(code[first], n_copies, fraction, rng)
        self._held_out = crops[first[held_out]], labels[first[held_out]]
        return np.flatnonzero(np.isin(copy_of, training))

    def fit(self, crops: np.ndarray, labels: np.ndarray) -> Any:
        """Train a stage after which others follow; importances are not measured."""
        return self._fit(crops, labels, is_last=False)

    def fit_last(self, crops: np.ndarray, labels: np.ndarray) -> Any:
        """Train the last stage, for the epochs that are left."""
        last = self._fit(crops, labels, is_last=True)
        if self._held_out is not None:
            with self._localizers_range(last):
                last.fit_importance(*self._held_out)
        return last

    @property
    def _is_resumed(self) -> bool:
        """Whether a stage goes on from the weights of the one before."""
        return hasattr(type(self.estimator), "_tensor_probabilities")

    def _n_epochs(self, n_crops: int, is_last: bool) -> int:
        """Epochs of a stage with so many crops."""
        max_epochs = self.estimator.max_epochs
        if not is_last:
            return math.ceil(self.epoch_share * max_epochs)
        n_left = round(max_epochs - self._n_crops_seen / n_crops)
        return max(n_left, math.ceil(self.min_last_share * max_epochs))

    def _fit(self, crops: np.ndarray, labels: np.ndarray, is_last: bool) -> Any:
        stage = clone(self.estimator)
        if not self._is_resumed:
            self._trained = stage.fit(crops, labels)
            return self._trained
        n_epochs = self._n_epochs(len(crops), is_last)
        self._n_crops_seen += n_epochs * len(crops)
        changed: dict[str, int | None] = {"max_epochs": n_epochs}
        if not is_last or self._held_out is not None:
            changed["validation_fraction"] = None
        before = {name: getattr(stage, name) for name in changed}
        stage.set_params(**changed)
        if self._trained is not None:
            stage._initial_weights = self._trained.net_.arrays()
        stage._is_last_stage = is_last
        with self._localizers_range(stage):
            stage.fit(crops, labels)
        for name in ("_initial_weights", "_is_last_stage"):
            vars(stage).pop(name, None)
        self._trained = stage.set_params(**before)
        return self._trained

    @contextmanager
    def _localizers_range(self, estimator: Any) -> Iterator[None]:
        """The localizer has learnt the range of the images, and warned of it."""
        estimator._check_range = False
        estimator._scaling_of_localizer = self.scaling
        try:
            yield
        finally:
            del estimator._check_range, estimator._scaling_of_localizer
