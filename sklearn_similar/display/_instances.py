"""Boxes of instances over images."""

from collections.abc import Sequence

import pandas as pd

from sklearn_similar._boxes import BOX_COLUMNS
from sklearn_similar.display._drawing import (
    axes_for,
    check_images,
    each_image,
    import_pyplot,
    picture,
)
from sklearn_similar.metrics._checks import check_instances
from sklearn_similar.metrics._truth import image_numbers


class InstancesDisplay:
    """Instances drawn over their images.

    `from_estimator` is the usual way to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Images of one or of several sizes; integers or floats.
    instances : DataFrame
        Table that `localize` returns: ``image, label, x_min, y_min, x_max, y_max``
        and, if known, ``score``.
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
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image; None: a new figure.
        n_columns : int, default=None
            Images side by side in a new figure; None: as many as have room.
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
            If images, tables and axes do not fit each other.
        """
        plt = import_pyplot("InstancesDisplay.plot")
        from matplotlib.colors import is_color_like

        images = check_images(self.images, "images")
        shapes = [image.shape for image in images]
        instances = check_table(self.instances, "instances", shapes)
        truth = None
        if self.truth is not None:
            truth = check_table(self.truth, "truth", shapes)
        if not is_color_like(color):
            raise ValueError(f"color is {color!r}; pass a colour of matplotlib's.")
        with axes_for(plt, axes, images, n_columns) as axes:
            for index, (ax, image) in enumerate(zip(axes, images, strict=True)):
                ax.imshow(picture(image), cmap="gray", vmin=0, vmax=1)
                ax.set_axis_off()
                for instance in _of_image(instances, index):
                    _draw_box(plt, ax, instance, color, "-")
                    _write_label(ax, instance, color)
                if truth is not None:
                    for instance in _of_image(truth, index):
                        _draw_box(plt, ax, instance, "tab:blue", "--")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    @classmethod
    def from_estimator(cls, estimator, X, *, truth=None, axes=None, **plot_params):
        """Localize the instances in images and draw them.

        Parameters
        ----------
        estimator : InstanceLocalizer
            Fitted.
        X : array-like or list of images
            As `localize` takes them.
        truth : DataFrame, default=None
            True instances.
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image; None: a new figure.
        **plot_params : dict
            More parameters of `plot`.

        Returns
        -------
        display : InstancesDisplay

        Raises
        ------
        ValueError
            If an image cannot be used, or images and truth do not fit each other.
        """
        if not hasattr(estimator, "localize"):
            raise ValueError(
                f"{type(estimator).__name__} has no localize; pass a fitted "
                "InstanceLocalizer."
            )
        images = each_image(X, getattr(estimator, "image_shape_", None))
        display = cls(images, estimator.localize(X), truth=truth)
        return display.plot(axes, **plot_params)


def check_table(table, name: str, shapes: Sequence[tuple[int, ...]]) -> pd.DataFrame:
    """The table, if it is one of instances in images of these shapes."""
    has_score = isinstance(table, pd.DataFrame) and "score" in table
    checked = check_instances(table, name=name, needs_score=has_score)
    numbers = image_numbers(checked, shapes, name=name)
    boxes = pd.DataFrame(checked.boxes, columns=BOX_COLUMNS, index=table.index)
    return table.assign(image=numbers, **boxes)


def _of_image(table: pd.DataFrame, index: int) -> list[dict]:
    return table[table["image"] == index].to_dict("records")


def _write_label(ax, instance: dict, color: str) -> None:
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
