"""Heatmaps over images."""

import math
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._images.messages import shape_text
from ..metrics._values import as_labels, each_array, has_length
from ._drawing import (
    axes_for,
    check_colormap,
    check_finite,
    check_images,
    check_kw,
    each_image,
    import_pyplot,
    picture,
)


class HeatmapDisplay:
    """Heatmaps laid over the images they belong to.

    The more heat, the more of the image is covered; without heat the image is bare.
    `from_estimator` is the usual way to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Images of one or of several sizes; integers or floats.
    heatmaps : array-like or list of ndarray of shape (height, width)
        Heatmaps of the images, in their order and sizes.
    titles : sequence of str, default=None
        One for each image.
    label : str, default="heat"
        Label of the colour bar.
    max_heat : float, default=None
        The heat that has the strongest colour; None: the largest in `heatmaps`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_images,) of matplotlib Axes
        Where the images are.
    figure_ : matplotlib Figure
        Figure that holds the axes.

    See Also
    --------
    FilterImportanceDisplay : Importances of the filters behind the heatmaps.

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
        self,
        axes=None,
        *,
        n_columns=None,
        cmap="YlOrRd",
        alpha=0.8,
        colorbar=True,
        text_kw=None,
        im_kw=None,
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
        text_kw : dict, default=None
            More parameters of matplotlib's `set_title`, for the titles.
        im_kw : dict, default=None
            More parameters of matplotlib's `imshow`, for the images below the heat.

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
        plt = import_pyplot("HeatmapDisplay.plot")
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        images = check_images(self.images, "images")
        heatmaps = each_array(self.heatmaps, "heatmaps", "Heatmap")
        titles = _check_titles(self.titles, len(images))
        _check_heatmaps(images, heatmaps)
        _check_max_heat(self.max_heat)
        _check_alpha(alpha)
        check_colormap(cmap)
        im_kw = {"cmap": "gray", "vmin": 0, "vmax": 1} | check_kw(im_kw, "im_kw")
        text_kw = {"fontsize": "medium"} | check_kw(text_kw, "text_kw")
        largest = max(float(heat.max()) for heat in heatmaps)
        scale = Normalize(0, self.max_heat or (largest if largest > 0 else 1.0))
        with axes_for(plt, axes, images, n_columns) as axes:
            for ax, image, heat, title in zip(
                axes, images, heatmaps, titles, strict=True
            ):
                ax.imshow(picture(image), **im_kw)
                covered = alpha * np.clip(heat / scale.vmax, 0, 1)
                ax.imshow(heat, cmap=cmap, norm=scale, alpha=covered)
                ax.set(xticks=[], yticks=[])
                if title is not None:
                    ax.set_title(title, **text_kw)
            figure = axes[0].figure
            if colorbar:
                figure.colorbar(
                    ScalarMappable(scale, cmap),
                    ax=list(axes),
                    label=self.label,
                    extend="max" if largest > scale.vmax else "neither",
                    aspect=30,
                )
        self.axes_, self.figure_ = axes, figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        target=None,
        labels=None,
        y=None,
        axes=None,
        n_columns=None,
        cmap="YlOrRd",
        alpha=0.8,
        colorbar=True,
        text_kw=None,
        im_kw=None,
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
            `sklearn_similar.SimilarNetClassifier.heatmap`.
        labels : array-like of shape (n_images,), default=None
            Instead of a target, a label for each image, whose heatmap is drawn and
            which is its title: what `predict` returns, for instance.
        y : array-like of shape (n_images,), default=None
            Labels of the images, for the titles. With `labels`, these follow where they
            differ, as in "4, not 9".
        axes : matplotlib Axes or array-like of them, default=None
            See `plot`, as for what follows.
        n_columns : int, default=None
        cmap : str or matplotlib Colormap, default="YlOrRd"
        alpha : float, default=0.8
        colorbar : bool, default=True
        text_kw : dict, default=None
        im_kw : dict, default=None

        Returns
        -------
        display : HeatmapDisplay

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image cannot be used, X and y have different lengths, or target and
            labels are both given.

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
        import_pyplot("HeatmapDisplay.from_estimator")
        if not hasattr(estimator, "heatmap"):
            raise ValueError(
                f"{type(estimator).__name__} has no heatmap; pass a fitted "
                "SimilarNetClassifier."
            )
        check_is_fitted(estimator, "image_shape_")
        shape = estimator.image_shape_
        images = each_image(X, shape)
        titles = _titles(labels, y, len(images))
        # Others that have heatmaps need not know of labels.
        heatmaps = estimator.heatmap(
            X, target, **({} if labels is None else {"labels": labels})
        )
        display = cls(
            images,
            each_image(heatmaps, shape[:2]),
            titles=titles,
            label=_heat_label(target) if labels is None else "heat of the label",
            # Normalised heat has a meaning of its own: faint images shall look faint.
            max_heat=None if estimator.normalize is None else 1.0,
        )
        return display.plot(
            axes,
            n_columns=n_columns,
            cmap=cmap,
            alpha=alpha,
            colorbar=colorbar,
            text_kw=text_kw,
            im_kw=im_kw,
        )


def _titles(labels, y, n_images: int) -> list[str] | None:
    """The labels of heatmaps, and the images' own where they differ."""
    given = [
        as_labels(values, name, n=n_images)
        for values, name in ((labels, "labels"), (y, "y"))
        if values is not None
    ]
    if len(given) < 2:
        return [str(label) for label in given[0]] if given else None
    return [
        str(label) if label == true else f"{label}, not {true}"
        for label, true in zip(*given, strict=True)
    ]


def _heat_label(target) -> str:
    if target is None:
        return "heat"
    return f"heat of {' or '.join(str(label) for label in np.atleast_1d(target))}"


def _check_heatmaps(images, heatmaps) -> None:
    if len(heatmaps) != len(images):
        raise ValueError(
            f"There are {len(heatmaps)} heatmaps for {len(images)} images; pass one "
            "for each."
        )
    for index, (image, heat) in enumerate(zip(images, heatmaps, strict=True)):
        if heat.shape != image.shape[:2]:
            raise ValueError(
                f"Image {index} is {shape_text(image.shape)} and its heatmap "
                f"{shape_text(heat.shape)}; height and width should be the same."
            )
        check_finite(heat, f"Heatmap {index}")


def _check_titles(titles, n_images: int) -> list:
    if titles is None:
        return [None] * n_images
    if isinstance(titles, str) or not has_length(titles):
        raise ValueError(
            f"titles is {titles!r}; pass a list of one for each image, or titles=None."
        )
    if len(titles) != n_images:
        raise ValueError(
            f"There are {len(titles)} titles for {n_images} images; pass one for each, "
            "or titles=None."
        )
    return [str(title) for title in titles]


def _check_max_heat(max_heat) -> None:
    is_number = isinstance(max_heat, Real) and 0 < float(max_heat) < math.inf
    if max_heat is not None and not is_number:
        raise ValueError(
            f"max_heat is {max_heat!r}; pass a finite number above 0, or None."
        )


def _check_alpha(alpha) -> None:
    if not (isinstance(alpha, Real) and 0 <= float(alpha) <= 1):
        raise ValueError(f"alpha is {alpha!r}; pass a number between 0 and 1.")
