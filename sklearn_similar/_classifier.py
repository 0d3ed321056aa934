"""The classifier: parameters, validation, fitted state; other rooms compute."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._ablation.errors import ValidationData, check_ablation, measure_errors
from ._ablation.importances import Importances, importances
from ._ablation.single_images import FilterAblation, ablate_images
from ._blockwise import blockwise
from ._compat import Interval, StrOptions, check_feature_names_in, fit_context
from ._estimator import (
    NestedParametersMixin,
    check_parameters,
    copy_with,
    published_at_end,
    snapshot,
)
from ._heatmaps.calibration import calibrate
from ._heatmaps.class_map import ClassMap, ClassMapState, Measurement, fit_class_map
from ._heatmaps.extraction import HeatmapSpecification
from ._heatmaps.heatmap_model import HeatmapModel
from ._heatmaps.methods import (
    CLASS_MAPS,
    class_heatmap_of,
    find_class_map,
    needs_calibration,
)
from ._heatmaps.weights import Weighting, layer_weights, split_by_layer
from ._images.images import Images, n_channels
from ._images.labels import (
    check_sample_weight,
    check_weighted_classes,
    encode_labels,
    find_background,
    find_targets,
    warn_of_absent_classes,
)
from ._images.rasters import Raster
from ._images.scaling import BY_TYPE, Scaling
from ._images.splits import distinct_images, hold_out, sampling_indices
from ._images.validation import (
    check_has_importances,
    check_image_size,
    check_images,
    check_out,
    check_output_container,
    check_trained_size,
    check_training_data,
    image_names,
)
from ._network.cache import cached_training
from ._network.checks import check_determinism, check_output, warn_if_guessing
from ._network.isolation import random_seed, restores_torch_state
from ._network.layers import find_layers
from ._network.specification import (
    NET_PREFIXES,
    NetSpecification,
    pack_net,
    unpack_net,
)
from ._network.trained import TrainedNetwork, trained_network
from ._network.training import TrainingData

__all__ = ["SimilarNetClassifier"]

_N_PROBES = 3  # images on which a network's layers are looked for
_ACT_IN_HEATMAPS = ("batch_size", "normalize", "resolution", "threshold", "verbose")


class SimilarNetClassifier(ClassifierMixin, TransformerMixin, NestedParametersMixin):
    """Convolutional network that classifies images and shows where the evidence is.

    A network is trained on labelled images. The importance of each filter of its last
    convolutional layer is the increase of the error on held-out images without it, and
    heatmaps are the sum of the filters' activations, weighted by importance.

    Parameters
    ----------
    module : torch.nn.Module class or instance, default=None
        The network, from N x C x H x W images to N x n_classes scores (logits); None is
        `LeNet`. A class gets `n_classes` (or `num_classes`), `in_channels` and
        `image_shape` if its constructor has parameters of these names. An instance is
        copied in single precision, and with ``max_epochs=0`` it is not trained.
    layer : str or list of str, default=None
        Path (as in `named_modules`) of the layer whose filters are ablated and whose
        activations are summed; None selects the last convolutional block. With a list,
        the heatmap is the geometric mean over the layers: an early layer gives
        outlines, and the last layer discriminates between classes. The filters of an
        attention module are its heads, those of its projection are channels.
    classes : array-like, default=None
        Labels of the module's outputs, sorted; y may lack some. None: those in y.
    max_epochs : int, default=10
        Passes over the training images.
    lr : float, default=0.002
        Peak learning rate.
    lr_decay : float or "linear", default="linear"
        "linear": the learning rate rises in the first tenth of all updates and then
        falls to 0. A number: after `u` updates, it is ``lr / (1 + lr_decay * u)``. A
        scheduler of the learning rate among the callbacks of `net_params` replaces it.
    batch_size : int or "auto", default="auto"
        Images in a batch; "auto": 1/200 of those to train on, from 16 to 64.
    net_params : dict, default=None
        Further parameters of skorch's classifier: `optimizer`, `criterion` (default:
        cross-entropy with label smoothing of 0.05), `callbacks`, `module__width`...
        `set_params` also takes them directly, as ``module__width=2``.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the training loss, as in scikit-learn.
    image_shape : tuple, default=None
        (height, width) or (height, width, n_channels) of an image in a row of a
        two-dimensional X; None: square where possible, else 1 x n_features.
    validation_fraction : float, default=0.1
        Share of distinct images, of each class where possible, that `fit` measures
        importances on instead of training. None: leave that to `fit_importance`.
    importance : {"log_loss", "error"}, default="log_loss"
        Whether importances are increases of the log loss or of the error rate.
    ablation : {"zero", "mean"}, default="zero"
        Activation of an absent filter: 0, or its mean over the images.
    weighting : {"softmax", "linear", "uniform"} or callable, default="softmax"
        Weights of the filters: softmax of importance / temperature, the positive
        importances, or all the same. A callable gets a layer's importances, of shape
        (n_filters,), and returns as many weights, none negative; they are scaled.
    temperature : float, default=1.0
        Temperature of the softmax. At 1, which is the paper's, weights are almost
        uniform, as importances are small; the heatmap then covers the whole object.
    class_heatmap : str or ClassMap, default="propagated"
        How the heatmap of one class is made. "propagated": the evidence for the class,
        carried to the places with similar features in `mid_level_layers_`; "outlined"
        if there are none. "walk", "ridge": one half of "propagated" each. "cam",
        "layercam", "scorecam", "ablation": methods of the literature. "contrastive":
        the heatmap of all classes where the filters favour this class over competing
        classes. "outlined": the same with the outlines that the network's first
        layer detects, if `layer` is one layer. "linear", "softmax", "uniform":
        activations, weighted by the importances for the class. An instance of a
        subclass of `ClassMap` is a method that you write.
    mid_level_layers : list of str, default=None
        Paths of the layers whose features carry the evidence for a class: all in the
        ridge regression, and the first in the walk. None: the first block of stride 16
        and the last layer of stride 8, if `layer` is coarser.
    resolution : {"pooled", "dense"}, default="pooled"
        Activations at the stride of the layer, interpolated, or at every pixel, which
        is many times slower; see the user guide.
    normalize : {"validation", "image"} or None, default="validation"
        "validation": divided by the median maximum on validation images, so that an
        empty image stays dark; "image": each heatmap from 0 to 1, as in the paper.
    threshold : float, default=0.15
        Heat below it is set to 0 by `transform`; between 0 and 1. With
        ``normalize=None`` it is a share of `normalization_constant_`.
    value_range : (float, float), default=None
        Values of X that become 0 and 1 in the network, such as (0, 4095) for 12 bits,
        in images of any type (but not of 8 bits, if these cannot hold it). Values
        outside become 0 and 1, with a warning. None: learnt, see `scaling_`. Acts in
        `fit`.
    background : label, default=None
        Label of background images, which are left out of the importances and the
        normalisation constant of all classes together.
    device : str, default="cpu"
        Device on which PyTorch computes.
    memory : str, path-like or joblib.Memory, default=None
        Folder in which trained networks are cached, so that a search over parameters
        that act after training trains one network for each fold.
    random_state : int, RandomState instance or None, default=None
        Source of randomness in `fit`. The same number gives the same network bit for
        bit, on the same number of threads and for any order of the images.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Values in an image.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X had names.
    image_shape_ : tuple
        (height, width) or (height, width, n_channels) of the training images.
    scaling_ : dict of str to (float, float)
        Values that become 0 and 1 in the network, for the type of X; "any" is the key
        of `value_range`. (0, 255) for 8 bits; for other integers, and for floats from 0
        to above 255, the range of the least number of bits (8, 10, 12, 14, 16...) that
        holds X; for other floats (0, 1). With ``max_epochs=0`` and an instance as
        module, nothing is learnt.
    value_range_ : (float, float)
        Minimum and maximum of X as the network gets it, scaled by `scaling_`. Images
        that exceed it get a warning.
    net_ : skorch.NeuralNetClassifier
        The trained net; its classes are indices into `classes_`.
    layer_ : str or list of str
        The layer, or layers, whose filters are ablated.
    n_filters_ : tuple of int
        Filters of each layer; arrays of `n_filters` values hold layer after layer.
    baseline_error_ : float
        E, the error on the validation images with all filters.
    filter_errors_ : ndarray of shape (n_filters,)
        e_i, the error without each filter.
    filter_importances_ : ndarray of shape (n_filters,)
        e_i - E.
    class_importances_ : ndarray of shape (n_classes, n_filters)
        The same on the validation images of each class.
    log_odds_drops_ : ndarray of shape (n_classes, n_classes, n_filters)
        Mean decrease of log p(c) - log p(k) without each filter of the last layer, on
        images of c; (n_classes, 1, n_filters) if more than 2^24 values.
    score_weights_ : ndarray of shape (n_classes, n_filters)
        Drop of each class score without each filter of the last layer, for each unit of
        its mean activation, by regression over all validation images; the weights of
        CAM where a global mean and one linear layer follow.
    filter_weights_ : ndarray of shape (n_filters,)
        Weights of the activations in a heatmap; they sum to 1 in each layer.
    class_filter_weights_ : ndarray of shape (n_classes, n_filters)
        Weights of the last layer in the heatmap of each class; for "outlined" and
        "contrastive", against all other classes equally, with signs, absolute values
        summing to 1; for "propagated" with mid-level layers, "walk", "ridge" and "cam",
        `score_weights_`.
    normalization_constant_ : float
        Median maximum of the heatmaps of the validation images.
    class_normalization_constants_ : ndarray of shape (n_classes,)
        Median maximum of the heatmaps of each class on its validation images.
    class_score_constants_ : ndarray of shape (n_classes,) or None
        Median score of each class against all others, for "contrastive" heatmaps.
    outline_layer_ : str or None
        The layer that heatmaps of a class get their outlines from.
    mid_level_layers_ : tuple of str
        The layers whose features carry the evidence for a class.
    absent_activations_ : ndarray of shape (n_filters,)
        Activation of each filter where it is absent, by `ablation`.
    ablation_method_ : {"linear", "head", "network"}, or a list of them
        How the errors were computed, in each layer; see the user guide.

    Notes
    -----
    X is an array or DataFrame of rows, an array of grey images (n_images, height,
    width) or of colour images (n_images, height, width, n_channels), or a list of
    images; for `transform` and `heatmap` images may have any size. Pixels are scaled
    by `scaling_`; types that X in `fit` did not have, by 1/65535 (uint16) or 1/255
    (other integers), and floats not at all. Memory-mapped arrays are read batch by
    batch.

    `importance`, `ablation`, `weighting`, `temperature`, `class_heatmap` and
    `mid_level_layers` act in the fits; `normalize`, `threshold` and `resolution`
    (except constants) at every call.

    References
    ----------
    Ghosh, Bhattacharya, Basu Roy Chowdhury: "SIMILARnet" (2017).

    Examples
    --------
    >>> from sklearn_similar import SimilarNetClassifier
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> similar = SimilarNetClassifier(max_epochs=4, random_state=0)
    >>> similar.fit(X[::5], y[::5]).score(X_test, y_test) > 0.8
    True
    >>> similar.transform(X_test[:3]).shape
    (3, 28, 28)
    """

    _nested_holders: ClassVar = dict.fromkeys(NET_PREFIXES, "net_params")
    _parameter_constraints: ClassVar[dict] = {
        "module": [callable, None],
        "layer": [str, list, tuple, None],
        "classes": ["array-like", None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"linear"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "net_params": [dict, None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "image_shape": [tuple, list, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "importance": [StrOptions({"log_loss", "error"})],
        "ablation": [StrOptions({"zero", "mean"})],
        "weighting": [StrOptions({"softmax", "linear", "uniform"}), callable],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "class_heatmap": [StrOptions(set(CLASS_MAPS)), ClassMap],
        "mid_level_layers": [list, tuple, None],
        "resolution": [StrOptions({"dense", "pooled"})],
        "normalize": [StrOptions({"validation", "image"}), None],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "value_range": ["array-like", None],
        "background": "no_validation",
        "device": [str, torch.device],
        "memory": [str, os.PathLike, joblib.Memory, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: Callable[..., nn.Module] | nn.Module | None = None,
        layer: str | Sequence[str] | None = None,
        *,
        classes: ArrayLike | None = None,
        max_epochs: int = 10,
        lr: float = 0.002,
        lr_decay: float | Literal["linear"] = "linear",
        batch_size: int | Literal["auto"] = "auto",
        net_params: dict[str, Any] | None = None,
        class_weight: dict | Literal["balanced"] | None = None,
        image_shape: Sequence[int] | None = None,
        validation_fraction: float | None = 0.1,
        importance: Literal["log_loss", "error"] = "log_loss",
        ablation: Literal["zero", "mean"] = "zero",
        weighting: Weighting | Callable[[np.ndarray], ArrayLike] = "softmax",
        temperature: float = 1.0,
        class_heatmap: str | ClassMap = "propagated",
        mid_level_layers: Sequence[str] | None = None,
        resolution: Literal["pooled", "dense"] = "pooled",
        normalize: Literal["validation", "image"] | None = "validation",
        threshold: float = 0.15,
        value_range: Sequence[float] | None = None,
        background: Any = None,
        device: str | torch.device = "cpu",
        memory: Any = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.layer = layer
        self.classes = classes
        self.max_epochs = max_epochs
        self.lr = lr
        self.lr_decay = lr_decay
        self.batch_size = batch_size
        self.net_params = net_params
        self.class_weight = class_weight
        self.image_shape = image_shape
        self.validation_fraction = validation_fraction
        self.importance = importance
        self.ablation = ablation
        self.weighting = weighting
        self.temperature = temperature
        self.class_heatmap = class_heatmap
        self.mid_level_layers = mid_level_layers
        self.resolution = resolution
        self.normalize = normalize
        self.threshold = threshold
        self.value_range = value_range
        self.background = background
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @restores_torch_state
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike, sample_weight: Any = None) -> Self:
        """Train the network, and measure importances on the held-out images.

        Parameters
        ----------
        X : array, DataFrame or list of images of one size
            Labelled images; see the notes of the class.
        y : array-like of shape (n_images,)
            Their labels, of at least two classes.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image in training and in the importances, 0 or more. An image
            of weight 2 is as good as two copies of it; see the user guide for how it is
            trained on. None: all weigh the same.

        Returns
        -------
        self : SimilarNetClassifier

        Raises
        ------
        ValueError
            If X, y, the weights or a parameter cannot be used; the estimator is as
            before.

        Warns
        -----
        ConvergenceWarning
            If the trained network recognises hardly more images of a class, on average,
            than guessing does. It is tried on about 100 held-out images (of more
            classes, on one of each, up to about 1000), or on training images if fewer
            than 50 are held out, spread evenly over the classes as far as they go.
        """
        # Tensors that are made in inference mode could not be trained.
        with published_at_end(self) as working, torch.inference_mode(False):
            for name in [name for name in vars(working) if name.endswith("_")]:
                delattr(working, name)
            working._fit(X, y, sample_weight)
        return self

    @restores_torch_state
    def fit_importance(
        self, X_val: Any, y_val: ArrayLike, sample_weight: Any = None
    ) -> Self:
        """Measure the importance of each filter on images that were not trained on.

        Parameters
        ----------
        X_val : array, DataFrame or list of images of the trained size
            Labelled images.
        y_val : array-like of shape (n_images,)
            Their labels. A class without images has the importances of all classes
            together, and its heatmap follows from its scores on the other images: a
            warning names it.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image in the errors, 0 or more and in any unit.

        Returns
        -------
        self : SimilarNetClassifier

        Raises
        ------
        NotFittedError
            If the network has not been trained.
        ValueError
            If the images have another size or labels that `fit` was not given, or the
            weights cannot be used.
        """
        check_is_fitted(self, "net_")
        self._validate_params()
        with published_at_end(self) as working:
            images = check_trained_size(working, X_val, "fit_importance")
            y = encode_labels(working, y_val, len(images), "y_val")
            weights = check_sample_weight(sample_weight, len(y))
            network, layers = working._trained_network(), working._layers()
            is_deterministic = check_determinism(network, layers, images)
            weighing = np.flatnonzero(weights)
            working._measure(images, y, weighing, weights, is_deterministic)
        return self

    @blockwise
    @restores_torch_state
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class for images of the trained size.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size

        Returns
        -------
        ndarray of shape (n_images, n_classes), float32, in the order of `classes_`

        Raises
        ------
        NotFittedError
            If the network has not been trained.
        ValueError
            If the images have another size.
        """
        return snapshot(self)._predict_proba(X)

    @blockwise
    @restores_torch_state
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, without its rounding of small ones to 0.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size

        Returns
        -------
        ndarray of shape (n_images, n_classes), float32, in the order of `classes_`
        """
        return snapshot(self)._predict_proba(X, log=True)

    @blockwise
    def predict(self, X: Any) -> np.ndarray:
        """Most probable label for images of the trained size.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size

        Returns
        -------
        ndarray of shape (n_images,)
        """
        fitted = snapshot(self)
        best = fitted.predict_proba(X).argmax(axis=1)
        return fitted.classes_[best]

    @blockwise
    def transform(self, X: Any, *, out: Any = None) -> Any:
        """Heatmaps of all classes together, heat below `threshold` set to 0.

        Parameters
        ----------
        X : array, DataFrame or list of images
            Images of any size; rows have the trained size.
        out : array or list of arrays, default=None
            Where the heatmaps are written, such as a memory map of floats.

        Returns
        -------
        ndarray of shape (n_images, height * width), (n_images, height, width) or list
            Float32, one value a pixel, in the layout of X; `out` if it is given.

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image or `out` cannot be used; an image of a list is named.
        """
        check_output_container(self, X)
        return snapshot(self)._heatmaps(X, None, None, self.threshold, out)

    @blockwise
    def heatmap(
        self,
        X: Any,
        target: Any = None,
        *,
        labels: ArrayLike | None = None,
        image_size: int | Sequence[int] | None = None,
        class_heatmap: str | ClassMap | None = None,
    ) -> Any:
        """Heatmaps of all classes together, of one class or of some.

        Parameters
        ----------
        X : array, DataFrame or list of images
            As in `transform`.
        target : label or list of labels, default=None
            None: all classes. A label: where that class is, see `class_heatmap`. A
            list: where any of these classes is, for a category.
        labels : array-like of shape (n_images,), default=None
            Instead of one target for all images, a label for each of them, such as what
            `predict` returns. All are computed in one pass.

        Returns
        -------
        ndarray of shape (n_images, height * width), (n_images, height, width) or list
            As in `transform`, but without threshold.

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image, a target, a label, `image_size` or `class_heatmap` cannot be
            used, or both a target and labels are given.
        """
        return snapshot(self)._heatmaps(
            X, target, labels, None, image_size=image_size, class_heatmap=class_heatmap
        )

    @restores_torch_state
    def ablate_filters(self, X: Any, labels: ArrayLike | None = None) -> FilterAblation:
        """Importances of the filters in single images, exactly.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size
        labels : array-like of shape (n_images,), default=None
            A label for each image, whose score is asked for. None: all of them.

        Returns
        -------
        FilterAblation
            The `scores` of the network (logits), by how much each score `drops`
            without each filter, and what each filter adds `alone`.

        Raises
        ------
        ValueError
            If the images have another size, or a label is unknown.
        """
        fitted = snapshot(self)
        check_has_importances(fitted, "absent_activations_")
        images = check_trained_size(fitted, X, "ablate_filters")
        classes = None
        if labels is not None:
            classes = encode_labels(fitted, labels, len(images), "labels")
        network, absent = fitted._trained_network(), fitted.absent_activations_
        with network.evaluation():
            return ablate_images(network, fitted._layers(), images, absent, classes)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of heatmaps of rows: heat_<row>_<column>.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        ndarray of shape (height * width,) of str
        """
        check_is_fitted(self, "net_")
        check_feature_names_in(self, input_features, generate_names=False)
        pixels = np.ndindex(self.image_shape_[:2])
        return np.array([f"heat_{row}_{column}" for row, column in pixels], object)

    def _fit(self, X, y, sample_weight) -> None:
        """Set all fitted attributes."""
        is_fixed = self.max_epochs == 0 and isinstance(self.module, nn.Module)
        images, y, weights = check_training_data(
            self,
            X,
            y,
            self.image_shape,
            self.classes,
            known=self._known_scaling(),
            learns_scaling=not is_fixed,
            sample_weight=sample_weight,
        )
        find_background(self.classes_, self.background)  # raises, before it is needed
        are_copies = bool(np.isin(weights, (0, 1)).all())
        channels = n_channels(self.image_shape_)
        chosen, weights = distinct_images(images, channels, y, weights)
        check_weighted_classes(self.classes_, y, chosen)
        random_state = check_random_state(self.random_state)
        part, held_out = hold_out(
            y[chosen], weights[chosen], self.validation_fraction, random_state
        )
        draws, loss_weights = sampling_indices(chosen[part], weights, are_copies)
        data = TrainingData(
            images=images, y=y, sampling_indices=draws, loss_weights=loss_weights
        )
        self._net_spec = NetSpecification.from_parameters(
            self.get_params(deep=False),
            classes=self.classes_,
            image_shape=self.image_shape_,
            y=data.epoch_labels,
            loss_weights=data.epoch_weights,
            seed=random_seed(random_state),
        )
        self.net_ = self._net_spec.build(self.verbose, warn=True)
        # Set by `StagedTraining`, which trains in several stages.
        if (weights_before := getattr(self, "_initial_weights", None)) is not None:
            self.net_.restore(weights_before, [])
        network = self._trained_network()
        with network.evaluation():
            _, batch = next(network.batches(images, np.arange(min(_N_PROBES, len(y)))))
            check_output(network, batch)
            self.layer_ = find_layers(network.module, self.layer, batch)
            check_ablation(network.module, self._layers(), self.ablation)
            if is_fixed:
                rows = np.sort(chosen)
                warn_if_guessing(network, images, y, weights, rows, was_trained=False)
        check_determinism(network, self._layers(), images)
        arrays, history = cached_training(
            self.memory, self.random_state, self.net_, self._net_spec, data
        )
        self.net_.restore(arrays, history)
        unseen = None if held_out is None else chosen[held_out]
        # More stages of `StagedTraining` may follow.
        if history and getattr(self, "_is_last_stage", True):
            with network.evaluation():
                rows = chosen[part]
                warn_if_guessing(
                    network, images, y, weights, rows, unseen, was_trained=True
                )
        if held_out is not None:
            self._measure(images, y, unseen, weights)

    def _known_scaling(self) -> Scaling:
        """The scaling that is not learnt: the user's, or that of a localizer."""
        of_localizer = getattr(self, "_scaling_of_localizer", None)
        return of_localizer or Scaling.given(self.value_range) or BY_TYPE

    def _predict_proba(self, X, log: bool = False) -> np.ndarray:
        check_is_fitted(self, "net_")
        images = check_trained_size(self, X, "predict")
        return self._trained_network().predict_proba(images, self.verbose, log)

    def _tensor_probabilities(self, images: torch.Tensor) -> np.ndarray:
        """`predict_proba` of images n_images x n_channels x height x width, unchecked.

        For crops that the package makes; values are as the network takes them.
        """
        network = self._trained_network()
        return network.tensor_probabilities(network.with_its_channels(images))

    def _heatmap_rasters(
        self, images: list[Raster], in_windows: bool = False
    ) -> list[Raster]:
        """`heatmap` of images whose values are as the network takes them, unchecked."""
        model = self._heatmap_model()
        return model.rasters(
            [image.map(model.network.with_its_channels) for image in images],
            in_windows=in_windows,
        )

    def _trained_network(self) -> TrainedNetwork:
        return trained_network(self.net_, self.image_shape_, self.batch_size)

    def _layers(self) -> tuple[str, ...]:
        return (self.layer_,) if isinstance(self.layer_, str) else tuple(self.layer_)

    def _measure(
        self, images: Images, y, validation, weights, is_deterministic=False
    ) -> None:
        """Set all attributes that are measured on held-out images."""
        network, layers = self._trained_network(), self._layers()
        background = find_background(self.classes_, self.background)
        with network.evaluation():
            errors = measure_errors(
                network,
                layers,
                ValidationData(images=images, indices=validation, y=y, weights=weights),
                ablation=self.ablation,
                is_deterministic=is_deterministic,
                verbose=self.verbose,
            )
            measured = importances(errors.sums, self.importance, background)
            self.absent_activations_ = errors.absent_activations
            is_single = isinstance(self.layer_, str)
            self.ablation_method_ = errors.methods[0] if is_single else errors.methods
            self._set_importances(measured)
            state = self._fit_class_map(measured, images, validation)
            # Drops of class scores are learnt on images of all classes.
            if not np.array_equal(state.filter_weights, measured.score_weights):
                warn_of_absent_classes(self.classes_, y[validation])
            constants = calibrate(
                network,
                self._heatmap_specification(state),
                images=images,
                indices=validation,
                y=y,
                background=background,
            )
        self.normalization_constant_ = constants.normalization_constant
        self.class_normalization_constants_ = constants.class_normalization_constants
        self.class_score_constants_ = constants.class_score_constants

    def _set_importances(self, measured: Importances) -> None:
        self.n_filters_ = measured.n_filters
        self.baseline_error_ = measured.baseline_error
        self.filter_errors_ = measured.filter_errors
        self.filter_importances_ = measured.filter_importances
        self.class_importances_ = measured.class_importances
        self.log_odds_drops_ = measured.log_odds_drops
        self.score_weights_ = measured.score_weights
        self.filter_weights_ = layer_weights(
            measured.filter_importances,
            measured.n_filters,
            self.weighting,
            self.temperature,
        )

    def _fit_class_map(
        self, measured: Importances, images: Images, validation
    ) -> ClassMapState:
        """Set what the class map learns before it is calibrated."""
        network = self._trained_network()
        _, probes = next(network.batches(images, validation[:_N_PROBES]))
        named = self.mid_level_layers
        if named:
            named = tuple(find_layers(network.module, list(named), probes))
        measurement = self._measurement(measured, probes, named)
        state = fit_class_map(find_class_map(self.class_heatmap), measurement)
        self._set_class_map(self.class_heatmap, state)
        return state

    def _set_class_map(
        self, class_heatmap: str | ClassMap, state: ClassMapState
    ) -> None:
        self._class_heatmap = class_heatmap
        self.class_filter_weights_ = state.filter_weights
        self.outline_layer_ = state.outline_layer
        self.mid_level_layers_ = state.mid_level_layers

    def _measurement(
        self,
        measured: Importances,
        probes: torch.Tensor,
        mid_level_layers: Sequence[str] | None,
    ) -> Measurement:
        """What class maps learn from."""
        return Measurement(
            network=self._trained_network(),
            layers=self._layers(),
            importances=measured,
            temperature=self.temperature,
            trained_size=self.image_shape_[:2],
            probes=probes,
            mid_level_layers=(
                None if mid_level_layers is None else tuple(mid_level_layers)
            ),
        )

    def _as_measured(self) -> Importances:
        """The importances that `_set_importances` has set."""
        return Importances(
            n_filters=self.n_filters_,
            baseline_error=self.baseline_error_,
            filter_errors=self.filter_errors_,
            filter_importances=self.filter_importances_,
            class_importances=self.class_importances_,
            log_odds_drops=self.log_odds_drops_,
            score_weights=self.score_weights_,
        )

    def _with_class_heatmap(self, class_heatmap: str | ClassMap) -> Self:
        """A copy with another class map, which is not calibrated."""
        other = copy_with(self, class_heatmap=class_heatmap, normalize="image")
        check_parameters(other, ("class_heatmap",))
        if not hasattr(self, "score_weights_"):
            raise ValueError(
                f"class_heatmap={class_heatmap!r} needs weights that estimators of an "
                "earlier version lack; call fit_importance first."
            )
        network = self._trained_network()
        size = (network.n_channels, *self.image_shape_[:2])
        probe = network.as_input(torch.zeros(1, *size))
        # Layers that have been found need not be looked for again.
        layers = self.mid_level_layers_ or self.mid_level_layers
        with network.evaluation():
            state = fit_class_map(
                find_class_map(class_heatmap),
                other._measurement(self._as_measured(), probe, layers),
            )
        if needs_calibration(find_class_map(class_heatmap), state):
            raise ValueError(
                f"class_heatmap={class_heatmap!r} has constants that fit_importance "
                "measures; set the parameter, and call fit_importance."
            )
        other._set_class_map(class_heatmap, state)
        other.class_score_constants_ = None
        other.class_normalization_constants_ = np.ones(len(state.filter_weights))
        return other

    def _heatmap_specification(self, state: ClassMapState) -> HeatmapSpecification:
        return HeatmapSpecification(
            layers=self._layers(),
            filter_weights=tuple(split_by_layer(self.filter_weights_, self.n_filters_)),
            class_map=find_class_map(self._class_heatmap),
            class_state=state,
            resolution=self.resolution,
        )

    def _heatmap_model(self, image_size: tuple[int, int] | None = None) -> HeatmapModel:
        state = ClassMapState(
            filter_weights=self.class_filter_weights_,
            log_odds_drops=self.log_odds_drops_,
            trained_size=self.image_shape_[:2],
            # Estimators of early versions lack it.
            outline_layer=getattr(self, "outline_layer_", None),
            mid_level_layers=getattr(self, "mid_level_layers_", ()),
            score_constants=self.class_score_constants_,
            normalization_constants=self.class_normalization_constants_,
        )
        return HeatmapModel(
            network=self._trained_network(),
            specification=self._heatmap_specification(state),
            normalization_constant=self.normalization_constant_,
            normalize=self.normalize,
            names=image_names(self),
            image_size=image_size,
        )

    @restores_torch_state
    def _heatmaps(
        self,
        X,
        target,
        labels,
        threshold: float | None,
        out=None,
        image_size=None,
        class_heatmap=None,
    ):
        check_has_importances(self)
        if class_heatmap is not None:
            if target is None and labels is None:
                raise ValueError(
                    f"class_heatmap={class_heatmap!r} is given, but the heatmap of all "
                    "classes does not depend on it; pass target or labels as well."
                )
            other = self._with_class_heatmap(class_heatmap)
            return other._heatmaps(X, target, labels, threshold, out, image_size)
        size = check_image_size(image_size)
        check_parameters(self, _ACT_IN_HEATMAPS)
        images = check_images(self, X)
        arrays = check_out(out, images)
        classes = find_targets(self, target, labels, images)
        heat = self._heatmap_model(size).heatmaps(
            images, classes, threshold=threshold, out=arrays, verbose=self.verbose
        )
        return images.in_layout(heat) if out is None else out

    def __getstate__(self):
        state = pack_net(super().__getstate__())
        is_users = isinstance(self.class_heatmap, ClassMap)
        # Files hold no code: `load` is given the parameter, which stands for both.
        if is_users and state.get("_class_heatmap") is self.class_heatmap:
            del state["_class_heatmap"]
        return state

    def __setstate__(self, state):
        state = unpack_net(state)
        if "filter_weights_" in state and "_class_heatmap" not in state:
            state["_class_heatmap"] = class_heatmap_of(state)
        super().__setstate__(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
