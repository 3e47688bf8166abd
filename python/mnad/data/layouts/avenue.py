"""CUHK Avenue as downloaded.

::

    training_videos/01.avi ...
    testing_videos/01.avi ...
    ground_truth_demo/testing_label_mask/1_label.mat ...     masks, key volLabel; or in the folder's parent

Avenue has two label sets: ``official``, the authors' masks, and ``hasan``, after Hasan et al., which the frames layout
ships as ``frame_labels_avenue.npy``; they differ in 441 frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mnad.data.folders import has_folder, inside, natural_key, videos_in
from mnad.data.label_files import read_labels
from mnad.data.labels import FromMasks, LabelSet
from mnad.data.sources import MaskCells
from mnad.data.splits import Problem, Split, SplitName, Video, collect_labels
from mnad.data.video import VideoFile
from mnad.runtime.places import Place

FOLDERS: dict[SplitName, str] = {"training": "training_videos", "testing": "testing_videos"}
HASAN_FILE = "frame_labels_avenue.npy"


def recognises(root: Place) -> bool:
    """Recognises the layout by training_videos or testing_videos."""
    return any(has_folder(root, folder) for folder in FOLDERS.values())


def read(root: Path, split: SplitName) -> Split:
    """Finds the videos of a split; masks and labels belong to the test videos."""
    files = videos_in(inside(root, FOLDERS[split]))
    if split == "training" or not files:
        return Split(split, tuple(Video(file.stem, VideoFile(file)) for file in files))
    masks = official_masks(root, [file.stem for file in files])
    videos = tuple(Video(file.stem, VideoFile(file), masks.get(file.stem)) for file in files)
    sets, faults = hasan_labels(root, [video.name for video in videos])
    official, warnings = official_labels(masks, [video.name for video in videos])
    return Split(split, videos, (*official, *sets), (*faults, *warnings))


def official_masks(root: Path, names: list[str]) -> dict[str, MaskCells]:
    """Finds the authors' masks of videos that are named by a number: 1_label.mat belongs to 01."""
    folders = [
        base / name
        for base in (root, root.resolve().parent)
        for name in ("ground_truth_demo/testing_label_mask", "testing_label_mask")
    ]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        return {}
    files = sorted(
        (path for path in folder.glob("*_label.mat") if re.match(r"\d+_", path.name)),
        key=lambda path: natural_key(path.name),
    )
    by_number = {int(path.name.split("_")[0]): MaskCells(path) for path in files}
    return {name: by_number[int(name)] for name in names if name.isdecimal() and int(name) in by_number}


def official_labels(
    masks: Mapping[str, MaskCells], names: list[str]
) -> tuple[tuple[LabelSet, ...], tuple[Problem, ...]]:
    """Makes the label set ``official`` where there is a mask file for each video, and warns where some are missing."""
    missing = [name for name in names if name not in masks]
    if not masks:
        return (), ()
    folder = next(iter(masks.values())).path.parent
    if missing:
        fault = f"{folder} has no masks for {len(missing)} of {len(names)} videos, first {missing[0]}"
        return (), (Problem("warning", fault),)
    return (FromMasks("official", str(folder), dict(masks)),), ()


def hasan_labels(root: Path, names: list[str]) -> tuple[tuple[LabelSet, ...], tuple[Problem, ...]]:
    """Finds the label set ``hasan``, in the folder or beside it."""
    files = [path for path in (root / HASAN_FILE, root.resolve().parent / HASAN_FILE) if path.is_file()]
    return collect_labels(files[:1], lambda path: read_labels(path, names, "hasan"))
