"""Which number each frame of a video file has, whatever happened to others: None stands for one that is lost.

A number is a frame's place in the order in which frames are shown, all that the file ever held counted. The packets of
a file say when each frame is to be shown. What was to be shown and did not come is lost, and so is what would have
filled a hole in the times of a damaged file. Where times say nothing of the order, the decoder's is kept.
"""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# After a damaged packet a decoder may give the next frames out of order.
REORDERED = 4
# Some packets of it are never shown.
HIDES_FRAMES = "vp8"
# So many frames after damage a hole in the times may still be its work.
FRAMES_NEAR = 32
# A longer hole is none of it: the recording was stopped, or files were joined.
SECONDS_LOST = 10
# A rate is constant where so large a part of the steps differs by less than so much from the usual one.
STEADY, JITTER = 0.9, 0.1
# What is so many times as long as the usual step is a hole.
HOLE = 1.5
# A file whose frames stop so much before its header says has lost some.
SECONDS_EARLY = 0.5


@dataclass
class Clock:
    """Makes the times of packets go on where they begin again, as in files that were joined.

    Attributes:
        joined: Whether they do somewhere.
        last: When the last packet was to be decoded.
        step: How long before that the one before was.
        shift: What is added to times.
    """

    joined: bool = False
    last: int | None = None
    step: int = 1
    shift: int = 0

    def set(self, packet: Packet[VideoStream]) -> None:
        """Sets a packet's times by it."""
        if packet.dts is None:
            return
        if self.last is not None:
            step = packet.dts + self.shift - self.last
            if step < 0:
                self.joined = True
                self.shift += self.step - step
            elif step:
                self.step = step
        packet.dts += self.shift
        if packet.pts is not None:
            packet.pts += self.shift
        self.last = packet.dts


@dataclass
class Packets:
    """What goes into a decoder, so that it can be told what should have come out.

    Attributes:
        hides: Whether there may be packets of which no frame is to come.
        waiting: Times of packets whose frame has not come.
        begins: The time of the first packet that should have given a frame: those before may belong to what a cut
            left out.
        seen: The number of packets.
        errors: Packets that could not be decoded, less those that were told as missing.
        timed: Whether frames come with the times of their packets, and these say when they are shown.
        delays: How long after a packet its frame is shown, of the first packets that differ in it.
        damaged: The packet after which damage was last seen.
        end: When the last packet's frame ends, in seconds.
        clock: Whose times are those of frames.
    """

    hides: bool
    waiting: set[int] = field(default_factory=set)
    begins: int | None = None
    seen: int = 0
    errors: int = 0
    timed: bool = True
    delays: set[int] = field(default_factory=set)
    damaged: int | None = None
    end: Fraction = Fraction(0)
    clock: Clock = field(default_factory=Clock)

    def decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | None]:
        """Gives what the decoder gives; None where it fails at a packet whose time says nothing."""
        import av

        try:
            for packet in container.demux(stream):
                self._note(packet, stream)
                try:
                    yield from packet.decode()
                except av.error.FFmpegError:
                    self.errors += 1
                    self.damaged = self.seen
                    if self.begins is None:
                        self.begins = min(self.waiting, default=None)
                    if packet.size and (packet.pts is None or not self.timed):
                        yield None
        except av.error.FFmpegError:  # the container ends in the middle of something
            with suppress(av.error.FFmpegError):
                yield from stream.decode(None)

    def _note(self, packet: Packet[VideoStream], stream: VideoStream) -> None:
        if not packet.size:
            return
        self.seen += 1
        if packet.is_corrupt:
            self.damaged = self.seen
        self.clock.set(packet)
        if packet.pts is None:
            return
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
            early = set() if self.begins is None else {pts for pts in early if pts >= self.begins}
        return self._lost(len(early - {frame.pts}), self.hides or frame.interlaced_frame)

    def lost_at_end(self) -> int:
        """Counts the packets that were to be shown after the last frame."""
        return self._lost(len(self.waiting), self.hides)

    def damage_is_near(self) -> bool:
        """Whether something was damaged shortly before the last packet."""
        return self.damaged is not None and self.seen - self.damaged <= FRAMES_NEAR

    def _lost(self, unseen: int, may_be_hidden: bool) -> int:
        if not self.timed:
            return 0
        lost = min(unseen, self.errors) if may_be_hidden else unseen
        self.errors = max(0, self.errors - lost)
        return lost


class Steps:
    """The times between frames, in units of the stream's time: whether they come at a constant rate."""

    def __init__(self, stream: VideoStream) -> None:
        self.times: Counter[int] = Counter()
        if stream.average_rate and stream.time_base:
            self.times[round(1 / (stream.average_rate * stream.time_base))] = 1

    @property
    def usual(self) -> int:
        """The most frequent one; 0 where none is known."""
        return self.times.most_common(1)[0][0] if self.times else 0

    @property
    def steady(self) -> bool:
        """Whether almost all are about as long."""
        usual = self.usual
        near = sum(times for other, times in self.times.items() if abs(other - usual) <= max(1, JITTER * usual))
        return near >= STEADY * self.times.total()

    def missing(self, step: int) -> int:
        """Counts the frames that would fit into one; 0 where it is no hole."""
        usual = self.usual
        return round(step / usual) - 1 if usual and step >= HOLE * usual else 0


