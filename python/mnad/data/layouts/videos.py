"""One's own videos: video files, folders of frames, or a single one of either.

::

    normal/*.mp4, or training/ or train/     normal video to train on
    testing/*.mp4, or test/                  video to score; without such a folder all that is not for training
    labels.csv, labels.json or labels.npy    optional, in the folder or in testing/
    testing/NAME.npy                         or labels beside each video

Where no folder has one of these names, or there is but one video, all serves for what is asked for. Capitals do not
matter. The pictures of a folder are the frames of one video, unless a video file lies beside them, or it is a single
picture and there is more below: then they are no frames. At an address such as s3://bucket/folder only video files are
read, as each picture would be a request: pictures that would be frames are an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mnad.data.folders import (
    VIDEO_SUFFIXES,
    arrays_in,
    files_named,
    folder_named,
    folders_in,
    images_in,
    natural_key,
    videos_in,
)
from mnad.data.images import PAGED, pages_of
from mnad.data.label_files import as_labels, read_labels
from mnad.data.labels import ByVideo, LabelSet
from mnad.data.sources import FrameSource, ImageFiles, PagedImage, load_array
from mnad.data.splits import Split, SplitName, Video, collect_labels
from mnad.data.video import VideoFile
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, below, is_file, version_of

FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "training": ("normal", "training", "train"),
    "testing": ("testing", "test"),
}
LABEL_FILES = ("labels.csv", "labels.json", "labels.npy")


def recognises(root: Place) -> bool:
    """Recognises the layout by a video file, or a folder of images, anywhere below; or the file is one itself."""
    return next(_videos(root, root), None) is not None


def read(root: Place, split: SplitName) -> Split:
    """Finds the videos of a split and, for testing, their labels."""
    marked = {name: folder_named(root, *names) for name, names in FOLDERS.items()}
    chosen = marked[split] or root
    if split == "training" and marked["training"] is None and marked["testing"] is not None:
        return Split(split, ())
    videos = tuple(_videos(chosen, chosen, leave_out=marked["training"] if split == "testing" else None))
    if split == "training":
        return Split(split, videos)
    names = [video.name for video in videos]
    bases = dict.fromkeys((chosen, root))
    files = [file for base in bases for file in files_named(base, *LABEL_FILES)]
    sets, faults = collect_labels(files, lambda path: read_labels(path, names))
    beside = chosen.parent if is_file(chosen) else chosen
    if not files and _arrays_beside(beside, names):
        sets, faults = collect_labels([beside], lambda base: _beside(base, names))
    return Split(split, videos, sets, faults)


def _videos(place: Place, base: Place, leave_out: Place | None = None) -> Iterator[Video]:
    """Yields the videos in a folder and in the folders below it, named by their place under ``base``."""
    if place == base and is_file(place):
        if place.suffix.lower() in VIDEO_SUFFIXES or _is_paged(place):
            yield Video(place.stem, _source(place))
        return
    files = sorted((*videos_in(place), *filter(_is_paged, images_in(place))), key=lambda file: natural_key(file.stem))
    for file in files:
        yield Video(below(file, base).removesuffix(file.suffix), _source(file))
    folders = [child for child in folders_in(place) if child != leave_out]
    found = [video for child in folders for video in _videos(child, base, leave_out)]
    pictures = () if files else images_in(place)
    if len(pictures) > 1 or (pictures and not found):
        yield Video(place.name if place == base else below(place, base), ImageFiles(_local(pictures)))
    yield from found


def _source(file: Place) -> FrameSource:
    if not isinstance(file, Path):
        return VideoFile(file, version_of(file))
    return VideoFile(file) if file.suffix.lower() in VIDEO_SUFFIXES else PagedImage(file)


def _is_paged(file: Place) -> bool:
    return isinstance(file, Path) and file.suffix.lower() in PAGED and pages_of(file) > 1


def _local(pictures: tuple[Place, ...]) -> tuple[Path, ...]:
    """Makes sure that pictures, of which each is a frame, lie on this machine."""
    local = tuple(picture for picture in pictures if isinstance(picture, Path))
    if len(local) < len(pictures):
        raise DataError(
            f"{pictures[0].parent} holds {len(pictures)} pictures, first {pictures[0].name}: at an address only video "
            "files are read. Copy the folder here, or make a video of it"
        )
    return local


def _arrays_beside(base: Place, names: list[str]) -> bool:
    """Returns whether there is an array of labels for any video, by listings of the folders alone."""
    arrays = {array for folder in {(base / name).parent for name in names} for array in arrays_in(folder)}
    return any(base / f"{name}.npy" in arrays for name in names)


def _beside(base: Place, names: list[str]) -> LabelSet:
    files = [base / f"{name}.npy" for name in names]
    values = {name: as_labels(load_array(file), file) for name, file in zip(names, files, strict=True)}
    return ByVideo("beside the videos", f"{base}/*.npy", tuple(files), values)
