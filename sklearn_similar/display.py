"""Plots of heatmaps and of what the filters are worth.

Matplotlib is imported when something is plotted, not before.
"""

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from ._images import is_images, is_list_of_images, shape_text, white_level

__all__ = ["FilterImportanceDisplay", "HeatmapDisplay"]

_FIGURE_WIDTH = 8.0
_PIXELS_PER_INCH = 50
# Inches that a single image may be wide: small ones stay visible, large ones fit.
_IMAGE_WIDTHS = (1.5, 6.4)
# More numbers than this overlap on an axis.
_MAX_TICK_LABELS = 40
_MEASURES = {"log_loss": "log loss", "error": "error rate"}


class HeatmapDisplay:
    """Heatmaps laid over the images they belong to.

    The more heat, the more of the image is covered; without heat the image is bare.
    `from_estimator` is the usual way to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Of one or of several sizes; integers or floats.
    heatmaps : array-like or list of ndarray of shape (height, width)
        Of the images, in their order and sizes.
    titles : sequence of str, default=None
        One for each image.
    label : str, default="heat"
        What the colours mean, beside the colour bar.
    max_heat : float, default=None
        The heat that has the strongest colour; None: the largest in `heatmaps`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_images,) of matplotlib Axes
        Where the images are.
    figure_ : matplotlib Figure
        What the axes are in.

    See Also
    --------
    FilterImportanceDisplay : What the filters behind the heatmaps are worth.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.display import HeatmapDisplay
    >>> image = np.zeros((28, 40))
    >>> image[5:20, 10:15] = 1
    >>> display = HeatmapDisplay([image], [0.8 * image], titles=["a bar"]).plot()
    >>> display.axes_[0].get_title()
    'a bar'
    """

    def __init__(self, images, heatmaps, *, titles=None, label="heat", max_heat=None):
        self.images = images
        self.heatmaps = heatmaps
        self.titles = titles
        self.label = label
        self.max_heat = max_heat

    def plot(
        self, axes=None, *, n_columns=None, cmap="YlOrRd", alpha=0.8, colorbar=True
    ):
        """Draw the images with their heatmaps.

        Parameters
        ----------
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image; None: a new figure.
        n_columns : int, default=None
            Images side by side in a new figure; None: as many as have room.
        cmap : str or matplotlib Colormap, default="YlOrRd"
            Colours of no heat to `max_heat`.
        alpha : float, default=0.8
            How much of the image `max_heat` covers, between 0 and 1. Less heat
            covers proportionally less.
        colorbar : bool, default=True
            Whether to draw one colour bar for all images.

        Returns
        -------
        self : HeatmapDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If images, heatmaps, titles and axes do not fit each other.
        """
        plt = _import_pyplot("HeatmapDisplay.plot")
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        images = [np.asarray(image) for image in self.images]
        heatmaps = [np.asarray(heat) for heat in self.heatmaps]
        _check_heatmaps(images, heatmaps, self.titles)
        if axes is None:
            axes = _new_axes(plt, images, n_columns)
        else:
            axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
            if len(axes) < len(images):
                raise ValueError(
                    f"axes has {len(axes)} axes for {len(images)} images; pass one for "
                    "each, or axes=None."
                )
        axes = axes[: len(images)]
        largest = max(float(heat.max()) for heat in heatmaps)
        scale = Normalize(0, self.max_heat or (largest if largest > 0 else 1.0))
        for index, (ax, image, heat) in enumerate(
            zip(axes, images, heatmaps, strict=True)
        ):
            ax.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
            covered = alpha * np.clip(heat / scale.vmax, 0, 1)
            ax.imshow(heat, cmap=cmap, norm=scale, alpha=covered)
            ax.set(xticks=[], yticks=[])
            if self.titles is not None:
                ax.set_title(str(self.titles[index]), fontsize="medium")
        self.axes_ = axes
        self.figure_ = axes[0].figure
        if colorbar:
            self.figure_.colorbar(
                ScalarMappable(scale, cmap),
                ax=list(axes),
                label=self.label,
                extend="max" if largest > scale.vmax else "neither",
                aspect=30,
            )
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        target=None,
        y=None,
        axes=None,
        n_columns=None,
        cmap="YlOrRd",
        alpha=0.8,
        colorbar=True,
    ):
        """Compute heatmaps with a fitted estimator and draw them.

        Parameters
        ----------
        estimator : SimilarNetClassifier
            Fitted, with measured importances.
        X : array, DataFrame or list of images
            A few images of any sizes, or rows of the trained size.
        target : label or list of labels, default=None
            Whose heatmaps: of all classes, of one, or of some together; see
            `SimilarNetClassifier.heatmap`.
        y : array-like of shape (n_images,), default=None
            Labels of the images, for the titles.
        axes : matplotlib Axes or array-like of them, default=None
            See `plot`, as for what follows.
        n_columns : int, default=None
        cmap : str or matplotlib Colormap, default="YlOrRd"
        alpha : float, default=0.8
        colorbar : bool, default=True

        Returns
        -------
        display : HeatmapDisplay

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image cannot be used, or X and y have different lengths.

        Examples
        --------
        >>> from sklearn_similar import SimilarNetClassifier
        >>> from sklearn_similar.datasets import load_mnist_sample
        >>> from sklearn_similar.display import HeatmapDisplay
        >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
        >>> similar = SimilarNetClassifier(max_epochs=1, batch_size=50, random_state=0)
        >>> similar = similar.fit(X[::10], y[::10])
        >>> display = HeatmapDisplay.from_estimator(similar, X_test[:3], y=y_test[:3])
        >>> len(display.axes_)
        3
        """
        _import_pyplot("HeatmapDisplay.from_estimator")
        heatmaps = estimator.heatmap(X, target)
        titles = None
        if y is not None:
            check_consistent_length(X, y)
            titles = [str(label) for label in np.asarray(y)]
        shape = estimator.image_shape_
        display = cls(
            _each_image(X, shape),
            _each_image(heatmaps, shape[:2]),
            titles=titles,
            label=_heat_label(target),
            # Normalised heat has a meaning of its own: faint images shall look faint.
            max_heat=None if estimator.normalize is None else 1.0,
        )
        return display.plot(
            axes, n_columns=n_columns, cmap=cmap, alpha=alpha, colorbar=colorbar
        )


