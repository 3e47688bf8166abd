"""A deadline for long work, by the system's alarm: in a process's main thread only, one alarm at a time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType

from mnad.runtime.errors import Interrupted

# Seconds that training may take to come to a stop.
GRACE = 10.0
SECONDS_BETWEEN_SIGNALS = 0.2


class TimeUpError(Interrupted):
    """The time is up, and what was done before is kept."""


class _AlarmError(BaseException):
    """Raised by the alarm amid the work; no Exception, as a library that catches all of these would go on."""


@dataclass(frozen=True)
class Deadline:
    """When work must have ended, and how much of the time before is kept back for what follows training and scoring.

    Of a short time no more than a quarter is kept back.

    Attributes:
        at: When all must have ended, on the clock of ``time.monotonic()``.
        after_training: Seconds kept back of training: to stop, to score and to write.
        after_scoring: Seconds kept back of scoring: to write.

    Example:
        >>> deadline = Deadline(time.monotonic() + 60, after_training=20, after_scoring=5)
        >>> with deadline.training():  # train() is stopped in 45 s, as a quarter of 60 s is kept back
        ...     pass
        >>> 59 < deadline.left() <= 60
        True
    """

    at: float
    after_training: float
    after_scoring: float

    def left(self) -> float:
        """Returns the seconds left; negative when the time is up."""
        return self.at - time.monotonic()

    def training(self) -> AbstractContextManager[None]:
        """Returns a context in which training is stopped in time, see :func:`stopping_after`."""
        return stopping_after(self._all_but(self.after_training))

    def scoring(self) -> AbstractContextManager[None]:
        """Returns a context that is ended in time, see :func:`limit`."""
        return limit(self._all_but(self.after_scoring))

    def _all_but(self, kept: float) -> float:
        left = self.left()
        return left - min(kept, left / 4)


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Ends the block when the time is up.

    Raises:
        TimeUpError: If it is.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise _AlarmError("the time is up")

    with _alarms(end, seconds, 0):
        yield


@contextmanager
def stopping_after(seconds: float) -> Iterator[None]:
    """Has training stop, as it does on SIGTERM, when the time is up: after the step at hand, with a checkpoint.

    However short the time is, a step is made, so that calls which go on from each other come to an end.

    Raises:
        Interrupted: By training, if it was stopped.
        TimeUpError: If training has not begun, or its step has not ended, when the grace is over, too.
    """
    last = time.monotonic() + seconds + GRACE
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if time.monotonic() > last:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise _AlarmError("the time is up, and training did not come to the end of a step")
        if not asked and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # it has begun to listen
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)

    with _alarms(ask, seconds, SECONDS_BETWEEN_SIGNALS):
        yield


@contextmanager
def _alarms(handle: Callable[[int, FrameType | None], None], seconds: float, again: float) -> Iterator[None]:
    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), again)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    except _AlarmError as alarm:
        raise TimeUpError(str(alarm)) from None
