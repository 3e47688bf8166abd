"""What is usual at each place of a camera's picture, learned from normal video.

Where people walk, a prediction is worse than where nothing ever happens; a bag that stands there unmoved is predicted
well and is yet unlike anything that was ever there. So the error of a place is compared with its usual error, and the
features of a place with those that it usually has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mnad.artifacts.checkpoint import Checkpoint
from mnad.artifacts.maps import ERROR_GRID
from mnad.measuring.pooling import error_level
from mnad.runtime.errors import CheckpointError

# Half of the usual level in dB is taken off: with all of it, what happens where much happens would go unseen.
SHARE_OF_USUAL = 0.5
SMOOTHING = 4.0  # of the usual error, in cells of 64


@dataclass(frozen=True)
class Usual:
    """What is usual at each place.

    Attributes:
        error: (G, G) float32, the level of the error in dB.
        mean: (C, h, w) float32, the mean of the features.
        spread: (C, h, w) float32, positive, how far features usually lie from it.
    """

    error: Tensor
    mean: Tensor
    spread: Tensor

    @property
    def identity(self) -> str:
        """What tells it from all others."""
        digest = hashlib.sha256()
        for tensor in self.tensors().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> dict[str, Tensor]:
        """Returns its tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

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
        grid, features = min(size, ERROR_GRID), (checkpoint.config.channels, size // 8, size // 8)
        expected = {"error": (grid, grid), "mean": features, "spread": features}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != expected:
            raise CheckpointError(
                f"the calibration in {where} is not of this model and of frames of {size} x {size}: what is usual has "
                f"the shapes {found}, not {expected}; calibrate the model again"
            )
        return Usual(**tensors)

    def to(self, device: torch.device) -> Usual:
        """Returns it on a device."""
        return Usual(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def excess(self, level: Tensor) -> Tensor:
        """Returns how far error levels lie above half of what is usual at their place, (B, G, G) in dB."""
        return level - SHARE_OF_USUAL * self.error

    def distance(self, features: Tensor) -> Tensor:
        """Returns the squared distance of features (B, C, h, w) from the usual ones of their place, (B, h, w).

        Each channel counts in its own usual spread; 1 is about usual.
        """
        return ((features - self.mean) / self.spread).square().mean(dim=1)


def usual_error(mean: NDArray[np.float64]) -> Tensor:
    """Learns the usual error of each place.

    Args:
        mean: (G, G), the mean of the error maps of normal frames.

    Returns:
        (G, G) float32 in dB.
    """
    smoothed = gaussian_filter(mean, SMOOTHING * len(mean) / ERROR_GRID, mode="nearest")
    return error_level(torch.from_numpy(smoothed)).float()


def usual_features(features: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Learns the usual features of each place.

    Args:
        features: (B, C, h, w) each, of normal frames; at least one.

    Returns:
        Mean and spread, (C, h, w) float32 each. The variance of a channel at a place is raised by that channel's mean
        variance, as few frames know the variance of a place badly, and by a hundredth of the mean of all channels, as
        some never move.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in features:
        values = batch.double()
        count += len(values)
        total, squares = total + values.sum(0), squares + values.square().sum(0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    floor = variance.mean(dim=(1, 2), keepdim=True) + variance.mean() / 100
    return mean.float(), (variance + floor).clamp_min(1e-12).sqrt().float()
