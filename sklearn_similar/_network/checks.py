"""Checks of a user's network: its output, its determinism, and what it recognises."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from .._compat import is_out_of_memory
from .._images.images import Images
from .._images.messages import warn_user
from .._images.splits import spread_over_classes
from .activations import extract_activations
from .forward import first_line, run_network
from .trained import TrainedNetwork

# Largest rounding difference between scores, as a share of the largest score.
_ROUNDING = 1e-3
_N_PROBES = 3
# Number of images on which a network is tried (of more classes, one of each, up to the
# maximum), and the least skill (mean recall of the classes on a scale on which guessing
# is 0) of a network that recognises them.
_N_TRIED = 100
_MAX_TRIED = 1000
_MIN_TRIED = 20
# After a training: few images are trials, and their recall may be low by chance.
_MIN_TRIED_AFTER_TRAINING = 50
_MIN_SKILL = 0.1


def check_output(network: TrainedNetwork, images: torch.Tensor) -> None:
    """Check that the network gives one score for each image and class.

    Warn of probabilities where the criterion expects logits.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    images : tensor of shape (n_images, n_channels, height, width)

    Raises
    ------
    ValueError
        If the output has another type or shape, or logits are given where the criterion
        expects probabilities.
    """
    output = run_network(network.module, images)
    expected = (len(images), network.n_classes)
    if not isinstance(output, torch.Tensor):
        raise ValueError(
            f"The network returns a {type(output).__name__}; wrap it so that it "
            "returns one tensor of class scores, n_images x n_classes."
        )
    if tuple(output.shape) != expected:
        has_more = output.ndim == 2 and output.shape[1] > network.n_classes
        remedy = "pass the labels of all outputs as classes, or change module"
        raise ValueError(
            f"The network returns shape {tuple(output.shape)} for {len(images)} "
            f"images, but y has {network.n_classes} classes, so it should be "
            f"{expected}; {remedy if has_more else 'change module'}."
        )
    if network.returns_probabilities:
        if output.min() < 0:
            raise ValueError(
                f"The network returns {float(output.min()):.3g}, but skorch's NLLLoss "
                "takes probabilities; end the network with a softmax, or let it return "
                "logits and leave the criterion out."
            )
    elif output.min() >= 0 and (output.sum(dim=1) - 1).abs().max() < 1e-4:
        warn_user(
            "The network returns probabilities, but logits are expected: another "
            "softmax makes the probabilities of all classes similar; take the softmax "
            "out of module, or pass net_params={'criterion': torch.nn.NLLLoss}."
        )


def check_determinism(
    network: TrainedNetwork, layers: Sequence[str], images: Images
) -> bool:
    """Warn of a network with which importances and heatmaps cannot be exact.

    Returns
    -------
    bool
        Whether the network scores an image the same way every time.

    Raises
    ------
    ValueError
        If the network cannot take one image alone, or keeps values for the next images.
    """
    _, batch = next(network.batches(images, np.arange(min(_N_PROBES, len(images)))))
    key = "determinism", tuple(layers), batch.shape[1:], batch.dtype
    find = partial(find_nondeterminism, network.module, layers, batch)
    with network.evaluation():
        reason = network.memo.get(network.module, key, find)
    if reason is not None:
        warn_user(
            f"In evaluation mode, {reason}; importances and heatmaps are not exact."
        )
    return reason is None


def find_nondeterminism(
    module: nn.Module, layers: Sequence[str], images: torch.Tensor
) -> str | None:
    """The reason why an image gets different scores; None if it does not.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layers : sequence of str
    images : tensor of shape (n_images, n_channels, height, width)
    """
    # Different images, or a dependence on the rest of the batch would not show.
    probes = torch.cat([images, images.flip(3), images / 2])
    scores = run_network(module, probes)
    if not _is_same_after_interruption(module, layers, probes, scores):
        if _is_same(run_network(module, probes), run_network(module, probes)):
            raise _not_interruptible("keeps values of one forward pass for the next")
        return (
            "the network scores the same images differently each time, as it is "
            "random or keeps a state"
        )
    try:
        single = module(probes[:1].clone())
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"The network takes {len(probes)} images together, but not one alone "
            f"({first_line(error)}); layers must not use statistics of the batch in "
            "evaluation mode (track_running_stats=False does)."
        ) from error
    if not _is_same(scores[:1], single):
        return (
            "the network's scores of an image depend on the other images of its batch "
            "(batch normalisation with track_running_stats=False does that)"
        )
    return None


def _is_same_after_interruption(
    module: nn.Module, layers: Sequence[str], images: torch.Tensor, scores: torch.Tensor
) -> bool:
    """Whether images get the same scores after a forward pass that ended half-way.

    Raises
    ------
    ValueError
        If the network fails then.
    """
    # Heatmaps end a pass, on other images, at the last layer that they need.
    extract_activations(module, layers, images.flip(0), "pooled")
    try:
        return _is_same(scores, module(images.clone()))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _not_interruptible(
            f"fails in its next forward pass ({type(error).__name__}: "
            f"{first_line(error)})"
        ) from error


def _not_interruptible(problem: str) -> ValueError:
    return ValueError(
        f"The network {problem}, and heatmaps end a pass at the layer; let forward "
        "clear what it keeps before it starts."
    )


def _is_same(scores: torch.Tensor, repeated: torch.Tensor) -> bool:
    if scores.shape != repeated.shape:
        return False
    difference, largest = (scores - repeated).abs().max(), scores.abs().max()
    # Not <=, as NaN in both is reported elsewhere.
    return not bool(difference > _ROUNDING * largest)


def warn_if_guessing(
    network: TrainedNetwork,
    images: Images,
    y: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    held_out: np.ndarray | None = None,
    *,
    was_trained: bool,
) -> None:
    """Warn if a network hardly beats guessing, whose mean recall is 1 / n_classes.

    A guess is one that does not depend on the image. The recall of a class is the share
    of its images that are recognised; large classes do not count more than small ones.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    images : Images
        The network is tried on some of them.
    y : ndarray of shape (n_images,)
        Class index of each image.
    weights : ndarray of shape (n_images,)
        The larger its weight, the more likely is an image tried.
    rows : ndarray of int
        Positions of the images that it may be tried on.
    held_out : ndarray of int, optional
        Positions of images that it has not been trained on. If there are enough of
        them, it is tried on these.
    was_trained : bool
        Whether it has just been trained. Otherwise, it was trained elsewhere.

    Warns
    -----
    UserWarning
        If a network that was trained elsewhere hardly beats guessing.
    ConvergenceWarning
        If a network that has just been trained hardly does.
    """
    min_tried = _MIN_TRIED_AFTER_TRAINING if was_trained else _MIN_TRIED
    kind = "training"
    if held_out is not None and len(held_out) >= min_tried:
        rows, kind = held_out, "held-out"
    tried = rows[spread_over_classes(y[rows], _N_TRIED, weights[rows])]
    tried = tried[:: max(1, len(tried) // _MAX_TRIED)]
    present, class_of, counts = np.unique(
        y[tried], return_inverse=True, return_counts=True
    )
    if len(tried) < min_tried or len(present) == 1:
        return
    batches = network.batches(images, tried)
    scores = (network.module(batch) for _, batch in batches)
    predicted = np.concatenate([s.argmax(dim=1).numpy(force=True) for s in scores])
    is_right = predicted == y[tried]
    # Sums of these shares are means of the classes.
    shares = 1 / (len(present) * counts[class_of])
    recall = shares[is_right].sum()
    # A guess of a class that has no image among those tried is never right.
    chance = shares[np.isin(predicted, present)].sum() / len(present)
    # Not significantly better, where skill is coarse: of many classes, it is low.
    deviation = np.sqrt(chance * (1 - chance) * (shares**2).sum())
    if recall - chance > min(_MIN_SKILL * (1 - chance), 2 * deviation):
        return
    if not was_trained:
        warn_user(
            f"The network recognises {is_right.sum()} of {len(tried)} images, which is "
            "no better than guessing, and max_epochs=0 leaves it so; scale X as in its "
            "training, and check that its outputs are in the order of classes_."
        )
        return
    warn_user(
        f"After training, the network recognises {100 * recall:.2g} % of the images of "
        f"a class on average ({len(tried)} {kind} images were tried), where guessing "
        f"gives {100 * chance:.2g} %; raise max_epochs, or try another lr or module, "
        "and check that the labels belong to the images.",
        ConvergenceWarning,
    )
