"""The parts of a clip store while it is being made: one for each video, decoded side by side.

Where the number of frames is known beforehand, and one machine does all, each video is written to its place in the
split's array. Of video files only decoding tells it: they get files of their own, which are appended later and removed
as they are, so that at no time more is on the disk than the store and the parts not yet in it. A part is finished when
its record stands in the folder of parts; a run that was killed goes on with the videos that have none.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.frames import resize
from mnad.data.frames_seen import FramesSeen
from mnad.data.levels import Levels
from mnad.data.looks import Look, is_grey, look_at
from mnad.data.splits import Split, Video, place_of
from mnad.data.store import FRAMES, MASKS, StoredVideo
from mnad.runtime.errors import DataError
from mnad.runtime.files import atomic_write
from mnad.runtime.progress import FrameProgress, total_of


@dataclass(frozen=True)
class Part:
    """A video that is decoded: what is stored of it, and what was found wrong with it."""

    video: StoredVideo
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SplitFolders:
    """Where a split grows.

    Attributes:
        arrays: What becomes the split's folder of the store.
        parts: What is needed only until the store is whole: records of finished videos, and files of their own.
    """

    arrays: Path
    parts: Path

    def make(self) -> None:
        """Makes those that are not there."""
        self.arrays.mkdir(parents=True, exist_ok=True)
        self.parts.mkdir(parents=True, exist_ok=True)

    def growing(self, name: str) -> Path:
        """Returns the place of an array that is not whole yet."""
        return self.arrays / f"{name}.growing"

    def own_file(self, index: int, name: str) -> Path:
        """Returns the place of what one video adds to an array, if that has no place in the array yet."""
        return self.parts / f"{index:05d}.{name}"

    def record(self, index: int) -> Path:
        """Returns the place of the record that a video is finished."""
        return self.parts / f"{index:05d}.json"


@dataclass(frozen=True)
class Destination:
    """Where bytes of a video go: a stretch of a larger file, or, without ``offset``, a file of their own."""

    path: Path
    offset: int | None = None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Opens it for writing; a file of its own gets its name when it is whole."""
        if self.offset is not None:
            with self.path.open("r+b") as file:
                file.seek(self.offset)
                yield file
            return
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        with temporary.open("wb") as file:
            yield file
        temporary.replace(self.path)


@dataclass(frozen=True)
class Destinations:
    """Where the frames of a video go, its masks if the split has any, and the record that it is finished."""

    frames: Destination
    masks: Destination | None
    record: Path


