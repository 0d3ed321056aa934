"""The error of a network without each filter of a layer, in one pass."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch

from ._head import Head


class ErrorSums(NamedTuple):
    """Errors summed over the images of each class.

    Attributes
    ----------
    log_loss, error : ndarray of shape (n_filters + 1, n_classes)
        Sums of -log p(true class), and numbers of misclassified images; row 0 is with
        all filters, row i + 1 without filter i.
    n_images : ndarray of shape (n_classes,)
        Images of each class.
    """

    log_loss: np.ndarray
    error: np.ndarray
    n_images: np.ndarray


class Importances(NamedTuple):
    """Errors and their increases; see `SimilarNetClassifier` for the attributes."""

    baseline_error: float
    filter_errors: np.ndarray
    filter_importances: np.ndarray
    class_importances: np.ndarray


def error_sums(
    head: Head,
    batches: Iterable[tuple[np.ndarray, torch.Tensor]],
    y: np.ndarray,
    replacement: torch.Tensor,
    n_classes: int,
    log_probabilities: Callable[[torch.Tensor], torch.Tensor],
) -> ErrorSums:
    """Errors with all filters and without each of them.

    Parameters
    ----------
    head : Head
    batches : iterable of (indices, images)
    y : ndarray of shape (n_images,)
        Class index of each image.
    replacement : tensor of shape (n_filters,)
        What the absent filters' responses become.
    n_classes : int
    log_probabilities : callable
        From the network's output, n x n_classes.
    """
    n_rows = len(replacement) + 1
    sums = torch.zeros(2, n_rows, n_classes, dtype=torch.float64)
    n_images = np.zeros(n_classes, dtype=np.int64)
    for indices, images in batches:
        n_images += np.bincount(y[indices], minlength=n_classes)
        true = torch.from_numpy(y[indices]).to(images.device)
        row = 0
        for outputs in head.run(images, replacement):
            outputs = outputs.reshape(-1, *outputs.shape[-2:])
            measured = _errors(outputs, true, log_probabilities)
            rows = slice(row, row + len(outputs))
            sums[:, rows].index_add_(2, true.cpu(), measured.double().cpu())
            row = rows.stop
    return ErrorSums(sums[0].numpy(), sums[1].numpy(), n_images)


def _errors(outputs, true, log_probabilities) -> torch.Tensor:
    """Log loss and misclassification, 2 x n_chunk x n_images."""
    n_chunk, n_images = outputs.shape[:2]
    log_proba = log_probabilities(outputs.flatten(0, 1))
    true = true.repeat(n_chunk)
    log_loss = -log_proba.gather(1, true[:, None])[:, 0]
    # argmax takes 15 times as long, and they agree on the first of equal ones.
    predicted = log_proba.max(dim=1).indices
    measured = torch.stack([log_loss, (predicted != true).to(log_loss)])
    return measured.unflatten(1, (n_chunk, n_images))


def importances(
    sums: ErrorSums, measure: str, background: int | None = None
) -> Importances:
    """Increases of the error, e_i - E (Eq. 1 of the paper with the sign of its text).

    Parameters
    ----------
    sums : ErrorSums
    measure : {"log_loss", "error"}
    background : int, optional
        Class that does not count in the importances for all classes together.

    Notes
    -----
    A class of which there are no images has the importances of all classes together.
    """
    total = sums.log_loss if measure == "log_loss" else sums.error
    present = sums.n_images > 0
    counted = present.copy()
    if background is not None and present.sum() > present[background]:
        counted[background] = False
    overall = total[:, counted].sum(axis=1) / sums.n_images[counted].sum()
    by_class = np.where(present, total, overall[:, None]) / np.where(
        present, sums.n_images, 1
    )
    return Importances(
        baseline_error=float(overall[0]),
        filter_errors=overall[1:],
        filter_importances=overall[1:] - overall[0],
        class_importances=(by_class[1:] - by_class[0]).T,
    )


def mean_responses(responses: Iterable[torch.Tensor]) -> torch.Tensor:
    """Mean response of each filter over all images and positions.

    Parameters
    ----------
    responses : iterable of tensor of shape (n_images, n_filters, height, width)
    """
    totals, count = [], 0
    for maps in responses:
        totals.append(maps.sum(dim=(0, 2, 3), dtype=torch.float64))
        count += maps[:, 0].numel()
    return (torch.stack(totals).sum(dim=0) / count).to(maps.dtype)
