"""Folders that several share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mnad.errors import OutputError
from mnad.files import writable_folder


def test_a_folder_that_many_ask_for_at_once_is_writable_for_all(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(writable_folder, [folder] * 400))
    assert given == [folder] * 400
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*file"):
        writable_folder(tmp_path / "file" / "folder")