@dataclass(frozen=True)
class PartMaker:
    """Decodes and resizes videos.

    Attributes:
        size: Height and width of the stored frames.
        channels: 1 or 3.
        check_grey: Whether to make sure that a frame is grey before one channel is taken for all.
        levels: How pixels of more than 8 bits become bytes.
    """

    size: int
    channels: int
    check_grey: bool
    levels: Levels | None = None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The shape of a stored frame."""
        return (self.size, self.size, self.channels)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """The shape of a stored mask, eight pixels to a byte."""
        return (self.size, self.size // 8)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of a frame and of a mask in the store, by the array's file."""
        return {FRAMES: self.frame_shape, MASKS: self.mask_shape}

    def make(self, video: Video, places: Destinations, advance: Callable[[], None]) -> Part:
        """Writes a video's part, its record last.

        Args:
            video: The video.
            places: Where it goes.
            advance: Called for each frame.

        Raises:
            DataError: If the video cannot be read.
            ColourFound: If a frame is not grey, as it was taken to be.
        """
        seen = FramesSeen(video)
        digest = hashlib.sha256()
        with places.frames.open() as file:
            for frame in video.frames.read(3 if self.check_grey else self.channels, self.levels, seen.tell):
                data = bytes(math.prod(self.frame_shape)) if frame is None else self._resize(frame, seen).data
                seen.count(frame)
                digest.update(data)
                file.write(data)
                advance()
        height, width = seen.checked_shape()
        masks_sha256 = self._write_masks(video, places.masks, seen.frames) if places.masks else None
        stored = StoredVideo(
            name=video.name,
            frames=seen.frames,
            width=width,
            height=height,
            rate=video.frames.rate(),
            missing=tuple(seen.missing),
            sha256=digest.hexdigest(),
            masks_sha256=masks_sha256,
        )
        part = Part(stored, tuple(seen.faults()))
        with atomic_write(places.record) as temporary:
            temporary.write_text(json.dumps(asdict(part)))
        return part

    def _resize(self, frame: NDArray[np.uint8], seen: FramesSeen) -> NDArray[np.uint8]:
        resized = resize(frame, self.size)
        if self.check_grey:
            if not is_grey(resized):
                raise ColourFound(f"frame {seen.frames} of video {seen.video.name} has colour")
            return np.ascontiguousarray(resized[..., 0])
        return resized

    def _write_masks(self, video: Video, place: Destination, frames: int) -> str | None:
        """Writes as many masks as there are frames; empty ones for a video that has none."""
        if video.masks is None:
            with place.open() as file:
                for _ in range(frames):
                    file.write(bytes(math.prod(self.mask_shape)))
            return None
        if (count := video.masks.count()) != frames:
            raise DataError(f"video {video.name} has {frames} frames but {count} masks in {place_of(video.masks)}")
        digest = hashlib.sha256()
        with place.open() as file:
            for mask in video.masks.read():
                small: Any = cv2.resize(mask.astype(np.uint8), (self.size, self.size), interpolation=cv2.INTER_NEAREST)
                data = np.packbits(small, axis=-1).data
                digest.update(data)
                file.write(data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class PartJob:
    """A video that is to be decoded, and where it goes."""

    video: Video
    places: Destinations


class Makers(Protocol):
    """What makes parts of many videos: threads of this process, or other machines."""

    @property
    def apart(self) -> bool:
        """Whether each video gets files of its own, as its maker may be another machine."""
        ...

    def look(self, videos: Sequence[Video], *, grey: bool) -> list[Look]:
        """Looks at some frames of each video.

        Args:
            videos: The videos.
            grey: Whether to look whether all of them are grey.

        Raises:
            DataError: If one cannot be read; other machines leave it out, and :meth:`make` names it.
        """
        ...

    def make(
        self, maker: PartMaker, jobs: Sequence[PartJob], advance: Callable[[int], None]
    ) -> Generator[tuple[str, ...], None, None]:
        """Makes all parts.

        Args:
            maker: Decodes.
            jobs: The videos.
            advance: Called with the number of frames that are done, in any thread.

        Yields:
            For each that is done what is wrong with it and does not keep it from being used.

        Raises:
            DataError: If one cannot be read.
            ColourFound: If a frame is not grey, as it was taken to be.
        """
        ...


@dataclass(frozen=True)
class Threads:
    """Makes parts in this process, several at a time; stops at the first fault.

    Attributes:
        count: How many; as many as there are processors if None.
    """

    count: int | None = None
    apart = False

    def look(self, videos: Sequence[Video], *, grey: bool) -> list[Look]:
        """See :meth:`Makers.look`."""
        looks = []
        for video in videos:
            looks.append(look_at(video, grey=grey))
            grey = looks[-1].grey  # one in colour says enough
        return looks

    def make(
        self, maker: PartMaker, jobs: Sequence[PartJob], advance: Callable[[int], None]
    ) -> Generator[tuple[str, ...], None, None]:
        """See :meth:`Makers.make`."""
        stop = threading.Event()

        def advance_unless_stopped() -> None:
            if stop.is_set():
                raise _Stopped
            advance(1)

        with ThreadPoolExecutor(self.count or os.cpu_count()) as pool:
            futures = [pool.submit(maker.make, job.video, job.places, advance_unless_stopped) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result().warnings
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise


def make_parts(
    split: Split, folders: SplitFolders, maker: PartMaker, makers: Makers, *, strict: bool, progress: bool
) -> list[Part]:
    """Makes all parts of a split that are not there yet.

    Raises:
        DataError: If a video cannot be read; with ``strict`` also if one ends early.
        ColourFound: If a frame is not grey, as it was taken to be.
    """
    folders.make()
    places = _places(split, folders, maker, apart=makers.apart)
    jobs = [PartJob(video, place) for video, place in zip(split.videos, places, strict=True)]
    there = [part for job in jobs if (part := _read_record(job.places.record))]
    missing = [job for job in jobs if not job.places.record.exists()]
    expected = total_of([*(part.video.frames for part in there), *(job.video.frames.expected() for job in missing)])
    with FrameProgress(f"{split.name} frames", expected, enabled=progress) as bar:
        bar.advance(sum(part.video.frames for part in there))
        with closing(makers.make(maker, missing, bar.advance)) as made:
            for faults in chain((part.warnings for part in there), made):
                tell_faults(faults, strict=strict)
    return [part for job in jobs if (part := _read_record(job.places.record))]


def assemble(folders: SplitFolders, counts: Sequence[int], name: str, shape: tuple[int, ...]) -> None:
    """Makes a split's array whole: appends what stands in files of its own, removing each; goes on where it stopped."""
    final, growing = folders.arrays / name, folders.growing(name)
    parts = [folders.own_file(index, name) for index in range(len(counts))]
    if final.exists():
        return
    waiting = next((index for index, part in enumerate(parts) if part.exists()), len(parts))
    with growing.open("r+b" if growing.exists() else "w+b") as file:
        header = _header(sum(counts), shape)
        file.write(header)
        file.truncate(len(header) + sum(counts[:waiting]) * math.prod(shape))
        file.seek(0, os.SEEK_END)
        for part in parts[waiting:]:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 2**24)
            file.flush()
            os.fsync(file.fileno())
            part.unlink()
        file.flush()
        os.fsync(file.fileno())
    growing.replace(final)


def tell_faults(faults: Sequence[str], *, strict: bool) -> None:
    """Warns of what is wrong with the data and does not keep them from being used.

    Raises:
        DataError: With ``strict``, of the first fault.
    """
    for fault in faults:
        if strict:
            raise DataError(f"{fault} (an error because of --strict)")
        warnings.warn(fault, stacklevel=3)


class ColourFound(Exception):  # noqa: N818 (not an error)
    """What was taken to be grey is not."""


class _Stopped(Exception):  # noqa: N818 (not an error)
    """Another video failed, or the run is to end."""


def _places(split: Split, folders: SplitFolders, maker: PartMaker, *, apart: bool) -> list[Destinations]:
    counts = [video.frames.count() for video in split.videos]
    known = [count for count in counts if count is not None]
    has_masks = any(video.masks is not None for video in split.videos)
    by_array = {
        name: _stretches(folders, name, known, shape)
        if len(known) == len(counts) and not apart
        else [Destination(folders.own_file(index, name)) for index in range(len(counts))]
        for name, shape in maker.shapes.items()
        if name == FRAMES or has_masks
    }
    masks: Sequence[Destination | None] = by_array.get(MASKS, [None] * len(counts))
    return [
        Destinations(frames, mask, folders.record(index))
        for index, (frames, mask) in enumerate(zip(by_array[FRAMES], masks, strict=True))
    ]


def _stretches(folders: SplitFolders, name: str, counts: Sequence[int], shape: tuple[int, ...]) -> list[Destination]:
    """Lays out the whole array, and gives each video's place in it."""
    final, growing = folders.arrays / name, folders.growing(name)
    header, size = _header(sum(counts), shape), math.prod(shape)
    if not final.exists() and not growing.exists():
        with growing.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(header) + sum(counts) * size)
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return [Destination(growing, len(header) + start * size) for start in starts]


def _header(count: int, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _read_record(path: Path) -> Part | None:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    video = content["video"] | {"missing": tuple(content["video"]["missing"])}
    return Part(StoredVideo(**video), tuple(content["warnings"]))
