"""Video files, decoded by FFmpeg through PyAV: each frame under its own number, whatever happened to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnad.data.downloads import is_here, local_copy
from mnad.data.frames import with_channels
from mnad.data.levels import Levels, as_bytes
from mnad.data.numbering import Numbered
from mnad.data.packets import demuxed, is_attached
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, Version

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


MOST_A_SECOND = 1000


@dataclass(frozen=True)
class VideoFile:
    """A video file. Its header's frame count is not trusted: what comes out of it counts.

    Attributes:
        path: The file, or its address; then it is downloaded whole before anything is read of it.
        version: Of a file at an address, the content that is meant: another one is an error.
    """

    path: Place
    version: Version | None = None

    @property
    def files(self) -> tuple[Place, ...]:
        """The one file."""
        return (self.path,)

    def count(self) -> None:
        """Nothing: only decoding tells."""
        return

    def expected(self) -> int:
        """The number of frames by the header, 0 where it does not say; nothing is downloaded for it."""
        if not is_here(self.path, self.version):
            return 0
        with self.opened() as (container, stream):
            if stream.frames:
                return stream.frames
            return max(0, round((declared_end(container, stream) or 0) * (_rate(stream) or 0)))

    def rate(self) -> float | None:
        """Frames a second, on average; None where the file does not say."""
        with self.opened() as (_, stream):
            rate = _rate(stream)
            return float(rate) if rate else None

    def read(
        self, channels: int, levels: Levels | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[NDArray[np.uint8] | None]:
        """Decodes one frame after the other; see :class:`mnad.data.sources.FrameSource`."""
        converter = Converter(channels)
        for frame in self.decoded(tell):
            yield None if frame is None else as_bytes(converter.pixels(frame), levels, self.path)

    def sample(self, channels: int, most: int) -> Iterator[NDArray[Any]]:
        """Decodes frames at evenly spaced times, or the first ones; see :class:`mnad.data.sources.FrameSource`."""
        converter = Converter(channels)
        found = False
        for frame in self._spread(most):
            found = True
            yield converter.pixels(frame)
        if not found:
            with self.opened() as (container, stream):
                yield from (converter.pixels(frame) for frame in islice(_readable(container, stream), most))

    def _spread(self, most: int) -> Iterator[VideoFrame]:
        """Yields the frame after each of some times, where the file says how long it is and can be searched."""
        import av

        with self.opened() as (container, stream):
            duration = declared_end(container, stream)
            if not duration or not stream.time_base:
                return
            for index in range(most):
                with suppress(av.error.FFmpegError):
                    container.seek(
                        int((stream.start_time or 0) + duration / stream.time_base * index / most), stream=stream
                    )
                    yield from islice(_readable(container, stream), 1)

    def decoded(self, tell: Callable[[str], None] | None = None) -> Iterator[VideoFrame | None]:
        """Decodes one frame after the other, as :meth:`read`, and leaves them as FFmpeg has them."""
        with self.opened() as (container, stream):
            stream.thread_type = "AUTO"
            numbered = Numbered(container, stream, declared_end(container, stream))
            yield from numbered
            for fault in numbered.faults():
                if tell is not None:
                    tell(f"{fault} ({self.path})")

    @contextmanager
    def opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Opens the file and the first stream of it that is no picture attached to something else."""
        with local_copy(self.path, self.version) as file, self._opened(file) as container:
            moving = [stream for stream in container.streams.video if not is_attached(stream)]
            if not moving:
                raise DataError(f"{self.path} holds no video: {_contents(container)}")
            if moving[0].codec_context is None:
                raise DataError(f"{self.path} holds video in a codec that FFmpeg does not know; convert it to H.264")
            yield container, moving[0]

    def _opened(self, file: Path) -> InputContainer:
        import av

        try:
            return av.open(f"file:{file}", metadata_errors="replace", container_options={"protocol_whitelist": "file"})
        except FileNotFoundError:
            raise DataError(f"the file {self.path} does not exist") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{self.path} is not a video that FFmpeg can read: {_words(error)}") from error


class Converter:
    """Makes arrays of frames, by one scaling context for all: to set one up takes longer than to use it."""

    def __init__(self, channels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.channels = channels
        self.reformatter = VideoReformatter()

    def pixels(self, frame: VideoFrame) -> NDArray[Any]:
        """Returns (H, W, channels) pixels, upright: bytes, or uint16 of a grey camera that has more than 8 bits."""
        components = frame.format.components
        deep_grey = len(components) == 1 and components[0].bits > 8
        pixels = with_channels(self._as(frame, "gray16le" if deep_grey else "bgr24"), self.channels)
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _as(self, frame: VideoFrame, pixel_format: str) -> NDArray[Any]:
        array: NDArray[Any] = self.reformatter.reformat(frame, format=pixel_format, threads=1).to_ndarray()
        return array


def _readable(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    import av

    for packet in demuxed(container):
        if packet.stream.index == stream.index:
            with suppress(av.error.FFmpegError):
                yield from (frame for frame in packet.decode() if not frame.is_corrupt)


def declared_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Returns the length of the stream by its header, in seconds; None where it names none."""
    import av

    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska, as FFmpeg writes it
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        pass
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


def _rate(stream: VideoStream) -> Fraction | None:
    """Returns frames a second, unless they are a clock's, as raw DV has it."""
    return next((rate for rate in (stream.average_rate, stream.guessed_rate) if rate and rate <= MOST_A_SECOND), None)


def _contents(container: InputContainer) -> str:
    kinds = [stream.type if stream.type != "video" else "a picture" for stream in container.streams]
    return ", ".join(dict.fromkeys(kinds)) or "nothing at all"


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
