"""Boxes of instances over images."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._images.messages import count
from .._images.streams import file_names, image_files
from .._tables.boxes import BOX_COLUMNS, CROWD_COLUMN, INSTANCE_COLUMNS
from .._tables.checks import (
    check_instances,
    crowd_rows,
    image_numbers,
    without_crowds,
)
from .._tables.matching import find_pairs, ignored_rows, matched_rows
from .._tables.values import has_length
from ._drawing import (
    axes_for,
    check_images,
    check_parameters,
    each_image,
    import_pyplot,
    picture,
)
from ._tables import natural_key, read_tables

# Okabe and Ito's colours, which all kinds of colour vision can tell apart.
COLORS = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
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
    instances : DataFrame, list of DataFrame or path
        Table that `localize` or `sklearn_similar.datasets.load_annotations` returns:
        ``image, label, x_min, y_min, x_max, y_max`` and, if known, ``score``; or one
        for each image; or a CSV file that the command ``sklearn-similar localize``
        wrote. If ``image`` holds names of files, `images` are their folder or paths,
        and rows of other files are not drawn. If the table has a column ``path``, as
        that of `localize` has for files, and `images` are files, rows are drawn over
        the file of this path.
    truth : DataFrame, list of DataFrame or path, default=None
        True instances. If the images are passed in another order than `instances`
        numbers them, `truth` needs names or paths of files as well. True instances are
        drawn with dashed lines if they were detected, and with thick lines if they were
        missed; false detections are dotted. Labels say which are missed or false.
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

    def __repr__(self) -> str:
        n_images = len(self.images) if _is_list(self.images) else None
        where = repr(self.images) if n_images is None else count(n_images, "image")
        if not isinstance(self.instances, pd.DataFrame):
            return f"<InstancesDisplay: instances in {where}>"
        what = count(len(self.instances), "instance")
        if "label" in self.instances.columns:
            n_labels = len(self.instances["label"].drop_duplicates())
            what += f" of {count(n_labels, 'label')}"
        return f"<InstancesDisplay: {what} in {where}>"

    def plot(
        self,
        axes=None,
        *,
        n_columns=None,
        labels="auto",
        legend=True,
        color=None,
        truth_color="tab:blue",
        text_kw=None,
        im_kw=None,
    ):
        """Draw each image with its boxes and labels; the title counts them.

        Parameters
        ----------
        axes : matplotlib Axes or array-like of them, default=None
            At least one for each image. If None, a new figure is created.
        n_columns : int, default=None
            Number of images in a row of a new figure. If None, as many as fit.
        labels : bool or "auto", default="auto"
            Whether to write labels and scores at the boxes. "auto": in images of up to
            40 boxes, and the label only if there are several.
        legend : bool, default=True
            Whether to draw a legend where colours or lines differ: the number of
            instances of each label, or with `truth`, of each kind of line.
        color : matplotlib colour, default=None
            Colour of boxes and labels. None: orange if there is one label or if `truth`
            is given, else a colour for each label: those of Okabe and Ito, which all
            kinds of colour vision can tell apart, for up to 7 labels, and Matplotlib's
            "tab20" for more. From 21 labels up, colours recur.
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
        instances, truth = read_tables(self.instances, self.truth, self.images)
        instances = check_table(instances, "instances", shapes)
        check_parameters(
            "InstancesDisplay",
            iou_threshold=self.iou_threshold,
            n_columns=n_columns,
            labels=labels,
            legend=legend,
            text_kw=text_kw,
            im_kw=im_kw,
        )
        for name, value in (("color", color), ("truth_color", truth_color)):
            may_be_none = name == "color" and value is None
            if not may_be_none and not is_color_like(value):
                raise ValueError(f"{name} is {value!r}; pass a matplotlib colour.")
        im_kw = {"cmap": "gray", "vmin": 0, "vmax": 1, **(im_kw or {})}
        if self.truth is None:
            boxes = _plain_boxes(instances, _color_by_label(instances, color))
        else:
            truth = check_table(truth, "truth", shapes)
            boxes = _compared_boxes(
                instances,
                truth,
                self.iou_threshold,
                "tab:orange" if color is None else color,
                truth_color,
            )
        n_boxes = Counter(box.instance["image"] for box in boxes)
        line_scale = _line_scale(max(n_boxes.values(), default=0))
        titles = _titles(boxes, self.images, len(images))
        is_new = axes is None
        with axes_for(plt, axes, images, n_columns) as axes:
            for ax, image, title in zip(axes, images, titles, strict=True):
                ax.imshow(picture(image), **im_kw)
                ax.set_axis_off()
                # Names with dollar signs are not formulas.
                ax.set_title(title, fontsize="medium", parse_math=False)
            has_one_label = len({str(box.instance["label"]) for box in boxes}) < 2
            for box in boxes:
                index = box.instance["image"]
                _draw_box(plt, axes[index], box, line_scale)
                if labels is False or (labels == "auto" and n_boxes[index] > 40):
                    continue
                text = box.text(with_label=labels is True or not has_one_label)
                if text:
                    _write_label(axes[index], box, text, shapes[index], text_kw or {})
            if legend:
                _draw_legend(plt, axes, boxes, is_new)
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
        truth : DataFrame, list of DataFrame or path, default=None
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
        instances : DataFrame, list of DataFrame or path
            Table that `localize` returned for the images, or the file of a table that
            ``sklearn-similar localize`` wrote, with the folder of its images.
        truth : DataFrame, list of DataFrame or path, default=None
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
    """A box and its style; `kind` is the status of a prediction, or what it shows."""

    instance: dict[str, Any]
    kind: str
    color: Any
    linestyle: str = "-"
    linewidth: float = 1.5

    @property
    def is_true(self) -> bool:
        return self.kind in ("missed", "detected")

    def text(self, with_label: bool) -> str:
        """What is written at the box."""
        if self.kind == "detected":
            return ""
        parts = [self.kind] if self.kind in ("false", "missed", "crowd") else []
        if with_label:
            parts.append(str(self.instance["label"]))
        if not self.is_true and "score" in self.instance:
            parts.append(f"{self.instance['score']:.2f}")
        return " ".join(parts)


