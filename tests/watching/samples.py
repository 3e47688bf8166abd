"""Sources as cameras give them: video files made of the synthetic data set, and servers on the loopback address."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from mnad.watching.history import History
from numpy.typing import NDArray

Frames = Sequence[NDArray[np.uint8]]
FPS = 25


def frames_of(folder: Path, size: int = 64) -> list[NDArray[np.uint8]]:
    """The frames of a video as OpenCV reads them, BGR, larger than they are, as H.264 wants it."""
    found = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    return [np.asarray(cv2.resize(frame, (size, size)), np.uint8) for frame in found if frame is not None]


def all_test_frames(synthetic: Path) -> list[NDArray[np.uint8]]:
    """All frames of the test videos, one video after the other."""
    folders = sorted((synthetic / "testing" / "frames").iterdir())
    return [frame for folder in folders for frame in frames_of(folder)]


def write_video(path: Path, frames: Frames, fps: float = FPS, times: Sequence[float] | None = None) -> Path:
    """Writes H.264, every frame decodable by itself, at a rate or at given times in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"g": "5"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, frame in enumerate(frames):
            coded = av.VideoFrame.from_ndarray(frame, format="bgr24")
            coded.pts = round(1000 * (index / fps if times is None else times[index]))
            coded.time_base = Fraction(1, 1000)
            container.mux(stream.encode(coded))
        container.mux(stream.encode(None))
    return path


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Waits until something is true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Watching:
    """``mnad watch`` in a process of its own."""

    def __init__(
        self, out: Path, *arguments: object, environment: dict[str, str] | None = None, said_in: Path | None = None
    ) -> None:
        self.out, self._said_in = out, said_in or out
        self._said_in.mkdir(parents=True, exist_ok=True)
        self._lines = (self._said_in / "stdout").open("ab")
        self._errors = (self._said_in / "stderr").open("ab")
        command = [sys.executable, "-m", "mnad.cli", "watch", *map(str, arguments), "--out", str(out)]
        self.process = subprocess.Popen(
            [*command, "--accelerator", "cpu"],
            stdout=self._lines,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )

    def wait(self, seconds: float = 60.0) -> int:
        """Waits until it ends by itself."""
        return self.process.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal."""
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def said(self) -> str:
        """What it said to people."""
        return (self._said_in / "stderr").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of JSON that it printed."""
        return [json.loads(line) for line in (self._said_in / "stdout").read_text().splitlines()]

    @property
    def told(self) -> list[dict[str, Any]]:
        """Those of them that are of events."""
        return [line for line in self.lines if line["kind"] != "health"]

    def events(self) -> list[dict[str, Any]]:
        """The events in its history, in order."""
        return events_in(self.out)


def events_in(out: Path) -> list[dict[str, Any]]:
    """The events in a history, in order."""
    if not (out / "history.sqlite").is_file():
        return []
    with History(out / "history.sqlite") as history:
        return history.events(10_000)[::-1]


def children_of(process: int) -> list[int]:
    """The processes that a process has started and that are there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            status = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[1]) == process and status[0] != "Z":
            found.append(int(path.parent.name))
    return found


def keys_of(events: list[dict[str, Any]]) -> list[str]:
    """All that there is to tell of some events."""
    return sorted(f"{event['id']} {kind}" for event in events for kind in ("began", "ended"))


@contextmanager
def watching(out: Path, *arguments: object, **options: Any) -> Iterator[Watching]:
    """Runs ``mnad watch`` within the block."""
    running = Watching(out, *arguments, **options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
