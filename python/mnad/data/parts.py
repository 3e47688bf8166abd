"""The parts of a clip store while it is being made: one for each video, decoded side by side, then put end to end.

A part is finished when its record stands beside it, so a run that was killed goes on with the videos that have none.
Parts are removed as they are appended: at no time is more on the disk than the store and the parts not yet in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.sources import ImageFiles
from mnad.data.splits import Split, Video, place_of
from mnad.data.store import StoredVideo
from mnad.errors import DataError
from mnad.files import atomic_write
from mnad.progress import FrameProgress

FRAMES, MASKS, RECORD = ".frames", ".masks", ".json"


@dataclass(frozen=True)
class Part:
    """A video that is decoded: what is stored of it, and what was found wrong with it."""

    video: StoredVideo
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PartMaker:
    """Decodes and resizes videos.

    Attributes:
        size: Height and width of the stored frames.
        channels: 1 or 3.
        check_grey: Whether to make sure that a frame is grey before one channel is taken for all.
    """

    size: int
    channels: int
    check_grey: bool

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The shape of a stored frame."""
        return (self.size, self.size, self.channels)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """The shape of a stored mask, eight pixels to a byte."""
        return (self.size, self.size // 8)

    def make(self, video: Video, stem: Path, with_masks: bool, advance: Callable[[], None]) -> Part:
        """Writes a video's part, its record last.

        Args:
            video: The video.
            stem: The part's path without suffix.
            with_masks: Whether the split has masks; videos without any get empty ones.
            advance: Called for each frame.
        """
        shape: tuple[int, int] | None = None
        count = 0
        digest = hashlib.sha256()
        with _written_last(stem.with_suffix(FRAMES)) as file:
            for frame in video.frames.read(3 if self.check_grey else self.channels):
                shape = shape or (frame.shape[0], frame.shape[1])
                _check_shape(video, count, frame.shape[:2], shape)
                data = self._resize(frame, video, count).data
                digest.update(data)
                file.write(data)
                count += 1
                advance()
        if shape is None:
            raise DataError(f"video {video.name} has no frames that can be read: {place_of(video.frames)}")
        masks_sha256 = self._write_masks(video, stem, count) if with_masks else None
        stored = StoredVideo(video.name, count, shape[1], shape[0], digest.hexdigest(), masks_sha256)
        part = Part(stored, tuple(faults_of(video, count)))
        with atomic_write(stem.with_suffix(RECORD)) as temporary:
            temporary.write_text(json.dumps(asdict(part)))
        return part

    def _resize(self, frame: NDArray[np.uint8], video: Video, index: int) -> NDArray[np.uint8]:
        resized = cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        if self.check_grey:
            if not is_grey(resized):
                raise DataError(
                    f"video {video.name} is grey at its beginning, but frame {index} has colour; prepare the data with "
                    "--channels 3, or with --channels 1 to drop it"
                )
            return np.ascontiguousarray(resized[..., 0])
        return resized  # type: ignore[return-value]

    def _write_masks(self, video: Video, stem: Path, frames: int) -> str | None:
        if video.masks is None:
            empty = bytes(int(np.prod(self.mask_shape)))
            with _written_last(stem.with_suffix(MASKS)) as file:
                for _ in range(frames):
                    file.write(empty)
            return None
        digest, count = hashlib.sha256(), 0
        with _written_last(stem.with_suffix(MASKS)) as file:
            for mask in video.masks.read():
                small = cv2.resize(mask.astype(np.uint8), (self.size, self.size), interpolation=cv2.INTER_NEAREST)
                data = np.packbits(small, axis=-1).data
                digest.update(data)
                file.write(data)
                count += 1
        if count != frames:
            raise DataError(f"video {video.name} has {frames} frames but {count} masks in {place_of(video.masks)}")
        return digest.hexdigest()


def make_parts(
    split: Split, folder: Path, maker: PartMaker, *, workers: int | None, strict: bool, progress: bool
) -> list[Part]:
    """Makes all parts of a split that are not there yet, several videos at a time.

    Raises:
        DataError: If a video cannot be read; with ``strict`` also if one ends early.
    """
    parts_folder = folder / "parts"
    parts_folder.mkdir(parents=True, exist_ok=True)
    stems = [parts_folder / f"{index:05d}" for index in range(len(split.videos))]
    with_masks = any(video.masks is not None for video in split.videos)
    stop = threading.Event()
    expected = sum(video.frames.expected() for video in split.videos)
    with FrameProgress(f"{split.name} frames", expected, enabled=progress) as bar:

        def advance() -> None:
            if stop.is_set():
                raise _Stopped
            bar.advance()

        def make(video: Video, stem: Path) -> Part:
            part = _read_record(stem)
            if part is None:
                return maker.make(video, stem, with_masks, advance)
            bar.advance(part.video.frames)
            return part

        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            futures = [pool.submit(make, video, stem) for video, stem in zip(split.videos, stems, strict=True)]
            try:
                for future in as_completed(futures):
                    _tell(future.result().warnings, strict=strict)
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    return [future.result() for future in futures]


def assemble(folder: Path, counts: Sequence[int], suffix: str, target: str, shape: tuple[int, ...]) -> None:
    """Puts the parts of a split end to end as one .npy file, removing each when it is in; goes on where it stopped."""
    final, growing = folder / target, folder / f"{target}.growing"
    parts = [folder / "parts" / f"{index:05d}{suffix}" for index in range(len(counts))]
    if final.exists():
        return
    waiting = next((index for index, part in enumerate(parts) if part.exists()), len(parts))
    with growing.open("r+b" if growing.exists() else "w+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (sum(counts), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(file.tell() + sum(counts[:waiting]) * int(np.prod(shape)))
        file.truncate()
        for part in parts[waiting:]:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 2**24)
            file.flush()
            os.fsync(file.fileno())
            part.unlink()
    growing.replace(final)


def faults_of(video: Video, count: int) -> Iterator[str]:
    """Tells whether fewer frames could be read than the video claims to have."""
    expected = video.frames.expected()
    if count < expected:
        yield f"video {video.name} ends early: {count} of {expected} frames can be read from {place_of(video.frames)}"


def is_grey(frame: NDArray[np.uint8]) -> bool:
    """Tells whether all channels of a frame are equal."""
    return bool((frame == frame[..., :1]).all())


class _Stopped(Exception):  # noqa: N818 (not an error)
    """Another video failed, or the run is to end."""


def _tell(faults: Sequence[str], *, strict: bool) -> None:
    for fault in faults:
        if strict:
            raise DataError(f"{fault} (an error because of --strict)")
        warnings.warn(fault, stacklevel=2)


def _check_shape(video: Video, index: int, shape: tuple[int, ...], first: tuple[int, int]) -> None:
    if shape != first:
        place = video.frames.files[index] if isinstance(video.frames, ImageFiles) else f"frame {index}"
        raise DataError(
            f"video {video.name}: {place} is {shape[1]} x {shape[0]}, but the frames before it are {first[1]} x {first[0]}"
        )


class _written_last:  # noqa: N801 (used like a function)
    """Opens a file that gets its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{path.name}.tmp")

    def __enter__(self) -> BinaryIO:
        self.file = self.temporary.open("wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        if kind is None:
            self.temporary.replace(self.path)


def _read_record(stem: Path) -> Part | None:
    try:
        content = json.loads(stem.with_suffix(RECORD).read_text())
    except FileNotFoundError:
        return None
    return Part(StoredVideo(**content["video"]), tuple(content["warnings"]))
