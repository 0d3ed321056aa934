"""Importances of filters."""

from contextlib import nullcontext

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._tables.values import as_numbers, has_length
from ._drawing import (
    check_colormap,
    check_finite,
    closed_on_error,
    import_pyplot,
    is_axes,
)

MEASURES = {"log_loss": "log loss", "error": "error rate"}


class FilterImportanceDisplay:
    """Importances of the filters: the increase of the error without each.

    Displays are usually created by `from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    importances : array-like of shape (n_filters,)
        Increase of the error without each filter.
    class_importances : array-like of shape (n_classes, n_filters), default=None
        Increase of the error on the images of each class.
    classes : array-like of shape (n_classes,), default=None
        Labels of the classes. If None, numbers from 0.
    measure : str, default="error"
        Name of the error measure, for the axis labels.

    Attributes
    ----------
    order_ : ndarray of shape (n_filters,)
        Indices of the filters from left to right.
    bars_ : matplotlib BarContainer or None
        Bars of a plot for all classes.
    im_ : matplotlib AxesImage or None
        Image of a plot by class.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

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

    def __repr__(self) -> str:
        n = f"{len(self.importances)} " if has_length(self.importances) else ""
        return (
            f"<FilterImportanceDisplay: increase of the {self.measure} without each of "
            f"{n}filters>"
        )

    def plot(self, ax=None, *, sort=True, by_class=False, cmap="RdBu_r", colorbar=True):
        """Draw a bar for each filter, or a square for each filter and class.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure is created.
        sort : bool, default=True
            Whether to sort the filters, the most important first.
        by_class : bool, default=False
            Whether to draw the importances for each class as an image.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the image; the middle colour is 0.
        colorbar : bool, default=True
            Whether to draw a colour bar for the image.

        Returns
        -------
        self : FilterImportanceDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If importances, class importances and classes do not match, or `by_class`
            is True and there are no class importances.
        """
        plt = import_pyplot("FilterImportanceDisplay.plot")
        importances = _check_importances(self.importances)
        n_filters = len(importances)
        if by_class and self.class_importances is None:
            raise ValueError(
                "by_class is True, but class_importances is None; pass them too."
            )
        if by_class:
            values, classes = _check_classes(
                self.class_importances, self.classes, n_filters
            )
        check_colormap(cmap)
        if ax is not None and not is_axes(ax):
            raise ValueError(f"ax is {ax!r}; pass a matplotlib Axes, or ax=None.")
        order = np.arange(n_filters)
        if sort:
            order = np.argsort(-importances, kind="stable")
        is_new = ax is None
        if is_new:
            _, ax = plt.subplots(layout="constrained")
        with closed_on_error(plt, ax.figure) if is_new else nullcontext():
            bars = image = None
            if by_class:
                image = self._plot_by_class(
                    ax, values[:, order], classes, cmap, colorbar
                )
            else:
                bars = ax.bar(np.arange(n_filters), importances[order])
                ax.axhline(0, color="black", linewidth=0.8)
                ax.set(ylabel=f"increase of the {self.measure}")
                ax.set_title("Increase of the error without each filter")
            ax.set(xlabel="filter, most important first" if sort else "filter")
            # More tick labels would overlap.
            if n_filters <= 40:
                ax.set_xticks(np.arange(n_filters), order)
            elif sort:
                ax.set_xticks([])
        self.order_, self.bars_, self.im_ = order, bars, image
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_by_class(self, ax, values, classes, cmap, colorbar):
        largest = np.abs(values).max() or 1.0
        image = ax.imshow(values, cmap=cmap, vmin=-largest, vmax=largest, aspect="auto")
        ax.set_yticks(np.arange(len(values)), classes)
        ax.set(ylabel="class")
        ax.set_title("Increase of the error for each class without each filter")
        if colorbar:
            label = f"increase of the {self.measure}"
            ax.figure.colorbar(image, ax=ax, label=label)
        return image

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **plot_params):
        """Draw the importances of a fitted estimator.

        Parameters
        ----------
        estimator : SimilarNetClassifier
            Fitted, with measured importances.
        ax : matplotlib Axes, default=None
            If None, a new figure is created.
        **plot_params : dict
            Other parameters of `plot`.

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
        import_pyplot("FilterImportanceDisplay.from_estimator")
        check_is_fitted(estimator, "filter_importances_", msg=_NO_IMPORTANCES)
        display = cls(
            estimator.filter_importances_,
            class_importances=estimator.class_importances_,
            classes=estimator.classes_,
            measure=MEASURES[estimator.importance],
        )
        return display.plot(ax, **plot_params)


def _check_importances(importances) -> np.ndarray:
    values = as_numbers(importances, "importances")
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"importances has shape {values.shape}; pass one number for each filter."
        )
    check_finite(values, "importances")
    return values


def _check_classes(class_importances, classes, n_filters: int):
    """Importances for each class, and the names of the classes."""
    values = as_numbers(class_importances, "class_importances")
    if values.ndim != 2 or values.shape[1] != n_filters or not len(values):
        raise ValueError(
            f"class_importances has shape {values.shape} for {n_filters} importances; "
            "pass a row for each class and a column for each filter."
        )
    check_finite(values, "class_importances")
    if classes is None:
        return values, [str(number) for number in range(len(values))]
    if not has_length(classes) or len(classes) != len(values):
        raise ValueError(
            f"classes is {classes!r} for {len(values)} rows of class_importances; pass "
            "one label for each."
        )
    return values, [str(label) for label in classes]


_NO_IMPORTANCES = (
    "This %(name)s has no filter importances to draw yet; call fit (with "
    "validation_fraction) or fit_importance first."
)
