"""What lies in a folder: images, videos and folders in the order in which people count, clutter passed over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
VIDEO_SUFFIXES = {".avi", ".mp4", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv", ".flv", ".ts"}


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts names as people count: frame2 before frame10."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def images_in(folder: Path) -> tuple[Path, ...]:
    """Gives the images directly in a folder, in natural order."""
    return _files_in(folder, IMAGE_SUFFIXES)


def videos_in(folder: Path) -> tuple[Path, ...]:
    """Gives the video files directly in a folder, in natural order."""
    return _files_in(folder, VIDEO_SUFFIXES)


def arrays_in(folder: Path) -> tuple[Path, ...]:
    """Gives the .npy files directly in a folder, in natural order."""
    return _files_in(folder, {".npy"})


def folders_in(folder: Path) -> tuple[Path, ...]:
    """Gives the folders directly in a folder, in natural order; none if it is not there."""
    if not folder.is_dir():
        return ()
    found = (child for child in folder.iterdir() if child.is_dir() and not hidden(child))
    return tuple(sorted(found, key=natural_key))


def hidden(path: Path) -> bool:
    """Tells whether a name is a system's own: ``._`` files and ``.DS_Store`` of macOS."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def frame_number(path: Path) -> int | None:
    """Gives the last number in a frame's name, or None.

    Example:
        >>> frame_number(Path("frame012.jpg"))
        12
    """
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else None


def numbering_faults(frames: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Looks for frames that share a number, and for numbers that are missing between others.

    Returns:
        Duplicates and gaps, each described in a few words.
    """
    by_number: dict[int, list[str]] = {}
    for path in frames:
        number = frame_number(path)
        if number is not None:
            by_number.setdefault(number, []).append(path.name)
    duplicates = [f"{' and '.join(names)} are the same frame" for names in by_number.values() if len(names) > 1]
    numbers = sorted(by_number)
    gaps = [
        f"{after - before - 1} missing between {by_number[before][0]} and {by_number[after][0]}"
        for before, after in pairwise(numbers)
        if after - before > 1
    ]
    return duplicates, gaps


def _files_in(folder: Path, suffixes: set[str]) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not hidden(path))
    return tuple(sorted((path for path in found if path.is_file()), key=natural_key))
