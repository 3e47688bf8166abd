"""The frames of a source, one after the other, as they are: of cameras, files, and folders that are written to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from mnad.data.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, hidden, natural_key
from mnad.data.images import read_pixels
from mnad.data.packets import is_attached
from mnad.data.video import VideoFile
from mnad.runtime.errors import DataError
from mnad.watching.messages import Order, Position

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Tell = Callable[[str], None]
SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
# Streams whose time stamps FFmpeg makes up.
UNTIMED = {"mpjpeg", "mjpeg", "image2pipe", "jpeg_pipe", "png_pipe"}
OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtsps,rtp,srtp,tcp,udp,tls"},
    "http": {"protocol_whitelist": "http,https,tcp,tls,crypto,hls"},
    "device": {},
}
# A folder is looked into so often, and a file is whole once nothing was written to it for so long, in seconds.
LOOK_EVERY, WHOLE_AFTER = 0.2, 1.0
# Pictures of a folder whose files were written so many seconds apart do not follow on each other.
APART = 10.0
# What comes later or earlier than its time stamp by so many seconds is played from then on.
FAR_OFF = 5.0
# A live stream is played faster by this share, so that it is caught up with.
FASTER = 0.01


class Shot(NamedTuple):
    """A frame of a source.

    Attributes:
        position: Its place in the source.
        stamp: Its time stamp in seconds; None without one.
        wall: When it was taken, by the wall clock; None for now.
        image: As FFmpeg or OpenCV has decoded it; None for one that cannot be read.
        known: Whether it was watched already, by a process that this one goes on for.
    """

    position: Position
    stamp: float | None
    wall: float | None
    image: VideoFrame | NDArray[Any] | None
    known: bool = False


class Playback:
    """Plays frames at the speed of their time stamps.

    Args:
        faster: The share by which they are played faster; nothing piles up then where a camera's clock is fast.
    """

    def __init__(self, faster: float = 0.0) -> None:
        self.faster = faster
        self._began: float | None = None

    def wait(self, stamp: float) -> None:
        """Sleeps until a frame is to be shown; one that is far off, or caught up with, begins anew."""
        now = time.monotonic()
        early = 0.0 if self._began is None else self._began + stamp - now
        if self._began is None or abs(early) > FAR_OFF or (self.faster > 0 and early < 0):
            self._began, early = now - stamp, 0.0
        pause = max(0.0, early) * (1 - self.faster)
        self._began -= pause * self.faster
        time.sleep(pause)


def shots_of_file(order: Order, tell: Tell) -> Iterator[Shot]:
    """Yields every frame of a video file under its number.

    Args:
        order: What is wanted.
        tell: Called with what is found wrong with the file as a whole.

    Raises:
        DataError: If it cannot be read.
    """
    playback = Playback() if order.realtime else None
    file = VideoFile(Path(order.address.text))
    last = order.after if isinstance(order.after, int) else -1
    for number, (stamp, frame) in enumerate(_timed(file, order, tell)):
        if playback and number > last:
            playback.wait(stamp)
        yield Shot(number, stamp, order.began + stamp, frame, number <= last)


def shots_of_folder(order: Order, tell: Tell, alive: Callable[[], None]) -> Iterator[Shot]:
    """Yields the pictures of a folder, and the frames of its video files, as they are written; it never ends.

    Pictures are a step of the given rate apart, or of the model's, and the frames of a video as its time stamps say. A
    file is as old as its last frame; what lies much later than the file before it does not follow on that.

    Args:
        order: What is wanted.
        tell: Called with what cannot be read.
        alive: Called once the folder is looked into, and while a file in it grows.
    """
    step = 1 / (order.given_rate or order.rate)
    stamp, written, usual = order.since, None, 0.0
    for path in _files_of(Path(order.address.text), order.after, tell, alive):
        try:
            file_time = path.stat().st_mtime
        except OSError as error:  # it may be removed by now
            tell(f"{path.name} is passed over: {error.strerror}")
            continue
        length = _length_of(path, order)
        began = file_time - (usual if length is None else length)
        if written is not None and began - written > APART:
            stamp += began - written
        written = file_time
        first = None
        for shot in _placed(_shots_in(path, order, tell), stamp, began, order):
            yield shot
            assert shot.stamp is not None
            stamp = shot.stamp
            first = stamp if first is None else first
        if length is None and first is not None:
            usual = stamp - first
        stamp += step


def shots_of_camera(order: Order) -> Iterator[Shot]:
    """Yields the frames of a live stream as they come.

    Raises:
        DataError: When the stream cannot be opened, ends, hangs, or changes its size.
    """
    with _opened(order) as container:
        stream = next((each for each in container.streams.video if not is_attached(each)), None)
        if stream is None or stream.codec_context is None:
            raise DataError("there is no video in it that FFmpeg can decode")
        timed = container.format.name not in UNTIMED
        playback = Playback(FASTER) if timed and order.address.kind == "http" else None
        size = None
        for number, frame in enumerate(_decoded(container, stream, order)):
            if size not in (None, (frame.width, frame.height)):
                raise DataError(f"its picture was {size[0]} x {size[1]} and is {frame.width} x {frame.height} now")
            size = frame.width, frame.height
            stamp = None if frame.pts is None or not timed else float(frame.pts * (frame.time_base or Fraction(1)))
            if playback and stamp is not None:
                playback.wait(stamp)
            yield Shot(number, stamp, None, frame)
    raise DataError("the stream ended")


def _opened(order: Order) -> InputContainer:
    import av

    kind = order.address.kind
    try:
        return av.open(
            order.address.text,
            format="v4l2" if kind == "device" else None,
            container_options=OPTIONS[kind],
            metadata_errors="replace",
            timeout=order.timeout,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"cannot be opened: {_words(error, order)}") from None  # the error holds the address


def _decoded(container: InputContainer, stream: VideoStream, order: Order) -> Iterator[VideoFrame]:
    """Yields the frames that can be decoded; one that cannot is passed over, as the next key frame mends it."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(f"broke off: {_words(error, order)}") from None
        if packet is None:
            return
        try:
            yield from (frame for frame in packet.decode() if not frame.is_corrupt)
        except av.error.FFmpegError:
            continue


