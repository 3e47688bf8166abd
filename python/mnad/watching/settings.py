"""What is watched, and how: the options of ``mnad watch`` and of each of its streams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from mnad.evaluation.calibration import Calibration
from mnad.evaluation.events import AlarmRule, EventOptions
from mnad.measuring.options import InferenceOptions
from mnad.runtime.errors import ConfigError
from mnad.watching.addresses import Address, check_name, parse_address, split_name
from mnad.watching.sinks.open import LINES, check_sink
from mnad.watching.zones import Zone


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Options of a stream; what is left out is that of all streams.

    Attributes:
        address: rtsp://, rtsps://, http:// or https://, the number of a USB camera or its device, a video file, or a
            folder that pictures or videos are written to.
        run: The run whose model watches it.
        false_alarms_per_hour: Which of the calibrated thresholds; the first if left out.
        threshold: A score in place of a calibrated threshold.
        hysteresis: How far below the threshold scores may fall before an event ends.
        merge_gap: Events with at most so many frames between them are one.
        min_length: Events of fewer frames are dropped.
        rate: Frames a second of a source that does not say so, or says something wrong: of a file, or of a folder.
        begins: When a file's first frame was taken, as 2026-11-27T08:00:00; when it is first watched if left out.
        zones: Where alarms are not wanted, or where alone they are.
        sinks: The names of the sinks that are told of it; all if left out.
    """

    address: str | int
    run: Path | None = None
    false_alarms_per_hour: float | None = None
    threshold: float | None = None
    hysteresis: float | None = None
    merge_gap: int | None = None
    min_length: int | None = None
    rate: float | None = None
    begins: str | None = None
    zones: tuple[Zone, ...] = ()
    sinks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked by itself."""
        if self.rate is not None and not (np.isfinite(self.rate) and self.rate > 0):
            raise ConfigError(f"rate must be positive frames a second, got {self.rate}")
        if self.threshold is not None and self.false_alarms_per_hour is not None:
            raise ConfigError("threshold takes the place of the calibrated one that false_alarms_per_hour chooses")
        _ = self.began

    @property
    def began(self) -> float | None:
        """When a file's first frame was taken, in seconds since 1970; None where nothing says so."""
        if self.begins is None:
            return None
        try:
            return datetime.fromisoformat(self.begins).timestamp()
        except ValueError:
            raise ConfigError(f"begins must be a time such as 2026-11-27T08:00:00, got {self.begins!r}") from None


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How long clips are, and how long they are kept.

    Attributes:
        before: Seconds of a clip before its event.
        after: Seconds of a clip after its event.
        longest: Seconds of a clip at most, from the beginning of its event.
        keep_days: Events older than so many days are removed, with their clips.
        keep_gigabytes: The oldest are removed when clips and pictures take more.
    """

    before: float = 5.0
    after: float = 5.0
    longest: float = 60.0
    keep_days: float = 30.0
    keep_gigabytes: float = 10.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("longest", "keep_days", "keep_gigabytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("before", "after"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class PageAddress:
    """Where the page is.

    Attributes:
        host: Of this machine, or all of its addresses.
        port: Of the page.
        token: What opens it; None where this machine alone can reach it and none is wanted.
    """

    host: str
    port: int
    token: str | None


def parse_page(text: str, token: str | None) -> PageAddress:
    """Reads host and port of a page.

    Raises:
        ConfigError: If it is neither, or can be reached from other machines without a token.

    Example:
        >>> parse_page("127.0.0.1:8080", None).port
        8080
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise ConfigError(f"page must be HOST:PORT, as 127.0.0.1:8080, got {text}")
    if not is_loopback(host) and not token:
        raise ConfigError(
            f"the page at {text} can be reached from other machines, so it needs a token: give --token, or set "
            "MNAD_TOKEN"
        )
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigError("the token of the page must be of letters, digits and signs of ASCII")
    return PageAddress(host, int(port), token or None)


