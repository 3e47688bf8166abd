"""The events of a stream: when they begin and end, what is known of them, their clips and pictures."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from mnad.evaluation.events import AlarmRule
from mnad.watching.history import EventKind, WatchedEvent
from mnad.watching.ledger import Ledger
from mnad.watching.recorder import ClipFrame, Heat, Recorder
from mnad.watching.settings import ClipOptions
from mnad.watching.streams import FrameResult
from mnad.watching.tracker import Change, EventTracker

# An event that began so few seconds before a camera was found unwell is no anomaly, but that.
HELD_BACK = 5.0
# While an event goes on, what is known of it is written so often, in seconds.
WRITE_EVERY = 1.0


class Seen(NamedTuple):
    """A frame of a stream.

    Attributes:
        time: When it was taken, in seconds of its source.
        wall: The same by the wall clock.
        score: NaN without one.
        picture: JPEG; None for a frame that could not be read.
    """

    time: float
    wall: float
    score: float
    picture: bytes | None


@dataclass
class Peak:
    """The frame of the highest score of an event.

    Attributes:
        seen: It.
        zone: Where in the picture that is.
        heat: The same as a map.
        drawn: Whether there is a picture of it.
    """

    seen: Seen
    zone: str
    heat: Heat | None
    drawn: bool = False


@dataclass
class Recording:
    """A clip that is being written.

    Attributes:
        event: The id of its event.
        until: When it ends, in seconds of the source.
    """

    event: str
    until: float


class StreamEvents:
    """Finds the events of a stream in its scores, and keeps what is to be known of them.

    Args:
        stream: The stream's name.
        session: What is watched; with the number of an event's first score it tells the event from all others.
        rule: When an event begins and ends.
        sinks: Who is told of them.
        clips: How long clips are.
        ledger: Where events go.
        recorder: Where clips and pictures go.
        place: Returns the zone and the map of a frame that was scored.
    """

    def __init__(
        self,
        stream: str,
        session: str,
        rule: AlarmRule,
        sinks: Sequence[str],
        clips: ClipOptions,
        ledger: Ledger,
        recorder: Recorder,
        place: Callable[[FrameResult], tuple[str, Heat | None]],
    ) -> None:
        self.stream, self.session, self.sinks, self.clips = stream, session, sinks, clips
        self.ledger, self.recorder, self.place = ledger, recorder, place
        self.tracker = EventTracker(rule)
        self.current: WatchedEvent | None = None
        self.found = self.held_back = 0
        self._first: Seen | None = None
        self._last: Seen | None = None
        self._peak: Peak | None = None
        self._recent: deque[Seen] = deque()
        self._recordings: list[Recording] = []
        self._written = 0.0

    def take(self, seen: Seen, result: FrameResult | None) -> None:
        """Takes a frame that was scored, or one without a score, at which no event goes on."""
        index = self.tracker.count
        changes = self.tracker.push(seen.score)
        if (span := self.tracker.span) is not None:
            if span.first == index:
                self._first, self._peak = seen, None
            if span.last == index:
                self._last = seen
                self._note_peak(seen, result)
        for change in changes:
            if change.kind == "began":
                self._begin(change)
            else:
                self._end(change, "")
        self.pass_by(seen)
        self._write_now_and_then()

    def pass_by(self, seen: Seen) -> None:
        """Takes a frame for clips alone."""
        if self._recent and seen.time < self._recent[-1].time:
            self._recent.clear()
        self._recent.append(seen)
        while self._recent and seen.time - self._recent[0].time > self.clips.before:
            self._recent.popleft()
        for recording in list(self._recordings):
            if seen.time > recording.until:
                self.recorder.finish(recording.event)
                self._recordings.remove(recording)
            else:
                self.recorder.add(recording.event, _clip_frames([seen]))

    def hold_back(self, reason: str, now: float) -> None:
        """Ends the event that goes on, as the camera is unwell; one that has just begun was no anomaly.

        Args:
            reason: What is wrong with the camera.
            now: In seconds of the source.
        """
        just_begun = self._first is not None and now - self._first.time <= HELD_BACK
        for change in self.tracker.finish():
            self._end(change, f"the camera is {reason}", held_back=just_begun)

    def finish(self, note: str = "") -> None:
        """Ends the event that goes on, and the clips, as the stream does."""
        for change in self.tracker.finish():
            self._end(change, note)
        for recording in self._recordings:
            self.recorder.finish(recording.event)
        self._recordings.clear()

    def _note_peak(self, seen: Seen, result: FrameResult | None) -> None:
        if result is not None and (self._peak is None or seen.score > self._peak.seen.score):
            self._peak = Peak(seen, *self.place(result))

    def _begin(self, change: Change) -> None:
        assert self._first is not None
        self.found += 1
        self.current = event = self._described(change.first, change.last)
        self._put(event, told="began")
        began = self._first.time
        self._draw()  # before the clip, as who is alarmed looks at it
        self._recordings.append(Recording(event.id, began + self.clips.longest))
        self.recorder.add(event.id, _clip_frames(self._recent))

    def _end(self, change: Change, note: str, *, held_back: bool = False) -> None:
        event = self._described(change.first, change.last)
        self.held_back += held_back
        self._put(replace(event, state="held back" if held_back else "closed", note=note), told="ended")
        self._draw()
        assert self._last is not None
        for recording in self._recordings:
            if recording.event == event.id:
                recording.until = min(recording.until, self._last.time + self.clips.after)
        self.current = self._peak = None

    def _write_now_and_then(self) -> None:
        span, now = self.tracker.span, time.monotonic()
        if self.current is None or span is None or now - self._written < WRITE_EVERY:
            return
        self.current = self._described(span.first, span.last)
        self._put(self.current)
        self._draw()

    def _put(self, event: WatchedEvent, told: EventKind | None = None) -> None:
        self._written = time.monotonic()
        self.ledger.write(lambda history: history.put_event(event, told, self.sinks))

    def _draw(self) -> None:
        """Draws the peak, if it is a new one."""
        peak = self._peak
        if peak is not None and not peak.drawn and peak.seen.picture is not None and self.current is not None:
            self.recorder.draw(self.current.id, peak.seen.picture, peak.heat)
            peak.drawn = True

    def _described(self, first: int, last: int) -> WatchedEvent:
        """Returns the event that goes on as it is known now."""
        assert self._first is not None
        assert self._last is not None
        assert self._peak is not None
        told_apart = f"{self.stream}\n{self.session}\n{first}"
        return WatchedEvent(
            id=hashlib.sha256(told_apart.encode()).hexdigest()[:16],
            stream=self.stream,
            session=self.session,
            state="open",
            began=self._first.wall,
            duration=self._last.time - self._first.time,
            first=first,
            last=last,
            peak=self._first.wall + self._peak.seen.time - self._first.time,
            score=self._peak.seen.score,
            threshold=self.tracker.rule.threshold,
            zone=self._peak.zone,
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns the state as plain values, for :meth:`restore`."""
        peak = self._peak
        return {
            "tracker": self.tracker.as_list(),
            "first": _without_picture(self._first),
            "last": _without_picture(self._last),
            "peak": None if peak is None else [_without_picture(peak.seen), peak.zone],
            "current": None if self.current is None else asdict(self.current),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.tracker.restore(state["tracker"])
        self._first, self._last = _seen(state["first"]), _seen(state["last"])
        peak, current = state["peak"], state["current"]
        seen = None if peak is None else _seen(peak[0])
        self._peak = None if seen is None else Peak(seen, peak[1], None, drawn=True)
        self.current = None if current is None else WatchedEvent(**current)


def _clip_frames(seen: Iterable[Seen]) -> list[ClipFrame]:
    return [ClipFrame(each.time, each.picture) for each in seen if each.picture is not None]


def _without_picture(seen: Seen | None) -> list[float] | None:
    return None if seen is None else [seen.time, seen.wall, seen.score]


def _seen(values: list[float] | None) -> Seen | None:
    if values is None:
        return None
    time_of_source, wall, score = values
    return Seen(time_of_source, wall, score, None)