class Numbered:
    """Frames in the order in which they are shown, with None for each that is missing or damaged.

    Args:
        container: An open file.
        stream: Its video.
        declared: How many seconds of it there are by the header; None where it does not say.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, declared: Fraction | None) -> None:
        self.container, self.stream, self.declared = container, stream, declared
        self.unit = stream.time_base or Fraction(1)
        self.packets = Packets(stream.codec_context.name == HIDES_FRAMES)
        self.steps = Steps(stream)
        self.holes: list[tuple[int, int]] = []
        self.queue: list[tuple[int, int, VideoFrame | None]] = []
        self.serial = 0
        self.latest = -sys.maxsize
        self.given = 0
        self.started = False
        self.shown_at: int | None = None
        self.without_time = 0  # frames since then

    def __iter__(self) -> Iterator[VideoFrame | None]:
        for frame in self._in_order():
            for known in self._with_lost(frame):
                self.given += 1
                yield known
        if self.started:
            for _ in range(self.packets.lost_at_end()):
                self.given += 1
                yield None

    def _in_order(self) -> Iterator[VideoFrame | None]:
        """Sorts frames by their times as far as these can be trusted."""
        for frame in self.packets.decoded(self.container, self.stream):
            self.serial += 1
            time = self._sorted_by(frame)
            heapq.heappush(self.queue, (time, self.serial, frame))
            if len(self.queue) > REORDERED:
                yield heapq.heappop(self.queue)[2]
        while self.queue:
            yield heapq.heappop(self.queue)[2]

    def _sorted_by(self, frame: VideoFrame | None) -> int:
        if frame is not None and frame.pts is not None and self.packets.timed:
            if frame.pts < self.latest and len(self.packets.delays) == 1:
                # All packets would be shown in the order in which they are decoded (AVI): the decoder knows better.
                self.packets.timed = False
                self.queue = [(self.latest, serial, waiting) for _, serial, waiting in self.queue]
                heapq.heapify(self.queue)
            else:
                self.latest = max(self.latest, frame.pts)
                return frame.pts
        return self.latest

    def _with_lost(self, frame: VideoFrame | None) -> Iterator[VideoFrame | None]:
        """Gives what was lost before a frame, and the frame."""
        if frame is None:
            if self.started:
                self.without_time += 1
                yield None
            return
        if frame.is_corrupt:
            self.packets.damaged = self.packets.seen
        if frame.pts is None:
            self.without_time += 1
        else:
            yield from [None] * self._lost_before(frame.pts, self.packets.lost_before(frame, first=not self.started))
            self.shown_at, self.without_time = frame.pts, 0
        self.started = True
        yield None if frame.is_corrupt else frame

    def _lost_before(self, time: int, unseen: int) -> int:
        """Counts what was lost before a time, and notes a hole that this does not explain.

        Args:
            time: Of the next frame that is shown.
            unseen: Packets that were to be shown before it and were not; others may be lost with their packets.
        """
        if self.shown_at is None or not self.packets.timed:
            return unseen
        step = time - self.shown_at
        missing = self.steps.missing(step)
        damaged = unseen or self.packets.damage_is_near()
        # Where the header counts the packets, an index keeps them, and none is lost or made up by damage.
        if damaged and self.steps.steady and step * self.unit <= SECONDS_LOST and not self.stream.frames:
            return max(0, missing - self.without_time)
        if missing > unseen:
            self.holes.append((self.given, step))
        if not unseen:
            self.steps.times[step] += 1
        return unseen

    def faults(self) -> Iterator[str]:
        """Says what is wrong with the file as a whole, once all frames were read."""
        packets, claimed = self.packets, self.stream.frames
        early = (self.declared or packets.end) - packets.end
        if not packets.clock.joined:
            if claimed > packets.seen and (not self.declared or early >= self.steps.usual * self.unit):
                total = self.given + claimed - packets.seen
                yield (
                    f"ends early: {self.given} of {total} frames can be read; if some are lost inside, the numbers of later "
                    "ones are too low"
                )
            elif not claimed and packets.timed and early > SECONDS_EARLY:
                yield (
                    f"ends early: {self.given} frames can be read, which end {float(packets.end):.1f} s after its "
                    f"beginning, not {float(packets.end + early):.1f} s as its header says"
                )
        if self.holes and self.steps.steady and claimed != packets.seen:
            after, step = self.holes[0]
            yield (
                f"has {len(self.holes)} hole(s) in its times, the first of {float(step * self.unit):.2f} s "
                f"after frame {after - 1}: if frames were lost there, the numbers of later ones are too low"
            )
        if not packets.timed and (packets.errors or (packets.seen > self.given and not packets.hides)):
            yield (
                f"gave {self.given} frames of {packets.seen}, and has no times that say which are missing: the numbers "
                "of later ones may be wrong"
            )
