"""Folders and locks that several share."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mnad.runtime.errors import OutputError
from mnad.runtime.files import alone, atomic_folder, writable_folder


def test_a_folder_that_many_ask_for_at_once_is_writable_for_all(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(writable_folder, [folder] * 400))
    assert given == [folder] * 400
    assert not list(folder.iterdir())


def test_the_folder_that_is_made_may_be_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with atomic_folder(Path()) as temporary:
        (temporary / "file").touch()
    assert [path.name for path in here.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*file"):
        writable_folder(tmp_path / "file" / "folder")


def test_one_at_a_time_is_alone_and_no_lock_is_left(tmp_path: Path) -> None:
    made, inside, most = tmp_path / "folder" / "made", [], []

    def make(name: int) -> None:
        with alone(made) as mine:
            assert mine
            inside.append(name)
            time.sleep(0.001)
            most.append(len(inside))
            inside.remove(name)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(200)))
    assert most == [1] * 200
    assert not list(made.parent.iterdir())


def test_who_would_not_wait_is_told(tmp_path: Path) -> None:
    with alone(tmp_path / "made") as first:
        with alone(tmp_path / "made", wait=False) as second:
            assert (first, second) == (True, False)
        with alone(tmp_path / "made", wait=False) as still:
            assert not still
    with alone(tmp_path / "made", wait=False) as third:
        assert third


def test_a_lock_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*\.made\.lock"), alone(tmp_path / "file" / "made"):
        pass
