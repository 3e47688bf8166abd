"""The layouts in which data sets are passed on: one file for each, found by looking at the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mnad.data.folders import VIDEO_SUFFIXES, all_files, folders_in
from mnad.data.layouts import avenue, frames, shanghaitech, ucsd, videos
from mnad.data.splits import SPLITS, Split, SplitName
from mnad.runtime.choices import check_choice
from mnad.runtime.errors import DataError

LayoutName = Literal["ucsd", "avenue", "shanghaitech", "frames", "videos"]
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".bz2", ".xz"}


@dataclass(frozen=True)
class Layout:
    """A way in which a data set lies in a folder.

    Attributes:
        name: What it is called by ``--layout``.
        looks_like: What it is known by, for people.
        recognises: Tells whether a folder is laid out so.
        read: Finds the videos and labels of a split, decoding nothing.
    """

    name: LayoutName
    looks_like: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, SplitName], Split]

    def splits(self, root: Path, names: Sequence[SplitName] = SPLITS) -> list[Split]:
        """Reads the splits that have videos; what serves for both, where both are asked for, is for testing."""
        found = [split for name in names if (split := self.read(root, name)).videos]
        frames = [[video.frames for video in split.videos] for split in found]
        return found[-1:] if len(found) > 1 and frames[0] == frames[1] else found

    def passed_over(self, root: Path, found: Sequence[Split]) -> str | None:
        """Returns the files of a folder that are no part of any split, counted by kind; None if there are none.

        Args:
            root: The folder.
            found: Splits of it that have been read already.
        """
        known = {split.name: split for split in found}
        used = {file for name in SPLITS for file in (known.get(name) or self.read(root, name)).files}
        left = [file for file in all_files(root) if file not in used] if root.is_dir() else []
        kinds: dict[str, list[Path]] = {}
        for file in left:
            kinds.setdefault(file.suffix.lower() or "without ending", []).append(file)
        parts = [
            f"{len(files)} {kind} ({'' if len(files) == 1 else 'first '}{files[0].relative_to(root)})"
            for kind, files in sorted(kinds.items(), key=lambda pair: -len(pair[1]))
        ]
        return f"left out of {root}: {', '.join(parts)}" if parts else None


# The more particular ones come first; a folder of videos is what is none of the others.
LAYOUTS: dict[LayoutName, Layout] = {
    layout.name: layout
    for layout in (
        Layout("ucsd", "UCSD as downloaded: Train/Train001/001.tif", ucsd.recognises, ucsd.read),
        Layout("avenue", "CUHK Avenue as downloaded: training_videos/01.avi", avenue.recognises, avenue.read),
        Layout(
            "shanghaitech",
            "ShanghaiTech as downloaded: training/videos/01_001.avi, testing/frames/01_0014/000.jpg",
            shanghaitech.recognises,
            shanghaitech.read,
        ),
        Layout("frames", "the frames layout: training/frames/01/000.jpg", frames.recognises, frames.read),
        Layout(
            "videos",
            "one's own: a video, a folder of frames, or a folder with normal/a.mp4 to train on and others to score",
            videos.recognises,
            videos.read,
        ),
    )
}
assert set(LAYOUTS) == set(get_args(LayoutName))


def find_layout(root: Path, name: LayoutName | None = None) -> Layout:
    """Finds out how a data set is laid out.

    Args:
        root: The data set's folder.
        name: The layout's name, if it is known.

    Raises:
        DataError: If there is no such folder, or it is laid out in no known way; the message says what was found.
        ConfigError: If there is no layout of that name.
    """
    archive = next((part for part in (root, *root.parents) if part.is_file()), None)
    if archive is not None and archive.suffix.lower() in ARCHIVES:
        raise DataError(f"{archive} is an archive; extract it and name the folder that comes out")
    if root.is_file() and videos.recognises(root):
        return LAYOUTS["videos"]
    if archive is not None:
        endings = ", ".join(sorted(VIDEO_SUFFIXES))
        raise DataError(
            f"{archive} is neither a folder nor a video by its ending; name the folder that holds the data set, or a "
            f"video ({endings})"
        )
    if not root.exists():
        raise DataError(f"the data folder {root} does not exist")
    if name is not None:
        check_choice("layout", name, LayoutName)
        return LAYOUTS[name]
    particular = [layout for name, layout in LAYOUTS.items() if name != "videos"]
    for layout in particular:
        if layout.recognises(root):
            return layout
    inside = [child for child in folders_in(root) if any(layout.recognises(child) for layout in particular)]
    if inside:
        raise DataError(f"{root} is no data set, but holds some; name one: {', '.join(map(str, inside[:5]))}")
    if videos.recognises(root):
        return LAYOUTS["videos"]
    found = ", ".join(sorted(child.name for child in root.iterdir())[:8]) or "nothing"
    known = "; ".join(layout.looks_like for layout in LAYOUTS.values())
    raise DataError(f"{root} is laid out in no known way. It holds {found}. Known are: {known}")
