"""The error of a network without each filter of a layer, in one pass."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .._network.activations import Batches, feature_maps
from .strategies import Head, make_head

# Images on which shortcuts are looked for.
_N_PROBES = 3
# Values of log_proba above which rivals are not told apart.
_MAX_MARGINS = 2**24


class ErrorSums(NamedTuple):
    """Errors summed over the images of each class.

    Attributes
    ----------
    log_loss, error : ndarray of shape (n_filters + 1, n_classes)
        Sums of -log p(true class), and numbers of misclassified images; row 0 is with
        all filters, row i + 1 without filter i.
    n_images : ndarray of shape (n_classes,)
        Images of each class.
    log_proba : ndarray of shape (n_filters + 1, n_classes, n_rivals)
        Sums of log p(k) over the images of each class; n_rivals is n_classes, or 1 for
        the mean over k where that would be too many.
    """

    log_loss: np.ndarray
    error: np.ndarray
    n_images: np.ndarray
    log_proba: np.ndarray


class Importances(NamedTuple):
    """Errors and their increases; see `SimilarNetClassifier` for the attributes."""

    baseline_error: float
    filter_errors: np.ndarray
    filter_importances: np.ndarray
    class_importances: np.ndarray
    class_margins: np.ndarray


def ablate(
    module: nn.Module,
    layer: str,
    batches: Callable[[], Batches],
    y: np.ndarray,
    ablation: str,
    n_classes: int,
    log_probabilities: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[str, ErrorSums]:
    """Errors of a network with all filters of a layer and without each, and the way.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str
    batches : callable
        Returns an iterator over (indices, images); it may be called twice.
    y : ndarray of shape (n_images,)
        Class index of each image.
    ablation : {"zero", "mean"}
    n_classes : int
    log_probabilities : callable
        From the network's output, n x n_classes.
    """
    _, images = next(iter(batches()))
    probes = images[:_N_PROBES]
    responses = feature_maps(module, layer, probes, "pooled").responses
    head = make_head(module, layer, probes, responses)
    replacement = responses.new_zeros(responses.shape[1])
    if ablation == "mean":
        replacement = mean_responses(
            feature_maps(module, layer, images, "pooled").responses
            for _, images in batches()
        )
    sums = error_sums(head, batches(), y, replacement, n_classes, log_probabilities)
    return head.method, sums


def error_sums(
    head: Head,
    batches: Batches,
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
    n_rivals = n_classes if n_rows * n_classes**2 <= _MAX_MARGINS else 1
    sums = torch.zeros(2, n_rows, n_classes, dtype=torch.float64)
    log_proba = torch.zeros(n_rows, n_classes, n_rivals, dtype=torch.float64)
    n_images = np.zeros(n_classes, dtype=np.int64)
    for indices, images in batches:
        n_images += np.bincount(y[indices], minlength=n_classes)
        true = torch.from_numpy(y[indices]).to(images.device)
        row = 0
        for outputs in head.run(images, replacement):
            outputs = outputs.reshape(-1, *outputs.shape[-2:])
            found = log_probabilities(outputs.flatten(0, 1))
            rows = slice(row, row + len(outputs))
            measured = _errors(found, true)
            sums[:, rows].index_add_(2, true.cpu(), measured.double().cpu())
            log_proba[rows] += _by_class(found, true, n_rivals).double().cpu()
            row = rows.stop
    return ErrorSums(sums[0].numpy(), sums[1].numpy(), n_images, log_proba.numpy())


def _errors(log_proba: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Log loss and misclassification, 2 x n_chunk x n_images."""
    n_images = len(true)
    true = true.repeat(len(log_proba) // n_images)
    log_loss = -log_proba.gather(1, true[:, None])[:, 0]
    # argmax takes 15 times as long, and they agree on the first of equal ones.
    predicted = log_proba.max(dim=1).indices
    measured = torch.stack([log_loss, (predicted != true).to(log_loss)])
    return measured.unflatten(1, (-1, n_images))


def _by_class(
    log_proba: torch.Tensor, true: torch.Tensor, n_rivals: int
) -> torch.Tensor:
    """Log probabilities summed over each class, n_chunk x n_classes x n_rivals."""
    n_classes = log_proba.shape[1]
    is_true = nn.functional.one_hot(true, n_classes).to(log_proba)
    if n_rivals < n_classes:
        log_proba = log_proba.mean(dim=1, keepdim=True)
    return is_true.T @ log_proba.unflatten(0, (-1, len(true)))


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
        class_margins=_margins(sums, counted),
    )


def _margins(sums: ErrorSums, counted: np.ndarray) -> np.ndarray:
    """Mean decreases of log p(c) - log p(k) on images of class c, without each filter.

    Returns
    -------
    ndarray of shape (n_classes, n_rivals, n_filters)
        Where there are no images of c: increases of the log loss on counted images.
    """
    n_images = np.maximum(sums.n_images, 1)
    of_class = (sums.log_loss[1:] - sums.log_loss[0]) / n_images
    of_rival = (sums.log_proba[1:] - sums.log_proba[0]) / n_images[:, np.newaxis]
    margins = of_class[:, :, np.newaxis] + of_rival
    overall = sums.log_loss[:, counted].sum(axis=1) / sums.n_images[counted].sum()
    margins[:, sums.n_images == 0] = (overall[1:] - overall[0])[:, None, None]
    n_classes, n_rivals = margins.shape[1:]
    if n_rivals == n_classes:
        margins[:, np.arange(n_classes), np.arange(n_classes)] = 0
    else:
        # The mean is over all classes, of which the class itself is no rival.
        margins[:, sums.n_images > 0] *= n_classes / (n_classes - 1)
    return np.ascontiguousarray(margins.transpose(1, 2, 0))


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
