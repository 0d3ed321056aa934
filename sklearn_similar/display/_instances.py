"""Boxes of instances over images."""

import numpy as np

from sklearn_similar.display._drawing import (
    each_image,
    import_pyplot,
    new_axes,
    picture,
)


class InstancesDisplay:
    """Instances drawn over the images they were found in.

    `from_estimator` is the usual way to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Images of one or of several sizes; integers or floats.
    instances : DataFrame
        What `localize` returns: ``image, label, x_min, y_min, x_max, y_max`` and, if
        known, ``score``.
    truth : DataFrame, default=None
        True instances, drawn with dashed lines.

    Attributes
    ----------
    axes_ : ndarray of shape (n_images,) of matplotlib Axes
        Where the images are.
    figure_ : matplotlib Figure
        Figure that holds the axes.

    See Also
    --------
    HeatmapDisplay : Heatmaps over images.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_similar.display import InstancesDisplay
    >>> instances = pd.DataFrame(
    ...     [[0, 1, 10, 5, 15, 20]],
    ...     columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    ... )
    >>> display = InstancesDisplay([np.zeros((28, 40))], instances).plot()
    >>> len(display.axes_[0].patches)
    1
    """

    def __init__(self, images, instances, *, truth=None):
        self.images = images
        self.instances = instances
        self.truth = truth

    def plot(self, axes=None, *, n_columns=None, color="tab:orange"):
        """Draw each image with its boxes and labels.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One for each image; None: a new figure.
        n_columns : int, default=None
            Images in a row of a new figure; None: as many as fit.
        color : matplotlib colour, default="tab:orange"
            Colour of boxes and labels.

        Returns
        -------
        self : InstancesDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If there are no images, or not as many axes as images.
        """
        plt = import_pyplot("InstancesDisplay.plot")
        images = [np.asarray(image) for image in self.images]
        if not images:
            raise ValueError("There are no images to draw; pass at least one.")
        axes = new_axes(plt, images, n_columns) if axes is None else np.ravel(axes)
        if len(axes) != len(images):
            raise ValueError(
                f"There are {len(axes)} axes for {len(images)} images; pass one for "
                "each, or axes=None."
            )
        for index, (ax, image) in enumerate(zip(axes, images, strict=True)):
            ax.imshow(picture(image), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
            own = self.instances[self.instances["image"] == index]
            for instance in own.to_dict("records"):
                _draw_box(plt, ax, instance, color, "-")
                text = str(instance["label"])
                if "score" in instance:
                    text += f" {instance['score']:.2f}"
                ax.text(
                    instance["x_min"],
                    instance["y_min"] - 1,
                    text,
                    color=color,
                    fontsize="x-small",
                    verticalalignment="bottom",
                    clip_on=True,
                )
            if self.truth is not None:
                own = self.truth[self.truth["image"] == index]
                for instance in own.to_dict("records"):
                    _draw_box(plt, ax, instance, "tab:blue", "--")
        self.axes_ = axes
        self.figure_ = axes[0].figure
        return self

    @classmethod
    def from_estimator(cls, estimator, X, *, truth=None, axes=None, **plot_params):
        """Find the instances in images and draw them.

        Parameters
        ----------
        estimator : SimilarNetClassifier
            Fitted.
        X : array-like or list of images
            As `localize` takes them.
        truth : DataFrame, default=None
            True instances.
        axes : sequence of matplotlib Axes, default=None
            One for each image; None: a new figure.
        **plot_params : dict
            More parameters of `plot`.

        Returns
        -------
        display : InstancesDisplay
        """
        images = each_image(X, getattr(estimator, "image_shape_", None))
        display = cls(images, estimator.localize(X), truth=truth)
        return display.plot(axes, **plot_params)


def _draw_box(plt, ax, instance: dict, color: str, linestyle: str) -> None:
    # Pixel centres have whole coordinates in Matplotlib, and boxes begin at edges.
    corner = (instance["x_min"] - 0.5, instance["y_min"] - 0.5)
    width = instance["x_max"] - instance["x_min"]
    height = instance["y_max"] - instance["y_min"]
    ax.add_patch(
        plt.Rectangle(
            corner, width, height, fill=False, color=color, linestyle=linestyle
        )
    )