class FilterImportanceDisplay:
    """How much worse the classifier gets without each filter.

    `from_estimator` is the usual way to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    importances : array-like of shape (n_filters,)
        Increase of the error without each filter.
    class_importances : array-like of shape (n_classes, n_filters), default=None
        The same on the images of each class.
    classes : array-like of shape (n_classes,), default=None
        The labels; None: numbers from 0.
    measure : str, default="error"
        What increases, for the labels.

    Attributes
    ----------
    order_ : ndarray of shape (n_filters,)
        The filters from left to right.
    bars_ : matplotlib BarContainer or None
        The bars, of a plot of all classes together.
    im_ : matplotlib AxesImage or None
        The image, of a plot by class.
    ax_ : matplotlib Axes
        Where they are.
    figure_ : matplotlib Figure
        What the axes are in.

    See Also
    --------
    HeatmapDisplay : Heatmaps over images.

    Examples
    --------
    >>> from sklearn_similar.display import FilterImportanceDisplay
    >>> display = FilterImportanceDisplay([0.01, 0.05, -0.002]).plot()
    >>> display.order_
    array([1, 0, 2])
    """

    def __init__(
        self, importances, *, class_importances=None, classes=None, measure="error"
    ):
        self.importances = importances
        self.class_importances = class_importances
        self.classes = classes
        self.measure = measure

    def plot(self, ax=None, *, sort=True, by_class=False, cmap="RdBu_r", colorbar=True):
        """Draw a bar for each filter, or a square for each filter and class.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        sort : bool, default=True
            Whether the most important filter comes first, rather than filter 0.
        by_class : bool, default=False
            Whether to draw the importances for each class as an image.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the image, of which the middle means 0.
        colorbar : bool, default=True
            Whether the image gets a colour bar.

        Returns
        -------
        self : FilterImportanceDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If `by_class` is True and there are no class importances.
        """
        plt = _import_pyplot("FilterImportanceDisplay.plot")
        importances = np.asarray(self.importances)
        n_filters = len(importances)
        if by_class and self.class_importances is None:
            raise ValueError(
                "by_class is True, but class_importances is None; pass them too."
            )
        self.order_ = np.arange(n_filters)
        if sort:
            self.order_ = np.argsort(-importances, kind="stable")
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.bars_ = self.im_ = None
        if by_class:
            self._plot_by_class(cmap, colorbar)
        else:
            self.bars_ = ax.bar(np.arange(n_filters), importances[self.order_])
            ax.axhline(0, color="black", linewidth=0.8)
            ax.set(ylabel=f"increase of the {self.measure}")
            ax.set_title("How much worse it gets without a filter")
        ax.set(xlabel="filter, most important first" if sort else "filter")
        if n_filters <= _MAX_TICK_LABELS:
            ax.set_xticks(np.arange(n_filters), self.order_)
        elif sort:
            ax.set_xticks([])
        return self

    def _plot_by_class(self, cmap, colorbar):
        values = np.asarray(self.class_importances)[:, self.order_]
        classes = np.arange(len(values)) if self.classes is None else self.classes
        largest = np.abs(values).max() or 1.0
        ax = self.ax_
        self.im_ = ax.imshow(
            values, cmap=cmap, vmin=-largest, vmax=largest, aspect="auto"
        )
        ax.set_yticks(np.arange(len(values)), classes)
        ax.set(ylabel="class")
        ax.set_title("How much worse it gets for a class without a filter")
        if colorbar:
            label = f"increase of the {self.measure}"
            self.figure_.colorbar(self.im_, ax=ax, label=label)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        ax=None,
        sort=True,
        by_class=False,
        cmap="RdBu_r",
        colorbar=True,
    ):
        """Draw the importances of a fitted estimator.

        Parameters
        ----------
        estimator : SimilarNetClassifier
            Fitted, with measured importances.
        ax : matplotlib Axes, default=None
            See `plot`, as for what follows.
        sort : bool, default=True
        by_class : bool, default=False
        cmap : str or matplotlib Colormap, default="RdBu_r"
        colorbar : bool, default=True

        Returns
        -------
        display : FilterImportanceDisplay

        Raises
        ------
        NotFittedError
            If importances have not been measured.

        Examples
        --------
        >>> from sklearn_similar import SimilarNetClassifier
        >>> from sklearn_similar.datasets import load_mnist_sample
        >>> from sklearn_similar.display import FilterImportanceDisplay
        >>> X, _, y, _ = load_mnist_sample(return_X_y=True)
        >>> similar = SimilarNetClassifier(max_epochs=1, batch_size=50, random_state=0)
        >>> similar = similar.fit(X[::10], y[::10])
        >>> display = FilterImportanceDisplay.from_estimator(similar, by_class=True)
        >>> display.im_.get_array().shape
        (10, 16)
        """
        _import_pyplot("FilterImportanceDisplay.from_estimator")
        check_is_fitted(estimator, "filter_importances_", msg=_NO_IMPORTANCES)
        display = cls(
            estimator.filter_importances_,
            class_importances=estimator.class_importances_,
            classes=estimator.classes_,
            measure=_MEASURES[estimator.importance],
        )
        return display.plot(
            ax, sort=sort, by_class=by_class, cmap=cmap, colorbar=colorbar
        )


