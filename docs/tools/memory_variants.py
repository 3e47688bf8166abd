"""Other memories than the published one, to see what they would do: none of them is part of the package."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mnad.data import Windows, to_frames
from mnad.models import Autoencoder, ModelConfig
from mnad.models.autoencoder import MemoryConfig
from sklearn.cluster import KMeans
from torch import Tensor, nn

import mnad_ext
from mnad_ext import MemoryModule, MemoryOutput, UpdateStatistics

SIZE, WIDTH, BATCH = 64, 8, 4
WINDOWS, LEARNING_RATE = 4_000, 1e-3
SLOWEST = 0.01  # of the running mean of a centred memory
QUERIES = 30_000  # that items are fitted to


@dataclass(frozen=True)
class Variant:
    """How a memory differs from the published one.

    Attributes:
        loss_weight: Of compactness and of separateness; at 0 no loss pulls the encoder to the items, which are updated
            all the same.
        items: M.
        centred: Whether the running mean of each place is taken off the features before they are queries.
        temperature: Of the softmax of the read; a low one lets a query read little but its nearest items.
    """

    loss_weight: float = 0.1
    items: int = 10
    centred: bool = False
    temperature: float = 1


VARIANTS: dict[str, Variant] = {
    "published": Variant(),
    "no losses": Variant(0),
    "no losses, centred, 50 items, temperature 0.1": Variant(0, 50, centred=True, temperature=0.1),
    "no losses, centred": Variant(0, centred=True),
    "50 items": Variant(items=50),
    "512 items": Variant(items=512),
}


class Centred(nn.Module):
    """An encoder whose features have the running mean of their place taken off."""

    mean: Tensor

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder, self.steps = encoder, 0
        self.register_buffer("mean", torch.zeros(channels, SIZE // 8, SIZE // 8))

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns centred features, and the skips."""
        features, skips = self.encoder(frames)
        if self.training:
            self.steps += 1
            self.mean.lerp_(features.detach().mean(0), max(SLOWEST, 1 / self.steps))
        return features - self.mean, skips


class Tempered(MemoryModule):
    """A memory whose read has a temperature."""

    temperature: float

    def _read(self, features: Tensor, items: Tensor) -> tuple[MemoryOutput, UpdateStatistics | None]:
        found, statistics = super()._read(features, items)
        # A read of items that are longer by 1 / temperature has scores that are so, and readouts.
        output, weights = mnad_ext.memory_read(features, items / self.temperature)
        queries, readouts = output.chunk(2, dim=1)
        output = torch.cat([queries, readouts * self.temperature], dim=1)
        return found._replace(output=output, weights=weights), statistics


def trained(variant: Variant, windows: Windows, seed: int) -> Autoencoder:
    """Trains a model with a memory of a kind, by the published recipe but for what the variant changes."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = _built(variant).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    epochs = max(1, round(WINDOWS / len(windows)))
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * epoch / epochs)) / 2
        order = random.permutation(len(windows))
        for first in range(0, len(windows) - BATCH + 1, BATCH):
            frames = to_frames(windows.__getitems__(order[first : first + BATCH].tolist()), 3)
            shown = frames[:, :-1].flatten(1, 2).contiguous(memory_format=torch.channels_last)
            found = model(shown)
            losses = found.memory.compactness.mean() + found.memory.separateness.mean()
            loss = F.mse_loss(found.frames, frames[:, -1]) + variant.loss_weight * losses
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def _built(variant: Variant) -> Autoencoder:
    model = Autoencoder(ModelConfig(width=WIDTH, memory=MemoryConfig(num_items=variant.items)))
    channels = model.config.channels
    if variant.temperature != 1:
        model.memory = Tempered(channels, variant.items)
        model.memory.temperature = variant.temperature
    if variant.centred:
        model.encoder = Centred(model.encoder, channels)  # type: ignore[assignment]
    return model


@dataclass(frozen=True)
class Refitted:
    """Items that are fitted after training to what is left of the features without the mean of their place.

    Attributes:
        mean: (C, h, w).
        items: (M, C), unit vectors.
    """

    mean: Tensor
    items: Tensor

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns how far each place of (B, C, h, w) is from its nearest item, and which that is, (B, h, w) each."""
        rest = features - self.mean
        cosines = torch.einsum("bchw,mc->bmhw", F.normalize(rest, dim=1), self.items).max(dim=1)
        return rest.square().sum(1) * (2 - 2 * cosines.values), cosines.indices


def refitted(features: Tensor, items: int) -> Refitted:
    """Fits items to features (B, C, h, w) by k-means of directions, each weighed by its squared length."""
    mean = features.mean(0)
    rest = (features - mean).movedim(1, -1).flatten(0, 2).numpy()
    rest = rest[np.random.default_rng(0).permutation(len(rest))[:QUERIES]]
    lengths = np.linalg.norm(rest, axis=1, keepdims=True).clip(1e-12)
    found = KMeans(items, n_init=1, random_state=0).fit(rest / lengths, sample_weight=lengths[:, 0] ** 2)
    return Refitted(mean, F.normalize(torch.from_numpy(found.cluster_centers_).float(), dim=1))
