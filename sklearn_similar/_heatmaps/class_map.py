"""The protocol of class maps: how heatmaps of some classes are made.

A class map weighs filters for each class, and combines their activations. All the rest
is shared: extraction of activations, batches, tiles, calibration and normalisation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from .._ablation.importances import Importances
from .._network.activations import FeatureMaps
from .._network.trained import TrainedNetwork
from .maps import geometric_mean, interpolate_to_pixels, weighted_sum


@dataclass(frozen=True, kw_only=True)
class ImageActivations:
    """Activations for images of one size, and what the network says about them.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
        Positions of the images in their array.
    size : (int, int)
        Height and width of the images in pixels.
    feature_maps : list of FeatureMaps
        Those of each layer, with `activations` of shape (n_images, n_filters, height,
        width) on the layer's grid.
    filter_weights : tuple of ndarray of shape (n_filters,)
        Weights of the filters of each layer in the heatmap of all classes.
    outline_maps : FeatureMaps or None
        Feature maps of the class map's early layer.
    mid_level_maps : tuple of FeatureMaps
        Feature maps of the class map's mid-level layers.
    head : callable or None
        The layers after the last one, if the class map runs them: class scores from its
        activations and the rows of the images of these, see `target_scores`.
    class_probabilities : tensor of shape (n_images, n_classes) or None
        Probabilities of the classes in images of the trained size, if the class map
        reads them.
    window_probabilities : FeatureMaps or None
        The same in images of other sizes: probabilities in windows of the trained size,
        with one map for each class.
    whole_image_means : callable or None
        Computes `mean_activations`, where these are activations of a tile.
    """

    indices: np.ndarray
    size: Sequence[int]
    feature_maps: list[FeatureMaps]
    filter_weights: tuple[np.ndarray, ...]
    outline_maps: FeatureMaps | None = None
    mid_level_maps: tuple[FeatureMaps, ...] = ()
    head: Callable[[torch.Tensor, np.ndarray], torch.Tensor] | None = None
    class_probabilities: torch.Tensor | None = None
    window_probabilities: FeatureMaps | None = None
    whole_image_means: Callable[[], torch.Tensor] | None = None

    @cached_property
    def mean_activations(self) -> torch.Tensor:
        """Means of the last layer's positive activations over the whole image.

        A tensor of shape (n_images, n_filters); for a tile as well, those of its image.
        """
        if self.whole_image_means is not None:
            return self.whole_image_means()
        return self.feature_maps[-1].activations.relu().mean(dim=(2, 3))

    def heat(self, last_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Geometric mean over the layers of the weighted sums of their activations.

        Parameters
        ----------
        last_weights : tensor of shape (n_images, 1, n_filters), default=None
            Weights of the last layer's filters in each image. None: those of
            `filter_weights`, which give the heatmap of all classes.

        Returns
        -------
        tensor of shape (n_images, 1, height, width)
            At every pixel.
        """
        rows = [torch.from_numpy(row[np.newaxis]) for row in self.filter_weights]
        if last_weights is not None:
            rows[-1] = last_weights
        return geometric_mean(
            *(
                self.at_pixels(weighted_sum(maps, weights.to(maps.activations)), maps)
                for maps, weights in zip(self.feature_maps, rows, strict=True)
            )
        )

    def evidence(self, weights: torch.Tensor) -> torch.Tensor:
        """The last layer's positive activations, weighted, at every pixel.

        Parameters
        ----------
        weights : tensor of shape (n_images, 1, n_filters)
            With signs.

        Returns
        -------
        tensor of shape (n_images, 1, height, width)
        """
        maps = self.feature_maps[-1]
        return self.at_pixels(weighted_sum(maps, weights.to(maps.activations)), maps)

    def target_scores(
        self, activations: torch.Tensor, classes: np.ndarray, rows: np.ndarray
    ) -> torch.Tensor:
        """Sums of the scores of some classes, from activations of the last layer.

        Parameters
        ----------
        activations : tensor of shape (n, n_filters, height, width)
            Activations of the images, changed in some way.
        classes : ndarray of shape (n_images, n_targets)
            Indices of the classes for each image.
        rows : ndarray of shape (n,)
            Which of the images the activations are of.

        Returns
        -------
        tensor of shape (n,)
        """
        if self.head is None:
            raise RuntimeError("runs_head of the class map has to return True.")
        scores = self.head(activations, rows)
        return scores.gather(1, torch.from_numpy(classes[rows]).to(scores.device)).sum(
            dim=1
        )

    def at_pixels(self, heat: torch.Tensor, maps: FeatureMaps) -> torch.Tensor:
        """Heat on the grid of feature maps, interpolated to every pixel."""
        return interpolate_to_pixels(heat, maps, self.size)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a class map learns from.

    Attributes
    ----------
    network : TrainedNetwork
        In evaluation mode; `network.module` is the `torch.nn.Module`.
    layers : tuple of str
        Paths of the layers that heatmaps are made from.
    importances : Importances
        Measured on the held-out images: `class_importances` (n_classes, n_filters) of
        all layers, layer after layer, `log_odds_drops` and `score_weights` (n_classes,
        n_filters) of the last one, and the others that `SimilarNetClassifier` has as
        attributes.
    temperature : float
        The classifier's parameter.
    trained_size : (int, int)
        Height and width of the training images in pixels.
    probes : tensor of shape (n_images, n_channels, height, width)
        A few held-out images, as the network takes them.
    mid_level_layers : tuple of str or None
        The layers that the user named; None: to be chosen by the class map.
    """

    network: TrainedNetwork
    layers: tuple[str, ...]
    importances: Importances
    temperature: float
    trained_size: tuple[int, int]
    probes: torch.Tensor
    mid_level_layers: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ClassMapState:
    """What a class map has learnt: the fitted attributes of the classifier.

    Attributes
    ----------
    filter_weights : ndarray of shape (n_classes, n_filters)
        Weights of the last layer's filters for each class (`class_filter_weights_`).
    log_odds_drops : ndarray of shape (n_classes, n_competing, n_filters)
        Mean drops of the log-odds of a class over another one without each filter;
        n_competing is n_classes, or 1 where all other classes are taken together.
    trained_size : (int, int)
        Height and width of the training images in pixels.
    outline_layer : str or None
        An early layer whose activations are also extracted.
    mid_level_layers : tuple of str
        Mid-level layers whose activations are also extracted.
    score_constants : ndarray of shape (n_classes,) or None
        Medians of the class scores on images of each class. None: not calibrated.
    normalization_constants : ndarray of shape (n_classes,) or None
        Median maxima of the heatmaps of each class. None: not calibrated.
    """

    filter_weights: np.ndarray
    log_odds_drops: np.ndarray
    trained_size: tuple[int, int]
    outline_layer: str | None = None
    mid_level_layers: tuple[str, ...] = ()
    score_constants: np.ndarray | None = None
    normalization_constants: np.ndarray | None = None

    def mean_weights(self, classes: np.ndarray, n_layers: int) -> torch.Tensor:
        """Weights of the last layer for several classes together.

        Each class has an equal share: its weights are divided by its normalisation
        constant, and the mean is multiplied by the mean constant.

        Parameters
        ----------
        classes : ndarray of shape (n_images, n_targets)
        n_layers : int
            Layers in the heatmap, of which the last is one factor.

        Returns
        -------
        tensor of shape (n_images, 1, n_filters)
        """
        constants = self.normalization_constants
        if constants is None:
            constants = np.ones(len(self.filter_weights))
        scales = constants[classes, np.newaxis] ** n_layers
        means = (self.filter_weights[classes] / scales).mean(axis=1, keepdims=True)
        return torch.from_numpy(means * scales.mean(axis=1, keepdims=True))


class ClassMap(ABC):
    """How the heatmaps of a class, or of several, are made: base of class maps.

    Pass an instance of a subclass as `class_heatmap` of `SimilarNetClassifier`. A
    subclass has to say how much each filter counts for each class (`filter_weights`).
    By default, the heatmap is then the sum of the last layer's activations with these
    weights; other methods of the class can be overridden to do more. Batches, tiles of
    large images, interpolation and normalisation are the classifier's work.

    An instance is a parameter: it must not change when the classifier is fitted.
    What it has learnt is passed to its methods as `state`.

    Attributes
    ----------
    contrasts_classes : bool
        Whether classes are shown against the others. If so, the heatmap of all classes
        at once is that of no class in particular.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar import ClassMap, SimilarNetClassifier
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> class BestFilter(ClassMap):
    ...     def filter_weights(self, measurement):
    ...         drops = measurement.importances.log_odds_drops.mean(axis=1)
    ...         return (drops == drops.max(axis=1, keepdims=True)).astype(float)
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> model = SimilarNetClassifier(
    ...     max_epochs=1, class_heatmap=BestFilter(), random_state=0
    ... )
    >>> model.fit(X[::10], y[::10]).heatmap(X_test[:2], 3).shape
    (2, 28, 28)
    """

    contrasts_classes: bool = False

    @abstractmethod
    def filter_weights(self, measurement: Measurement) -> np.ndarray:
        """Weights of the last layer's filters for each class.

        Parameters
        ----------
        measurement : Measurement
            ``measurement.importances`` has `class_importances` and `log_odds_drops`;
            ``measurement.network.module`` is the trained network.

        Returns
        -------
        ndarray of shape (n_classes, n_filters)
        """

    def outline_layer(self, measurement: Measurement) -> str | None:
        """Path of an early layer whose activations the map also needs, or None."""
        return None

    def mid_level_layers(self, measurement: Measurement) -> tuple[str, ...]:
        """Paths of mid-level layers whose activations the map also needs."""
        return ()

    def reads_probabilities(self, state: ClassMapState) -> bool:
        """Whether the map needs the class probabilities; by default, it does not.

        They are in `class_probabilities` or `window_probabilities` of the activations,
        unless activations are dense or the network cannot be traced.
        """
        return False

    def runs_head(self, state: ClassMapState) -> bool:
        """Whether the map runs the layers after the last one; by default, it does not.

        They are in `head` of the activations.
        """
        return False

    def halo(self, state: ClassMapState) -> int:
        """Pixels around a place that its heat depends on, beyond its activations."""
        return 0

    def needs_whole_image(self, state: ClassMapState) -> bool:
        """Whether heat depends on the whole image, so that there can be no tiles."""
        return False

    def class_scores(
        self, activations: ImageActivations, state: ClassMapState
    ) -> torch.Tensor | None:
        """Scores of shape (n_images, n_classes) whose medians are calibrated, or None.

        The medians on held-out images of each class are in ``state.score_constants``.
        """
        return None

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Heat at every pixel, before normalisation, not negative.

        Parameters
        ----------
        activations : ImageActivations
            Those of n_images images, or of a tile of an image.
        classes : ndarray of shape (n_images, n_targets)
            Indices of the classes to show in each image.
        state : ClassMapState
            With `filter_weights`, and the constants that were calibrated.

        Returns
        -------
        tensor of shape (n_images, 1, height, width)
        """
        n_layers = len(activations.feature_maps)
        return activations.heat(state.mean_weights(classes, n_layers))


def fit_class_map(class_map: ClassMap, measurement: Measurement) -> ClassMapState:
    """What a class map learns from a measurement, not yet calibrated.

    Raises
    ------
    ValueError
        If its weights have another shape, or are not finite.
    """
    # Found once: all that the class map learns asks for them.
    mid_level_layers = class_map.mid_level_layers(measurement)
    measurement = replace(measurement, mid_level_layers=mid_level_layers)
    drops = measurement.importances.log_odds_drops
    weights = np.asarray(class_map.filter_weights(measurement), dtype=np.float64)
    expected = (len(drops), drops.shape[2])
    if weights.shape != expected or not np.isfinite(weights).all():
        raise ValueError(
            f"class_heatmap, {class_map!r}, gives filter_weights of shape "
            f"{weights.shape} from {weights.min():.3g} to {weights.max():.3g}; return "
            f"finite ones of shape {expected}, (n_classes, n_filters)."
        )
    return ClassMapState(
        filter_weights=weights,
        log_odds_drops=drops,
        trained_size=measurement.trained_size,
        outline_layer=class_map.outline_layer(measurement),
        mid_level_layers=mid_level_layers,
    )
