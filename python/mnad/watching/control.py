"""What can be seen of streams that are watched, and changed, while the loop goes on. All of it runs within the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mnad.runtime.errors import ConfigError
from mnad.watching.settings import StreamSettings
from mnad.watching.stream import WatchedStream
from mnad.watching.watched_model import WatchedModel
from mnad.watching.watcher import Watcher


@dataclass(frozen=True, kw_only=True)
class StreamChange:
    """What is changed of a stream; what is None stays.

    Attributes:
        paused: Whether its source is stopped.
        threshold: A score above which a frame is abnormal.
        false_alarms_per_hour: A calibrated threshold in place of that.
        accept_view: Whether what the camera sees now is its usual view.
    """

    paused: bool | None = None
    threshold: float | None = None
    false_alarms_per_hour: float | None = None
    accept_view: bool | None = None


class Control:
    """Looks at streams and changes them.

    Args:
        watcher: Whose they are.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def streams(self) -> list[dict[str, Any]]:
        """Returns all streams as plain values."""
        return [describe(stream) for stream in self.watcher.streams.values()]

    def add(self, settings: StreamSettings, model: WatchedModel) -> dict[str, Any]:
        """Adds a stream and begins to watch it.

        Args:
            settings: Of the stream.
            model: Of its run, as :meth:`Watcher.load` has loaded it beside the loop.

        Raises:
            ConfigError: If there is one of this name, or an option does not fit.
        """
        stream = self.watcher.add(settings, model)
        stream.start()
        self.watcher.save()  # without a state a stream is new
        return describe(stream)

    def remove(self, name: str) -> None:
        """Ends a stream and forgets it; its events stay.

        Raises:
            KeyError: If there is none of this name.
        """
        self.watcher.remove(name)

    def change(self, name: str, change: StreamChange) -> dict[str, Any]:
        """Changes a stream.

        Raises:
            KeyError: If there is none of this name.
            ConfigError: If the threshold is not finite, or the model is not calibrated for the rate.
        """
        stream = self.watcher.streams[name]
        if change.threshold is not None and change.false_alarms_per_hour is not None:
            raise ConfigError("give threshold or false_alarms_per_hour, not both")
        threshold = change.threshold
        if change.false_alarms_per_hour is not None:
            threshold = stream.model.calibration.threshold_for(change.false_alarms_per_hour).threshold
        if threshold is not None:
            stream.set_threshold(threshold, "set by hand")
        if change.paused is not None and change.paused != stream.paused:
            stream.pause(paused=change.paused)
        if change.accept_view:
            stream.accept_view()
        return describe(stream)

    def picture(self, name: str, *, heat: bool) -> Callable[[], bytes | None]:
        """Returns what draws the last picture of a stream as JPEG, outside of the loop; None if there is no picture.

        Raises:
            KeyError: If there is no stream of this name.
        """
        stream = self.watcher.streams[name]
        last = stream.last
        return lambda: None if last is None else stream.draw(last, heat=heat)


def describe(stream: WatchedStream) -> dict[str, Any]:
    """Returns a stream as plain values."""
    calibration, counters = stream.model.calibration, stream.counters
    p50, p95, p99 = stream.latency()
    return {
        "name": stream.name,
        "address": str(stream.settings.address),
        "kind": stream.settings.address.kind,
        "run": str(stream.settings.run),
        "state": stream.state,
        "condition": stream.condition,
        "fault": stream.feed.fault,
        "score": stream.score,
        "scores": [list(each) for each in stream.curve],
        "threshold": stream.threshold,
        "calibrated": [
            {"false_alarms_per_hour": each.false_alarms_per_hour, "threshold": each.threshold}
            for each in calibration.thresholds
        ],
        "abnormal": stream.events.current is not None,
        "rate": stream.rate,
        "model_rate": calibration.fps,
        "slow": stream.slow,
        "latency": {"p50": p50, "p95": p95, "p99": p99},
        "frames": {"read": counters.read, "scored": counters.scored, "dropped": counters.dropped},
        "unreadable": counters.unreadable,
        "restarts": stream.feed.restarts,
        "events": stream.events.found,
        "held_back": stream.events.held_back,
        "zones": [
            {"name": zone.name, "kind": zone.kind, "polygon": [list(corner) for corner in zone.polygon]}
            for zone in stream.settings.zones
        ],
    }
