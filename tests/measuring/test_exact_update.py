"""The exact update in batches against the published loop, on stubs that make every guess as hard as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mnad.measuring.exact_update import Lane, finish_frames
from numpy.typing import NDArray
from torch import Tensor

START = torch.zeros(1, 1, dtype=torch.float64)
P = 2**31 - 1


def mixed(frame: int, items: float) -> int:
    """A number that has nothing to do with that of other frames or other items."""
    return pow(48271, 1 + (frame * 7919 + int(items) * 104729) % (P - 1), P)


@dataclass(frozen=True)
class StubRestored:
    update_errors: NDArray[np.float64]


@dataclass
class StubBlock:
    """Frames whose E_t is any function of the frame and of the items that it reads; the items tell all updates."""

    frames: list[int]
    patterns: Sequence[bool] | None
    sizes: list[int] = field(default_factory=list)

    def restore(self, rows: Sequence[int], items: Tensor) -> StubRestored:
        self.sizes.append(len(rows))
        return StubRestored(np.array([self.error(row, one.item()) for row, one in zip(rows, items, strict=True)]))

    def update(self, rows: Sequence[int], items: Tensor) -> Tensor:
        new = [mixed(self.frames[row], one.item() + 1) for row, one in zip(rows, items, strict=True)]
        return torch.tensor(new, dtype=torch.float64).view(-1, 1, 1)

    def error(self, row: int, items: float) -> float:
        frame = self.frames[row]
        if self.patterns is not None:
            return 0.0 if self.patterns[frame] else 1.0
        return mixed(frame, items) / P


Result = dict[int, tuple[float, bool]]


def published(count: int, patterns: Sequence[bool] | None) -> tuple[Result, float]:
    """Frame by frame: E_t and whether it updated; and the items at the end."""
    results: Result = {}
    items = 0.0
    for frame in range(count):
        error = StubBlock([frame], patterns).error(0, items)
        results[frame] = (error, error < 0.5)
        if error < 0.5:
            items = mixed(frame, items + 1)
    return results, items


def in_batches(count: int, batch_size: int, patterns: Sequence[bool] | None) -> tuple[Result, float, list[int]]:
    results: Result = {}
    lane = Lane(START, 2 * batch_size)
    sizes = []
    for first in range(0, count, batch_size):
        block = StubBlock(list(range(first, min(first + batch_size, count))), patterns)
        for found in finish_frames(block, lane, len(block.frames), 0.5):
            for position, (row, updated) in enumerate(zip(found.rows, found.updated, strict=True)):
                assert block.frames[row] not in results
                results[block.frames[row]] = (found.restored.update_errors[position], updated)
        sizes += block.sizes
    return results, lane.items.item(), sizes


@given(st.integers(1, 80), st.integers(1, 9))
def test_equal_to_the_published_loop_where_every_guess_is_a_toss(count: int, batch_size: int) -> None:
    results, items, sizes = in_batches(count, batch_size, None)
    assert (results, items) == published(count, None)
    assert sum(sizes) < 2 * count or sum(sizes) == count
    assert max(sizes) <= batch_size


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 9))
def test_equal_for_any_pattern_of_decisions(pattern: list[bool], batch_size: int) -> None:
    results, items, sizes = in_batches(len(pattern), batch_size, pattern)
    assert (results, items) == published(len(pattern), pattern)
    assert sum(sizes) <= 2 * len(pattern)


@pytest.mark.parametrize("pattern", [[False] * 160, [True] * 160])
def test_a_steady_decision_is_decoded_in_whole_batches(pattern: list[bool]) -> None:
    """After the first blocks, in which it earns the right to guess."""
    _, _, sizes = in_batches(160, 8, pattern)
    assert sum(sizes) <= 161
    assert sizes[-15:] == [8] * 15


def test_the_other_guess_is_what_was_seen() -> None:
    """Decisions that flip all the time cost each frame two decodings at most, and far fewer calls than frames."""
    pattern = [index % 3 == 0 for index in range(400)]
    _, _, sizes = in_batches(400, 8, pattern)
    assert sum(sizes) < 2 * 400
    assert len(sizes) < 400 / 3


class Adversary(StubBlock):
    """Decides each time against what was guessed last: against the decision before, and against what it showed."""

    def __init__(self, frames: list[int]) -> None:
        super().__init__(frames, None)
        self.shown: dict[int, bool] = {}

    def error(self, row: int, items: float) -> float:
        self.shown[row] = not self.shown.get(row, self.frames[row] % 2 == 0)
        return 0.0 if self.shown[row] else 1.0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 32])
def test_the_worst_case_is_two_decodings_a_frame(batch_size: int) -> None:
    """Whatever is guessed is wrong, so that no decoding finishes more than two frames."""
    lane, total, finished = Lane(START, 2 * batch_size), 0, 0
    for first in range(0, 320, batch_size):
        block = Adversary(list(range(first, min(first + batch_size, 320))))
        for found in finish_frames(block, lane, len(block.frames), 0.5):
            finished += len(found.rows)
        total += sum(block.sizes)
    assert finished == 320
    assert total <= 2 * finished
    if batch_size > 2:
        assert total > 1.9 * finished
