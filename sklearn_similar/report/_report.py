"""Reports as HTML files."""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import __version__
from .._images.files import import_pillow
from .._images.messages import count
from .._saving.files import check_can_write, write_atomically
from ..display._instances import COLORS
from ..display._tables import natural_key
from ._contents import STATUSES, Contents, report_contents


def write_report(
    estimator: Any,
    images: Any,
    path: str | os.PathLike[str],
    y_true: Any = None,
    *,
    image_names: Sequence[str] | None = None,
) -> None:
    """Write an HTML page with the predictions of an estimator for some images.

    The page shows the number of predictions of each label, and the images with their
    predicted boxes or labels, which are enlarged on a click. Heatmaps and labels can be
    switched on and off, and a table sorts and filters. If the truth is known, it also
    shows which predictions are wrong, which instances were missed, and the confusion
    matrix.

    Parameters
    ----------
    estimator : InstanceLocalizer or classifier
        Fitted. Any classifier of images can be used.
    images : array, DataFrame, list or other sequence of images, path or list of paths
        As `localize` or `predict` takes them, or their files; a folder means all image
        files in it. Few images are kept in memory if they are files, or if the sequence
        reads them on access.
    path : str or path-like
        File to write. An existing file is replaced once the page is complete.
    y_true : DataFrame or array-like of shape (n_images,), default=None
        True instances, ``image, label, x_min, y_min, x_max, y_max``, for a localizer;
        true labels for a classifier.
    image_names : sequence of str, default=None
        Names of the images. If None, they are named by their files or positions.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    NotFittedError
        If the estimator is not fitted, or has heatmaps but no importances yet.
    ValueError
        If the images, the truth or the names are invalid.
    OSError
        If the file cannot be written; an existing file is unchanged.

    See Also
    --------
    sklearn_similar.display.InstancesDisplay : Plots of a few images.

    Notes
    -----
    The file is self-contained: it includes pictures, styles and script, and loads
    nothing from a network. Pictures are downsampled so that they take less than 25 MB:
    those of 20 photographs to about 1,280 pixels, those of 1,000 to about 200. An
    instance is right if it has the label of a true instance and an intersection over
    union with it of at least 0.5, as in `sklearn_similar.metrics.detection_scores`.
    Heatmaps of a localizer are computed at the size of the image, regardless of
    `scales`; heatmaps of a classifier are those of the predicted label.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_similar import SimilarNetClassifier
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> from sklearn_similar.report import write_report
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> model = SimilarNetClassifier(max_epochs=1, random_state=0).fit(X[::5], y[::5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "report.html")
    ...     write_report(model, X_test[:20], path, y_test[:20])
    ...     os.path.getsize(path) > 10_000
    True
    """
    import_pillow("write_report")
    path = Path(path)
    check_can_write(path)
    contents = report_contents(estimator, images, y_true, image_names)
    write_atomically(path, render(contents))


def render(contents: Contents) -> bytes:
    """The HTML file of a report; all texts in it are escaped by the template."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    page, style, script = (
        (files(__package__) / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    )
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    statuses = {row.get("status") for row in contents.rows}
    labels = sorted({row["label"] for row in contents.rows}, key=natural_key)
    text = environment.from_string(page).render(
        vars(contents),
        n_images=count(len(contents.pictures), "image"),
        labels=labels,
        colors=_colors(labels, contents),
        statuses=[status for status in STATUSES if status in statuses],
        has_boxes=any(picture.boxes for picture in contents.pictures),
        has_heat=any(picture.heat for picture in contents.pictures),
        version=__version__,
        style=Markup(style),
        script=Markup(script),
    )
    # Names of files may contain bytes that no encoding can represent.
    return text.encode("utf-8", "replace")


def _colors(labels: list[str], contents: Contents) -> dict[str, str]:
    """Colours of boxes by label, if they are few and colours do not tell a status."""
    has_boxes = any(picture.boxes for picture in contents.pictures)
    if not has_boxes or "status" in contents.columns:
        return {}
    if not 2 <= len(labels) <= len(COLORS):
        return {}
    return dict(zip(labels, COLORS, strict=False))
