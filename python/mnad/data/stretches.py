"""A part of a video file, found without decoding all that comes before it.

A frame's number is the place of its packet's time among those of all packets, where nothing speaks against it: every
packet has a time of its own, evenly after the one before, none is damaged or hidden, the file ends where its header
says, and every frame of the part comes out whole. Any other file can only be read from its beginning, which tells more
of what is lost: it is refused in parts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.data.levels import Levels, as_bytes
from mnad.data.numbering import HIDES_FRAMES
from mnad.data.packets import demuxed
from mnad.data.video import Converter, VideoFile, declared_end
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


class NotInPartsError(DataError):
    """A video can only be read as a whole."""


@dataclass(frozen=True)
class VideoStretch:
    """Frames in a row of a video file, as a source of frames; see :class:`mnad.data.sources.FrameSource`.

    Attributes:
        whole: The file.
        first: The number of the first frame.
        last: The number behind the last one; None for all up to the end.
    """

    whole: VideoFile
    first: int
    last: int | None

    @property
    def files(self) -> tuple[Place, ...]:
        """The one file."""
        return self.whole.files

    def count(self) -> None:
        """Nothing: only decoding tells."""
        return

    def expected(self) -> int:
        """The number of frames by the header."""
        end = self.whole.expected()
        return max(0, (end if self.last is None else min(self.last, end)) - self.first)

    def rate(self) -> float | None:
        """Frames a second; see :meth:`mnad.data.video.VideoFile.rate`."""
        return self.whole.rate()

    def sample(self, channels: int, most: int) -> Iterator[NDArray[Any]]:
        """Decodes some frames of the whole file."""
        return self.whole.sample(channels, most)

    def read(
        self, channels: int, levels: Levels | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Decodes one frame after the other; see :class:`mnad.data.sources.FrameSource`.

        Raises:
            NotInPartsError: If the file can only be read as a whole, or ends before this part.
        """
        import av

        with self.whole.opened() as (container, stream):
            index = _index(container, stream)
        if index is None or not (wanted := index.times[self.first : self.last]):
            raise self._refused()
        converter, given = Converter(channels), 0
        with self.whole.opened() as (container, stream), suppress(av.error.FFmpegError):
            stream.thread_type = "AUTO"
            container.seek(index.start_for(wanted[0]), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None or frame.is_corrupt or frame.interlaced_frame or frame.pts > wanted[given]:
                    break
                if frame.pts == wanted[given]:
                    yield as_bytes(converter.pixels(frame), levels, self.whole.path)
                    given += 1
                    if given == len(wanted):
                        return
        raise self._refused()

    def _refused(self) -> NotInPartsError:
        return NotInPartsError(f"the frames of {self.whole.path} from {self.first} on can only be read with all others")


class _Index(NamedTuple):
    """The times of all packets in the order in which they are shown, and those of the keyframes."""

    times: list[int]
    keys: list[int]

    def start_for(self, time: int) -> int:
        """Returns the time of the keyframe before the last one that is not after a time."""
        return self.keys[max(0, bisect_right(self.keys, time) - 2)]


def _index(container: InputContainer, stream: VideoStream) -> _Index | None:
    """Returns the times of a file of which nothing speaks against numbering frames by them."""
    if stream.codec_context.name == HIDES_FRAMES:
        return None
    packets = [packet for packet in demuxed(container) if packet.stream.index == stream.index and packet.size]
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    decoded = [packet.dts for packet in packets if packet.dts is not None]
    keys = [packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None]
    if len(times) < 2 or len(times) < len(packets) or not keys or keys[0] != times[0]:
        return None
    if any(packet.is_corrupt or packet.is_discard for packet in packets):
        return None
    steps = [after - before for before, after in pairwise(times)]
    even = min(steps) > 0 and max(steps) - min(steps) <= 1
    in_order = all(before < after for before, after in pairwise(decoded))
    return _Index(times, keys) if even and in_order and _is_whole(container, stream, times) else None


def _is_whole(container: InputContainer, stream: VideoStream, times: Sequence[int]) -> bool:
    """Returns whether a file has as many frames as its header says, or lasts as long."""
    if stream.frames:
        return stream.frames == len(times)
    declared, unit = declared_end(container, stream), stream.time_base
    if declared is None or unit is None:
        return False
    end = (2 * times[-1] - times[-2] - (stream.start_time or 0)) * unit
    return abs(declared - end) <= 2 * (times[1] - times[0]) * unit