_NO_IMPORTANCES = (
    "This %(name)s has no filter importances to draw yet; call fit (with "
    "validation_fraction) or fit_importance first."
)


def _import_pyplot(caller: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs Matplotlib, which is not installed: "
            'pip install "sklearn-similar[plot]"'
        ) from error
    return plt


def _each_image(X, shape) -> list[np.ndarray]:
    """Single images from any layout of X; `shape` is that of an image in a row."""
    if is_list_of_images(X):
        return [np.asarray(image) for image in X]
    X = np.asarray(X)
    return list(X if is_images(X) else X.reshape(len(X), *shape))


def _heat_label(target) -> str:
    if target is None:
        return "heat"
    return f"heat of {' or '.join(str(label) for label in np.atleast_1d(target))}"


def _check_heatmaps(images, heatmaps, titles) -> None:
    if not images:
        raise ValueError("There are no images to draw; pass at least one.")
    if len(heatmaps) != len(images):
        raise ValueError(
            f"There are {len(heatmaps)} heatmaps for {len(images)} images; pass one "
            "for each."
        )
    for index, (image, heat) in enumerate(zip(images, heatmaps, strict=True)):
        if image.ndim not in (2, 3) or heat.shape != image.shape[:2]:
            raise ValueError(
                f"Image {index} is {shape_text(image.shape)} and its heatmap "
                f"{shape_text(heat.shape)}; height and width should be the same."
            )
    if titles is not None and len(titles) != len(images):
        raise ValueError(
            f"There are {len(titles)} titles for {len(images)} images; pass one for "
            "each, or titles=None."
        )


def _picture(image: np.ndarray) -> np.ndarray:
    """Grey (2-D) or red, green and blue from 0 to 1, from what an estimator takes."""
    if image.ndim == 3 and image.shape[2] != 3:
        image = image.mean(axis=2, dtype=np.float32) / white_level(image.dtype)
    else:
        image = image.astype(np.float32) / white_level(image.dtype)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        return (image - low) / ((high - low) or 1.0)
    return image


def _new_axes(plt, images, n_columns) -> np.ndarray:
    """Axes in a grid with room for the largest image's width and height."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    inches = float(np.clip(width / _PIXELS_PER_INCH, *_IMAGE_WIDTHS))
    if n_columns is None:
        n_columns = max(1, int(_FIGURE_WIDTH // inches))
    n_columns = min(n_columns, len(images))
    n_rows = -(-len(images) // n_columns)
    inches = min(inches, _FIGURE_WIDTH / n_columns)
    # A fifth of an inch for a title, one inch for the colour bar.
    size = (n_columns * inches + 1, n_rows * (inches * height / width + 0.2))
    _, axes = plt.subplots(
        n_rows, n_columns, squeeze=False, layout="constrained", figsize=size
    )
    for ax in axes.flat[len(images) :]:
        ax.remove()
    return axes.ravel()
