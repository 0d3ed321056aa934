"""A criterion's loss for each image, which weights of images multiply."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def unreduced(criterion: nn.Module) -> Iterator[Any]:
    """Let a criterion give a loss for each image; yields its own reduction."""
    if not hasattr(criterion, "reduction"):
        raise no_image_losses(criterion)
    reduction: Any = criterion.reduction
    vars(criterion)["reduction"] = "none"
    try:
        yield reduction
    finally:
        vars(criterion)["reduction"] = reduction


def divisor(criterion: nn.Module, labels: torch.Tensor) -> torch.Tensor | int:
    """What PyTorch divides the sum of a criterion's losses by, for their mean."""
    if not isinstance(criterion, (nn.CrossEntropyLoss, nn.NLLLoss)):
        return len(labels)
    counted = labels[labels != criterion.ignore_index]
    return len(counted) if criterion.weight is None else criterion.weight[counted].sum()


def no_image_losses(criterion: nn.Module) -> ValueError:
    """The error for a criterion that only knows the loss of a batch."""
    return ValueError(
        f"The criterion {type(criterion).__name__} gives no loss for each image, which "
        "sample_weight needs; let it take reduction='none', as PyTorch's criterions do."
    )
