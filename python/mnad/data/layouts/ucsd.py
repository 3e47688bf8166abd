"""UCSD Ped1 and Ped2 as downloaded.

::

    Train/Train001/001.tif ...
    Test/Test001/001.tif ...
    Test/Test001_gt/001.bmp ...      masks, some clips name them frame001.bmp; Ped1 has them for ten clips only
    Test/UCSDped2.m                  events of each clip, counted from 1
"""

from __future__ import annotations

from pathlib import Path

from mnad.data.folders import folders_in, hidden, inside
from mnad.data.label_files import read_labels
from mnad.data.labels import FromMasks, LabelSet
from mnad.data.splits import Split, SplitName, collect_labels, image_video
from mnad.runtime.places import Place

FOLDERS: dict[SplitName, str] = {"training": "Train", "testing": "Test"}


def recognises(root: Place) -> bool:
    """Recognises the layout by Train/Train001 or Test/Test001."""
    return any(
        child.name.lower().startswith(folder.lower()) and child.name[len(folder) :].isdecimal()
        for folder in FOLDERS.values()
        for child in folders_in(inside(root, folder))
    )


def read(root: Path, split: SplitName) -> Split:
    """Finds the clips of a split; masks and labels belong to the test clips."""
    folder = inside(root, FOLDERS[split])
    clips = [child for child in folders_in(folder) if not child.name.endswith("_gt")]
    videos = tuple(image_video(clip, clip.with_name(f"{clip.name}_gt")) for clip in clips)
    if split == "training" or not videos:
        return Split(split, videos)
    names = [video.name for video in videos]
    scripts = sorted(path for path in folder.glob("*.m") if not hidden(path))
    sets, faults = collect_labels(scripts, lambda path: read_labels(path, names))
    masks = {video.name: video.masks for video in videos if video.masks is not None}
    from_masks: list[LabelSet] = [FromMasks("masks", f"{folder}/*_gt", masks)] if len(masks) == len(videos) else []
    return Split(split, videos, (*sets, *from_masks), faults)
