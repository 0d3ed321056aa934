"""Display of the filters' importances."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_similar.display._drawing import import_pyplot

# More numbers than this overlap on an axis.
_MAX_TICK_LABELS = 40
_MEASURES = {"log_loss": "log loss", "error": "error rate"}


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
        Name of the error measure, for the labels.

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
        Figure that holds the axes.

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
        plt = import_pyplot("FilterImportanceDisplay.plot")
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
        import_pyplot("FilterImportanceDisplay.from_estimator")
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
