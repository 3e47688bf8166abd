"""Test sets composed of real video: nothing but what is usual at a camera, and events put into it at known places.

The last quarter of a camera's video is for testing, the rest for training. Each test video is an excerpt of the test
part with one event in it, at a random time, so that it does not always meet the same normal ones; one more, ``normal``,
is the test part as it is. A frame is labelled abnormal exactly where its mask is not empty, as in UCSD Ped2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.clips import Clips
from mnad.data.frames import with_channels
from mnad.data.staging import (
    OBJECT_SIZES,
    ObjectSize,
    Pixels,
    Staged,
    covered,
    crossing,
    cut_out,
    left_behind,
    moving,
    play_order,
    replayed,
)
from mnad.runtime.errors import ConfigError, DataError, OutputError
from mnad.runtime.files import atomic_folder, input_errors
from mnad.runtime.progress import FrameProgress

EventKind = Literal["crossing", "left behind", "covered", "backwards", "double speed", "frozen"]
WITH_OBJECTS: tuple[EventKind, ...] = ("crossing", "left behind")
STEPS: dict[EventKind, int] = {"backwards": -1, "double speed": 2, "frozen": 0}  # from one frame to the next
MANIFEST = "composed.json"
NORMAL = "normal"


@dataclass(frozen=True)
class ComposedSpec:
    """What a composed data set looks like.

    Attributes:
        size: Height and width of the frames in pixels.
        test_share: Of the video, at its end, or of the recordings, the last ones, if there are several.
        repeats: Test videos of each kind of event, and of each size of object.
        frames: Frames of a test video; fewer where the camera's video is too short.
        event: Frames of an event; fewer where the camera's video is too short to play so many at double speed.
        margin: Frames before an event and after it, at least.
        seed: Repeats the data set exactly.
    """

    size: int = 256
    test_share: float = 0.25
    repeats: int = 2
    frames: int = 96
    event: int = 36
    margin: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 < self.test_share < 1:
            raise ConfigError(f"test_share must lie between 0 and 1, got {self.test_share}")
        for name in ("size", "repeats", "frames", "event", "margin"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if self.frames < self.shortest:
            raise ConfigError(f"frames must be at least event and margins, {self.shortest}, got {self.frames}")

    @property
    def shortest(self) -> int:
        """Frames of the shortest test video."""
        return 2 * self.margin + self.event


class PlannedEvent(NamedTuple):
    """An event of a test video: its kind, and the size of its object if it has one."""

    kind: EventKind
    size: ObjectSize | None

    def __str__(self) -> str:
        """Returns a name for people."""
        return self.kind if self.size is None else f"{self.kind}, {self.size}"


EVENTS: tuple[PlannedEvent, ...] = (
    *(PlannedEvent(kind, size) for kind in WITH_OBJECTS for size in OBJECT_SIZES),
    *(PlannedEvent(kind, None) for kind in get_args(EventKind) if kind not in WITH_OBJECTS),
)


def write_composed(root: Path, clips: Clips, foreign: Sequence[Pixels], spec: ComposedSpec) -> None:
    """Writes a data set in the frames layout, with frame labels, pixel masks and a manifest.

    The same arguments give the same pixels. The folder appears whole or not at all.

    Args:
        root: The folder to make; it must not exist or be empty.
        clips: Normal video of one camera, (N, S, S, 1 or 3) with S the spec's size.
        foreign: (S, S, 3) uint8 each, pictures of other cameras, of which foreign objects are cut.
        spec: Sizes, counts and the seed.

    Raises:
        DataError: If the video is too short, or holds frames that could not be read.
        OutputError: If the folder exists already or cannot be written.
    """
    training, testing = _split(clips, spec)
    channels = clips.frames.shape[3]
    foreign = [with_channels(with_channels(frame, channels), 3) for frame in foreign]  # grey for a camera in grey
    random = np.random.default_rng(spec.seed)
    planned = {f"{index + 1:02d}": event for index, event in enumerate(EVENTS * spec.repeats)}
    labels, places = [], {}
    frames = sum(map(len, (*training, *testing))) + len(planned) * spec.frames
    with atomic_folder(root) as folder, FrameProgress(f"composing {root.name}", frames) as bar:
        for number, video in enumerate(training):
            _write_frames(folder / "training" / "frames" / f"{number + 1:02d}", video, bar)
        for name, event in planned.items():
            staged, span = _stage(event, testing, foreign, spec, random)
            labels.append(_write_test(folder, name, staged, bar))
            places[name] = {"kind": event.kind, "size": event.size, "first": span.start, "last": span.stop - 1}
        for number, video in enumerate(testing):
            still = Staged(video, np.zeros(video.shape[:3], np.bool_))
            name = f"{len(planned) + number + 1:02d}"
            labels.append(_write_test(folder, name, still, bar))
            places[name] = {"kind": NORMAL, "size": None, "first": None, "last": None}
        np.save(folder / "frame_labels_composed.npy", np.concatenate(labels)[None].astype(np.uint8))
        manifest = {"spec": asdict(spec), "videos": places}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def events_of(root: Path) -> dict[str, PlannedEvent | None]:
    """Returns the event of each test video of a composed data set; None for normal video.

    Raises:
        DataError: If the folder holds no composed data set.
    """
    with input_errors(root, "a composed data set", DataError):
        videos = json.loads((root / MANIFEST).read_text())["videos"]
        return {
            name: None if video["kind"] == NORMAL else PlannedEvent(video["kind"], video["size"])
            for name, video in videos.items()
        }


def _split(clips: Clips, spec: ComposedSpec) -> tuple[list[Pixels], list[Pixels]]:
    """Returns the frames of training and of test recordings."""
    if clips.missing is not None and clips.missing.any():
        raise DataError(f"{int(clips.missing.sum())} frames could not be read; events are put into whole video only")
    recordings: list[Pixels] = [clips.frames[span] for _, span in clips.videos()]
    if len(recordings) == 1:
        (video,) = recordings
        cut = len(video) - round(spec.test_share * len(video))
        training, testing = [video[:cut]], [video[cut:]]
    else:
        cut = len(recordings) - max(1, round(spec.test_share * len(recordings)))
        training, testing = recordings[:cut], recordings[cut:]
    if max(map(len, testing)) < spec.shortest:
        raise DataError(
            f"an event needs {spec.shortest} frames of test video, but there are {max(map(len, testing))}: the last "
            f"{spec.test_share:g} of it; take longer video"
        )
    return training, testing


def _stage(
    event: PlannedEvent,
    testing: Sequence[Pixels],
    foreign: Sequence[Pixels],
    spec: ComposedSpec,
    random: np.random.Generator,
) -> tuple[Staged, slice]:
    """Returns an excerpt of a test recording with an event in it, and the event's frames."""
    long_enough = [index for index, each in enumerate(testing) if len(each) >= spec.shortest]
    video = testing[int(random.choice(long_enough))]
    if event.kind in STEPS:
        return _replay(event.kind, video, spec, random)
    length = min(len(video), spec.frames)
    first = int(random.integers(len(video) - length + 1))
    frames = _in_colour(video[first : first + length])
    begin = int(random.integers(spec.margin, length - spec.margin - spec.event, endpoint=True))
    span = slice(begin, begin + spec.event)
    if event.size is None:
        return covered(frames, span, random), span
    cutout = cut_out(foreign, max(2, round(OBJECT_SIZES[event.size] * spec.size)), random)
    put = crossing if event.kind == "crossing" else left_behind
    return put(frames, span, cutout, random), span


