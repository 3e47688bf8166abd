"""Reading labels from files, in the formats and encodings that data sets, scripts and spreadsheets write."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.data.downloads import local_copy
from mnad.data.folders import arrays_in
from mnad.data.labels import ByVideo, EndToEnd, Event, Events, LabelSet
from mnad.data.matlab import load_matlab
from mnad.data.sources import load_array
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, is_file

MOST_FRAMES = 2**53  # above it a number of a spreadsheet or of MATLAB is no longer exact


def read_labels(path: Place, videos: Sequence[str], name: str | None = None) -> LabelSet:
    """Reads labels: .npy, .mat with the key ``gt``, .csv or .json of events, .m of UCSD, or a folder of .npy.

    Text may be in UTF-8, UTF-16 or UTF-32 with a byte order mark, or in Windows-1252.

    Args:
        path: The file or folder.
        videos: The names of the videos in order; files that name none count them.
        name: What the set is called; the name of the file if left out.

    Raises:
        DataError: If it cannot be read or does not hold labels.
    """
    name = name or path.name
    if not is_file(path):
        files = arrays_in(path)
        if not files:
            raise DataError(f"{path} is neither a label file nor a folder that holds .npy files")
        return ByVideo(name, str(path), files, {file.stem: as_labels(load_array(file), file) for file in files})
    if path.suffix.lower() not in READERS:
        raise DataError(f"the label file {path} must be one of {', '.join(READERS)} or a folder of .npy files")
    return READERS[path.suffix.lower()](path, videos, name)


def as_labels(values: NDArray[Any], path: Place) -> NDArray[np.bool_]:
    """Turns one row of 0 and 1, in any shape, into labels.

    Raises:
        DataError: If the array holds anything else.
    """
    if values.dtype.kind not in "buif" or values.size != max(values.shape, default=0):
        raise DataError(f"the label file {path} must hold one row of numbers, got {values.dtype} {values.shape}")
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"the label file {path} must hold only 0 (normal) and 1 (abnormal)")
    return values.reshape(-1).astype(np.bool_)


def _read_array(path: Place, videos: Sequence[str], name: str) -> LabelSet:
    return EndToEnd(name, str(path), (path,), as_labels(load_array(path), path))


def _read_matlab(path: Place, videos: Sequence[str], name: str) -> LabelSet:
    """Reads a 1 x V cell of 2 x E or E x 2 frame numbers, first and last of each event, counted from 1."""
    variable = load_matlab(path, "gt")
    cells = list(variable.reshape(-1)) if variable.dtype == object else [variable]
    events = [[Event(first - 1, last - 1) for first, last in _pairs(path, cell)] for cell in cells]
    return _in_order(path, events, videos, name)


def _pairs(path: Place, cell: Any) -> list[tuple[int, int]]:
    """Returns the first and the last frame of each event, whichever way round a matrix of them is."""
    bounds = np.asarray(cell)
    if bounds.size == 0:
        return []
    if bounds.ndim != 2 or 2 not in bounds.shape or bounds.dtype.kind not in "uif":
        raise DataError(f"{path}: gt must hold 2 x E frame numbers for each video, got {bounds.dtype} {bounds.shape}")
    numbers = [[_frame_number(path, value) for value in row] for row in bounds.tolist()]
    in_columns = list(zip(*numbers, strict=True))
    if bounds.shape != (2, 2):
        return [(pair[0], pair[1]) for pair in (in_columns if len(numbers) == 2 else numbers)]
    ways = [[(pair[0], pair[1]) for pair in way] for way in (in_columns, numbers)]
    fitting = [pairs for pairs in ways if pairs[0][0] <= pairs[0][1] <= pairs[1][0] <= pairs[1][1]]
    if not fitting:
        raise DataError(
            f"{path}: the two events {numbers} follow each other neither by columns (2 x E, as Avenue has them) nor by "
            "rows"
        )
    return fitting[0]


def _read_script(path: Place, videos: Sequence[str], name: str) -> LabelSet:
    """Reads UCSD's lines ``TestVideoFile{end+1}.gt_frame = [61:180];``, counted from 1."""
    lines = (line.split("%")[0] for line in _read_text(path).splitlines())
    found = re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", "\n".join(lines))
    if not found:
        raise DataError(f"the label file {path} has no line such as TestVideoFile{{end+1}}.gt_frame = [61:180];")
    events = []
    for ranges in found:
        parts = [part.split(":") for part in re.split(r"[,\s]+", ranges.strip()) if part]
        if any(not bound.isdecimal() for part in parts for bound in part) or any(len(part) > 2 for part in parts):
            raise DataError(f"the label file {path} has frames that are no ranges: [{ranges}]")
        numbers = [[_frame_number(path, bound) for bound in part] for part in parts]
        events.append([Event(part[0] - 1, part[-1] - 1) for part in numbers])
    return _in_order(path, events, videos, name)


