"""Boxes of instances over images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._tables.boxes import BOX_COLUMNS, CROWD_COLUMN, INSTANCE_COLUMNS
from .._tables.checks import check_instances, image_numbers, without_crowds
from .._tables.matching import find_pairs, ignored_rows, matched_rows
from ._drawing import (
    axes_for,
    check_images,
    check_parameters,
    each_image,
    import_pyplot,
    picture,
)


class InstancesDisplay:
    """Instances drawn over their images.

    Displays are usually created by `from_estimator` or `from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    images : array-like or list of ndarray of shape (height, width) or \
            (height, width, n_channels), path or list of paths
        Integer or float images, which may differ in size, or their files.
    instances : DataFrame
        Table that `localize` returns: ``image, label, x_min, y_min, x_max, y_max``
        and, if known, ``score``.
    truth : DataFrame, default=None
        True instances. They are drawn with dashed lines if they were detected, and with
        thick lines if they were missed; false detections are dotted. Labels say which
        are missed or false.
    iou_threshold : float, default=0.5
        Minimum intersection over union of a detection and a true instance, in (0, 1].
        They are matched as in `sklearn_similar.metrics.detection_scores`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_images,) of matplotlib Axes
        Axes of the images.
    figure_ : matplotlib Figure
        Figure that contains the axes.

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
            At least one for each image. If None, a new figure is created.
        n_columns : int, default=None
            Number of images in a row of a new figure. If None, as many as fit.
        color : matplotlib colour, default="tab:orange"
            Colour of boxes and labels. The defaults can be told apart with all kinds of
            colour vision.
        truth_color : matplotlib colour, default="tab:blue"
            Colour of true instances.
        text_kw : dict, default=None
            Parameters passed to matplotlib's `text`, for the labels.
        im_kw : dict, default=None
            Parameters passed to matplotlib's `imshow`, for the images.

        Returns
        -------
        self : InstancesDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If a parameter is invalid, or if images, tables and axes do not match.
        """
        plt = import_pyplot("InstancesDisplay.plot")
        from matplotlib.colors import is_color_like

        images = check_images(self.images, "images")
        shapes = [image.shape for image in images]
        instances = check_table(self.instances, "instances", shapes)
        check_parameters(
            "InstancesDisplay",
            iou_threshold=self.iou_threshold,
            n_columns=n_columns,
            text_kw=text_kw,
            im_kw=im_kw,
        )
        for name, value in (("color", color), ("truth_color", truth_color)):
            if not is_color_like(value):
                raise ValueError(f"{name} is {value!r}; pass a matplotlib colour.")
        im_kw = {"cmap": "gray", "vmin": 0, "vmax": 1, **(im_kw or {})}
        is_false = np.zeros(len(instances), dtype=bool)
        boxes = []
        if self.truth is not None:
            truth = check_table(self.truth, "truth", shapes)
            scored = instances if "score" in instances else instances.assign(score=1.0)
            pairs = find_pairs(truth, scored, self.iou_threshold)
            matched = matched_rows(pairs, self.iou_threshold)
            is_false = matched < 0
            is_false &= ~ignored_rows(pairs, matched, self.iou_threshold)
            truth = without_crowds(truth, name="truth")
            boxes.extend(_true_boxes(truth, matched, truth_color))
        boxes[:0] = _predicted_boxes(instances, is_false, color)
        with axes_for(plt, axes, images, n_columns) as axes:
            for ax, image in zip(axes, images, strict=True):
                ax.imshow(picture(image), **im_kw)
                ax.set_axis_off()
            for box in boxes:
                index = box.instance["image"]
                _draw_box(plt, axes[index], box)
                if box.text:
                    _write_label(axes[index], box, shapes[index], text_kw or {})
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
        X : array-like or list of images, path or list of paths
            As `localize` takes them.
        truth : DataFrame, default=None
            True instances.
        iou_threshold : float, default=0.5
            Minimum intersection over union of a detection and a true instance.
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image. If None, a new figure is created.
        **plot_params : dict
            Other parameters of `plot`.

        Returns
        -------
        display : InstancesDisplay

        Raises
        ------
        ValueError
            If an image is invalid, or images and truth do not match.

        See Also
        --------
        from_predictions : Draws instances that have been localized already.
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
        """Draw instances that have been localized already.

        Parameters
        ----------
        images : array-like or list of images, path or list of paths
            Images, which may differ in size.
        instances : DataFrame
            Table that `localize` returned for the images.
        truth : DataFrame, default=None
            True instances.
        iou_threshold : float, default=0.5
            Minimum intersection over union of a detection and a true instance.
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image. If None, a new figure is created.
        **plot_params : dict
            Other parameters of `plot`.

        Returns
        -------
        display : InstancesDisplay

        Raises
        ------
        ValueError
            If images and tables do not match.

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
    """A box and its style."""

    instance: dict[str, Any]
    text: str
    color: Any
    linestyle: str
    linewidth: float = 1.5
    is_true: bool = False


def check_table(table, name: str, shapes: Sequence[tuple[int, ...]]) -> pd.DataFrame:
    """A valid table of instances, and of crowds, in images of these shapes."""
    has_score = isinstance(table, pd.DataFrame) and "score" in table
    checked = check_instances(table, name=name, needs_score=has_score, with_crowds=True)
    numbers = image_numbers(checked, shapes, name=name)
    boxes = pd.DataFrame(checked.boxes, columns=BOX_COLUMNS, index=table.index)
    known = table.loc[:, table.columns.isin((*INSTANCE_COLUMNS, CROWD_COLUMN))]
    return known.assign(image=numbers, **boxes)


def _predicted_boxes(instances: pd.DataFrame, is_false, color) -> Iterator[_Box]:
    """Boxes of predictions; dotted if they are false."""
    for instance, false in zip(instances.to_dict("records"), is_false, strict=True):
        text = str(instance["label"])
        if "score" in instance:
            text += f" {instance['score']:.2f}"
        yield _Box(
            instance=instance,
            text=f"false {text}" if false else text,
            color=color,
            linestyle=":" if false else "-",
        )


def _true_boxes(truth: pd.DataFrame, matched, color) -> Iterator[_Box]:
    """Boxes of true instances: dashed, or thick if they were missed."""
    is_missed = ~np.isin(np.arange(len(truth)), matched)
    for instance, missed in zip(truth.to_dict("records"), is_missed, strict=True):
        yield _Box(
            instance=instance,
            text=f"missed {instance['label']}" if missed else "",
            color=color,
            linestyle="-" if missed else "--",
            linewidth=3.0 if missed else 1.5,
            is_true=True,
        )


def _draw_box(plt, ax, box: _Box) -> None:
    instance = box.instance
    ax.add_patch(
        plt.Rectangle(
            # In Matplotlib, pixel centres have integer coordinates.
            (instance["x_min"] - 0.5, instance["y_min"] - 0.5),
            instance["x_max"] - instance["x_min"],
            instance["y_max"] - instance["y_min"],
            fill=False,
            color=box.color,
            linestyle=box.linestyle,
            linewidth=box.linewidth,
            # Predictions are drawn over true instances.
            zorder=1 if box.is_true else 2,
        )
    )


def _write_label(
    ax,
    box: _Box,
    shape: tuple[int, ...],
    text_kw: Mapping[str, Any],
    label_height: float = 0.06,
    label_width: float = 0.25,
) -> None:
    """Write the label of a prediction above its box, of a missed instance below.

    The label is drawn inside the box if it does not fit outside. Its height, and the
    width of a long label, are estimated as shares of the image's height and width.
    """
    height, width = shape[:2]
    y_min, y_max = box.instance["y_min"], box.instance["y_max"]
    room = label_height * height
    if box.is_true:
        y, side = (y_max, "top") if y_max + room <= height else (y_max - 1, "bottom")
    else:
        y, side = (y_min - 1, "bottom") if y_min >= room else (y_min, "top")
    # Near the right edge, a label would be cut off if it began at the left of its box.
    x, end = box.instance["x_min"], "left"
    if x > (1 - label_width) * width:
        x, end = box.instance["x_max"], "right"
    given = {
        "color": box.color,
        "fontsize": "x-small",
        "horizontalalignment": end,
        "verticalalignment": side,
        "clip_on": True,
        # Labels stay legible on bright images.
        "bbox": {"facecolor": "black", "alpha": 0.85, "edgecolor": "none", "pad": 0.8},
    }
    ax.text(x, y, box.text, **{**given, **text_kw})
