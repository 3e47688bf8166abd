"""Batches of windows in a seeded order, on the device where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from mnad.data.windows import Windows
from mnad.runtime.errors import ConfigError


class ShuffledBatches(Sampler[list[int]]):
    """Shuffled batches of window indices; the last incomplete one of an epoch is left out.

    The order depends on the seed and the epoch alone, so a run can begin anywhere. With several ranks each takes its
    part of the same large batch: N ranks with batch size b see what one rank sees with N b.

    Args:
        count: The number of windows.
        batch_size: Windows of a batch, on each rank.
        seed: Repeats the order.
        rank: The number of this process.
        ranks: How many processes there are.

    Raises:
        ConfigError: If there are fewer windows than a batch needs.

    Example:
        >>> batches = ShuffledBatches(10, 4, seed=0)
        >>> whole = list(batches.at(epoch=1))
        >>> list(batches.at(epoch=1, batch=1)) == whole[1:]
        True
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        if count < batch_size * ranks:
            processes = f" on each of {ranks} devices" if ranks > 1 else ""
            raise ConfigError(f"batch_size {batch_size}{processes} is larger than the {count} training windows")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self.epoch = self.first = 0

    def at(self, epoch: int, batch: int = 0) -> ShuffledBatches:
        """Sets where the next iteration begins: at a batch of an epoch, both counted from 0."""
        self.epoch, self.first = epoch, batch
        return self

    def __len__(self) -> int:
        """The number of batches of a whole epoch."""
        return self.count // (self.batch_size * self.ranks)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the batches from where :meth:`at` says."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        whole = order[: len(self) * self.ranks * self.batch_size].reshape(len(self), self.ranks, self.batch_size)
        yield from whole[self.first :, self.rank].tolist()


class Batches:
    """Batches of windows on a device, (B, T, H, W, 1 or 3) uint8, in the order of a sampler.

    Args:
        windows: The windows.
        sampler: Their order.
        device: Where the batches are wanted.
        workers: Processes that read ahead; with 0 the batches are read when they are asked for.
        device_cache: Whether to hold all frames in the device's memory, where batches are then put together.

    Raises:
        ConfigError: If the frames do not fit into the device's memory.
    """

    def __init__(
        self,
        windows: Windows,
        sampler: Sampler[list[int]],
        device: torch.device,
        workers: int = 0,
        *,
        device_cache: bool = False,
    ) -> None:
        self.windows, self.sampler, self.device = windows, sampler, device
        self.frames = _to_device(windows.clips.frames, device) if device_cache else None
        self.loader = DataLoader(
            windows,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the batches."""
        if self.frames is None:
            for batch in self.loader:
                yield batch.to(self.device, non_blocking=True)
        else:
            steps = torch.arange(self.windows.length)
            for indices in self.sampler:
                firsts = torch.from_numpy(self.windows.firsts[indices])
                chosen = (firsts[:, None] + steps).to(self.device, non_blocking=True)
                yield self.frames[chosen]


def _as_it_is(batch: Any) -> Any:
    return batch


def _to_device(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if frames.nbytes > free:
            raise ConfigError(
                f"the frames take {frames.nbytes / 1e9:.1f} GB, {device} has {free / 1e9:.1f} GB free; leave "
                "device_cache off"
            )
    cached = torch.empty(frames.shape, dtype=torch.uint8, device=device)
    chunk = max(1, 2**28 // max(1, frames[0].nbytes))
    for first in range(0, len(frames), chunk):
        cached[first : first + chunk] = torch.from_numpy(np.array(frames[first : first + chunk]))
    return cached
