"""Queries of a trained model: a sample of them, and for each item the places whose queries are nearest to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mnad.data import Clips, Windows, to_frames
from mnad.models import Autoencoder
from mnad.runtime.errors import ConfigError
from mnad_ext import assign_top2

BATCH = 8
STEP = 8  # pixels of the frame to one of the feature map


@dataclass(frozen=True)
class Queries:
    """N queries of a model.

    Attributes:
        vectors: (N, C), unit length.
        nearest: (N,) int64, the nearest item of each.
        similarity: (N,), its cosine.
        frame: (N,) int64, the last frame that the query was made of, among the frames of the clips.
        row: (N,) int64, the place in the feature map.
        column: (N,) int64, likewise.
        items: (M, C), the items.
    """

    vectors: NDArray[np.float32]
    nearest: NDArray[np.int64]
    similarity: NDArray[np.float32]
    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    items: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.nearest)

    @property
    def frames(self) -> int:
        """The number of frames that they were drawn from."""
        return len(np.unique(self.frame))


@torch.inference_mode()
def sample_queries(model: Autoencoder, clips: Clips, frames: int, per_frame: int, seed: int = 0) -> Queries:
    """Draws queries evenly from randomly chosen frames.

    Args:
        model: A trained network with a memory; it is put into evaluation mode.
        clips: The frames.
        frames: Frames to draw from; all of them if there are fewer.
        per_frame: Queries of each frame; all of them if there are fewer.
        seed: Repeats the choice.

    Raises:
        ConfigError: If the model has no memory.
    """
    if model.memory is None:
        raise ConfigError("the model has no memory, so its queries have no items")
    random = np.random.default_rng(seed)
    windows = Windows(clips, model.config.frames_in, model.config.target)
    chosen = np.sort(random.choice(len(windows), min(frames, len(windows)), replace=False))
    device = next(model.parameters()).device
    model.eval()
    parts: list[tuple[NDArray[np.float32], ...]] = []
    for first in range(0, len(chosen), BATCH):
        indices = chosen[first : first + BATCH]
        pixels = to_frames(windows.__getitems__(indices.tolist()).to(device), model.config.image_channels)
        features, _ = model.encoder(pixels[:, : model.config.frames_in].flatten(1, 2))
        shown = windows.firsts[indices] + model.config.frames_in - 1
        parts += _draw(features, model.memory.items, shown, per_frame, random)
    vectors, nearest, similarity, frame, row, column = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Queries(vectors, nearest, similarity, frame, row, column, model.memory.items.float().cpu().numpy())


def _draw(
    features: Tensor, items: Tensor, shown: NDArray[np.int64], per_frame: int, random: np.random.Generator
) -> list[tuple[NDArray[np.float32], ...]]:
    indices, scores = assign_top2(features, items) if len(items) > 1 else _only_item(features, items)
    rows = F.normalize(features.float(), dim=1).flatten(2).transpose(1, 2).cpu().numpy()
    nearest, similarity = indices[:, 0].flatten(1).cpu().numpy(), scores[:, 0].flatten(1).float().cpu().numpy()
    W = features.shape[-1]
    drawn = []
    for sample, index in enumerate(shown):
        places = np.sort(random.choice(rows.shape[1], min(per_frame, rows.shape[1]), replace=False))
        frame = np.full(len(places), index)
        drawn.append(
            (
                rows[sample, places],
                nearest[sample, places],
                similarity[sample, places],
                frame,
                places // W,
                places % W,
            )
        )
    return drawn  # type: ignore[return-value]


def _only_item(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    similarity = torch.einsum("bchw,mc->bmhw", F.normalize(features.float(), dim=1), items)
    return torch.zeros_like(similarity, dtype=torch.int64), similarity


def patches_of_item(
    queries: Queries, clips: Clips, item: int, count: int, size: int = 4 * STEP
) -> list[NDArray[np.uint8]]:
    """Cuts out what an item means: around the queries that are nearest to it, the closest first, one from a frame.

    Args:
        queries: A sample that keeps all places of its frames, or many.
        clips: The frames that they were drawn from.
        item: The item.
        count: Patches at the most.
        size: Height and width of a patch in pixels.

    Returns:
        Patches (size, size, 1 or 3); fewer than ``count`` where the item is seldom or never nearest.
    """
    mine = np.flatnonzero(queries.nearest == item)
    mine = mine[np.argsort(-queries.similarity[mine], kind="stable")]
    _, first = np.unique(queries.frame[mine], return_index=True)
    patches = []
    for index in mine[np.sort(first)][:count]:
        image = np.pad(clips.frames[queries.frame[index]], ((size, size), (size, size), (0, 0)), mode="edge")
        middle = size + STEP * np.array([queries.row[index], queries.column[index]]) + STEP // 2 - size // 2
        patches.append(image[middle[0] : middle[0] + size, middle[1] : middle[1] + size])
    return patches
