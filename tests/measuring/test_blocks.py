from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnad.data import Windows
from mnad.measuring.blocks import plan_blocks, read_ahead

from tests.measuring.clips import random_clips


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=6), st.integers(1, 9))
def test_every_window_once_in_blocks_that_begin_at_the_same_places(kept: list[list[bool]], batch_size: int) -> None:
    pairs = [(video, place) for video, of_video in enumerate(kept) for place, keep in enumerate(of_video) if keep]
    videos, places = np.array(pairs, np.int64).reshape(-1, 2).T
    blocks = plan_blocks(videos, places, batch_size)
    assert [index for block in blocks for index in block] == list(range(len(pairs)))
    assert all(len({(videos[index], places[index] // batch_size) for index in block}) == 1 for block in blocks if block)
    assert len([block for block in blocks if block]) == len({(video, place // batch_size) for video, place in pairs})


def test_what_is_read_ahead_is_what_was_asked_for() -> None:
    windows = Windows(random_clips(12, 9, 7), 2, "next")
    blocks = plan_blocks(np.zeros(len(windows), np.int64), np.arange(len(windows)), 5)
    for (block, pixels), planned in zip(read_ahead(windows, blocks, pinned=False), blocks, strict=True):
        assert block == planned
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, windows.__getitems__(block))


def test_a_fault_of_the_reader_reaches_the_caller() -> None:
    windows = Windows(random_clips(12), 2, "next")
    blocks = plan_blocks(np.zeros(20, np.int64), np.arange(20), 5)
    with pytest.raises(IndexError):
        list(read_ahead(windows, blocks, pinned=False))