def is_loopback(host: str) -> bool:
    """Returns whether a host's name or address is this machine's own, which no other can reach."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class WatchConfig(EventOptions, ClipOptions, InferenceOptions):
    """Options of watching.

    Attributes:
        run: The run whose model watches all streams that name no other.
        source: A stream as NAME=ADDRESS, or an address alone; give it once for each stream. An address is rtsp://,
            http:// or https://, the number of a USB camera, a video file, or a folder that is written to.
        streams: Streams by name with options of their own, for a file that --config names.
        sink: Who is told, as NAME=ADDRESS: mqtt:// or mqtts://user:password@host/prefix, with Home Assistant discovery,
            or http:// or https:// for a webhook; give it once for each. Standard output is told all the same.
        page: Host and port of a page that shows the streams, and of the metrics for Prometheus; 127.0.0.1:8080 for this
            machine alone. For other machines a token is needed.
        token: What opens the page; the variable MNAD_TOKEN if left out.
        out: The folder of events, clips, state and log. Who is started again with it goes on where it was.
        false_alarms_per_hour: Which of the calibrated thresholds; the first if left out.
        threshold: A score in place of the calibrated threshold.
        realtime: Whether files are played at their own speed, and not as fast as they can be scored.
        timeout: Seconds without a frame after which a live stream counts as lost, and is opened again.
        health: Whether the pictures of cameras and folders are checked (frozen, black, covered, moved), and anomalies
            held back while something is wrong.
        drift: How far thresholds may follow slow change of the scores of normal time, in scores; not at all if 0.
        drift_hours: Hours of normal time whose scores are compared with those of as many hours at first.
        save_every: Seconds between two savings of the state.
    """

    run: Path | None = None
    source: list[str] = field(default_factory=list)
    streams: dict[str, StreamOptions] = field(default_factory=dict)
    sink: list[str] = field(default_factory=list)
    page: str | None = None
    token: str | None = None
    out: Path = Path("watching")
    false_alarms_per_hour: float | None = None
    threshold: float | None = None
    realtime: bool = False
    timeout: float = 10.0
    health: bool = True
    drift: float = 0.0
    drift_hours: float = 24.0
    save_every: float = 10.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        super().__post_init__()
        for name in ("source", "sink"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} must be a list, each NAME=ADDRESS, not a text alone")
        if not (np.isfinite(self.drift) and self.drift >= 0):
            raise ConfigError(f"drift must be a finite number and not negative, got {self.drift}")
        for name in ("timeout", "drift_hours", "save_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        self.alarm_rule(0 if self.threshold is None else self.threshold)
        _ = self.sinks, self.listens

    @property
    def sinks(self) -> dict[str, str]:
        """The addresses of all sinks by name, standard output among them.

        Raises:
            ConfigError: If an address is none, or two have one name.
        """
        found = {LINES: LINES}
        for sink in self.sink:
            name, address = split_name(sink)
            if name in found:
                raise ConfigError(f"two sinks are called {name}: give each a name of its own, NAME=ADDRESS")
            found[name] = check_sink(address)
        return found

    @property
    def listens(self) -> PageAddress | None:
        """Where the page is; None if there is none.

        Raises:
            ConfigError: If it is no host and port, or open to other machines without a token.
        """
        return None if self.page is None else parse_page(self.page, self.token or os.environ.get("MNAD_TOKEN"))

    def all_streams(self) -> list[StreamSettings]:
        """Returns the streams, with what they leave out filled in.

        Raises:
            ConfigError: If there is none, two have one name, or an option does not fit.
        """
        named = [*self._given(), *self.streams.items()]
        if not named:
            raise ConfigError("there is nothing to watch: give --source NAME=ADDRESS")
        names = [name for name, _ in named]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"two streams are called {doubled}: give each a name of its own, NAME=ADDRESS")
        return [self.settings_of(name, options) for name, options in named]

    def settings_of(self, name: str, options: StreamOptions) -> StreamSettings:
        """Returns a stream with what it leaves out filled in.

        Raises:
            ConfigError: If an option does not fit.
        """
        run = options.run or self.run
        if run is None:
            raise ConfigError(f"the stream {name} has no model: name a run for all streams, or one for it")
        own = {each.name: getattr(options, each.name) for each in fields(EventOptions)}
        rule = {each: getattr(self, each) if value is None else value for each, value in own.items()}
        address = parse_address(str(options.address))
        chosen = options if (options.threshold, options.false_alarms_per_hour) != (None, None) else self
        if options.rate is not None and address.live:
            raise ConfigError(f"rate is of a file or a folder; {name} is live, and its frames come when they come")
        sinks = tuple(self.sinks if options.sinks is None else dict.fromkeys(options.sinks))
        if unknown := sorted(set(sinks) - set(self.sinks)):
            raise ConfigError(f"the stream {name} names the sink {unknown[0]}; there are {', '.join(self.sinks)}")
        return StreamSettings(
            name=check_name(name),
            address=address,
            run=run,
            threshold=chosen.threshold,
            false_alarms_per_hour=chosen.false_alarms_per_hour,
            rule=EventOptions(**rule),
            rate=options.rate,
            began=options.began,
            zones=options.zones,
            sinks=sinks,
        )

    def _given(self) -> Iterator[tuple[str, StreamOptions]]:
        for source in self.source:
            name, address = split_name(source)
            yield name, StreamOptions(address=address)


@dataclass(frozen=True)
class StreamSettings:
    """A stream that is watched.

    Attributes:
        name: What it is called.
        address: Where its frames come from.
        run: The run whose model watches it.
        threshold: A score in place of a calibrated threshold; None for a calibrated one.
        false_alarms_per_hour: Which of the calibrated thresholds; the first if None.
        rule: What makes events.
        rate: Frames a second of a source that does not say so.
        began: When a file's first frame was taken; None for when it is first watched.
        zones: Where alarms are not wanted, or where alone they are.
        sinks: The names of the sinks that are told of it.
    """

    name: str
    address: Address
    run: Path
    threshold: float | None
    false_alarms_per_hour: float | None
    rule: EventOptions
    rate: float | None
    began: float | None
    zones: tuple[Zone, ...]
    sinks: tuple[str, ...]

    def alarm_rule(self, calibration: Calibration) -> AlarmRule:
        """Returns when events begin and end, by a calibration where no threshold is given.

        Raises:
            ConfigError: If it was not calibrated for the rate of false alarms.
        """
        threshold = self.threshold
        if threshold is None:
            threshold = calibration.threshold_for(self.false_alarms_per_hour).threshold
        return self.rule.alarm_rule(threshold)
