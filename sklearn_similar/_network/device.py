"""The device that a network is on."""

import torch


def check_device(device) -> None:
    """Raise ValueError for a device that PyTorch does not know or cannot use here."""
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}, which PyTorch does not know; pass 'cpu' or 'cuda'."
        ) from error
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but PyTorch sees {torch.cuda.device_count()} "
            "GPUs; pass device='cpu'."
        )
    try:
        # Names of devices that no build supports, or that hold no values, pass so far.
        (torch.zeros(1, device=asked) + 1).item()
    except Exception as error:
        raise ValueError(
            f"device is {str(device)!r}, on which PyTorch cannot compute here; pass "
            "device='cpu'."
        ) from error
