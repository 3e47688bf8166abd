"""The losses by name."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mnad.models import ModelOutput


class LossWeights(NamedTuple):
    """How much each loss weighs beside the pixels'; one that weighs 0 is left out entirely."""

    compactness: float
    separateness: float
    supervision: float


class Losses(NamedTuple):
    """The parts of the loss, each a scalar; 0 where a part is left out or there is no memory."""

    total: Tensor
    pixel: Tensor
    compactness: Tensor
    separateness: Tensor
    supervision: Tensor


def losses_of(restored: ModelOutput, target: Tensor, weights: LossWeights) -> Losses:
    """Returns pixel MSE + lambda_c compactness + lambda_s separateness + weight * supervision, and the parts.

    Args:
        restored: What the network gave.
        target: (B, C_img, H, W) in [-1, 1], the frames that it should have given.
        weights: Of the losses beside the pixels'.
    """
    pixel = F.mse_loss(restored.frames.float(), target)
    none = torch.zeros_like(pixel)
    memory = restored.memory
    if memory is None:
        return Losses(pixel, pixel, none, none, none)
    compactness = memory.compactness.mean() if weights.compactness else none
    separateness = none
    if weights.separateness and memory.separateness is not None:
        separateness = memory.separateness.mean()
    supervised = supervision(memory.weights) if weights.supervision else none
    parts = (compactness, separateness, supervised)
    total = pixel
    for weight, part in zip(weights, parts, strict=True):
        total = total + weight * part
    return Losses(total, pixel, *parts)


def supervision(weights: Tensor) -> Tensor:
    """Returns the paper's memory distribution supervision: the MSE between the weights and an ideal assignment.

    Ideally query k of a frame, k its index row by row, reads item k mod M alone.

    Args:
        weights: (B, M, H, W), the matching probabilities over the items.

    Example:
        >>> import torch
        >>> ideal = torch.eye(2).reshape(1, 2, 1, 2)
        >>> supervision(ideal).item(), supervision(1 - ideal).item()
        (0.0, 1.0)
    """
    B, M, H, W = weights.shape
    ideal = F.one_hot(torch.arange(H * W, device=weights.device) % M, M).to(weights.dtype)
    return F.mse_loss(weights, ideal.t().reshape(1, M, H, W).expand(B, M, H, W))


def add_noise(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Turns a share of the pixels black or white (salt and pepper), all channels of a pixel alike.

    Args:
        frames: (B, T, C_img, H, W) in [-1, 1].
        share: The share of pixels, from 0 to 1.
        generator: Draws them, on the frames' device.

    Example:
        >>> import torch
        >>> noisy = add_noise(torch.zeros(1, 1, 3, 8, 8), 1.0, torch.Generator().manual_seed(0))
        >>> noisy.unique().tolist()
        [-1.0, 1.0]
    """
    B, T, _, H, W = frames.shape
    drawn = torch.rand((B, T, 1, H, W), generator=generator, device=frames.device)
    salted = torch.where(drawn < share / 2, 1.0, frames)
    return torch.where((drawn >= share / 2) & (drawn < share), -1.0, salted)
