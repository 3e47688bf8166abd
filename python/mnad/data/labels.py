"""Which frames are abnormal, in all the ways in which it is written down.

A label set knows where it comes from and is fitted to the videos once their frames have been counted; until then its
length cannot be checked. Events count frames from 0 and include their last frame; the readers of files that count
from 1 see to that.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mnad.data.folders import arrays_in
from mnad.data.sources import MaskSource, load_array, load_matlab
from mnad.errors import DataError


class Event(NamedTuple):
    """Abnormal frames in a row, counted from 0; the last one is included."""

    first: int
    last: int


class LabelSet(Protocol):
    """Labels of a split under a name.

    Attributes:
        name: What it is called by ``--labels``.
        source: Where it comes from, for people.
        files: What it was read from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102

    @property
    def files(self) -> tuple[Path, ...]: ...  # noqa: D102

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """Gives a label for each frame, all videos end to end, True = abnormal.

        Args:
            names: The videos.
            counts: The number of frames of each.

        Raises:
            DataError: If the labels are not of these videos; the message names the video.
        """
        ...


@dataclass(frozen=True)
class EndToEnd:
    """One label for each frame, all videos end to end."""

    name: str
    source: str
    files: tuple[Path, ...]
    values: NDArray[np.bool_]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        given, total = len(self.values), sum(counts)
        if given > total:
            raise DataError(
                f"{self.source} has {given} labels for {total} frames: {given - total} are left after the last video, "
                f"{names[-1]}; a frame is missing somewhere or the file belongs to another data set"
            )
        covered = 0
        for name, count in zip(names, counts, strict=True):
            if covered + count > given:
                raise DataError(
                    f"{self.source} has {given} labels for {total} frames: they run out in video {name}, which has "
                    f"{count} frames and gets {given - covered} labels"
                )
            covered += count
        return self.values


@dataclass(frozen=True)
class ByVideo:
    """One label for each frame, video by video."""

    name: str
    source: str
    files: tuple[Path, ...]
    values: Mapping[str, NDArray[np.bool_]]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        _check_names(self.source, self.values, names)
        for name, count in zip(names, counts, strict=True):
            if name not in self.values:
                raise DataError(f"{self.source} has no labels for video {name}")
            if len(self.values[name]) != count:
                raise DataError(f"{self.source} has {len(self.values[name])} labels for the {count} frames of {name}")
        return np.concatenate([self.values[name] for name in names])


@dataclass(frozen=True)
class Events:
    """Events of each video; one that has none is normal."""

    name: str
    source: str
    files: tuple[Path, ...]
    events: Mapping[str, Sequence[Event]]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        _check_names(self.source, self.events, names)
        fitted = []
        for name, count in zip(names, counts, strict=True):
            labels = np.zeros(count, np.bool_)
            for first, last in self.events.get(name, ()):
                if not 0 <= first <= last < count:
                    raise DataError(
                        f"{self.source}: video {name} has the frames 0 to {count - 1}, but an event from {first} to "
                        f"{last} (counted from 0)"
                    )
                labels[first : last + 1] = True
            fitted.append(labels)
        return np.concatenate(fitted)


@dataclass(frozen=True)
class FromMasks:
    """A frame is abnormal where its mask is not empty."""

    name: str
    source: str
    masks: Mapping[str, MaskSource]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all masks."""
        return tuple(file for masks in self.masks.values() for file in masks.files)

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        values = {
            name: np.fromiter((mask.any() for mask in masks.read()), np.bool_) for name, masks in self.masks.items()
        }
        return ByVideo(self.name, self.source, self.files, values).fit(names, counts)


def read_labels(path: Path, videos: Sequence[str], name: str | None = None) -> LabelSet:
    """Reads labels: .npy, .mat with the key ``gt``, .csv or .json of events, .m of UCSD, or a folder of .npy.

    Args:
        path: The file or folder.
        videos: The names of the videos in order; files that name none count them.
        name: What the set is called; the name of the file if left out.

    Raises:
        DataError: If it cannot be read or does not hold labels.
    """
    name = name or path.name
    readers = {".npy": _read_array, ".mat": _read_matlab, ".csv": _read_csv, ".json": _read_json, ".m": _read_script}
    if path.is_dir():
        files = arrays_in(path)
        if not files:
            raise DataError(f"the label folder {path} holds no .npy file")
        return ByVideo(name, str(path), files, {file.stem: as_labels(load_array(file), file) for file in files})
    if not path.is_file():
        raise DataError(f"the label file {path} does not exist")
    if path.suffix.lower() not in readers:
        raise DataError(f"the label file {path} must be one of {', '.join(readers)} or a folder of .npy files")
    return readers[path.suffix.lower()](path, videos, name)


def _read_array(path: Path, videos: Sequence[str], name: str) -> LabelSet:
    return EndToEnd(name, str(path), (path,), as_labels(load_array(path), path))


def as_labels(values: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Turns one row of 0 and 1, in any shape, into labels.

    Raises:
        DataError: If the array holds anything else.
    """
    if values.dtype.kind not in "buif" or values.size != max(values.shape, default=0):
        raise DataError(f"the label file {path} must hold one row of numbers, got {values.dtype} {values.shape}")
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"the label file {path} must hold only 0 (normal) and 1 (abnormal)")
    return values.reshape(-1).astype(np.bool_)


