"""Which number each frame of a video file has, whatever happened to others: None stands for one that is lost.

A number is a frame's place in the order in which frames are shown, all that the file ever held counted. The packets of
a file say when each frame is to be shown. What was to be shown and did not come is lost, and so is what would have
filled a hole in the times of a damaged file. Where times say nothing of the order, the decoder's is kept.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from mnad.data.packets import Packets, is_attached
from mnad.data.steps import HOLE, Steps

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# A damaged stream may give frames out of order, and times that say nothing of it show that within so many: H.264 and
# HEVC hold no more.
REORDERED = 16
# A codec some of whose packets are never shown.
HIDES_FRAMES = "vp8"
# A longer hole is no loss: the recording was stopped, or files were joined.
SECONDS_LOST = 10
# A file whose frames stop so many usual steps before its header says has lost some; without a constant rate, seconds.
STEPS_EARLY, LEAST_EARLY, SECONDS_EARLY = 4.5, 0.1, 0.5
# Reading has stopped too soon where such a share of a file and so many bytes are behind its last packet, but for
# containers with large indices there.
UNREAD, LEAST_UNREAD, WITH_INDEX = 0.1, 1 << 12, {"asf", "wtv"}


class Numbered:
    """Frames in the order in which they are shown, with None for each that is missing or damaged.

    Args:
        container: An open file.
        stream: Its video.
        declared: How many seconds of it there are by the header; None where it does not say.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, declared: Fraction | None) -> None:
        from av.format import Flags

        self.container, self.stream, self.declared = container, stream, declared
        self.unit = stream.time_base or Fraction(1)
        made_up = Flags.no_timestamps in Flags(container.format.flags)  # times of bare streams
        self.packets = Packets(stream.codec_context.name == HIDES_FRAMES, timed=not made_up)
        self.steps = Steps()
        if stream.average_rate:
            self.steps.count(round(1 / (stream.average_rate * self.unit)))
        self.holes: list[tuple[int, int]] = []
        self.queue: list[tuple[int, int, VideoFrame | None]] = []
        self.serial = 0
        self.latest = self.previous = self.went_back = -sys.maxsize
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
            if frame is not None and frame.is_corrupt:
                self.packets.damaged = self.packets.seen
            time = self._sorted_by(frame)
            heapq.heappush(self.queue, (time, self.serial, frame))
            if len(self.queue) > REORDERED:
                yield heapq.heappop(self.queue)[2]
        while self.queue:
            yield heapq.heappop(self.queue)[2]

    def _sorted_by(self, frame: VideoFrame | None) -> int:
        if frame is not None and frame.pts is not None and self.packets.timed:
            if frame.pts < self.latest and self._times_are_wrong(frame.pts):
                self.packets.timed = False
                self.queue = [(self.latest, serial, waiting) for _, serial, waiting in self.queue]
                heapq.heapify(self.queue)
            else:
                self.previous = frame.pts
                self.latest = max(self.latest, frame.pts)
                return frame.pts
        return self.latest

    def _times_are_wrong(self, time: int) -> bool:
        """Whether the decoder knows the order better than times that go back."""
        if len(self.packets.delays) == 1:  # all packets would be shown in the order in which they are decoded (AVI)
            return True
        if self.packets.damaged_or_gone:
            return False
        if not self.packets.clock.holes:
            return True
        # What is lost in a hole puts one frame out of order; wrong times do so in each group of frames.
        again = time < self.previous and self.serial - self.went_back <= REORDERED
        if time < self.previous:
            self.went_back = self.serial
        return again

    def _with_lost(self, frame: VideoFrame | None) -> Iterator[VideoFrame | None]:
        """Yields None for each frame that was lost before this one, and the frame."""
        if frame is None:
            if self.started:
                self.without_time += 1
                yield None
            return
        if frame.pts is None:
            self.without_time += 1
        else:
            unseen = self.packets.lost_before(frame, first=not self.started)
            yield from [None] * self._lost_before(frame.pts, unseen, whole=frame.key_frame)
            self.shown_at, self.without_time = frame.pts, 0
        self.started = True
        yield None if frame.is_corrupt else frame

    def _lost_before(self, time: int, unseen: int, *, whole: bool) -> int:
        """Counts what was lost before a time, and notes a hole that this does not explain.

        Args:
            time: Of the next frame that is shown.
            unseen: Packets that were to be shown before it and were not; others may be lost with their packets.
            whole: Whether the frame needs no other.
        """
        if not self.packets.timed:
            return unseen
        if self.shown_at is None:
            return self._lost_at_the_beginning(time, unseen)
        step = time - self.shown_at
        missing = self.steps.missing(step)
        damaged = unseen or self.packets.damage_is_near(at_whole_picture=whole)
        # Where the header counts the packets, an index keeps them, and none is lost or made up by damage.
        fits = self.steps.steady and step * self.unit <= SECONDS_LOST and self._is_declared(time)
        if damaged and fits and not self.stream.frames:
            return max(0, missing - self.without_time)
        if missing > unseen:
            self.holes.append((self.given, step))
        if not unseen:
            self.steps.count(step)
        return unseen

    def _lost_at_the_beginning(self, time: int, unseen: int) -> int:
        """Counts what was lost before the first frame: all since the first packet, if packets are lost there."""
        if self.packets.first is None or self.stream.frames:
            return unseen
        until_then = self.steps.missing(time - self.packets.first + self.steps.usual)
        return until_then if until_then > self.packets.before else unseen

    def _is_declared(self, time: int) -> bool:
        """Whether a time lies within what the header says."""
        since = (time - (self.stream.start_time or 0)) * self.unit
        return self.declared is None or self.packets.clock.joined or since <= self.declared

    def faults(self) -> Iterator[str]:
        """Yields the faults of the file as a whole, once all frames were read."""
        packets, claimed = self.packets, self.stream.frames
        holes = [(after, step) for after, step in self.holes if self.steps.missing(step)] if self.steps.steady else []
        if not packets.clock.joined:
            yield from self._early_end()
        if holes and packets.timed and claimed != packets.seen:
            after, step = holes[0]
            yield (
                f"has {len(holes)} hole(s) in its times, the first of {float(step * self.unit):.2f} s after frame "
                f"{after - 1}: if frames were lost there, the numbers of later ones are too low"
            )
        unseen = 0 if packets.hides else packets.seen - self.given
        if not packets.timed and (packets.errors or packets.damaged >= 0 or unseen > 0):
            yield (
                f"gave {self.given} frames of {packets.seen}, and has no times that say which are missing: the numbers "
                "of later ones may be wrong"
            )
        size = self.container.size
        index = bool(claimed) or self.container.format.name in WITH_INDEX
        if packets.read and not index and size - packets.read > max(UNREAD * size, LEAST_UNREAD):
            yield f"was read up to byte {packets.read:,} of {size:,}: what is behind it is damaged or another file"
        if others := sum(not is_attached(stream) for stream in self.container.streams.video) - 1:
            yield f"holds {others} more video(s), which are left out: the first is read"

    def _early_end(self) -> Iterator[str]:
        packets, usual = self.packets, float(self.steps.usual * self.unit)
        end = float(packets.end)
        if "matroska" in self.container.format.name:  # its header counts from 0, and not from the first frame
            end += float((self.stream.start_time or 0) * self.unit)
        early = float(self.declared or 0) - end
        if claimed := self._claimed():
            if claimed > packets.seen and (self.container.format.name == "avi" or not self.declared or early >= usual):
                yield (
                    f"ends early: {self.given} of {self.given + claimed - packets.seen} frames can be read; if some "
                    "are lost inside, the numbers of later ones are too low"
                )
            return
        if self.container.format.name == "asf" and not self.declared:  # FFmpeg then says no duration
            yield f"ends early: {self.given} frames can be read, and its size is not what its header says"
        longest = HOLE * float(self.steps.longest * self.unit)
        allowed = max(LEAST_EARLY, STEPS_EARLY * usual) if self.steps.steady else max(SECONDS_EARLY, longest)
        if packets.timed and early > allowed:
            yield (
                f"ends early: {self.given} frames can be read, which end {end:.1f} s after its beginning, not "
                f"{end + early:.1f} s as its header says"
            )

    def _claimed(self) -> int:
        """Returns the number of frames by the header; 0 where it does not say."""
        places, rate, steps = self.stream.frames, self.stream.average_rate, self.packets.clock.steps
        if not (places and rate and steps.usual and self.container.format.name == "avi"):
            return places
        # AVI counts places. Empty ones are where a recorder left frames out, and all that a finer clock needs.
        return round(places / (rate * steps.usual * self.unit)) - steps.all_missing
