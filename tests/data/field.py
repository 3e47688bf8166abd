"""Video files and pictures as people have them, good and bad."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from mnad.data import Clips, open_clips
from mnad.data.inspection import Inspection, inspect
from mnad.data.video import VideoFile
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SIDE = 96


def moving(count: int, seed: int = 0) -> list[Image]:
    """A disc that moves, and in the corner the frame's number in 8 x 2 large bits, which codecs keep."""
    random = np.random.default_rng(seed)
    x, y, dx, dy = *random.uniform(30, 66, 2), 2.0, 1.5
    made = []
    for number in range(count):
        frame = np.full((SIDE, SIDE, 3), (60, 80, 70), np.uint8)
        dx, dy = (-dx if not 28 < x + dx < 88 else dx), (-dy if not 28 < y + dy < 88 else dy)
        x, y = x + dx, y + dy
        cv2.circle(frame, (int(x), int(y)), 8, (200, 180, 60), -1)
        for bit in range(8):
            frame[:16, 12 * bit : 12 * bit + 12] = 255 * (number >> bit & 1)
        made.append(frame)
    return made


def number_of(frame: Image) -> int:
    """Reads the number that :func:`moving` wrote."""
    return sum(1 << bit for bit in range(8) if frame[4:12, 12 * bit + 4 : 12 * bit + 8].mean() > 128)


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.generic]],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    container: str | None = None,
    rate: int = 25,
    left_out: Collection[int] = (),
    **options: str,
) -> Path:
    """Writes a video; ``container`` where the ending does not tell it. What is left out leaves a hole in its times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "bgr24" if frames[0].ndim == 3 else "gray16le"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for number, frame in enumerate(frames):
            if number not in left_out:
                picture = av.VideoFrame.from_ndarray(frame, format=kind).reformat(format=pixels)
                picture.pts, picture.time_base = number, Fraction(1, rate)
                out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def packets_of(path: Path) -> Iterator[av.Packet]:
    """Yields the packets of the first video stream, in the order of the file."""
    with av.open(str(path)) as opened:
        yield from (packet for packet in opened.demux(opened.streams.video[0]) if packet.size)


def spoil(path: Path, packet: int) -> None:
    """Overwrites what a packet holds with zeros."""
    place, size = [(packet.pos, packet.size) for packet in packets_of(path)][packet]
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)


def wipe(path: Path, first: int, until: int | None = None) -> None:
    """Overwrites packets and what stands between them, but for the first one's beginning."""
    places = [packet.pos for packet in packets_of(path)]
    data = bytearray(path.read_bytes())
    begin, end = places[first] + 188, places[until or first + 1]
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


def cut(source: Path, target: Path, first: int, shown_from: int, container: str | None = None) -> Path:
    """Copies packets from one on without decoding, as cutters do; times before frame ``shown_from`` become negative."""
    with av.open(str(source)) as opened, av.open(str(target), "w", format=container) as out:
        stream = out.add_stream_from_template(opened.streams.video[0])
        packets = [packet for packet in opened.demux(opened.streams.video[0]) if packet.size]
        step = Fraction(1, 25) / packets[0].time_base
        for packet in packets[first:]:
            packet.pts, packet.dts = packet.pts - int(shown_from * step), packet.dts - int(shown_from * step)
            packet.stream = stream
            out.mux(packet)
    return target


def write_pictures(folder: Path, names: Sequence[str], frames: Sequence[NDArray[np.generic]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        assert cv2.imwrite(str(folder / name), frame)


def look(root: Path) -> Inspection:
    found = inspect(root, progress=False)
    assert found.usable, found.problems
    return found


def counts(found: Inspection) -> dict[str, tuple[int, int]]:
    return {split.name: (split.videos, split.frames) for split in found.splits}


def told(found: Inspection) -> str:
    return "\n".join(problem.message for problem in found.problems)


def clips_of(root: Path, split: str = "testing", **options: object) -> Clips:
    return open_clips(root, split, 96, progress=False, **options)  # type: ignore[arg-type]


def numbers(clips: Clips) -> list[int]:
    return [number_of(frame) for frame in clips.frames]


def pictures(folder: Path, names: list[str], seed: int = 0) -> None:
    write_pictures(folder, names, moving(len(names), seed))


def read_numbers(path: Path) -> tuple[list[int | None], list[str]]:
    """The numbers that the frames say they have, None for what cannot be read, and what was told."""
    told: list[str] = []
    frames = list(VideoFile(path).read(3, tell=told.append))
    return [None if frame is None else number_of(frame) for frame in frames], told


def all_but(count: int, *missing: int) -> list[int | None]:
    return [None if number in missing else number for number in range(count)]
