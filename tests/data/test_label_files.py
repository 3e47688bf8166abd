"""Labels as spreadsheets, scripts and MATLAB write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mnad.data.label_files import read_labels
from mnad.data.labels import Event, Events
from mnad.runtime.errors import DataError
from scipy.io import savemat

ROWS = "video,first,last\r\nJürgens Tor,10,20\r\nyard,3,3\r\n"
EVENTS = {"Jürgens Tor": [Event(10, 20)], "yard": [Event(3, 3)]}


def events_of(path: Path, videos: tuple[str, ...] = tuple(EVENTS)) -> dict[str, Any]:
    labels = read_labels(path, videos)
    assert isinstance(labels, Events)
    return dict(labels.events)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_in_every_encoding(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(ROWS.replace(",", delimiter).encode(encoding))
    assert events_of(path) == EVENTS


@pytest.mark.parametrize(
    "text",
    [
        'Video,First,Last\n"Jürgens Tor",10,20\nyard,3,3',
        "first, last, video\n10, 20, Jürgens Tor\n3, 3, yard\n",
        '"video","first","last"\n"Jürgens Tor","10","20"\n"yard","3","3"\n',
        "video,first,last\nJürgens Tor,10.0,20.0\nyard,3.0,3\n,,\n\n",
    ],
)
def test_csv_as_spreadsheets_write_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert events_of(tmp_path / "labels.csv") == EVENTS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_and_scripts_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "labels.json").write_bytes(json.dumps(EVENTS, ensure_ascii=False).encode(encoding))
    assert events_of(tmp_path / "labels.json") == EVENTS
    script = "% für die Prüfung\nTestVideoFile{end+1}.gt_frame = [11:21];\nTestVideoFile{end+1}.gt_frame = [4];\n"
    (tmp_path / "UCSD.m").write_bytes(script.encode(encoding))
    assert events_of(tmp_path / "UCSD.m") == EVENTS


def test_matlab_either_way_round(tmp_path: Path) -> None:
    columns = [[[11, 51], [21, 61]], [[11], [21]], [[1, 11, 21], [5, 15, 25]], np.zeros((2, 0)), [[5, 8], [5, 9]]]
    expected = [
        [Event(10, 20), Event(50, 60)],
        [Event(10, 20)],
        [Event(0, 4), Event(10, 14), Event(20, 24)],
        [],
        [Event(4, 4), Event(7, 8)],
    ]
    names = tuple("abcde")
    for way in (np.asarray, lambda cell: np.transpose(cell)):
        gt = np.empty((1, 5), object)
        for index, cell in enumerate(columns):
            gt[0, index] = np.asarray(way(cell), np.float64)
        savemat(tmp_path / "gt.mat", {"gt": gt})
        assert list(events_of(tmp_path / "gt.mat", names).values()) == expected


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[10.5], [20]], "must be a whole number, got '10.5'"),
        ([[np.nan], [20]], "must be a whole number, got 'nan'"),
        ([[30, 10], [20, 5]], "neither by columns .* nor by rows"),
        (np.ones((3, 3)), r"2 x E frame numbers for each video, got float64 \(3, 3\)"),
        ("ab", "2 x E frame numbers"),
    ],
)
def test_matlab_that_makes_no_sense(tmp_path: Path, cell: object, message: str) -> None:
    gt = np.empty((1, 1), object)
    gt[0, 0] = cell
    savemat(tmp_path / "gt.mat", {"gt": gt})
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "gt.mat", ["a"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "labels.csv",
            b"video,first,last\na,1.5,2\n",
            "line 2 of .* must be a whole number, got '1.5'",
        ),
        ("labels.csv", b"video,first,last\na,1,\n", "line 2 of .*: a frame number must be a whole number, got ''"),
        ("labels.csv", "video,first,last\na,1,2\n".encode("utf-16-le"), "is no text in UTF-8"),
        ("labels.csv", b"video,first,last\na\x81,1,2\n", "is no text in UTF-8"),
        ("labels.csv", b"", "must begin with the line"),
        ("labels.json", b'{"a": [[1, 2.5]]}', "video a of .*: a frame number must be a whole number, got '2.5'"),
        ("labels.json", b'{"a": [[true, 2]]}', "must be a whole number, got 'True'"),
        ("labels.json", b'{"a": ["12"]}', "got .* for a"),
        ("labels.json", b'{"a": [[1, 2]], "a": [[3, 4]]}', "a is there twice"),
        ("labels.json", b"[" * 100_000, "must hold"),
        ("labels.m", b"gt_frame = [" + b"9" * 5000 + b"]", "must be a whole number"),
        ("labels.m", b"gt_frame = [1:2:3]", "no ranges"),
    ],
)
def test_what_is_no_label_file(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / file, ["a"])


def test_a_header_that_asks_for_more_than_the_file_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.zeros(10, np.uint8))
    content = (tmp_path / "labels.npy").read_bytes()
    (tmp_path / "labels.npy").write_bytes(content.replace(b"(10,), }          ", b"(900000000000,), }"))
    with pytest.raises(DataError, match=r"cannot be read as a plain \.npy array"):
        read_labels(tmp_path / "labels.npy", ["a"])


def test_a_damaged_shape_does_not_fill_the_memory(tmp_path: Path) -> None:
    cells = np.full((1, 2), "", object)
    savemat(tmp_path / "gt.mat", {"gt": cells})
    content = (tmp_path / "gt.mat").read_bytes()
    shape, damaged = np.array([1, 2], "<i4").tobytes(), np.array([1 << 28, 2], "<i4").tobytes()
    assert content.count(shape) == 1
    (tmp_path / "gt.mat").write_bytes(content.replace(shape, damaged))
    with pytest.raises(DataError, match="larger than a file of its size can hold"):
        read_labels(tmp_path / "gt.mat", ["a"])
