"""A threshold that follows slow change: of the light over the seasons, of a lens that gathers dust."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

PERIOD = 600.0  # seconds of normal time of which one quantile is taken
QUANTILE = 0.9


class Drift:
    """Follows the scores of normal time.

    The 0.9 quantile of the scores is taken of each ten minutes in which nothing is abnormal and the camera is well. How
    far the median of the last of them lies from that of the first ones is how far the threshold has to follow.

    Args:
        bound: How far it may follow at most, in scores.
        hours: Of normal time that count as the last ones, and as the first ones.
        period: Seconds of normal time of which a quantile is taken.
    """

    def __init__(self, bound: float, hours: float, period: float = PERIOD) -> None:
        self.bound, self.period = bound, period
        self._count = max(1, round(3600 * hours / period))
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=self._count)
        self._scores: list[float] = []
        self._seconds = 0.0

    @property
    def shift(self) -> float:
        """How far the threshold is to be from where it was; 0 until there are enough hours to compare."""
        if len(self._first) < self._count or len(self._last) < self._count:
            return 0.0
        moved = float(np.median(self._last) - np.median(self._first))
        return min(max(moved, -self.bound), self.bound)

    def take(self, score: float, seconds: float) -> bool:
        """Takes the score of a frame of normal time.

        Args:
            score: Of the frame.
            seconds: Since the frame before it.

        Returns:
            Whether a period has ended, and the shift may be another one.
        """
        self._scores.append(score)
        self._seconds += seconds
        if self._seconds < self.period:
            return False
        quantile = float(np.quantile(self._scores, QUANTILE))
        if len(self._first) < self._count:
            self._first.append(quantile)
        self._last.append(quantile)
        self._scores.clear()
        self._seconds = 0.0
        return True

    def as_dict(self) -> dict[str, Any]:
        """Returns what was seen as plain values, for :meth:`restore`. The period that has begun is forgotten."""
        return {"first": list(self._first), "last": list(self._last)}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self._first = list(state["first"])[: self._count]
        self._last.extend(state["last"])