def _in_order(path: Place, events: list[list[Event]], videos: Sequence[str], name: str) -> Events:
    if len(events) != len(videos):
        raise DataError(f"the label file {path} has the events of {len(events)} videos, but there are {len(videos)}")
    return Events(name, str(path), (path,), dict(zip(videos, events, strict=True)))


def _read_csv(path: Place, videos: Sequence[str], name: str) -> LabelSet:
    """Reads rows of video, first and last abnormal frame, counted from 0; by commas, semicolons or tabs."""
    lines = _read_text(path).splitlines()
    header = lines[0] if lines else ""
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    columns = [column.strip().strip('"').strip().lower() for column in header.split(delimiter)]
    if sorted(columns) != ["first", "last", "video"]:
        raise DataError(
            f"the label file {path} must begin with the line video,first,last (abnormal frames counted from 0, the "
            f"last included), got {header!r}"
        )
    events: dict[str, list[Event]] = {}
    rows = csv.reader(lines[1:], delimiter=delimiter, skipinitialspace=True)
    try:
        for row in rows:
            if not any(value.strip() for value in row):
                continue  # spreadsheets leave empty lines at the end
            where = f"line {rows.line_num + 1} of {path}"
            if len(row) != len(columns):
                raise DataError(f"{where} must hold a video and two frame numbers, got {delimiter.join(row)!r}")
            value = dict(zip(columns, row, strict=True))
            event = Event(_frame_number(where, value["first"]), _frame_number(where, value["last"]))
            events.setdefault(value["video"].strip(), []).append(event)
    except csv.Error as error:
        raise DataError(f"the label file {path} cannot be read as CSV: {error}") from error
    return Events(name, str(path), (path,), events)


def _read_json(path: Place, videos: Sequence[str], name: str) -> LabelSet:
    """Reads an object of videos, each with a list of [first, last] abnormal frames, counted from 0."""
    rule = f'the label file {path} must hold {{"video": [[first, last], ...]}}, frames counted from 0'
    try:
        content = json.loads(_read_text(path), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{rule}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{rule}, got {type(content).__name__}")
    events = {}
    for video, pairs in content.items():
        if not isinstance(pairs, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
            raise DataError(f"{rule}, got {str(pairs)[:80]} for {video}")
        where = f"video {video} of {path}"
        events[video] = [Event(_frame_number(where, first), _frame_number(where, last)) for first, last in pairs]
    return Events(name, str(path), (path,), events)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return content


def _frame_number(where: object, value: object) -> int:
    """Returns a whole number that was written as one, or as spreadsheets and MATLAB do: 12.0.

    Raises:
        DataError: If it is anything else; half a frame is not cut off.
    """
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else np.nan
    except (ValueError, OverflowError):
        number = np.nan
    if not abs(number) < MOST_FRAMES or number != int(number):
        raise DataError(f"{where}: a frame number must be a whole number, got {str(value)[:40]!r}")
    return int(number)


def _read_text(path: Place) -> str:
    """Reads text in UTF-8, in what a byte order mark says, or else in Windows-1252, which spreadsheets save as.

    Raises:
        DataError: If it cannot be read, or is no text.
    """
    try:
        with local_copy(path) as file:
            content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the label file {path}: {error.strerror}") from error
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((encoding for mark, encoding in marks.items() if content.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(f"the label file {path} is no text in UTF-8, UTF-16 with a byte order mark, or Windows-1252")


READERS: Mapping[str, Callable[[Place, Sequence[str], str], LabelSet]] = {
    ".npy": _read_array,
    ".mat": _read_matlab,
    ".csv": _read_csv,
    ".json": _read_json,
    ".m": _read_script,
}
