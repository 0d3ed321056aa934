"""Reports as HTML files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._images.files import import_pillow
from .._saving.files import check_can_write
from ._contents import report_contents
from ._page import write_page


def write_report(
    estimator: Any,
    images: Any,
    path: str | os.PathLike[str],
    y_true: Any = None,
    *,
    image_names: Sequence[str] | None = None,
) -> None:
    """Write an HTML page with what an estimator says of images.

    The page shows the images with the boxes that were found, or with the labels that
    were predicted; the heatmaps, which can be switched on and off; a table that sorts
    and filters; the importances of the filters; and, where the truth is known, what was
    missed, what was wrong, and the confusion matrix.

    Parameters
    ----------
    estimator : InstanceLocalizer or classifier
        Fitted. Any classifier of images will do.
    images : array, DataFrame, list or other sequence of images
        As `localize` or `predict` takes them. A sequence that reads its images from
        files when they are asked for keeps few of them in memory.
    path : str or path-like
        The file to write. One that exists is replaced when the page is complete.
    y_true : DataFrame or array-like of shape (n_images,), default=None
        True instances, ``image, label, x_min, y_min, x_max, y_max``, for a localizer;
        true labels for a classifier.
    image_names : sequence of str, default=None
        Names of the images; None: their positions.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    NotFittedError
        If the estimator is not fitted, or has heatmaps but no importances yet.
    ValueError
        If the images, the truth or the names cannot be used.
    OSError
        If the file cannot be written; one that existed is as before.

    See Also
    --------
    sklearn_similar.display.InstancesDisplay : Pictures of a few images.

    Notes
    -----
    The file needs nothing beside it: pictures, styles and script are in it, and nothing
    is loaded from a network. Pictures are reduced so far that 1,000 of them take less
    than 25 MB. An instance is right if it has the label of a true one and an
    intersection over union with it of at least 0.5, as in
    `sklearn_similar.metrics.detection_scores`. Heatmaps of a localizer are those of
    the image's own size, whatever `scales` is; those of a classifier, of the predicted
    label.

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
    write_page(report_contents(estimator, images, y_true, image_names), path)
