"""The frames layout, in which the three benchmark sets are passed on.

::

    ROOT/training/frames/01/000.jpg ...
    ROOT/testing/frames/01/000.jpg ...
    ROOT/testing/masks/01/000.png            pixel masks, where there are any
    ROOT/frame_labels_NAME.npy               one label for each test frame, all videos end to end; or in ROOT's parent
    ROOT/NAME.mat                            or events, key gt, counted from 1
    ROOT/testing/test_frame_mask/01.npy      or labels video by video
"""

from __future__ import annotations

from pathlib import Path

from mnad.data.folders import folders_in, has_folder, hidden, inside
from mnad.data.label_files import read_labels
from mnad.data.labels import LabelSet
from mnad.data.layouts import avenue
from mnad.data.layouts.shanghaitech import LABEL_FOLDER, MASK_FOLDER
from mnad.data.sources import MaskArray
from mnad.data.splits import Problem, Split, SplitName, Video, collect_labels, image_video
from mnad.runtime.places import Place

PREFIX = "frame_labels_"


def recognises(root: Place) -> bool:
    """Recognises the layout by training/frames or testing/frames."""
    return any(has_folder(root, split, "frames") for split in ("training", "testing"))


def read(root: Path, split: SplitName) -> Split:
    """Finds the videos of a split; masks and labels belong to the test videos."""
    videos = tuple(_video(inside(root, split), folder) for folder in folders_in(inside(root, split, "frames")))
    if split == "training" or not videos:
        return Split(split, videos)
    names = [video.name for video in videos]
    files, clear = _label_files(root)
    sets, faults = collect_labels(files, lambda path: read_labels(path, names, _set_name(path)))
    official, warnings = _official(root, sets, names)
    return Split(split, videos, (*sets, *official), (*faults, *warnings), clear_default=clear)


def _video(split: Path, folder: Path) -> Video:
    array = inside(split, MASK_FOLDER) / f"{folder.name}.npy"
    video = image_video(folder, inside(split, "masks") / folder.name)
    return Video(video.name, video.frames, MaskArray(array)) if array.is_file() else video


def _label_files(root: Path) -> tuple[list[Path], bool]:
    """Returns label files, the likeliest first, and whether it is clear that it is meant."""
    inside = _visible(root.glob(f"{PREFIX}*.npy"))
    beside = _visible(root.resolve().parent.glob(f"{PREFIX}*.npy"))
    name = root.resolve().name.lower()
    matching = [path for path in inside or beside if path.stem.removeprefix(PREFIX).lower() in name]
    others = [*_visible(root.glob("*.mat")), *(path for path in _label_folders(root) if path.is_dir())]
    ordered = [*matching, *(path for path in inside if path not in matching), *others]
    return ordered, len(inside) <= 1 or len(matching) == 1


def _label_folders(root: Path) -> list[Path]:
    return [inside(root, "testing", LABEL_FOLDER), inside(root, "testing", "labels")]


def _visible(paths: object) -> list[Path]:
    return sorted(path for path in paths if not hidden(path))  # type: ignore[attr-defined]


def _set_name(path: Path) -> str:
    return "hasan" if path.stem.removeprefix(PREFIX).lower() == "avenue" else path.name


def _official(
    root: Path, sets: tuple[LabelSet, ...], names: list[str]
) -> tuple[tuple[LabelSet, ...], tuple[Problem, ...]]:
    """Finds Avenue's other label set where the first one is there."""
    if not any(labels.name == "hasan" for labels in sets):
        return (), ()
    return avenue.official_labels(avenue.official_masks(root, names), names)
