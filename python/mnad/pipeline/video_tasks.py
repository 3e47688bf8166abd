"""The tasks of scoring on a cluster: one for each video, several for a long one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from mnad.artifacts.checkpoint import Checkpoint
from mnad.artifacts.measurements import FORMAT
from mnad.data.cache import PIXELS
from mnad.data.preparation import fingerprint_and_size, unchecked_splits
from mnad.data.sources import FrameSource, ImageFiles
from mnad.data.splits import Split, Video
from mnad.data.store import is_store
from mnad.data.stretches import VideoStretch
from mnad.data.video import VideoFile
from mnad.measuring.usual import Usual
from mnad.models import weights_hash
from mnad.pipeline.score import ScoreConfig, update_threshold
from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.version import __version__

PIECE = 15_000  # windows, ten minutes at 25 frames a second
LEAST_SIZE = 2**25  # bytes of a file that may have so many


@dataclass(frozen=True)
class Piece:
    """A part of a long video.

    Attributes:
        first: The number of its first frame.
        number: Which part it is, from 0.
        count: How many parts the video has.
    """

    first: int
    number: int
    count: int


@dataclass(frozen=True, eq=False)
class VideoTask:
    """A video that is to be scored, or a part of it.

    Attributes:
        video: The video.
        key: A hash of the video's files and of all that decides what is measured of them.
        size: Bytes of its files, for the time left.
        piece: Which part; None for the whole.
    """

    video: Video
    key: str
    size: int
    piece: Piece | None = None


def find_videos(config: ScoreConfig) -> Split:
    """Finds the videos without opening them; what is wrong with one shows where it is decoded.

    Raises:
        DataError: If there are none, or something is wrong with all of them together.
        ConfigError: If the frames are decoded already.
    """
    if is_store(config.data):
        raise ConfigError(
            f"{config.data} is a clip store, whose frames are decoded already: score it with engine local, or name the "
            "videos that it was made of"
        )
    _, (split,) = unchecked_splits(config.data, [config.split], config.layout)
    problems = [*split.faults, *split.doubled_names()]
    if errors := [problem.message for problem in problems if problem.level == "error"]:
        raise DataError(errors[0])
    return split


def tasks_of(config: ScoreConfig, checkpoint: Checkpoint, split: Split) -> list[VideoTask]:
    """Returns a task for each video.

    Raises:
        CheckpointError: If the calibration is of another version.
        DataError: If the server of an address does not tell one content of a file from another.
    """
    usual = Usual.of(checkpoint, config.run)
    choices = (
        FORMAT, PIXELS, __version__, weights_hash(checkpoint.weights), None if usual is None else usual.identity,
        config.update, update_threshold(config, checkpoint), config.precision, config.runtime, config.batch_size,
        checkpoint.training["size"], checkpoint.training.get("levels"),
    )  # fmt: skip
    tasks = []
    for video in split.videos:
        fingerprint, size = fingerprint_and_size([Split(config.split, (replace(video, masks=None),))])
        key = hashlib.sha256(f"{choices} {fingerprint}".encode()).hexdigest()[:12]
        tasks.append(VideoTask(video, key, size))
    return tasks


def in_pieces(task: VideoTask, config: ScoreConfig, checkpoint: Checkpoint) -> list[VideoTask]:
    """Divides a long video where no frame depends on those before but for its window; a short one stays whole.

    A piece begins at a multiple of the batch's size and ends with the window that begins before the next one.
    """
    model, source = checkpoint.config, task.video.frames
    if (config.update != "none" and model.memory is not None) or task.size < LEAST_SIZE:
        return [task]
    length = -(-PIECE // config.batch_size) * config.batch_size
    try:
        count = source.expected() // length if isinstance(source, ImageFiles | VideoFile) else 0
    except DataError:  # shows where it is decoded
        return [task]
    if count < 2:
        return [task]
    pieces = []
    for number in range(count):
        first = number * length
        last = first + length + model.window - 1 if number < count - 1 else None
        video = replace(task.video, frames=_stretch(source, first, last))
        pieces.append(VideoTask(video, task.key, task.size // count, Piece(first, number, count)))
    return pieces


def _stretch(source: FrameSource, first: int, last: int | None) -> FrameSource:
    if isinstance(source, ImageFiles):
        return ImageFiles(source.files[first:last])
    assert isinstance(source, VideoFile)
    return VideoStretch(source, first, last)
