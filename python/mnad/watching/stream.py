"""One stream while it is watched: its source, its scores, its health and its events."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mnad.data.video import VideoFile
from mnad.watching.drift import Drift
from mnad.watching.feed import Feed
from mnad.watching.health import PictureHealth
from mnad.watching.ledger import Ledger
from mnad.watching.messages import Alive, Delivery, Frame, Note, Order, Position, as_position
from mnad.watching.places import Places
from mnad.watching.recorder import Recorder
from mnad.watching.settings import StreamSettings, WatchConfig
from mnad.watching.stream_events import Seen, StreamEvents
from mnad.watching.streams import FrameResult
from mnad.watching.watched_model import WatchedModel
from mnad.watching.zones import region_of

LATENCIES = 1000
CURVE = 600  # scores that are shown
SINCE = " since "  # in what tells sessions apart: when one began that has no end
QUIET = 600.0  # seconds without a new file after which a folder is offline
CHANGED_AFTER = 1.0  # seconds in which the score is high everywhere


@dataclass
class Counters:
    """What a stream has come to since it is watched.

    Attributes:
        read: Frames of the source.
        scored: Frames that were scored.
        dropped: Frames that the model was to be shown and nobody took in time.
        unreadable: Frames that could not be read.
    """

    read: int = 0
    scored: int = 0
    dropped: int = 0
    unreadable: int = 0


class WatchedStream:
    """A stream, from its source to its events.

    Args:
        settings: Of the stream.
        config: Of all streams.
        model: That watches it.
        ledger: Where events go.
        recorder: Where clips and pictures go.

    Raises:
        ConfigError: If its zones leave nothing to watch, or the model is not calibrated for its rate of false alarms.
        DataError: If it is a file and no video.
    """

    def __init__(
        self, settings: StreamSettings, config: WatchConfig, model: WatchedModel, ledger: Ledger, recorder: Recorder
    ) -> None:
        self.settings, self.config, self.model, self.ledger = settings, config, model, ledger
        self.name, self.live = settings.name, settings.address.live
        self.places, region = Places(settings.zones), region_of(settings.zones, model.grid, model.queries)
        self.session = self._session()
        self._began = self._file_began() if settings.address.kind == "file" else 0.0
        rule = settings.alarm_rule(model.calibration)
        self.events = StreamEvents(
            self.name, self.session, rule, settings.sinks, config, ledger, recorder, self.places.of
        )
        self.health = PictureHealth() if config.health and settings.address.kind != "file" else None
        self.drift = Drift(config.drift, config.drift_hours) if config.drift else None
        self._configured = self._base = rule.threshold
        self.feed = Feed(self._order)
        self.counters, self.latencies = Counters(), deque[float](maxlen=LATENCIES)
        self.rate: float | None = None
        self.slow = self.paused = False
        self.condition: str | None = None
        self.position: Position | None = None
        self.time = 0.0
        self.last: tuple[Frame, FrameResult] | None = None
        self.curve = deque[tuple[float, float]](maxlen=CURVE)
        self._changed_since: float | None = None
        self._came = self._since = 0.0
        self._told, self._ended, self._is_known = "", False, False
        model.streams.set_region(self.name, region)

    @property
    def done(self) -> bool:
        """Whether its source has come to its end."""
        return self.feed.finished

    @property
    def state(self) -> Literal["watching", "paused", "ended", "waiting"]:
        """Whether it is watched, or waits for its source."""
        if self.done:
            return "ended"
        if self.paused:
            return "paused"
        return "waiting" if self.feed.process is None or self.last is None else "watching"

    @property
    def score(self) -> float | None:
        """The score of the last frame, whatever is wrong with the camera; None if it has none."""
        return None if self.last is None else self.last[1].score

    def draw(self, last: tuple[Frame, FrameResult], *, heat: bool) -> bytes | None:
        """Draws a frame that was judged; this takes a while, and any thread may do it.

        Args:
            last: :attr:`last` as it was.
            heat: Whether the heatmap is laid over it.

        Returns:
            JPEG; None for a frame that could not be read.
        """
        frame, result = last
        if frame.picture is None or not heat:
            return frame.picture
        _, drawn = self.places.of(result)
        return frame.picture if drawn is None else drawn.on(frame.picture)

    @property
    def threshold(self) -> float:
        """Above which a frame is abnormal."""
        return self.events.tracker.rule.threshold

    def set_threshold(self, threshold: float, reason: str) -> None:
        """Goes on with another threshold, and writes why. It follows drift from there.

        Raises:
            ConfigError: If it is not finite.
        """
        _ = replace(self.events.tracker.rule, threshold=threshold)
        self._base = threshold - (self.drift.shift if self.drift else 0.0)
        self._follow(reason)

    def _follow(self, reason: str) -> None:
        """Brings the threshold to where it was set, and as far from there as the scores of normal time have moved."""
        threshold = self._base + (self.drift.shift if self.drift else 0.0)
        if threshold != self.threshold:
            self.events.tracker.rule = replace(self.events.tracker.rule, threshold=threshold)
            self.ledger.write(lambda history: history.put_threshold(self.name, threshold, time.time(), reason))

    def _session(self) -> str:
        """Returns what tells what is watched, and by which model, from all else."""
        address = self.settings.address
        if address.live:
            return f"{self.model.identity}{SINCE}{time.time():.3f}"
        if address.kind == "folder":
            self.ledger.read(lambda history: history.session_began(self.name, str(address), time.time()))
            return f"{self.model.identity} {address}{SINCE}{time.time():.3f}"
        VideoFile(Path(address.text)).rate()  # an error now and not later, if it is none
        status = Path(address.text).stat()
        return f"{self.model.identity} {address} of {status.st_size} bytes written at {status.st_mtime_ns}"

    def _file_began(self) -> float:
        """Returns when a file's first frame was taken: as is said, or when it was first watched."""
        if self.settings.began is not None:
            return self.settings.began
        return self.ledger.read(lambda history: history.session_began(self.name, self.session, time.time()))

    def _order(self) -> Order:
        loaded, settings = self.model.loaded, self.settings
        return Order(
            address=settings.address,
            size=loaded.size,
            channels=loaded.model.config.image_channels,
            levels=loaded.levels,
            rate=self.model.calibration.fps,
            began=self._began,
            window=self.model.streams.window_length,
            realtime=self.config.realtime,
            given_rate=settings.rate,
            timeout=self.config.timeout,
            after=self.position,
            since=self.time,
        )

    def receive(self) -> Frame | None:
        """Takes what its source has sent, and returns the frame that is to be scored; None if there is none."""
        message = self.feed.receive()
        if isinstance(message, Note):
            self.ledger.say(f"{self.name}: {message.text}")
        usable = isinstance(message, Delivery) and any(frame.pixels is not None for frame in message.frames)
        if usable or isinstance(message, Alive):
            self._came = time.monotonic()
        if not isinstance(message, Delivery):
            return None
        counters = self.counters
        counters.read += message.read
        counters.dropped += message.dropped
        self._tell_if_slow(message)
        for frame in message.frames[:-1]:
            self._show(frame)
            self.events.pass_by(Seen(frame.time, frame.wall, math.nan, frame.picture))
        newest = message.frames[-1]
        self._look_at(newest)
        return newest

    def judge(self, frame: Frame, result: FrameResult) -> None:
        """Takes what the model has found in the frame that :meth:`receive` returned."""
        self.latencies.append(time.monotonic() - frame.arrived)
        score = math.nan if result.score is None else result.score
        self.counters.scored += result.score is not None
        if frame.pixels is not None:
            self._note_condition(None if self.health is None else self._picture_condition(frame, result), frame)
        if result.score is not None:
            self.curve.append((round(frame.wall, 3), round(result.score, 4)))
        if self.condition is not None:
            score = math.nan
        self._take_drift(score, frame)
        self.position, self.time, self.last = frame.position, frame.time, (frame, result)
        self.events.take(Seen(frame.time, frame.wall, score, frame.picture), result)

    def look_after(self) -> None:
        """Starts the source again where it has failed, and ends what goes on where it gives nothing any more."""
        if self.paused or (self.done and self._ended):
            return
        self.feed.look_after()
        fault = self.feed.fault
        if fault and fault != self._told:
            self.ledger.say(f"{self.name}: {fault}")
        self._told = fault
        if self.done and not fault:
            self.events.finish()
        elif (reason := self._lost()) is not None:
            self.events.finish(f"the stream was lost: {reason}")
            self._set_condition("offline", time.time(), reason)
        self._ended = self.done

    def _lost(self) -> str | None:
        """Returns why the source counts as lost, which takes a while; None while it does not."""
        silent, fault = time.monotonic() - self._came, self.feed.fault
        if fault and (self.done or silent >= self.feed.patience):
            return fault
        if self.settings.address.kind == "folder" and silent >= QUIET:
            return f"nothing that can be watched was written to it for {QUIET / 60:g} min"
        return None

    def start(self) -> None:
        """Starts the source."""
        self._came = time.monotonic()
        self.feed.start()

    def pause(self, *, paused: bool) -> None:
        """Stops the source, or starts it again."""
        if self.done:
            return
        self.paused = paused
        if paused:
            self.feed.stop()
            self.events.finish("watching was paused")
        else:
            self.start()

    def accept_view(self) -> None:
        """Takes what the camera sees now for its usual view."""
        if self.health is not None:
            self.health.accept_view()

    def as_dict(self) -> dict[str, Any]:
        """Returns the state as plain values, for :meth:`restore`."""
        return {
            "session": self.session,
            "position": self.position,
            "time": self.time,
            "finished": self.done and not self.feed.fault,
            "events": None if self.live else self.events.as_dict(),
            "health": None if self.health is None else self.health.as_dict(),
            "drift": None if self.drift is None else self.drift.as_dict(),
            "threshold": [self._configured, self._base],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state. A live stream has missed what was meanwhile, and keeps its memory alone."""
        if self.health is not None and state["health"] is not None:
            self.health = PictureHealth.from_dict(state["health"])
        if self.drift is not None and state["drift"] is not None:
            self.drift.restore(state["drift"])
        configured, base = state["threshold"]
        if configured == self._configured:  # what was set on the page holds until the options say something else
            self._base = base
            self._follow("as it was before the process was started again")
        if self.live:
            self.model.streams.show(self.name, None)
        elif state["session"].partition(SINCE)[0] == self.session.partition(SINCE)[0]:
            self.session = self.events.session = state["session"]
            self.position, self.time = as_position(state["position"]), state["time"]
            self.feed.finished = state["finished"]
            self.events.restore(state["events"])
        else:
            self.model.streams.by_name.pop(self.name, None)

    def status(self) -> str:
        """Returns how the stream is doing, for people."""
        counters, fps = self.counters, self.model.calibration.fps
        rate = "" if self.rate is None else f"{self.rate:.3g} frames/s for a model of {fps:g}, "
        p50, p95, p99 = self.latency()
        return (
            f"{self.name}: {self.condition or 'well'}, {rate}{counters.scored} scored, {counters.dropped} dropped, "
            f"{counters.unreadable} unreadable, {self.events.found} events, latency {1000 * p50:.0f} ms (p50), "
            f"{1000 * p95:.0f} (p95), {1000 * p99:.0f} (p99)"
        )

    def latency(self) -> tuple[float, float, float]:
        """Returns the median, p95 and p99 of the last latencies, from a frame's arrival to its score, in seconds."""
        if not self.latencies:
            return 0.0, 0.0, 0.0
        p50, p95, p99 = np.quantile(self.latencies, [0.5, 0.95, 0.99]).tolist()
        return p50, p95, p99

    def _take_drift(self, score: float, frame: Frame) -> None:
        """Counts a frame of normal time, in which the score is at or below the threshold."""
        if self.drift is None or self.last is None or not frame.follows:
            return
        normal = self.events.tracker.span is None and score <= self.threshold
        if normal and self.drift.take(score, frame.time - self.last[0].time):
            self._follow("the scores of normal time have moved")

    def _show(self, frame: Frame) -> None:
        """Shows the model a frame of which no score is wanted."""
        self._look_at(frame)
        self.model.streams.show(self.name, frame.pixels)
        if self.health is not None and frame.thumbnail is not None:
            self.health.see(frame.thumbnail, frame.time)

    def _look_at(self, frame: Frame) -> None:
        self.counters.unreadable += frame.pixels is None
        if not frame.follows:
            self.model.streams.show(self.name, None)
            if self.last is not None:
                self.events.take(Seen(frame.time, frame.wall, math.nan, None), None)

    def _picture_condition(self, frame: Frame, result: FrameResult) -> str | None:
        assert self.health is not None
        condition = None if frame.thumbnail is None else self.health.see(frame.thumbnail, frame.time)
        return condition or ("changed" if self._is_changed(frame, result) else None)

    def _is_changed(self, frame: Frame, result: FrameResult) -> bool:
        """Whether the score has been high nearly everywhere for a while."""
        if not self.places.is_everywhere(result, self.threshold):
            self._changed_since = None
        elif self._changed_since is None:
            self._changed_since = frame.time
        return self._changed_since is not None and frame.time - self._changed_since >= CHANGED_AFTER

    def _note_condition(self, condition: str | None, frame: Frame) -> None:
        if condition != self.condition and condition is not None:
            self.events.hold_back(condition, frame.time)
        self._set_condition(condition, frame.wall, at=frame.time)

    def _set_condition(self, condition: str | None, wall: float, note: str = "", at: float = 0.0) -> None:
        if self._is_known and condition == self.condition:
            return
        words = condition or ("well again" if self._is_known else "is watched")
        wall = self._since = max(wall, self._since)  # a file may be older than what was found without it
        self.condition, self._is_known, sinks = condition, True, self.settings.sinks
        self.ledger.write(lambda history: history.put_health(self.name, condition, wall, note, sinks, at))
        self.ledger.say(f"{self.name}: {words}")

    def _tell_if_slow(self, message: Delivery) -> None:
        if message.slow and not self.slow:
            fps = self.model.calibration.fps
            self.ledger.say(
                f"{self.name}: has {message.rate:.3g} frames/s, and its model was trained at {fps:g}; its scores mean "
                "less than those of the calibration"
            )
        self.rate, self.slow = message.rate, message.slow
