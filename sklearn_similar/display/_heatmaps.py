"""Heatmaps over images."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._images.messages import shape_text
from .._tables.values import as_labels, each_array, has_length
from ._drawing import (
    axes_for,
    check_colormap,
    check_finite,
    check_images,
    check_parameters,
    each_image,
    import_pyplot,
    picture,
)


class HeatmapDisplay:
    """Heatmaps drawn over their images.

    The hotter a pixel, the more of the image is covered. Displays are usually created
    by `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Integer or float images, which may differ in size.
    heatmaps : array-like or list of ndarray of shape (height, width)
        Heatmaps of the images, in the same order and of the same sizes.
    titles : sequence of str, default=None
        A title for each image.
    label : str, default="heat"
        Label of the colour bar.
    max_heat : float, default=None
        The heat that gets the strongest colour. If None, the maximum of `heatmaps`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_images,) of matplotlib Axes
        Axes of the images.
    figure_ : matplotlib Figure
        Figure that contains the axes.

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

    def __repr__(self) -> str:
        n = f"{len(self.heatmaps)} " if has_length(self.heatmaps) else ""
        return f"<HeatmapDisplay: {n}images with their {self.label}>"

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
            At least one for each image. If None, a new figure is created.
        n_columns : int, default=None
            Number of images in a row of a new figure. If None, as many as fit.
        cmap : str or matplotlib Colormap, default="YlOrRd"
            Colours from no heat to `max_heat`.
        alpha : float, default=0.8
            Opacity of `max_heat`, between 0 and 1. The opacity is proportional to the
            heat.
        colorbar : bool, default=True
            Whether to draw one colour bar for all images.
        text_kw : dict, default=None
            Parameters passed to matplotlib's `set_title`, for the titles.
        im_kw : dict, default=None
            Parameters passed to matplotlib's `imshow`, for the images below the heat.

        Returns
        -------
        self : HeatmapDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If a parameter is invalid, or if images, heatmaps, titles and axes do not
            match.
        """
        plt = import_pyplot("HeatmapDisplay.plot")
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        images = check_images(self.images, "images")
        heatmaps = each_array(self.heatmaps, "heatmaps", "Heatmap")
        titles = _check_titles(self.titles, len(images))
        _check_heatmaps(images, heatmaps)
        check_parameters(
            "HeatmapDisplay",
            max_heat=self.max_heat,
            n_columns=n_columns,
            alpha=alpha,
            text_kw=text_kw,
            im_kw=im_kw,
        )
        check_colormap(cmap)
        im_kw = {"cmap": "gray", "vmin": 0, "vmax": 1, **(im_kw or {})}
        text_kw = {"fontsize": "medium", **(text_kw or {})}
        largest = max(float(heat.max()) for heat in heatmaps)
        scale = Normalize(0, self.max_heat or (largest if largest > 0 else 1.0))
        with axes_for(plt, axes, images, n_columns) as axes:
            for ax, image, heat, title in zip(
                axes, images, heatmaps, titles, strict=True
            ):
                ax.imshow(picture(image), **im_kw)
                opacity = alpha * np.clip(heat / scale.vmax, 0, 1)
                ax.imshow(heat, cmap=cmap, norm=scale, alpha=opacity)
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
        **plot_params,
    ):
        """Compute heatmaps with a fitted estimator and draw them.

        Parameters
        ----------
        estimator : SimilarNetClassifier
            Fitted, with measured importances.
        X : array, DataFrame or list of images
            A few images of any sizes, or rows of the trained size.
        target : label or list of labels, default=None
            Class or classes of the heatmaps. If None, all classes; see
            `sklearn_similar.SimilarNetClassifier.heatmap`.
        labels : array-like of shape (n_images,), default=None
            Class of the heatmap of each image instead of `target`, such as the labels
            that `predict` returns. They also become the titles.
        y : array-like of shape (n_images,), default=None
            True labels of the images, for the titles. If they differ from `labels`, the
            title is, for example, "4, not 9".
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image. If None, a new figure is created.
        **plot_params : dict
            Other parameters of `plot`.

        Returns
        -------
        display : HeatmapDisplay

        Raises
        ------
        NotFittedError
            If importances have not been measured.
        ValueError
            If an image is invalid, X and y have different lengths, or both target and
            labels are given.

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
        # Other estimators with heatmaps may have no parameter `labels`.
        heatmaps = estimator.heatmap(
            X, target, **({} if labels is None else {"labels": labels})
        )
        display = cls(
            images,
            each_image(heatmaps, shape[:2]),
            titles=titles,
            label=_heat_label(target) if labels is None else "heat of the label",
            # Normalised heat is absolute: images with little heat should look so.
            max_heat=None if estimator.normalize is None else 1.0,
        )
        return display.plot(axes, **plot_params)


def _titles(labels, y, n_images: int) -> list[str] | None:
    """Titles: the class of each heatmap, and the true label if it differs."""
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
    if isinstance(titles, str) or not has_length(titles) or len(titles) != n_images:
        is_list = has_length(titles) and not isinstance(titles, str)
        found = f"has length {len(titles)}" if is_list else f"is {titles!r}"
        raise ValueError(
            f"titles {found} for {n_images} images; pass a list with one for each, or "
            "None."
        )
    return [str(title) for title in titles]
