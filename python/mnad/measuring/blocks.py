"""Which windows are encoded at once, and reading them ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mnad.data import Windows

BLOCKS_AHEAD = 2


def plan_blocks(videos: NDArray[np.int64], places: NDArray[np.int64], batch_size: int) -> list[range]:
    """Divides windows into blocks of consecutive ones, each of one video.

    A block begins wherever the place of a window is a multiple of the batch's size. So what is measured of a part of a
    video, to the last bit, does not depend on other videos, and not on other parts where these begin so, too: a
    convolution rounds otherwise in another size of batch.

    Args:
        videos: (N,), the video of each window; the windows of a video follow one another.
        places: (N,), the place of each in its video; some may be missing.
        batch_size: Windows of a block.

    Example:
        >>> import numpy as np
        >>> plan_blocks(np.array([0, 0, 0, 1, 1]), np.array([0, 2, 3, 0, 1]), batch_size=2)
        [range(0, 1), range(1, 3), range(3, 5)]
    """
    begins = (np.diff(videos) != 0) | (np.diff(places // batch_size) != 0)
    edges = [0, *(np.flatnonzero(begins) + 1).tolist(), len(videos)]
    return [range(first, end) for first, end in pairwise(edges)]


def read_ahead(windows: Windows, blocks: Sequence[range], *, pinned: bool) -> Iterator[tuple[range, Tensor]]:
    """Reads the windows of each block, in another thread while the model works on those before.

    Args:
        windows: The windows.
        blocks: What is wanted, in order.
        pinned: Whether to put them into pinned memory, from which a GPU takes them without waiting.

    Yields:
        Each block and its windows, (B, T, H, W, 1 or 3) uint8.
    """

    def read(block: range) -> Tensor:
        pixels = windows.__getitems__(block)
        return pixels.pin_memory() if pinned else pixels

    coming: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
        for number, block in enumerate(blocks):
            while len(coming) <= BLOCKS_AHEAD and number + len(coming) < len(blocks):
                coming.append(reader.submit(read, blocks[number + len(coming)]))
            yield block, coming.popleft().result()