def _read_matlab(path: Path, videos: Sequence[str], name: str) -> LabelSet:
    """Reads a 1 x V cell of 2 x E frame numbers, first and last of each event, counted from 1."""
    variable = load_matlab(path, "gt")
    events = []
    for cell in variable.reshape(-1) if variable.dtype == object else [variable]:
        bounds = np.asarray(cell, dtype=np.int64)
        if bounds.size and bounds.shape[0] != 2:
            bounds = bounds.reshape(2, 1) if bounds.size == 2 else bounds.T  # one event that was read as a row
        if bounds.size and bounds.shape[0] != 2:
            raise DataError(f"{path}: gt must hold 2 x E frame numbers for each video, got {np.shape(cell)}")
        events.append([Event(int(first) - 1, int(last) - 1) for first, last in bounds.reshape(2, -1).T])
    return _in_order(path, events, videos, name)


def _read_script(path: Path, videos: Sequence[str], name: str) -> LabelSet:
    """Reads UCSD's lines ``TestVideoFile{end+1}.gt_frame = [61:180];``, counted from 1."""
    lines = (line.split("%")[0] for line in path.read_text(errors="replace").splitlines())
    found = re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", "\n".join(lines))
    if not found:
        raise DataError(f"the label file {path} has no line such as TestVideoFile{{end+1}}.gt_frame = [61:180];")
    events = []
    for ranges in found:
        parts = [part.split(":") for part in re.split(r"[,\s]+", ranges.strip()) if part]
        if any(not bound.isdecimal() for part in parts for bound in part) or any(len(part) > 2 for part in parts):
            raise DataError(f"the label file {path} has frames that are no ranges: [{ranges}]")
        events.append([Event(int(part[0]) - 1, int(part[-1]) - 1) for part in parts])
    return _in_order(path, events, videos, name)


def _in_order(path: Path, events: list[list[Event]], videos: Sequence[str], name: str) -> Events:
    if len(events) != len(videos):
        raise DataError(f"the label file {path} has the events of {len(events)} videos, but there are {len(videos)}")
    return Events(name, str(path), (path,), dict(zip(videos, events, strict=True)))


def _read_csv(path: Path, videos: Sequence[str], name: str) -> LabelSet:
    """Reads rows of video, first and last abnormal frame, counted from 0."""
    events: dict[str, list[Event]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        if set(rows.fieldnames or ()) != {"video", "first", "last"}:
            raise DataError(
                f"the label file {path} must begin with the line video,first,last (abnormal frames counted from 0, the "
                f"last included), got {','.join(rows.fieldnames or ())!r}"
            )
        for row in rows:
            try:
                events.setdefault(row["video"], []).append(Event(int(row["first"]), int(row["last"])))
            except (TypeError, ValueError):
                raise DataError(f"line {rows.line_num} of {path} must hold a video and two frame numbers") from None
    return Events(name, str(path), (path,), events)


def _read_json(path: Path, videos: Sequence[str], name: str) -> LabelSet:
    """Reads an object of videos, each with a list of [first, last] abnormal frames, counted from 0."""
    rule = f'the label file {path} must hold {{"video": [[first, last], ...]}}, frames counted from 0'
    try:
        content = json.loads(path.read_text())
        events = {str(video): [Event(*map(int, pair)) for pair in pairs] for video, pairs in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{rule}: {error}") from error
    return Events(name, str(path), (path,), events)


def _check_names(source: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise DataError(
            f"{source} has labels for {unknown[0]}, which is none of the {len(names)} videos ({', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''})"
        )
