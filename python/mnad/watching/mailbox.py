"""Between a thread that decodes and one that delivers: nothing waits for who is slow but a file."""

from __future__ import annotations

import threading
from collections import deque

from mnad.watching.messages import Alive, Delivery, Ended, Frame, Message, Note
from mnad.watching.pacing import Pacer


class Mailbox:
    """Holds what was decoded until it is taken.

    Of a live source the newest frames are kept, as many as a window holds, so that the newest of them can be scored
    with those before it; older ones are dropped and counted. Whoever puts a frame of a file waits until it is taken.

    Args:
        keep: Frames that are kept of a live source; 1 for one that drops nothing.
        drops: Whether older frames are dropped.
    """

    def __init__(self, keep: int, *, drops: bool) -> None:
        self._frames: deque[Frame] = deque(maxlen=keep)
        self._drops = drops
        self._others: deque[Note | Alive | Ended] = deque()
        self._changed = threading.Condition()
        self._read = self._untaken = 0

    def count(self) -> None:
        """Counts a frame of the source."""
        with self._changed:
            self._read += 1

    def put(self, frame: Frame) -> None:
        """Puts a frame in."""
        with self._changed:
            while not self._drops and self._frames:
                self._changed.wait()
            self._frames.append(frame)
            self._untaken += 1
            self._changed.notify_all()

    def tell(self, message: Note | Alive | Ended) -> None:
        """Puts a message in, which is taken after the frames before it."""
        with self._changed:
            self._others.append(message)
            self._changed.notify_all()

    def take(self, pacer: Pacer, timeout: float) -> Message | None:
        """Waits for something, and takes it out; None if nothing comes for so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frames or self._others, timeout):
                return None
            if not self._frames:
                return self._others.popleft()
            frames = tuple(self._frames)
            # All but the newest that are delivered were not scored either.
            taken = Delivery(frames, self._untaken - 1, self._read, pacer.rate, pacer.slow)
            self._frames.clear()
            self._untaken = self._read = 0
            self._changed.notify_all()
            return taken
