"""ShanghaiTech Campus as downloaded.

::

    training/videos/01_001.avi ...           or training/converted_videos, as anomalib makes them
    testing/frames/01_0014/000.jpg ...
    testing/test_frame_mask/01_0014.npy      labels
    testing/test_pixel_mask/01_0014.npy      masks (frames, height, width)
"""

from __future__ import annotations

from pathlib import Path

from mnad.data.folders import folders_in, has_folder, images_in, inside, videos_in
from mnad.data.label_files import read_labels
from mnad.data.sources import ImageFiles, MaskArray
from mnad.data.splits import Split, SplitName, Video, collect_labels
from mnad.data.video import VideoFile
from mnad.runtime.places import Place

VIDEO_FOLDERS = ("videos", "converted_videos")
LABEL_FOLDER, MASK_FOLDER = "test_frame_mask", "test_pixel_mask"


def recognises(root: Place) -> bool:
    """Recognises the layout by training videos in files, or by labels for each test video where frames are missing."""
    videos = any(videos_in(inside(root, "training", folder)) for folder in VIDEO_FOLDERS)
    extracted = has_folder(root, "training", "frames")
    return not extracted and (videos or has_folder(root, "testing", LABEL_FOLDER))


def read(root: Path, split: SplitName) -> Split:
    """Finds the videos of a split; masks and labels belong to the test videos."""
    if split == "training":
        files = next((files for folder in VIDEO_FOLDERS if (files := videos_in(inside(root, split, folder)))), ())
        return Split(split, tuple(Video(file.stem, VideoFile(file)) for file in files))
    masks = inside(root, split, MASK_FOLDER)
    videos = tuple(
        Video(
            folder.name,
            ImageFiles(images_in(folder)),
            MaskArray(file) if (file := masks / f"{folder.name}.npy").is_file() else None,
        )
        for folder in folders_in(inside(root, split, "frames"))
    )
    names = [video.name for video in videos]
    folders = [folder for folder in [inside(root, split, LABEL_FOLDER)] if folder.is_dir()]
    sets, faults = collect_labels(folders, lambda path: read_labels(path, names))
    return Split(split, videos, sets, faults)
