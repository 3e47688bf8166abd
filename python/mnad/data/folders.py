"""What lies in a folder: pictures, videos and folders in the order in which people count, clutter passed over."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, PlaceT, absolute, listed

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2", ".pgm", ".ppm", ".pnm", ".pbm",
}  # fmt: skip
VIDEO_SUFFIXES = {
    ".avi", ".divx", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".ogv", ".mpg", ".mpeg", ".mpe",
    ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".wmv", ".asf", ".flv", ".f4v", ".gif", ".dv", ".dav", ".264", ".h264",
    ".avc", ".265", ".h265", ".hevc", ".mjpg", ".mjpeg", ".ivf", ".y4m", ".nut",
}  # fmt: skip
# Thumbnails and notes that systems leave, beside names that begin with a dot.
CLUTTER = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"}


def natural_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Sorts names as people count, frame2 before frame10, and never two of them alike.

    Example:
        >>> sorted(["2026.01.10", "2026.01.9", "1", "01"], key=natural_key)
        ['01', '1', '2026.01.9', '2026.01.10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), name


def images_in(folder: PlaceT) -> tuple[PlaceT, ...]:
    """Returns the images directly in a folder, in natural order."""
    return _files_in(folder, IMAGE_SUFFIXES)


def videos_in(folder: PlaceT) -> tuple[PlaceT, ...]:
    """Returns the video files directly in a folder, in natural order."""
    return _files_in(folder, VIDEO_SUFFIXES)


def arrays_in(folder: PlaceT) -> tuple[PlaceT, ...]:
    """Returns the .npy files directly in a folder, in natural order."""
    return _files_in(folder, {".npy"})


def folders_in(folder: PlaceT) -> tuple[PlaceT, ...]:
    """Returns the folders directly in a folder, in natural order; none if it is not there.

    A link to a folder in which it lies itself leads nowhere new and is left out.
    """
    above = {folder.resolve(), *folder.resolve().parents} if isinstance(folder, Path) else set()
    found = [child for child in _children(folder, "folders") if not hidden(child)]
    again = {child for child in found if isinstance(child, Path) and child.is_symlink() and child.resolve() in above}
    return tuple(sorted((child for child in found if child not in again), key=lambda child: natural_key(child.name)))


def folder_named(root: PlaceT, *names: str) -> PlaceT | None:
    """Returns the folder that has the first of some names that any has, in whatever capitals."""
    children = {child.name: child for child in folders_in(root)}
    anyhow = {name.lower(): child for name, child in reversed(children.items())}
    return next((found for name in names if (found := children.get(name) or anyhow.get(name.lower()))), None)


def inside(root: PlaceT, *names: str) -> PlaceT:
    """Returns the path of a folder below another, names in whatever capitals; as it is named if it is not there."""
    for name in names:
        root = folder_named(root, name) or root / name
    return root


def has_folder(root: Place, *names: str) -> bool:
    """Returns whether there is a folder below another, names in whatever capitals."""
    found: Place | None = root
    for name in names:
        found = None if found is None else folder_named(found, name)
    return found is not None


def files_named(folder: PlaceT, *names: str) -> list[PlaceT]:
    """Returns the files in a folder that have one of some names, in whatever capitals, in the order of the names."""
    children = _children(folder, "files")
    return [child for name in names for child in sorted(children) if child.name.lower() == name]


def all_files(root: PlaceT) -> Iterator[PlaceT]:
    """Yields every file in a folder and in those below it, each folder once, clutter left out."""
    seen: set[Place] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        if (real := absolute(folder)) in seen:
            continue
        seen.add(real)
        yield from sorted(child for child in _children(folder, "files") if not hidden(child))
        waiting += reversed(folders_in(folder))


def hidden(path: Place) -> bool:
    """Returns whether a name is a system's own: ``._`` files and ``.DS_Store`` of macOS, thumbnails of Windows."""
    return path.name.startswith(".") or path.name.lower() in CLUTTER


def numbering_faults(frames: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Looks for frames that share a number, and for numbers that are missing between others.

    A frame's number is the part of its name that changes from name to name. Where several do, as in a time of day,
    there is no such number. It may grow by more than 1 at each frame; only where it grows more than usual is a gap.

    Returns:
        Duplicates and gaps, each described in a few words.
    """
    by_text: dict[tuple[str, ...], list[tuple[list[int], str]]] = {}
    for path in frames:
        parts = re.split(r"(\d+)", path.stem)
        by_text.setdefault(tuple(parts[::2]), []).append(([int(part) for part in parts[1::2]], path.name))
    duplicates: list[str] = []
    gaps: list[str] = []
    for named in by_text.values():
        columns = list(zip(*(numbers for numbers, _ in named), strict=True))
        changing = [column for column in columns if len(set(column)) > 1] or columns[:1]
        if len(changing) == 1:
            doubles, missing = _faults_of(changing[0], [name for _, name in named])
            duplicates += doubles
            gaps += missing
    return duplicates, gaps


def _faults_of(numbers: Sequence[int], names: Sequence[str]) -> tuple[list[str], list[str]]:
    by_number: dict[int, list[str]] = {}
    for number, name in zip(numbers, names, strict=True):
        by_number.setdefault(number, []).append(name)
    duplicates = [f"{' and '.join(alike)} are the same frame" for alike in by_number.values() if len(alike) > 1]
    steps = [(after - before, before, after) for before, after in pairwise(sorted(by_number))]
    if not steps:
        return duplicates, []
    usual, times = Counter(step for step, _, _ in steps).most_common(1)[0]
    if 2 * times < len(steps):  # times of arrival, not numbers
        return duplicates, []
    gaps = [
        f"{step // usual - 1} missing between {by_number[before][0]} and {by_number[after][0]}"
        for step, before, after in steps
        if step >= 2 * usual
    ]
    return duplicates, gaps


def _children(folder: PlaceT, kind: Literal["files", "folders"]) -> list[PlaceT]:
    """Returns the files, or the folders, directly in a folder; none if it is not there. No file is asked for alone."""
    if not isinstance(folder, Path):
        return [child for child, is_folder in listed(folder) if is_folder == (kind == "folders")]
    try:
        with os.scandir(folder) as found:
            return [folder / child.name for child in found if _is_of(child, kind)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"cannot look into {folder}: {error.strerror}") from error


def _is_of(child: os.DirEntry[str], kind: Literal["files", "folders"]) -> bool:
    try:
        return child.is_dir() if kind == "folders" else child.is_file()
    except OSError:  # a link that leads to itself
        return False


def _files_in(folder: PlaceT, suffixes: set[str]) -> tuple[PlaceT, ...]:
    found = (path for path in _children(folder, "files") if path.suffix.lower() in suffixes and not hidden(path))
    return tuple(sorted(found, key=lambda path: (natural_key(path.stem), path.name)))
