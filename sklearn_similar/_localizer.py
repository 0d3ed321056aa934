"""The localizer: parameters, validation and state; the search is in `_search`."""

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from ._compat import HasMethods, Interval, StrOptions, fit_context
from ._default_estimator import default_estimator
from ._estimator import NestedParametersMixin, check_scales, set_random_states
from ._images.blockwise import blockwise
from ._images.images import Images, from_tensor, n_channels, to_tensor
from ._images.labels import comparable_labels, unused_label, without_class
from ._images.reading import check_in_memory, read_parts
from ._images.validation import check_training_data, published_at_end, snapshot
from ._learning.training import (
    BACKGROUND,
    TrainingImages,
    TrainingSettings,
    frozen_recognizer,
    train_recognizer,
)
from ._network.isolation import restores_torch_state
from ._progress import with_progress
from ._search.box_regression import BoxRegression
from ._search.crop_specification import (
    choose_images,
    learn_crop_specification,
    pack_specification,
    unpack_specification,
)
from ._search.image_format import ImageFormat, read_instances
from ._search.instances import instances_table
from ._search.localization import Settings
from ._search.polarity import warn_if_dark_on_light
from ._search.recognizer import Recognizer
from ._search.score_calibration import ScoreCalibration
from ._search.workers import groups, numbered_tables, search
from .metrics import detection_f1_score

__all__ = ["InstanceLocalizer"]

# Pixels of images that are searched together: enough to hide the cost of a call.
_PIXELS_AT_ONCE = 2**19


