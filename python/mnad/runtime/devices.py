"""The device that a model runs on."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass

import torch

from mnad.runtime.errors import ConfigError

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    """The device that a command computes on.

    Attributes:
        accelerator: cpu, cuda, or auto for what there is.
    """

    accelerator: str = "auto"


def choose_device(accelerator: str) -> torch.device:
    """Returns the device that an option ``--accelerator`` names.

    Args:
        accelerator: ``cpu``, ``cuda``, or ``auto`` for what there is.

    Raises:
        ConfigError: If there is no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    device = None
    with suppress(RuntimeError):  # a name that torch does not know
        device = torch.device(accelerator)
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"accelerator must be cpu, cuda or auto, got {accelerator!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"accelerator {accelerator} is no GPU that this torch can use; give cpu or auto")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether a device computes in bfloat16 by instructions of its own."""
    if device.type != "cpu":
        return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.11
        return torch.cpu._is_avx512_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in BFLOAT16_INSTRUCTIONS)


def warn_of_slow_precision(precision: str, device: torch.device) -> None:
    """Warns where less precision is asked for that takes more time.

    Args:
        precision: As ``--precision`` names it.
        device: That is to compute in it.
    """
    in_bfloat16 = precision.startswith("bf16") or (precision == "16-mixed" and device.type == "cpu")  # Fabric's choice
    if in_bfloat16 and not has_bfloat16(device):
        kind = "CPU" if device.type == "cpu" else "GPU"
        warnings.warn(
            f"this {kind} has no bfloat16 instructions: precision {precision} is computed in software, 8 to 14 times "
            "slower than 32-true where it was measured (a CPU); leave --precision out",
            stacklevel=3,
        )