def _words(error: Exception, order: Order) -> str:
    import av

    if isinstance(error, av.error.ExitError):
        return f"nothing came for {order.timeout:g} s"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "user or password is wrong"
    return getattr(error, "strerror", None) or str(error)


def _timed(file: VideoFile, order: Order, tell: Tell) -> Iterator[tuple[float, VideoFrame | None]]:
    """Yields each frame with its time since the first; where stamps say nothing, a usual step after the last one."""
    step = 1 / (order.given_rate or file.rate() or order.rate)
    first, last = None, -step
    for frame in file.decoded(tell):
        stamp = None
        if frame is not None and frame.pts is not None and frame.time_base and order.given_rate is None:
            first = frame.pts * frame.time_base if first is None else first
            stamp = float(frame.pts * frame.time_base - first)
        last = stamp if stamp is not None and stamp > last else last + step
        yield last, frame


def _files_of(folder: Path, after: Position | None, tell: Tell, alive: Callable[[], None]) -> Iterator[Path]:
    """Yields the files of a folder in natural order, each once it is whole, and waits for more."""
    done = natural_key(after[0]) if isinstance(after, tuple) else None
    known = set[str]()
    for look in count():
        names = _names_in(folder)
        if look == 0:
            alive()
        new = sorted((natural_key(name), name) for name in names - known if _is_shown(Path(name)))
        first = not known
        known = names
        for key, name in new:
            if done is not None and (key < done or (key == done and not first)):
                if not first:
                    tell(f"{name} came after {done[1]} was watched, and is passed over")
                continue
            if name == new[-1][1]:
                _wait_until_whole(folder / name, alive)
            done = key
            yield folder / name
        time.sleep(LOOK_EVERY)


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 (there may be very many, and Path.iterdir takes its time)
    except OSError as error:
        raise DataError(f"cannot look into {folder}: {error.strerror}") from None


def _is_shown(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not hidden(path)


def _placed(shots: Iterator[Shot], begin: float, began: float, order: Order) -> Iterator[Shot]:
    """Places the frames of a file, which are stamped from 0, after those before it.

    Args:
        shots: They.
        begin: When the first of them was taken, in seconds of the source.
        began: The same by the wall clock.
        order: What is known already: the last frame that is lies where it was.
    """
    known = list[Shot]()
    for shot in shots:
        assert shot.stamp is not None
        if _is_known(shot.position, order.after):
            known.append(shot._replace(image=None, known=True))
            begin = order.since - shot.stamp
            continue
        yield from _moved(known, begin, began)
        known.clear()
        yield from _moved([shot], begin, began)
    yield from _moved(known, begin, began)


def _moved(shots: list[Shot], begin: float, began: float) -> Iterator[Shot]:
    for shot in shots:
        assert shot.stamp is not None
        yield shot._replace(stamp=begin + shot.stamp, wall=began + shot.stamp)


def _is_known(position: Position, after: Position | None) -> bool:
    return isinstance(position, tuple) and isinstance(after, tuple) and position[0] == after[0] and position <= after


def _wait_until_whole(path: Path, alive: Callable[[], None]) -> None:
    """Waits until a file does not change for a while; whoever wrote the next one has ended it."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < WHOLE_AFTER:
        with suppress(OSError):
            status = path.stat()
            now = status.st_size, status.st_mtime_ns
            if last is not None and now != last:
                alive()
            if now != last:
                last, since = now, time.monotonic()
        time.sleep(LOOK_EVERY)


def _length_of(path: Path, order: Order) -> float | None:
    """Returns the seconds from the first frame of a file to its last; None where its header does not say."""
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return 0.0
    file = VideoFile(path)
    with suppress(DataError):  # who decodes it tells what is wrong
        if frames := file.expected():
            return (frames - 1) / (order.given_rate or file.rate() or order.rate)
    return None


def _shots_in(path: Path, order: Order, tell: Tell) -> Iterator[Shot]:
    """Yields the frames of a folder's file, stamped from 0; what cannot be read of it is told."""
    number = -1
    try:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            for number, (stamp, frame) in enumerate(_timed(VideoFile(path), order, tell)):
                yield Shot((path.name, number), stamp, None, frame)
        else:
            yield Shot((path.name, 0), 0.0, None, read_pixels(path, 3))
    except DataError as error:
        tell(str(error))
        yield Shot((path.name, number + 1), (number + 1) / (order.given_rate or order.rate), None, None)
