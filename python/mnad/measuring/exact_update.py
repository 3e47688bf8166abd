"""The test-time update in batches, exact.

By the published rule frame t's score decides whether its queries update the items that frame t + 1 reads: one frame at
a time. Here many frames are encoded at once and their decisions are guessed; by the guesses the items that each frame
reads follow from queries that are there already, in a chain of tiny updates; then all frames are read and decoded at
once, which shows the real decisions. Frames up to and including the first wrong guess have read the right items: they
are finished. The others are read and decoded again, not encoded again, and what they showed the first time, which a
slightly other memory has hardly changed, is the next guess.

So every frame is finished with the items of the published loop, and its decision is taken on its own real E_t; only
the rounding of a convolution differs, which depends on the size of the batch. A frame whose E_t comes as close to the
threshold as that, about 1e-6 of it in float32, may decide otherwise at another batch size or on another machine, as it
may in the published loop; :func:`mnad.measuring.measure` tells how close the closest frame came.

A frame is decoded less than twice on average, whatever happens: see :attr:`Lane.allowance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class HasUpdateErrors(Protocol):
    """What decoding a row must tell: E_t."""

    @property
    def update_errors(self) -> NDArray[np.float64]:
        """(R,), E_t of each row."""


R = TypeVar("R", bound=HasUpdateErrors, covariant=True)


class Encoded(Protocol[R]):
    """Frames that are encoded, as :class:`mnad.measuring.network.Block`."""

    def restore(self, rows: Sequence[int], items: Tensor) -> R:
        """Reads items (R, M, C), each row its own, and decodes."""

    def update(self, rows: Sequence[int], items: Tensor) -> Tensor:
        """Returns the items (R, M, C) after an update of each by its row."""


@dataclass
class Lane:
    """Frames that share one memory, in their order: all videos end to end, or one video.

    Attributes:
        items: (M, C), what the next frame reads.
        most_credit: Decodings that may be saved up.
        decision: Of the last frame, the first guess for those that follow.
        credit: Decodings that may still be wasted. A finished frame earns two, a decoded one costs one.
    """

    items: Tensor
    most_credit: int
    decision: bool = False
    credit: int = 0

    @property
    def allowance(self) -> int:
        """How many frames may be decoded at once.

        Of n frames at least one is finished, so at worst n - 2 decodings of credit are lost. With n = 2 + credit the
        credit never falls below 0: never are more than two frames decoded for each that is finished. It shrinks after
        wrong guesses and grows after right ones.
        """
        return 2 + self.credit

    def account(self, finished: int, decoded: int) -> None:
        """Books a decoding."""
        self.credit = min(self.credit + 2 * finished - decoded, self.most_credit)


class Finished(NamedTuple, Generic[R]):
    """Frames that are finished, among those that were decoded together.

    Attributes:
        restored: What was decoded, the unfinished frames, too.
        positions: The finished frames' positions in it.
        rows: Their rows in the block.
        updated: Whether each updated the items.
    """

    restored: R
    positions: list[int]
    rows: list[int]
    updated: list[bool]


def finish_frames(
    block: Encoded[R], lanes: Sequence[Lane], rows: Sequence[Sequence[int]], threshold: float
) -> Iterator[Finished[R]]:
    """Reads and decodes the frames of a block with the exact test-time update.

    Args:
        block: The encoded frames.
        lanes: Whose frames they are; each goes on from its state and is left where its last frame ends.
        rows: For each lane the rows of its frames in the block, in order.
        threshold: E_t below which a frame updates the items.
    """
    pending = [list(of_lane) for of_lane in rows]
    seen: dict[int, bool] = {}
    while any(pending):
        runs = [of_lane[: lane.allowance] for lane, of_lane in zip(lanes, pending, strict=True)]
        guesses = {row: seen.get(row, lane.decision) for lane, run in zip(lanes, runs, strict=True) for row in run}
        items = _items_by_guess(block, lanes, runs, guesses)
        decoded = [row for run in runs for row in run]
        restored = block.restore(decoded, torch.stack([items[row] for row in decoded]))
        decisions = dict(zip(decoded, (restored.update_errors < threshold).tolist(), strict=True))
        counts = [_right(run, guesses, decisions) for run in runs]
        finished = [row for run, count in zip(runs, counts, strict=True) for row in run[:count]]
        _advance(block, lanes, [run[:count] for run, count in zip(runs, counts, strict=True)], items, decisions)
        for lane, run, count in zip(lanes, runs, counts, strict=True):
            lane.account(count, len(run))
        pending = [of_lane[count:] for of_lane, count in zip(pending, counts, strict=True)]
        seen |= decisions
        place = {row: position for position, row in enumerate(decoded)}
        yield Finished(restored, [place[row] for row in finished], finished, [decisions[row] for row in finished])


def _items_by_guess(
    block: Encoded[R], lanes: Sequence[Lane], runs: Sequence[Sequence[int]], guesses: dict[int, bool]
) -> dict[int, Tensor]:
    """Returns the items that each row reads if the guesses are right; all lanes take a step at a time."""
    items = {run[0]: lane.items for lane, run in zip(lanes, runs, strict=True) if run}
    for step in range(max(map(len, runs)) - 1):
        pairs = [(run[step], run[step + 1]) for run in runs if step + 1 < len(run)]
        items |= {following: items[row] for row, following in pairs if not guesses[row]}
        moving = [pair for pair in pairs if guesses[pair[0]]]
        if moving:
            moved = block.update([row for row, _ in moving], torch.stack([items[row] for row, _ in moving]))
            items |= {following: new for (_, following), new in zip(moving, moved, strict=True)}
    return items


def _right(run: Sequence[int], guesses: dict[int, bool], decisions: dict[int, bool]) -> int:
    """Counts the rows up to and including the first whose guess was wrong.

    The guess for the last row does not matter: no row of this call reads items that depend on it.
    """
    for count, row in enumerate(run, 1):
        if guesses[row] != decisions[row]:
            return count
    return len(run)


def _advance(
    block: Encoded[R],
    lanes: Sequence[Lane],
    finished: Sequence[Sequence[int]],
    items: dict[int, Tensor],
    decisions: dict[int, bool],
) -> None:
    """Leaves every lane with the items and the decision after its last finished row."""
    last = [(lane, rows[-1]) for lane, rows in zip(lanes, finished, strict=True) if rows]
    for lane, row in last:
        lane.items, lane.decision = items[row], decisions[row]
    moving = [(lane, row) for lane, row in last if lane.decision]
    if moving:
        moved = block.update([row for _, row in moving], torch.stack([lane.items for lane, _ in moving]))
        for (lane, _), new in zip(moving, moved, strict=True):
            lane.items = new
