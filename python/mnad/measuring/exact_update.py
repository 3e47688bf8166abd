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
from typing import Generic, Protocol, TypeVar

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


@dataclass(frozen=True)
class Finished(Generic[R]):
    """Frames that are finished, among those that were decoded together.

    Attributes:
        restored: What was decoded; the finished frames come first.
        rows: The rows of the finished frames in the block.
        updated: Whether each updated the items.
    """

    restored: R
    rows: range
    updated: list[bool]


def finish_frames(block: Encoded[R], lane: Lane, count: int, threshold: float) -> Iterator[Finished[R]]:
    """Reads and decodes the frames of a block with the exact test-time update.

    Args:
        block: The encoded frames.
        lane: Whose frames they are, in order; it goes on from its state and is left where the last frame ends.
        count: How many frames the block has.
        threshold: E_t below which a frame updates the items.
    """
    seen: dict[int, bool] = {}
    first = 0
    while first < count:
        run = range(first, min(first + lane.allowance, count))
        guesses = [seen.get(row, lane.decision) for row in run]
        items = _items_by_guess(block, lane.items, run, guesses)
        restored = block.restore(run, torch.cat(items))
        decisions = (restored.update_errors < threshold).tolist()
        right = _right(guesses, decisions)
        last, lane.items, lane.decision = run[right - 1], items[right - 1][0], decisions[right - 1]
        if lane.decision:
            lane.items = block.update([last], items[right - 1])[0]
        lane.account(right, len(run))
        seen |= dict(zip(run, decisions, strict=True))
        first = last + 1
        yield Finished(restored, run[:right], decisions[:right])


def _items_by_guess(block: Encoded[R], items: Tensor, run: range, guesses: Sequence[bool]) -> list[Tensor]:
    """Returns the items (1, M, C) that each row reads if the guesses are right."""
    read = [items[None]]
    for row, guess in zip(run[:-1], guesses, strict=False):
        read.append(block.update([row], read[-1]) if guess else read[-1])
    return read


def _right(guesses: Sequence[bool], decisions: Sequence[bool]) -> int:
    """Counts the rows up to and including the first whose guess was wrong.

    The guess for the last row does not matter: no row of this call reads items that depend on it.
    """
    pairs = zip(guesses, decisions, strict=True)
    return next((count for count, (guess, decision) in enumerate(pairs, 1) if guess != decision), len(decisions))
