"""Which frames of a stream a model is shown: those nearest to the rate that it was trained at."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Literal

# A stream whose usual step differs from the model's by at most this share has the model's rate: no frame is left out.
SAME_RATE = 0.05
# Of a window, no two frames may be further apart than so many steps of the model.
LARGEST_STEP = 2.05
# A stream below this share of the model's rate is called slow.
SLOW = 0.9
STEPS = 32


# Whether a frame that is shown comes soon enough after the last one to be predicted from it.
Choice = Literal["begins", "follows"]


class Pacer:
    """Chooses the frames of a stream by their times.

    Args:
        rate: Frames a second that the model was trained at.

    Example:
        >>> pacer = Pacer(10)
        >>> [frame for frame in range(50) if pacer.choose(frame / 25)][:9]
        [0, 2, 5, 7, 10, 12, 15, 17, 20]
    """

    def __init__(self, rate: float) -> None:
        self.period = 1 / rate
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._last: float | None = None
        self._taken: float | None = None
        self._due = 0.0

    @property
    def rate(self) -> float | None:
        """Frames a second of the stream, by the median of its last steps; None until there are enough of them."""
        if len(self._steps) < STEPS // 4:
            return None
        step = median(self._steps)
        return 1 / step if step > 0 else None

    @property
    def slow(self) -> bool:
        """Whether the stream has fewer frames a second than the model was trained at."""
        return self.rate is not None and self.rate * self.period < SLOW

    def choose(self, time: float) -> Choice | None:
        """Returns whether the model is shown the next frame, which then counts as shown; None if it is not.

        Args:
            time: When it was taken, in seconds, not before the frame before it.

        Returns:
            ``"begins"`` for the first frame, and for one so long after the last one that nothing can be predicted
            across the gap; ``"follows"`` for others that are shown.
        """
        step = None if self._last is None else time - self._last
        if step is not None:
            self._steps.append(step)
        self._last = time
        if self._taken is None or time - self._taken > LARGEST_STEP * self.period:
            self._taken, self._due = time, time + self.period
            return "begins"
        if not self._is_due(time):
            return None
        self._due = max(self._due, time - self.period) + self.period
        self._taken = time
        return "follows"

    def _is_due(self, time: float) -> bool:
        usual = median(self._steps)
        if abs(usual - self.period) <= SAME_RATE * self.period:
            self._due = time
            return True
        return time >= self._due - min(usual, self.period) / 2