class InstanceLocalizer(MetaEstimatorMixin, NestedParametersMixin):
    """Find and recognise instances in images of any size, learnt from crops alone.

    `fit` makes training crops from labelled images, without any boxes: it pastes the
    images into scenes, cuts these up as `localize` will cut up images, and trains the
    estimator on the crops and on a class of background. `localize` proposes regions,
    lets the estimator recognise them, and suppresses duplicates.

    Parameters
    ----------
    estimator : classifier with `predict_proba`, default=None
        Recognises crops; None is a `SimilarNetClassifier`. It is trained on images of
        the type, layout and range of X, with the labels of y and `background_` for
        background. If it has `heatmap`, heat takes part. A
        `sklearn.frozen.FrozenEstimator` is used as it is and nothing is trained; its
        parameter `background`, if it has one, names the label of its background.
    proposals : {"image", "grey", "heat"} or callable, default="image"
        Where region proposals come from. "image": stable extremal regions of several
        channels (grey levels as they are and smoothed, edges, colours). "grey": of grey
        levels alone, in less time. "heat": regions of the heatmap, tightened around
        what is bright in them. A callable gets an image, height x width (x n_channels),
        its values between 0 and 1, and returns boxes, n_boxes x 4. All are also cut
        and moved, see `box_regression_`.
    n_thresholds : int, default=31
        Thresholds at which regions are connected, in `fit` and `localize`.
    polarity : {"bright", "dark", "both"}, default="bright"
        Whether instances are bright as in training, dark, or either.
    scales : sequence of float, default=(1.0,)
        Factors by which an image is resized for its heatmaps (image pyramid), of
        which the greatest heat is used.
    heat_threshold : float, default=0.15
        Least heat of a region proposal, between 0 and 1.
    score_threshold : float, default=0.5
        Least score of an instance, between 0 and 1.
    nms_threshold : float, default=0.3
        Greatest intersection over union of two instances (non-maximum suppression).
    n_instance_crops : int, default=40_000
        Most training crops of instances that are made. Of X itself, half as many
        images are trained on as they are, and at least 2,000.
    n_background_crops : int, default=30_000
        Most training crops of background that are made.
    n_mining_rounds : int, default=2
        Rounds of hard-negative mining: a first estimator searches images without
        instances, and what it finds joins the background of the next one.
    rotation : float, default=10.0
        Greatest angle in degrees by which most instances are turned in training, either
        way.
    n_jobs : int, default=None
        Processes in which `localize` searches images: None is one, unless
        ``joblib.parallel_config`` says otherwise, -1 as many as there are cores.
    random_state : int, RandomState instance or None, default=None
        Source of the training crops, and of the estimator where its own is None.
    verbose : int, default=0
        1 shows progress bars for whatever takes long.

    Attributes
    ----------
    estimator_ : classifier
        The trained estimator.
    classes_ : ndarray of shape (n_classes,)
        The labels of instances, sorted.
    background_ : label or None
        The label of background in `estimator_`; None: a frozen estimator has none.
    crop_specification_ : CropSpecification
        Size, object extent and value range of the training images.
    score_calibration_ : (float, float, float)
        Slope, objectness slope and intercept, from held-out images: the log-odds of
        ``score`` are slope * those of the label's probability + objectness slope *
        those of any class's + intercept; (1, 0, 0) if frozen, or no class has ten
        images.
    box_regression_ : dict of str to ndarray, or None
        Weights of the network that moves region proposals and parts of them to
        instances, after Girshick et al. (2014); None if frozen, or if held-out boxes
        did not surely get better.
    image_shape_ : tuple
        (height, width) or (height, width, n_channels) of the training images.
    value_range_ : (float, float)
        Least and greatest value in X, integers scaled to [0, 1]. Images that are far
        from it get a warning.
    n_features_in_ : int
        Values in a training image.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X had names.

    See Also
    --------
    SimilarNetClassifier : The default estimator.
    metrics.LocalizationScorer : Scores for searches over the parameters.

    Examples
    --------
    >>> from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
    >>> from sklearn_similar.datasets import load_mnist_sample, make_scenes
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> localizer = InstanceLocalizer(
    ...     SimilarNetClassifier(lr=2e-3, batch_size=50, max_epochs=3),
    ...     n_instance_crops=200, n_background_crops=200, n_mining_rounds=0,
    ...     random_state=0,
    ... ).fit(X[::4], y[::4])
    >>> scenes, truth = make_scenes(X_test, y_test, n_scenes=2, random_state=0)
    >>> instances = localizer.localize(scenes)
    >>> list(instances.columns)
    ['image', 'label', 'score', 'heat', 'x_min', 'y_min', 'x_max', 'y_max']
    """

    classes_: np.ndarray

    _nested_remedies: ClassVar = {
        "estimator": "pass estimator=SimilarNetClassifier() first"
    }
    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "proposals": [StrOptions({"image", "grey", "heat"}), callable],
        "n_thresholds": [Interval(Integral, 1, 255, closed="both")],
        "polarity": [StrOptions({"bright", "dark", "both"})],
        "scales": ["array-like"],
        "heat_threshold": [Interval(Real, 0, 1, closed="both")],
        "score_threshold": [Interval(Real, 0, 1, closed="both")],
        "nms_threshold": [Interval(Real, 0, 1, closed="both")],
        "n_instance_crops": [Interval(Integral, 0, None, closed="left")],
        "n_background_crops": [Interval(Integral, 1, None, closed="left")],
        "n_mining_rounds": [Interval(Integral, 0, None, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        proposals: Literal["image", "grey", "heat"]
        | Callable[[np.ndarray], Any] = "image",
        n_thresholds: int = 31,
        polarity: Literal["bright", "dark", "both"] = "bright",
        scales: Sequence[float] = (1.0,),
        heat_threshold: float = 0.15,
        score_threshold: float = 0.5,
        nms_threshold: float = 0.3,
        n_instance_crops: int = 40_000,
        n_background_crops: int = 30_000,
        n_mining_rounds: int = 2,
        rotation: float = 10.0,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.proposals = proposals
        self.n_thresholds = n_thresholds
        self.polarity = polarity
        self.scales = scales
        self.heat_threshold = heat_threshold
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.n_instance_crops = n_instance_crops
        self.n_background_crops = n_background_crops
        self.n_mining_rounds = n_mining_rounds
        self.rotation = rotation
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @restores_torch_state
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike, background_images: Any = None) -> Self:
        """Make training crops and train the estimator, or take a frozen one.

        Parameters
        ----------
        X : array, DataFrame or list of images of one size
            Labelled images of one instance each: bright on black, or cut out of
            photographs, with its surroundings.
        y : array-like of shape (n_images,)
            Their labels, of any kind. If the estimator's parameter `background` is one
            of them, its images join the background.
        background_images : list of images, default=None
            Images without instances, of any sizes, grey or colour; uint8 or floats in
            [0, 1]. Textures stand in where there are none.

        Returns
        -------
        self : InstanceLocalizer

        Raises
        ------
        ValueError
            If X, y, a parameter or the estimator cannot be used; the localizer is as
            before.
        """
        with published_at_end(self) as working:
            working._fit(X, y, background_images)
        return self

    @blockwise
    @restores_torch_state
    def localize(self, X: Any) -> Any:
        """Find and recognise the instances in images of any size.

        Parameters
        ----------
        X : array, DataFrame or list of images, iterator, path or list of paths, \
                dask.array or dask.bag
            Rows have the trained size. Images of an iterator, and those of files, of
            which a folder has all in it, are read when they are searched.

        Returns
        -------
        DataFrame, iterator of DataFrame, or Dask DataFrame
            For an iterator, a table of each image as soon as it is searched; for a Dask
            collection, one that is computed later. One row an instance, with the
            columns ``image`` (position in X), ``label``, ``score`` (calibrated
            probability of the label), ``heat`` (greatest in the surest of the boxes
            that became this one; NaN if the estimator has no heatmaps), ``x_min``,
            ``y_min``, ``x_max``, ``y_max`` (pixels, half-open); images in order, best
            scores first.

        Raises
        ------
        NotFittedError
            If the localizer has not been fitted.
        ValueError
            If an image cannot be used; the message, or a note of the error, names it.
        """
        check_is_fitted(self, "estimator_")
        self._validate_params()
        return snapshot(self)._localize(X)

    def score(self, X: Any, y: pd.DataFrame | ArrayLike) -> float:
        """Score of the instances, from their boxes or from labels alone.

        Parameters
        ----------
        X : array, DataFrame or list of images
            As in `localize`.
        y : DataFrame or array-like of shape (n_images,)
            A table of the true instances, ``image, label, x_min, y_min, x_max,
            y_max``; or one label for each image.

        Returns
        -------
        float
            For a table, the F1 of the instances with the right label at an IoU of 0.5.
            For labels, the share of images whose instance of the highest score has
            the right label; images of background are right where nothing is found.
        """
        check_in_memory(X, "score")
        fitted = snapshot(self)
        instances = fitted.localize(X)
        if isinstance(y, pd.DataFrame) and y.shape[1] > 1:
            return detection_f1_score(y, instances, zero_division=0.0)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        labels = comparable_labels(y, "y", fitted.classes_, fitted.background_)
        best = instances.drop_duplicates("image").set_index("image")["label"]
        found = [best.get(index, fitted.background_) for index in range(len(labels))]
        return float(np.mean([a == b for a, b in zip(found, labels, strict=True)]))

    def _localize(self, X) -> pd.DataFrame:
        """A table, or for an iterator one of each image as it is found."""
        settings = Settings(
            proposals=self.proposals,
            n_thresholds=self.n_thresholds,
            polarity=self.polarity,
            scales=check_scales(self.scales),
            heat_threshold=self.heat_threshold,
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
        )
        recognizer = self._recognizer()
        if settings.proposals == "heat" and not recognizer.has_heatmaps:
            raise ValueError(
                "proposals='heat' needs heatmaps, which the estimator does not have; "
                "pass proposals='image'."
            )
        recognizer.check_heatmaps()
        channels = n_channels(self.image_shape_)
        parts, n_images = read_parts(self, X, self._layout, channels, _PIXELS_AT_ONCE)
        tasks = (
            group
            for images in parts
            for group in groups(images, channels, _PIXELS_AT_ONCE)
        )
        found = with_progress(
            search(tasks, recognizer, settings, self.n_jobs),
            "localize",
            n_images,
            "image",
            self.verbose,
        )
        if isinstance(X, Iterator):
            return numbered_tables(found, self.classes_)
        return instances_table(list(found), self.classes_)

    def _fit(self, X, y, background_images) -> None:
        image_shape = getattr(self.estimator, "image_shape", None)
        images, labels = check_training_data(self, X, y, image_shape, min_classes=1)
        self.background_ = getattr(self.estimator, "background", None)
        if self.background_ is not None:
            background = self.background_
            self.classes_, labels = without_class(self.classes_, labels, background)
        instances = np.flatnonzero(labels != BACKGROUND)
        pixels = images.select(instances[choose_images(labels[instances])])
        samples = to_tensor(pixels, n_channels(self.image_shape_))
        self.crop_specification_ = learn_crop_specification(samples)
        layout = "grey" if len(self.image_shape_) == 2 else "colour"
        self._layout = "rows" if images.layout == "rows" else layout
        warn_if_dark_on_light(samples, self.crop_specification_)
        if isinstance(self.estimator, FrozenEstimator):
            self._take_frozen(images)
        else:
            self._train(images, labels, background_images)

    def _take_frozen(self, images: Images) -> None:
        """Set what depends on an estimator that is trained already."""
        check_is_fitted(frozen := self.estimator)
        recognizer, classes = frozen_recognizer(
            frozen, self.classes_, self.background_, self._image_format()
        )
        # An estimator for images of another size says so.
        frozen.predict_proba(self._for_estimator(images, np.arange(1)))
        self.classes_ = classes
        self._take(recognizer)

    def _train(self, images: Images, labels: np.ndarray, background_images) -> None:
        """Train the estimator on crops of scenes that are made of the images."""
        random_state = check_random_state(self.random_state)
        estimator = self.estimator
        if estimator is None:
            estimator = default_estimator(self.verbose)
        # First, as an estimator that cannot be cloned is refused before crops are made.
        estimator = clone(estimator)
        is_background = labels == BACKGROUND
        instances = np.flatnonzero(~is_background)
        image_format = self._image_format()
        pixels, shown = read_instances(
            images, instances, image_format, self.image_shape_
        )
        if self.background_ is None:
            self.background_ = unused_label(self.classes_)
        set_random_states(estimator, random_state)
        if "background" in estimator.get_params(deep=False):
            estimator.set_params(background=self.background_)
        recognizer = train_recognizer(
            estimator,
            TrainingImages(
                instances=pixels,
                labels=labels[shown],
                background=self._for_estimator(images, np.flatnonzero(is_background)),
                background_images=background_images,
                names=np.append(self.classes_, self.background_),
            ),
            image_format,
            TrainingSettings(
                n_instance_crops=self.n_instance_crops,
                n_background_crops=self.n_background_crops,
                n_mining_rounds=self.n_mining_rounds,
                rotation=self.rotation,
                n_thresholds=self.n_thresholds,
                verbose=self.verbose,
            ),
            random_state,
        )
        self._take(recognizer)

    def _take(self, recognizer: Recognizer) -> None:
        self.estimator_, self._columns = recognizer.estimator, recognizer.columns
        self.score_calibration_ = tuple(recognizer.calibration)
        learnt = recognizer.box_regression
        self.box_regression_ = learnt.weights() if learnt else None

    def _for_estimator(self, images: Images, indices: np.ndarray) -> np.ndarray:
        """Some of the training images as the estimator takes images."""
        tensor = to_tensor(images.select(indices), n_channels(self.image_shape_))
        return from_tensor(tensor, np.dtype(self._dtype), self._layout)

    def _image_format(self) -> ImageFormat:
        learned, dtype = self.crop_specification_, np.dtype(self._dtype)
        return ImageFormat(specification=learned, dtype=dtype, layout=self._layout)

    def _recognizer(self) -> Recognizer:
        # Localizers that were saved before do not have it.
        weights = getattr(self, "box_regression_", None)
        return Recognizer(
            estimator=self.estimator_,
            image_format=self._image_format(),
            columns=self._columns,
            calibration=ScoreCalibration(*self.score_calibration_),
            box_regression=BoxRegression.from_weights(weights) if weights else None,
        )

    def __getstate__(self):
        return pack_specification(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(unpack_specification(state))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags
