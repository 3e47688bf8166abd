"""The frames layout, in which the three benchmark sets are passed on.

::

    ROOT/training/frames/01/000.jpg ...
    ROOT/testing/frames/01/000.jpg ...
    ROOT/testing/masks/01/000.png            pixel masks, where there are any
    ROOT/frame_labels_NAME.npy               one label for each test frame, all videos end to end; or in ROOT's parent

Frames and videos are sorted as people count (2 before 10). Files that are no images, macOS's ``._`` files and
.DS_Store are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnad.errors import DataError

SplitName = Literal["training", "testing"]
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Video:
    """One video: its name and its frames in order; masks, where there are any, one for each frame."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...] | None


@dataclass(frozen=True)
class Split:
    """The videos of a split, checked: none is empty, and there is a label for each frame or there are none.

    Attributes:
        videos: In the order in which labels and scores count them.
        labels: (N,), True where a frame is abnormal, all videos end to end; None where unknown.
        label_file: Where the labels come from.
    """

    videos: tuple[Video, ...]
    labels: NDArray[np.bool_] | None
    label_file: Path | None


def read_split(root: Path, split: SplitName, labels: Path | None = None) -> Split:
    """Finds the videos of a split and their labels, and checks all that can be checked without decoding.

    Args:
        root: The folder that holds ``training`` and ``testing``.
        split: Which of the two; labels belong to ``testing``.
        labels: A label file to take instead of the one that is found.

    Raises:
        DataError: If a folder is missing or empty, or the labels do not fit the frames; the message names the video.
    """
    videos = tuple(_read_video(folder, root / split / "masks") for folder in _video_folders(root, split))
    if split == "training":
        return Split(videos, None, None)
    label_file = labels or _find_labels(root)
    if label_file is None:
        return Split(videos, None, None)
    return Split(videos, _read_labels(label_file, videos), label_file)


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts names as people count: frame2 before frame10."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def _video_folders(root: Path, split: str) -> list[Path]:
    if not root.exists():
        raise DataError(f"the data folder {root} does not exist")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; name the folder that holds training/ and testing/")
    frames = root / split / "frames"
    if not frames.is_dir():
        found = ", ".join(sorted(child.name for child in root.iterdir())[:8]) or "nothing"
        raise DataError(f"{root} has no {split}/frames folder with one folder for each video; it holds {found}")
    folders = sorted((child for child in frames.iterdir() if child.is_dir() and not _hidden(child)), key=natural_key)
    if not folders:
        raise DataError(f"{frames} is empty: it must hold one folder of frames for each video")
    return folders


def _read_video(folder: Path, masks_root: Path) -> Video:
    frames = _images(folder)
    if not frames:
        raise DataError(f"video {folder.name} has no frames: {folder} holds no image")
    masks_folder = masks_root / folder.name
    if not masks_folder.is_dir():
        return Video(folder.name, frames, None)
    masks = _images(masks_folder)
    if len(masks) != len(frames):
        raise DataError(f"video {folder.name} has {len(frames)} frames but {len(masks)} masks in {masks_folder}")
    return Video(folder.name, frames, masks)


def _images(folder: Path) -> tuple[Path, ...]:
    images = (child for child in folder.iterdir() if child.suffix.lower() in IMAGE_SUFFIXES and not _hidden(child))
    return tuple(sorted(images, key=natural_key))


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _find_labels(root: Path) -> Path | None:
    inside = sorted(path for path in root.glob("frame_labels_*.npy") if not _hidden(path))
    if len(inside) == 1:
        return inside[0]
    candidates = inside or sorted(root.resolve().parent.glob("frame_labels_*.npy"))
    name = root.resolve().name.lower()
    matching = [path for path in candidates if path.stem.removeprefix("frame_labels_").lower() in name]
    if len(matching) == 1:
        return matching[0]
    if inside:
        raise DataError(
            f"{root} holds {len(inside)} label files ({', '.join(path.name for path in inside)}); "
            "say which one belongs to it with --labels"
        )
    return None


def _read_labels(path: Path, videos: tuple[Video, ...]) -> NDArray[np.bool_]:
    try:
        labels: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"the label file {path} does not exist") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"the label file {path} cannot be read as a plain .npy array: {error}") from error
    if labels.dtype == object or labels.size != max(labels.shape, default=0):
        raise DataError(f"the label file {path} must hold one row of numbers, got {labels.dtype} {labels.shape}")
    labels = labels.reshape(-1)
    if not np.isin(labels, (0, 1)).all():
        raise DataError(f"the label file {path} must hold only 0 (normal) and 1 (abnormal)")
    _check_length(path, len(labels), videos)
    return labels.astype(bool)


def _check_length(path: Path, count: int, videos: tuple[Video, ...]) -> None:
    total = sum(len(video.frames) for video in videos)
    if count > total:
        raise DataError(
            f"{path} has {count} labels for {total} frames: {count - total} are left after the last video, "
            f"{videos[-1].name}; a frame is missing somewhere or the file belongs to another data set"
        )
    covered = 0
    for video in videos:
        if covered + len(video.frames) > count:
            raise DataError(
                f"{path} has {count} labels for {total} frames: they run out in video {video.name}, which has "
                f"{len(video.frames)} frames and gets {count - covered} labels"
            )
        covered += len(video.frames)
