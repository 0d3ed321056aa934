"""Boxes of instances over images."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._tables.checks import check_instances, image_numbers
from .._tables.matching import find_pairs, matched_rows
from ._drawing import (
    axes_for,
    check_images,
    check_kw,
    each_image,
    import_pyplot,
    picture,
)

# Share of an image's height that a label needs, and of its width that a long one may.
_LABEL_SHARE = 0.06
_LABEL_WIDTH = 0.25


class InstancesDisplay:
    """Instances drawn over their images.

    Displays are usually created by `from_estimator` or `from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels)
        Integer or float images, which may differ in size.
    instances : DataFrame
        Table that `localize` returns: ``image, label, x_min, y_min, x_max, y_max``
        and, if known, ``score``.
    truth : DataFrame, default=None
        True instances. Those that were found are drawn with dashed lines and those that
        were missed with thick ones; false ones among `instances` are dotted; both are
        marked in words.
    iou_threshold : float, default=0.5
        Least intersection over union of a found and a true instance, in (0, 1]; they
        are matched as in `sklearn_similar.metrics.detection_scores`.

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

    def __init__(self, images, instances, *, truth=None, iou_threshold=0.5):
        self.images = images
        self.instances = instances
        self.truth = truth
        self.iou_threshold = iou_threshold

    def plot(
        self,
        axes=None,
        *,
        n_columns=None,
        color="tab:orange",
        truth_color="tab:blue",
        text_kw=None,
        im_kw=None,
    ):
        """Draw each image with its boxes and labels.

        Parameters
        ----------
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image; None: a new figure.
        n_columns : int, default=None
            Images side by side in a new figure; None: as many as have room.
        color : matplotlib colour, default="tab:orange"
            Colour of boxes and labels. All kinds of colour vision tell the defaults
            apart.
        truth_color : matplotlib colour, default="tab:blue"
            Colour of true instances.
        text_kw : dict, default=None
            More parameters of matplotlib's `text`, for the labels.
        im_kw : dict, default=None
            More parameters of matplotlib's `imshow`, for the images.

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
        for name, value in (("color", color), ("truth_color", truth_color)):
            if not is_color_like(value):
                raise ValueError(f"{name} is {value!r}; pass a colour of matplotlib's.")
        im_kw = {"cmap": "gray", "vmin": 0, "vmax": 1} | check_kw(im_kw, "im_kw")
        text_kw = check_kw(text_kw, "text_kw")
        boxes = _styled(instances, truth, self.iou_threshold, color, truth_color)
        with axes_for(plt, axes, images, n_columns) as axes:
            for index, (ax, image) in enumerate(zip(axes, images, strict=True)):
                ax.imshow(picture(image), **im_kw)
                ax.set_axis_off()
                for box in boxes.get(index, ()):
                    _draw_box(plt, ax, box)
                    if box.text:
                        _write_label(ax, box, image.shape, text_kw)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, *, truth=None, iou_threshold=0.5, axes=None, **plot_params
    ):
        """Localize the instances in images and draw them.

        Parameters
        ----------
        estimator : InstanceLocalizer
            Fitted.
        X : array-like or list of images
            As `localize` takes them.
        truth : DataFrame, default=None
            True instances.
        iou_threshold : float, default=0.5
            Least intersection over union of a found and a true instance.
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

        See Also
        --------
        from_predictions : The same of instances that are found already.
        """
        if not hasattr(estimator, "localize"):
            raise ValueError(
                f"{type(estimator).__name__} has no localize; pass a fitted "
                "InstanceLocalizer."
            )
        images = each_image(X, getattr(estimator, "image_shape_", None))
        display = cls(
            images, estimator.localize(X), truth=truth, iou_threshold=iou_threshold
        )
        return display.plot(axes, **plot_params)

    @classmethod
    def from_predictions(
        cls,
        images,
        instances,
        *,
        truth=None,
        iou_threshold=0.5,
        axes=None,
        **plot_params,
    ):
        """Draw instances that are found already.

        Parameters
        ----------
        images : array-like or list of images
            Images of one or of several sizes.
        instances : DataFrame
            Those that `localize` returned for the images.
        truth : DataFrame, default=None
            True instances.
        iou_threshold : float, default=0.5
            Least intersection over union of a found and a true instance.
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
            If images and tables do not fit each other.

        See Also
        --------
        from_estimator : Localizes first.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from sklearn_similar.display import InstancesDisplay
        >>> columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
        >>> truth = pd.DataFrame([[0, "a", 3, 3, 9, 9]], columns=columns)
        >>> found = truth.assign(label="b", score=0.9)
        >>> display = InstancesDisplay.from_predictions(
        ...     [np.zeros((20, 20))], found, truth=truth
        ... )
        >>> [text.get_text() for text in display.axes_[0].texts]
        ['false b 0.90', 'missed a']
        """
        display = cls(images, instances, truth=truth, iou_threshold=iou_threshold)
        return display.plot(axes, **plot_params)


@dataclass(frozen=True, kw_only=True)
class _Box:
    """A box as it is drawn."""

    instance: dict
    text: str
    color: Any
    linestyle: str
    linewidth: float = 1.5
    is_true: bool = False


def check_table(table, name: str, shapes: Sequence[tuple[int, ...]]) -> pd.DataFrame:
    """The table, if it is one of instances in images of these shapes."""
    has_score = isinstance(table, pd.DataFrame) and "score" in table
    checked = check_instances(table, name=name, needs_score=has_score)
    numbers = image_numbers(checked, shapes, name=name)
    boxes = pd.DataFrame(checked.boxes, columns=BOX_COLUMNS, index=table.index)
    known = table.loc[:, table.columns.isin(INSTANCE_COLUMNS)]
    return known.assign(image=numbers, **boxes)


def _styled(
    instances: pd.DataFrame,
    truth: pd.DataFrame | None,
    iou_threshold,
    color,
    truth_color,
) -> dict[int, list[_Box]]:
    """The boxes of each image that has any."""
    is_false = np.zeros(len(instances), dtype=bool)
    by_image: dict[int, list[_Box]] = {}
    if truth is not None:
        _check_iou_threshold(iou_threshold)
        scored = instances if "score" in instances else instances.assign(score=1.0)
        pairs = find_pairs(truth, scored, iou_threshold)
        matched = matched_rows(pairs, iou_threshold)
        is_false = matched < 0
    for instance, false in zip(instances.to_dict("records"), is_false, strict=True):
        text = str(instance["label"])
        if "score" in instance:
            text += f" {instance['score']:.2f}"
        box = _Box(
            instance=instance,
            text=f"false {text}" if false else text,
            color=color,
            linestyle=":" if false else "-",
        )
        by_image.setdefault(instance["image"], []).append(box)
    if truth is not None:
        is_missed = ~np.isin(np.arange(len(truth)), matched)
        for instance, missed in zip(truth.to_dict("records"), is_missed, strict=True):
            box = _Box(
                instance=instance,
                text=f"missed {instance['label']}" if missed else "",
                color=truth_color,
                linestyle="-" if missed else "--",
                linewidth=3.0 if missed else 1.5,
                is_true=True,
            )
            by_image.setdefault(instance["image"], []).append(box)
    return by_image


def _check_iou_threshold(iou_threshold) -> None:
    if not (isinstance(iou_threshold, Real) and 0 < float(iou_threshold) <= 1):
        raise ValueError(
            f"iou_threshold is {iou_threshold!r}; pass a number above 0 and at most 1."
        )


def _write_label(ax, box: _Box, shape: tuple[int, ...], text_kw: dict) -> None:
    """Write a label above its box; below, if it was missed; inside without room."""
    height, width = shape[:2]
    y_min, y_max = box.instance["y_min"], box.instance["y_max"]
    room = _LABEL_SHARE * height
    if box.is_true:
        y, side = (y_max, "top") if y_max + room <= height else (y_max - 1, "bottom")
    else:
        y, side = (y_min - 1, "bottom") if y_min >= room else (y_min, "top")
    # A label that begins near the right edge ends there, rather than being cut off.
    x, end = box.instance["x_min"], "left"
    if x > (1 - _LABEL_WIDTH) * width:
        x, end = box.instance["x_max"], "right"
    given = {
        "color": box.color,
        "fontsize": "x-small",
        "horizontalalignment": end,
        "verticalalignment": side,
        "clip_on": True,
        # Legible on bright parts of the image, too.
        "bbox": {"facecolor": "black", "alpha": 0.85, "edgecolor": "none", "pad": 0.8},
    }
    ax.text(x, y, box.text, **(given | text_kw))


def _draw_box(plt, ax, box: _Box) -> None:
    # Pixel centres have whole coordinates in Matplotlib, and boxes begin at edges.
    instance = box.instance
    corner = (instance["x_min"] - 0.5, instance["y_min"] - 0.5)
    width = instance["x_max"] - instance["x_min"]
    height = instance["y_max"] - instance["y_min"]
    ax.add_patch(
        plt.Rectangle(
            corner,
            width,
            height,
            fill=False,
            color=box.color,
            linestyle=box.linestyle,
            linewidth=box.linewidth,
            # Found ones are seen on those that they missed.
            zorder=1 if box.is_true else 2,
        )
    )
