"""The estimator: parameters, validation and state; the arithmetic is elsewhere."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import (
    check_is_fitted,
    check_memory,
)

from ._ablation.importances import ablate, importances
from ._compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
)
from ._heatmaps.calibration import Kept, class_heat_scales, evidence_scales, heat_scale
from ._heatmaps.class_discriminative import (
    Evidence,
    margins_over_all,
    signed_shares,
    spread_for,
)
from ._heatmaps.computation import Recipe, draw, look
from ._heatmaps.weights import filter_weights, normalize_per_image
from ._inputs.holdout import hold_out, spread_over_classes
from ._inputs.images import Images, n_channels
from ._inputs.validation import (
    check_images,
    check_output_container,
    check_trained_size,
    check_training_data,
    encode_labels,
    find_labels,
)
from ._network.activations import evaluating, find_layers
from ._network.net import (
    build_net,
    check_output,
    get_arrays,
    log_probabilities,
    predict_proba,
    restore,
    train_network,
)
from ._network.seeding import random_seed

__all__ = ["SimilarNetClassifier"]

# The typical peak is a median; more images than this do not make it surer.
_MAX_REFERENCE_IMAGES = 128
# Images on which a network's layers are looked for.
_N_PROBES = 3


class SimilarNetClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Convolutional network that recognises, and shows where it sees what.

    A network is trained on labelled images. Then the importance of each filter of
    its last convolutional layer is measured on held-out images, as the increase of
    the error when the filter is absent, and heatmaps are the sum of the filters'
    responses, weighted by importance.

    Parameters
    ----------
    module : torch.nn.Module class or instance, default=None
        The network, from N x C x H x W images to N x n_classes scores (logits);
        None is `LeNet`. A class gets `n_classes` (or `num_classes`), `in_channels`
        and `image_shape` if its constructor has parameters of these names. An
        instance is copied; its outputs are the classes in sorted order, and with
        ``max_epochs=0`` its weights are used as they are.
    layer : str or list of str, default=None
        Path (as in `named_modules`) of the layer whose filters are ablated and whose
        responses are summed; None finds the last convolutional block. A list: of
        several layers, each at its own resolution. Heat is the geometric mean of
        theirs, so that an early layer draws the outline of what a late one found; the
        last of the list tells classes apart. The earlier a layer, the longer the
        ablation takes.
    max_epochs : int, default=10
        Passes over the training images.
    lr : float, default=0.001
        Learning rate.
    lr_decay : float, default=1e-5
        After `u` updates, the learning rate is ``lr / (1 + lr_decay * u)``.
    batch_size : int, default=300
        Images in a batch.
    net_params : dict, default=None
        Anything else that skorch's `NeuralNetClassifier` takes: `optimizer` (default
        Adam), `criterion` (default cross-entropy), `callbacks`, `module__depth`...
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the training loss, as in scikit-learn.
    image_shape : tuple, default=None
        (height, width) or (height, width, n_channels) of an image in a row of a
        two-dimensional X; None: square where possible, else 1 x n_features.
    validation_fraction : float, default=0.1
        Share of the images that `fit` does not train on but measures importances on,
        the same share of each class where possible. None: train on all images, and
        leave the importances to `fit_importance`.
    importance : {"log_loss", "error"}, default="log_loss"
        Whether importances are increases of the log loss or of the error rate.
    ablation : {"zero", "mean"}, default="zero"
        What an absent filter's response is: 0, or its mean over the images.
    weighting : {"softmax", "linear", "uniform"} or callable, default="softmax"
        Weights of the filters: softmax of importance / temperature, the positive
        importances themselves, or all the same. A callable gets the importances of a
        layer's filters, an array of shape (n_filters,), and returns as many weights,
        none negative, which are then scaled to sum to 1.
    temperature : float, default=1.0
        Of the softmax. At 1, which is the paper's, weights are almost uniform, as
        importances are small; this shows all of an object.
    class_weighting : {"margin", "linear", "softmax", "uniform"}, default="margin"
        How the heatmap of one class is drawn. "margin": the heat of all classes where
        there is evidence for this one, against what else is in the image. The others:
        a sum of the responses, weighted by the importances for the class.
    resolution : {"pooled", "dense"}, default="pooled"
        "pooled": responses at the layer's own stride, interpolated; "dense": responses
        at every pixel (strides are left out, later layers dilated). Dense maps take
        many times as long and are not better by themselves; see the user guide.
    normalize : {"validation", "image"} or None, default="validation"
        "validation": heat 1 is the median peak on the validation images, so that an
        empty image stays dark; "image": each heatmap from 0 to 1, as in the paper;
        None: the weighted sum itself.
    threshold : float, default=0.15
        Heat below it is set to 0 by `transform`; between 0 and 1. With
        ``normalize=None`` it counts in units of `heat_scale_`.
    background : label, default=None
        The label in y that means "nothing here". It does not count in
        the importances and the heat scale of all classes together.
    device : str, default="cpu"
        Where PyTorch computes.
    memory : str or joblib.Memory, default=None
        Folder in which trained networks are kept, as in `Pipeline`. A fit with the
        same images, training parameters and integer `random_state` then takes the
        network from there, so that a search over parameters that count after
        training trains one network for each fold.
    random_state : int, RandomState instance or None, default=None
        Of initialisation, order of the images, dropout and held-out images. The same
        number gives the same network bit for bit, on the same number of threads.
    verbose : int, default=0
        1 shows a line for each epoch of training.

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
    net_ : skorch.NeuralNetClassifier
        The trained net; its classes are indices into `classes_`.
    layer_ : str or list of str
        The layer, or layers, whose filters count.
    n_filters_ : tuple of int
        Filters of each layer. Arrays of `n_filters` values have those of all layers,
        one layer after the other.
    baseline_error_ : float
        E, the error on the validation images with all filters.
    filter_errors_ : ndarray of shape (n_filters,)
        e_i, the error without each filter.
    filter_importances_ : ndarray of shape (n_filters,)
        e_i - E.
    class_importances_ : ndarray of shape (n_classes, n_filters)
        The same on the validation images of each class.
    class_margins_ : ndarray of shape (n_classes, n_classes, n_filters)
        Of classes c and k, the mean decrease of log p(c) - log p(k) without each
        filter of the last layer, on validation images of c. Where that would be more
        than 2^24 values, the second dimension is 1: all other classes count as one.
    filter_weights_ : ndarray of shape (n_filters,)
        Weights of the responses in a heatmap; they sum to 1 in each layer.
    class_weights_ : ndarray of shape (n_classes, n_filters)
        Those of the last layer in the heatmap of each class. For "margin": weights of
        the evidence where all other classes are in the image alike; they have signs,
        and their absolute values sum to 1.
    heat_scale_ : float
        The heat that counts as 1.
    class_evidence_scales_ : ndarray of shape (n_classes,) or None
        The evidence for each class, against all others, that counts as 1: typical of
        the validation images of the class, from the means of their responses. None
        unless ``class_weighting="margin"``.
    class_heat_scales_ : ndarray of shape (n_classes,)
        The heat that counts as 1 in the heatmap of each class.
    ablation_method_ : {"linear", "head", "network"}, or a list of them
        How the errors were computed, in each layer; see `fit_importance`.

    Notes
    -----
    X is one of

    - rows: array or DataFrame of shape (n_images, n_features);
    - grey images: array of shape (n_images, height, width);
    - colour images: array of shape (n_images, height, width, n_channels);
    - for `transform` and `heatmap`: a list of images of any sizes. Arrays of images
      may also have any size there.

    Integers are scaled to [0, 1] (uint16 by 1/65535, others by 1/255); floats are
    taken as they are. Memory-mapped arrays are read batch by batch.

    `importance`, `ablation`, `weighting`, `temperature` and `class_weighting` count in
    `fit` and `fit_importance`; `resolution`, `normalize` and `threshold` at every call.
    The heat that counts as 1 is measured with the `resolution` of the time.

    References
    ----------
    Ghosh, Bhattacharya, Basu Roy Chowdhury: "SIMILARnet: Simultaneous Intelligent
    Localization and Recognition Network" (2017).

    Examples
    --------
    >>> from sklearn_similar import SimilarNetClassifier
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> similar = SimilarNetClassifier(max_epochs=4, batch_size=50, random_state=0)
    >>> similar.fit(X[::5], y[::5]).score(X_test, y_test) > 0.6
    True
    >>> similar.transform(X_test[:3]).shape
    (3, 28, 28)
    """

    _parameter_constraints: ClassVar[dict] = {
        "module": [callable, None],
        "layer": [str, list, tuple, None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "net_params": [dict, None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "image_shape": [tuple, list, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "importance": [StrOptions({"log_loss", "error"})],
        "ablation": [StrOptions({"zero", "mean"})],
        "weighting": [StrOptions({"softmax", "linear", "uniform"}), callable],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "class_weighting": [StrOptions({"margin", "softmax", "linear", "uniform"})],
        "resolution": [StrOptions({"dense", "pooled"})],
        "normalize": [StrOptions({"validation", "image"}), None],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "background": "no_validation",
        "device": [str, torch.device],
        "memory": [str, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module=None,
        layer=None,
        *,
        max_epochs=10,
        lr=0.001,
        lr_decay=1e-5,
        batch_size=300,
        net_params=None,
        class_weight=None,
        image_shape=None,
        validation_fraction=0.1,
        importance="log_loss",
        ablation="zero",
        weighting="softmax",
        temperature=1.0,
        class_weighting="margin",
        resolution="pooled",
        normalize="validation",
        threshold=0.15,
        background=None,
        device="cpu",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        self.module = module
        self.layer = layer
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
        self.class_weighting = class_weighting
        self.resolution = resolution
        self.normalize = normalize
        self.threshold = threshold
        self.background = background
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train the network, and measure importances on the held-out images.

        Parameters
        ----------
        X : array, DataFrame or list of images of one size
            Labelled images; see the notes of the class.
        y : array-like of shape (n_images,)
            Their labels, of at least two classes.

        Returns
        -------
        self : SimilarNetClassifier

        Raises
        ------
        ValueError
            If X, y or a parameter cannot be used; the estimator is as before.
        """
        # Tensors that are made in inference mode could not be trained.
        with _unchanged_on_error(self), torch.inference_mode(False):
            images, y = check_training_data(self, X, y, self.image_shape)
            for name in _MEASURED:
                vars(self).pop(name, None)
            random_state = check_random_state(self.random_state)
            training, validation = np.arange(len(y)), None
            if self.validation_fraction is not None:
                training, validation = hold_out(
                    y, self.validation_fraction, random_state
                )
            seed = random_seed(random_state)
            self._build_net(y[training], seed)
            _, probes = next(self._batches(images, np.arange(len(y))[:_N_PROBES]))
            with evaluating(self.net_.module_) as module:
                check_output(self.net_, probes, len(self.classes_))
                self.layer_ = find_layers(module, self.layer, probes)
            train = check_memory(self.memory).cache(train_network, ignore=["verbose"])
            arrays, history = train(
                self._net_spec, images, y, training, verbose=self.verbose
            )
            restore(self.net_, arrays, history)
            if validation is not None:
                self._measure(images, y, validation)
        return self

    def fit_importance(self, X_val, y_val):
        """Measure the importance of each filter on images that were not trained on.

        Parameters
        ----------
        X_val : array, DataFrame or list of images of the trained size
            Labelled images.
        y_val : array-like of shape (n_images,)
            Their labels. A class without images has the importances of all classes
            together.

        Returns
        -------
        self : SimilarNetClassifier

        Raises
        ------
        NotFittedError
            If the network has not been trained.
        ValueError
            If the images have another size or labels that `fit` has not seen.

        Notes
        -----
        The network runs once over the images, and up to the layer once more over about
        128 of them for the scales of the heat. What each filter adds to the first
        layer that mixes filters is taken off that layer's output, and only what
        follows is run again (`ablation_method_` is "linear"): for LeNet, all filters
        together cost less than the one pass; for a pooling and a linear layer, next
        to nothing. Where filters meet in an operation that is not linear, all that
        follows the layer is run for each filter ("head"); where the network cannot
        be traced by `torch.fx`, all of it is ("network"). The numbers are the same.
        With ``ablation="mean"``, another pass measures the means.
        """
        check_is_fitted(self, "net_")
        self._validate_params()
        with _unchanged_on_error(self):
            images = check_trained_size(self, X_val, "fit_importance")
            y = encode_labels(self, y_val, len(images), "y_val")
            self._measure(images, y, np.arange(len(y)))
        return self

    def predict_proba(self, X):
        """Probability of each class for images of the trained size.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size

        Returns
        -------
        ndarray of shape (n_images, n_classes), float32
            In the order of `classes_`.

        Raises
        ------
        NotFittedError
            If the network has not been trained.
        ValueError
            If the images have another size.
        """
        check_is_fitted(self, "net_")
        images = check_trained_size(self, X, "predict")
        return predict_proba(self.net_, self._batches(images), len(images))

    def predict(self, X):
        """Most probable label for images of the trained size.

        Parameters
        ----------
        X : array, DataFrame or list of images of the trained size

        Returns
        -------
        ndarray of shape (n_images,)
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def transform(self, X):
        """Heatmaps of all classes together, heat below `threshold` set to 0.

        Parameters
        ----------
        X : array, DataFrame or list of images
            Images of any size, but for rows, which have the trained size.

        Returns
        -------
        ndarray of shape (n_images, height * width), (n_images, height, width) or list
            Float32, one value a pixel, in the layout of X: rows for rows, an array
            for images, a list for a list.

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image cannot be used; an image of a list is named.
        """
        check_output_container(self, X)
        return self._heatmaps(X, None, None, self.threshold)

    def heatmap(self, X, target=None, *, labels=None):
        """Heatmaps of all classes together, of one class or of some.

        Parameters
        ----------
        X : array, DataFrame or list of images
            As in `transform`.
        target : label or list of labels, default=None
            None: all classes. A label: where that class is, see `class_weighting`. A
            list: where any of these classes is, for a category.
        labels : array-like of shape (n_images,), default=None
            Instead of one target for all images, a label for each of them, such as what
            `predict` says. All are drawn in one pass.

        Returns
        -------
        ndarray of shape (n_images, height * width), (n_images, height, width) or list
            As in `transform`, but without threshold.

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image cannot be used, a target or label is not one of `classes_`, or
            both are given.
        """
        return self._heatmaps(X, target, labels, None)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of heatmaps of rows: heat_<row>_<column>.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        ndarray of shape (height * width,) of str
        """
        check_is_fitted(self, "net_")
        check_feature_names_in(self, input_features, generate_names=False)
        height, width = self.image_shape_[:2]
        return np.array(
            [
                f"heat_{row}_{column}"
                for row in range(height)
                for column in range(width)
            ],
            dtype=object,
        )

    def _build_net(self, y: np.ndarray, seed: int) -> None:
        _check_device(self.device)
        class_weight = self.class_weight
        if class_weight is not None:
            class_weight = compute_class_weight(
                class_weight, classes=self.classes_, y=self.classes_[y]
            )
        self._net_spec = {
            "module": self.module,
            "n_classes": len(self.classes_),
            "image_shape": self.image_shape_,
            "max_epochs": self.max_epochs,
            "lr": self.lr,
            "lr_decay": self.lr_decay,
            "batch_size": self.batch_size,
            "net_params": self.net_params,
            "class_weight": class_weight,
            "device": self.device,
            "seed": seed,
        }
        self.net_ = build_net(**self._net_spec, verbose=self.verbose)

    def _background_index(self) -> int | None:
        if self.background is None:
            return None
        if np.ndim(self.background):
            raise ValueError(
                f"background is {self.background!r}; pass one label of y, or None."
            )
        return int(find_labels(self.classes_, self.background, "background")[0])

    def _without_background(self, y: np.ndarray, among: np.ndarray) -> np.ndarray:
        """The images that show something; all, if none does."""
        shown = among[y[among] != self._background_index()]
        return shown if len(shown) else among

    def _measure(self, images: Images, y: np.ndarray, among: np.ndarray) -> None:
        """Set all that depends on held-out images."""
        with evaluating(self.net_.module_) as module:
            ways = [
                ablate(
                    module,
                    layer,
                    partial(self._batches, images, among),
                    y,
                    self.ablation,
                    len(self.classes_),
                    partial(log_probabilities, self.net_),
                )
                for layer in self._layers()
            ]
        background = self._background_index()
        methods = [method for method, _ in ways]
        self.ablation_method_ = methods[0] if isinstance(self.layer_, str) else methods
        for layer, (_, sums) in zip(self._layers(), ways, strict=True):
            _check_finite(sums.log_loss, layer)
        measured = [importances(sums, self.importance, background) for _, sums in ways]
        last = measured[-1]
        self.n_filters_ = tuple(len(own.filter_importances) for own in measured)
        self.baseline_error_ = last.baseline_error
        for name in ("filter_errors", "filter_importances", "class_importances"):
            parts = [getattr(own, name) for own in measured]
            setattr(self, f"{name}_", np.concatenate(parts, axis=-1))
        self.class_margins_ = last.class_margins
        self.filter_weights_ = np.concatenate(
            [
                filter_weights(own.filter_importances, self.weighting, self.temperature)
                for own in measured
            ]
        )
        if self.class_weighting == "margin":
            self.class_weights_ = signed_shares(margins_over_all(last.class_margins))
        else:
            self.class_weights_ = filter_weights(
                last.class_importances, self.class_weighting, self.temperature
            )
        self._measure_scales(images, y, among)

    def _measure_scales(self, images: Images, y: np.ndarray, among: np.ndarray) -> None:
        """Set the heat that counts as 1, from some of the held-out images."""
        n_classes = len(self.classes_)
        chosen = among[spread_over_classes(y[among], _MAX_REFERENCE_IMAGES)]
        shown = self._without_background(y, chosen)
        # In a recipe without them, they do not count.
        self.class_evidence_scales_ = None
        self.class_heat_scales_ = np.ones(n_classes)
        with evaluating(self.net_.module_) as module:
            references = Kept(
                lambda: look(module, self._batches(images, chosen), self._recipe())
            )
            self.heat_scale_ = heat_scale(references, self._recipe(), shown)
            if self.class_weighting == "margin":
                evidence = self._evidence(np.ones(n_classes))
                self.class_evidence_scales_ = evidence_scales(references, y, evidence)
            self.class_heat_scales_ = class_heat_scales(
                references, y, n_classes, self._recipe()
            )

    def _layers(self) -> tuple[str, ...]:
        return (self.layer_,) if isinstance(self.layer_, str) else tuple(self.layer_)

    def _evidence(self, scales: np.ndarray) -> Evidence:
        return Evidence(self.class_margins_, scales, spread_for(self.image_shape_))

    def _recipe(self) -> Recipe:
        """What heatmaps are made of."""
        bounds = np.cumsum(self.n_filters_)[:-1]
        evidence = None
        if self.class_evidence_scales_ is not None:
            evidence = self._evidence(self.class_evidence_scales_)
        return Recipe(
            self._layers(),
            tuple(np.split(self.filter_weights_, bounds)),
            self.class_weights_,
            self.class_heat_scales_,
            evidence,
            self.resolution,
        )

    def _batches(self, images: Images, among: np.ndarray | None = None) -> Iterator:
        channels = n_channels(self.image_shape_)
        for indices, batch in images.batches(self.batch_size, channels, among):
            yield indices, batch.to(self.net_.device)

    def _heatmaps(self, X, target, labels, threshold: float | None):
        check_is_fitted(self, "net_")
        check_is_fitted(self, "filter_weights_", msg=_NO_IMPORTANCES)
        self._validate_params()
        images = check_images(self, X)
        targets = self._find_targets(target, labels, len(images))
        scales = np.full(len(images), self.heat_scale_)
        if targets is not None:
            scales = self.class_heat_scales_[targets].mean(axis=1)
        heatmaps = images.empty_heatmaps()
        with evaluating(self.net_.module_) as module:
            recipe = self._recipe()
            for seen in look(module, self._batches(images), recipe):
                scale = scales[seen.indices, np.newaxis, np.newaxis].astype(np.float32)
                heat = self._finish(draw(seen, recipe, targets), scale, threshold)
                for index, own in zip(seen.indices, heat, strict=True):
                    heatmaps[index][...] = own
        return images.in_layout(heatmaps)

    def _find_targets(self, target, labels, n_images: int) -> np.ndarray | None:
        """Classes (indices) whose heat is wanted in each image; None: all together."""
        if target is None and labels is None:
            return None
        if labels is not None:
            if target is not None:
                raise ValueError(
                    "target and labels are both given; pass target for all images, or "
                    "labels, one for each."
                )
            if np.ndim(labels) != 1:
                raise ValueError(
                    f"labels has the shape {np.shape(labels)}; pass one label for each "
                    "image, or target for all of them."
                )
            return encode_labels(self, labels, n_images, "labels")[:, np.newaxis]
        found = np.unique(find_labels(self.classes_, target, "target"))
        # All classes have no rivals to be told from.
        if len(found) == len(self.classes_) and self.class_evidence_scales_ is not None:
            return None
        return np.broadcast_to(found, (n_images, len(found)))

    def _finish(self, heat, scale, threshold: float | None) -> np.ndarray:
        """Raw heat, normalised, and 0 below the threshold."""
        if self.normalize == "validation":
            heat, scale = heat / scale, 1
        elif self.normalize == "image":
            heat, scale = normalize_per_image(heat), 1
        if threshold is None:
            return heat
        # Without normalisation, it counts in units of the scale.
        return np.where(heat < threshold * scale, 0, heat)

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "net_" in state:
            # The net holds closures and pickles itself through files; arrays are
            # half the size and safe to read.
            net = state.pop("net_")
            state["_net_arrays"] = get_arrays(net)
            state["_net_history"] = net.history.to_list()
        return state

    def __setstate__(self, state):
        state = dict(state)
        arrays = state.pop("_net_arrays", None)
        history = state.pop("_net_history", None)
        super().__setstate__(state)
        if arrays is not None:
            self._find_device()
            self.net_ = build_net(**self._net_spec, verbose=self.verbose)
            restore(self.net_, arrays, history)

    def _find_device(self) -> None:
        """Take the CPU where the device of the fit is missing."""
        try:
            _check_device(self._net_spec["device"])
        except ValueError as error:
            warnings.warn(f"{error} The network is on the CPU now.", stacklevel=2)
            self.device = "cpu"
            self._net_spec = {**self._net_spec, "device": "cpu"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


_MEASURED = (
    "ablation_method_",
    "n_filters_",
    "baseline_error_",
    "filter_errors_",
    "filter_importances_",
    "class_importances_",
    "class_margins_",
    "filter_weights_",
    "class_weights_",
    "heat_scale_",
    "class_evidence_scales_",
    "class_heat_scales_",
)
_NO_IMPORTANCES = (
    "This %(name)s has no filter importances yet; call fit (with validation_fraction) "
    "or fit_importance before transform and heatmap."
)


@contextmanager
def _unchanged_on_error(estimator) -> Iterator[None]:
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _check_finite(log_loss: np.ndarray, layer: str) -> None:
    """Raise where the network gave no number on validation images."""
    bad = np.flatnonzero(~np.isfinite(log_loss).all(axis=1))
    if len(bad):
        absent = f"without filter {bad[0] - 1} of layer {layer!r}"
        raise ValueError(
            "The log loss on the validation images is not finite "
            f"{absent if bad[0] else 'with all filters'}; look for a division by the "
            "sum of responses, or for weights that are not finite."
        )


def _check_device(device) -> None:
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}, which PyTorch does not know; pass 'cpu' or 'cuda'."
        ) from error
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but PyTorch sees {torch.cuda.device_count()} "
            "GPUs; pass device='cpu'."
        )
