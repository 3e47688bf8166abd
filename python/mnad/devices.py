"""The device that a model runs on."""

from __future__ import annotations

import torch


def choose_device(accelerator: str) -> torch.device:
    """Gives the device that an option ``--accelerator`` names.

    Args:
        accelerator: ``cpu``, ``cuda``, or ``auto`` for what there is.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
