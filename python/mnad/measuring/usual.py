"""What is usual at each place of a camera's picture, learned from normal video.

Where people walk, a prediction is worse than where nothing ever happens. So the error of a place is compared with its
usual error.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mnad.artifacts.checkpoint import Checkpoint
from mnad.artifacts.maps import ERROR_GRID
from mnad.measuring.pooling import error_level
from mnad.runtime.errors import CheckpointError

# Of the usual level in dB this share is taken off: with all of it, what happens where much happens would go unseen.
SHARE_OF_USUAL = 0.25
SMOOTHING = 4.0  # of the usual error, in cells of 64


@dataclass(frozen=True)
class Usual:
    """What is usual at each place.

    Attributes:
        error: (G, G) float32, the level of the error in dB.
    """

    error: Tensor

    @property
    def identity(self) -> str:
        """What tells it from all others."""
        return hashlib.sha256(self.error.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]

    def tensors(self) -> dict[str, Tensor]:
        """Returns its tensors by name."""
        return {"error": self.error}

    @staticmethod
    def of(checkpoint: Checkpoint, where: object) -> Usual | None:
        """Returns what a checkpoint holds; None if that is nothing.

        Args:
            checkpoint: Of a model that was calibrated.
            where: Where it was loaded from.

        Raises:
            CheckpointError: If it is not whole, or of frames of another size.
        """
        tensors, size = checkpoint.usual, checkpoint.training["size"]
        if not tensors:
            return None
        grid = min(size, ERROR_GRID)
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != {"error": (grid, grid)}:
            raise CheckpointError(
                f"the calibration in {where} is of another version, or not of frames of {size} x {size}: what is usual "
                f"has the shapes {found}, not error {(grid, grid)}; calibrate the model again"
            )
        return Usual(**tensors)

    def to(self, device: torch.device) -> Usual:
        """Returns it on a device."""
        return Usual(self.error.to(device))

    def excess(self, level: Tensor) -> Tensor:
        """Returns how far error levels lie above a quarter of what is usual at their place, (B, G, G) in dB."""
        return level - SHARE_OF_USUAL * self.error


def usual_error(mean: NDArray[np.float64]) -> Tensor:
    """Learns the usual error of each place.

    Args:
        mean: (G, G), the mean of the error maps of normal frames.

    Returns:
        (G, G) float32 in dB.
    """
    smoothed = gaussian_filter(mean, SMOOTHING * len(mean) / ERROR_GRID, mode="nearest")
    return error_level(torch.from_numpy(smoothed)).float()