def _replay(kind: EventKind, video: Pixels, spec: ComposedSpec, random: np.random.Generator) -> tuple[Staged, slice]:
    """Shows a part of a recording in another order, where more moves than at most other times."""
    event = min(spec.event, (len(video) - 2 * spec.margin - 1) // 2)
    length = min(spec.frames, len(video) - event - 1)
    begin = int(random.integers(spec.margin, length - spec.margin - event, endpoint=True))
    span = slice(begin, begin + event)
    order = play_order(length, span, STEPS[kind])
    reach = int(order.max()) + 2  # and the frame that should have followed
    movement = np.array([moving(*pair).mean() for pair in zip(video[1:], video[:-1], strict=True)])
    firsts = np.arange(len(video) - reach + 1)
    moved = np.array([movement[np.minimum(first + order[span], len(movement) - 1)].mean() for first in firsts])
    first = int(random.choice(firsts[moved >= np.quantile(moved, 0.9)]))
    return replayed(_in_colour(video[first : first + reach]), order, span), span


def _in_colour(frames: Pixels) -> Pixels:
    return np.stack([with_channels(frame, 3) for frame in frames])


def _write_frames(folder: Path, frames: Pixels, bar: FrameProgress) -> None:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        _write(folder / f"{index:04d}.jpg", frame, cv2.IMWRITE_JPEG_QUALITY, 95)
        bar.advance()


def _write(path: Path, picture: Pixels, *options: int) -> None:
    if not cv2.imwrite(str(path), picture, options):
        raise OutputError(f"{path} cannot be written; is the disk full?")


def _write_test(folder: Path, name: str, staged: Staged, bar: FrameProgress) -> NDArray[np.bool_]:
    _write_frames(folder / "testing" / "frames" / name, staged.frames, bar)
    masks = folder / "testing" / "masks" / name
    masks.mkdir(parents=True)
    for index, mask in enumerate(staged.masks):
        _write(masks / f"{index:04d}.png", mask.astype(np.uint8) * 255)
    return np.asarray(staged.masks.any(axis=(1, 2)))
