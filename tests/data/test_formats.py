"""The documentation of formats says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mnad.data.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mnad.data.inspection import inspect
from mnad.data.layouts import ARCHIVES

from tests.data.field import moving, write_video

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)[1:]
LEFT_OUT = [ending for files, fate in ROWS if fate.startswith("left out") for ending in re.findall(r"(\.\w+)", files)]


def endings(fate: str) -> set[str]:
    return {ending for files, words in ROWS if words.startswith(fate) for ending in re.findall(r"\.\w+", files)}


def test_all_that_is_read_is_there() -> None:
    assert len(ROWS) >= 20
    assert VIDEO_SUFFIXES <= endings("a video") <= VIDEO_SUFFIXES | IMAGE_SUFFIXES
    assert endings("a frame") == IMAGE_SUFFIXES
    assert {".zip", ".tar", ".gz", ".7z", ".rar"} <= ARCHIVES
    assert not set(LEFT_OUT) & (VIDEO_SUFFIXES | IMAGE_SUFFIXES)


@pytest.mark.parametrize("ending", [*LEFT_OUT, ""])
def test_what_is_left_out_is_named(tmp_path: Path, ending: str) -> None:
    write_video(tmp_path / "normal" / "a.mp4", moving(6))
    (tmp_path / "normal" / f"b{ending.upper()}").write_bytes(b"x")
    told = " ".join(problem.message for problem in inspect(tmp_path, progress=False).problems)
    assert f"1 {ending or 'without ending'} (normal/b{ending.upper()})" in told


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX/a.mp4", "@eaDir/a.mp4"])
def test_what_systems_leave_is_passed_over(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "normal" / "a.mp4", moving(6))
    (tmp_path / "normal" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "normal" / name).write_bytes(b"x")
    found = inspect(tmp_path, progress=False)
    assert [split.videos for split in found.splits] == [1]
    assert not any("left out" in problem.message for problem in found.problems)
