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
from mnad.runtime.places import Place, below, forget_listings, kind_at

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
    recognises: Callable[[Place], bool]
    read: Callable[[Path, SplitName], Split]

    def splits(self, root: Place, names: Sequence[SplitName] = SPLITS) -> list[Split]:
        """Reads the splits that have videos; what serves for both, where both are asked for, is for testing."""
        found = [split for name in names if (split := self.found(root, name)).videos]
        frames = [[video.frames for video in split.videos] for split in found]
        return found[-1:] if len(found) > 1 and frames[0] == frames[1] else found

    def found(self, root: Place, name: SplitName) -> Split:
        """Finds the videos and labels of a split; at an address there are one's own videos alone."""
        return self.read(root, name) if isinstance(root, Path) else videos.read(root, name)

    def passed_over(self, root: Place, found: Sequence[Split]) -> str | None:
        """Returns the files of a folder that are no part of any split, counted by kind; None if there are none.

        Args:
            root: The folder.
            found: Splits of it that have been read already.
        """
        known = {split.name: split for split in found}
        used = {file for name in SPLITS for file in (known.get(name) or self.found(root, name)).files}
        left = [file for file in all_files(root) if file not in used]
        kinds: dict[str, list[Place]] = {}
        for file in left:
            kinds.setdefault(file.suffix.lower() or "without ending", []).append(file)
        parts = [
            f"{len(files)} {kind} ({'' if len(files) == 1 else 'first '}{below(files[0], root)})"
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


def find_layout(root: Place, name: LayoutName | None = None) -> Layout:
    """Finds out how a data set is laid out.

    Args:
        root: The data set's folder, or the address of a video or of a folder of videos.
        name: The layout's name, if it is known.

    Raises:
        DataError: If there is no such folder, or it is laid out in no known way; the message says what was found.
        ConfigError: If there is no layout of that name.
    """
    if not isinstance(root, Path):
        return _layout_at(root, name)
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
    if (layout := _particular(root)) is not None:
        return layout
    inside = [child for child in folders_in(root) if _particular(child) is not None]
    if inside:
        raise DataError(f"{root} is no data set, but holds some; name one: {', '.join(map(str, inside[:5]))}")
    if videos.recognises(root):
        return LAYOUTS["videos"]
    found = ", ".join(sorted(child.name for child in root.iterdir())[:8]) or "nothing"
    known = "; ".join(layout.looks_like for layout in LAYOUTS.values())
    raise DataError(f"{root} is laid out in no known way. It holds {found}. Known are: {known}")


def _particular(root: Place) -> Layout | None:
    """Returns the layout of a benchmark in which a folder is laid out; None if it is none."""
    return next((layout for name, layout in LAYOUTS.items() if name != "videos" and layout.recognises(root)), None)


def _layout_at(root: Place, name: LayoutName | None) -> Layout:
    """Makes sure that there are one's own videos at an address."""
    forget_listings(root)
    if name is not None:
        check_choice("layout", name, LayoutName)
    kind = kind_at(root)
    if kind is None:
        raise DataError(f"there is nothing at {root}")
    other = LAYOUTS[name] if name is not None else _particular(root) if kind == "folder" else None
    if other is not None and other.name != "videos":
        raise DataError(
            f"{root} is laid out as {other.name}: {other.looks_like}. At an address only one's own videos are read, "
            "layout videos; copy the data set here and name the folder"
        )
    if not videos.recognises(root):
        endings = ", ".join(sorted(VIDEO_SUFFIXES))
        raise DataError(f"there is no video at {root}, by its ending ({endings})")
    return LAYOUTS["videos"]
