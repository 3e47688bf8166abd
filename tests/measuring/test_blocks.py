from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnad.data import Windows
from mnad.measuring.blocks import plan_blocks, read_ahead

from tests.measuring.clips import random_clips


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 9))
def test_every_window_once_in_whole_blocks_of_one_video_each(counts: list[int], batch_size: int) -> None:
    videos = np.repeat(np.arange(len(counts)), counts)
    blocks = plan_blocks(videos, batch_size)
    assert [index for block in blocks for index in block] == list(range(len(videos)))
    assert all(len(set(videos[block].tolist())) == 1 for block in blocks)
    assert max(map(len, blocks)) <= batch_size
    assert len(blocks) == sum(-(-count // batch_size) for count in counts)


def test_what_is_read_ahead_is_what_was_asked_for() -> None:
    windows = Windows(random_clips(12, 9, 7), 2, "next")
    blocks = plan_blocks(np.zeros(len(windows), np.int64), 5)
    for (block, pixels), planned in zip(read_ahead(windows, blocks, pinned=False), blocks, strict=True):
        assert block == planned
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, windows.__getitems__(block))


def test_a_fault_of_the_reader_reaches_the_caller() -> None:
    windows = Windows(random_clips(12), 2, "next")
    blocks = plan_blocks(np.zeros(20, np.int64), 5)
    with pytest.raises(IndexError):
        list(read_ahead(windows, blocks, pinned=False))
