"""Clips and pictures of events, written beside the watching: no disk and no codec holds it up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from mnad.report.layers import SCORE_SCALE, ColourRange, blend, on_scale, share_of_scale
from mnad.runtime.files import atomic_write

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

# A browser plays these at once, and what was written of one plays even if its process was killed.
FORMAT, FLAGS = "mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
CODEC, CODEC_OPTIONS = "libx264", {"preset": "veryfast", "crf": "24", "g": "20"}
TIME_BASE = Fraction(1, 1000)
MOST_WAITING = 2000  # frames; more are left out of clips, and counted
ERROR_SCALE = ColourRange(0.0, 0.2)  # of root mean squared errors

Kind = Literal["clip", "picture"]


@dataclass(frozen=True)
class ClipFrame:
    """A frame of a clip.

    Attributes:
        time: When it was taken, in seconds.
        picture: JPEG.
    """

    time: float
    picture: bytes


@dataclass(frozen=True)
class Heat:
    """Where a score comes from.

    Attributes:
        values: (G, G), a score for each place, or a squared error.
        of_score: Whether it is a score.
    """

    values: NDArray[np.float32]
    of_score: bool

    def on(self, picture: bytes) -> bytes:
        """Returns a JPEG with the heatmap laid over it."""
        frame = _decoded(picture)
        grey = share_of_scale(self.values, SCORE_SCALE) if self.of_score else on_scale(self.values, ERROR_SCALE)
        large = cv2.resize(grey, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_CUBIC)
        return bytes(cv2.imencode(".jpg", blend(frame, np.asarray(large, np.uint8)))[1])


class Clip:
    """A clip that is being written.

    Args:
        path: The file; it has another name until it is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, partial_of(path)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._first = self._last = 0
        self.frames = 0

    def add(self, frame: ClipFrame) -> None:
        """Adds a frame; one of another size is brought to that of the first."""
        import av

        pixels = _decoded(frame.picture)
        if self._container is None:
            self._open(pixels)
            self._first = round(frame.time * 1000)
        assert self._container is not None
        assert self._stream is not None
        coded = av.VideoFrame.from_ndarray(_fitted(pixels, self._stream.width, self._stream.height), format="bgr24")
        since = round(frame.time * 1000) - self._first
        self._last = max(since, self._last + 1 if self.frames else 0)
        coded.pts, coded.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(coded))
        self.frames += 1

    def _open(self, pixels: NDArray[np.uint8]) -> None:
        import av

        self.partial.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self.partial), "w", format=FORMAT, options=FLAGS)
        stream = self._container.add_stream(CODEC, options=CODEC_OPTIONS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = pixels.shape[1] // 2 * 2, pixels.shape[0] // 2 * 2
        stream.pix_fmt, stream.time_base = "yuv420p", TIME_BASE
        stream.codec_context.time_base = TIME_BASE
        stream.thread_count = 1
        self._stream = stream

    def finish(self) -> bool:
        """Writes the file; returns whether there is one."""
        if self._container is None or self._stream is None:
            return False
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self.partial.replace(self.path)
        return True

    def give_up(self) -> None:
        """Leaves what cannot be written."""
        with suppress(Exception):
            if self._container is not None:
                self._container.close()
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)


class Recorder:
    """A thread that writes clips and pictures in order.

    Args:
        folder: Where they go.
        done: Called, in that thread, with the event, the kind, and the file's name, when a file is written.
        failed: Called likewise with the event, the kind, and why it cannot be written.
    """

    def __init__(
        self, folder: Path, done: Callable[[str, Kind, str], None], failed: Callable[[str, Kind, str], None]
    ) -> None:
        self.folder, self.done, self.failed = folder, done, failed
        self.left_out = 0
        self._clips: dict[str, Clip | None] = {}  # None for one that could not be written
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def add(self, event_id: str, frames: Iterable[ClipFrame]) -> None:
        """Adds frames to the clip of an event, which they begin if there is none."""
        chosen = tuple(frames)
        if self._work.qsize() > MOST_WAITING:
            self.left_out += len(chosen)
            return
        self._work.put(lambda: self._add(event_id, chosen))

    def finish(self, event_id: str) -> None:
        """Ends the clip of an event."""
        self._work.put(lambda: self._finish(event_id))

    def draw(self, event_id: str, picture: bytes, heat: Heat | None) -> None:
        """Writes the picture of an event, in place of an earlier one."""
        self._work.put(lambda: self._draw(event_id, picture, heat))

    def wait(self) -> None:
        """Waits until all is written that was asked for, and ends all clips."""
        self._work.put(self._finish_all)
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _add(self, event_id: str, frames: tuple[ClipFrame, ...]) -> None:
        clip = self._clips.setdefault(event_id, Clip(self.folder / f"{event_id}.mp4"))
        if clip is None:
            return
        try:
            for frame in frames:
                clip.add(frame)
        except Exception as error:  # of a full disk, of a codec
            self._give_up(event_id, clip, error)

    def _finish(self, event_id: str) -> None:
        clip = self._clips.pop(event_id, None)
        if clip is None:
            return
        try:
            if clip.finish():
                self.done(event_id, "clip", clip.path.name)
        except Exception as error:
            self._give_up(event_id, clip, error)
            del self._clips[event_id]

    def _give_up(self, event_id: str, clip: Clip, error: Exception) -> None:
        clip.give_up()
        self._clips[event_id] = None
        self.failed(event_id, "clip", _words(error))

    def _finish_all(self) -> None:
        for event_id in list(self._clips):
            self._finish(event_id)

    def _draw(self, event_id: str, picture: bytes, heat: Heat | None) -> None:
        path = self.folder / f"{event_id}.jpg"
        try:
            drawn = picture if heat is None else heat.on(picture)
            with atomic_write(path) as temporary:
                temporary.write_bytes(drawn)
        except Exception as error:
            self.failed(event_id, "picture", _words(error))
        else:
            self.done(event_id, "picture", path.name)


def partial_of(path: Path) -> Path:
    """Returns the name of a clip that is not whole yet."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


def _decoded(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _fitted(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if abs(pixels.shape[1] - width) <= 1 and abs(pixels.shape[0] - height) <= 1:
        return np.ascontiguousarray(pixels[:height, :width])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
