"""When a frame was taken, by the time stamps of a live stream as far as these can be trusted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# Clocks of cameras run wrong by less than this share.
DRIFT = 5e-4
# Frames that come so many seconds after their time stamps say have wrong ones: a network holds up fewer.
LATEST = 5.0
# So many wrong stamps within so many seconds, and the stream's stamps count no more.
WRONG, WITHIN = 2, 60.0


@dataclass
class Timeline:
    """Puts the frames of a stream on the clock of this machine.

    A frame is at the time of its stamp plus an offset: the least that any frame has taken to arrive, so that what a
    network holds up and then delivers at once keeps its times. Stamps that go back or lag begin anew, and a stream that
    does so again and again is put at the times at which its frames arrive.

    Attributes:
        trusted: Whether stamps count; set it to False for a stream that has none.
    """

    trusted: bool = True
    _offset: float | None = None
    _stamp: float = 0.0
    _arrived: float = 0.0
    _last: float = float("-inf")
    _wrong: deque[float] = field(default_factory=lambda: deque(maxlen=WRONG))

    def at(self, stamp: float | None, arrived: float) -> float:
        """Returns when a frame was taken, never before the frame before it.

        Args:
            stamp: Its time stamp in seconds, from any beginning; None without one.
            arrived: When it arrived, in seconds of this machine's monotonic clock.
        """
        time = arrived if stamp is None or not self.trusted else self._by_stamp(stamp, arrived)
        self._last = max(self._last, time)
        return self._last

    def _by_stamp(self, stamp: float, arrived: float) -> float:
        if self._offset is not None:
            drifted = self._offset + DRIFT * (arrived - self._arrived)
            self._offset = min(drifted, arrived - stamp)
            if stamp < self._stamp or arrived - stamp - self._offset > LATEST:
                self._begin_anew(arrived)
        if self._offset is None:
            self._offset = arrived - stamp
        self._stamp, self._arrived = stamp, arrived
        return stamp + self._offset

    def _begin_anew(self, arrived: float) -> None:
        self._offset = None
        self._wrong.append(arrived)
        if len(self._wrong) == WRONG and arrived - self._wrong[0] <= WITHIN:
            self.trusted = False