def check_table(table, name: str, shapes: Sequence[tuple[int, ...]]) -> pd.DataFrame:
    """A valid table of instances, and of crowds, in images of these shapes."""
    has_score = isinstance(table, pd.DataFrame) and "score" in table
    checked = check_instances(table, name=name, needs_score=has_score, with_crowds=True)
    numbers = image_numbers(checked, shapes, name=name)
    boxes = pd.DataFrame(checked.boxes, columns=BOX_COLUMNS, index=table.index)
    known = table.loc[:, table.columns.isin((*INSTANCE_COLUMNS, CROWD_COLUMN))]
    return known.assign(image=numbers, **boxes)


def _is_list(images: Any) -> bool:
    return has_length(images) and not isinstance(images, (str, bytes))


def _color_by_label(instances: pd.DataFrame, color: Any) -> dict[str, Any]:
    labels = sorted({str(label) for label in instances["label"]}, key=natural_key)
    if color is not None or len(labels) < 2:
        return dict.fromkeys(labels, "tab:orange" if color is None else color)
    if len(labels) <= len(COLORS):
        return dict(zip(labels, COLORS, strict=False))
    from matplotlib import colormaps

    # From 21 labels up, colours recur.
    colors = colormaps["tab20"]
    return {label: colors(n % colors.N) for n, label in enumerate(labels)}


def _plain_boxes(instances: pd.DataFrame, colors: Mapping[str, Any]) -> list[_Box]:
    """Boxes of predictions or annotations: solid for objects, dashed for crowds."""
    is_crowd = crowd_rows(instances, name="instances")
    return [
        _Box(
            instance=instance,
            kind="crowd" if crowd else "",
            color=colors[str(instance["label"])],
            linestyle="--" if crowd else "-",
        )
        for instance, crowd in zip(instances.to_dict("records"), is_crowd, strict=True)
    ]


def _compared_boxes(
    instances: pd.DataFrame,
    truth: pd.DataFrame,
    iou_threshold: float,
    color: Any,
    truth_color: Any,
) -> list[_Box]:
    """Boxes of predictions and of true instances, which say how they match."""
    scored = instances if "score" in instances else instances.assign(score=1.0)
    pairs = find_pairs(truth, scored, iou_threshold)
    matched = matched_rows(pairs, iou_threshold)
    is_false = (matched < 0) & ~ignored_rows(pairs, matched, iou_threshold)
    truth = without_crowds(truth, name="truth")
    return [
        *_predicted_boxes(instances, is_false, matched < 0, color),
        *_true_boxes(truth, matched, truth_color),
    ]


def _predicted_boxes(
    instances: pd.DataFrame, is_false, is_unmatched, color
) -> Iterator[_Box]:
    """Boxes of predictions: dotted if they are false. In crowds, they are neither."""
    for instance, false, unmatched in zip(
        instances.to_dict("records"), is_false, is_unmatched, strict=True
    ):
        kind = "false" if false else "in a crowd" if unmatched else "right"
        yield _Box(
            instance=instance,
            kind=kind,
            color=color,
            linestyle=":" if false else "-",
        )


