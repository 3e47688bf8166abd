"""What an exported model is: the whole step of scoring as a graph, and the items' update as another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mnad.data import to_frames
from mnad.evaluation.locality import WHOLE_FRAME, Locality
from mnad.graphs.recording import EXAMPLES, Recorded, record
from mnad.measuring.metrics import SMALLEST_MSE, FrameMetrics, frame_metrics
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad_ext import UpdateRule, reference

if TYPE_CHECKING:
    from mnad.measuring.network import Network

OF_EVERY_MODEL: tuple[str, ...] = ("predicted", "error_map", "psnr", "update_error", "features")
OF_A_MEMORY = ("distance", "weights")


class ScoringStep(nn.Module):
    """All that scoring computes of a window: the network, the memory's read and the metrics of the frame.

    Args:
        network: A model made ready for scoring, in 32-true, on the CPU.
        locality: Which part of the frame P is of.
    """

    def __init__(self, network: Network, locality: Locality = WHOLE_FRAME) -> None:
        super().__init__()
        self.encoder, self.decoder, self.memory = network.encoder, network.decoder, network.memory
        self.network, self.locality = network, locality

    def forward(self, pixels: Tensor, items: Tensor | None = None) -> tuple[Tensor, ...]:
        """Returns what :data:`OF_EVERY_MODEL` names and, with a memory, what :data:`OF_A_MEMORY` does.

        Args:
            pixels: (B, T, S, S, C_img) uint8; the last frame of each window is the target.
            items: (B, M, C), of each window's own memory.
        """
        config = self.network.config
        frames = to_frames(pixels, config.image_channels)
        features, skips = self.encoder(frames[:, : config.frames_in].flatten(1, 2))
        memory = None if items is None else self.network.read(features, items)
        predicted = self.decoder(features if memory is None else memory.output, skips)
        found = frame_metrics(predicted, frames[:, -1], memory, items, self.network.usual)
        outputs = (predicted, found.error_map, self._psnr(found), found.update_error, features)
        return outputs if memory is None else (*outputs, memory.compactness, memory.weights)

    def _psnr(self, found: FrameMetrics) -> Tensor:
        if self.locality == WHOLE_FRAME:
            return -10 * torch.log10(found.mse.clamp_min(SMALLEST_MSE))
        part = found.relative if self.locality.relative else found.local
        assert part is not None
        return part[:, LOCAL_POOLINGS.index(self.locality.pooling)]


class UpdateStep(nn.Module):
    """The items' update after a frame.

    Args:
        rule: How they are updated.
    """

    def __init__(self, rule: UpdateRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, features: Tensor, items: Tensor) -> Tensor:
        """Returns the new items, (B, M, C).

        Args:
            features: (B, C, h, w), as the scoring step gave them.
            items: (B, M, C), those that were read.
        """
        return reference.memory_update(features, items, self.rule)


def record_scoring(network: Network, size: int, locality: Locality) -> Recorded:
    """Records the step of scoring.

    Args:
        network: A model made ready for scoring, in 32-true, on the CPU.
        size: S, height and width of its frames.
        locality: Which part of the frame P is of.
    """
    config = network.config
    inputs = {"pixels": torch.zeros(EXAMPLES, config.window, size, size, config.image_channels, dtype=torch.uint8)}
    outputs = OF_EVERY_MODEL
    if network.memory is not None:
        inputs["items"] = network.memory.items.expand(EXAMPLES, -1, -1).clone()
        outputs += OF_A_MEMORY
    return record(ScoringStep(network, locality), inputs, outputs)


def record_update(network: Network, size: int) -> Recorded:
    """Records the update of the items of a model with a memory that has one; arguments as for scoring."""
    memory = network.memory
    assert memory is not None
    assert memory.update_rule is not None
    inputs = {
        "features": torch.rand(EXAMPLES, network.config.channels, size // 8, size // 8),
        "items": memory.items.expand(EXAMPLES, -1, -1).clone(),
    }
    return record(UpdateStep(memory.update_rule), inputs, ("new_items",))
