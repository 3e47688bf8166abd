"""A folder of one's own videos: video files, or folders of frames.

::

    normal/*.mp4, or training/ or train/     normal video to train on
    testing/*.mp4, or test/                  video to score; without such a folder all that is not for training
    labels.csv, labels.json or labels.npy    optional, in the folder or in testing/
    testing/NAME.npy                         or labels beside each video
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mnad.data.folders import folders_in, images_in, videos_in
from mnad.data.labels import ByVideo, LabelSet, as_labels, read_labels
from mnad.data.sources import ImageFiles, VideoFile, load_array
from mnad.data.splits import Split, SplitName, Video, collect_labels

FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "training": ("normal", "training", "train"),
    "testing": ("testing", "test"),
}
LABEL_FILES = ("labels.csv", "labels.json", "labels.npy")


def recognises(root: Path) -> bool:
    """Tells by a video file, or a folder of images, anywhere below."""
    return next(_videos(root, root), None) is not None


def read(root: Path, split: SplitName) -> Split:
    """Finds the videos of a split and, for testing, their labels."""
    chosen = _folder(root, split)
    if split == "training":
        return Split(split, tuple(_videos(chosen, chosen)) if chosen else ())
    videos = tuple(_videos(chosen, chosen)) if chosen else tuple(_others(root))
    names = [video.name for video in videos]
    bases = dict.fromkeys((chosen or root, root))
    files = [base / name for base in bases for name in LABEL_FILES if (base / name).is_file()]
    sets, faults = collect_labels(files, lambda path: read_labels(path, names))
    if not files and any(((chosen or root) / f"{name}.npy").is_file() for name in names):
        sets, faults = collect_labels([chosen or root], lambda base: _beside(base, names))
    return Split(split, videos, sets, faults)


def _folder(root: Path, split: SplitName) -> Path | None:
    return next((root / name for name in FOLDERS[split] if (root / name).is_dir()), None)


def _videos(folder: Path, base: Path) -> Iterator[Video]:
    """Gives the videos in a folder and in the folders below it, named by their place under ``base``."""
    for file in videos_in(folder):
        yield Video(file.relative_to(base).with_suffix("").as_posix(), VideoFile(file))
    for child in folders_in(folder):
        images = images_in(child)
        if images:
            yield Video(child.relative_to(base).as_posix(), ImageFiles(images))
        else:
            yield from _videos(child, base)


def _others(root: Path) -> Iterator[Video]:
    """Gives all videos but those that are for training."""
    training = _folder(root, "training")
    for video in _videos(root, root):
        if training is None or training not in video.frames.files[0].parents:
            yield video


def _beside(base: Path, names: list[str]) -> LabelSet:
    files = [base / f"{name}.npy" for name in names]
    values = {name: as_labels(load_array(file), file) for name, file in zip(names, files, strict=True)}
    return ByVideo("beside the videos", f"{base}/*.npy", values)
