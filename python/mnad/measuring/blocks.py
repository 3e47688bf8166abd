"""Which windows are encoded at once, and reading them ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mnad.data import Windows

BLOCKS_AHEAD = 2


class LaneWindows(NamedTuple):
    """Consecutive windows of a lane, the frames that share one memory."""

    lane: int
    windows: range


def plan_blocks(lanes: NDArray[np.int64], batch_size: int) -> Iterator[list[LaneWindows]]:
    """Divides windows into blocks: each takes the next windows of as many lanes as there is room for.

    Args:
        lanes: (N,), the lane of each window; the windows of a lane follow one another.
        batch_size: Windows of a block.

    Example:
        >>> import numpy as np
        >>> for block in plan_blocks(np.array([0, 0, 0, 1, 1]), batch_size=4):
        ...     print([(run.lane, list(run.windows)) for run in block])
        [(0, [0, 1]), (1, [3, 4])]
        [(0, [2])]
    """
    edges = np.flatnonzero(np.diff(lanes)) + 1
    waiting = deque(range(int(part[0]), int(part[-1]) + 1) for part in np.split(np.arange(len(lanes)), edges))
    active: list[range] = []
    while waiting or active:
        while waiting and len(active) < batch_size:
            active.append(waiting.popleft())
        each, more = divmod(batch_size, len(active))
        lengths = [each + (index < more) for index in range(len(active))]
        yield [LaneWindows(int(lanes[left[0]]), left[:length]) for left, length in zip(active, lengths, strict=True)]
        active = [left[length:] for left, length in zip(active, lengths, strict=True) if len(left) > length]


def read_ahead(
    windows: Windows, blocks: Sequence[list[LaneWindows]], *, pinned: bool
) -> Iterator[tuple[list[LaneWindows], Tensor]]:
    """Reads the windows of each block, in another thread while the model works on those before.

    Args:
        windows: The windows.
        blocks: What is wanted, in order.
        pinned: Whether to put them into pinned memory, from which a GPU takes them without waiting.

    Yields:
        Each block and its windows, (B, T, H, W, 1 or 3) uint8, run by run.
    """

    def read(block: list[LaneWindows]) -> Tensor:
        pixels = windows.__getitems__([index for run in block for index in run.windows])
        return pixels.pin_memory() if pinned else pixels

    coming: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
        for number, block in enumerate(blocks):
            while len(coming) <= BLOCKS_AHEAD and number + len(coming) < len(blocks):
                coming.append(reader.submit(read, blocks[number + len(coming)]))
            yield block, coming.popleft().result()
