"""The times between frames: whether they come at a constant rate, and what is missing between them."""

from __future__ import annotations

from collections import Counter

# A rate is constant where so large a part of the steps differs by less than so much from the usual one.
STEADY, JITTER = 0.9, 0.1
# What is so many times as long as the usual step is a hole.
HOLE = 1.5


class Steps:
    """Steps of some clock, in its units.

    Attributes:
        times: How often each was taken.
        usual: The most frequent one, of equals that which came first; 0 where none is known.

    Example:
        >>> steps = Steps()
        >>> for step in [40] * 20 + [120]:
        ...     steps.count(step)
        >>> steps.usual, steps.steady, steps.missing(120), steps.missing(40)
        (40, True, 2, 0)
    """

    def __init__(self) -> None:
        self.times: Counter[int] = Counter()
        self.usual = 0
        self._place: dict[int, int] = {}

    def count(self, step: int) -> None:
        """Takes a step."""
        self.times[step] += 1
        self._place.setdefault(step, len(self._place))
        # Asked for at each frame, where a varying rate has thousands of different ones.
        self.usual = max(self.usual, step, key=self._rank)

    def _rank(self, step: int) -> tuple[int, int]:
        return self.times[step], -self._place.get(step, 0)

    @property
    def longest(self) -> int:
        """The longest one; 0 where none is known."""
        return max(self.times, default=0)

    @property
    def steady(self) -> bool:
        """Whether almost all are about as long."""
        usual = self.usual
        near = sum(times for other, times in self.times.items() if abs(other - usual) <= max(1, JITTER * usual))
        return near >= STEADY * self.times.total()

    @property
    def all_missing(self) -> int:
        """The frames that would fit into all holes."""
        return sum(times * self.missing(step) for step, times in self.times.items())

    def missing(self, step: int) -> int:
        """Counts the frames that would fit into a step; 0 where it is no hole."""
        usual = self.usual
        return round(step / usual) - 1 if usual and step >= HOLE * usual else 0
