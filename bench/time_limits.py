"""Ends what takes too long, by the system's alarm: in a process's main thread only, and not one in another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds that training may take to come to a stop.
GRACE = 10.0
Handler = Callable[[int, FrameType | None], None]


class TimeUpError(BaseException):
    """The time is up; no Exception, as a library that catches all of these would go on."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Ends the block by a TimeUpError when the time is up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeUpError("the time is up")

    with _alarms(end, seconds, 0):
        yield


@contextmanager
def stopping_after(seconds: float) -> Iterator[None]:
    """Has training stop, as it does on SIGTERM, when the time is up: after the step at hand, with a checkpoint.

    Where that step does not end, or training has not begun, before the grace is over, it ends the block as limit does.
    """
    last = time.monotonic() + seconds + GRACE
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if time.monotonic() > last:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TimeUpError("the time is up, and training did not come to the end of a step")
        if not asked and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # it has begun to listen
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)

    with _alarms(ask, seconds, 0.2):
        yield


@contextmanager
def _alarms(handle: Handler, seconds: float, again: float) -> Iterator[None]:
    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
