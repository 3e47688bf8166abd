"""Events of a stream, decided while its scores come: the same as :func:`mnad.evaluation.events.find_events` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mnad.evaluation.events import AlarmRule


@dataclass
class Span:
    """Frames of an event, counted from the first score of the stream.

    Attributes:
        first: Its first frame.
        last: Its last frame up to now.
        told: Whether it is long enough to be an event.
    """

    first: int
    last: int
    told: bool = False


class Change(NamedTuple):
    """What a score has changed.

    Attributes:
        kind: Whether an event has begun, which is known once it is long enough, or has ended.
        first: Its first frame.
        last: Its last frame up to now.
    """

    kind: Literal["began", "ended"]
    first: int
    last: int


class EventTracker:
    """Finds events in scores that come one by one.

    Args:
        rule: When an event begins and ends.

    Example:
        >>> tracker = EventTracker(AlarmRule(0.7, merge_gap=1))
        >>> [change for score in (0.1, 0.9, 0.6, 0.8, 0.1, 0.1) for change in tracker.push(score)]
        [Change(kind='began', first=1, last=1), Change(kind='ended', first=1, last=3)]
    """

    def __init__(self, rule: AlarmRule) -> None:
        self.rule = rule
        self.span: Span | None = None
        self._within = False
        self._next = 0

    @property
    def count(self) -> int:
        """The number of scores so far."""
        return self._next

    def push(self, score: float) -> list[Change]:
        """Takes the next score.

        Args:
            score: NaN for a frame without one, where no event goes on unless ``merge_gap`` joins two.

        Returns:
            What it has changed; an event that has begun comes before one that has ended.
        """
        frame = self._next
        self._next += 1
        rule, changes = self.rule, list[Change]()
        if not score > rule.threshold - rule.hysteresis:
            self._within = False
        elif self._within or score > rule.threshold:
            self._within = True
            if self.span is None:
                self.span = Span(frame, frame)
            self.span.last = frame
            if not self.span.told and frame - self.span.first + 1 >= rule.min_length:
                self.span.told = True
                changes.append(Change("began", self.span.first, frame))
        if self.span is not None and not self._within and frame - self.span.last > rule.merge_gap:
            changes += self.finish()
        return changes

    def finish(self) -> list[Change]:
        """Ends the event that goes on, if there is one, as the stream does."""
        span, self.span, self._within = self.span, None, False
        return [Change("ended", span.first, span.last)] if span is not None and span.told else []

    def as_list(self) -> list[int | bool | None]:
        """Returns the state as plain values, for :meth:`restore`."""
        span = self.span
        return [self._next, self._within, *((span.first, span.last, span.told) if span else (None, None, None))]

    def restore(self, state: list[int | bool | None]) -> None:
        """Goes on from a state."""
        count, within, first, last, told = state
        self._next, self._within = int(count or 0), bool(within)
        self.span = None if first is None or last is None else Span(int(first), int(last), bool(told))
