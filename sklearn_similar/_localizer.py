"""`InstanceLocalizer`: parameters, validation and state.

The search is in `_search`, what `fit` learns in `_learning`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._blockwise import blockwise
from ._classifier import SimilarNetClassifier
from ._compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    validate_parameter_constraints,
)
from ._estimator import (
    NestedParametersMixin,
    check_scales,
    published_at_end,
    set_random_states,
    snapshot,
)
from ._images.images import Images, n_channels
from ._images.labels import BACKGROUND, comparable_labels, unused_label, without_class
from ._images.messages import warn_user
from ._images.photographs import grey_or_colour
from ._images.reading import is_images, uint8_image_list, with_learnt_scaling
from ._images.scaling import BY_TYPE, Scaling
from ._images.streams import check_in_memory, read_stream
from ._images.transparency import fill_for
from ._images.validation import check_training_data, image_names, scaled_crops
from ._learning.annotated import read_annotated
from ._learning.heads import check_head, default_head
from ._learning.photographs import train_on_photographs
from ._learning.recipe import LearningRecipe, learning_recipe
from ._learning.settings import TrainingSettings
from ._learning.training import (
    TrainingImages,
    frozen_recognizer,
    read_objects,
    train_recognizer,
)
from ._network.architectures import SmallCNN
from ._network.backbone import Backbone
from ._network.isolation import restores_torch_state
from ._network.pretrained import PRETRAINED, make_backbone
from ._progress import with_progress
from ._search.box_regression import BoxRegression
from ._search.counts import MIN_SCORE, counts_table
from ._search.crop_recognizer import CropRecognizer
from ._search.crop_specification import (
    choose_images,
    learn_crop_specification,
    pack_specification,
    unpack_specification,
)
from ._search.crowding import CrowdingCheck
from ._search.detections import (
    Detections,
    best_labels,
    detections_table,
    with_paths,
)
from ._search.image_format import ImageFormat
from ._search.polarity import warn_if_dark_on_light
from ._search.pooled_recognizer import PooledRecognizer
from ._search.recognizer import Recognizer
from ._search.score_calibration import UNCALIBRATED, ScoreCalibration
from ._search.settings import ProposalSettings, SearchSettings, SizeRange
from ._search.sources import PROPOSAL_SOURCES
from ._search.workers import groups, numbered_tables, search
from ._tables.checks import is_table, joined_table
from ._tables.matching import count_matches

__all__ = ["InstanceLocalizer"]

# Epochs after which the accuracy on crops of MNIST's training digits rose little.
_MAX_EPOCHS = 6
# More rounds of mining changed nothing on photographs: most windows are background.
_MAX_PHOTOGRAPH_ROUNDS = 1
# Attributes of localizers that learnt from boxes.
_OF_BACKBONE = (
    "backbone_",
    "backbone_layers_",
    "backbone_detail_layer_",
    "feature_specification_",
    "_box_models",
)
# Attributes of localizers that learnt from crops.
_OF_CROPS = (
    "crop_specification_",
    "n_features_in_",
    "feature_names_in_",
    "_has_background_images",
)
# Parameters that act only in training from crops.
_CROP_PARAMETERS = (
    "crop_size",
    "fills_frame",
    "n_instance_crops",
    "n_background_crops",
    "rotation",
)


class InstanceLocalizer(MetaEstimatorMixin, NestedParametersMixin):
    """Detect and label objects in images of any size, learnt from crops or from boxes.

    From labelled crops, `fit` pastes them into synthetic scenes, crops these as
    `localize` will crop images, and trains the estimator on the crops and on a class of
    background; no boxes are needed. From photographs with a table of boxes, the
    photographs go through a backbone, and the estimator is trained on its features in
    boxes of objects and of background; a few boxes are enough to start. `localize`
    proposes regions, refines their boxes, lets the estimator recognise them, and
    suppresses duplicates.

    Parameters
    ----------
    estimator : classifier with `predict_proba`, default=None
        From crops: recognises crops; None is a `SimilarNetClassifier`. It is trained on
        images of the type, layout and range of X, with the labels of y and
        `background_` for background. If it has `heatmap`, detections are filtered by
        their heat. A `sklearn.frozen.FrozenEstimator` is used as it is, without
        training; its parameter `background`, if it has one, names the label of its
        background. From boxes: recognises feature vectors of boxes; None is a small
        neural network.
    backbone : torch.nn.Module or "efficientnet_lite0", default=None
        Network whose feature maps recognise objects where `fit` gets boxes. It takes
        images n x n_channels x height x width with values in [0, 1]: put the
        normalisation in front, as in ``torch.nn.Sequential(Normalize(mean, std),
        network)``. It is copied in single precision, and not trained.
        "efficientnet_lite0" is pretrained on ImageNet, from the packages of the extra
        ``pretrained``. None: a small network is trained on the photographs.
    backbone_layers : sequence of str, default=None
        Names of the layers of the backbone whose feature maps are used, as in
        `named_modules`. None: the last layers of stride 8 and of stride 16.
    annotation : {"complete", "partial"}, default="complete"
        Whether all objects in the photographs have boxes. If "partial", background is
        learnt only from parts of the objects with boxes, and from photographs without
        any.
    proposals : {"auto", "windows", "image", "grey", "heat"} or callable, default="auto"
        Source of region proposals, in `localize` and in `fit`. "auto": "windows" where
        `fit` got boxes, else "image". "windows": sliding windows of the sizes of the
        objects in training, which need boxes. "image": stable extremal
        regions of several channels (grey levels with and without smoothing, edges,
        colours), and the whole image. "grey": of grey levels only, which is faster.
        "heat": regions of the heatmap, tightened around bright pixels; `fit`, which has
        no heatmaps yet, takes "image". A callable gets an image, height x width (x
        n_channels) with values between 0 and 1, and returns boxes, n_boxes x 4. All
        proposals are also split and refined, see `box_regression_`.
    n_thresholds : int, default=31
        Number of thresholds at which regions are connected, in `fit` and `localize`.
    polarity : {"bright", "dark", "both"}, default="bright"
        Whether objects are bright as in training, dark, or either. Acts in `localize`
        and `score` alone: `fit` mines hard negatives and calibrates scores on images
        without objects and on their negatives, so that it can be changed afterwards.
    scales : sequence of float, default=(1.0,)
        Factors by which an image is resized for its heatmaps (image pyramid); the
        maximum over the scales is used.
    heat_threshold : float, default=0.15
        Minimum heat of a detection, and with proposals="heat" of a region, between 0
        and 1.
    score_threshold : float, default=0.5
        Minimum score of a detection, between 0 and 1.
    nms_threshold : float, default=0.3
        Maximum intersection over union of two detections (non-maximum suppression).
    min_size : float, default=None
        Minimum length of the longer side of a detection's box in pixels, in `localize`
        and `score`. Smaller region proposals are not recognised, which saves time.
    max_size : float, default=None
        Maximum length of the longer side of a detection's box in pixels, likewise.
    crop_size : int, default=None
        Height and width to which crops in `fit` are scaled, with their aspect ratio and
        centred on black. None: their size if it is the same for all, else 28.
    value_range : (float, float), default=None
        Values of pixels that become 0 and 1, such as (0, 4095) for 12 bits, in images
        of any type (but not of 8 bits, if these cannot hold it). Values outside become
        0 and 1, with a warning. None: that of `estimator`, or learnt, see `scaling_`.
        Acts in `fit`.
    fills_frame : bool, default=None
        Whether the images of X are crops of photographs, with background context,
        instead of objects on black. None: learnt, with a warning if X has many images
        of both kinds.
    n_instance_crops : int or "auto", default="auto"
        Maximum number of synthetic object crops. "auto": 40,000 for 60,000 images of
        objects in X and more, fewer in proportion to the 0.6th power of their number
        (3,429 for 1,000 images), at least 667. In addition, 1.25 times as many images
        of X, and at least 2,000, are learnt as they are.
    n_background_crops : int or "auto", default="auto"
        Maximum number of background crops. "auto": 30,000, and fewer likewise (2,572
        for 1,000 images), at least 500.
    n_mining_rounds : int, default=2
        Rounds of hard-negative mining: a first estimator searches images without
        objects, and its detections join the background crops of the next. From boxes,
        at most one round, in the photographs.
    rotation : float, default=10.0
        Maximum angle in degrees by which objects are rotated in training, either way.
    n_jobs : int, default=None
        Processes in which `localize` searches images. None is one, unless
        ``joblib.parallel_config`` says otherwise; -1 is one for each core. No more are
        started than there are images.
    random_state : int, RandomState instance or None, default=None
        Source of randomness of the training crops, and of the estimator if its
        `random_state` is None.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    estimator_ : classifier
        The trained estimator.
    backbone_ : torch.nn.Module
        The backbone; where `fit` got boxes only.
    backbone_layers_ : tuple of str
        Its layers whose feature maps are used; with a backbone only.
    backbone_detail_layer_ : str or None
        Its layer whose activations also help to distinguish similar classes, wherever
        they are in the box: that with the most filters. None if `backbone_layers` names
        layers, if there are fewer than 50 objects, or if the network was trained on the
        photographs.
    feature_specification_ : FeatureSpecification
        With a backbone only: the factor by which images are resized (``scale``), the
        sizes of windows, and the minimum, median and maximum side of the objects in
        training, in pixels.
    classes_ : ndarray of shape (n_classes,)
        The labels of objects, sorted.
    background_ : label or None
        The label of background in `estimator_`; None if a frozen estimator has none.
    crop_specification_ : CropSpecification
        Size, object extent and value range of the training images, and whether they
        have background context (`fills_frame`).
    score_calibration_ : (float, float, float)
        Slope, objectness slope and intercept, learnt on held-out images: the log-odds
        of ``score`` are slope * log-odds of the label's probability + objectness slope
        * log-odds of the probability of any class + intercept. (1, 0, 0) for a frozen
        estimator, or if ten images cannot be held out, at most a fifth of each class;
        from boxes, with fewer than three photographs with objects.
    box_regression_ : dict of str to ndarray, or None
        Weights of the network that moves region proposals and their parts to objects,
        after Girshick et al. (2014). None for a frozen estimator, with fewer than 20
        images, if it does not improve the boxes of held-out objects (10 %, and at
        least five), or if `fit` got boxes, whose regression is linear.
    image_shape_ : tuple
        (height, width) or (height, width, n_channels) of the training images.
    scaling_ : dict of str to (float, float)
        Values of pixels that become 0 and 1, for each type of the images in X; "any" is
        the key of `value_range`. (0, 255) for 8 bits; for other integers, and for
        floats from 0 to above 255, the range of the least number of bits (8, 10, 12,
        14, 16...) that holds X; for other floats (0, 1). That of a frozen estimator, if
        it has one for the type.
    value_range_ : (float, float)
        Minimum and maximum value in X, scaled by `scaling_`. Images far from this range
        get a warning.
    n_features_in_ : int
        Number of values in a training image.
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
    ...     n_instance_crops=60, n_background_crops=60, n_mining_rounds=0,
    ...     random_state=0,
    ... ).fit(X[::10], y[::10])
    >>> scenes, truth = make_scenes(X_test, y_test, n_scenes=2, random_state=0)
    >>> detections = localizer.localize(scenes)
    >>> list(detections.columns)
    ['image', 'label', 'score', 'heat', 'x_min', 'y_min', 'x_max', 'y_max']
    """

    classes_: np.ndarray
    image_shape_: Any
    box_regression_: dict[str, np.ndarray] | None
    _columns: Any

    # Figures of `fit` besides the parameters; a subclass may choose others.
    _choose_recipe: ClassVar = staticmethod(learning_recipe)
    _nested_remedies: ClassVar = {
        "estimator": "pass estimator=SimilarNetClassifier() first"
    }
    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "backbone": [StrOptions(set(PRETRAINED)), nn.Module, None],
        "backbone_layers": ["array-like", None],
        "annotation": [StrOptions({"complete", "partial"})],
        "proposals": [StrOptions({"auto", *PROPOSAL_SOURCES}), callable],
        "n_thresholds": [Interval(Integral, 1, 255, closed="both")],
        "polarity": [StrOptions({"bright", "dark", "both"})],
        "scales": ["array-like"],
        "heat_threshold": [Interval(Real, 0, 1, closed="both")],
        "score_threshold": [Interval(Real, 0, 1, closed="both")],
        "nms_threshold": [Interval(Real, 0, 1, closed="both")],
        "min_size": [Interval(Real, 0, None, closed="left"), None],
        "max_size": [Interval(Real, 0, None, closed="neither"), None],
        "crop_size": [Interval(Integral, 1, None, closed="left"), None],
        "value_range": ["array-like", None],
        "fills_frame": ["boolean", None],
        "n_instance_crops": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_background_crops": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
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
        backbone: nn.Module | str | None = None,
        backbone_layers: Sequence[str] | None = None,
        annotation: Literal["complete", "partial"] = "complete",
        proposals: str | Callable[[np.ndarray], Any] = "auto",
        n_thresholds: int = 31,
        polarity: Literal["bright", "dark", "both"] = "bright",
        scales: Sequence[float] = (1.0,),
        heat_threshold: float = 0.15,
        score_threshold: float = 0.5,
        nms_threshold: float = 0.3,
        min_size: float | None = None,
        max_size: float | None = None,
        crop_size: int | None = None,
        value_range: Sequence[float] | None = None,
        fills_frame: bool | None = None,
        n_instance_crops: int | Literal["auto"] = "auto",
        n_background_crops: int | Literal["auto"] = "auto",
        n_mining_rounds: int = 2,
        rotation: float = 10.0,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.backbone = backbone
        self.backbone_layers = backbone_layers
        self.annotation = annotation
        self.proposals = proposals
        self.n_thresholds = n_thresholds
        self.polarity = polarity
        self.scales = scales
        self.heat_threshold = heat_threshold
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.min_size = min_size
        self.max_size = max_size
        self.crop_size = crop_size
        self.value_range = value_range
        self.fills_frame = fills_frame
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
        """Learn from labelled crops, or from photographs with boxes.

        Parameters
        ----------
        X : array, DataFrame or list of images; or photographs
            Crops: labelled images of one object each, bright on black, or cropped from
            photographs; `crop_size` says how they are scaled. Photographs: a list of
            images of any sizes or of paths, a folder, or an array. Up to 500 objects
            are also learnt from their mirror images, unless these change the labels, as
            those of letters do: held-out photographs decide.
        y : array-like of shape (n_images,) or DataFrame
            Of crops: their labels, of any type. If the estimator's parameter
            `background` is one of them, its images join the background. Of photographs:
            a table of the objects, ``image, label, x_min, y_min, x_max, y_max``
            (position in X, and pixels, half-open), as `score` takes it and
            `datasets.load_annotations` reads it; or a list of such tables, one for each
            photograph, which `sklearn.model_selection.GridSearchCV` can split. Rows
            whose column ``iscrowd`` is True are regions from which nothing is learnt.
        background_images : list of images, default=None
            Images without objects, of any sizes, grey or colour, scaled as X is. If
            none are given, synthetic textures are used. All images are used, in random
            parts that are resized and rotated: in scenes, at most 8 of each and 128 of
            up to 1024 x 1024 pixels; in each mining round, at most 24 of each and 192
            of up to 320 x 320 pixels; fewer for few background crops, but at least one
            of each. From four images up, a tenth and at least one of them is held out
            to calibrate scores; of fewer, other parts are used for that.

        Returns
        -------
        self : InstanceLocalizer

        Raises
        ------
        ValueError
            If X, y, a parameter or the estimator cannot be used; the localizer is left
            unchanged.

        Warns
        -----
        UserWarning
            If X has too few images to hold some out: with fewer than about 50 crops,
            scores are not calibrated, and with fewer than 20, boxes are not refined;
            with fewer than three photographs with objects, scores are not calibrated.
        """
        with published_at_end(self) as working:
            working._fit(X, y, background_images)
        return self

    @blockwise
    @restores_torch_state
    def localize(self, X: Any) -> Any:
        """Detect and label the objects in images of any size.

        Parameters
        ----------
        X : array, DataFrame or list of images, iterator, path or list of paths, \
                dask.array or dask.bag
            Rows are images of the trained size. Iterators and image files are read
            while they are searched; a folder means all image files in it.

        Returns
        -------
        DataFrame, iterator of DataFrame, or Dask DataFrame
            One row for each detection, with the columns ``image`` (position in X),
            ``label``, ``score`` (calibrated probability of the label), ``heat``
            (maximum heatmap value in the highest-scoring of the merged boxes; NaN if
            the estimator has no heatmaps), ``x_min``, ``y_min``, ``x_max``, ``y_max``
            (pixels, half-open). For files, the last column is ``path``. Images are in
            order, each with its highest score first. An iterator gives a table for each
            image as soon as it is searched, a Dask collection a table that is computed
            later.

        Raises
        ------
        NotFittedError
            If the localizer has not been fitted.
        ValueError
            If an image cannot be used; the message, or a note of the error, names it.
        """
        check_is_fitted(self, "estimator_")
        self._validate_params()
        fitted = snapshot(self)
        to_table = partial(detections_table, classes=fitted.classes_)
        return fitted._search(X, fitted._search_settings(), to_table)

    @blockwise
    @restores_torch_state
    def count(self, X: Any, *, confidence: float = 0.9) -> Any:
        """Count the objects of each label in images of any size.

        Each detection counts with its score, the probability that it is right.
        Detections with scores from 0.05 are included, whatever `score_threshold` is.

        Parameters
        ----------
        X : array, DataFrame or list of images, iterator, path or list of paths, \
                dask.array or dask.bag
            As in `localize`.
        confidence : float, default=0.9
            Probability that the number of objects lies in the interval, in (0, 1).

        Returns
        -------
        DataFrame, iterator of DataFrame, or Dask DataFrame
            One row for each image and label, with the columns ``image`` (position in
            X), ``label``, ``count`` (expected number of objects), ``lower`` and
            ``upper`` (integers, both included in the interval), and for files ``path``.
            As in `localize`, an iterator gives a table for each image.

        Raises
        ------
        NotFittedError
            If the localizer has not been fitted.
        ValueError
            If `confidence` or an image cannot be used.

        Warns
        -----
        UserWarning
            If scores are not calibrated, see `score_calibration_`.

        See Also
        --------
        localize : The detections.
        metrics.count_error : Error of counts, given the true objects.

        Notes
        -----
        If detections are independent, the number of right detections has a Poisson
        binomial distribution. ``count`` is its mean, and the interval lies between its
        quantiles at (1 - confidence) / 2 and (1 + confidence) / 2. It is exact for up
        to 500 detections of a label in an image, and a normal approximation for more.

        The interval covers the uncertainty of the scores alone. It does not cover
        objects without a region proposal, objects that are detected with another
        label, or images unlike those of training. Compare counts with true numbers on
        some of your images.

        Examples
        --------
        >>> from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
        >>> from sklearn_similar.datasets import load_mnist_sample, make_scenes
        >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
        >>> localizer = InstanceLocalizer(
        ...     SimilarNetClassifier(lr=2e-3, batch_size=50, max_epochs=3),
        ...     n_instance_crops=60, n_background_crops=60, n_mining_rounds=0,
        ...     random_state=0,
        ... ).fit(X[::10], y[::10])
        >>> scenes, truth = make_scenes(X_test, y_test, n_scenes=2, random_state=0)
        >>> counts = localizer.count(scenes)
        >>> list(counts.columns)
        ['image', 'label', 'count', 'lower', 'upper']
        >>> len(counts)
        20
        """
        check_is_fitted(self, "estimator_")
        self._validate_params()
        validate_parameter_constraints(
            {"confidence": [Interval(Real, 0, 1, closed="neither")]},
            {"confidence": confidence},
            caller_name=f"{type(self).__name__}.count",
        )
        fitted = snapshot(self)
        if tuple(fitted.score_calibration_) == UNCALIBRATED:
            warn_user(
                "Scores are not calibrated, so counts and their intervals may be far "
                "off: check them on images with known numbers of objects, or fit an "
                "estimator that is not frozen to more images."
            )
        settings = replace(fitted._search_settings(), score_threshold=MIN_SCORE)
        to_table = partial(counts_table, classes=fitted.classes_, confidence=confidence)
        return fitted._search(X, settings, to_table)

    def score(self, X: Any, y: Any) -> float:
        """Score detections, by their boxes or by their labels only.

        Parameters
        ----------
        X : array, DataFrame or list of images
            As in `localize`.
        y : DataFrame, list of DataFrame or array-like of shape (n_images,)
            A table of the true objects, ``image, label, x_min, y_min, x_max, y_max``,
            or one for each image; or one label for each image.

        Returns
        -------
        float
            For a table, the F1 of the detections with the right label at an IoU of 0.5.
            For labels, the share of images whose highest-scoring detection has the
            right label; background images are right if nothing is detected.
        """
        check_in_memory(X, "score")
        fitted = snapshot(self)
        detections = fitted.localize(X)
        if is_table(y):
            return count_matches(joined_table(y), detections).f1()
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        labels = comparable_labels(y, "y", fitted.classes_, fitted.background_)
        predicted = best_labels(detections, len(labels), fitted.background_)
        is_right = [a == b for a, b in zip(predicted, labels, strict=True)]
        return float(np.mean(is_right))

    def _search(
        self,
        X: Any,
        settings: SearchSettings,
        to_table: Callable[[list[Detections]], pd.DataFrame],
    ) -> Any:
        """A table, or for an iterator one of each image as soon as it is searched."""
        recognizer = self._recognizer()
        if self.proposals == "heat" and not recognizer.has_heatmaps:
            raise ValueError(
                "proposals='heat' needs heatmaps, which the estimator does not have; "
                "pass proposals='image'."
            )
        recognizer.check_estimator()
        stream = read_stream(self, X)
        parts = stream.parts
        if self.image_shape_ is None:
            parts = grey_or_colour(parts)
        images = groups(parts, self._n_channels())
        crowding = None
        if self._is_background_unknown():
            crowding = CrowdingCheck(self.crop_specification_)
            images = crowding.images(images)
        searched = search(images, recognizer, settings, self.n_jobs, image_names(self))
        if crowding is not None:
            searched = crowding.detections(searched)
        detections = with_progress(
            searched, "localize", stream.n_images, "image", self.verbose
        )
        if isinstance(X, Iterator):
            return numbered_tables(detections, to_table)
        table = to_table(list(detections))
        return table if stream.paths is None else with_paths(table, stream.paths)

    def _n_channels(self) -> int:
        if self.image_shape_ is None:
            return 3 if self._layout == "colour" else 1
        return n_channels(self.image_shape_)

    def _is_background_unknown(self) -> bool:
        """Whether crops of photographs were learnt without photographs of background.

        Frozen estimators, and those of earlier versions, may know it.
        """
        if getattr(self, "backbone_", None) is not None:
            return False
        has_background = getattr(self, "_has_background_images", True)
        return self.crop_specification_.fills_frame and not has_background

    def _recipe(self) -> LearningRecipe:
        return self._choose_recipe(self.crop_specification_.fills_frame)

    def _proposal_settings(self) -> ProposalSettings:
        specification = getattr(self, "feature_specification_", None)
        source = self.proposals
        if source == "auto":
            source = "image" if specification is None else "windows"
        if source == "windows" and specification is None:
            raise ValueError(
                "proposals='windows' needs the sizes of objects, which fit learns from "
                "photographs with boxes only; pass proposals='auto'."
            )
        return ProposalSettings(
            source=source,
            n_thresholds=self.n_thresholds,
            window_sizes=specification.window_sizes if specification else (),
            whole_images=self.background_ is not None,
        )

    def _search_settings(self) -> SearchSettings:
        return SearchSettings(
            proposals=self._proposal_settings(),
            polarity=self.polarity,
            scales=check_scales(self.scales),
            heat_threshold=self.heat_threshold,
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
            sizes=SizeRange.checked(self.min_size, self.max_size),
        )

    def _fit(self, X, y, background_images) -> None:
        for name in (*_OF_BACKBONE, *_OF_CROPS):
            self.__dict__.pop(name, None)
        if is_table(y):
            self._fit_photographs(X, joined_table(y), background_images)
        else:
            self._fit_crops(X, y, background_images)

    def _fit_photographs(self, X, y: pd.DataFrame, background_images) -> None:
        """Train on the objects of a table."""
        self._warn_of_crop_parameters()
        random_state = check_random_state(self.random_state)
        estimator = self.estimator
        if estimator is None:
            estimator = default_head()
        check_head(estimator)
        estimator = clone(estimator)
        set_random_states(estimator, random_state)
        given = Scaling.given(self.value_range)
        backbone = make_backbone(self.backbone, self.backbone_layers)
        photographs, self.classes_ = read_annotated(
            X,
            y,
            background_images,
            backbone.n_channels if backbone else None,
            self.annotation == "complete",
            fill_for(self),
            given,
        )
        self.scaling_ = dict(photographs.images.scaling.ranges)
        self.background_ = unused_label(self.classes_)
        recognizer = train_on_photographs(
            estimator,
            photographs,
            np.append(self.classes_, self.background_),
            backbone,
            ProposalSettings(
                source="windows" if self.proposals == "auto" else self.proposals,
                n_thresholds=self.n_thresholds,
            ),
            self._choose_recipe(True).photographs,
            random_state,
            n_mining_rounds=min(self.n_mining_rounds, _MAX_PHOTOGRAPH_ROUNDS),
            verbose=self.verbose,
        )
        # Images of any size are searched, grey or colour.
        self.image_shape_, self.value_range_, self._dtype = None, (0.0, 1.0), "uint8"
        self._layout = "colour" if recognizer.backbone.n_channels == 3 else "grey"
        self.estimator_, self._columns = recognizer.estimator, recognizer.columns
        self.backbone_ = recognizer.backbone.module
        self.backbone_layers_ = recognizer.backbone.layers
        self.backbone_detail_layer_ = recognizer.backbone.detail_layer
        self.feature_specification_ = recognizer.specification
        self.score_calibration_ = tuple(recognizer.calibration)
        self.box_regression_ = None
        self._box_models = recognizer.overlap, recognizer.regressions

    def _warn_of_crop_parameters(self) -> None:
        """Name parameters with other values than the default that boxes do not use."""
        parameters = signature(type(self)).parameters
        unused = [
            name
            for name in _CROP_PARAMETERS
            if getattr(self, name) not in (None, parameters[name].default)
        ]
        if unused:
            warn_user(
                f"{', '.join(unused)} act in training from crops only, and y is a "
                "table of boxes; leave them out, or pass crops with their labels."
            )

    def _fit_crops(self, X, y, background_images) -> None:
        """Train on labelled crops."""
        if self.backbone is not None:
            warn_user(
                "backbone is not used, as y holds labels of crops; pass photographs "
                "with a table of boxes, or backbone=None."
            )
        image_shape = getattr(self.estimator, "image_shape", None)
        # A network that was trained elsewhere has a scaling.
        module = getattr(self.estimator, "module", None)
        is_fixed = getattr(self.estimator, "max_epochs", None) == 0
        learns_scaling = not (is_fixed and isinstance(module, nn.Module))
        fill = fill_for(self, known := self._known_scaling())
        # Black is known without white.
        if learns_scaling and fill.level != "black" and is_images(X):
            fill = with_learnt_scaling(fill, X)
        X = scaled_crops(X, self.crop_size, fill)
        images, labels, _ = check_training_data(
            self,
            X,
            y,
            image_shape,
            min_classes=1,
            known=known,
            learns_scaling=learns_scaling,
            fill=fill,
        )
        self.background_ = getattr(self.estimator, "background", None)
        if self.background_ is not None:
            self.classes_, labels = without_class(
                self.classes_, labels, self.background_
            )
        rows = np.flatnonzero(labels != BACKGROUND)
        chosen = rows[choose_images(labels[rows])]
        samples = images.tensor(chosen, n_channels(self.image_shape_))
        self.crop_specification_ = learn_crop_specification(samples, self.fills_frame)
        layout = "grey" if len(self.image_shape_) == 2 else "colour"
        self._layout = "rows" if images.layout == "rows" else layout
        warn_if_dark_on_light(samples, self.crop_specification_)
        is_frozen = isinstance(self.estimator, FrozenEstimator)
        has_background = background_images is not None or (labels == BACKGROUND).any()
        self._has_background_images = bool(is_frozen or has_background)
        if is_frozen:
            self._take_frozen(images)
        else:
            self._train(images, labels, background_images)

    def _known_scaling(self) -> Scaling:
        """The scaling that is not learnt: the user's, or that of the estimator.

        Raises ValueError if both are given and differ.
        """
        scaling = Scaling.given(self.value_range)
        if isinstance(self.estimator, FrozenEstimator):
            of_frozen = Scaling.of(self.estimator)
            if scaling and not scaling.agrees_with(of_frozen):
                raise ValueError(
                    f"value_range is {self.value_range!r}, but the frozen estimator "
                    f"has the ranges {dict(of_frozen.ranges)}; leave value_range out."
                )
            return scaling or of_frozen
        of_estimator = Scaling.given(getattr(self.estimator, "value_range", None))
        if scaling and of_estimator and scaling != of_estimator:
            raise ValueError(
                f"value_range is {self.value_range!r}, but that of the estimator is "
                f"{self.estimator.value_range!r}; give it to the localizer alone."
            )
        return scaling or of_estimator or BY_TYPE

    def _take_frozen(self, images: Images) -> None:
        """Set what depends on an estimator that is trained already."""
        check_is_fitted(frozen := self.estimator)
        image_format = self._image_format()
        recognizer, classes = frozen_recognizer(
            frozen, self.classes_, self.background_, image_format
        )
        # Raises if the estimator takes images of another size.
        frozen.predict_proba(image_format.select(images, np.arange(1)))
        self.classes_ = classes
        self._set_recognizer(recognizer)

    def _train(self, images: Images, labels: np.ndarray, background_images) -> None:
        """Train the estimator on crops of scenes that are made of the images."""
        random_state = check_random_state(self.random_state)
        estimator = self.estimator
        if estimator is None:
            estimator = _default_estimator(self.verbose)
        # First, as an estimator that cannot be cloned is refused before crops are made.
        estimator = clone(estimator)
        image_format = self._image_format()
        rows, objects = read_objects(
            images, np.flatnonzero(labels != BACKGROUND), image_format
        )
        if background_images is not None:
            background_images = uint8_image_list(
                background_images, "background_images", Scaling.of(self)
            )
        if self.background_ is None:
            self.background_ = unused_label(self.classes_)
        set_random_states(estimator, random_state)
        if "background" in estimator.get_params(deep=False):
            estimator.set_params(background=self.background_)
        n_instance_crops, n_background_crops = self._recipe().crop_numbers.numbers(
            len(rows), self.n_instance_crops, self.n_background_crops
        )
        recognizer = train_recognizer(
            estimator,
            TrainingImages(
                images=images,
                rows=rows,
                objects=objects,
                labels=labels[rows],
                background_rows=np.flatnonzero(labels == BACKGROUND),
                background_images=background_images or [],
                names=np.append(self.classes_, self.background_),
            ),
            image_format,
            TrainingSettings(
                n_instance_crops=n_instance_crops,
                n_background_crops=n_background_crops,
                n_mining_rounds=self.n_mining_rounds,
                rotation=self.rotation,
                proposals=self._proposal_settings(),
                verbose=self.verbose,
            ),
            self._recipe(),
            random_state,
        )
        self._set_recognizer(recognizer)

    def _set_recognizer(self, recognizer: CropRecognizer) -> None:
        self.estimator_, self._columns = recognizer.estimator, recognizer.columns
        self.score_calibration_ = tuple(recognizer.calibration)
        regression = recognizer.box_regression
        self.box_regression_ = regression.weights() if regression else None

    def _image_format(self) -> ImageFormat:
        return ImageFormat(
            specification=self.crop_specification_,
            n_channels=self._n_channels(),
            dtype=np.dtype(self._dtype),
            layout=self._layout,
            scaling=Scaling.of(self),
        )

    def _recognizer(self) -> Recognizer:
        if getattr(self, "backbone_", None) is None:
            return self._crop_recognizer()
        overlap, regressions = self._box_models
        backbone = Backbone(
            self.backbone_,
            self.backbone_layers_,
            self._n_channels(),
            self.backbone_detail_layer_,
        )
        return PooledRecognizer(
            backbone=backbone,
            specification=self.feature_specification_,
            overlap=overlap,
            regressions=regressions,
            estimator=self.estimator_,
            columns=self._columns,
            calibration=ScoreCalibration(*self.score_calibration_),
        )

    def _crop_recognizer(self) -> CropRecognizer:
        # Localizers of earlier versions have no box regression.
        weights = getattr(self, "box_regression_", None)
        return CropRecognizer(
            specification=self.crop_specification_,
            estimator=self.estimator_,
            image_format=self._image_format(),
            columns=np.asarray(self._columns),
            calibration=ScoreCalibration(*self.score_calibration_),
            box_regression=BoxRegression.from_weights(weights) if weights else None,
            refinement=self._recipe().refinement,
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


def _default_estimator(verbose: int) -> SimilarNetClassifier:
    """The classifier that recognises crops unless the user names another."""
    return SimilarNetClassifier(
        SmallCNN,
        max_epochs=_MAX_EPOCHS,
        # Scores are calibrated after training, and rank better without smoothing.
        net_params={"criterion__label_smoothing": 0.0},
        verbose=verbose,
    )
