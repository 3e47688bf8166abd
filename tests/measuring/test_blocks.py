from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnad.data import Windows
from mnad.measuring.blocks import plan_blocks, read_ahead

from tests.measuring.clips import random_clips


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 9))
def test_every_window_once_and_each_lane_in_order(counts: list[int], batch_size: int) -> None:
    lanes = np.repeat(np.arange(len(counts)), counts)
    blocks = list(plan_blocks(lanes, batch_size))
    seen: dict[int, list[int]] = {}
    for block in blocks:
        assert 1 <= sum(len(run.windows) for run in block) <= batch_size
        assert len({run.lane for run in block}) == len(block)
        for run in block:
            seen.setdefault(run.lane, []).extend(run.windows)
    expected = {
        lane: [index for index, _ in group]
        for lane, group in groupby(enumerate(lanes.tolist()), key=lambda pair: pair[1])
    }
    assert seen == expected
    if len(counts) == 1:
        assert len(blocks) == -(-counts[0] // batch_size)


def test_what_is_read_ahead_is_what_was_asked_for() -> None:
    windows = Windows(random_clips(12, 9, 7), 2, "next")
    blocks = list(plan_blocks(np.zeros(len(windows), np.int64), 5))
    for (block, pixels), planned in zip(read_ahead(windows, blocks, pinned=False), blocks, strict=True):
        assert block == planned
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, windows.__getitems__([index for run in block for index in run.windows]))


def test_a_fault_of_the_reader_reaches_the_caller() -> None:
    windows = Windows(random_clips(12), 2, "next")
    blocks = list(plan_blocks(np.zeros(20, np.int64), 5))
    with pytest.raises(IndexError):
        list(read_ahead(windows, blocks, pinned=False))
