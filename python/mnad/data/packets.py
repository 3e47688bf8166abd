"""What goes into a video decoder, so that it can be told what should have come out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mnad.data.steps import Steps

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# So many packets after damage what is missing may still be its work.
PACKETS_NEAR = 32


def demuxed(container: InputContainer) -> Iterator[Packet[Any]]:
    """Yields the packets of all streams as far as the container can be read."""
    import av

    with suppress(av.error.FFmpegError):  # it ends in the middle of something
        while True:
            try:
                yield from container.demux()
                return
            except IndexError:  # a damaged table has made a stream that PyAV does not know
                continue


def is_attached(stream: VideoStream) -> bool:
    """Returns whether a stream is a picture that is attached to something else, as a cover."""
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


@dataclass
class Clock:
    """Makes the times of packets go on where they begin again, as in files that were joined.

    Attributes:
        joined: Whether they do somewhere.
        last: The latest time at which a packet was to be decoded.
        top: The latest time at which one is to be shown.
        steps: From each such time to the next.
        holes: Whether there were some among them.
        shift: What is added to times.
    """

    joined: bool = False
    last: int | None = None
    top: int = -sys.maxsize
    steps: Steps = field(default_factory=Steps)
    holes: bool = False
    shift: int = 0

    def set(self, packet: Packet[VideoStream]) -> None:
        """Sets a packet's times by it."""
        if packet.dts is not None:
            step = 0 if self.last is None else packet.dts + self.shift - self.last
            if step < 0 and packet.is_keyframe and packet.pts is not None:
                self.joined = True
                self.shift = self.top + self.steps.usual - packet.pts
            elif step > 0:
                self.holes |= self.steps.missing(step) > 0
                self.steps.count(step)
            packet.dts += self.shift
            self.last = packet.dts if self.last is None else max(self.last, packet.dts)
        if packet.pts is not None:
            packet.pts += self.shift
            self.top = max(self.top, packet.pts)


@dataclass
class Packets:
    """What goes into a decoder, so that it can be told what should have come out.

    Attributes:
        hides: Whether there may be packets of which no frame is to come.
        waiting: Times of packets whose frame has not come.
        begins: The time of the first packet that should have given a frame: those before may belong to what a cut
            left out.
        before: The number of packets that were to be shown before the first frame.
        seen: The number of packets.
        first: The time of the first packet.
        errors: Packets that could not be decoded, less those that were told as missing.
        timed: Whether frames come with the times of their packets, and these say when they are shown.
        delays: How long after a packet its frame is shown, of the first packets that differ in it.
        damaged: The packet after which damage to a frame was last seen.
        gone: The last packet of which the container says that something before it is lost.
        end: When the last packet's frame ends, in seconds.
        read: The byte of the file up to which packets were read.
        clock: Makes their times go on where they begin again.
    """

    hides: bool
    waiting: set[int] = field(default_factory=set)
    first: int | None = None
    begins: int | None = None
    before: int = 0
    seen: int = 0
    errors: int = 0
    timed: bool = True
    delays: set[int] = field(default_factory=set)
    damaged: int = -sys.maxsize
    gone: int = -sys.maxsize
    end: Fraction = Fraction(0)
    read: int = 0
    clock: Clock = field(default_factory=Clock)

    def decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | None]:
        """Yields the decoder's frames; None where it fails at a packet whose time says nothing."""
        import av

        flushed = False
        for packet in demuxed(container):
            if packet.pos is not None:
                self.read = max(self.read, packet.pos + packet.size)
            if packet.stream.index != stream.index:
                continue
            self._note(packet, stream)
            flushed = not packet.size
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self.errors += 1
                self.damaged = self.seen
                if self.begins is None:
                    self.begins = min(self.waiting, default=None)
                if packet.size and (packet.pts is None or not self.timed):
                    yield None
        if not flushed:
            with suppress(av.error.FFmpegError):
                yield from stream.decode(None)

    def _note(self, packet: Packet[VideoStream], stream: VideoStream) -> None:
        if not packet.size:
            return
        self.seen += 1
        if packet.is_corrupt:
            self.gone = self.seen
        self.clock.set(packet)
        if packet.pts is None:
            return
        if self.first is None:
            self.first = packet.pts
        if packet.dts is not None and len(self.delays) < 2:
            self.delays.add(packet.pts - packet.dts)
        if packet.time_base:
            self.end = max(
                self.end, (packet.pts + (packet.duration or 0) - (stream.start_time or 0)) * packet.time_base
            )
        if not packet.is_discard:
            self.waiting.add(packet.pts)
        if packet.is_keyframe and self.begins is None:
            self.begins = packet.pts

    def lost_before(self, frame: VideoFrame, *, first: bool) -> int:
        """Counts the packets that were to be shown before a frame and were not."""
        assert frame.pts is not None
        if frame.pts not in self.waiting:
            self.timed = False
        early = {pts for pts in self.waiting if pts <= frame.pts}
        self.waiting -= early
        if first:
            self.before = len(early - {frame.pts})
            early = set() if self.begins is None else {pts for pts in early if pts >= self.begins}
        return self._lost(len(early - {frame.pts}), self.hides or frame.interlaced_frame)

    def lost_at_end(self) -> int:
        """Counts the packets that were to be shown after the last frame."""
        return self._lost(len(self.waiting), self.hides)

    @property
    def damaged_or_gone(self) -> bool:
        """Whether a packet was damaged, or the container said that one is lost."""
        return max(self.damaged, self.gone) >= 0

    def damage_is_near(self, *, at_whole_picture: bool) -> bool:
        """Whether something was damaged or lost shortly before the last packet.

        Where the next frame needs no other, what the container says may be of two whole recordings that were joined.
        """
        last = self.damaged if at_whole_picture else max(self.damaged, self.gone)
        return self.seen - last <= PACKETS_NEAR

    def _lost(self, unseen: int, may_be_hidden: bool) -> int:
        if not self.timed:
            return 0
        lost = min(unseen, self.errors) if may_be_hidden else unseen
        self.errors = max(0, self.errors - lost)
        return lost