def _true_boxes(truth: pd.DataFrame, matched, color) -> Iterator[_Box]:
    """Boxes of true instances: dashed, or thick if they were missed."""
    is_missed = ~np.isin(np.arange(len(truth)), matched)
    for instance, missed in zip(truth.to_dict("records"), is_missed, strict=True):
        yield _Box(
            instance=instance,
            kind="missed" if missed else "detected",
            color=color,
            linestyle="-" if missed else "--",
            linewidth=3.0 if missed else 1.5,
        )


def _are_compared(boxes: Sequence[_Box]) -> bool:
    return any(box.kind not in ("", "crowd") for box in boxes)


def _titles(boxes: Sequence[_Box], images: Any, n_images: int) -> list[str]:
    """Counts for each image, and its name if it is a file."""
    files = image_files(images)
    names = [""] * n_images
    if files is not None:
        names = [f"{name}: " for name in file_names(images, files)]
    kinds: list[Counter] = [Counter() for _ in range(n_images)]
    labels = [str(box.instance["label"]) for box in boxes]
    for box in boxes:
        kinds[box.instance["image"]][box.kind] += 1
    if _are_compared(boxes):
        shown = ("right", "false", "missed")
        counts = [", ".join(f"{n[kind]} {kind}" for kind in shown) for n in kinds]
    elif len(set(labels)) == 1:
        counts = [f"{n['']} {labels[0]}" for n in kinds]
    else:
        counts = [count(n[""], "instance") for n in kinds]
    return [name + text for name, text in zip(names, counts, strict=True)]


def _draw_legend(
    plt, axes, boxes: Sequence[_Box], is_new: bool, max_labels: int = 20
) -> None:
    """Draw a legend if colours or lines differ, below the images."""
    is_compared = _are_compared(boxes)
    key = "kind" if is_compared else "label"
    entries: dict[str, tuple[_Box, int]] = {}
    for box in boxes:
        name = box.kind if is_compared else str(box.instance["label"])
        if box.kind == "crowd":
            name = f"{name}, crowd"
        first, n = entries.get(name, (box, 0))
        entries[name] = (first, n + 1)
    if not is_compared and len({box.color for box in boxes}) < 2:
        return
    names = list(entries) if is_compared else sorted(entries, key=natural_key)
    handles = [
        plt.Line2D(
            [],
            [],
            color=entries[name][0].color,
            linestyle=entries[name][0].linestyle,
            linewidth=entries[name][0].linewidth,
            label=f"{name} ({entries[name][1]})",
        )
        for name in names[:max_labels]
    ]
    if len(names) > max_labels:
        more = f"and {count(len(names) - max_labels, f'more {key}')}"
        handles.append(plt.Line2D([], [], linestyle="", label=more))
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
    place = {"loc": "outside lower center"} if is_new else place
    owner = axes[0].figure if is_new else axes[-1]
    legend = owner.legend(
        handles=handles, ncols=4, fontsize="small", frameon=False, **place
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _line_scale(n_boxes: int) -> float:
    """Factor of the widths of lines: many boxes are small and near one another."""
    return 1.0 if n_boxes <= 40 else 0.7


def _draw_box(plt, ax, box: _Box, line_scale: float) -> None:
    from matplotlib.patheffects import withStroke

    instance = box.instance
    width = box.linewidth * line_scale
    ax.add_patch(
        plt.Rectangle(
            # In Matplotlib, pixel centres have integer coordinates.
            (instance["x_min"] - 0.5, instance["y_min"] - 0.5),
            instance["x_max"] - instance["x_min"],
            instance["y_max"] - instance["y_min"],
            fill=False,
            color=box.color,
            linestyle=box.linestyle,
            linewidth=width,
            # Lines stay visible on images of their colour.
            path_effects=[withStroke(linewidth=width + 1, foreground="#0008")],
            # Predictions are drawn over true instances.
            zorder=1 if box.is_true else 2,
        )
    )


def _write_label(
    ax,
    box: _Box,
    text: str,
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
        "parse_math": False,
        "horizontalalignment": end,
        "verticalalignment": side,
        "clip_on": True,
        # Labels stay legible on bright images.
        "bbox": {"facecolor": "black", "alpha": 0.85, "edgecolor": "none", "pad": 0.8},
    }
    ax.text(x, y, text, **{**given, **text_kw})
