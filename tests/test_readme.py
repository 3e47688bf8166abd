"""What the README shows is so."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from mnad.cli import main

README = Path(__file__).parents[1] / "README.md"
WORDS = 900


def test_the_python_snippets_run(
    synthetic: Path, held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(held_out, tmp_path / "runs" / "gate")
    monkeypatch.chdir(tmp_path)
    video = [cv2.imread(str(path)) for path in sorted((synthetic / "testing" / "frames" / "01").iterdir())]
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(snippets) == 2
    found: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), names := {"video": video})
        found |= names
    assert found["result"].score is not None  # type: ignore[attr-defined]


def test_the_first_screen_shows_the_commands_and_the_picture() -> None:
    first_screen = README.read_text().splitlines()[:25]
    for beginning in ("pip install", "make demo", "make test", "<img src=", "detector = mnad.Detector.load"):
        assert any(line.strip().startswith(beginning) for line in first_screen)


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    text = README.read_text()
    assert len(text.split()) <= WORDS
    places = [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    assert len(places) > 15
    assert [place for place in places if not (README.parent / place).exists()] == []


def test_the_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.split("#")[0].strip() for line in README.read_text().splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mnad ")]
    assert [command[0] for command in commands] == [
        "synth",
        "inspect",
        "train",
        "calibrate",
        "score",
        "evaluate",
        "report",
    ]
    smaller = {
        "synth": ["--frames", "40", "--train-videos", "1", "--test-videos", "1", "--size", "64"],
        "train": ["--size", "32", "--width", "4", "--epochs", "1", "--accelerator", "cpu"],
    }
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main([*command, *smaller.get(command[0], [])]) == 0


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in README.read_text()
