"""The networks that are measured, and the memory of the plain way."""

from __future__ import annotations

import torch
from mnad.models import Autoencoder, ModelConfig
from torch import Tensor

from mnad_ext import MemoryModule, MemoryOutput, reference

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# By name, size in pixels and width. The published network takes seconds for a step on a CPU: it is left to GPUs.
SMALL = {"128 x 128, width 16": (128, 16)}
NETWORKS = SMALL if DEVICE.type == "cpu" else {"256 x 256, width 64": (256, 64), **SMALL}


class ReferenceMemory(MemoryModule):
    """The memory module in plain PyTorch."""

    def forward(self, features: Tensor) -> MemoryOutput:
        """Reads, measures and in training mode updates, each by its own function."""
        output, weights = reference.memory_read(features, self.items)
        indices, _ = reference.assign_top2(features, self.items)
        compactness = reference.compactness(features, self.items, indices[:, 0])
        separateness = reference.separateness(features, self.items, indices)
        if self.training:
            self.update(features)
        return MemoryOutput(output, weights, indices[:, 0], compactness, separateness)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Moves the items."""
        self.items = reference.memory_update(features, self.items)


def build(width: int, *, plain: bool) -> Autoencoder:
    """A network with the extension's memory and channels-last, or the plain one: the reference's and contiguous."""
    torch.manual_seed(0)
    model = Autoencoder(ModelConfig(width=width))
    if plain:
        model.memory = ReferenceMemory(model.config.channels)
        return model.to(DEVICE)
    return model.to(DEVICE, memory_format=torch.channels_last)


def memory_of(model: Autoencoder) -> MemoryModule:
    assert model.memory is not None
    return model.memory
